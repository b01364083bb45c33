/*
 * Where a stream begins: behind its SYN, or in the middle, where the capture does.
 */
#include "tests/core/stack_fixture.h"

static uint64_t offset_of_data(struct stack_fixture *stack) {
    const struct mb_entry *data = stack_next(stack, MB_TYPE_TCP_DATA);
    assert_non_null(data);
    return data->payload.tcp_data.offset;
}

static void a_connection_is_picked_up_in_the_middle(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 0, ACK, 5000, 7000, "hello");
    stack_send(&stack, 1, ACK, 7000, 5005, "there");
    assert_string_equal(stack_text(&stack, 0), "hello");
    assert_string_equal(stack_text(&stack, 1), "there");
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_ESTABLISHED), 0);
    stack_send(&stack, 0, RST, 5005, 0, NULL);
    stack_finish(&stack);
    const struct mb_entry *end = stack_next(&stack, MB_TYPE_TCP_END);
    assert_int_equal(end->snapshot.side[0].state, MB_TCP_CLOSED);
    assert_int_equal(end->snapshot.side[1].state, MB_TCP_CLOSED);
    stack_close(&stack);
}

static void one_sided_captures_give_that_side(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 0, SYN, 100, 0, NULL);
    stack_send(&stack, 0, ACK, 101, 301, "one ");
    stack_send(&stack, 0, ACK, 105, 400, "side");
    stack_send(&stack, 0, FIN | ACK, 109, 500, NULL);
    stack_finish(&stack);
    assert_string_equal(stack_text(&stack, 0), "one side");
    assert_string_equal(stack_text(&stack, 1), "");
    stack_close(&stack);
}

/* Its offsets count from there. */
static void a_stream_begins_with_what_its_receiver_has_not(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 0, ACK, 5000, 7000, NULL);
    stack_send(&stack, 1, ACK, 6990, 5000, "0123456789");
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_DATA), 0);
    stack_send(&stack, 1, ACK, 6997, 5000, "789abc");
    assert_string_equal(stack_text(&stack, 1), "abc");
    assert_int_equal(offset_of_data(&stack), 0);
    stack_close(&stack);
}

static void what_lies_between_a_keep_alive_and_the_first_bytes_is_a_gap(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 0, ACK, 100, 300, "k");
    stack_send(&stack, 0, ACK, 111, 300, "hello");
    stack_finish(&stack);
    assert_string_equal(stack_text(&stack, 0), "[10]hello");
    stack_close(&stack);
}

/* The segment counts with the numbers of the SYN/ACK that the client did not choose. */
static void a_stream_begins_behind_the_syn_ack_that_was_answered(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 0, SYN, 100, 0, NULL);
    stack_send(&stack, 1, SYN | ACK, 300, 101, NULL);
    stack_send(&stack, 1, SYN | ACK, 290, 101, NULL);
    stack_send(&stack, 0, ACK, 101, 301, NULL);
    stack_send(&stack, 1, ACK, 291, 101, "older");
    stack_send(&stack, 1, ACK, 301, 101, "hello");
    assert_string_equal(stack_text(&stack, 1), "hello");
    assert_int_equal(offset_of_data(&stack), 0);
    stack_close(&stack);
}

/* A SYN in an open connection is believed when it is answered: its bytes are gone by then. */
static void bytes_of_a_syn_that_was_believed_late_are_a_gap(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    stack_send(&stack, 0, SYN, 5000, 0, "early");
    stack_send(&stack, 1, SYN | ACK, 9000, 5006, NULL);
    stack_send(&stack, 0, ACK, 5006, 9001, "later");
    stack_finish(&stack);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_END), 2);
    assert_string_equal(stack_text(&stack, 0), "[5]later");
    stack_close(&stack);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_picked_up_in_the_middle),
        cmocka_unit_test(one_sided_captures_give_that_side),
        cmocka_unit_test(a_stream_begins_with_what_its_receiver_has_not),
        cmocka_unit_test(what_lies_between_a_keep_alive_and_the_first_bytes_is_a_gap),
        cmocka_unit_test(a_stream_begins_behind_the_syn_ack_that_was_answered),
        cmocka_unit_test(bytes_of_a_syn_that_was_believed_late_are_a_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
