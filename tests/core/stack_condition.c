/* Conditions: what the check refuses, and what programs that it lets through answer. */
#include "condition_steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static struct mb_entry entry;
static int64_t counters[MB_CONDITION_COUNTERS_MAX];
static const uint8_t *data;

static int clear(void **state) {
    (void)state;
    memset(&entry, 0, sizeof entry);
    memset(counters, 0, sizeof counters);
    data = NULL;
    return 0;
}

static int load(struct mb_condition *condition, const struct mb_condition_step *steps, size_t count,
                const char *constants) {
    char error[MB_ERROR_SIZE] = "";
    const size_t steps_size = count * sizeof *steps;
    const size_t size = steps_size + strlen(constants);
    uint8_t *program = malloc(size + 1);
    assert_non_null(program);
    memcpy(program, steps, steps_size);
    memcpy(program + steps_size, constants, strlen(constants));
    const int result =
        mb_condition_load(condition, program, (uint32_t)size, (uint32_t)count, 2, error);
    free(program);
    assert_int_equal(result != 0, error[0] != 0);
    return result;
}

static enum mb_condition_result run(const struct mb_condition_step *steps, size_t count,
                                    const char *constants) {
    struct mb_condition condition;
    assert_int_equal(load(&condition, steps, count, constants), 0);
    const struct mb_condition_input input = {
        .entry = &entry, .data = data, .started = 1000, .counters = counters};
    return mb_condition_run(&condition, &input);
}

#define RUN(...)                                                                                   \
    run((const struct mb_condition_step[]){__VA_ARGS__},                                           \
        COUNT_OF(((const struct mb_condition_step[]){__VA_ARGS__})), "")
#define REFUSED(...)                                                                               \
    (load(&(struct mb_condition){0}, (const struct mb_condition_step[]){__VA_ARGS__},              \
          COUNT_OF(((const struct mb_condition_step[]){__VA_ARGS__})), "abc") != 0)
/* Whether the steps leave this number. */
#define LEAVES(number, ...) (RUN(__VA_ARGS__, WITH(EQUAL, number)) == MB_CONDITION_TRUE)

/* --- what is refused --- */

static void test_a_program_ends_with_one_value(void **state) {
    (void)state;
    const struct mb_condition_step unused = PUSH(1);
    assert_true(load(&(struct mb_condition){0}, &unused, 0, "") != 0);
    assert_true(REFUSED(PUSH(1), PUSH(1)));
    assert_true(REFUSED(PUSH(1), COUNT(0)));
    assert_false(REFUSED(PUSH(1)));
}

static void test_an_opcode_has_to_exist(void **state) {
    (void)state;
    assert_true(REFUSED({.opcode = MB_STEPS}));
    assert_true(REFUSED({.opcode = 255}));
}

static void test_nothing_is_taken_from_an_empty_stack(void **state) {
    (void)state;
    assert_true(REFUSED(BINARY(NOT)));
    assert_true(REFUSED(PUSH(1), BINARY(ADD)));
    assert_true(REFUSED(WITH(ADD, 1)));
    assert_true(REFUSED(SKIP_IF_FALSE(1)));
}

static void test_the_stack_has_an_end(void **state) {
    (void)state;
    struct mb_condition_step steps[2 * MB_CONDITION_STACK_MAX + 1];
    const size_t most = MB_CONDITION_STACK_MAX;
    for (size_t i = 0; i < COUNT_OF(steps); i++)
        steps[i] =
            i < most ? (struct mb_condition_step)PUSH(1) : (struct mb_condition_step)BINARY(ADD);
    assert_int_equal(run(steps, 2 * most - 1, ""), MB_CONDITION_TRUE);
    steps[most] = (struct mb_condition_step)PUSH(1);
    assert_true(load(&(struct mb_condition){0}, steps, 2 * most + 1, "") != 0);
}

static void test_fields_lie_in_the_entry(void **state) {
    (void)state;
    assert_false(REFUSED({.opcode = MB_STEP_LOAD, .width = 8, .place = MB_ENTRY_SIZE - 8}));
    assert_true(REFUSED({.opcode = MB_STEP_LOAD, .width = 8, .place = MB_ENTRY_SIZE - 7}));
    assert_true(REFUSED({.opcode = MB_STEP_LOAD, .width = 1, .place = UINT16_MAX}));
    assert_true(REFUSED({.opcode = MB_STEP_LOAD, .width = 3}));
    assert_true(REFUSED({.opcode = MB_STEP_SAME_ADDRESS, .place = MB_ENTRY_SIZE - 15}));
    assert_true(REFUSED({.opcode = MB_STEP_SAME_ADDRESS, .target = UINT32_MAX}));
    assert_true(REFUSED({.opcode = MB_STEP_MATCHES, .place = MB_ENTRY_SIZE - 15}));
}

static void test_a_sides_field_lies_in_the_side(void **state) {
    (void)state;
    const uint16_t side = offsetof(struct mb_entry, snapshot);
    assert_false(REFUSED({.opcode = MB_STEP_LOAD_OF_SIDE, .width = 1, .place = side + 31}));
    assert_true(REFUSED({.opcode = MB_STEP_LOAD_OF_SIDE, .width = 2, .place = side + 31}));
    assert_true(REFUSED({.opcode = MB_STEP_LOAD_OF_SIDE, .width = 1, .place = side - 1}));
    assert_true(REFUSED({.opcode = MB_STEP_LOAD_OF_SIDE, .width = 1, .place = side, .target = 2}));
}

static void test_constants_and_counters_are_there(void **state) {
    (void)state;
    assert_false(REFUSED({.opcode = MB_STEP_STARTS_WITH, .place = 3}));
    assert_true(REFUSED({.opcode = MB_STEP_STARTS_WITH, .place = 4}));
    assert_true(REFUSED({.opcode = MB_STEP_STARTS_WITH, .place = 1, .target = UINT32_MAX}));
    assert_false(REFUSED({.opcode = MB_STEP_MATCHES, .width = 24}));
    assert_true(REFUSED({.opcode = MB_STEP_MATCHES, .width = 25}));
    assert_true(REFUSED({.opcode = MB_STEP_MATCHES, .width = 129}));
    assert_true(REFUSED(COUNTED(2)));
    assert_true(REFUSED(PUSH(1), COUNT(2), PUSH(1)));
}

static void test_steps_go_forward_only(void **state) {
    (void)state;
    assert_true(REFUSED(PUSH(1), SKIP_IF_FALSE(0), PUSH(1)));
    assert_true(REFUSED(PUSH(1), SKIP_IF_FALSE(1), PUSH(1)));
    assert_true(REFUSED(PUSH(1), SKIP_IF_FALSE(4), PUSH(1)));
    assert_false(REFUSED(PUSH(1), SKIP_IF_FALSE(3), PUSH(1)));
}

static void test_the_stack_is_as_deep_by_every_way(void **state) {
    (void)state;
    assert_true(REFUSED(PUSH(1), SKIP_IF_FALSE(2), PUSH(1)));
    assert_true(REFUSED(PUSH(1), SKIP_IF_FALSE(4), PUSH(1), PUSH(1), BINARY(ADD)));
    assert_true(
        REFUSED(PUSH(1), PUSH(1), SKIP_IF_TRUE(6), SKIP_IF_TRUE(6), PUSH(1), PUSH(1), PUSH(1)));
}

static void test_a_program_has_a_length(void **state) {
    (void)state;
    char error[MB_ERROR_SIZE];
    struct mb_condition condition;
    static const struct mb_condition_step step = PUSH(1);
    const uint8_t *bytes = (const uint8_t *)&step;
    assert_int_equal(mb_condition_load(&condition, bytes, sizeof step, 1, 0, error), 0);
    assert_true(mb_condition_load(&condition, bytes, sizeof step - 1, 1, 0, error) != 0);
    assert_true(mb_condition_load(&condition, bytes, sizeof step, 129, 0, error) != 0);
    assert_true(mb_condition_load(&condition, bytes, sizeof step, UINT32_MAX, 0, error) != 0);
    assert_true(mb_condition_load(&condition, bytes, sizeof step, 1, 9, error) != 0);
    assert_true(mb_condition_load(&condition, bytes, UINT32_MAX, 1, 0, error) != 0);
}

/* --- what is answered --- */

static void test_fields_are_unsigned_and_as_wide_as_they_are(void **state) {
    (void)state;
    entry.payload.flow.tuple.destination_port = 0xfff0;
    entry.payload.flow.tuple.protocol = 255;
    entry.data_length = UINT32_MAX;
    entry.time = INT64_MAX;
    assert_true(LEAVES(0xfff0, LOAD(payload.flow.tuple.destination_port)));
    assert_true(LEAVES(255, LOAD(payload.flow.tuple.protocol)));
    assert_true(LEAVES(UINT32_MAX, LOAD(data_length)));
    assert_true(LEAVES(INT64_MAX, LOAD(time)));
    entry.time = (uint64_t)INT64_MAX + 1;
    assert_int_equal(RUN(LOAD(time)), MB_CONDITION_FAILED);
}

static void test_a_long_payload_is_read_no_further_than_it_goes(void **state) {
    (void)state;
    const struct mb_condition_step steps[] = {
        {.opcode = MB_STEP_LOAD_PAYLOAD, .width = 2, .place = 300}, WITH(EQUAL, 0x0201)};
    const uint8_t payload[302] = {[300] = 1, [301] = 2};
    struct mb_condition condition;
    assert_int_equal(load(&condition, steps, COUNT_OF(steps), ""), 0);
    struct mb_condition_input input = {
        .entry = &entry, .payload = payload, .payload_length = sizeof payload};
    assert_int_equal(mb_condition_run(&condition, &input), MB_CONDITION_TRUE);
    input.payload_length--;
    assert_int_equal(mb_condition_run(&condition, &input), MB_CONDITION_FAILED);
    assert_true(REFUSED({.opcode = MB_STEP_LOAD_PAYLOAD, .width = 3}));
}

static void test_a_side_is_the_senders_or_the_other_one(void **state) {
    (void)state;
    const struct mb_condition_step sender = {.opcode = MB_STEP_LOAD_OF_SIDE,
                                             FIELD(snapshot.side[0].window)};
    struct mb_condition_step other = sender;
    other.target = 1;
    entry.snapshot.side[0].window = 10;
    entry.snapshot.side[1].window = 20;
    assert_true(LEAVES(10, sender));
    assert_true(LEAVES(20, other));
    entry.flags = MB_FROM_RESPONDER;
    assert_true(LEAVES(20, sender));
    assert_true(LEAVES(10, other));
    assert_true(LEAVES(1, BINARY(DIRECTION)));
}

static void test_age_counts_from_the_flows_first_packet(void **state) {
    (void)state;
    entry.time = 1700;
    assert_true(LEAVES(700, BINARY(AGE)));
    entry.time = 300; /* a packet from the past */
    assert_true(LEAVES(-700, BINARY(AGE)));
    entry.time = UINT64_MAX;
    assert_int_equal(RUN(BINARY(AGE)), MB_CONDITION_FAILED);
}

static void test_division_rounds_down(void **state) {
    (void)state;
    assert_true(LEAVES(2, PUSH(7), WITH(DIVIDE, 3)));
    assert_true(LEAVES(-3, PUSH(-7), WITH(DIVIDE, 3)));
    assert_true(LEAVES(-3, PUSH(7), WITH(DIVIDE, -3)));
    assert_true(LEAVES(2, PUSH(-7), WITH(DIVIDE, -3)));
    assert_true(LEAVES(2, PUSH(-7), WITH(MODULO, 3)));
    assert_true(LEAVES(-2, PUSH(7), WITH(MODULO, -3)));
    assert_true(LEAVES(0, PUSH(-6), WITH(MODULO, 3)));
}

static void test_what_has_no_result_fails(void **state) {
    (void)state;
    assert_int_equal(RUN(PUSH(1), WITH(DIVIDE, 0)), MB_CONDITION_FAILED);
    assert_int_equal(RUN(PUSH(1), WITH(MODULO, 0)), MB_CONDITION_FAILED);
    assert_int_equal(RUN(PUSH(INT64_MIN), WITH(DIVIDE, -1)), MB_CONDITION_FAILED);
    assert_int_equal(RUN(PUSH(INT64_MIN), WITH(MODULO, -1)), MB_CONDITION_FAILED);
    assert_int_equal(RUN(PUSH(INT64_MAX), WITH(ADD, 1)), MB_CONDITION_FAILED);
    assert_int_equal(RUN(PUSH(INT64_MIN), WITH(SUBTRACT, 1)), MB_CONDITION_FAILED);
    assert_int_equal(RUN(PUSH(INT64_MAX), WITH(MULTIPLY, 2)), MB_CONDITION_FAILED);
    assert_int_equal(RUN(PUSH(INT64_MIN), BINARY(NEGATE)), MB_CONDITION_FAILED);
}

static void test_operands_stand_in_the_order_of_writing(void **state) {
    (void)state;
    assert_true(LEAVES(7, PUSH(10), PUSH(3), BINARY(SUBTRACT)));
    assert_int_equal(RUN(PUSH(1), PUSH(2), BINARY(LESS)), MB_CONDITION_TRUE);
    assert_int_equal(RUN(PUSH(2), PUSH(1), BINARY(LESS)), MB_CONDITION_FALSE);
    assert_int_equal(RUN(PUSH(2), PUSH(2), BINARY(AT_MOST)), MB_CONDITION_TRUE);
    assert_int_equal(RUN(PUSH(2), PUSH(2), BINARY(GREATER)), MB_CONDITION_FALSE);
    assert_int_equal(RUN(PUSH(2), PUSH(2), BINARY(AT_LEAST)), MB_CONDITION_TRUE);
    assert_int_equal(RUN(PUSH(2), PUSH(1), BINARY(UNEQUAL)), MB_CONDITION_TRUE);
    assert_true(LEAVES(0x14, PUSH(0x3c), WITH(BITS_AND, 0x16)));
    assert_true(LEAVES(0x3e, PUSH(0x3c), WITH(BITS_OR, 0x16)));
    assert_true(LEAVES(-5, PUSH(5), BINARY(NEGATE)));
}

static void test_and_and_or_go_no_further_than_needed(void **state) {
    (void)state;
    /* What is not looked at cannot fail. */
    assert_int_equal(RUN(PUSH(0), SKIP_IF_FALSE(4), PUSH(1), WITH(DIVIDE, 0)), MB_CONDITION_FALSE);
    assert_int_equal(RUN(PUSH(1), SKIP_IF_FALSE(4), PUSH(1), WITH(DIVIDE, 0)), MB_CONDITION_FAILED);
    assert_int_equal(RUN(PUSH(1), SKIP_IF_TRUE(4), PUSH(1), WITH(DIVIDE, 0)), MB_CONDITION_TRUE);
    assert_int_equal(RUN(PUSH(0), SKIP_IF_TRUE(3), PUSH(0)), MB_CONDITION_FALSE);
    assert_int_equal(RUN(PUSH(0), BINARY(NOT)), MB_CONDITION_TRUE);
}

static void test_prefixes_of_addresses(void **state) {
    (void)state;
    static const char constants[] = "\x20\x01\x0d\xbf"; /* 2001:dbf:: */
    const uint16_t source = offsetof(struct mb_entry, payload.flow.tuple.source);
    memcpy(entry.payload.flow.tuple.source, "\x20\x01\x0d\xb8", 4);
    struct mb_condition_step step = {.opcode = MB_STEP_MATCHES, .place = source, .width = 29};
    assert_int_equal(run(&step, 1, constants), MB_CONDITION_TRUE);
    step.width = 30;
    assert_int_equal(run(&step, 1, constants), MB_CONDITION_FALSE);
    step.width = 32;
    assert_int_equal(run(&step, 1, constants), MB_CONDITION_FALSE);
    step.width = 24;
    assert_int_equal(run(&step, 1, constants), MB_CONDITION_TRUE);
    step.width = 0;
    assert_int_equal(run(&step, 1, constants), MB_CONDITION_TRUE);
}

static void test_two_addresses_are_the_same(void **state) {
    (void)state;
    const struct mb_condition_step step = {
        .opcode = MB_STEP_SAME_ADDRESS,
        .place = offsetof(struct mb_entry, payload.flow.tuple.source),
        .target = offsetof(struct mb_entry, payload.flow.tuple.destination)};
    assert_int_equal(run(&step, 1, ""), MB_CONDITION_TRUE);
    entry.payload.flow.tuple.source[15] = 1;
    assert_int_equal(run(&step, 1, ""), MB_CONDITION_FALSE);
}

static void test_data_is_read_no_further_than_it_goes(void **state) {
    (void)state;
    uint8_t *bytes = malloc(3); /* so that the sanitizer sees what goes past it */
    assert_non_null(bytes);
    memcpy(bytes, "GET", 3);
    data = bytes;
    entry.data_length = 3;
    struct mb_condition_step starts = {.opcode = MB_STEP_STARTS_WITH, .place = 3};
    assert_int_equal(run(&starts, 1, "GET "), MB_CONDITION_TRUE);
    assert_int_equal(run(&starts, 1, "PUT "), MB_CONDITION_FALSE);
    starts.place = 4;
    assert_int_equal(run(&starts, 1, "GET "), MB_CONDITION_FALSE);
    assert_true(LEAVES('T', PUSH(2), BINARY(BYTE)));
    assert_int_equal(RUN(PUSH(3), BINARY(BYTE)), MB_CONDITION_FAILED);
    assert_int_equal(RUN(PUSH(-1), BINARY(BYTE)), MB_CONDITION_FAILED);
    free(bytes);
}

static void test_counters_are_the_callers(void **state) {
    (void)state;
    assert_true(LEAVES(5, PUSH(5), COUNT(1), COUNTED(1)));
    assert_true(LEAVES(10, PUSH(5), COUNT(1), COUNTED(1)));
    assert_int_equal(counters[1], 10);
    counters[0] = INT64_MAX;
    assert_int_equal(RUN(PUSH(1), COUNT(0), PUSH(1)), MB_CONDITION_FAILED);
    assert_int_equal(counters[0], INT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_program_ends_with_one_value, clear),
        cmocka_unit_test_setup(test_an_opcode_has_to_exist, clear),
        cmocka_unit_test_setup(test_nothing_is_taken_from_an_empty_stack, clear),
        cmocka_unit_test_setup(test_the_stack_has_an_end, clear),
        cmocka_unit_test_setup(test_fields_lie_in_the_entry, clear),
        cmocka_unit_test_setup(test_a_sides_field_lies_in_the_side, clear),
        cmocka_unit_test_setup(test_constants_and_counters_are_there, clear),
        cmocka_unit_test_setup(test_steps_go_forward_only, clear),
        cmocka_unit_test_setup(test_the_stack_is_as_deep_by_every_way, clear),
        cmocka_unit_test_setup(test_a_program_has_a_length, clear),
        cmocka_unit_test_setup(test_fields_are_unsigned_and_as_wide_as_they_are, clear),
        cmocka_unit_test_setup(test_a_long_payload_is_read_no_further_than_it_goes, clear),
        cmocka_unit_test_setup(test_a_side_is_the_senders_or_the_other_one, clear),
        cmocka_unit_test_setup(test_age_counts_from_the_flows_first_packet, clear),
        cmocka_unit_test_setup(test_division_rounds_down, clear),
        cmocka_unit_test_setup(test_what_has_no_result_fails, clear),
        cmocka_unit_test_setup(test_operands_stand_in_the_order_of_writing, clear),
        cmocka_unit_test_setup(test_and_and_or_go_no_further_than_needed, clear),
        cmocka_unit_test_setup(test_prefixes_of_addresses, clear),
        cmocka_unit_test_setup(test_two_addresses_are_the_same, clear),
        cmocka_unit_test_setup(test_data_is_read_no_further_than_it_goes, clear),
        cmocka_unit_test_setup(test_counters_are_the_callers, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
