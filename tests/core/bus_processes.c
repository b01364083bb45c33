/*
 * The chain of bus_parties.h with a process a party, and what is left of it when one is killed.
 */
#include "bus_parties.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE = 60 }; /* seconds; then SIGALRM ends a test that hangs */

static struct party *share_parties(void) {
    struct party *shared = mmap(NULL, PARTIES * sizeof *shared, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    return shared;
}

static pid_t seat(struct bus *bus, uint32_t index, struct party *party, struct naps naps) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child != 0)
        return child;
    alarm(PATIENCE);
    party_run(bus, index, party, naps);
    _exit(0);
}

static void wait_until_drained(struct bus *bus) {
    while (!mb_log_drained(&bus->log))
        mb_log_wait_for_room(&bus->log, PARTY_WAIT);
}

static void processes_see_what_the_model_sees(void **state) {
    (void)state;
    struct party model[PARTIES];
    party_model(model);
    alarm(PATIENCE);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        static struct bus bus;
        bus_create(&bus, PARTY_SLOTS, parties, PARTIES);
        struct party *seen = share_parties();
        pid_t children[PARTIES];
        for (uint32_t i = 0; i < PARTIES; i++)
            children[i] = seat(&bus, i, &seen[i], (struct naps){seed * 1000 + i});
        party_work(&bus, (struct naps){seed});
        wait_until_drained(&bus);
        for (uint32_t i = 0; i < PARTIES; i++) {
            int status;
            assert_int_equal(waitpid(children[i], &status, 0), children[i]);
            assert_int_equal(status, 0);
        }
        party_compare(seen, model);
        munmap(seen, PARTIES * sizeof *seen);
        bus_destroy(&bus);
    }
    alarm(0);
}

/* The controller's part: sees that a child is gone, and tells the log. */
static bool bury(struct bus *bus, uint32_t victim, pid_t child) {
    if (waitpid(child, NULL, WNOHANG) != child)
        return false;
    mb_log_detach(&bus->log, victim);
    return true;
}

/* Publishes as party_work does, and kills party `victim` on the way. */
static void work_and_kill(struct bus *bus, uint32_t victim, pid_t child) {
    uint64_t content = 88172645463325252;
    bool gone = false;
    for (uint64_t packet = 0; packet < PARTY_PACKETS; packet++) {
        if (packet == PARTY_PACKETS / 3)
            kill(child, SIGKILL);
        while (!mb_log_has_room(&bus->log, MB_ENTRIES_PER_PACKET)) {
            gone = gone || (packet > PARTY_PACKETS / 3 && bury(bus, victim, child));
            mb_log_commit(&bus->log);
            mb_log_wait_for_room(&bus->log, PARTY_WAIT);
        }
        party_packet(bus, &content);
        mb_log_commit(&bus->log);
    }
    party_end_of_input(bus);
    while (!gone)
        gone = bury(bus, victim, child);
}

static void the_rest_goes_on_when_one_is_killed(void **state) {
    (void)state;
    for (uint32_t victim = 0; victim < PARTIES; victim++) {
        alarm(PATIENCE);
        static struct bus bus;
        bus_create(&bus, PARTY_SLOTS, parties, PARTIES);
        struct party *seen = share_parties();
        pid_t children[PARTIES];
        for (uint32_t i = 0; i < PARTIES; i++)
            children[i] = seat(&bus, i, &seen[i], (struct naps){1000 + i});
        work_and_kill(&bus, victim, children[victim]);
        wait_until_drained(&bus);
        for (uint32_t i = 0; i < PARTIES; i++) {
            if (i == victim)
                continue;
            int status;
            assert_int_equal(waitpid(children[i], &status, 0), children[i]);
            assert_int_equal(status, 0);
            assert_true(seen[i].ended);
            assert_false(seen[i].failed);
        }
        munmap(seen, PARTIES * sizeof *seen);
        bus_destroy(&bus);
    }
    alarm(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_see_what_the_model_sees),
        cmocka_unit_test(the_rest_goes_on_when_one_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
