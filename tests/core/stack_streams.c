/*
 * The bytes of TCP connections, in order, whatever order they came in.
 */
#include "tests/core/stack_fixture.h"

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
    assert_int_equal(stack_next(&stack, MB_TYPE_TCP_END)->reason, MB_REASON_END_SHUTDOWN);
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

int main(void) {
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
