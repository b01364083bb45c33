/*
 * The chain of bus_parties.h with a thread a party. All share one mapping of each area
 * (bus_same_mapping.c), so that ThreadSanitizer sees who touches what.
 */
#include "bus_parties.h"

#include <pthread.h>

struct seat {
    struct bus *bus;
    uint32_t index;
    struct party party;
    struct naps naps;
};

static void *take_seat(void *argument) {
    struct seat *seat = argument;
    party_run(seat->bus, seat->index, &seat->party, seat->naps);
    return NULL;
}

static void threads_see_what_the_model_sees(void **state) {
    (void)state;
    struct party model[PARTIES];
    party_model(model);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        static struct bus bus;
        bus_create(&bus, PARTY_SLOTS, parties, PARTIES);
        struct seat seats[PARTIES];
        pthread_t threads[PARTIES];
        for (uint32_t i = 0; i < PARTIES; i++) {
            seats[i] = (struct seat){.bus = &bus, .index = i, .naps = {seed * 1000 + i}};
            assert_int_equal(pthread_create(&threads[i], NULL, take_seat, &seats[i]), 0);
        }
        party_work(&bus, (struct naps){seed});
        struct party seen[PARTIES];
        for (uint32_t i = 0; i < PARTIES; i++) {
            pthread_join(threads[i], NULL);
            seen[i] = seats[i].party;
        }
        assert_true(mb_log_drained(&bus.log));
        party_compare(seen, model);
        bus_destroy(&bus);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_see_what_the_model_sees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
