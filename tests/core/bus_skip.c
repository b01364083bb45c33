/*
 * NFs that skip: they hold back nobody, and what they are too slow for is counted exactly.
 */
#include "bus_fixture.h"

#include "microbox/events/event_types.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = MB_LOG_SLOTS_MIN, CUT = 256 };

static const struct bus_nf reads = {0};
static const struct bus_nf judges = {.is_inline = true};
static const struct bus_nf skips = {.skips = true};
static const struct bus_nf skips_behind_a_judge = {.waits_for = NF(0), .skips = true};
static const struct bus_nf skips_in_batches = {.skips = true, .cut = CUT};

struct seen {
    uint64_t handled;
    uint64_t lost;
    uint64_t gaps;
    uint64_t next; /* no sequence number may be smaller */
};

/* One poll of NF `index`, whose deliveries must be whole and in order. Returns how many. */
static uint32_t look(struct bus *bus, uint32_t index, struct seen *seen) {
    const uint32_t count = bus_poll(bus, index);
    for (uint32_t i = 0; i < count; i++) {
        const struct mb_entry *entry = bus->delivery[index][i].entry;
        assert_true(entry->sequence >= seen->next);
        seen->next = entry->sequence + 1;
        if (entry->type == MB_TYPE_SYSTEM_LOST) {
            seen->lost += entry->payload.lost.events;
            seen->gaps++;
            continue;
        }
        seen->handled++;
        assert_int_equal(entry->time, entry->sequence * 1000);
        assert_int_equal(entry->payload.bytes[MB_PAYLOAD_SIZE - 1], entry->sequence & 0xff);
    }
    mb_reader_advance(bus->reader[index]);
    return count;
}

static void read_all(struct bus *bus, uint32_t index, struct seen *seen) {
    while (look(bus, index, seen) != 0)
        ;
}

static void who_skips_holds_nobody_and_learns_what_it_lost(void **state) {
    (void)state;
    struct bus bus;
    struct seen seen = {0};
    bus_create(&bus, SLOTS, &skips, 1);
    bus_packets(&bus, 3 * SLOTS + 5, 1, NF(0)); /* each of them found room */
    read_all(&bus, 0, &seen);
    assert_int_equal(seen.gaps, 1);
    assert_int_equal(seen.handled + seen.lost, 3 * SLOTS + 5);
    assert_true(seen.handled >= SLOTS / 2);
    assert_int_equal(bus_counters(&bus, 0)->lost, seen.lost);
    assert_int_equal(bus_counters(&bus, 0)->matched, seen.handled);
    assert_true(mb_log_drained(&bus.log));
    bus_destroy(&bus);
}

static void who_keeps_up_loses_nothing(void **state) {
    (void)state;
    struct bus bus;
    struct seen seen = {0};
    bus_create(&bus, SLOTS, &skips, 1);
    for (unsigned i = 0; i < 40; i++) {
        bus_packets(&bus, SLOTS / 4, 1, NF(0));
        read_all(&bus, 0, &seen);
    }
    assert_int_equal(seen.handled, 10 * SLOTS);
    assert_int_equal(seen.lost, 0);
    bus_destroy(&bus);
}

static void only_what_was_for_it_counts_as_lost(void **state) {
    (void)state;
    struct bus bus;
    struct seen seen = {0};
    bus_create(&bus, SLOTS, (struct bus_nf[]){skips, skips}, 2);
    for (unsigned i = 0; i < 3000; i++) {
        bus_packets(&bus, 2, 1, NF(1));
        bus_packets(&bus, 1, 1, NF(0) | NF(1));
    }
    read_all(&bus, 0, &seen);
    assert_int_equal(seen.handled + seen.lost, 3000);
    seen = (struct seen){0};
    read_all(&bus, 1, &seen);
    assert_int_equal(seen.handled + seen.lost, 9000);
    bus_destroy(&bus);
}

/* What the runtime alone reads is read, and not counted. */
static void only_types_that_count_are_lost(void **state) {
    (void)state;
    struct bus bus;
    struct seen seen = {0};
    bus_create(&bus, SLOTS, &skips, 1);
    struct mb_reader_config config = {.log_slots = SLOTS,
                                      .geometry = bus_geometry(&bus, 0),
                                      .subscriptions = 1,
                                      .types[0] = {UINT64_MAX, UINT64_MAX},
                                      .loses = {1 << (BUS_TYPE + 1)},
                                      .skips = true};
    int error;
    mb_reader_destroy(bus.reader[0]);
    bus.reader[0] = mb_reader_create(&config, &error);
    assert_non_null(bus.reader[0]);
    assert_int_equal(mb_reader_map_log(bus.reader[0], bus.log.area.fd), 0);
    for (uint32_t type = 0; type < MB_TYPES_MAX; type++)
        bus.delivers[0][type][0] = type == BUS_TYPE + 1 ? NF(0) : 0;
    for (unsigned i = 0; i < 3 * SLOTS; i++) {
        if (i == SLOTS / 4)
            assert_int_equal(look(&bus, 0, &seen), SLOTS / 4);
        assert_true(mb_log_has_room(&bus.log, 1));
        bus_entry(&bus, 1, NF(0))->type = i % 4 == 0 ? BUS_TYPE + 1 : BUS_TYPE;
        bus_end_packet(&bus);
        mb_log_commit(&bus.log);
    }
    assert_int_equal(look(&bus, 0, &seen), 1);
    assert_int_equal(seen.lost, (bus.log.floor + 3) / 4 - SLOTS / 16);
    bus_destroy(&bus);
}

static void an_idle_nf_loses_nothing(void **state) {
    (void)state;
    struct bus bus;
    struct seen seen = {0};
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, skips}, 2);
    for (unsigned i = 0; i < 5; i++) {
        for (unsigned k = 0; k < SLOTS; k++) {
            bus_packet(&bus, 1, NF(0));
            if (bus_poll(&bus, 0) == 1)
                mb_reader_advance(bus.reader[0]);
        }
        bus_packet(&bus, 1, NF(0) | NF(1));
        bus_poll(&bus, 0);
        mb_reader_advance(bus.reader[0]);
        read_all(&bus, 1, &seen);
        assert_int_equal(seen.handled, i + 1);
    }
    assert_int_equal(seen.gaps, 0);
    bus_destroy(&bus);
}

static void others_still_hold_the_log(void **state) {
    (void)state;
    struct bus bus;
    struct seen seen = {0};
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, skips}, 2);
    uint64_t published = 0;
    while (mb_log_has_room(&bus.log, 1)) {
        bus_packet(&bus, 1, NF(0) | NF(1));
        published++;
    }
    assert_true(published <= SLOTS);
    read_all(&bus, 1, &seen);
    read_all(&bus, 0, &(struct seen){0});
    bus_packets(&bus, SLOTS / 4, 1, NF(0) | NF(1));
    read_all(&bus, 1, &seen);
    assert_int_equal(seen.handled, published + SLOTS / 4);
    assert_int_equal(seen.lost, 0);
    bus_destroy(&bus);
}

static void the_worker_waits_for_who_skips_where_nothing_else_is_to_do(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &skips, 1);
    bus_packet(&bus, 1, NF(0));
    mb_log_wait_for_room(&bus.log, 1000000);
    assert_int_equal(bus.log.slept, 1);
    bus_destroy(&bus);
}

static void a_loss_comes_before_what_came_after_it(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, &skips, 1);
    bus_packets(&bus, 100, 1, NF(0));
    assert_int_equal(bus_poll(&bus, 0), 100);
    bus_packets(&bus, 2 * SLOTS, 1, NF(0));
    for (unsigned i = 0; i < 100; i++) /* what was delivered is not touched */
        assert_int_equal(bus.delivery[0][i].entry->sequence, i);
    assert_int_equal(bus_poll(&bus, 0), 1);
    const struct mb_entry *lost = bus.delivery[0][0].entry;
    const uint64_t floor = bus.log.floor;
    assert_int_equal(lost->type, MB_TYPE_SYSTEM_LOST);
    assert_int_equal(lost->payload.lost.events, floor - 100);
    assert_int_equal(lost->time, floor * 1000);
    assert_int_equal(lost->sequence, floor - 1);
    assert_int_equal(bus.delivery[0][0].position, floor - 1);
    assert_true(bus_poll(&bus, 0) > 1);
    assert_int_equal(bus.delivery[0][0].entry->sequence, floor);
    bus_destroy(&bus);
}

static void a_packet_is_lost_whole(void **state) {
    (void)state;
    struct bus bus;
    struct seen seen = {0};
    bus_create(&bus, SLOTS, &skips, 1);
    for (unsigned packet = 0; packet < 3 * SLOTS / 7; packet++) {
        assert_true(mb_log_has_room(&bus.log, 7));
        for (unsigned i = 0; i < 7; i++)
            bus_entry(&bus, 1, NF(0));
        bus_end_packet(&bus);
        mb_log_commit(&bus.log);
    }
    read_all(&bus, 0, &seen);
    assert_int_equal(seen.lost % 7, 0);
    assert_int_equal(seen.handled + seen.lost, 3 * SLOTS / 7 * 7);
    bus_destroy(&bus);
}

static void verdicts_hold_for_who_skips(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){judges, skips_behind_a_judge}, 2);
    uint64_t kept = 0;
    for (unsigned i = 0; i < 3 * SLOTS; i++) {
        const uint64_t sequence = bus_packet(&bus, 1, NF(0) | NF(1));
        assert_int_equal(bus_poll(&bus, 0), 1);
        if (sequence % 2 == 0)
            mb_reader_judge(bus.reader[0], sequence, MB_DROP);
        mb_reader_advance(bus.reader[0]);
    }
    struct seen seen = {0};
    while (look(&bus, 1, &seen) != 0)
        for (uint32_t i = 0; i < 1; i++)
            kept += bus.delivery[1][0].entry->type == BUS_TYPE &&
                    bus.delivery[1][0].entry->sequence % 2 == 0;
    assert_int_equal(kept, 0);
    const struct mb_nf_counters *counters = bus_counters(&bus, 1);
    assert_int_equal(counters->judged_dropped, seen.handled);
    assert_int_equal(counters->matched + counters->lost, 3 * SLOTS);
    bus_destroy(&bus);
}

/* What of a batch came before the loss is a batch; after it they end where they always do. */
static void a_batch_ends_where_something_is_lost(void **state) {
    (void)state;
    struct bus bus;
    struct seen seen = {0};
    bus_create(&bus, SLOTS, &skips_in_batches, 1);
    bus_packets(&bus, CUT + 10, 1, NF(0));
    assert_int_equal(look(&bus, 0, &seen), CUT);
    assert_int_equal(look(&bus, 0, &seen), 0); /* copied, and not complete */
    bus_packets(&bus, 2 * SLOTS, 1, NF(0));
    assert_int_equal(look(&bus, 0, &seen), 10);
    assert_int_equal(look(&bus, 0, &seen), 1);
    assert_int_equal(seen.lost, bus.log.floor - CUT - 10);
    const uint64_t rest = CUT - bus.log.floor % CUT;
    assert_int_equal(look(&bus, 0, &seen), rest);
    assert_int_equal(look(&bus, 0, &seen), CUT);
    bus_destroy(&bus);
}

static void a_publisher_does_not_wait_for_who_skips(void **state) {
    (void)state;
    struct bus bus;
    const struct bus_nf publishes = {.is_inline = true, .own_slots = 16, .ring_bytes = 4096};
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, skips_behind_a_judge}, 2);
    const uint8_t payload[8] = {0};
    for (unsigned i = 0; i < 100; i++) {
        bus_packet(&bus, 1, NF(0) | NF(1));
        assert_int_equal(bus_poll(&bus, 0), 1);
        mb_reader_set_position(bus.reader[0], i);
        assert_int_equal(
            mb_reader_publish(bus.reader[0], bus.delivery[0], 9, 0, payload, sizeof payload, NULL),
            0);
        mb_reader_advance(bus.reader[0]);
    }
    assert_int_equal(bus_counters(&bus, 0)->waits_full, 0);
    bus_destroy(&bus);
}

/* A pool of frames: no capture, one page that is used again. */
struct frames {
    struct mb_area area;
    struct mb_frame_pool shared;
    struct mb_frame_pool own;
};

static void make_frames(struct bus *bus, struct frames *frames) {
    assert_int_equal(mb_area_create(&frames->area, "frames", MB_PAGE_SIZE), 0);
    const int fd = frames->area.fd;
    const struct mb_pool_part none = {.size = 0};
    const struct mb_pool_part page = {.fd = fd, .size = MB_PAGE_SIZE};
    assert_int_equal(mb_frame_pool_map(&frames->shared, none, page, none), 0);
    assert_int_equal(mb_frame_pool_map(&frames->own, none, page, none), 0);
    assert_int_equal(mb_reader_copy_frames(bus->reader[0], &frames->shared, &frames->own), 0);
}

static void destroy_frames(struct frames *frames) {
    mb_frame_pool_unmap(&frames->shared);
    mb_frame_pool_unmap(&frames->own);
    mb_area_destroy(&frames->area);
}

static void put_frame(struct bus *bus, struct frames *frames, uint64_t at, const char *text) {
    memcpy((char *)frames->area.base + at, text, strlen(text));
    struct mb_entry *entry = bus_entry(bus, 1, NF(0));
    entry->frame = at;
    entry->frame_length = (uint32_t)strlen(text);
    bus_end_packet(bus);
    mb_log_commit(&bus->log);
}

static void a_frame_that_may_be_used_again_is_copied(void **state) {
    (void)state;
    struct bus bus;
    struct frames frames;
    bus_create(&bus, SLOTS, &skips, 1);
    make_frames(&bus, &frames);
    put_frame(&bus, &frames, 3, "datagram");
    assert_int_equal(bus_poll(&bus, 0), 1);
    memset(frames.area.base, 'x', 100);
    assert_memory_equal(frames.own.bytes + bus.delivery[0][0].entry->frame, "datagram", 8);
    bus_destroy(&bus);
    destroy_frames(&frames);
}

static void an_event_whose_frame_is_gone_is_lost(void **state) {
    (void)state;
    struct bus bus;
    struct frames frames;
    bus_create(&bus, SLOTS, &skips, 1);
    make_frames(&bus, &frames);
    put_frame(&bus, &frames, 0, "one");
    mb_log_learn_limit(&bus.log);
    mb_log_give_up_frames(&bus.log);
    put_frame(&bus, &frames, 0, "two");
    assert_int_equal(bus_poll(&bus, 0), 2);
    assert_int_equal(bus.delivery[0][0].entry->type, MB_TYPE_SYSTEM_LOST);
    assert_int_equal(bus.delivery[0][0].entry->payload.lost.events, 1);
    assert_int_equal(bus.delivery[0][1].entry->type, BUS_TYPE);
    assert_memory_equal(frames.own.bytes, "two", 3);
    assert_int_equal(bus_counters(&bus, 0)->lost, 1);
    assert_int_equal(bus_counters(&bus, 0)->matched, 1);
    bus_destroy(&bus);
    destroy_frames(&frames);
}

/* The event that says how many were overwritten has no frame, and so is not lost with frames. */
static void what_was_lost_is_told_though_frames_are_gone(void **state) {
    (void)state;
    struct bus bus;
    struct frames frames;
    struct seen seen = {0};
    bus_create(&bus, SLOTS, &skips, 1);
    make_frames(&bus, &frames);
    bus_packets(&bus, 3 * SLOTS, 1, NF(0));
    mb_log_learn_limit(&bus.log);
    mb_log_give_up_frames(&bus.log);
    read_all(&bus, 0, &seen);
    assert_true(bus.log.page->floor > SLOTS);
    assert_int_equal(seen.gaps, 1 + 3 * SLOTS - bus.log.page->floor);
    assert_int_equal(seen.lost, 3 * SLOTS);
    assert_int_equal(bus_counters(&bus, 0)->lost, 3 * SLOTS);
    bus_destroy(&bus);
    destroy_frames(&frames);
}

static void who_comes_later_loses_only_what_came_since(void **state) {
    (void)state;
    struct bus bus;
    struct seen seen = {0};
    bus_create(&bus, SLOTS, (struct bus_nf[]){skips, skips}, 2);
    const struct mb_consumer consumer = bus.log.consumer[1];
    mb_log_detach(&bus.log, 1);
    bus_packets(&bus, 3 * SLOTS, 1, NF(0) | NF(1)); /* its bit may still be set */
    assert_int_equal(mb_log_attach(&bus.log, 1, &consumer), 0);
    bus_packets(&bus, 2 * SLOTS, 1, NF(0) | NF(1));
    read_all(&bus, 1, &seen);
    assert_int_equal(seen.handled + seen.lost, 2 * SLOTS);
    bus_destroy(&bus);
}

static void when_the_last_who_skips_is_gone_the_floor_rests(void **state) {
    (void)state;
    struct bus bus;
    struct seen seen = {0};
    bus_create(&bus, SLOTS, &skips, 1);
    const struct mb_consumer consumer = bus.log.consumer[0];
    mb_log_detach(&bus.log, 0);
    bus_packets(&bus, 2 * SLOTS, 1, 0);
    assert_int_equal(bus.log.page->floor, 0);
    assert_int_equal(mb_log_attach(&bus.log, 0, &consumer), 0);
    assert_true(bus.log.page->floor >= SLOTS);
    bus_packets(&bus, 2 * SLOTS, 1, NF(0));
    read_all(&bus, 0, &seen);
    assert_int_equal(seen.handled + seen.lost, 2 * SLOTS);
    bus_destroy(&bus);
}

static int refusal_of(struct mb_reader_config config) {
    int error = 0;
    config.log_slots = SLOTS;
    config.geometry.log_slots = SLOTS;
    config.skips = true;
    assert_null(mb_reader_create(&config, &error));
    return error;
}

static void whom_others_wait_for_may_not_skip(void **state) {
    (void)state;
    assert_int_equal(refusal_of((struct mb_reader_config){.geometry = {.is_inline = true}}),
                     -EINVAL);
    assert_int_equal(refusal_of((struct mb_reader_config){.geometry = {.command_slots = 4096},
                                                          .command_delay = 100}),
                     -EINVAL);
}

static void who_reads_what_nfs_publish_may_not_skip(void **state) {
    (void)state;
    struct bus bus;
    const struct bus_nf publishes = {.own_slots = 16, .ring_bytes = 4096};
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, skips}, 2);
    struct mb_neighbour neighbour = {.index = 0,
                                     .fd = mb_reader_area_fd(bus.reader[0]),
                                     .geometry = bus_geometry(&bus, 0),
                                     .mask = {NF(0), 0},
                                     .barrier = true,
                                     .publishes = true};
    assert_int_equal(mb_reader_map_neighbour(bus.reader[1], &neighbour), -EINVAL);
    bus_destroy(&bus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_skips_holds_nobody_and_learns_what_it_lost),
        cmocka_unit_test(who_keeps_up_loses_nothing),
        cmocka_unit_test(only_what_was_for_it_counts_as_lost),
        cmocka_unit_test(only_types_that_count_are_lost),
        cmocka_unit_test(an_idle_nf_loses_nothing),
        cmocka_unit_test(others_still_hold_the_log),
        cmocka_unit_test(the_worker_waits_for_who_skips_where_nothing_else_is_to_do),
        cmocka_unit_test(a_loss_comes_before_what_came_after_it),
        cmocka_unit_test(a_packet_is_lost_whole),
        cmocka_unit_test(verdicts_hold_for_who_skips),
        cmocka_unit_test(a_batch_ends_where_something_is_lost),
        cmocka_unit_test(a_publisher_does_not_wait_for_who_skips),
        cmocka_unit_test(a_frame_that_may_be_used_again_is_copied),
        cmocka_unit_test(an_event_whose_frame_is_gone_is_lost),
        cmocka_unit_test(what_was_lost_is_told_though_frames_are_gone),
        cmocka_unit_test(who_comes_later_loses_only_what_came_since),
        cmocka_unit_test(when_the_last_who_skips_is_gone_the_floor_rests),
        cmocka_unit_test(whom_others_wait_for_may_not_skip),
        cmocka_unit_test(who_reads_what_nfs_publish_may_not_skip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
