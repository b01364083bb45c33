/* The worker is gone: everybody reads what there is, to the head, and knows when that is done. */
#include "tests/core/bus_fixture.h"

#include "microbox/events/event_types.h"

enum { SLOTS = 4096, CUT = 64 };

static void worker_is_gone(struct bus *bus) {
    for (uint32_t i = 0; i < bus->nfs; i++)
        mb_reader_worker_is_gone(bus->reader[i]);
}

static void what_was_committed_is_read_and_no_more(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){{0}}, 1);
    bus_packets(&bus, 2, 0, NF(0));
    bus_entry(&bus, 0, NF(0)); /* of a packet that the worker did not come to the end of */
    assert_false(mb_reader_is_at_end(bus.reader[0]));
    worker_is_gone(&bus);
    assert_false(mb_reader_is_at_end(bus.reader[0]));
    assert_int_equal(bus_poll(&bus, 0), 2);
    assert_false(mb_reader_is_at_end(bus.reader[0]));
    mb_reader_advance(bus.reader[0]);
    assert_true(mb_reader_is_at_end(bus.reader[0]));
    assert_int_equal(bus_poll(&bus, 0), 0);
    bus_destroy(&bus);
}

static void while_the_worker_lives_no_end_is_seen(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){{0}}, 1);
    bus_packets(&bus, 2, 0, NF(0));
    bus_expect(&bus, 0, 0, 1, -1);
    assert_false(mb_reader_is_at_end(bus.reader[0]));
    bus_destroy(&bus);
}

static void who_is_not_named_is_at_the_end_at_once(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){{0}, {0}}, 2);
    bus_packets(&bus, 2, 0, NF(0));
    worker_is_gone(&bus);
    assert_int_equal(bus_poll(&bus, 1), 0);
    assert_true(mb_reader_is_at_end(bus.reader[1]));
    bus_destroy(&bus);
}

/* It died between `due` and `head`. */
static void what_is_due_beyond_the_head_is_not_waited_for(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){{0}, {.waits_for = NF(0)}}, 2);
    bus_packets(&bus, 2, 0, NF(0) | NF(1));
    bus.log.page->due[0] = 3;
    bus.log.page->due[1] = 3;
    worker_is_gone(&bus);
    assert_int_equal(bus_poll(&bus, 1), 0);
    assert_false(mb_reader_is_at_end(bus.reader[1]));
    bus_expect(&bus, 0, 0, 1, -1);
    assert_true(mb_reader_is_at_end(bus.reader[0]));
    bus_expect(&bus, 1, 0, 1, -1);
    assert_true(mb_reader_is_at_end(bus.reader[1]));
    bus_destroy(&bus);
}

static void the_last_batch_is_taken_as_it_is(void **state) {
    (void)state;
    struct bus bus;
    const struct bus_nf judges = {.is_inline = true};
    const struct bus_nf in_batches = {.waits_for = NF(0), .cut = CUT};
    bus_create(&bus, SLOTS, (struct bus_nf[]){judges, in_batches}, 2);
    bus_packets(&bus, CUT + 3, 0, NF(0) | NF(1));
    worker_is_gone(&bus);
    assert_int_equal(bus_poll(&bus, 1), 0); /* all must be judged first */
    assert_int_equal(bus_poll(&bus, 0), CUT + 3);
    assert_int_equal(bus_poll(&bus, 1), 0);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), CUT);
    assert_int_equal(bus_poll(&bus, 1), 3);
    mb_reader_advance(bus.reader[1]);
    assert_true(mb_reader_is_at_end(bus.reader[1]));
    bus_destroy(&bus);
}

/* As where the worker says it: docs/architecture.md, "Death". */
static void who_died_is_not_waited_for_and_has_judged_what_it_came_to(void **state) {
    (void)state;
    for (unsigned fails_closed = 0; fails_closed < 2; fails_closed++) {
        struct bus bus;
        const struct bus_nf judges = {.is_inline = true, .fails_closed = fails_closed};
        bus_create(&bus, SLOTS, (struct bus_nf[]){judges, {.waits_for = NF(0)}}, 2);
        bus_packets(&bus, 2, 0, NF(0) | NF(1));
        assert_int_equal(bus_poll(&bus, 0), 2);
        assert_int_equal(mb_reader_judge(bus.reader[0], 1, MB_DROP), MB_DROP);
        mb_reader_advance(bus.reader[0]);
        bus_packets(&bus, 2, 0, NF(0) | NF(1));
        worker_is_gone(&bus);
        bus_expect(&bus, 1, 0, -1);
        assert_false(mb_reader_is_at_end(bus.reader[1]));
        mb_reader_nf_is_gone(bus.reader[1], 0);
        mb_reader_nf_is_gone(bus.reader[1], 0); /* said again when another one is gone */
        if (fails_closed)
            bus_expect(&bus, 1, -1);
        else
            bus_expect(&bus, 1, 2, 3, -1);
        assert_true(mb_reader_is_at_end(bus.reader[1]));
        assert_int_equal(bus_counters(&bus, 1)->judged_dropped, fails_closed ? 3 : 1);
        bus_destroy(&bus);
    }
}

/* Nobody but the worker says so while it lives. */
static void a_death_counts_once_the_worker_is_gone(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){{0}, {.waits_for = NF(0)}}, 2);
    bus_packets(&bus, 2, 0, NF(0) | NF(1));
    mb_reader_nf_is_gone(bus.reader[1], 0);
    assert_int_equal(bus_poll(&bus, 1), 0);
    bus_destroy(&bus);
}

/* It died while it told of a new floor: nothing before that is overwritten yet. */
static void half_a_floor_loses_nothing(void **state) {
    (void)state;
    for (unsigned is_behind = 0; is_behind < 2; is_behind++) {
        struct bus bus;
        uint64_t handled = 0;
        const uint64_t packets = is_behind ? 3 * SLOTS : SLOTS / 2;
        bus_create(&bus, SLOTS, (struct bus_nf[]){{.skips = true}}, 1);
        bus_packets(&bus, packets, 0, NF(0));
        const uint64_t counted = bus.log.page->counted;
        assert_int_equal(counted > 0, is_behind);
        bus.log.page->floor += SLOTS / 4;
        worker_is_gone(&bus);
        for (uint32_t count; (count = bus_poll(&bus, 0)) != 0; mb_reader_advance(bus.reader[0]))
            handled += count - (bus.delivery[0][0].entry->type == MB_TYPE_SYSTEM_LOST);
        assert_true(mb_reader_is_at_end(bus.reader[0]));
        assert_int_equal(handled, packets - counted);
        assert_int_equal(bus_counters(&bus, 0)->lost, counted);
        bus_destroy(&bus);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_committed_is_read_and_no_more),
        cmocka_unit_test(while_the_worker_lives_no_end_is_seen),
        cmocka_unit_test(who_is_not_named_is_at_the_end_at_once),
        cmocka_unit_test(what_is_due_beyond_the_head_is_not_waited_for),
        cmocka_unit_test(the_last_batch_is_taken_as_it_is),
        cmocka_unit_test(who_died_is_not_waited_for_and_has_judged_what_it_came_to),
        cmocka_unit_test(a_death_counts_once_the_worker_is_gone),
        cmocka_unit_test(half_a_floor_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
