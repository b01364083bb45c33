/*
 * Reading the worker's log: who gets what, up to where, and in whole packets.
 */
#include "bus_fixture.h"

#include <errno.h>

enum { SLOTS = MB_LOG_SLOTS_MIN };

static const struct bus_nf reads = {0};

static void an_nf_gets_the_entries_that_name_it(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, reads}, 2);
    bus_packet(&bus, 1, NF(0));
    bus_packet(&bus, 1, NF(1));
    bus_packet(&bus, 1, NF(0) | NF(1));
    bus_packet(&bus, 1, 0);
    bus_expect(&bus, 0, 0, 2, -1);
    bus_expect(&bus, 1, 1, 2, -1);
    bus_expect(&bus, 0, -1);
    assert_int_equal(bus_counters(&bus, 0)->matched, 2);
    bus_destroy(&bus);
}

static void nothing_is_readable_before_the_commit(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &reads, 1);
    bus_entry(&bus, 1, NF(0));
    bus_end_packet(&bus);
    bus_expect(&bus, 0, -1);
    mb_log_commit(&bus.log);
    bus_expect(&bus, 0, 0, -1);
    bus_destroy(&bus);
}

static void a_delivery_says_which_subscriptions_match(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &reads, 1);
    struct mb_reader_config config = {.nf = 1,
                                      .log_slots = SLOTS,
                                      .geometry = {.log_slots = SLOTS},
                                      .subscriptions = 3,
                                      .bit = {7, 100, 9}};
    config.types[0][0] = 1 << 3;
    config.types[1][0] = 1 << 3 | 1 << 4; /* the third one only follows: no types */
    int error;
    struct mb_reader *reader = mb_reader_create(&config, &error);
    assert_non_null(reader);
    assert_int_equal(mb_reader_map_log(reader, bus.log.area.fd), 0);
    struct mb_area area;
    struct mb_nf_geometry geometry = config.geometry;
    assert_int_equal(mb_area_map(&area, mb_reader_area_fd(reader), mb_nf_area_size(&geometry)), 0);
    struct mb_consumer consumer = {.page = area.base, .mask = {1 << 7 | 1 << 9, UINT64_C(1) << 36}};
    assert_int_equal(mb_log_attach(&bus.log, 1, &consumer), 0);

    const struct {
        uint16_t type;
        uint64_t mask[2];
        uint32_t bits;
    } cases[] = {
        {3, {1 << 7, 0}, 1},
        {3, {1 << 7, UINT64_C(1) << 36}, 3},
        {4, {1 << 7, UINT64_C(1) << 36}, 2},
        {3, {1 << 9, 0}, 0},
        {5, {1 << 7, UINT64_C(1) << 36}, 0},
        {4, {1, UINT64_C(1) << 36}, 2},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_entry *entry = mb_log_claim(&bus.log, cases[i].mask);
        entry->type = cases[i].type;
        entry->flags = MB_LAST;
        mb_log_commit(&bus.log);
        struct mb_delivery deliveries[BUS_CAPACITY];
        uint32_t broken;
        int count = mb_reader_poll(reader, deliveries, BUS_CAPACITY, 0, &broken);
        assert_int_equal(count, cases[i].bits != 0);
        if (count == 1)
            assert_int_equal(deliveries[0].bits, cases[i].bits);
    }
    mb_area_destroy(&area);
    mb_reader_destroy(reader);
    bus_destroy(&bus);
}

static void a_payload_is_that_of_the_entry(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &reads, 1);
    bus_packet(&bus, 1, 0);
    bus_packet(&bus, 1, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 1);
    const struct mb_delivery *delivery = &bus.delivery[0][0];
    assert_int_equal(delivery->payload_length, MB_PAYLOAD_SIZE);
    for (unsigned i = 0; i < MB_PAYLOAD_SIZE; i++)
        assert_int_equal(delivery->payload[i], 1);
    bus_destroy(&bus);
}

static void the_cursor_moves_with_advance_and_with_the_next_poll(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &reads, 1);
    bus_packets(&bus, 3, 1, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 3);
    assert_int_equal(mb_log_passed(&bus.log, 0), 0);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(mb_log_passed(&bus.log, 0), 3);
    assert_int_equal(mb_reader_position(bus.reader[0]), 3);
    bus_packet(&bus, 1, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 1);
    assert_int_equal(bus_poll(&bus, 0), 0);
    assert_int_equal(mb_log_passed(&bus.log, 0), 4);
    bus_destroy(&bus);
}

static void an_nf_reads_only_what_those_before_it_have_passed(void **state) {
    (void)state;
    struct bus bus;
    struct bus_nf waits = {.waits_for = NF(0)};
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, waits}, 2);
    bus_packets(&bus, 2, 1, NF(0) | NF(1));
    bus_expect(&bus, 1, -1);
    assert_int_equal(bus_poll(&bus, 0), 2);
    bus_expect(&bus, 1, -1);
    mb_reader_advance(bus.reader[0]);
    bus_packet(&bus, 1, NF(0) | NF(1));
    bus_expect(&bus, 1, 0, 1, -1);
    bus_destroy(&bus);
}

static void an_idle_nf_holds_nobody_back(void **state) {
    (void)state;
    struct bus bus;
    struct bus_nf waits = {.waits_for = NF(0)};
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, waits}, 2);
    bus_packet(&bus, 1, NF(1));
    bus_packet(&bus, 1, NF(1));
    bus_expect(&bus, 1, 0, 1, -1);
    bus_packet(&bus, 1, NF(0) | NF(1));
    bus_expect(&bus, 1, -1);
    bus_expect(&bus, 0, 2, -1);
    bus_expect(&bus, 1, 2, -1);
    bus_destroy(&bus);
}

static void the_smallest_of_several_positions_counts(void **state) {
    (void)state;
    struct bus bus;
    struct bus_nf waits = {.waits_for = NF(0) | NF(1)};
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, reads, waits}, 3);
    bus_packets(&bus, 2, 1, NF(0) | NF(1) | NF(2));
    bus_expect(&bus, 0, 0, 1, -1);
    bus_expect(&bus, 2, -1);
    bus_expect(&bus, 1, 0, 1, -1);
    bus_expect(&bus, 2, 0, 1, -1);
    bus_destroy(&bus);
}

static void an_idle_nf_wakes_at_the_right_entry_after_many_laps(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, reads}, 2);
    for (unsigned lap = 1; lap <= 5; lap++) {
        for (unsigned i = 0; i < SLOTS / 8; i++) {
            bus_packets(&bus, 8, 1, NF(0));
            assert_int_equal(bus_poll(&bus, 0), 8);
            mb_reader_advance(bus.reader[0]);
        }
        uint64_t named = bus_packet(&bus, 1, NF(0) | NF(1));
        bus_packets(&bus, 3, 1, NF(0));
        bus_expect(&bus, 1, (int)named, -1);
        assert_int_equal(bus_poll(&bus, 0), 4);
        mb_reader_advance(bus.reader[0]);
    }
    bus_destroy(&bus);
}

static void an_idle_nf_that_is_named_keeps_what_comes_after(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, reads}, 2);
    for (unsigned i = 0; i < SLOTS + 100; i++) {
        bus_packet(&bus, 1, NF(0));
        bus_poll(&bus, 0);
        mb_reader_advance(bus.reader[0]);
    }
    uint64_t named = bus_packet(&bus, 1, NF(1));
    uint64_t published = 0;
    while (mb_log_has_room(&bus.log, 1)) {
        bus_packet(&bus, 1, 0);
        published++;
    }
    assert_true(published < SLOTS);
    bus_expect(&bus, 1, (int)named, -1);
    assert_true(mb_log_has_room(&bus.log, SLOTS / 2));
    bus_destroy(&bus);
}

static void a_packet_is_delivered_whole_or_not_at_all(void **state) {
    (void)state;
    struct bus bus;
    struct bus_nf waits = {.waits_for = NF(0)};
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, waits}, 2);
    for (unsigned i = 0; i < 5; i++)
        bus_entry(&bus, 1, NF(0) | NF(1));
    bus_end_packet(&bus);
    mb_log_commit(&bus.log);
    bus_expect(&bus, 1, -1);
    bus_expect(&bus, 0, 0, 1, 2, 3, 4, -1);
    bus_expect(&bus, 1, 0, 1, 2, 3, 4, -1);
    bus_destroy(&bus);
}

static void many_packets_come_in_as_many_polls_as_needed(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, 2 * SLOTS, &reads, 1);
    bus_packets(&bus, BUS_CAPACITY + 10, 1, NF(0));
    assert_int_equal(bus_poll(&bus, 0), BUS_CAPACITY);
    assert_int_equal(bus_poll(&bus, 0), 10);
    assert_int_equal(bus.delivery[0][0].entry->sequence, BUS_CAPACITY);
    bus_destroy(&bus);
}

static void a_configuration_that_cannot_work_is_refused(void **state) {
    (void)state;
    const struct mb_reader_config sound = {
        .log_slots = SLOTS, .geometry = {.log_slots = SLOTS}, .subscriptions = 1, .cut = 64};
    struct mb_reader_config cases[9];
    for (unsigned i = 0; i < 9; i++)
        cases[i] = sound;
    cases[0].nf = MB_NFS_MAX;
    cases[1].subscriptions = 33;
    cases[2].bit[0] = 128;
    cases[3].subscriptions = 2; /* the same bit twice */
    cases[4].cut = 96;
    cases[5].cut = SLOTS / 2;
    cases[6].geometry.log_slots = 2 * SLOTS;
    cases[7].log_slots = cases[7].geometry.log_slots = SLOTS + 1;
    cases[8].geometry.own_slots = 64; /* without a data ring */
    int error;
    for (unsigned i = 0; i < 9; i++) {
        assert_null(mb_reader_create(&cases[i], &error));
        assert_int_equal(error, -EINVAL);
    }
    struct mb_reader *reader = mb_reader_create(&sound, &error);
    assert_non_null(reader);
    mb_reader_destroy(reader);
}

static void a_neighbour_that_does_not_fit_is_refused(void **state) {
    (void)state;
    struct bus bus;
    struct bus_nf publishes = {.own_slots = 64, .ring_bytes = 4096};
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, reads, reads}, 3);
    struct mb_neighbour sound = {.index = 0,
                                 .fd = mb_reader_area_fd(bus.reader[0]),
                                 .geometry = bus_geometry(&bus, 0),
                                 .barrier = true};
    struct mb_neighbour other = sound;
    other.geometry.own_slots = 128;
    assert_int_equal(mb_reader_map_neighbour(bus.reader[1], &other), -EINVAL);
    other = sound;
    other.barrier = false;
    other.publishes = true;
    assert_int_equal(mb_reader_map_neighbour(bus.reader[1], &other), -EINVAL);
    other = sound;
    other.index = 1;
    assert_int_equal(mb_reader_map_neighbour(bus.reader[1], &other), -EINVAL);
    other = sound;
    other.fd = bus.log.area.fd;
    assert_int_equal(mb_reader_map_neighbour(bus.reader[1], &other), -EINVAL);
    other = sound;
    other.index = 2;
    other.barrier = false;
    assert_int_equal(mb_reader_map_neighbour(bus.reader[1], &other), -EPROTO);
    assert_int_equal(mb_reader_map_neighbour(bus.reader[1], &sound), 0);
    bus_destroy(&bus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_nf_gets_the_entries_that_name_it),
        cmocka_unit_test(nothing_is_readable_before_the_commit),
        cmocka_unit_test(a_delivery_says_which_subscriptions_match),
        cmocka_unit_test(a_payload_is_that_of_the_entry),
        cmocka_unit_test(the_cursor_moves_with_advance_and_with_the_next_poll),
        cmocka_unit_test(an_nf_reads_only_what_those_before_it_have_passed),
        cmocka_unit_test(an_idle_nf_holds_nobody_back),
        cmocka_unit_test(the_smallest_of_several_positions_counts),
        cmocka_unit_test(an_idle_nf_wakes_at_the_right_entry_after_many_laps),
        cmocka_unit_test(an_idle_nf_that_is_named_keeps_what_comes_after),
        cmocka_unit_test(a_packet_is_delivered_whole_or_not_at_all),
        cmocka_unit_test(many_packets_come_in_as_many_polls_as_needed),
        cmocka_unit_test(a_configuration_that_cannot_work_is_refused),
        cmocka_unit_test(a_neighbour_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
