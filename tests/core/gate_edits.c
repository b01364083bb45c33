/*
 * Edits from the NF to those behind it and to the output: a real log, real readers, the gate. The
 * packets are UDP datagrams, whose payload begins with their number.
 */
#include "bus_fixture.h"

#include "microbox/bus/atomic.h"
#include "microbox/bus/reader_private.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/decode/decode.h"
#include "microbox/stack/gate.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    SLOTS = MB_LOG_SLOTS_MIN,
    RING = 4 * MB_VERSION_FRAME_MAX, /* the smallest */
    EDIT_BYTES = 1 << 16,
    FRAMES = 4096,
    HEADERS = 42,
    DATA = 512,
    FRAME = HEADERS + DATA,
    STRIDE = 1024 /* of frames in the pool */
};

static const struct bus_nf first_reader = {0};
static const struct bus_nf editor = {.is_inline = true, .editor = 1, .edit_bytes = EDIT_BYTES};
static const struct bus_nf editor_of_two = {
    .is_inline = true, .editor = 2, .edit_bytes = EDIT_BYTES, .waits_for = NF(0)};
static const struct bus_nf behind = {.waits_for = NF(0), .is_inline = true};
static const struct bus_nf behind_both = {.waits_for = NF(0) | NF(1)};

struct bench {
    struct bus bus;
    struct mb_gate *gate;
    struct mb_sink *sink;
    int output;
    struct mb_area frames;
    struct mb_area versions;
    struct mb_versions_shape shape;
    struct mb_frame_pool pool;
    struct mb_frame_pool own_pool; /* of an NF that skips */
    uint64_t packets;
};

/* --- the worker --- */

static void make_frame(uint8_t *frame, uint64_t number) {
    static const uint8_t headers[HEADERS] = {2,
                                             0,
                                             0,
                                             0,
                                             0,
                                             1,
                                             2,
                                             0,
                                             0,
                                             0,
                                             0,
                                             2,
                                             8,
                                             0,
                                             0x45,
                                             0,
                                             (28 + DATA) >> 8,
                                             (28 + DATA) & 255,
                                             0,
                                             1,
                                             0,
                                             0,
                                             64,
                                             17,
                                             0,
                                             0,
                                             10,
                                             0,
                                             0,
                                             1,
                                             10,
                                             0,
                                             0,
                                             2,
                                             4,
                                             0,
                                             5,
                                             0,
                                             (8 + DATA) >> 8,
                                             (8 + DATA) & 255,
                                             0,
                                             0};
    memcpy(frame, headers, HEADERS);
    memset(frame + HEADERS, '.', DATA);
    memcpy(frame + HEADERS, &number, sizeof number);
}

static void use_versions(struct bench *bench, uint32_t index) {
    const struct mb_pool_part frames = {.fd = bench->frames.fd, .size = bench->frames.size};
    const struct mb_pool_part none = {.size = 0};
    const struct mb_pool_part versions = {.fd = bench->versions.fd, .size = bench->versions.size};
    struct mb_reader *reader = bench->bus.reader[index];
    const struct mb_frame_pool *pool = &bench->pool;
    if (bench->bus.nf[index].skips) {
        assert_int_equal(mb_frame_pool_map(&bench->own_pool, frames, none, versions), 0);
        assert_int_equal(mb_reader_copy_frames(reader, pool, &bench->own_pool), 0);
        pool = &bench->own_pool;
    }
    assert_int_equal(mb_reader_use_versions(reader, pool, &bench->shape), 0);
}

static void make_gate(struct bench *bench) {
    static const struct mb_decoder decoder = {.tunnels_max = 4};
    char error[MB_ERROR_SIZE];
    bench->output = memfd_create("output", MFD_CLOEXEC);
    bench->sink = mb_sink_open(dup(bench->output), 1, error);
    const struct mb_gate_config config = {
        .log = &bench->bus.log,
        .sink = bench->sink,
        .pool = bench->pool.bytes,
        .capacity = 4096,
        .flow_slots = 8,
        .datagram_slots = 4,
    };
    bench->gate = mb_gate_create(&config);
    assert_true(mb_gate_accept_edits(bench->gate, &decoder, &bench->shape, bench->versions.base));
}

static void watch(struct bench *bench, uint32_t index) {
    const struct mb_nf_geometry geometry = bus_geometry(&bench->bus, index);
    const struct mb_nf_area parts = mb_nf_area_parts(bench->bus.area[index].base, &geometry);
    if (!geometry.is_inline)
        return;
    mb_gate_watch(bench->gate, index, parts.verdicts, (uint64_t[2]){NF(index), 0}, false);
    if (geometry.editor != 0)
        mb_gate_watch_edits(bench->gate, index, &parts, &geometry);
}

static struct bench *create(const struct bus_nf *nfs, uint32_t count, uint32_t editors) {
    struct bench *bench = calloc(1, sizeof *bench);
    assert_non_null(bench);
    bus_create(&bench->bus, SLOTS, nfs, count);
    bench->shape =
        (struct mb_versions_shape){.editors = editors, .log_slots = SLOTS, .ring_bytes = RING};
    assert_int_equal(mb_area_create(&bench->frames, "frames", FRAMES * STRIDE), 0);
    assert_int_equal(mb_area_create(&bench->versions, "versions", mb_versions_size(&bench->shape)),
                     0);
    assert_int_equal(
        mb_frame_pool_map(
            &bench->pool, (struct mb_pool_part){.fd = bench->frames.fd, .size = bench->frames.size},
            (struct mb_pool_part){.size = 0},
            (struct mb_pool_part){.fd = bench->versions.fd, .size = bench->versions.size}),
        0);
    for (uint64_t number = 0; number < FRAMES; number++)
        make_frame((uint8_t *)bench->frames.base + number * STRIDE, number);
    make_gate(bench);
    for (uint32_t index = 0; index < count; index++) {
        use_versions(bench, index);
        watch(bench, index);
    }
    return bench;
}

static void destroy(struct bench *bench) {
    mb_gate_destroy(bench->gate);
    if (bench->sink)
        mb_sink_close(bench->sink);
    close(bench->output);
    bus_destroy(&bench->bus);
    mb_frame_pool_unmap(&bench->pool);
    mb_frame_pool_unmap(&bench->own_pool);
    mb_area_destroy(&bench->frames);
    mb_area_destroy(&bench->versions);
    free(bench);
}

/* As the worker does it: handle, run, add, commit. The frame of each entry is the packet's, but for
 * those of `others`, a set. */
static uint64_t packet(struct bench *bench, const uint64_t *masks, unsigned count,
                       unsigned others) {
    const uint64_t number = bench->packets++;
    const uint64_t offset = number % FRAMES * STRIDE;
    const struct mb_frame frame = {
        .offset = offset, .time = number, .length = FRAME, .wire_length = FRAME, .link_type = 1};
    struct mb_handled handled = {.first = bench->bus.log.next, .packet = number + 1};
    for (unsigned i = 0; i < count; i++) {
        const uint64_t mask[2] = {masks[i], 0};
        struct mb_entry *entry = mb_log_claim(&bench->bus.log, mask);
        entry->type = BUS_TYPE;
        entry->flags = 0;
        entry->packet = number + 1;
        entry->flow = 0;
        entry->frame = others >> i & 1 ? 0 : offset;
        entry->frame_length = FRAME;
        entry->data_offset = HEADERS;
        entry->data_length = DATA;
    }
    mb_log_end_packet(&bench->bus.log, handled.first);
    handled.end = bench->bus.log.next;
    mb_gate_run(bench->gate);
    mb_gate_add(bench->gate, &frame, &handled);
    mb_log_commit(&bench->bus.log);
    return handled.first;
}

static uint64_t packet_for(struct bench *bench, uint64_t mask) {
    return packet(bench, &mask, 1, 0);
}

/* --- the NFs --- */

static int replace(struct bench *bench, uint32_t index, uint32_t delivery, uint32_t at,
                   const char *bytes) {
    return mb_reader_replace(bench->bus.reader[index], &bench->bus.delivery[index][delivery], at,
                             (const uint8_t *)bytes, (uint32_t)strlen(bytes), NULL);
}

static int push_tag(struct bench *bench, uint32_t index, uint32_t delivery, uint16_t vlan) {
    return mb_reader_edit(bench->bus.reader[index], &bench->bus.delivery[index][delivery],
                          &(struct mb_edit){.tags_pushed = 1, .tags = {{0x8100, vlan}}});
}

static int set_ttl(struct bench *bench, uint32_t index, uint32_t delivery, uint8_t ttl) {
    return mb_reader_edit(bench->bus.reader[index], &bench->bus.delivery[index][delivery],
                          &(struct mb_edit){.fields = MB_EDIT_IP_TTL, .ip_ttl = ttl});
}

static void pass(struct bench *bench, uint32_t index) {
    mb_reader_advance(bench->bus.reader[index]);
    mb_gate_run(bench->gate);
}

static struct mb_seen_frame seen(const struct bench *bench, uint32_t index, uint32_t delivery) {
    return mb_reader_frame(bench->bus.reader[index], &bench->bus.delivery[index][delivery]);
}

/* The event's bytes as the NF sees them, after the number. */
static const char *data(const struct bench *bench, uint32_t index, uint32_t delivery) {
    const struct mb_seen_frame frame = seen(bench, index, delivery);
    const struct mb_frame_pool *pool = bench->bus.nf[index].skips ? &bench->own_pool : &bench->pool;
    return (const char *)pool->bytes + frame.frame + frame.data_offset + 8;
}

/* The frames that came out, in order, `stride` bytes each. Closes the sink. */
static unsigned output(struct bench *bench, uint8_t *frames, uint32_t stride) {
    char error[MB_ERROR_SIZE];
    assert_int_equal(mb_sink_close(bench->sink), 0);
    bench->sink = NULL;
    struct mb_source *source = mb_source_open(bench->output, "output", error);
    assert_non_null(source);
    struct mb_frame frame;
    unsigned count = 0;
    while (mb_source_read(source, &frame, 1))
        memcpy(frames + stride * count++, mb_source_pool(source) + frame.offset,
               frame.length < stride ? frame.length : stride);
    mb_source_close(source);
    return count;
}

static uint64_t refused(const struct bench *bench, enum mb_reason reason) {
    return mb_gate_edit_reasons(bench->gate)[reason];
}

/* --- what is seen, by whom --- */

static void earlier_nfs_see_it_before_later_ones_and_the_output_after(void **state) {
    (void)state;
    const struct bus_nf late_editor = {.is_inline = true, .editor = 1, .edit_bytes = EDIT_BYTES};
    const struct bus_nf last = {.waits_for = NF(1)};
    struct bench *bench = create((struct bus_nf[]){first_reader, late_editor, last}, 3, 1);
    packet_for(bench, NF(0) | NF(1) | NF(2));
    assert_int_equal(bus_poll(&bench->bus, 1), 1);
    assert_int_equal(replace(bench, 1, 0, 8, "edited"), 0);
    assert_int_equal(push_tag(bench, 1, 0, 9), 0);
    assert_memory_equal(data(bench, 1, 0), "......", 6); /* nor does it see its own */
    pass(bench, 1);
    assert_int_equal(bus_poll(&bench->bus, 0), 1);
    assert_memory_equal(data(bench, 0, 0), "......", 6);
    assert_false(seen(bench, 0, 0).is_edited);
    assert_int_equal(bus_poll(&bench->bus, 2), 1);
    assert_memory_equal(data(bench, 2, 0), "edited..", 8);
    assert_int_equal(seen(bench, 2, 0).frame_length, FRAME + 4);
    assert_int_equal(seen(bench, 2, 0).data_offset, HEADERS + 4);
    assert_int_equal(bench->bus.delivery[2][0].entry->data_offset, HEADERS);
    pass(bench, 2);
    uint8_t frames[FRAME + 4];
    assert_int_equal(output(bench, frames, sizeof frames), 1);
    assert_memory_equal(frames + HEADERS + 4 + 8, "edited..", 8);
    assert_memory_equal(frames + 12, ((uint8_t[]){0x81, 0, 0, 9, 8, 0}), 6);
    destroy(bench);
}

static void a_second_editor_begins_where_the_first_one_ended(void **state) {
    (void)state;
    struct bench *bench = create((struct bus_nf[]){editor, editor_of_two, behind_both}, 3, 2);
    packet_for(bench, NF(0) | NF(1) | NF(2));
    packet_for(bench, NF(0) | NF(1) | NF(2));
    assert_int_equal(bus_poll(&bench->bus, 0), 2);
    assert_int_equal(replace(bench, 0, 0, 8, "first"), 0);
    assert_int_equal(push_tag(bench, 0, 0, 9), 0);
    pass(bench, 0);
    assert_int_equal(bus_poll(&bench->bus, 2), 0);
    assert_int_equal(bus_poll(&bench->bus, 1), 2);
    assert_memory_equal(data(bench, 1, 0), "first...", 8);
    assert_int_equal(replace(bench, 1, 0, 10, "RS"), 0);
    assert_int_equal(push_tag(bench, 1, 0, 7), 0);
    assert_int_equal(replace(bench, 1, 1, 8, "second"), 0);
    pass(bench, 1);
    assert_int_equal(bus_poll(&bench->bus, 2), 2);
    assert_memory_equal(data(bench, 2, 0), "fiRSt...", 8);
    assert_int_equal(seen(bench, 2, 0).frame_length, FRAME + 8);
    assert_memory_equal(data(bench, 2, 1), "second..", 8);
    assert_int_equal(mb_gate_counters(bench->gate).edits, 3);
    assert_int_equal(mb_gate_judge(bench->gate, 1)->edits, 2);
    destroy(bench);
}

static void it_counts_for_all_entries_of_the_packet_that_name_its_frame(void **state) {
    (void)state;
    struct bench *bench = create((struct bus_nf[]){editor, behind}, 2, 1);
    const uint64_t masks[] = {NF(1), NF(0) | NF(1), NF(1), NF(1)};
    packet_for(bench, 0); /* its frame is that of `others` */
    packet(bench, masks, 4, 1 << 2);
    assert_int_equal(bus_poll(&bench->bus, 0), 1);
    assert_int_equal(replace(bench, 0, 0, 8, "edited"), 0);
    pass(bench, 0);
    assert_int_equal(bus_poll(&bench->bus, 1), 4);
    assert_memory_equal(data(bench, 1, 0), "edited", 6);
    assert_memory_equal(data(bench, 1, 1), "edited", 6);
    assert_memory_equal(data(bench, 1, 2), "......", 6);
    assert_memory_equal(data(bench, 1, 3), "edited", 6);
    destroy(bench);
}

static void what_is_left_with_several_entries_is_one_edit(void **state) {
    (void)state;
    struct bench *bench = create((struct bus_nf[]){editor, behind}, 2, 1);
    const uint64_t masks[] = {NF(0) | NF(1), NF(0)};
    packet(bench, masks, 2, 0);
    assert_int_equal(bus_poll(&bench->bus, 0), 2);
    assert_int_equal(push_tag(bench, 0, 0, 9), 0);
    assert_int_equal(replace(bench, 0, 0, 8, "abc"), 0);
    assert_int_equal(replace(bench, 0, 1, 10, "xyz"), 0);
    pass(bench, 0);
    assert_int_equal(bus_poll(&bench->bus, 1), 1);
    assert_memory_equal(data(bench, 1, 0), "abxyz...", 8);
    assert_int_equal(mb_gate_counters(bench->gate).edits, 1);
    destroy(bench);
}

static void nobody_behind_goes_on_before_all_entries_of_a_packet_are_passed(void **state) {
    (void)state;
    struct bench *bench = create((struct bus_nf[]){editor, behind}, 2, 1);
    const uint64_t masks[] = {NF(0) | NF(1), NF(0)};
    packet(bench, masks, 2, 0);
    assert_int_equal(bus_poll(&bench->bus, 0), 2);
    mb_gate_run(bench->gate);
    assert_int_equal(bus_poll(&bench->bus, 1), 0);
    pass(bench, 0);
    assert_int_equal(bus_poll(&bench->bus, 1), 1);
    destroy(bench);
}

static void a_packet_that_was_dropped_does_not_leave_edited_or_not(void **state) {
    (void)state;
    struct bench *bench = create((struct bus_nf[]){editor, behind}, 2, 1);
    packet_for(bench, NF(0) | NF(1));
    packet_for(bench, NF(0) | NF(1));
    assert_int_equal(bus_poll(&bench->bus, 0), 2);
    assert_int_equal(replace(bench, 0, 0, 8, "edited"), 0);
    mb_reader_judge(bench->bus.reader[0], 0, MB_DROP);
    pass(bench, 0);
    assert_int_equal(bus_poll(&bench->bus, 1), 1);
    pass(bench, 1);
    uint8_t frames[FRAME];
    assert_int_equal(output(bench, frames, sizeof frames), 1);
    assert_memory_equal(frames + HEADERS + 8, "......", 6);
    destroy(bench);
}

/* --- refusals --- */

static void an_event_of_another_frame_edits_nothing(void **state) {
    (void)state;
    struct bench *bench = create((struct bus_nf[]){editor, behind}, 2, 1);
    const uint64_t masks[] = {NF(0) | NF(1), NF(0) | NF(1)};
    packet_for(bench, 0); /* its frame is that of `others` */
    packet(bench, masks, 2, 1 << 1);
    assert_int_equal(bus_poll(&bench->bus, 0), 2);
    assert_int_equal(set_ttl(bench, 0, 0, 3), 0);
    assert_int_equal(set_ttl(bench, 0, 1, 4), 0);
    pass(bench, 0);
    assert_int_equal(refused(bench, MB_REASON_EDIT_OTHER_FRAME), 1);
    assert_int_equal(mb_gate_counters(bench->gate).edits, 1);
    assert_int_equal(bus_poll(&bench->bus, 1), 2);
    assert_int_equal(bench->pool.bytes[seen(bench, 1, 0).frame + 22], 3);
    destroy(bench);
}

static void what_a_packet_cannot_bear_leaves_it_as_it_was(void **state) {
    (void)state;
    struct bench *bench = create((struct bus_nf[]){editor, behind}, 2, 1);
    packet_for(bench, NF(0) | NF(1));
    assert_int_equal(bus_poll(&bench->bus, 0), 1);
    assert_int_equal(mb_reader_edit(bench->bus.reader[0], &bench->bus.delivery[0][0],
                                    &(struct mb_edit){.fields = MB_EDIT_TCP_WINDOW}),
                     0);
    assert_int_equal(set_ttl(bench, 0, 0, 3), 0);
    pass(bench, 0);
    assert_int_equal(refused(bench, MB_REASON_EDIT_FIELD_ABSENT), 1);
    assert_int_equal(mb_gate_judge(bench->gate, 0)->edits_refused, 1);
    assert_int_equal(bus_poll(&bench->bus, 1), 1);
    assert_false(seen(bench, 1, 0).is_edited);
    assert_int_equal(mb_gate_unsound_edits(bench->gate, 0), 0);
    destroy(bench);
}

/* `spoil` does what only an NF that goes round the reader can. */
static void expect_unsound(void (*spoil)(struct mb_edit *record)) {
    struct bench *bench = create((struct bus_nf[]){editor, behind}, 2, 1);
    const uint64_t sequence = packet_for(bench, NF(0) | NF(1));
    assert_int_equal(bus_poll(&bench->bus, 0), 1);
    assert_int_equal(replace(bench, 0, 0, 8, "edited"), 0);
    spoil(&bench->bus.reader[0]->own.edits[sequence]);
    pass(bench, 0);
    assert_int_equal(refused(bench, MB_REASON_EDIT_UNSOUND), 1);
    assert_int_equal(mb_gate_unsound_edits(bench->gate, 0), 1);
    assert_int_equal(bus_poll(&bench->bus, 1), 1);
    assert_false(seen(bench, 1, 0).is_edited);
    destroy(bench);
}

static void another_packet(struct mb_edit *one) {
    one->packet++;
}

static void an_unknown_field(struct mb_edit *one) {
    one->fields = UINT32_MAX;
}

static void too_many_tags(struct mb_edit *one) {
    one->tags_pushed = 255;
}

static void a_range_past_the_ring(struct mb_edit *one) {
    one->replacements_size = EDIT_BYTES + 8;
}

static void a_range_over_the_rings_end(struct mb_edit *one) {
    one->replacements = EDIT_BYTES - 8;
}

static void an_odd_place(struct mb_edit *one) {
    one->replacements += 4;
}

static void a_size_that_ends_inside_of_a_replacement(struct mb_edit *one) {
    one->replacements_size -= 8;
}

static void records_that_are_not_sound_are_refused_and_counted(void **state) {
    (void)state;
    expect_unsound(another_packet);
    expect_unsound(an_unknown_field);
    expect_unsound(too_many_tags);
    expect_unsound(a_range_past_the_ring);
    expect_unsound(a_range_over_the_rings_end);
    expect_unsound(an_odd_place);
    expect_unsound(a_size_that_ends_inside_of_a_replacement);
}

/* --- death --- */

static void what_a_dead_editor_had_not_passed_is_not_applied(void **state) {
    (void)state;
    struct bench *bench = create((struct bus_nf[]){editor, behind}, 2, 1);
    packet_for(bench, NF(0) | NF(1));
    assert_int_equal(bus_poll(&bench->bus, 0), 1);
    assert_int_equal(set_ttl(bench, 0, 0, 3), 0);
    mb_reader_advance(bench->bus.reader[0]);
    packet_for(bench, NF(0) | NF(1));
    assert_int_equal(bus_poll(&bench->bus, 0), 1);
    assert_int_equal(set_ttl(bench, 0, 0, 3), 0);
    mb_log_detach(&bench->bus.log, 0);
    packet_for(bench, NF(0) | NF(1));
    mb_gate_run(bench->gate);
    assert_int_equal(bus_poll(&bench->bus, 1), 3);
    assert_true(seen(bench, 1, 0).is_edited);
    assert_false(seen(bench, 1, 1).is_edited);
    assert_false(seen(bench, 1, 2).is_edited);
    pass(bench, 1);
    assert_int_equal(mb_gate_counters(bench->gate).waiting, 0);
    destroy(bench);
}

/* --- room --- */

/* Edits packets until the ring of versions is full, which the NF behind holds. */
static uint64_t fill(struct bench *bench) {
    uint64_t edited = 0;
    while (mb_gate_counters(bench->gate).edit_waits == 0) {
        packet_for(bench, NF(0) | NF(1));
        assert_int_equal(bus_poll(&bench->bus, 0), 1);
        assert_int_equal(set_ttl(bench, 0, 0, 3), 0);
        pass(bench, 0);
        edited++;
        assert_true(edited < SLOTS);
    }
    return edited;
}

static void without_room_nothing_more_is_applied_until_there_is_some(void **state) {
    (void)state;
    struct bench *bench = create((struct bus_nf[]){editor, behind}, 2, 1);
    const uint64_t edited = fill(bench);
    assert_int_equal(mb_gate_counters(bench->gate).edits, edited - 1);
    assert_int_equal(bus_poll(&bench->bus, 1), edited - 1);
    for (uint32_t i = 0; i < edited - 1; i++)
        assert_true(seen(bench, 1, i).is_edited);
    pass(bench, 1);
    assert_int_equal(mb_gate_counters(bench->gate).edits, edited);
    assert_int_equal(bus_poll(&bench->bus, 1), 1);
    assert_true(seen(bench, 1, 0).is_edited);
    pass(bench, 1);
    assert_int_equal(mb_gate_counters(bench->gate).waiting, 0);
    destroy(bench);
}

/* --- an NF that skips --- */

static void who_skips_sees_versions_too_and_none_that_is_not_whole(void **state) {
    (void)state;
    const struct bus_nf skipping = {.waits_for = NF(0), .skips = true};
    struct bench *bench = create((struct bus_nf[]){editor, skipping}, 2, 1);
    packet_for(bench, NF(0) | NF(1));
    assert_int_equal(bus_poll(&bench->bus, 0), 1);
    assert_int_equal(replace(bench, 0, 0, 8, "edited"), 0);
    pass(bench, 0);
    assert_int_equal(bus_poll(&bench->bus, 1), 1);
    assert_memory_equal(data(bench, 1, 0), "edited", 6);
    mb_reader_advance(bench->bus.reader[1]);

    /* Ten times round the ring: what it holds is not to be had any more. */
    for (unsigned i = 0; i < 10 * RING / FRAME; i++) {
        packet_for(bench, NF(0) | NF(1));
        assert_int_equal(bus_poll(&bench->bus, 0), 1);
        assert_int_equal(replace(bench, 0, 0, 8, "edited"), 0);
        pass(bench, 0);
    }
    uint64_t lost = 0;
    uint64_t got = 0;
    for (uint32_t count = bus_poll(&bench->bus, 1); count != 0; count = bus_poll(&bench->bus, 1)) {
        for (uint32_t i = 0; i < count; i++) {
            const struct mb_entry *entry = bench->bus.delivery[1][i].entry;
            if (entry->type == MB_TYPE_SYSTEM_LOST) {
                lost += entry->payload.lost.events;
                continue;
            }
            got++;
            assert_memory_equal(data(bench, 1, i), "edited", 6);
        }
    }
    assert_int_equal(got + lost, 10 * RING / FRAME);
    assert_true(lost > 0 && got > 0);
    destroy(bench);
}

/* --- all at once --- */

enum { ROUNDS = 30000 };

struct party {
    struct bench *bench;
    uint32_t index;
    uint64_t handled;
    uint64_t wrong;
};

static uint64_t number_at(const struct bench *bench, struct mb_seen_frame frame) {
    uint64_t number;
    memcpy(&number, bench->pool.bytes + frame.frame + frame.data_offset, sizeof number);
    return number;
}

/* Gives each third packet the complement of its number. */
static void edit_one(struct party *party, uint32_t delivery) {
    struct bench *bench = party->bench;
    const struct mb_delivery *one = &bench->bus.delivery[party->index][delivery];
    const uint64_t number = ~number_at(bench, seen(bench, party->index, delivery));
    if (one->entry->packet % 3 != 0)
        return;
    party->wrong += mb_reader_replace(bench->bus.reader[party->index], one, 0,
                                      (const uint8_t *)&number, sizeof number, NULL) != 0;
}

static void check_one(struct party *party, uint32_t delivery) {
    const struct bench *bench = party->bench;
    const struct mb_entry *entry = bench->bus.delivery[party->index][delivery].entry;
    const uint64_t received = (entry->packet - 1) % FRAMES;
    const uint64_t expected = party->index == 2 && entry->packet % 3 == 0 ? ~received : received;
    party->wrong += number_at(bench, seen(bench, party->index, delivery)) != expected;
}

static void *take_part(void *argument) {
    struct party *party = argument;
    struct bus *bus = &party->bench->bus;
    uint32_t broken;
    while (party->handled < ROUNDS) {
        const int count = mb_reader_poll(bus->reader[party->index], bus->delivery[party->index],
                                         BUS_CAPACITY, UINT64_C(100000000), &broken);
        for (int i = 0; i < count; i++) {
            if (party->index == 1)
                edit_one(party, (uint32_t)i);
            else
                check_one(party, (uint32_t)i);
        }
        party->handled += (uint64_t)count;
    }
    mb_reader_advance(bus->reader[party->index]);
    return NULL;
}

/* An NF before the editor, the editor, one behind it, and the worker, each as fast as it can. */
static void all_see_what_they_should_whoever_is_fast(void **state) {
    (void)state;
    const struct bus_nf late_editor = {.is_inline = true, .editor = 1, .edit_bytes = EDIT_BYTES};
    const struct bus_nf last = {.waits_for = NF(1), .is_inline = true};
    struct bench *bench = create((struct bus_nf[]){first_reader, late_editor, last}, 3, 1);
    struct party parties[3];
    pthread_t threads[3];
    for (uint32_t i = 0; i < 3; i++) {
        parties[i] = (struct party){.bench = bench, .index = i};
        assert_int_equal(pthread_create(&threads[i], NULL, take_part, &parties[i]), 0);
    }
    while (bench->packets < ROUNDS) {
        if (mb_log_has_room(&bench->bus.log, MB_ENTRIES_PER_PACKET) &&
            mb_gate_room(bench->gate) != 0) {
            packet_for(bench, NF(0) | NF(1) | NF(2));
            continue;
        }
        mb_gate_run(bench->gate);
        mb_log_wait_for_room(&bench->bus.log, 100000);
    }
    while (!mb_log_drained(&bench->bus.log) || mb_gate_counters(bench->gate).waiting != 0) {
        mb_gate_run(bench->gate);
        sched_yield();
    }
    for (uint32_t i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(parties[i].wrong, 0);
        assert_int_equal(parties[i].handled, ROUNDS);
    }
    assert_int_equal(mb_gate_counters(bench->gate).edits, ROUNDS / 3);
    destroy(bench);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(earlier_nfs_see_it_before_later_ones_and_the_output_after),
        cmocka_unit_test(a_second_editor_begins_where_the_first_one_ended),
        cmocka_unit_test(it_counts_for_all_entries_of_the_packet_that_name_its_frame),
        cmocka_unit_test(what_is_left_with_several_entries_is_one_edit),
        cmocka_unit_test(nobody_behind_goes_on_before_all_entries_of_a_packet_are_passed),
        cmocka_unit_test(a_packet_that_was_dropped_does_not_leave_edited_or_not),
        cmocka_unit_test(an_event_of_another_frame_edits_nothing),
        cmocka_unit_test(what_a_packet_cannot_bear_leaves_it_as_it_was),
        cmocka_unit_test(records_that_are_not_sound_are_refused_and_counted),
        cmocka_unit_test(what_a_dead_editor_had_not_passed_is_not_applied),
        cmocka_unit_test(without_room_nothing_more_is_applied_until_there_is_some),
        cmocka_unit_test(who_skips_sees_versions_too_and_none_that_is_not_whole),
        cmocka_unit_test(all_see_what_they_should_whoever_is_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
