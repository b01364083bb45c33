/*
 * The cap on held segments: what each policy makes of the segment that finds it met, and of the
 * flow from then on.
 */
#include "tests/core/stack_fixture.h"

/* A flow that may hold one segment and does, behind a hole at 101, and another one behind it. */
static void fill(struct stack_fixture *stack, enum mb_cap_policy policy) {
    const struct mb_stack_config config = {.held_segments_per_flow = 1, .held_at_cap = policy};
    const struct mb_subscription everything = stack_everything();
    stack_open_with(stack, &config, &everything, 1, NULL, 0);
    stack_handshake(stack);
    stack_send(stack, 0, ACK, 105, 301, "late");
    stack_send(stack, 0, ACK, 113, 301, "more");
    assert_int_equal(mb_stack_counters(stack->stack)->caps_met[MB_CAP_HELD][policy], 1);
}

static void evicting_gives_up_the_first_hole(void **state) {
    (void)state;
    struct stack_fixture stack;
    fill(&stack, MB_AT_CAP_EVICT);
    assert_int_equal(stack.handled.dropped, MB_REASON_NONE);
    assert_string_equal(stack_text(&stack, 0), "[4]late");
    stack_send(&stack, 0, ACK, 109, 301, "then");
    assert_string_equal(stack_text(&stack, 0), "[4]latethenmore");
    stack_close(&stack);
}

static void a_dropped_segment_is_sent_again(void **state) {
    (void)state;
    struct stack_fixture stack;
    fill(&stack, MB_AT_CAP_DROP_PACKET);
    assert_int_equal(stack.handled.dropped, MB_REASON_LIMIT_HELD_SEGMENTS);
    stack_send(&stack, 0, ACK, 101, 301, "soon");
    stack_send(&stack, 0, ACK, 109, 301, "then");
    stack_send(&stack, 0, ACK, 113, 301, "more");
    assert_int_equal(stack.handled.dropped, MB_REASON_NONE);
    assert_string_equal(stack_text(&stack, 0), "soonlatethenmore");
    stack_close(&stack);
}

static void a_dropped_flow_ends_and_stays_dropped(void **state) {
    (void)state;
    struct stack_fixture stack;
    fill(&stack, MB_AT_CAP_DROP_FLOW);
    assert_int_equal(stack.handled.dropped, MB_REASON_LIMIT_HELD_SEGMENTS);
    for (unsigned from = 0; from < 2; from++) {
        stack_send(&stack, from, ACK, from == 0 ? 101 : 301, from == 0 ? 301 : 101, "soon");
        assert_int_equal(stack.handled.dropped, MB_REASON_LIMIT_FLOW_REFUSED);
        assert_int_equal(stack.handled.flow, 1);
    }
    assert_int_equal(stack_next(&stack, MB_TYPE_TCP_END)->reason, MB_REASON_LIMIT_HELD_SEGMENTS);
    assert_string_equal(stack_text(&stack, 1), "");
    assert_int_equal(stack_count(&stack, MB_TYPE_PACKET_IP_TCP), 7);
    stack_close(&stack);
}

static void nobody_is_shown_a_bypassed_flow(void **state) {
    (void)state;
    struct stack_fixture stack;
    fill(&stack, MB_AT_CAP_BYPASS);
    assert_int_equal(stack_next(&stack, MB_TYPE_TCP_END)->reason, MB_REASON_LIMIT_HELD_SEGMENTS);
    const uint64_t told = stack.log.next;
    stack_send(&stack, 0, ACK, 101, 301, "soon");
    assert_int_equal(stack.handled.dropped, MB_REASON_NONE);
    assert_int_equal(stack.log.next, told);
    assert_int_equal(mb_stack_counters(stack.stack)->packets_bypassed, 1);
    stack_close(&stack);
}

static void bytes_that_pass_are_a_gap(void **state) {
    (void)state;
    struct stack_fixture stack;
    fill(&stack, MB_AT_CAP_PASS);
    assert_int_equal(stack.handled.dropped, MB_REASON_NONE);
    stack_send(&stack, 0, ACK, 101, 301, "soon");
    stack_send(&stack, 0, ACK, 109, 301, "then");
    stack_send(&stack, 0, FIN | ACK, 117, 301, NULL);
    stack_finish(&stack);
    assert_string_equal(stack_text(&stack, 0), "soonlatethen[4]");
    stack_close(&stack);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evicting_gives_up_the_first_hole),
        cmocka_unit_test(a_dropped_segment_is_sent_again),
        cmocka_unit_test(a_dropped_flow_ends_and_stays_dropped),
        cmocka_unit_test(nobody_is_shown_a_bypassed_flow),
        cmocka_unit_test(bytes_that_pass_are_a_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
