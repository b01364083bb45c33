/*
 * Batches end at positions, whenever the reader looks, and nobody waits for ever for one.
 */
#include "bus_fixture.h"

#include "microbox/events/event_types.h"

enum { SLOTS = MB_LOG_SLOTS_MIN, CUT = 64, OWN_SLOTS = 64, RING = 4096 };

static const struct bus_nf in_batches = {.cut = CUT};

static void a_batch_comes_when_it_is_complete(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &in_batches, 1);
    bus_packets(&bus, CUT - 1, 1, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 0);
    bus_packets(&bus, 2 * CUT + 1, 1, NF(0));
    for (unsigned batch = 0; batch < 3; batch++) {
        assert_int_equal(bus_poll(&bus, 0), CUT);
        assert_int_equal(bus.delivery[0][0].entry->sequence, batch * CUT);
    }
    assert_int_equal(bus_poll(&bus, 0), 0);
    bus_destroy(&bus);
}

static void a_packet_is_never_cut(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &in_batches, 1);
    bus_packets(&bus, CUT - 2, 1, NF(0));
    for (unsigned i = 0; i < 5; i++)
        bus_entry(&bus, 1, NF(0));
    bus_end_packet(&bus);
    mb_log_commit(&bus.log);
    bus_packets(&bus, CUT, 1, NF(0));
    assert_int_equal(bus_poll(&bus, 0), CUT + 3);
    assert_int_equal(bus_poll(&bus, 0), CUT - 3);
    bus_destroy(&bus);
}

static void an_entry_may_end_a_batch(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &in_batches, 1);
    bus_packets(&bus, 10, 1, NF(0));
    for (unsigned batch = 0; batch < 2; batch++) {
        bus_entry(&bus, 0, NF(0))->flags |= MB_ENDS_BATCH;
        bus_end_packet(&bus);
    }
    mb_log_commit(&bus.log);
    assert_int_equal(bus_poll(&bus, 0), 11);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 0), 1);
    bus_destroy(&bus);
}

static void who_skips_what_is_not_for_him_gets_the_same_batches(void **state) {
    (void)state;
    struct bus bus;
    const struct bus_nf reads = {0};
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, in_batches}, 2);
    for (unsigned i = 0; i < 2 * SLOTS + 30; i++) { /* idle for two laps, then named in mid-batch */
        if (!mb_log_has_room(&bus.log, 1))
            bus_poll(&bus, 0), bus_poll(&bus, 0), bus_poll(&bus, 0);
        bus_packet(&bus, 1, NF(0));
    }
    bus_packet(&bus, 1, NF(1));
    assert_int_equal(bus_poll(&bus, 1), 0);
    for (unsigned i = 31; i < CUT; i++) {
        if (!mb_log_has_room(&bus.log, 1))
            bus_poll(&bus, 0), bus_poll(&bus, 0), bus_poll(&bus, 0);
        assert_int_equal(bus_poll(&bus, 1), 0);
        bus_packet(&bus, 1, i % 2 == 0 ? NF(1) : 0);
    }
    assert_int_equal(bus_poll(&bus, 1), 1 + (CUT - 31) / 2);
    bus_destroy(&bus);
}

static int publish(struct bus *bus, uint32_t delivery, uint32_t length) {
    static const uint8_t payload[RING / 4];
    const struct mb_delivery *cause = &bus->delivery[0][delivery];
    volatile bool cancelled = true; /* where it would have to wait, the test has failed */
    mb_reader_set_position(bus->reader[0], cause->entry->sequence);
    return mb_reader_publish(bus->reader[0], cause, 7, 0, payload, length, &cancelled);
}

/* NF 0 publishes `each` events of `length` bytes a packet; NF 1 reads them in batches. Returns the
 * positions at which NF 1's batches ended as one number to compare. NF 0 takes `stride` packets at
 * a time: timing, which must not matter. */
static uint64_t ends_of_batches(uint32_t stride, uint32_t each, uint32_t length, bool merges) {
    struct bus bus;
    struct bus_nf publishes = {.own_slots = OWN_SLOTS, .ring_bytes = RING};
    struct bus_nf reader = {.waits_for = NF(0), .merges = merges ? NF(0) : 0, .cut = 1024};
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, reader}, 2);
    uint64_t fingerprint = 0;
    uint64_t delivered = 0;
    enum { PACKETS = 240 };
    for (uint32_t packet = 0; packet < PACKETS; packet += stride) {
        bus_packets(&bus, stride, 1, NF(0) | NF(1));
        assert_int_equal(bus_poll(&bus, 0), stride);
        for (uint32_t i = 0; i < stride * each; i++)
            assert_int_equal(publish(&bus, i / each, length), 0);
        mb_reader_advance(bus.reader[0]);
        uint32_t count;
        while ((count = bus_poll(&bus, 1)) > 0) {
            delivered += count;
            fingerprint = fingerprint * 1000003 + delivered;
        }
    }
    bus_destroy(&bus);
    assert_true(delivered > 0);
    return fingerprint;
}

static void a_quarter_of_a_publishers_log_ends_a_batch(void **state) {
    (void)state;
    uint64_t once = ends_of_batches(1, 3, 8, true);
    assert_true(once == ends_of_batches(2, 3, 8, true));
    assert_true(once == ends_of_batches(5, 3, 8, true));
}

static void a_quarter_of_a_publishers_data_ring_ends_a_batch(void **state) {
    (void)state;
    uint64_t once = ends_of_batches(1, 1, 700, true);
    assert_true(once == ends_of_batches(2, 1, 700, true));
}

static void that_holds_for_whoever_is_waited_for(void **state) {
    (void)state;
    uint64_t once = ends_of_batches(1, 3, 8, false);
    assert_true(once == ends_of_batches(5, 3, 8, false));
}

/* NF 0 takes batches and publishes at the end of each what its first entry causes; NF 1 reads it,
 * and its poll ends before it comes to that. */
static void a_batch_is_kept_until_what_was_published_at_its_end_is_read(void **state) {
    (void)state;
    const struct bus_nf publishes = {.cut = 4096, .own_slots = OWN_SLOTS, .ring_bytes = RING};
    const struct bus_nf reads = {.waits_for = NF(0), .merges = NF(0)};
    const uint8_t payload = 1;
    struct bus bus;
    bus_create(&bus, 16384, (struct bus_nf[]){publishes, reads}, 2);
    bus_packets(&bus, 4096, 1, NF(0) | NF(1));
    for (uint64_t end = BUS_CAPACITY; end <= 4096; end += BUS_CAPACITY) {
        assert_int_equal(bus_poll(&bus, 0), BUS_CAPACITY);
        mb_reader_set_batch_position(bus.reader[0], end - 1);
        assert_int_equal(
            mb_reader_publish(bus.reader[0], &bus.delivery[0][0], 7, 0, &payload, 1, NULL), 0);
        mb_reader_advance(bus.reader[0]);
    }
    static const uint64_t kept_from[] = {0, 0, 0, 4096};
    static const uint32_t delivered[] = {BUS_CAPACITY, 1, BUS_CAPACITY, 1};
    for (unsigned poll = 0; poll < 4; poll++) {
        assert_int_equal(bus_poll(&bus, 1), delivered[poll]);
        mb_reader_advance(bus.reader[1]);
        assert_int_equal(mb_reader_position(bus.reader[1]), kept_from[poll]);
    }
    bus_destroy(&bus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_comes_when_it_is_complete),
        cmocka_unit_test(a_packet_is_never_cut),
        cmocka_unit_test(an_entry_may_end_a_batch),
        cmocka_unit_test(who_skips_what_is_not_for_him_gets_the_same_batches),
        cmocka_unit_test(a_quarter_of_a_publishers_log_ends_a_batch),
        cmocka_unit_test(a_quarter_of_a_publishers_data_ring_ends_a_batch),
        cmocka_unit_test(that_holds_for_whoever_is_waited_for),
        cmocka_unit_test(a_batch_is_kept_until_what_was_published_at_its_end_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
