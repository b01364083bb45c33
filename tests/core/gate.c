/* The gate, with a real log and NFs that are moved by hand. */
#include "microbox/stack/gate.h"

#include "microbox/bus/atomic.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/decode/decode.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    SLOTS = MB_LOG_SLOTS_MIN,
    CAPACITY = 256,
    FLOW_SLOTS = 8,
    DATAGRAM_SLOTS = 4,
    NFS = 3,
    PACKETS = 64
};

/* Bit i names NF i. */
enum { NOBODY = 0, FIRST = 1, SECOND = 2, READER = 4 };

struct bench {
    struct mb_log log;
    struct mb_nf_page page[NFS];
    uint8_t verdicts[2][SLOTS];  /* NFs 0 and 1 are inline, NF 2 reads only */
    struct mb_rewrite *rewrites; /* NF 0's */
    struct mb_gate *gate;
    struct mb_sink *sink;
    int output;
    uint64_t packets;
    uint8_t bytes[PACKETS]; /* the pool: byte i is packet i's frame */
};

static void attach(struct bench *bench, uint32_t index, bool fails_closed) {
    const struct mb_consumer consumer = {
        .page = &bench->page[index],
        .verdicts = index < 2 ? bench->verdicts[index] : NULL,
        .mask = {UINT64_C(1) << index, 0},
        .fails_closed = fails_closed,
    };
    assert_int_equal(mb_log_attach(&bench->log, index, &consumer), 0);
    if (consumer.verdicts)
        mb_gate_watch(bench->gate, index, consumer.verdicts, consumer.mask, fails_closed);
}

static int set_up(void **state) {
    struct bench *bench = calloc(1, sizeof *bench);
    char error[MB_ERROR_SIZE];
    *state = bench;
    assert_int_equal(mb_log_create(&bench->log, SLOTS), 0);
    bench->output = memfd_create("output", MFD_CLOEXEC);
    bench->sink = mb_sink_open(dup(bench->output), 1, error);
    for (unsigned i = 0; i < PACKETS; i++)
        bench->bytes[i] = (uint8_t)i;
    const struct mb_gate_config config = {
        .log = &bench->log,
        .sink = bench->sink,
        .pool = bench->bytes,
        .capacity = CAPACITY,
        .flow_slots = FLOW_SLOTS,
        .datagram_slots = DATAGRAM_SLOTS,
    };
    bench->gate = mb_gate_create(&config);
    attach(bench, 0, false);
    attach(bench, 1, true);
    attach(bench, 2, false);
    return 0;
}

/* NF 0 rewrites flows. */
static int set_up_rewriting(void **state) {
    set_up(state);
    struct bench *bench = *state;
    const struct mb_decoder decoder = {.tunnels_max = 4};
    bench->rewrites = calloc(SLOTS, sizeof *bench->rewrites);
    assert_true(mb_gate_translate(bench->gate, &decoder));
    mb_gate_watch_rewrites(bench->gate, 0, bench->rewrites);
    return 0;
}

static int tear_down(void **state) {
    struct bench *bench = *state;
    mb_gate_destroy(bench->gate);
    if (bench->sink)
        mb_sink_close(bench->sink);
    close(bench->output);
    mb_log_destroy(&bench->log);
    free(bench->rewrites);
    free(bench);
    return 0;
}

/* A packet of `flow`, whose entries name NFs as `masks` says; as the worker does it, committed.
 * Returns the sequence number of its first entry. */
static uint64_t hand_over(struct bench *bench, struct mb_handled handled, const uint64_t *masks,
                          size_t count) {
    const uint64_t number = bench->packets++;
    const struct mb_frame frame = {
        .offset = number % PACKETS, .time = number, .length = 1, .wire_length = 1, .link_type = 1};
    handled.first = bench->log.next;
    handled.packet = number;
    for (size_t i = 0; i < count; i++) {
        const uint64_t mask[2] = {masks[i], 0};
        struct mb_entry *entry = mb_log_claim(&bench->log, mask);
        entry->type = MB_TYPE_PACKET;
        entry->flags = 0;
    }
    mb_log_end_packet(&bench->log, handled.first);
    handled.end = bench->log.next;
    mb_gate_run(bench->gate);
    mb_gate_add(bench->gate, &frame, &handled);
    mb_log_commit(&bench->log);
    return handled.first;
}

static uint64_t packet_of_flow(struct bench *bench, uint64_t flow, uint32_t slot,
                               const uint64_t *masks, size_t count) {
    return hand_over(bench, (struct mb_handled){.flow = flow, .flow_slot = slot}, masks, count);
}

static uint64_t fragment(struct bench *bench, struct mb_handled_datagram datagram) {
    const uint64_t mask = 1;
    return hand_over(bench, (struct mb_handled){.datagrams[0] = datagram}, &mask, 1);
}

static uint64_t packet(struct bench *bench, uint64_t mask) {
    return packet_of_flow(bench, 0, 0, &mask, mask ? 1 : 0);
}

/* NF `index` judges one entry, and passes all up to `position`. */
static void judge(struct bench *bench, unsigned index, uint64_t sequence, enum mb_verdict verdict) {
    bench->verdicts[index][sequence % SLOTS] = (uint8_t)verdict;
}

static void pass(struct bench *bench, unsigned index, uint64_t position) {
    mb_store_sequential(&bench->page[index].cursor, position);
}

static void pass_all(struct bench *bench) {
    for (unsigned index = 0; index < NFS; index++)
        pass(bench, index, bench->log.head);
}

/* The packets that came out, by their numbers, in order. Closes the sink. */
static size_t output(struct bench *bench, uint8_t *numbers) {
    char error[MB_ERROR_SIZE];
    assert_int_equal(mb_sink_close(bench->sink), 0);
    bench->sink = NULL;
    struct mb_source *source = mb_source_open(bench->output, "output", error);
    struct mb_frame frame;
    size_t count = 0;
    while (mb_source_read(source, &frame, 1))
        numbers[count++] = mb_source_pool(source)[frame.offset];
    mb_source_close(source);
    return count;
}

static void assert_output(struct bench *bench, const char *expected) {
    uint8_t numbers[1024];
    char text[1024] = "";
    const size_t count = output(bench, numbers);
    for (size_t i = 0; i < count; i++)
        text[i] = (char)('0' + numbers[i]);
    text[count] = 0;
    assert_string_equal(text, expected);
}

static void packets_that_concern_no_inline_nf_leave_at_once(void **state) {
    struct bench *bench = *state;
    packet(bench, NOBODY);
    packet(bench, READER);
    assert_int_equal(mb_gate_run(bench->gate), 1);
    assert_int_equal(mb_gate_counters(bench->gate).waiting, 0);
    assert_output(bench, "01");
}

static void a_packet_waits_for_its_nf_and_holds_back_those_behind(void **state) {
    struct bench *bench = *state;
    packet(bench, NOBODY);
    const uint64_t waiting = packet(bench, FIRST);
    packet(bench, NOBODY);
    packet(bench, SECOND);
    mb_gate_run(bench->gate);
    assert_int_equal(mb_gate_counters(bench->gate).waiting, 3);
    pass(bench, 0, waiting + 1);
    assert_int_equal(mb_gate_run(bench->gate), 2);
    assert_int_equal(mb_gate_counters(bench->gate).waiting, 1);
    pass(bench, 1, bench->log.head);
    assert_int_equal(mb_gate_run(bench->gate), 1);
    assert_output(bench, "0123");
}

static void a_packet_waits_until_all_its_entries_are_passed(void **state) {
    struct bench *bench = *state;
    const uint64_t masks[] = {FIRST, READER, FIRST | SECOND};
    const uint64_t first = packet_of_flow(bench, 0, 0, masks, 3);
    pass(bench, 0, first + 3);
    assert_int_equal(mb_gate_run(bench->gate), 0);
    pass(bench, 1, first + 3);
    assert_int_equal(mb_gate_run(bench->gate), 1);
    assert_output(bench, "0");
}

static void any_drop_among_its_entries_drops_the_packet(void **state) {
    struct bench *bench = *state;
    const uint64_t masks[] = {FIRST, FIRST | SECOND, FIRST};
    for (unsigned number = 0; number < 4; number++) {
        const uint64_t first = packet_of_flow(bench, 0, 0, masks, 3);
        if (number == 1)
            judge(bench, 0, first, MB_DROP);
        if (number == 2)
            judge(bench, 1, first + 1, MB_DROP);
    }
    pass_all(bench);
    mb_gate_run(bench->gate);
    assert_int_equal(mb_gate_counters(bench->gate).dropped, 2);
    assert_int_equal(mb_gate_counters(bench->gate).verdict_drop, 2);
    assert_output(bench, "03");
}

static void verdict_bytes_of_entries_that_name_others_mean_nothing(void **state) {
    struct bench *bench = *state;
    const uint64_t masks[] = {FIRST, SECOND};
    const uint64_t first = packet_of_flow(bench, 0, 0, masks, 2);
    judge(bench, 1, first, MB_DROP);
    judge(bench, 0, first + 1, MB_DROP_FLOW);
    pass_all(bench);
    mb_gate_run(bench->gate);
    assert_output(bench, "0");
}

static void drop_flow_drops_the_flow_from_there_on(void **state) {
    struct bench *bench = *state;
    const uint64_t first = FIRST;
    packet_of_flow(bench, 7, 3, &first, 1);
    judge(bench, 0, packet_of_flow(bench, 7, 3, &first, 1), MB_DROP_FLOW);
    packet_of_flow(bench, 7, 3, NULL, 0); /* concerns nobody, yet is of the flow */
    packet_of_flow(bench, 8, 2, &first, 1);
    packet_of_flow(bench, 7, 3, &first, 1);
    packet_of_flow(bench, 9, 3, &first, 1); /* another flow in the same place of the table */
    packet_of_flow(bench, 0, 3, NULL, 0);
    pass_all(bench);
    mb_gate_run(bench->gate);
    assert_int_equal(mb_gate_counters(bench->gate).verdict_drop_flow, 3);
    assert_int_equal(mb_gate_counters(bench->gate).dropped, 3);
    assert_output(bench, "0356");
}

static void the_strongest_verdict_counts_and_of_equal_ones_the_first_nfs(void **state) {
    struct bench *bench = *state;
    const uint64_t both = FIRST | SECOND;
    uint64_t first = packet_of_flow(bench, 7, 1, &both, 1);
    judge(bench, 0, first, MB_DROP);
    judge(bench, 1, first, MB_DROP_FLOW);
    packet_of_flow(bench, 7, 1, NULL, 0);
    first = packet(bench, both);
    judge(bench, 0, first, MB_DROP);
    judge(bench, 1, first, MB_DROP);
    pass_all(bench);
    mb_gate_run(bench->gate);
    assert_int_equal(mb_gate_judge(bench->gate, 0)->packets_dropped, 1);
    assert_int_equal(mb_gate_judge(bench->gate, 0)->flows_dropped, 0);
    assert_int_equal(mb_gate_judge(bench->gate, 1)->packets_dropped, 0);
    assert_int_equal(mb_gate_judge(bench->gate, 1)->packets_of_flows, 2);
    assert_int_equal(mb_gate_judge(bench->gate, 1)->flows_dropped, 1);
}

/* Their frames are one byte long. */
static void a_reset_of_what_is_no_tcp_drops_the_flow_and_is_counted_so(void **state) {
    struct bench *bench = *state;
    const uint64_t mask = FIRST;
    judge(bench, 0, packet_of_flow(bench, 7, 1, &mask, 1), MB_RESET);
    judge(bench, 0, packet_of_flow(bench, 7, 1, &mask, 1), MB_RESET);
    packet_of_flow(bench, 7, 1, NULL, 0);
    judge(bench, 0, packet(bench, FIRST), MB_RESET);
    packet(bench, NOBODY);
    pass_all(bench);
    mb_gate_run(bench->gate);
    const struct mb_gate_counters counters = mb_gate_counters(bench->gate);
    assert_int_equal(counters.verdict_drop_flow, 4);
    assert_int_equal(counters.verdict_reset, 0);
    assert_int_equal(counters.resets_made, 0);
    assert_int_equal(counters.resets_not_made, 2);
    assert_int_equal(mb_gate_judge(bench->gate, 0)->flows_dropped, 1);
    assert_int_equal(mb_gate_judge(bench->gate, 0)->flows_reset, 0);
    assert_output(bench, "4");
}

/* While a packet is handled another flow may end; what an NF says of that is not about the packet.
 */
static void a_verdict_on_what_is_apart_from_the_packet_does_not_touch_it(void **state) {
    struct bench *bench = *state;
    const struct mb_frame frame = {.length = 1, .wire_length = 1, .link_type = 1};
    struct mb_handled handled = {.first = bench->log.next, .flow = 7, .flow_slot = 1};
    const uint64_t mask[2] = {FIRST, 0};
    mb_log_claim(&bench->log, mask)->flags = 0;
    mb_log_claim(&bench->log, mask)->flags = MB_APART;
    mb_log_end_packet(&bench->log, handled.first);
    handled.end = bench->log.next;
    mb_gate_add(bench->gate, &frame, &handled);
    mb_log_commit(&bench->log);
    judge(bench, 0, 1, MB_DROP_FLOW);
    pass_all(bench);
    assert_int_equal(mb_gate_run(bench->gate), 1);
    assert_int_equal(mb_gate_counters(bench->gate).dropped, 0);
}

static void pass_flow_is_a_pass(void **state) {
    struct bench *bench = *state;
    judge(bench, 0, packet(bench, FIRST), MB_PASS_FLOW);
    pass_all(bench);
    mb_gate_run(bench->gate);
    assert_output(bench, "0");
}

static void what_a_dead_nf_judged_counts_and_the_rest_passes_if_it_fails_open(void **state) {
    struct bench *bench = *state;
    const uint64_t judged = packet(bench, FIRST);
    judge(bench, 0, judged, MB_DROP);
    pass(bench, 0, judged + 1);
    judge(bench, 0, packet(bench, FIRST), MB_DROP); /* written, but its cursor never moved */
    mb_log_detach(&bench->log, 0);
    packet(bench, FIRST);
    mb_gate_run(bench->gate);
    assert_int_equal(mb_gate_counters(bench->gate).dropped, 1);
    assert_int_equal(mb_gate_judge(bench->gate, 0)->packets_dropped, 1);
    assert_int_equal(mb_gate_judge(bench->gate, 0)->unjudged_passed, 2);
    assert_output(bench, "12");
}

static void what_a_dead_nf_did_not_judge_is_dropped_if_it_fails_closed(void **state) {
    struct bench *bench = *state;
    pass(bench, 1, packet(bench, SECOND) + 1);
    packet(bench, SECOND);
    mb_log_detach(&bench->log, 1);
    packet(bench, SECOND);
    packet(bench, NOBODY);
    mb_gate_run(bench->gate);
    assert_int_equal(mb_gate_counters(bench->gate).failed_closed, 2);
    assert_int_equal(mb_gate_counters(bench->gate).dropped, 2);
    assert_int_equal(mb_gate_judge(bench->gate, 1)->unjudged_dropped, 2);
    assert_output(bench, "03");
}

static void room_is_what_may_be_added(void **state) {
    struct bench *bench = *state;
    assert_int_equal(mb_gate_room(bench->gate), CAPACITY);
    for (unsigned i = 0; i < CAPACITY; i++)
        packet(bench, FIRST);
    assert_int_equal(mb_gate_room(bench->gate), 0);
    pass(bench, 0, 10);
    assert_int_equal(mb_gate_run(bench->gate), 10);
    assert_int_equal(mb_gate_room(bench->gate), 10);
}

static void verdicts_hold_as_the_log_goes_round(void **state) {
    struct bench *bench = *state;
    uint64_t dropped = 0;
    while (bench->log.next < 5 * SLOTS) {
        const uint64_t sequence = packet(bench, FIRST);
        const bool drops = sequence % 3 == 0;
        judge(bench, 0, sequence, drops ? MB_DROP : MB_PASS);
        dropped += drops;
        pass_all(bench);
        assert_true(mb_log_has_room(&bench->log, 1));
    }
    mb_gate_run(bench->gate);
    assert_int_equal(mb_gate_counters(bench->gate).verdict_drop, dropped);
    assert_int_equal(mb_gate_counters(bench->gate).waiting, 0);
}

/* The second packet claims all slots anew, those of the first included, before the first one's
 * verdict is read. */
/* NF 0 runs back once its slots were taken: what NF 1 dropped stays dropped. */
static void a_cursor_that_runs_back_hides_no_verdict(void **state) {
    struct bench *bench = *state;
    const uint64_t dropped = packet(bench, FIRST | SECOND);
    packet(bench, FIRST);
    judge(bench, 1, dropped, MB_DROP);
    pass_all(bench);
    pass(bench, 0, 1);
    mb_log_learn_limit(&bench->log);
    pass(bench, 0, 0);
    for (const uint64_t mask[2] = {READER, 0}; bench->log.next < SLOTS;)
        mb_log_claim(&bench->log, mask)->flags = MB_LAST;
    mb_log_commit(&bench->log);
    assert_true(mb_log_has_room(&bench->log, 1));
    packet(bench, FIRST);
    pass_all(bench);
    mb_gate_run(bench->gate);
    assert_int_equal(mb_gate_counters(bench->gate).dropped, 1);
}

static void a_verdict_is_read_although_its_entry_was_overwritten(void **state) {
    struct bench *bench = *state;
    static uint64_t masks[SLOTS];
    for (unsigned i = 0; i < SLOTS; i++)
        masks[i] = READER;
    judge(bench, 0, packet(bench, FIRST), MB_DROP);
    pass_all(bench);
    assert_true(mb_log_has_room(&bench->log, SLOTS));
    packet_of_flow(bench, 0, 0, masks, SLOTS);
    assert_int_equal(mb_gate_counters(bench->gate).verdict_drop, 1);
    mb_gate_run(bench->gate);
    assert_output(bench, "1");
}

/* The receiver has the first fragment and waits for the one that was dropped. */
static void what_comes_of_a_dropped_datagram_is_dropped(void **state) {
    struct bench *bench = *state;
    uint8_t numbers[PACKETS];
    packet(bench, 0);
    fragment(bench, (struct mb_handled_datagram){.slot = 1});
    judge(bench, 0, fragment(bench, (struct mb_handled_datagram){.slot = 1, .completes = true}),
          MB_DROP);
    fragment(bench, (struct mb_handled_datagram){.slot = 1, .before = 2});
    fragment(bench, (struct mb_handled_datagram){.slot = 2});
    fragment(bench, (struct mb_handled_datagram){.slot = 1, .before = 2, .completes = true});
    fragment(bench, (struct mb_handled_datagram){.slot = 1, .before = 5});
    fragment(bench, (struct mb_handled_datagram){.slot = 1});
    pass_all(bench);
    mb_gate_run(bench->gate);
    assert_int_equal(output(bench, numbers), 4);
    assert_memory_equal(numbers, ((uint8_t[]){0, 1, 4, 7}), 4);
    assert_int_equal(mb_gate_counters(bench->gate).verdict_drop, 4);
}

/* Where flows are rewritten, as here, fragments wait for their datagram. */
static void fragments_leave_with_the_packet_that_makes_the_datagram_whole(void **state) {
    struct bench *bench = *state;
    fragment(bench, (struct mb_handled_datagram){.slot = 1, .begins = true});
    packet(bench, NOBODY);
    fragment(bench, (struct mb_handled_datagram){.slot = 2, .begins = true});
    pass_all(bench);
    mb_gate_run(bench->gate);
    assert_int_equal(mb_gate_counters(bench->gate).fragments_kept, 2);
    fragment(bench, (struct mb_handled_datagram){.slot = 1, .completes = true});
    pass_all(bench);
    mb_gate_run(bench->gate);
    assert_int_equal(mb_gate_counters(bench->gate).fragments_kept, 1);
    assert_output(bench, "103");
}

static void fragments_of_a_datagram_that_was_given_up_never_leave(void **state) {
    struct bench *bench = *state;
    fragment(bench, (struct mb_handled_datagram){.slot = 1, .begins = true});
    fragment(bench, (struct mb_handled_datagram){.slot = 1, .begins = true}); /* of another one */
    fragment(bench, (struct mb_handled_datagram){.slot = 1, .completes = true});
    pass_all(bench);
    mb_gate_run(bench->gate);
    assert_int_equal(mb_gate_counters(bench->gate).fragments_kept, 1);
    assert_output(bench, "12");
}

/* Its headers may lie in any of them. */
static void fragments_around_a_translated_flow_do_not_leave(void **state) {
    struct bench *bench = *state;
    const uint64_t first = FIRST;
    const struct mb_handled_datagram whole = {.slot = 1, .completes = true, .is_around = true};
    fragment(bench, (struct mb_handled_datagram){.slot = 1, .begins = true});
    hand_over(bench, (struct mb_handled){.flow = 7, .flow_slot = 3, .datagrams[0] = whole}, &first,
              1);
    fragment(bench, (struct mb_handled_datagram){.slot = 1, .begins = true});
    const uint64_t sequence = hand_over(
        bench, (struct mb_handled){.flow = 7, .flow_slot = 3, .datagrams[0] = whole}, &first, 1);
    bench->verdicts[0][sequence % SLOTS] |= MB_LEFT_REWRITE;
    bench->rewrites[sequence % SLOTS] =
        (struct mb_rewrite){.flow = 7, .source_port = 1, .fields = MB_REWRITE_SOURCE_PORT};
    pass_all(bench);
    mb_gate_run(bench->gate);
    assert_int_equal(mb_gate_counters(bench->gate).fragments_kept, 2);
    assert_output(bench, "01");
}

/* The gate knows a rewrite by its mark; what it says of a frame is for edits/translation.h. */
static void leave_rewrite(struct bench *bench, uint64_t sequence, uint64_t flow) {
    bench->verdicts[0][sequence % SLOTS] |= MB_LEFT_REWRITE;
    bench->rewrites[sequence % SLOTS] =
        (struct mb_rewrite){.flow = flow, .source_port = 1, .fields = MB_REWRITE_SOURCE_PORT};
}

static void a_rewrite_holds_from_its_packet_on(void **state) {
    struct bench *bench = *state;
    const uint64_t first = FIRST;
    packet_of_flow(bench, 7, 3, &first, 1);
    leave_rewrite(bench, packet_of_flow(bench, 7, 3, &first, 1), 7);
    packet_of_flow(bench, 7, 3, NULL, 0); /* concerns nobody, yet is of the flow */
    packet_of_flow(bench, 8, 2, &first, 1);
    packet_of_flow(bench, 9, 3, &first, 1); /* another flow in the same place of the table */
    pass_all(bench);
    mb_gate_run(bench->gate);
    const struct mb_gate_counters counters = mb_gate_counters(bench->gate);
    assert_int_equal(counters.rewrites, 1);
    assert_int_equal(counters.translated, 2);
    assert_output(bench, "01234");
}

static void a_packet_that_is_dropped_may_bring_a_rewrite(void **state) {
    struct bench *bench = *state;
    const uint64_t first = FIRST;
    const uint64_t sequence = packet_of_flow(bench, 7, 3, &first, 1);
    judge(bench, 0, sequence, MB_DROP);
    leave_rewrite(bench, sequence, 7);
    packet_of_flow(bench, 7, 3, &first, 1);
    pass_all(bench);
    mb_gate_run(bench->gate);
    assert_int_equal(mb_gate_counters(bench->gate).translated, 1);
    assert_output(bench, "1");
}

static void a_rewrite_of_another_flow_than_the_packets_is_refused(void **state) {
    struct bench *bench = *state;
    const uint64_t first = FIRST;
    leave_rewrite(bench, packet_of_flow(bench, 7, 3, &first, 1), 8);
    leave_rewrite(bench, packet(bench, FIRST), 0);
    packet_of_flow(bench, 8, 2, &first, 1);
    packet_of_flow(bench, 7, 3, &first, 1);
    pass_all(bench);
    mb_gate_run(bench->gate);
    const struct mb_gate_counters counters = mb_gate_counters(bench->gate);
    assert_int_equal(counters.rewrites, 0);
    assert_int_equal(counters.rewrites_refused, 2);
    assert_int_equal(mb_gate_judge(bench->gate, 0)->rewrites_refused, 2);
    assert_int_equal(mb_gate_unsound_rewrites(bench->gate, 0), 2);
    assert_int_equal(mb_gate_unsound_rewrites(bench->gate, 1), 0);
    assert_int_equal(counters.translated, 0);
}

static void marks_of_who_leaves_no_rewrites_or_is_not_named_mean_nothing(void **state) {
    struct bench *bench = *state;
    const uint64_t both = FIRST | SECOND;
    const uint64_t second = SECOND;
    bench->verdicts[1][packet_of_flow(bench, 7, 3, &both, 1) % SLOTS] = MB_LEFT_REWRITE | MB_PASS;
    leave_rewrite(bench, packet_of_flow(bench, 7, 3, &second, 1), 7);
    pass_all(bench);
    mb_gate_run(bench->gate);
    const struct mb_gate_counters counters = mb_gate_counters(bench->gate);
    assert_int_equal(counters.rewrites + counters.rewrites_refused, 0);
    assert_output(bench, "01");
}

static void what_a_dead_nf_did_not_pass_is_no_rewrite(void **state) {
    struct bench *bench = *state;
    const uint64_t first = FIRST;
    leave_rewrite(bench, packet_of_flow(bench, 7, 3, &first, 1), 7);
    pass(bench, 0, bench->log.head);
    leave_rewrite(bench, packet_of_flow(bench, 8, 2, &first, 1), 8);
    mb_log_detach(&bench->log, 0);
    packet_of_flow(bench, 8, 2, NULL, 0);
    packet_of_flow(bench, 7, 3, NULL, 0); /* what it said before it died goes on to hold */
    pass_all(bench);
    mb_gate_run(bench->gate);
    assert_int_equal(mb_gate_counters(bench->gate).rewrites, 1);
    assert_int_equal(mb_gate_counters(bench->gate).translated, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define GATE_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
#define REWRITE_TEST(function)                                                                     \
    cmocka_unit_test_setup_teardown(function, set_up_rewriting, tear_down)
        GATE_TEST(what_comes_of_a_dropped_datagram_is_dropped),
        GATE_TEST(packets_that_concern_no_inline_nf_leave_at_once),
        GATE_TEST(a_packet_waits_for_its_nf_and_holds_back_those_behind),
        GATE_TEST(a_packet_waits_until_all_its_entries_are_passed),
        GATE_TEST(any_drop_among_its_entries_drops_the_packet),
        GATE_TEST(verdict_bytes_of_entries_that_name_others_mean_nothing),
        GATE_TEST(drop_flow_drops_the_flow_from_there_on),
        GATE_TEST(the_strongest_verdict_counts_and_of_equal_ones_the_first_nfs),
        GATE_TEST(a_reset_of_what_is_no_tcp_drops_the_flow_and_is_counted_so),
        GATE_TEST(a_verdict_on_what_is_apart_from_the_packet_does_not_touch_it),
        GATE_TEST(pass_flow_is_a_pass),
        GATE_TEST(what_a_dead_nf_judged_counts_and_the_rest_passes_if_it_fails_open),
        GATE_TEST(what_a_dead_nf_did_not_judge_is_dropped_if_it_fails_closed),
        GATE_TEST(room_is_what_may_be_added),
        GATE_TEST(verdicts_hold_as_the_log_goes_round),
        GATE_TEST(a_cursor_that_runs_back_hides_no_verdict),
        GATE_TEST(a_verdict_is_read_although_its_entry_was_overwritten),
        REWRITE_TEST(fragments_leave_with_the_packet_that_makes_the_datagram_whole),
        REWRITE_TEST(fragments_of_a_datagram_that_was_given_up_never_leave),
        REWRITE_TEST(fragments_around_a_translated_flow_do_not_leave),
        REWRITE_TEST(a_rewrite_holds_from_its_packet_on),
        REWRITE_TEST(a_packet_that_is_dropped_may_bring_a_rewrite),
        REWRITE_TEST(a_rewrite_of_another_flow_than_the_packets_is_refused),
        REWRITE_TEST(marks_of_who_leaves_no_rewrites_or_is_not_named_mean_nothing),
        REWRITE_TEST(what_a_dead_nf_did_not_pass_is_no_rewrite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
