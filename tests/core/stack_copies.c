/*
 * Two copies of the same bytes that differ.
 */
#include "tests/core/stack_fixture.h"

static void open_with(struct stack_fixture *stack, const struct mb_stack_config *config) {
    struct mb_subscription everything = stack_everything();
    stack_open_with(stack, config, &everything, 1, NULL, 0);
    stack_handshake(stack);
}

static void expect_copies(struct stack_fixture *stack, uint32_t sequence, const char *previous,
                          const char *new) {
    const struct mb_entry *entry = stack_next(stack, MB_TYPE_TCP_OVERLAP_INCONSISTENT);
    assert_non_null(entry);
    assert_int_equal(entry->reason, MB_REASON_TCP_OVERLAP_INCONSISTENT);
    const struct mb_tcp_inconsistency *payload = &entry->payload.tcp_inconsistency;
    assert_int_equal(payload->anomaly.sequence_number, sequence);
    assert_int_equal(entry->data_length, strlen(new));
    assert_int_equal(strlen(previous), strlen(new));
    assert_memory_equal(stack->pool + entry->frame + entry->data_offset, new, strlen(new));
    assert_memory_equal(stack->pool + payload->previous_position, previous, strlen(previous));
}

static void expect_none(struct stack_fixture *stack) {
    assert_null(stack_next(stack, MB_TYPE_TCP_OVERLAP_INCONSISTENT));
}

static void a_held_segment_with_other_bytes_is_told_of(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, &(struct mb_stack_config){0});
    stack_send(&stack, 0, ACK, 105, 301, "attack");
    stack_send(&stack, 0, ACK, 103, 301, "--atbaCK--");
    expect_copies(&stack, 107, "tack", "baCK");
    stack_close(&stack);
}

/* The race for a connection: the bytes were given out, but the receiver has not acknowledged them.
 */
static void what_was_given_out_is_compared_until_it_is_acknowledged(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, &(struct mb_stack_config){0});
    stack_send(&stack, 0, ACK, 101, 301, "good");
    stack_send(&stack, 0, ACK, 105, 301, "bytes");
    stack_send(&stack, 0, ACK, 101, 301, "evilbytes");
    expect_copies(&stack, 101, "good", "evil");
    expect_none(&stack);
    stack_send(&stack, 1, ACK, 301, 105, NULL);
    stack_send(&stack, 0, ACK, 101, 301, "evilBytes");
    expect_copies(&stack, 105, "b", "B");
    expect_none(&stack);
    stack_send(&stack, 1, ACK, 301, 110, NULL);
    stack_send(&stack, 0, ACK, 101, 301, "evilBytes");
    expect_none(&stack);
    assert_string_equal(stack_text(&stack, 0), "goodbytes");
    stack_close(&stack);
}

static void a_segment_may_differ_from_several(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, &(struct mb_stack_config){0});
    stack_send(&stack, 0, ACK, 101, 301, "one");
    stack_send(&stack, 0, ACK, 106, 301, "three");
    stack_send(&stack, 0, ACK, 111, 301, "four");
    stack_send(&stack, 0, ACK, 101, 301, "ONExxthreeFOUR");
    expect_copies(&stack, 101, "one", "ONE");
    expect_copies(&stack, 111, "four", "FOUR");
    expect_none(&stack);
    assert_int_equal(mb_stack_counters(stack.stack)->by_reason[MB_REASON_TCP_OVERLAP_INCONSISTENT],
                     2);
    stack_close(&stack);
}

static void what_the_capture_cut_is_not_compared(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, &(struct mb_stack_config){0});
    stack_tcp(&stack,
              (struct tcp){.flags = ACK, .sequence = 105, .payload = "sameOTHER", .cut = 5});
    stack_send(&stack, 0, ACK, 105, 301, "sameother");
    expect_none(&stack);
    stack_close(&stack);
}

static void few_are_published_and_all_are_counted(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, &(struct mb_stack_config){0});
    for (uint32_t i = 0; i < 10; i++)
        stack_send(&stack, 0, ACK, 110 + 3 * i, 301, "ab");
    stack_send(&stack, 0, ACK, 110, 301, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_OVERLAP_INCONSISTENT), 4);
    assert_int_equal(mb_stack_counters(stack.stack)->by_reason[MB_REASON_TCP_OVERLAP_INCONSISTENT],
                     10);
    stack_close(&stack);
}

static void a_side_keeps_so_many_and_forgets_the_oldest(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, &(struct mb_stack_config){0});
    for (uint32_t i = 0; i < 65; i++)
        stack_send(&stack, 0, ACK, 101 + 2 * i, 301, "ab");
    assert_int_equal(mb_stack_counters(stack.stack)->by_reason[MB_REASON_LIMIT_COMPARED], 1);
    stack_send(&stack, 0, ACK, 101, 301, "xx");
    expect_none(&stack);
    stack_send(&stack, 0, ACK, 103, 301, "xx");
    expect_copies(&stack, 103, "ab", "xx");
    stack_close(&stack);
}

static void all_sides_share_a_limit(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, &(struct mb_stack_config){.compared_segments_max = 2});
    stack_send(&stack, 0, ACK, 101, 301, "ab");
    stack_send(&stack, 1, ACK, 301, 101, "ab");
    stack_send(&stack, 1, ACK, 303, 101, "cd");
    assert_int_equal(mb_stack_counters(stack.stack)->by_reason[MB_REASON_LIMIT_COMPARED], 1);
    stack_send(&stack, 1, ACK, 301, 101, "xxxx");
    expect_copies(&stack, 301, "ab", "xx");
    expect_none(&stack);
    /* An acknowledgement makes room. */
    stack_send(&stack, 1, ACK, 305, 103, NULL);
    stack_send(&stack, 0, ACK, 103, 301, "ef");
    stack_send(&stack, 0, ACK, 103, 301, "gh");
    expect_copies(&stack, 103, "ef", "gh");
    stack_close(&stack);
}

static void who_reads_bytes_alone_has_nothing_kept(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription bytes = {.filter = ""};
    stack_want(&bytes, MB_TYPE_TCP_DATA);
    stack_open_with(&stack, &(struct mb_stack_config){.compared_segments_max = 1}, &bytes, 1, NULL,
                    0);
    stack_handshake(&stack);
    stack_send(&stack, 0, ACK, 101, 301, "ab");
    stack_send(&stack, 0, ACK, 103, 301, "ab");
    stack_send(&stack, 0, ACK, 101, 301, "xxxx");
    const struct mb_stack_counters *counters = mb_stack_counters(stack.stack);
    assert_int_equal(counters->by_reason[MB_REASON_LIMIT_COMPARED], 0);
    assert_int_equal(counters->by_reason[MB_REASON_TCP_OVERLAP_INCONSISTENT], 0);
    stack_close(&stack);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_held_segment_with_other_bytes_is_told_of),
        cmocka_unit_test(what_was_given_out_is_compared_until_it_is_acknowledged),
        cmocka_unit_test(a_segment_may_differ_from_several),
        cmocka_unit_test(what_the_capture_cut_is_not_compared),
        cmocka_unit_test(few_are_published_and_all_are_counted),
        cmocka_unit_test(a_side_keeps_so_many_and_forgets_the_oldest),
        cmocka_unit_test(all_sides_share_a_limit),
        cmocka_unit_test(who_reads_bytes_alone_has_nothing_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
