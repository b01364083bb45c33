/*
 * The worker's side of the log: room, due, from, sleepers, death.
 */
#include "bus_fixture.h"

#include "microbox/bus/atomic.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = MB_LOG_SLOTS_MIN };

static const struct bus_nf reads = {0};
static const struct bus_nf judges = {.is_inline = true};

static void the_count_of_slots_is_a_power_of_two(void **state) {
    (void)state;
    struct mb_log log;
    assert_int_equal(mb_log_create(&log, 0), -EINVAL);
    assert_int_equal(mb_log_create(&log, SLOTS / 2), -EINVAL);
    assert_int_equal(mb_log_create(&log, SLOTS + 1), -EINVAL);
    assert_int_equal(mb_log_create(&log, SLOTS), 0);
    assert_int_equal(log.area.size, mb_log_size(SLOTS));
    mb_log_destroy(&log);
}

static void the_page_says_what_it_is(void **state) {
    (void)state;
    struct mb_log log;
    assert_int_equal(mb_log_create(&log, SLOTS), 0);
    assert_int_equal(log.page->version, MB_LAYOUT_VERSION);
    assert_int_equal(log.page->slot_size, MB_ENTRY_SIZE);
    assert_int_equal(log.page->slots, SLOTS);
    assert_memory_equal(&log.page->magic, "MBOXLOG0", 8);
    mb_log_destroy(&log);
}

static void without_readers_there_is_always_room(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, NULL, 0);
    bus_packets(&bus, 3 * SLOTS, 1, 0);
    assert_true(mb_log_has_room(&bus.log, SLOTS));
    assert_false(mb_log_has_room(&bus.log, SLOTS + 1));
    assert_true(mb_log_drained(&bus.log));
    bus_destroy(&bus);
}

static void a_slow_reader_fills_the_log_and_loses_nothing(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &reads, 1);
    bus_packets(&bus, SLOTS, 1, NF(0));
    assert_false(mb_log_has_room(&bus.log, 1));
    assert_false(mb_log_drained(&bus.log));
    assert_int_equal(bus_poll(&bus, 0), BUS_CAPACITY);
    assert_false(mb_log_has_room(&bus.log, 1));
    mb_reader_advance(bus.reader[0]);
    assert_true(mb_log_has_room(&bus.log, BUS_CAPACITY));
    assert_false(mb_log_has_room(&bus.log, BUS_CAPACITY + 1));
    bus_destroy(&bus);
}

static void what_is_claimed_and_not_committed_takes_room(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &reads, 1);
    for (unsigned i = 0; i < SLOTS; i++)
        bus_entry(&bus, 1, 0);
    assert_false(mb_log_has_room(&bus.log, 1));
    mb_log_wait_for_room(&bus.log, UINT64_MAX); /* nobody to wait for: returns at once */
    bus_end_packet(&bus);
    mb_log_commit(&bus.log);
    assert_true(mb_log_has_room(&bus.log, SLOTS));
    bus_destroy(&bus);
}

static void due_is_one_past_the_batch_that_names_an_nf(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, reads}, 2);
    bus_packet(&bus, 1, NF(0));
    bus_packet(&bus, 1, NF(1));
    bus_packet(&bus, 1, NF(0));
    assert_int_equal(bus.log.page->due[0], 3);
    assert_int_equal(bus.log.page->due[1], 2);
    assert_int_equal(bus.log.page->head, 3);
    bus_destroy(&bus);
}

static void behind_an_inline_nf_everybody_is_due_where_it_is(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, judges, reads}, 3);
    bus_packet(&bus, 1, NF(1));
    assert_int_equal(bus.log.page->due[0], 0);
    assert_int_equal(bus.log.page->due[1], 1);
    assert_int_equal(bus.log.page->due[2], 1);
    bus_destroy(&bus);
}

static void passed_is_the_cursor_or_the_head_of_the_idle(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, reads}, 2);
    bus_packets(&bus, 4, 1, NF(0));
    assert_int_equal(mb_log_passed(&bus.log, 0), 0);
    assert_int_equal(mb_log_passed(&bus.log, 1), 4);
    bus_packet(&bus, 1, NF(1));
    assert_int_equal(mb_log_passed(&bus.log, 1), 0);
    assert_false(mb_log_drained(&bus.log));
    bus_expect(&bus, 0, 0, 1, 2, 3, -1);
    bus_expect(&bus, 1, 4, -1);
    assert_true(mb_log_drained(&bus.log));
    bus_destroy(&bus);
}

static void from_is_stored_when_the_idle_is_counted_at_the_head(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &reads, 1);
    bus_packets(&bus, 10, 1, 0);
    mb_log_learn_limit(&bus.log);
    assert_int_equal(bus.log.page->from[0], 10);
    bus_packet(&bus, 1, NF(0));
    bus_packets(&bus, 10, 1, 0);
    mb_log_learn_limit(&bus.log);
    assert_int_equal(bus.log.page->from[0], 10); /* not while it is due */
    assert_int_equal(bus.log.limit, 10 + SLOTS);
    bus_destroy(&bus);
}

static void a_cursor_that_runs_backwards_gives_nothing_back(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &reads, 1);
    struct mb_nf_page page = {.cursor = 0};
    bus.log.consumer[0].page = &page;
    bus_packets(&bus, 100, 1, NF(0));
    page.cursor = 90;
    mb_log_learn_limit(&bus.log);
    assert_int_equal(bus.log.limit, 90 + SLOTS);
    page.cursor = 10;
    mb_log_learn_limit(&bus.log);
    assert_int_equal(bus.log.limit, 90 + SLOTS);
    page.cursor = UINT64_MAX; /* beyond the head counts as the head */
    mb_log_learn_limit(&bus.log);
    assert_int_equal(bus.log.limit, 100 + SLOTS);
    bus_destroy(&bus);
}

static void the_dead_hold_nothing(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, reads}, 2);
    bus_packets(&bus, SLOTS, 1, NF(0));
    bus_poll(&bus, 0);
    mb_reader_advance(bus.reader[0]);
    assert_false(mb_log_has_room(&bus.log, SLOTS));
    mb_log_detach(&bus.log, 0);
    assert_true(mb_log_has_room(&bus.log, SLOTS));
    assert_true(mb_log_drained(&bus.log));
    assert_int_equal(bus.log.page->gone_at[0], BUS_CAPACITY);
    assert_int_equal(bus.log.page->due[0], 0);
    assert_int_equal(mb_log_passed(&bus.log, 0), bus.log.head);
    bus_packet(&bus, 1, NF(0)); /* its bit may still be set for a while */
    assert_int_equal(bus.log.page->due[0], 0);
    mb_log_detach(&bus.log, 0);
    bus_destroy(&bus);
}

static void an_idle_nf_dies_at_the_head(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &reads, 1);
    bus_packets(&bus, 5, 1, 0);
    mb_log_detach(&bus.log, 0);
    assert_int_equal(bus.log.page->gone_at[0], 5);
    bus_destroy(&bus);
}

static void a_place_in_the_chain_can_be_taken_again(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, reads}, 2);
    struct mb_consumer consumer = bus.log.consumer[0];
    bus_packets(&bus, 5, 1, NF(0));
    mb_log_detach(&bus.log, 0);
    struct mb_nf_page fresh = {.cursor = 0};
    consumer.page = &fresh;
    assert_int_equal(mb_log_attach(&bus.log, 0, &consumer), 0);
    assert_int_equal(bus.log.page->gone_at[0], UINT64_MAX);
    assert_int_equal(bus.log.page->from[0], 5);
    assert_int_equal(mb_log_passed(&bus.log, 0), 5);
    bus_packet(&bus, 1, NF(0));
    assert_int_equal(mb_log_passed(&bus.log, 0), 5);
    bus_destroy(&bus);
}

static void attaching_is_checked(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, reads}, 2);
    struct mb_nf_page page = {.cursor = 0};
    struct mb_consumer shares_a_bit = {.page = &page, .mask = {NF(1) | NF(2), 0}};
    struct mb_consumer sound = {.page = &page, .mask = {0, 1}};
    struct mb_consumer nobody = {.page = NULL, .mask = {0, 1}};
    assert_int_equal(mb_log_attach(&bus.log, 2, &shares_a_bit), -EINVAL);
    assert_int_equal(mb_log_attach(&bus.log, 2, &nobody), -EINVAL);
    assert_int_equal(mb_log_attach(&bus.log, 3, &sound), -EINVAL);
    assert_int_equal(mb_log_attach(&bus.log, 1, &sound), -EINVAL);
    assert_int_equal(mb_log_attach(&bus.log, MB_NFS_MAX, &sound), -EINVAL);
    assert_int_equal(mb_log_attach(&bus.log, 2, &sound), 0);
    bus_destroy(&bus);
}

static void the_last_entry_of_a_packet_is_marked(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, NULL, 0);
    mb_log_end_packet(&bus.log, bus.log.next); /* a packet without entries */
    bus_entry(&bus, 1, 0);
    bus_entry(&bus, 1, 0);
    bus_end_packet(&bus);
    assert_int_equal(bus.log.slots[0].flags & MB_LAST, 0);
    assert_int_equal(bus.log.slots[1].flags & MB_LAST, MB_LAST);
    bus_destroy(&bus);
}

static uint64_t nanoseconds_since(const struct timespec *start) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)(now.tv_sec - start->tv_sec) * 1000000000 + (uint64_t)now.tv_nsec -
           (uint64_t)start->tv_nsec;
}

static void waiting_for_room_ends_with_the_time(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &reads, 1);
    bus_packets(&bus, SLOTS, 1, NF(0));
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    mb_log_wait_for_room(&bus.log, 10000000);
    assert_true(nanoseconds_since(&start) >= 10000000);
    assert_int_equal(bus.log.waits, 1);
    assert_int_equal(bus.log.slept, 1);
    assert_int_equal(bus.log.page->asleep, 0);
    bus_destroy(&bus);
}

/* NF 0 catches up just after the worker has looked at it, and found it the slowest: as the worker
 * looks at NF 1, whose page cannot be read until then. */
static struct mb_nf_page *catches_up;
static void *cannot_be_read;

static void catch_up(int signal) {
    (void)signal;
    mprotect(cannot_be_read, MB_PAGE_SIZE, PROT_READ | PROT_WRITE);
    mb_store_sequential(&catches_up->cursor, SLOTS);
}

static void nobody_sleeps_on_who_is_not_the_slowest_any_more(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, reads}, 2);
    struct mb_nf_page page = {.cursor = 0};
    catches_up = &page;
    cannot_be_read =
        mmap(NULL, MB_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(cannot_be_read != MAP_FAILED);
    bus.log.consumer[0].page = &page;
    bus.log.consumer[1].page = cannot_be_read;
    bus_packets(&bus, SLOTS, 1, NF(0) | NF(1));
    struct sigaction before;
    const struct sigaction action = {.sa_handler = catch_up};
    sigaction(SIGSEGV, &action, &before);
    mprotect(cannot_be_read, MB_PAGE_SIZE, PROT_NONE);
    mb_log_wait_for_room(&bus.log, 1000000);
    sigaction(SIGSEGV, &before, NULL);
    assert_int_equal(page.cursor, SLOTS);
    assert_int_equal(bus.log.slept, 0); /* NF 1 would never wake it */
    mb_log_wait_for_room(&bus.log, 1000000);
    assert_int_equal(bus.log.slept, 1);
    munmap(cannot_be_read, MB_PAGE_SIZE);
    bus_destroy(&bus);
}

static void polling_ends_with_the_time(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &reads, 1);
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    uint32_t broken;
    assert_int_equal(
        mb_reader_poll(bus.reader[0], bus.delivery[0], BUS_CAPACITY, 10000000, &broken), 0);
    assert_true(nanoseconds_since(&start) >= 10000000);
    assert_true(bus_counters(&bus, 0)->sleeps >= 1);
    bus_destroy(&bus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_count_of_slots_is_a_power_of_two),
        cmocka_unit_test(the_page_says_what_it_is),
        cmocka_unit_test(without_readers_there_is_always_room),
        cmocka_unit_test(a_slow_reader_fills_the_log_and_loses_nothing),
        cmocka_unit_test(what_is_claimed_and_not_committed_takes_room),
        cmocka_unit_test(due_is_one_past_the_batch_that_names_an_nf),
        cmocka_unit_test(behind_an_inline_nf_everybody_is_due_where_it_is),
        cmocka_unit_test(passed_is_the_cursor_or_the_head_of_the_idle),
        cmocka_unit_test(from_is_stored_when_the_idle_is_counted_at_the_head),
        cmocka_unit_test(a_cursor_that_runs_backwards_gives_nothing_back),
        cmocka_unit_test(the_dead_hold_nothing),
        cmocka_unit_test(an_idle_nf_dies_at_the_head),
        cmocka_unit_test(a_place_in_the_chain_can_be_taken_again),
        cmocka_unit_test(attaching_is_checked),
        cmocka_unit_test(the_last_entry_of_a_packet_is_marked),
        cmocka_unit_test(waiting_for_room_ends_with_the_time),
        cmocka_unit_test(nobody_sleeps_on_who_is_not_the_slowest_any_more),
        cmocka_unit_test(polling_ends_with_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
