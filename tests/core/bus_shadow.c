/*
 * NFs in shadow on the bus: those behind pass over nothing for their sake, and know their events.
 */
#include "bus_fixture.h"

enum { SLOTS = MB_LOG_SLOTS_MIN, BOTH = NF(0) | NF(1) };

static const struct bus_nf shadow = {.is_inline = true, .is_shadow = true};
static const struct bus_nf reporting_shadow = {
    .is_inline = true, .is_shadow = true, .own_slots = 64, .ring_bytes = 4096};
static const struct bus_nf behind = {.waits_for = NF(0)};
static const struct bus_nf alone = {.waits_for = 0};
static const struct bus_nf reading_behind = {.waits_for = NF(0), .merges = NF(0)};

static void judge(struct bus *bus, uint64_t sequence, enum mb_verdict verdict) {
    assert_true(bus_poll(bus, 0) > 0);
    mb_reader_judge(bus->reader[0], sequence, verdict);
    mb_reader_advance(bus->reader[0]);
}

static void what_it_judges_is_not_passed_over(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){shadow, behind}, 2);
    bus_packets(&bus, 3, 1, BOTH);
    judge(&bus, 1, MB_DROP_FLOW);
    bus_expect(&bus, 1, 0, 1, 2, -1);
    assert_int_equal(bus_counters(&bus, 1)->judged_dropped, 0);
    assert_int_equal(bus_counters(&bus, 0)->verdicts[MB_DROP_FLOW], 1);
    bus_destroy(&bus);
}

/* An NF behind one that judges has something to read where that one has: a flow's verdict. */
static void those_behind_are_not_woken_for_it(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){shadow, alone}, 2);
    bus_packets(&bus, 3, 1, NF(0));
    mb_log_commit(&bus.log);
    assert_int_equal(bus.log.due[1], 0);
    mb_log_leave_shadow(&bus.log, 0);
    bus_packets(&bus, 3, 1, NF(0));
    mb_log_commit(&bus.log);
    assert_int_equal(bus.log.due[1], 6);
    bus_destroy(&bus);
}

static void publish(struct bus *bus) {
    const uint8_t payload[8] = {0};
    assert_int_equal(bus_poll(bus, 0), 1);
    assert_int_equal(mb_reader_publish(bus->reader[0], &bus->delivery[0][0], 7, 0, payload,
                                       sizeof payload, NULL),
                     0);
    mb_reader_advance(bus->reader[0]);
}

static bool published_in_shadow(struct bus *bus) {
    bus_packet(bus, 1, BOTH);
    mb_log_commit(&bus->log);
    publish(bus);
    assert_int_equal(bus_poll(bus, 1), 2);
    const bool is_shadow = bus->delivery[1][1].nf_entry->provenance.is_shadow;
    mb_reader_advance(bus->reader[1]);
    return is_shadow;
}

static void its_events_are_marked_until_it_is_promoted(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){reporting_shadow, reading_behind}, 2);
    assert_true(published_in_shadow(&bus));
    bus.nf[0].is_shadow = false;
    bus_map_neighbour(&bus, 1, 0);
    assert_false(published_in_shadow(&bus));
    bus_destroy(&bus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_judges_is_not_passed_over),
        cmocka_unit_test(those_behind_are_not_woken_for_it),
        cmocka_unit_test(its_events_are_marked_until_it_is_promoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
