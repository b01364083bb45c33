/*
 * Caps on flows: what each policy makes of a packet that finds the table full, and who has to go.
 */
#include "tests/core/stack_fixture.h"

#include "microbox/stack/flows/flow_table.h"

static void open_with(struct stack_fixture *stack, struct mb_stack_config config) {
    struct mb_subscription everything = stack_everything();
    stack_open_with(stack, &config, &everything, 1, NULL, 0);
}

static const struct mb_stack_counters *counters(const struct stack_fixture *stack) {
    return mb_stack_counters(stack->stack);
}

static uint64_t met(const struct stack_fixture *stack, enum mb_cap_policy policy) {
    return counters(stack)->caps_met[MB_CAP_FLOWS][policy];
}

static void send_syn(struct stack_fixture *stack, uint16_t port) {
    stack_tcp(stack, (struct tcp){.flags = SYN, .sequence = 100, .port = port});
}

/* A stack with room for one flow, which is there, and the SYN of another. */
static void fill(struct stack_fixture *stack, enum mb_cap_policy policy) {
    open_with(stack, (struct mb_stack_config){.flows_max = 1, .flows_at_cap = policy});
    send_syn(stack, 1);
    send_syn(stack, 2);
    assert_int_equal(met(stack, policy), 1);
    assert_int_equal(counters(stack)->by_reason[MB_REASON_LIMIT_FLOWS], 1);
    assert_int_equal(counters(stack)->flows_active, 1);
}

static void evicting_makes_room(void **state) {
    (void)state;
    struct stack_fixture stack;
    fill(&stack, MB_AT_CAP_EVICT);
    assert_int_equal(stack_next(&stack, MB_TYPE_TCP_END)->reason, MB_REASON_END_EVICTED);
    assert_int_equal(stack.handled.flow, 2);
    assert_int_equal(stack.handled.dropped, MB_REASON_NONE);
    stack_close(&stack);
}

static void a_dropped_packet_is_seen_but_does_not_go_out(void **state) {
    (void)state;
    struct stack_fixture stack;
    fill(&stack, MB_AT_CAP_DROP_PACKET);
    assert_int_equal(stack.handled.dropped, MB_REASON_LIMIT_FLOWS);
    assert_int_equal(stack.handled.flow, 0);
    assert_int_equal(stack_count(&stack, MB_TYPE_PACKET_IP_TCP), 2);
    assert_int_equal(counters(&stack)->packets_refused, 1);
    stack.time += 300 * SECONDS; /* the first one has timed out: now there is room */
    send_syn(&stack, 2);
    assert_int_equal(stack.handled.dropped, MB_REASON_NONE);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_START), 2);
    stack_close(&stack);
}

static void a_dropped_flow_stays_dropped_while_it_goes_on(void **state) {
    (void)state;
    struct stack_fixture stack;
    fill(&stack, MB_AT_CAP_DROP_FLOW);
    assert_int_equal(stack.handled.dropped, MB_REASON_LIMIT_FLOWS);
    for (unsigned i = 0; i < 3; i++) { /* meanwhile the first one times out */
        stack.time += 200 * SECONDS;
        send_syn(&stack, 2);
        assert_int_equal(stack.handled.dropped, MB_REASON_LIMIT_FLOW_REFUSED);
    }
    assert_int_equal(counters(&stack)->flows_active, 0);
    stack.time += 241 * SECONDS;
    send_syn(&stack, 2);
    assert_int_equal(stack.handled.dropped, MB_REASON_NONE);
    assert_int_equal(counters(&stack)->packets_refused, 4);
    stack_close(&stack);
}

static void nobody_is_shown_what_is_bypassed(void **state) {
    (void)state;
    struct stack_fixture stack;
    fill(&stack, MB_AT_CAP_BYPASS);
    assert_int_equal(stack.handled.dropped, MB_REASON_NONE);
    assert_int_equal(stack.handled.first, stack.handled.end);
    assert_int_equal(counters(&stack)->packets_bypassed, 1);
    stack_close(&stack);
}

static void what_passes_is_a_packet_without_a_flow(void **state) {
    (void)state;
    struct stack_fixture stack;
    fill(&stack, MB_AT_CAP_PASS);
    assert_int_equal(stack.handled.dropped, MB_REASON_NONE);
    assert_int_equal(stack.handled.flow, 0);
    assert_int_equal(stack.handled.end - stack.handled.first, 1);
    assert_int_equal(stack_count(&stack, MB_TYPE_PACKET_IP_TCP), 2);
    stack_close(&stack);
}

static void a_policy_that_there_is_not_is_refused(void **state) {
    (void)state;
    struct mb_log log;
    char error[MB_ERROR_SIZE];
    assert_int_equal(mb_log_create(&log, STACK_LOG_SLOTS), 0);
    const struct mb_stack_config config = {.link_type = 1, .held_at_cap = MB_CAP_POLICIES};
    assert_null(mb_stack_create(&config, &log, NULL, 0, NULL, 0, error));
    assert_non_null(strstr(error, "policy"));
    mb_log_destroy(&log);
}

/* Which of 64 SYNs find the cap met, as a set of bits. */
static uint64_t forced_by(uint64_t seed, uint32_t chance) {
    struct stack_fixture stack;
    uint64_t forced = 0;
    open_with(&stack, (struct mb_stack_config){.flows_at_cap = MB_AT_CAP_DROP_PACKET,
                                               .force_flows = chance,
                                               .force_seed = seed});
    for (uint16_t port = 0; port < 64; port++) {
        send_syn(&stack, port + 1);
        forced |= (uint64_t)(stack.handled.dropped != MB_REASON_NONE) << port;
    }
    assert_int_equal(counters(&stack)->caps_forced, __builtin_popcountll(forced));
    assert_int_equal(met(&stack, MB_AT_CAP_DROP_PACKET), __builtin_popcountll(forced));
    stack_close(&stack);
    return forced;
}

static void a_test_can_have_the_cap_met(void **state) {
    (void)state;
    const uint64_t forced = forced_by(7, UINT32_MAX / 4);
    assert_int_equal(forced, forced_by(7, UINT32_MAX / 4));
    assert_int_not_equal(forced, forced_by(8, UINT32_MAX / 4));
    assert_in_range(__builtin_popcountll(forced), 6, 26);
    assert_int_equal(forced_by(7, 0), 0);
    assert_int_equal(forced_by(7, UINT32_MAX), UINT64_MAX);
}

static void a_forced_eviction_of_nobody_does_no_harm(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, (struct mb_stack_config){.force_flows = UINT32_MAX});
    send_syn(&stack, 1);
    assert_int_equal(counters(&stack)->flows_active, 1);
    send_syn(&stack, 2);
    assert_int_equal(counters(&stack)->flows_active, 1);
    assert_int_equal(counters(&stack)->flows_evicted, 1);
    stack_close(&stack);
}

static void a_reset_begins_no_flow(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, (struct mb_stack_config){0});
    stack_tcp(&stack, (struct tcp){.flags = RST, .sequence = 100});
    stack_tcp(&stack, (struct tcp){.flags = RST | ACK, .sequence = 100, .port = 7});
    assert_int_equal(counters(&stack)->flows_tcp, 0);
    assert_int_equal(counters(&stack)->by_reason[MB_REASON_TCP_RST_WITHOUT_FLOW], 2);
    assert_int_equal(stack_count(&stack, MB_TYPE_PACKET_IP_TCP), 2);
    stack_close(&stack);
}

/* Two flows in a table for two, one of them answered and silent for longer; then a third. */
static void the_unanswered_goes_first(struct stack_fixture *stack) {
    send_syn(stack, 9);
    const struct mb_entry *end = stack_next(stack, MB_TYPE_TCP_END);
    assert_int_equal(end->reason, MB_REASON_END_EVICTED);
    assert_int_equal(end->payload.flow.tuple.source_port, 2);
    stack_close(stack);
}

static void a_segment_that_nobody_answers_pushes_out_no_connection(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, (struct mb_stack_config){.flows_max = 2});
    stack_handshake(&stack);
    stack.time += SECONDS;
    stack_tcp(&stack, (struct tcp){.flags = ACK, .sequence = 1, .acknowledgment = 1, .port = 2});
    the_unanswered_goes_first(&stack);
}

static void a_connection_that_was_picked_up_counts_when_it_is_answered(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, (struct mb_stack_config){.flows_max = 2});
    stack_send(&stack, 0, ACK, 1, 1, "question");
    stack_send(&stack, 1, ACK, 1, 9, "answer");
    stack.time += SECONDS;
    stack_tcp(&stack, (struct tcp){.flags = ACK, .sequence = 1, .acknowledgment = 1, .port = 2});
    the_unanswered_goes_first(&stack);
}

static void a_side_alone_has_a_timeout_of_its_own(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, (struct mb_stack_config){.tcp_unanswered_timeout = 10 * SECONDS,
                                               .udp_unanswered_timeout = 10 * SECONDS});
    stack_tcp(&stack, (struct tcp){.flags = ACK, .sequence = 1, .acknowledgment = 1, .port = 2});
    stack_handshake(&stack);
    stack_udp(&stack, 0, "nobody answers");
    stack.time += 15 * SECONDS;
    stack_send(&stack, 0, ACK, 101, 301, NULL);
    assert_int_equal(stack_next(&stack, MB_TYPE_TCP_END)->payload.flow.tuple.source_port, 2);
    assert_int_equal(stack_next(&stack, MB_TYPE_UDP_END)->reason, MB_REASON_END_TIMEOUT);
    assert_int_equal(counters(&stack)->flows_active, 1);
    stack_close(&stack);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evicting_makes_room),
        cmocka_unit_test(a_dropped_packet_is_seen_but_does_not_go_out),
        cmocka_unit_test(a_dropped_flow_stays_dropped_while_it_goes_on),
        cmocka_unit_test(nobody_is_shown_what_is_bypassed),
        cmocka_unit_test(what_passes_is_a_packet_without_a_flow),
        cmocka_unit_test(a_policy_that_there_is_not_is_refused),
        cmocka_unit_test(a_test_can_have_the_cap_met),
        cmocka_unit_test(a_forced_eviction_of_nobody_does_no_harm),
        cmocka_unit_test(a_reset_begins_no_flow),
        cmocka_unit_test(a_segment_that_nobody_answers_pushes_out_no_connection),
        cmocka_unit_test(a_connection_that_was_picked_up_counts_when_it_is_answered),
        cmocka_unit_test(a_side_alone_has_a_timeout_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
