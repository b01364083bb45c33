/*
 * What the stack says of TCP connections: their states, windows, and ends.
 */
#include "tests/core/stack_fixture.h"

static void expect_states(struct stack_fixture *fixture, const struct mb_entry *entry,
                          enum mb_tcp_state originator, enum mb_tcp_state responder) {
    (void)fixture;
    assert_int_equal(entry->snapshot.side[0].state, originator);
    assert_int_equal(entry->snapshot.side[1].state, responder);
}

static void expect_end(struct stack_fixture *fixture, enum mb_reason reason) {
    const struct mb_entry *end = stack_next(fixture, MB_TYPE_TCP_END);
    assert_non_null(end);
    assert_string_equal(mb_reason_name(end->reason), mb_reason_name(reason));
}

static void a_handshake_is_followed(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    const struct mb_entry *start = stack_next(&stack, MB_TYPE_TCP_START);
    assert_int_equal(start->flow, 1);
    assert_int_equal(start->payload.flow.tuple.source_port, 1000);
    assert_int_equal(start->snapshot.side[0].packets, 1);
    const struct mb_entry *established = stack_next(&stack, MB_TYPE_TCP_ESTABLISHED);
    assert_int_equal(established->packet, 3);
    expect_states(&stack, established, MB_TCP_ESTABLISHED, MB_TCP_ESTABLISHED);
    assert_int_equal(established->snapshot.side[1].next, 301);
    assert_int_equal(established->snapshot.side[1].acknowledged, 101);
    stack_close(&stack);
}

static void both_sides_close(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    stack_send(&stack, 0, FIN | ACK, 101, 301, NULL);
    stack_send(&stack, 1, FIN | ACK, 301, 102, NULL);
    stack_send(&stack, 0, ACK, 102, 302, NULL);
    const struct mb_entry *end = stack_next(&stack, MB_TYPE_TCP_END);
    assert_int_equal(end->packet, 6);
    assert_int_equal(end->reason, MB_REASON_END_FIN);
    expect_states(&stack, end, MB_TCP_TIME_WAIT, MB_TCP_CLOSED);
    stack_close(&stack);
}

static void simultaneous_open_and_close(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 0, SYN, 100, 0, NULL);
    stack_send(&stack, 1, SYN, 300, 0, NULL);
    stack_send(&stack, 0, SYN | ACK, 100, 301, NULL);
    stack_send(&stack, 1, SYN | ACK, 300, 101, NULL);
    stack_send(&stack, 0, ACK, 101, 301, NULL);
    expect_states(&stack, stack_next(&stack, MB_TYPE_TCP_ESTABLISHED), MB_TCP_ESTABLISHED,
                  MB_TCP_ESTABLISHED);
    stack_send(&stack, 0, FIN | ACK, 101, 301, NULL);
    stack_send(&stack, 1, FIN | ACK, 301, 101, NULL);
    stack_send(&stack, 0, ACK, 102, 302, NULL);
    stack_send(&stack, 1, ACK, 302, 102, NULL);
    const struct mb_entry *end = stack_next(&stack, MB_TYPE_TCP_END);
    expect_states(&stack, end, MB_TCP_TIME_WAIT, MB_TCP_TIME_WAIT);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_START), 1);
    stack_close(&stack);
}

static void a_reset_ends(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    stack_send(&stack, 1, RST, 301, 0, NULL);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_END), 0);
    stack.time += 3 * SECONDS;
    stack_udp(&stack, 0, "tick");
    expect_end(&stack, MB_REASON_END_RST);
    stack_close(&stack);
}

static void a_refused_connection_ends_with_rst(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 0, SYN, 100, 0, NULL);
    stack_send(&stack, 1, RST | ACK, 0, 101, NULL);
    expect_end(&stack, MB_REASON_END_RST);
    stack_close(&stack);
}

/* RFC 9293 section 3.10.7.1: who resets a SYN with data acknowledges the data too. */
static void a_refused_syn_with_data_ends_with_rst(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 0, SYN, 100, 0, "early");
    stack_send(&stack, 1, RST | ACK, 0, 107, NULL);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_RST_OUT_OF_WINDOW), 1);
    stack_send(&stack, 1, RST | ACK, 0, 106, NULL);
    expect_end(&stack, MB_REASON_END_RST);
    stack_close(&stack);
}

static void an_incredible_reset_ends_nothing(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 0, SYN, 100, 0, NULL);
    stack_send(&stack, 1, RST | ACK, 0, 77, NULL); /* acknowledges no SYN */
    stack_send(&stack, 1, SYN | ACK, 300, 101, NULL);
    stack_send(&stack, 0, ACK, 101, 301, NULL);
    stack_send(&stack, 1, RST, 0x70000000, 0, NULL);
    stack_send(&stack, 0, ACK, 101, 301, "still here");
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_RST_OUT_OF_WINDOW), 2);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_END), 0);
    assert_string_equal(stack_text(&stack, 0), "still here");
    stack_close(&stack);
}

static void a_new_syn_takes_over(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    stack_send(&stack, 0, SYN, 900000, 0, NULL);
    stack_send(&stack, 1, SYN | ACK, 700000, 900001, NULL);
    expect_end(&stack, MB_REASON_END_REUSED);
    assert_int_equal(stack_next(&stack, MB_TYPE_TCP_START)->flow, 5);
    stack_close(&stack);
}

static void a_repeated_syn_is_no_new_connection(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 0, SYN, 100, 0, NULL);
    stack_send(&stack, 0, SYN, 100, 0, NULL);
    stack_send(&stack, 1, SYN | ACK, 300, 101, NULL);
    stack_send(&stack, 1, SYN | ACK, 300, 101, NULL);
    stack_send(&stack, 0, ACK, 101, 301, NULL);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_START), 1);
    const struct mb_entry *established = stack_next(&stack, MB_TYPE_TCP_ESTABLISHED);
    assert_int_equal(established->snapshot.side[0].retransmissions, 1);
    assert_int_equal(established->snapshot.side[1].retransmissions, 1);
    stack_send(&stack, 0, SYN, 100, 0, NULL);
    assert_non_null(stack_next(&stack, MB_TYPE_TCP_SYN_IN_ESTABLISHED));
    stack_close(&stack);
}

static void late_segments_belong_to_the_flow_that_ended(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    stack_send(&stack, 1, RST, 301, 0, NULL);
    stack_send(&stack, 0, RST, 101, 0, NULL);
    stack_send(&stack, 0, ACK, 91, 301, "too late");
    stack_send(&stack, 0, FIN | ACK, 109, 301, NULL);
    assert_int_equal(stack.handled.flow, 1);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_START), 1);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_END), 1);
    assert_string_equal(stack_text(&stack, 0), "");
    stack_finish(&stack);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_END), 1);
    stack_close(&stack);
}

static void the_one_addressed_by_a_syn_ack_is_the_originator(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 1, SYN | ACK, 300, 101, NULL);
    stack_send(&stack, 0, ACK, 101, 301, "request");
    const struct mb_entry *start = stack_next(&stack, MB_TYPE_TCP_START);
    assert_int_equal(start->payload.flow.tuple.source_port, 1000);
    assert_true(start->flags & MB_FROM_RESPONDER);
    assert_string_equal(stack_text(&stack, 0), "request");
    stack_close(&stack);
}

static void a_byte_far_outside_the_window_is_refused(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    stack_send(&stack, 0, ACK, 101 + (2 << 20), 301, "far");
    stack_send(&stack, 0, ACK, 101, 301, "near");
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_OUT_OF_WINDOW), 1);
    stack_finish(&stack);
    assert_string_equal(stack_text(&stack, 0), "near");
    stack_close(&stack);
}

static void windows_are_scaled_where_both_offer_it(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_tcp(&stack, (struct tcp){.flags = SYN, .sequence = 100, .has_scale = true, .scale = 3});
    stack_tcp(&stack, (struct tcp){.from = 1,
                                   .flags = SYN | ACK,
                                   .sequence = 300,
                                   .acknowledgment = 101,
                                   .has_scale = true,
                                   .scale = 200}); /* as 14: RFC 7323 section 2.3 */
    stack_tcp(&stack,
              (struct tcp){.flags = ACK, .sequence = 101, .acknowledgment = 301, .window = 1000});
    const struct mb_entry *established = stack_next(&stack, MB_TYPE_TCP_ESTABLISHED);
    assert_int_equal(established->snapshot.side[0].window, 8000);
    assert_int_equal(established->snapshot.side[1].window, 65535); /* a SYN's is never scaled */
    assert_int_equal(established->snapshot.side[1].window_scale, 14);
    stack_close(&stack);
}

static void a_window_that_closes_is_told_once(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    struct tcp closed = {.flags = ACK, .sequence = 101, .acknowledgment = 301};
    closed.closes_window = true;
    stack_tcp(&stack, closed);
    stack_tcp(&stack, closed);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_ZERO_WINDOW), 1);
    stack_close(&stack);
}

static void round_trips_are_measured_per_side(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 0, SYN, 100, 0, NULL);
    stack.time += 20000000;
    stack_send(&stack, 1, SYN | ACK, 300, 101, NULL);
    stack.time += 3000000;
    stack_send(&stack, 0, ACK, 101, 301, NULL);
    const struct mb_entry *established = stack_next(&stack, MB_TYPE_TCP_ESTABLISHED);
    assert_int_equal(established->snapshot.side[0].round_trip, 20000);
    assert_int_equal(established->snapshot.side[1].round_trip, 3000);
    stack_close(&stack);
}

static void silence_ends_a_connection(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    stack.time += 7441 * SECONDS;
    stack_send(&stack, 0, ACK, 101, 301, "again");
    expect_end(&stack, MB_REASON_END_TIMEOUT);
    assert_int_equal(stack_next(&stack, MB_TYPE_TCP_START)->flow, 4);
    stack_close(&stack);
}

static void silent_flows_end_by_other_packets(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 0, SYN, 100, 0, NULL);
    stack.time += 300 * SECONDS;
    stack_udp(&stack, 0, "tick");
    const struct mb_entry *end = stack_next(&stack, MB_TYPE_TCP_END);
    assert_int_equal(end->reason, MB_REASON_END_TIMEOUT);
    assert_int_equal(end->flow, 1);
    assert_int_equal(end->packet, 2);
    assert_int_equal(end->frame_length, 0);
    stack_close(&stack);
}

/* The end of a connection is not about the packet that takes over its five-tuple. */
static void the_end_of_another_flow_is_apart_from_the_packet(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    stack_send(&stack, 0, SYN, 9000, 0, NULL);
    stack_send(&stack, 1, SYN | ACK, 7000, 9001, NULL);
    const struct mb_entry *end = stack_next(&stack, MB_TYPE_TCP_END);
    assert_int_equal(end->reason, MB_REASON_END_REUSED);
    assert_int_equal(end->flow, 1);
    assert_int_equal(end->frame_length, 0);
    assert_true(end->flags & MB_APART);
    const struct mb_entry *start = stack_next(&stack, MB_TYPE_TCP_START);
    assert_int_equal(start->frame_length, 54);
    assert_false(start->flags & MB_APART);
    stack_close(&stack);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handshake_is_followed),
        cmocka_unit_test(both_sides_close),
        cmocka_unit_test(simultaneous_open_and_close),
        cmocka_unit_test(a_reset_ends),
        cmocka_unit_test(a_refused_connection_ends_with_rst),
        cmocka_unit_test(a_refused_syn_with_data_ends_with_rst),
        cmocka_unit_test(an_incredible_reset_ends_nothing),
        cmocka_unit_test(a_new_syn_takes_over),
        cmocka_unit_test(a_repeated_syn_is_no_new_connection),
        cmocka_unit_test(late_segments_belong_to_the_flow_that_ended),
        cmocka_unit_test(the_one_addressed_by_a_syn_ack_is_the_originator),
        cmocka_unit_test(a_byte_far_outside_the_window_is_refused),
        cmocka_unit_test(windows_are_scaled_where_both_offer_it),
        cmocka_unit_test(a_window_that_closes_is_told_once),
        cmocka_unit_test(round_trips_are_measured_per_side),
        cmocka_unit_test(silence_ends_a_connection),
        cmocka_unit_test(silent_flows_end_by_other_packets),
        cmocka_unit_test(the_end_of_another_flow_is_apart_from_the_packet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
