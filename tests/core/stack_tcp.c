/*
 * What the stack says of TCP connections: states, streams, ends.
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

static void data_in_a_syn_comes_first(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 0, SYN, 100, 0, "fast");
    stack_send(&stack, 1, SYN | ACK, 300, 105, "open");
    stack_send(&stack, 0, ACK, 105, 305, "!");
    assert_string_equal(stack_text(&stack, 0), "fast!");
    assert_string_equal(stack_text(&stack, 1), "open");
    stack_close(&stack);
}

static void out_of_order_segments_wait(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    stack_send(&stack, 0, ACK, 107, 301, "ghi");
    stack_send(&stack, 0, ACK, 104, 301, "def");
    assert_string_equal(stack_text(&stack, 0), "");
    stack_send(&stack, 0, ACK, 101, 301, "abc");
    assert_string_equal(stack_text(&stack, 0), "abcdefghi");
    const struct mb_entry *out_of_order = stack_next(&stack, MB_TYPE_TCP_OUT_OF_ORDER);
    assert_int_equal(out_of_order->payload.tcp_anomaly.sequence_number, 107);
    stack_close(&stack);
}

static void of_two_copies_the_first_wins(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    stack_send(&stack, 0, ACK, 104, 301, "XX");
    stack_send(&stack, 0, ACK, 101, 301, "abcdefgh");
    assert_string_equal(stack_text(&stack, 0), "abcXXfgh");
    stack_send(&stack, 0, ACK, 105, 301, "YYYYi");
    assert_string_equal(stack_text(&stack, 0), "abcXXfghi");
    assert_non_null(stack_next(&stack, MB_TYPE_TCP_OVERLAP));
    stack_close(&stack);
}

static void retransmissions_give_nothing_again(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    stack_send(&stack, 0, ACK, 101, 301, "abc");
    stack_send(&stack, 0, ACK, 101, 301, "abc");
    assert_string_equal(stack_text(&stack, 0), "abc");
    const struct mb_entry *again = stack_next(&stack, MB_TYPE_TCP_RETRANSMISSION);
    assert_int_equal(again->snapshot.side[0].retransmissions, 1);
    assert_int_equal(again->snapshot.side[0].bytes, 6);
    stack_close(&stack);
}

static void keep_alives_are_no_data(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    stack_send(&stack, 0, ACK, 100, 301, "?");
    stack_send(&stack, 0, ACK, 100, 301, NULL);
    stack_send(&stack, 0, ACK, 101, 301, "abc");
    assert_string_equal(stack_text(&stack, 0), "abc");
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_RETRANSMISSION), 0);
    stack_close(&stack);
}

static void streams_cross_the_wrap(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 0, SYN, 0xfffffffc, 0, NULL);
    stack_send(&stack, 1, SYN | ACK, 300, 0xfffffffd, NULL);
    stack_send(&stack, 0, ACK, 2, 301, "fgh");
    stack_send(&stack, 0, ACK, 0xfffffffd, 301, "abcde");
    assert_string_equal(stack_text(&stack, 0), "abcdefgh");
    stack_close(&stack);
}

static void what_the_receiver_has_is_given_up(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    stack_send(&stack, 0, ACK, 106, 301, "fgh");
    for (unsigned i = 0; i < 3; i++)
        stack_send(&stack, 1, ACK, 301, 101, NULL); /* duplicates: it misses it too */
    assert_string_equal(stack_text(&stack, 0), "");
    for (unsigned i = 0; i < 3; i++)
        stack_send(&stack, 1, ACK, 301, 109, NULL);
    assert_string_equal(stack_text(&stack, 0), "[5]fgh");
    assert_int_equal(stack_next(&stack, MB_TYPE_TCP_GAP)->reason, MB_REASON_GAP_ACKNOWLEDGED);
    stack_close(&stack);
}

/* Numbers that the other side cannot mean acknowledge nothing, whatever 0 lies behind. */
static void absurd_acknowledgments_give_nothing_up(void **state) {
    (void)state;
    const uint32_t first = UINT32_MAX - 1000;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 0, ACK, first, 301, "ab");
    stack_send(&stack, 0, ACK, first + 4, 301, "ef");
    for (unsigned i = 0; i < 5; i++)
        stack_send(&stack, 1, ACK, 301, first + (UINT32_C(1) << 31) - 9, NULL);
    stack_send(&stack, 0, ACK, first + 2, 301, "cd");
    assert_string_equal(stack_text(&stack, 0), "abcdef");
    stack_close(&stack);
}

static void the_end_gives_up_what_is_missing(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    stack_send(&stack, 0, ACK, 103, 301, "cd");
    stack_send(&stack, 0, ACK, 107, 301, "gh");
    stack_send(&stack, 0, FIN | ACK, 111, 301, NULL);
    stack_finish(&stack);
    assert_string_equal(stack_text(&stack, 0), "[2]cd[2]gh[2]");
    assert_int_equal(stack_next(&stack, MB_TYPE_TCP_GAP)->reason, MB_REASON_GAP_END);
    expect_end(&stack, MB_REASON_END_SHUTDOWN);
    stack_close(&stack);
}

static void bytes_that_the_snap_length_cut_are_a_gap(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    stack_tcp(
        &stack,
        (struct tcp){
            .flags = ACK, .sequence = 101, .acknowledgment = 301, .payload = "abcdef", .cut = 2});
    stack_send(&stack, 0, ACK, 107, 301, "ghi");
    assert_string_equal(stack_text(&stack, 0), "abcd[2]ghi");
    assert_int_equal(stack_next(&stack, MB_TYPE_TCP_GAP)->reason, MB_REASON_GAP_PAYLOAD_CUT);
    stack_close(&stack);
}

static void too_many_held_segments_give_up_a_hole(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription everything = stack_everything();
    stack_open_with(&stack, &(struct mb_stack_config){.held_segments_per_flow = 2}, &everything, 1,
                    NULL, 0);
    stack_handshake(&stack);
    stack_send(&stack, 0, ACK, 102, 301, "b");
    stack_send(&stack, 0, ACK, 104, 301, "d");
    stack_send(&stack, 0, ACK, 106, 301, "f");
    assert_string_equal(stack_text(&stack, 0), "[1]b");
    assert_int_equal(stack_next(&stack, MB_TYPE_TCP_GAP)->reason, MB_REASON_GAP_LIMIT);
    stack_send(&stack, 0, ACK, 103, 301, "c");
    assert_string_equal(stack_text(&stack, 0), "[1]bcd");
    assert_int_equal(mb_stack_counters(stack.stack)->by_reason[MB_REASON_LIMIT_HELD_SEGMENTS], 1);
    stack_close(&stack);
}

static void too_many_held_bytes_give_up_a_hole(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription everything = stack_everything();
    stack_open_with(&stack, &(struct mb_stack_config){.held_bytes_per_flow = 4}, &everything, 1,
                    NULL, 0);
    stack_handshake(&stack);
    stack_send(&stack, 0, ACK, 102, 301, "bcdefgh");
    assert_string_equal(stack_text(&stack, 0), "[1]bcdefgh");
    stack_close(&stack);
}

static void one_packet_publishes_no_more_than_the_log_has_room_for(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription everything = stack_everything();
    stack_open_with(&stack, &(struct mb_stack_config){.held_segments_per_flow = 320}, &everything,
                    1, NULL, 0);
    stack_handshake(&stack);
    for (uint32_t i = 0; i < 320; i++)
        stack_tcp(&stack, (struct tcp){.flags = ACK,
                                       .sequence = 102 + 3 * i,
                                       .acknowledgment = 301,
                                       .payload = "bc",
                                       .cut = 1});
    stack_send(&stack, 0, RST, 102 + 3 * 319 + 2, 0, NULL);
    stack_send(&stack, 1, RST, 301, 0, NULL);
    uint64_t published = stack.handled.end - stack.handled.first;
    assert_in_range(published, 3 * 320, MB_ENTRIES_PER_PACKET);
    stack_close(&stack);
}

/* Where IPv4 leaves the length to the network card, only the capture says how long the packet was;
 * a stream must survive whatever it says. */
static void no_segment_is_half_the_sequence_space(void **state) {
    (void)state;
    uint8_t frame[64];
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    uint8_t *tcp = frame + stack_write_ipv4(frame, 0, 6, 24);
    stack_put_16(frame + 16, 0);
    memset(tcp, 0, 24);
    stack_put_16(tcp, 1000);
    stack_put_16(tcp + 2, 80);
    stack_put_32(tcp + 4, 101);
    stack_put_32(tcp + 8, 301);
    tcp[12] = 0x50;
    tcp[13] = ACK;
    memcpy(tcp + 20, "data", 4);
    stack_frame(&stack, frame, 58, UINT32_MAX, 1);
    assert_in_range(stack.handled.end - stack.handled.first, 1, MB_ENTRIES_PER_PACKET);
    const struct mb_entry *packet = stack_next(&stack, MB_TYPE_TCP_GAP);
    assert_in_range(packet->payload.tcp_gap.length, 1, 1 << 30);
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
        cmocka_unit_test(data_in_a_syn_comes_first),
        cmocka_unit_test(out_of_order_segments_wait),
        cmocka_unit_test(of_two_copies_the_first_wins),
        cmocka_unit_test(retransmissions_give_nothing_again),
        cmocka_unit_test(keep_alives_are_no_data),
        cmocka_unit_test(streams_cross_the_wrap),
        cmocka_unit_test(what_the_receiver_has_is_given_up),
        cmocka_unit_test(absurd_acknowledgments_give_nothing_up),
        cmocka_unit_test(the_end_gives_up_what_is_missing),
        cmocka_unit_test(bytes_that_the_snap_length_cut_are_a_gap),
        cmocka_unit_test(too_many_held_segments_give_up_a_hole),
        cmocka_unit_test(too_many_held_bytes_give_up_a_hole),
        cmocka_unit_test(one_packet_publishes_no_more_than_the_log_has_room_for),
        cmocka_unit_test(no_segment_is_half_the_sequence_space),
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
