/*
 * An NF takes the place of another while nothing is in flight: those that know it read on.
 */
#include "bus_fixture.h"

enum { SLOTS = MB_LOG_SLOTS_MIN, OWN_SLOTS = 64, RING = 4096, ALL = 0xff };

static const struct bus_nf publishes = {.own_slots = OWN_SLOTS, .ring_bytes = RING};
static const struct bus_nf judges = {.is_inline = true};
static const struct bus_nf merges_first = {.waits_for = NF(0), .merges = NF(0)};
static const struct bus_nf waits_for_first = {.waits_for = NF(0)};

/* A new NF 0 in place of the one that is there. */
static void hand_over(struct bus *bus) {
    mb_log_detach(&bus->log, 0);
    mb_reader_destroy(bus->reader[0]);
    mb_area_destroy(&bus->area[0]);
    bus->reader[0] = bus_make_reader(bus, 0);
    struct mb_nf_geometry geometry = bus_geometry(bus, 0);
    const size_t size = mb_nf_area_size(&geometry);
    assert_int_equal(mb_area_map(&bus->area[0], mb_reader_area_fd(bus->reader[0]), size), 0);
    const struct mb_nf_area parts = mb_nf_area_parts(bus->area[0].base, &geometry);
    const struct mb_consumer consumer = {
        .page = parts.page, .verdicts = parts.verdicts, .mask = {NF(0), 0}};
    assert_int_equal(mb_reader_map_log(bus->reader[0], bus->log.area.fd), 0);
    assert_int_equal(mb_log_attach(&bus->log, 0, &consumer), 0);
    bus_map_neighbour(bus, 0, 1);
    bus_map_neighbour(bus, 1, 0);
}

static void publish_of_first(struct bus *bus) {
    const uint8_t payload[8] = {0};
    assert_int_equal(bus_poll(bus, 0), 1);
    assert_int_equal(mb_reader_publish(bus->reader[0], &bus->delivery[0][0], 7, 0, payload,
                                       sizeof payload, NULL),
                     0);
    mb_reader_advance(bus->reader[0]);
}

static void assert_reads(struct bus *bus, uint64_t sequence, uint64_t number) {
    assert_int_equal(bus_poll(bus, 1), 2);
    assert_int_equal(bus->delivery[1][0].entry->sequence, sequence);
    assert_int_equal(bus->delivery[1][1].position, sequence);
    assert_int_equal(bus->delivery[1][1].nf_entry->entry.sequence, number);
    mb_reader_advance(bus->reader[1]);
}

static void events_of_the_new_one_follow_those_of_the_old(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, merges_first}, 2);
    for (unsigned i = 0; i < 3; i++) {
        bus_packet(&bus, 0, ALL);
        publish_of_first(&bus);
        assert_reads(&bus, i, i);
    }
    hand_over(&bus);
    for (unsigned i = 0; i < 3; i++) {
        bus_packet(&bus, 0, ALL);
        publish_of_first(&bus);
        assert_reads(&bus, 3 + i, i);
    }
    bus_destroy(&bus);
}

static void who_comes_reads_nothing_of_what_was_published_before(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, merges_first}, 2);
    for (unsigned i = 0; i < 3; i++) {
        bus_packet(&bus, 0, ALL);
        publish_of_first(&bus);
        assert_reads(&bus, i, i);
    }
    bus_map_neighbour(&bus, 1, 0); /* as a reader does that is new */
    bus_packet(&bus, 0, ALL);
    publish_of_first(&bus);
    assert_reads(&bus, 3, 3);
    bus_destroy(&bus);
}

static void a_flow_that_the_old_one_dropped_stays_dropped(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){judges, waits_for_first}, 2);
    bus_packet(&bus, 9, ALL);
    assert_int_equal(bus_poll(&bus, 0), 1);
    mb_reader_judge(bus.reader[0], 0, MB_DROP_FLOW);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), 0);
    hand_over(&bus);
    bus_packet(&bus, 9, ALL);
    bus_packet(&bus, 8, ALL);
    assert_int_equal(bus_poll(&bus, 0), 2);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), 1);
    assert_int_equal(bus.delivery[1][0].entry->flow, 8);
    bus_destroy(&bus);
}

static void the_log_may_have_gone_round_many_times(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, merges_first}, 2);
    for (unsigned i = 0; i < 3 * SLOTS; i++) {
        bus_packet(&bus, 0, ALL);
        for (unsigned nf = 0; nf < 2; nf++) {
            assert_int_equal(bus_poll(&bus, nf), 1);
            mb_reader_advance(bus.reader[nf]);
        }
    }
    hand_over(&bus);
    bus_packet(&bus, 0, ALL);
    publish_of_first(&bus);
    assert_reads(&bus, 3 * SLOTS, 0);
    bus_destroy(&bus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_of_the_new_one_follow_those_of_the_old),
        cmocka_unit_test(who_comes_reads_nothing_of_what_was_published_before),
        cmocka_unit_test(a_flow_that_the_old_one_dropped_stays_dropped),
        cmocka_unit_test(the_log_may_have_gone_round_many_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
