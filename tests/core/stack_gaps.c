/*
 * When a stream stops waiting for bytes that do not come.
 */
#include "tests/core/stack_fixture.h"

static void open_with(struct stack_fixture *stack, const struct mb_stack_config *config) {
    struct mb_subscription everything = stack_everything();
    stack_open_with(stack, config, &everything, 1, NULL, 0);
    stack_handshake(stack);
}

static uint8_t reason_of_gap(struct stack_fixture *stack) {
    const struct mb_entry *gap = stack_next(stack, MB_TYPE_TCP_GAP);
    assert_non_null(gap);
    return gap->reason;
}

static void bytes_that_several_packets_acknowledge_will_not_come(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, &(struct mb_stack_config){0});
    stack_send(&stack, 0, ACK, 105, 301, "late");
    stack_send(&stack, 1, ACK, 301, 109, NULL);
    stack_send(&stack, 1, ACK, 301, 109, NULL);
    assert_string_equal(stack_text(&stack, 0), "");
    stack_send(&stack, 1, ACK, 301, 109, NULL);
    assert_string_equal(stack_text(&stack, 0), "[4]late");
    assert_int_equal(reason_of_gap(&stack), MB_REASON_GAP_ACKNOWLEDGED);
    stack_close(&stack);
}

static void how_many_packets_must_acknowledge_is_configured(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, &(struct mb_stack_config){.gap_acknowledgments = 1});
    stack_send(&stack, 0, ACK, 105, 301, "late");
    stack_send(&stack, 1, ACK, 301, 104, NULL);
    assert_string_equal(stack_text(&stack, 0), "");
    stack_send(&stack, 1, ACK, 301, 109, NULL);
    assert_string_equal(stack_text(&stack, 0), "[4]late");
    stack_close(&stack);
}

static void an_acknowledgment_of_what_was_never_sent_decides_nothing(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, &(struct mb_stack_config){0});
    stack_send(&stack, 0, ACK, 105, 301, "late");
    for (unsigned i = 0; i < 5; i++)
        stack_send(&stack, 1, ACK, 301, 5000, NULL);
    stack_send(&stack, 0, ACK, 101, 301, "soon");
    assert_string_equal(stack_text(&stack, 0), "soonlate");
    stack_close(&stack);
}

static void a_stream_waits_so_long_and_no_longer(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, &(struct mb_stack_config){.gap_timeout = 5 * SECONDS});
    stack_send(&stack, 0, ACK, 105, 301, "late");
    stack.time += 4 * SECONDS;
    stack_udp(&stack, 0, "a packet of another flow moves the clock");
    assert_string_equal(stack_text(&stack, 0), "");
    stack.time += 1 * SECONDS;
    stack_udp(&stack, 0, "and again");
    assert_string_equal(stack_text(&stack, 0), "[4]late");
    const struct mb_entry *gap = stack_next(&stack, MB_TYPE_TCP_GAP);
    assert_int_equal(gap->reason, MB_REASON_GAP_TIMEOUT);
    assert_true(gap->flags & MB_APART);
    assert_int_equal(gap->time, stack.time);
    stack_close(&stack);
}

/* Of two holes the second one gets its own time, from when the stream came to it. */
static void each_hole_is_waited_for_by_itself(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, &(struct mb_stack_config){.gap_timeout = 5 * SECONDS});
    stack_send(&stack, 0, ACK, 105, 301, "one");
    stack_send(&stack, 0, ACK, 110, 301, "two");
    stack.time += 4 * SECONDS;
    stack_send(&stack, 0, ACK, 101, 301, "zero");
    stack.time += 4 * SECONDS;
    stack_udp(&stack, 0, "too early");
    assert_string_equal(stack_text(&stack, 0), "zeroone");
    stack.time += 1 * SECONDS;
    stack_udp(&stack, 0, "now");
    assert_string_equal(stack_text(&stack, 0), "zeroone[2]two");
    stack_close(&stack);
}

static void all_holes_that_are_overdue_are_given_up_at_once(void **state) {
    (void)state;
    struct stack_fixture stack;
    enum { FLOWS = 9 };
    open_with(&stack, &(struct mb_stack_config){.gap_timeout = 5 * SECONDS});
    for (uint16_t i = 0; i < FLOWS; i++) {
        stack_tcp(&stack,
                  (struct tcp){.flags = SYN, .sequence = 100, .port = (uint16_t)(2000 + i)});
        stack_tcp(&stack, (struct tcp){.flags = ACK,
                                       .sequence = 105,
                                       .payload = "late",
                                       .port = (uint16_t)(2000 + i)});
    }
    stack.time += 60 * SECONDS;
    stack_udp(&stack, 0, "tick");
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_GAP), FLOWS);
    assert_int_equal(mb_stack_counters(stack.stack)->held_segments, 0);
    stack_close(&stack);
}

static void bytes_held_in_all_are_limited(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, &(struct mb_stack_config){.held_bytes_max = 10});
    stack_send(&stack, 0, ACK, 105, 301, "sixsix");
    stack_send(&stack, 1, ACK, 305, 101, "five5");
    assert_string_equal(stack_text(&stack, 0), "");
    assert_string_equal(stack_text(&stack, 1), "[4]five5");
    assert_int_equal(reason_of_gap(&stack), MB_REASON_GAP_LIMIT);
    assert_int_equal(mb_stack_counters(stack.stack)->held_bytes, 6);
    stack_close(&stack);
}

/* At the limit the stream gives up what is missing, not what has come. */
static void a_segment_before_what_is_held_is_given_out_at_the_limit(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, &(struct mb_stack_config){.held_segments_per_flow = 1});
    stack_send(&stack, 0, ACK, 110, 301, "late");
    stack_send(&stack, 0, ACK, 105, 301, "mid");
    assert_string_equal(stack_text(&stack, 0), "[4]mid");
    assert_int_equal(reason_of_gap(&stack), MB_REASON_GAP_LIMIT);
    stack_send(&stack, 0, ACK, 108, 301, "so");
    assert_string_equal(stack_text(&stack, 0), "[4]midsolate");
    stack_close(&stack);
}

/* Its receiver has none of it, and takes what comes in its place. */
static void nothing_is_kept_of_a_packet_that_is_dropped_at_the_limit(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, &(struct mb_stack_config){.held_segments_per_flow = 2,
                                                .held_at_cap = MB_AT_CAP_DROP_PACKET});
    stack_send(&stack, 0, ACK, 107, 301, "gh");
    stack_send(&stack, 0, ACK, 105, 301, "XXXXXX"); /* one piece would find room, the other none */
    assert_int_equal(stack.handled.dropped, MB_REASON_LIMIT_HELD_SEGMENTS);
    stack_send(&stack, 0, ACK, 105, 301, "ef");
    stack_send(&stack, 0, ACK, 101, 301, "abcd");
    assert_int_equal(stack.handled.dropped, MB_REASON_NONE);
    assert_string_equal(stack_text(&stack, 0), "abcdefgh");
    stack_close(&stack);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_that_several_packets_acknowledge_will_not_come),
        cmocka_unit_test(how_many_packets_must_acknowledge_is_configured),
        cmocka_unit_test(an_acknowledgment_of_what_was_never_sent_decides_nothing),
        cmocka_unit_test(a_stream_waits_so_long_and_no_longer),
        cmocka_unit_test(each_hole_is_waited_for_by_itself),
        cmocka_unit_test(all_holes_that_are_overdue_are_given_up_at_once),
        cmocka_unit_test(bytes_held_in_all_are_limited),
        cmocka_unit_test(a_segment_before_what_is_held_is_given_out_at_the_limit),
        cmocka_unit_test(nothing_is_kept_of_a_packet_that_is_dropped_at_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
