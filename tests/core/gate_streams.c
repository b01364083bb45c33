/* The gate where an inline NF reads streams: a real stack and log, and an NF that is moved by hand.
 * What leaves is told as the payloads of the output's segments, in their order. */
#include "stack_fixture.h"

#include "microbox/bus/atomic.h"
#include "microbox/stack/decode/decode.h"
#include "microbox/stack/gate.h"
#include "microbox/stack/streams/stream_steps.h"

#include <sys/mman.h>
#include <unistd.h>

enum { CAPACITY = 256, NF_BIT = 0 };

struct bench {
    struct stack_fixture fixture;
    struct mb_nf_page page;
    uint8_t verdicts[STACK_LOG_SLOTS];
    struct mb_gate *gate;
    struct mb_sink *sink;
    int output;
    char text[STACK_TEXT_MAX];
};

static void make_gate(struct bench *bench) {
    char error[MB_ERROR_SIZE];
    struct stack_fixture *fixture = &bench->fixture;
    bench->output = memfd_create("output", MFD_CLOEXEC);
    bench->sink = mb_sink_open(dup(bench->output), 1, error);
    const struct mb_gate_config config = {
        .log = &fixture->log,
        .sink = bench->sink,
        .pool = fixture->pool,
        .capacity = CAPACITY,
        .flow_slots = mb_stack_flow_slots(fixture->stack),
        .datagram_slots = mb_stack_datagram_slots(fixture->stack),
    };
    bench->gate = mb_gate_create(&config);
    assert_non_null(bench->gate);
}

static void attach_judge(struct bench *bench, bool fails_closed) {
    struct stack_fixture *fixture = &bench->fixture;
    const struct mb_consumer consumer = {
        .page = &bench->page,
        .verdicts = bench->verdicts,
        .mask = {UINT64_C(1) << NF_BIT, 0},
        .fails_closed = fails_closed,
    };
    assert_int_equal(mb_log_attach(&fixture->log, 0, &consumer), 0);
    mb_gate_watch(bench->gate, 0, bench->verdicts, consumer.mask, fails_closed);
    assert_true(mb_stack_streams_are_read(fixture->stack, consumer.mask));
    const struct mb_stream_guard guard = mb_stack_stream_guard(fixture->stack);
    assert_true(mb_gate_prepare_streams(bench->gate, &guard, mb_stack_decoder(fixture->stack)));
    mb_stack_guard_streams(fixture->stack, mb_gate_guard_streams(bench->gate), consumer.mask);
}

static void open_bench(struct bench *bench, const struct mb_stack_config *config,
                       bool fails_closed) {
    struct mb_subscription judge = {.nf = 0, .bit = NF_BIT};
    stack_want(&judge, MB_TYPE_TCP_DATA);
    stack_open_with(&bench->fixture, config, &judge, 1, NULL, 0);
    make_gate(bench);
    attach_judge(bench, fails_closed);
}

static int set_up(void **state) {
    *state = calloc(1, sizeof(struct bench));
    open_bench(*state, &(struct mb_stack_config){0}, false);
    return 0;
}

static int set_up_closed(void **state) {
    *state = calloc(1, sizeof(struct bench));
    open_bench(*state, &(struct mb_stack_config){0}, true);
    return 0;
}

static int set_up_passing(void **state) {
    *state = calloc(1, sizeof(struct bench));
    open_bench(*state,
               &(struct mb_stack_config){.held_at_cap = MB_AT_CAP_PASS, .gap_timeout = SECONDS},
               false);
    return 0;
}

static int set_up_tight(void **state) {
    *state = calloc(1, sizeof(struct bench));
    open_bench(*state, &(struct mb_stack_config){.held_segments_per_flow = 2}, false);
    return 0;
}

static int tear_down(void **state) {
    struct bench *bench = *state;
    mb_gate_destroy(bench->gate);
    mb_sink_close(bench->sink);
    close(bench->output);
    stack_close(&bench->fixture);
    free(bench);
    return 0;
}

/* --- what happens --- */

/* The stack has handled the frame that the fixture gave it last. */
static void hand_over(struct bench *bench, uint32_t length) {
    const struct mb_frame frame = {.offset = bench->fixture.used - length,
                                   .time = bench->fixture.time,
                                   .length = length,
                                   .wire_length = length,
                                   .link_type = 1};
    mb_gate_run(bench->gate);
    mb_gate_add(bench->gate, &frame, &bench->fixture.handled);
}

static void segment(struct bench *bench, struct tcp tcp) {
    const size_t before = bench->fixture.used;
    stack_tcp(&bench->fixture, tcp);
    hand_over(bench, (uint32_t)(bench->fixture.used - before));
}

/* From side 0, whose stream begins at 101. */
static void bytes(struct bench *bench, uint32_t at, const char *payload) {
    segment(bench, (struct tcp){.from = 0,
                                .flags = ACK | PSH,
                                .sequence = 101 + at,
                                .acknowledgment = 301,
                                .payload = payload});
}

static void acknowledge(struct bench *bench, uint32_t at) {
    segment(bench,
            (struct tcp){.from = 1, .flags = ACK, .sequence = 301, .acknowledgment = 101 + at});
}

static void handshake(struct bench *bench) {
    segment(bench, (struct tcp){.flags = SYN, .sequence = 100});
    segment(bench,
            (struct tcp){.from = 1, .flags = SYN | ACK, .sequence = 300, .acknowledgment = 101});
    segment(bench, (struct tcp){.flags = ACK, .sequence = 101, .acknowledgment = 301});
}

/* The NF says this of the last entry, when it comes to it. */
static void judge_last(struct bench *bench, enum mb_verdict verdict) {
    bench->verdicts[bench->fixture.log.next - 1] = (uint8_t)verdict;
}

static void pass(struct bench *bench) {
    mb_store_sequential(&bench->page.cursor, bench->fixture.log.head);
    mb_gate_run(bench->gate);
}

static void finish(struct bench *bench) {
    stack_finish(&bench->fixture);
    if (mb_gate_has_steps_apart(bench->gate))
        mb_gate_add_steps_apart(bench->gate);
    mb_log_commit(&bench->fixture.log);
    pass(bench);
}

/* --- what came out --- */

/* The payloads, each followed by a "|"; segments without bytes as ".". */
static const char *output(struct bench *bench) {
    char error[MB_ERROR_SIZE];
    size_t used = 0;
    struct mb_frame frame;
    mb_sink_flush(bench->sink);
    struct mb_source *source = mb_source_open(bench->output, "output", error);
    assert_non_null(source);
    while (mb_source_read(source, &frame, 1)) {
        const uint8_t *payload = mb_source_pool(source) + frame.offset + 54;
        const uint32_t length = frame.length - 54;
        assert_true(used + length + 2 < sizeof bench->text);
        memcpy(bench->text + used, length != 0 ? payload : (const uint8_t *)".",
               length != 0 ? length : 1);
        used += length != 0 ? length + 1 : 1;
        if (length != 0)
            bench->text[used - 1] = '|';
    }
    bench->text[used] = '\0';
    mb_source_close(source);
    return bench->text;
}

static struct mb_gate_counters counted(const struct bench *bench) {
    return mb_gate_counters(bench->gate);
}

/* --- segments that wait for bytes before them --- */

static void a_segment_leaves_when_its_bytes_were_passed(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    pass(bench);
    bytes(bench, 5, "world");
    pass(bench);
    assert_string_equal(output(bench), "...");
    assert_int_equal(counted(bench).held, 1);
    bytes(bench, 0, "hello");
    mb_gate_run(bench->gate);
    assert_string_equal(output(bench), "...");
    pass(bench);
    assert_string_equal(output(bench), "...hello|world|");
    assert_int_equal(counted(bench).held, 0);
}

static void they_follow_what_closed_the_gap_in_order_and_before_the_next(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    bytes(bench, 9, "4th");
    bytes(bench, 6, "3rd");
    bytes(bench, 3, "2nd");
    bytes(bench, 0, "1st");
    bytes(bench, 12, "5th");
    pass(bench);
    assert_string_equal(output(bench), "...1st|2nd|3rd|4th|5th|");
}

static void others_pass_meanwhile(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    bytes(bench, 3, "2nd");
    acknowledge(bench, 0);
    segment(bench, (struct tcp){.flags = SYN, .sequence = 7, .port = 2000});
    pass(bench);
    assert_string_equal(output(bench), ".....");
    bytes(bench, 0, "1st");
    pass(bench);
    assert_string_equal(output(bench), ".....1st|2nd|");
}

static void a_segment_that_only_repeats_what_is_held_waits_with_it(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    bytes(bench, 3, "2nd");
    bytes(bench, 3, "2nd");
    bytes(bench, 4, "nd3rd");
    pass(bench);
    assert_int_equal(counted(bench).held, 3);
    bytes(bench, 0, "1st");
    pass(bench);
    assert_string_equal(output(bench), "...1st|2nd|2nd|nd3rd|");
}

static void what_is_held_is_dropped_with_its_flow(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    bytes(bench, 3, "2nd");
    bytes(bench, 0, "1st");
    judge_last(bench, MB_DROP_FLOW);
    pass(bench);
    assert_string_equal(output(bench), "...");
    assert_int_equal(counted(bench).held, 0);
    assert_int_equal(counted(bench).verdict_drop_flow, 2);
    assert_int_equal(mb_gate_judge(bench->gate, 0)->packets_of_flows, 2);
}

static void what_nobody_could_judge_does_not_leave_where_the_nf_fails_closed(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    bytes(bench, 3, "2nd");
    pass(bench);
    bytes(bench, 0, "1st");
    mb_log_detach(&bench->fixture.log, 0);
    mb_gate_run(bench->gate);
    bytes(bench, 0, "1st"); /* a retransmission shows the stack nothing new */
    mb_gate_run(bench->gate);
    assert_string_equal(output(bench), "...");
    assert_int_equal(counted(bench).failed_closed, 1);
    assert_int_equal(counted(bench).unseen, 2);
}

static void there_is_room_for_as_many_as_a_flow_may_hold(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    for (unsigned i = 0; i < 4; i++)
        bytes(bench, 3, "2nd");
    pass(bench);
    assert_int_equal(counted(bench).held, 2);
    assert_int_equal(counted(bench).held_no_room, 2);
    bytes(bench, 0, "1st");
    pass(bench);
    assert_string_equal(output(bench), "...1st|2nd|2nd|");
}

/* --- holes that are given up --- */

static void a_gap_that_is_given_up_lets_those_behind_it_go(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    bytes(bench, 3, "2nd");
    for (unsigned i = 0; i < 3; i++)
        acknowledge(bench, 6);
    pass(bench);
    assert_string_equal(output(bench), "......2nd|");
    assert_int_equal(counted(bench).unseen, 0);
}

static void bytes_of_a_gap_that_come_late_do_not_leave(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    bytes(bench, 3, "2nd");
    bench->fixture.time += 100 * SECONDS;
    acknowledge(bench, 0);
    bytes(bench, 0, "1st");
    bytes(bench, 0, "1st2nd");
    pass(bench);
    assert_string_equal(output(bench), "...2nd|.");
    assert_int_equal(counted(bench).unseen, 2);
}

static void unless_the_policy_is_to_pass(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    bytes(bench, 3, "2nd");
    bench->fixture.time += 100 * SECONDS;
    acknowledge(bench, 0);
    bytes(bench, 0, "1st");
    bytes(bench, 0, "1stXXX");
    pass(bench);
    assert_string_equal(output(bench), "...2nd|.1st|1st2nd|");
    assert_int_equal(counted(bench).unseen, 0);
}

static void a_drop_of_what_time_gave_out_drops_the_flow(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    bytes(bench, 3, "2nd");
    pass(bench);
    bench->fixture.time += 100 * SECONDS;
    segment(bench, (struct tcp){.flags = SYN, .sequence = 7, .port = 2000});
    judge_last(bench, MB_DROP_FLOW);
    bytes(bench, 6, "3rd");
    pass(bench);
    assert_string_equal(output(bench), "....");
    assert_int_equal(counted(bench).held, 0);
    assert_int_equal(mb_gate_judge(bench->gate, 0)->flows_dropped, 1);
}

static void the_end_of_the_input_gives_out_what_is_held(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    bytes(bench, 3, "2nd");
    pass(bench);
    finish(bench);
    assert_string_equal(output(bench), "...2nd|");
    assert_int_equal(counted(bench).held, 0);
    assert_int_equal(counted(bench).waiting, 0);
}

static void a_verdict_on_the_end_of_the_input_counts(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    bytes(bench, 3, "2nd");
    pass(bench);
    memset(bench->verdicts, MB_DROP_FLOW, sizeof bench->verdicts);
    finish(bench);
    assert_string_equal(output(bench), "...");
    assert_int_equal(counted(bench).held, 0);
}

/* --- bytes in a SYN (RFC 7413) --- */

static void bytes_in_a_syn_leave_when_the_receiver_has_taken_them(void **state) {
    struct bench *bench = *state;
    segment(bench, (struct tcp){.flags = SYN, .sequence = 100, .payload = "abc"});
    pass(bench);
    assert_string_equal(output(bench), "");
    segment(bench,
            (struct tcp){.from = 1, .flags = SYN | ACK, .sequence = 300, .acknowledgment = 104});
    bytes(bench, 3, "def");
    pass(bench);
    assert_string_equal(output(bench), ".abc|def|");
}

static void else_its_sender_says_them_again(void **state) {
    struct bench *bench = *state;
    segment(bench, (struct tcp){.flags = SYN, .sequence = 100, .payload = "abc"});
    segment(bench, (struct tcp){.flags = SYN, .sequence = 100});
    segment(bench,
            (struct tcp){.from = 1, .flags = SYN | ACK, .sequence = 300, .acknowledgment = 101});
    bytes(bench, 0, "abcdef");
    pass(bench);
    assert_string_equal(output(bench), "..abcdef|");
    assert_int_equal(counted(bench).unseen, 1);
}

/* --- copies --- */

static void a_copy_leaves_with_the_bytes_that_were_passed(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    bytes(bench, 0, "GET /good");
    bytes(bench, 0, "GET /evil");
    bytes(bench, 3, "XXXX");
    bytes(bench, 5, "evil and more");
    pass(bench);
    assert_string_equal(output(bench), "...GET /good|GET /good| /go|good and more|");
    assert_int_equal(counted(bench).carried, 3);
}

static void of_two_copies_behind_a_hole_both_carry_the_one_that_is_given_out(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    bytes(bench, 3, "good");
    bytes(bench, 3, "evil");
    bytes(bench, 0, "abc");
    pass(bench);
    assert_string_equal(output(bench), "...abc|good|good|");
}

static void what_the_receiver_has_is_still_known_and_else_blank(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    bytes(bench, 3, "2nd");
    for (unsigned i = 0; i < 3; i++)
        acknowledge(bench, 6); /* also bytes that were never seen */
    bytes(bench, 0, "???XXX");
    pass(bench);
    assert_memory_equal(output(bench),
                        "......2nd|\0\0\0"
                        "2nd|",
                        18);
}

/* Over addresses and segment: the same whatever the bytes are, where the checksum fits to them. */
static uint32_t sum_of(const uint8_t *frame, uint32_t length) {
    uint32_t sum = 0;
    for (uint32_t i = 26; i < length; i++)
        sum += i % 2 == 0 ? (uint32_t)frame[i] << 8 : frame[i];
    return sum % 0xffff;
}

static void checksums_are_as_right_as_they_were(void **state) {
    struct bench *bench = *state;
    char error[MB_ERROR_SIZE];
    handshake(bench);
    bytes(bench, 0, "a stretch of bytes");
    bytes(bench, 1, " STRETCH of bytes");
    bytes(bench, 4, "R");
    pass(bench);
    mb_sink_flush(bench->sink);
    struct mb_source *source = mb_source_open(bench->output, "output", error);
    struct mb_frame frames[6];
    assert_int_equal(mb_source_read(source, frames, 6), 6);
    const uint8_t *came = bench->fixture.pool + bench->fixture.used - 55 - 71;
    const uint8_t *stretch = mb_source_pool(source) + frames[4].offset;
    assert_memory_equal(stretch + 54, " stretch of bytes", 17);
    assert_int_equal(sum_of(stretch, 71), sum_of(came, 71));
    assert_int_equal(sum_of(mb_source_pool(source) + frames[5].offset, 55), sum_of(came + 71, 55));
    mb_source_close(source);
}

/* A keep-alive bears a byte that is none of the stream's (RFC 9293 section 3.8.4). */
static void a_keep_alive_carries_no_byte_of_its_own(void **state) {
    struct bench *bench = *state;
    handshake(bench);
    bytes(bench, 0, "abc");
    acknowledge(bench, 3);
    bytes(bench, 2, "!");
    pass(bench);
    assert_string_equal(output(bench), "...abc|.c|");
}

/* --- whatever comes --- */

enum { STREAM = 60000, STREAM_SEGMENTS = 400 };

static uint32_t drawn(uint64_t *state, uint32_t below) {
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % below;
}

/* What the stream says at each place, as letters. A liar's copy says something else. */
static void write_letters(char *payload, uint32_t at, uint32_t length, bool lies) {
    for (uint32_t i = 0; i < length; i++)
        payload[i] = (char)((lies ? 'a' : 'A') + (at + i) * 7 % 26);
    payload[length] = '\0';
}

/* Segments around the place that the stream has come to: lost, late, cut otherwise, sent again by
 * somebody who lies. The NF passes what it has seen after some of them. */
static void send_at_random(struct bench *bench, uint64_t seed, uint32_t initial,
                           unsigned patience) {
    uint64_t random = seed;
    uint64_t moves = seed ^ patience;
    uint32_t sent = 0;
    segment(bench, (struct tcp){.flags = SYN, .sequence = initial});
    segment(bench,
            (struct tcp){
                .from = 1, .flags = SYN | ACK, .sequence = 300, .acknowledgment = initial + 1});
    for (unsigned i = 0; i < STREAM_SEGMENTS; i++) {
        char payload[128];
        const uint32_t back = drawn(&random, 3) == 0 ? 0 : drawn(&random, 300);
        const uint32_t at = sent > back ? sent - back : 0;
        const uint32_t length = 1 + drawn(&random, 100);
        const uint32_t skipped = drawn(&random, 4) == 0 ? drawn(&random, 100) : 0;
        write_letters(payload, at + skipped, length, drawn(&random, 5) == 0);
        segment(bench, (struct tcp){.flags = ACK,
                                    .sequence = initial + 1 + at + skipped,
                                    .acknowledgment = 301,
                                    .payload = payload});
        if (at + skipped + length > sent)
            sent = at + skipped + length;
        if (drawn(&random, 10) == 0)
            segment(bench, (struct tcp){.from = 1,
                                        .flags = ACK,
                                        .sequence = 301,
                                        .acknowledgment = initial + 1 + drawn(&random, sent + 1)});
        if (drawn(&moves, patience) == 0 || mb_gate_room(bench->gate) < 4)
            pass(bench);
    }
    finish(bench);
}

/* The bytes that were published, by their place in the stream; 0: none were. */
static void publish_into(const struct bench *bench, uint32_t initial, uint8_t published[STREAM]) {
    const struct stack_fixture *fixture = &bench->fixture;
    for (uint64_t i = 0; i < fixture->log.next; i++) {
        const struct mb_entry *entry = &fixture->log.slots[i];
        if (entry->type != MB_TYPE_TCP_DATA)
            continue;
        const uint8_t *frame = fixture->pool + entry->frame;
        const uint32_t sequence = (uint32_t)frame[38] << 24 | (uint32_t)frame[39] << 16 |
                                  (uint32_t)frame[40] << 8 | frame[41];
        const uint32_t at = sequence - initial - 1 + entry->data_offset - 54;
        assert_true(at + entry->data_length <= STREAM);
        memcpy(published + at, frame + entry->data_offset, entry->data_length);
    }
}

/* Each segment of the output bears published bytes, or blanks of what was acknowledged unseen. */
static unsigned check_output(struct bench *bench, uint32_t initial,
                             const uint8_t published[STREAM]) {
    char error[MB_ERROR_SIZE];
    struct mb_frame frame;
    unsigned bytes_out = 0;
    mb_sink_flush(bench->sink);
    struct mb_source *source = mb_source_open(bench->output, "output", error);
    while (mb_source_read(source, &frame, 1)) {
        const uint8_t *bytes = mb_source_pool(source) + frame.offset;
        const uint32_t sequence = (uint32_t)bytes[38] << 24 | (uint32_t)bytes[39] << 16 |
                                  (uint32_t)bytes[40] << 8 | bytes[41];
        for (uint32_t i = 54; i < frame.length; i++, bytes_out++)
            assert_true(bytes[i] == published[sequence - initial - 1 + i - 54]);
    }
    mb_source_close(source);
    return bytes_out;
}

static void whatever_comes_only_published_bytes_leave_and_always_the_same(void **state) {
    (void)state;
    unsigned waited = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        const uint32_t initial = seed % 3 == 0 ? UINT32_MAX - 700 : (uint32_t)seed * 1000;
        static uint8_t published[STREAM];
        static uint8_t output[2][1 << 17];
        ssize_t size[2];
        for (unsigned run = 0; run < 2; run++) {
            struct bench *bench = calloc(1, sizeof *bench);
            const struct mb_stack_config config = {.hosts = NULL,
                                                   .held_segments_per_flow = seed % 4 == 0 ? 3 : 0};
            open_bench(bench, &config, false);
            send_at_random(bench, seed, initial, run == 0 ? 1 : 40);
            memset(published, 0, sizeof published);
            publish_into(bench, initial, published);
            assert_true(check_output(bench, initial, published) != 0);
            waited += counted(bench).carried != 0;
            assert_int_equal(counted(bench).held, 0);
            size[run] = pread(bench->output, output[run], sizeof output[run], 0);
            tear_down((void *[]){bench});
        }
        assert_int_equal(size[0], size[1]);
        assert_memory_equal(output[0], output[1], (size_t)size[0]);
    }
    assert_true(waited > 60);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define STREAM_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
        STREAM_TEST(a_segment_leaves_when_its_bytes_were_passed),
        STREAM_TEST(they_follow_what_closed_the_gap_in_order_and_before_the_next),
        STREAM_TEST(others_pass_meanwhile),
        STREAM_TEST(a_segment_that_only_repeats_what_is_held_waits_with_it),
        STREAM_TEST(what_is_held_is_dropped_with_its_flow),
        cmocka_unit_test_setup_teardown(
            what_nobody_could_judge_does_not_leave_where_the_nf_fails_closed, set_up_closed,
            tear_down),
        cmocka_unit_test_setup_teardown(there_is_room_for_as_many_as_a_flow_may_hold, set_up_tight,
                                        tear_down),
        STREAM_TEST(a_gap_that_is_given_up_lets_those_behind_it_go),
        STREAM_TEST(bytes_of_a_gap_that_come_late_do_not_leave),
        cmocka_unit_test_setup_teardown(unless_the_policy_is_to_pass, set_up_passing, tear_down),
        STREAM_TEST(a_drop_of_what_time_gave_out_drops_the_flow),
        STREAM_TEST(the_end_of_the_input_gives_out_what_is_held),
        STREAM_TEST(a_verdict_on_the_end_of_the_input_counts),
        STREAM_TEST(bytes_in_a_syn_leave_when_the_receiver_has_taken_them),
        STREAM_TEST(else_its_sender_says_them_again),
        STREAM_TEST(a_copy_leaves_with_the_bytes_that_were_passed),
        STREAM_TEST(of_two_copies_behind_a_hole_both_carry_the_one_that_is_given_out),
        STREAM_TEST(what_the_receiver_has_is_still_known_and_else_blank),
        STREAM_TEST(checksums_are_as_right_as_they_were),
        STREAM_TEST(a_keep_alive_carries_no_byte_of_its_own),
        cmocka_unit_test(whatever_comes_only_published_bytes_leave_and_always_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
