/*
 * An NF that writes anything anywhere in its own area: the others lose its events, no more.
 */
#include "bus_fixture.h"

#include "microbox/bus/reader_private.h"

#include <errno.h>

enum { SLOTS = MB_LOG_SLOTS_MIN, OWN_SLOTS = 64, RING = 4096, ROUNDS = 3000, ALL = 7 };

static const struct bus_nf hostile = {
    .is_inline = true, .own_slots = OWN_SLOTS, .ring_bytes = RING};
static const struct bus_nf merges = {
    .waits_for = NF(0), .merges = NF(0), .own_slots = OWN_SLOTS, .ring_bytes = RING};
static const struct bus_nf in_batches = {
    .waits_for = NF(0) | NF(1), .merges = NF(0) | NF(1), .cut = 64};

static int poll(struct bus *bus, uint32_t index, uint32_t *broken) {
    return mb_reader_poll(bus->reader[index], bus->delivery[index], BUS_CAPACITY, 0, broken);
}

static int publish(struct bus *bus, uint32_t index, uint32_t delivery) {
    static const uint8_t payload[200];
    const struct mb_delivery *cause = &bus->delivery[index][delivery];
    volatile bool cancelled = true;
    mb_reader_set_position(bus->reader[index], cause->position);
    return mb_reader_publish(bus->reader[index], cause, 7, 0, payload, sizeof payload, &cancelled);
}

/* NF 0 has published one event on the worker's entry 0. `entry` is its slot, open to damage. */
static struct mb_nf_entry *one_event(struct bus *bus) {
    bus_create(bus, SLOTS, (struct bus_nf[]){hostile, merges}, 2);
    bus_packet(bus, 1, ALL);
    assert_int_equal(bus_poll(bus, 0), 1);
    assert_int_equal(publish(bus, 0, 0), 0);
    mb_reader_advance(bus->reader[0]);
    return &bus->reader[0]->own.slots[0];
}

/* The event is left out, its publisher named once, and the worker's entries come as ever. */
static void expect_broken(struct bus *bus) {
    uint32_t broken = UINT32_MAX;
    assert_int_equal(poll(bus, 1, &broken), 1);
    assert_int_equal(poll(bus, 1, &broken), -EPROTO);
    assert_int_equal(broken, 0);
    bus_packet(bus, 1, NF(1));
    assert_int_equal(poll(bus, 1, &broken), 1);
    assert_int_equal(poll(bus, 1, &broken), 0);
    bus_destroy(bus);
}

static void a_sound_event_comes(void **state) {
    (void)state;
    struct bus bus;
    one_event(&bus);
    assert_int_equal(bus_poll(&bus, 1), 2);
    bus_destroy(&bus);
}

static void a_wrong_sequence_breaks_a_log(void **state) {
    (void)state;
    struct bus bus;
    one_event(&bus)->entry.sequence = 1;
    expect_broken(&bus);
}

static void a_type_out_of_range_breaks_a_log(void **state) {
    (void)state;
    struct bus bus;
    one_event(&bus)->entry.type = MB_TYPES_MAX;
    expect_broken(&bus);
}

static void another_publisher_breaks_a_log(void **state) {
    (void)state;
    struct bus bus;
    one_event(&bus)->provenance.publisher = 1;
    expect_broken(&bus);
}

static void a_cause_in_no_log_breaks_a_log(void **state) {
    (void)state;
    struct bus bus;
    one_event(&bus)->provenance.cause_log = MB_NFS_MAX + 1;
    expect_broken(&bus);
}

static void a_payload_over_a_quarter_of_the_ring_breaks_a_log(void **state) {
    (void)state;
    struct bus bus;
    one_event(&bus)->provenance.blob_length = RING / 4 + 1;
    expect_broken(&bus);
}

static void a_payload_over_the_rings_end_breaks_a_log(void **state) {
    (void)state;
    struct bus bus;
    one_event(&bus)->provenance.blob = RING - 100;
    expect_broken(&bus);
}

static void a_payload_over_the_entrys_end_breaks_a_log(void **state) {
    (void)state;
    struct bus bus;
    one_event(&bus)->entry.flags &= (uint8_t)~MB_IN_DATA_RING;
    expect_broken(&bus);
}

static void positions_that_run_backwards_break_a_log(void **state) {
    (void)state;
    struct bus bus;
    struct mb_nf_entry *slots = one_event(&bus);
    bus_packet(&bus, 1, ALL);
    assert_int_equal(bus_poll(&bus, 0), 1);
    assert_int_equal(publish(&bus, 0, 0), 0);
    mb_reader_advance(bus.reader[0]);
    uint32_t broken;
    slots[0].provenance.at = 1;
    slots[1].provenance.at = 0;
    assert_int_equal(poll(&bus, 1, &broken), 3);
    assert_int_equal(poll(&bus, 1, &broken), -EPROTO);
    bus_destroy(&bus);
}

static void a_head_that_runs_backwards_or_away_breaks_a_log(void **state) {
    (void)state;
    const uint64_t heads[] = {0, OWN_SLOTS + 2, UINT64_MAX};
    for (unsigned i = 0; i < 3; i++) {
        struct bus bus;
        one_event(&bus);
        assert_int_equal(bus_poll(&bus, 1), 2);
        bus.reader[0]->own.page->log_head = heads[i];
        bus_packet(&bus, 1, NF(1));
        uint32_t broken;
        assert_int_equal(poll(&bus, 1, &broken), 1);
        assert_int_equal(poll(&bus, 1, &broken), -EPROTO);
        bus_destroy(&bus);
    }
}

static void a_cursor_inside_a_packet_delivers_no_part_of_it(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){hostile, merges}, 2);
    for (unsigned i = 0; i < 5; i++)
        bus_entry(&bus, 1, ALL);
    bus_end_packet(&bus);
    mb_log_commit(&bus.log);
    bus.reader[0]->own.page->cursor = 3;
    bus_expect(&bus, 1, -1);
    bus.reader[0]->own.page->cursor = 5;
    bus_expect(&bus, 1, 0, 1, 2, 3, 4, -1);
    bus_destroy(&bus);
}

static void an_unknown_verdict_passes(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){hostile, merges}, 2);
    bus_packet(&bus, 1, ALL);
    bus_poll(&bus, 0);
    bus.reader[0]->own.verdicts[0] = 200;
    mb_reader_advance(bus.reader[0]);
    bus_expect(&bus, 1, 0, -1);
    bus_destroy(&bus);
}

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* A word that may hurt: small, near the positions in use, huge, or noise. */
static uint64_t hurtful(uint64_t *random, const struct bus *bus) {
    uint64_t noise = next_random(random);
    switch (noise % 4) {
    case 0:
        return noise % 64;
    case 1:
        return bus->log.head + noise % 128 - 64;
    case 2:
        return UINT64_MAX - noise % 8;
    default:
        return noise;
    }
}

static void scribble(struct bus *bus, uint64_t *random) {
    struct mb_reader *reader = bus->reader[0];
    uint64_t *const pages[] = {&reader->own.page->cursor, &reader->own.page->log_head,
                               (uint64_t *)(void *)&reader->own.page->asleep};
    *pages[next_random(random) % 3] = hurtful(random, bus);
    uint64_t *words = (uint64_t *)reader->own_area.base;
    uint64_t count = reader->own_area.size / sizeof *words;
    for (unsigned i = 0; i < 20; i++)
        words[next_random(random) % count] = hurtful(random, bus);
    struct mb_nf_entry *slot = &reader->own.slots[next_random(random) % OWN_SLOTS];
    slot->provenance.at = hurtful(random, bus);
}

/* Whatever comes can be read to its end (AddressSanitizer watches). */
static uint64_t read_through(const struct mb_delivery *delivery) {
    uint64_t sum = delivery->entry->time;
    for (uint32_t i = 0; i < delivery->payload_length; i++)
        sum += delivery->payload[i];
    return sum;
}

static void noise_hurts_nobody_else(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct bus bus;
        uint64_t random = seed * 7919;
        uint64_t sum = 0;
        bus_create(&bus, SLOTS, (struct bus_nf[]){hostile, merges, in_batches}, 3);
        for (unsigned round = 0; round < ROUNDS; round++) {
            if (mb_log_has_room(&bus.log, 8))
                bus_packets(&bus, 1 + round % 8, round % 50, ALL);
            for (uint32_t index = 1; index < 3; index++) {
                uint32_t broken = 0;
                int count = poll(&bus, index, &broken);
                assert_true(count >= 0 || (count == -EPROTO && broken == 0));
                for (int i = 0; i < count; i++)
                    sum += read_through(&bus.delivery[index][i]);
                if (index == 1 && count > 0)
                    publish(&bus, 1, 0);
            }
            scribble(&bus, &random);
        }
        assert_true(sum != 0);
        /* Without it, the others read on to the end. */
        mb_log_detach(&bus.log, 0);
        uint64_t head = bus_packet(&bus, 1, ALL) + 1;
        bus_packets(&bus, 64, 1, ALL);
        for (unsigned turn = 0; turn < 1000; turn++) {
            uint32_t broken;
            poll(&bus, 1, &broken);
            poll(&bus, 2, &broken);
        }
        assert_true(mb_log_passed(&bus.log, 1) >= head);
        assert_true(mb_log_passed(&bus.log, 2) >= head);
        bus_destroy(&bus);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_event_comes),
        cmocka_unit_test(a_wrong_sequence_breaks_a_log),
        cmocka_unit_test(a_type_out_of_range_breaks_a_log),
        cmocka_unit_test(another_publisher_breaks_a_log),
        cmocka_unit_test(a_cause_in_no_log_breaks_a_log),
        cmocka_unit_test(a_payload_over_a_quarter_of_the_ring_breaks_a_log),
        cmocka_unit_test(a_payload_over_the_rings_end_breaks_a_log),
        cmocka_unit_test(a_payload_over_the_entrys_end_breaks_a_log),
        cmocka_unit_test(positions_that_run_backwards_break_a_log),
        cmocka_unit_test(a_head_that_runs_backwards_or_away_breaks_a_log),
        cmocka_unit_test(a_cursor_inside_a_packet_delivers_no_part_of_it),
        cmocka_unit_test(an_unknown_verdict_passes),
        cmocka_unit_test(noise_hurts_nobody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
