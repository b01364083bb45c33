/*
 * The byte that the urgent pointer names (RFC 6093).
 */
#include "tests/core/stack_fixture.h"

static void open_with(struct stack_fixture *stack, enum mb_urgent_policy policy) {
    struct mb_subscription everything = stack_everything();
    stack_open_with(stack, &(struct mb_stack_config){.urgent = policy}, &everything, 1, NULL, 0);
    stack_handshake(stack);
}

static void send_urgent(struct stack_fixture *stack, uint32_t sequence, const char *payload,
                        uint16_t urgent) {
    stack_tcp(stack, (struct tcp){.flags = ACK,
                                  .sequence = sequence,
                                  .acknowledgment = 301,
                                  .payload = payload,
                                  .urgent = urgent});
}

static void expect_urgent(struct stack_fixture *stack, uint64_t offset, char byte) {
    const struct mb_entry *entry = stack_next(stack, MB_TYPE_TCP_URGENT);
    assert_non_null(entry);
    assert_int_equal(entry->payload.tcp_data.offset, offset);
    assert_int_equal(entry->data_length, 1);
    assert_int_equal(stack->pool[entry->frame + entry->data_offset], byte);
}

static void in_line_it_is_a_byte_of_the_stream(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, MB_URGENT_INLINE);
    send_urgent(&stack, 101, "abXcd", 3);
    stack_send(&stack, 0, ACK, 106, 301, "ef");
    assert_string_equal(stack_text(&stack, 0), "abXcdef");
    expect_urgent(&stack, 2, 'X');
    assert_null(stack_next(&stack, MB_TYPE_TCP_URGENT));
    stack_close(&stack);
}

static void out_of_band_it_is_told_and_not_of_the_stream(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, MB_URGENT_OUT_OF_BAND);
    send_urgent(&stack, 101, "abXcd", 3);
    stack_send(&stack, 0, ACK, 106, 301, "ef");
    assert_string_equal(stack_text(&stack, 0), "abcdef");
    expect_urgent(&stack, 2, 'X');
    stack_close(&stack);
}

static void offsets_count_the_bytes_of_the_stream_alone(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, MB_URGENT_OUT_OF_BAND);
    send_urgent(&stack, 101, "abXcd", 3);
    assert_int_equal(stack_next(&stack, MB_TYPE_TCP_DATA)->payload.tcp_data.offset, 0);
    assert_int_equal(stack_next(&stack, MB_TYPE_TCP_DATA)->payload.tcp_data.offset, 2);
    stack_send(&stack, 0, ACK, 106, 301, "ef");
    assert_int_equal(stack_next(&stack, MB_TYPE_TCP_DATA)->payload.tcp_data.offset, 4);
    stack_close(&stack);
}

static void dropped_it_is_counted_alone(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, MB_URGENT_DROP);
    send_urgent(&stack, 101, "abX", 3);
    assert_string_equal(stack_text(&stack, 0), "ab");
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_URGENT), 0);
    assert_int_equal(mb_stack_counters(stack.stack)->by_reason[MB_REASON_TCP_URGENT_BYTE], 1);
    stack_close(&stack);
}

static void the_pointer_may_come_before_the_byte(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, MB_URGENT_OUT_OF_BAND);
    send_urgent(&stack, 101, "ab", 5);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_URGENT), 0);
    stack_send(&stack, 0, ACK, 103, 301, "cdX");
    stack_send(&stack, 0, ACK, 106, 301, "ef");
    assert_string_equal(stack_text(&stack, 0), "abcdef");
    expect_urgent(&stack, 4, 'X');
    stack_close(&stack);
}

static void a_held_byte_is_cut_out_when_its_turn_comes(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, MB_URGENT_OUT_OF_BAND);
    send_urgent(&stack, 105, "Xef", 1);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_URGENT), 0);
    stack_send(&stack, 0, ACK, 101, 301, "abcd");
    assert_string_equal(stack_text(&stack, 0), "abcdef");
    expect_urgent(&stack, 4, 'X');
    stack_close(&stack);
}

static void a_pointer_into_what_was_given_out_changes_nothing(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, MB_URGENT_OUT_OF_BAND);
    stack_send(&stack, 0, ACK, 101, 301, "abcd");
    send_urgent(&stack, 101, "abcdef", 2);
    assert_string_equal(stack_text(&stack, 0), "abcdef");
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_URGENT), 0);
    stack_close(&stack);
}

/* As Linux's tcp_check_urg(): the later one stays, though its byte waits behind a hole. */
static void an_older_pointer_replaces_none(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, MB_URGENT_OUT_OF_BAND);
    send_urgent(&stack, 104, "abX", 3);
    send_urgent(&stack, 101, "cYd", 2);
    assert_string_equal(stack_text(&stack, 0), "cYdab");
    expect_urgent(&stack, 5, 'X');
    stack_close(&stack);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_line_it_is_a_byte_of_the_stream),
        cmocka_unit_test(out_of_band_it_is_told_and_not_of_the_stream),
        cmocka_unit_test(offsets_count_the_bytes_of_the_stream_alone),
        cmocka_unit_test(dropped_it_is_counted_alone),
        cmocka_unit_test(the_pointer_may_come_before_the_byte),
        cmocka_unit_test(a_held_byte_is_cut_out_when_its_turn_comes),
        cmocka_unit_test(a_pointer_into_what_was_given_out_changes_nothing),
        cmocka_unit_test(an_older_pointer_replaces_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
