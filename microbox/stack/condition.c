#include "microbox/stack/condition.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ADDRESS_SIZE = 16, PREFIX_BITS_MAX = 128, SIDE = sizeof(struct mb_side) };

_Static_assert(sizeof(struct mb_condition_step) == 16, "a step is two words, without padding");
_Static_assert(sizeof(((struct mb_condition *)0)->steps) ==
                   MB_CONDITION_STEPS_MAX * sizeof(struct mb_condition_step),
               "room for the longest program");
_Static_assert(sizeof(((struct mb_condition *)0)->constants) == MB_CONDITION_CONSTANTS_MAX,
               "room for all constants");

/* --- checking --- */

/* How a step moves the stack: what it takes, what it leaves. */
static const struct {
    uint8_t takes;
    uint8_t leaves;
} effects[MB_STEPS] = {
    [MB_STEP_PUSH] = {0, 1},         [MB_STEP_LOAD] = {0, 1},     [MB_STEP_LOAD_OF_SIDE] = {0, 1},
    [MB_STEP_DIRECTION] = {0, 1},    [MB_STEP_AGE] = {0, 1},      [MB_STEP_BYTE] = {1, 1},
    [MB_STEP_STARTS_WITH] = {0, 1},  [MB_STEP_MATCHES] = {0, 1},  [MB_STEP_SAME_ADDRESS] = {0, 1},
    [MB_STEP_COUNTER] = {0, 1},      [MB_STEP_COUNT] = {1, 0},    [MB_STEP_SKIP_IF_FALSE] = {1, 0},
    [MB_STEP_SKIP_IF_TRUE] = {1, 0}, [MB_STEP_NOT] = {1, 1},      [MB_STEP_NEGATE] = {1, 1},
    [MB_STEP_ADD] = {2, 1},          [MB_STEP_SUBTRACT] = {2, 1}, [MB_STEP_MULTIPLY] = {2, 1},
    [MB_STEP_DIVIDE] = {2, 1},       [MB_STEP_MODULO] = {2, 1},   [MB_STEP_BITS_AND] = {2, 1},
    [MB_STEP_BITS_OR] = {2, 1},      [MB_STEP_EQUAL] = {2, 1},    [MB_STEP_UNEQUAL] = {2, 1},
    [MB_STEP_LESS] = {2, 1},         [MB_STEP_AT_MOST] = {2, 1},  [MB_STEP_GREATER] = {2, 1},
    [MB_STEP_AT_LEAST] = {2, 1},
};

/* What is known of a program while its steps are looked at in their order. */
struct check {
    const struct mb_condition *condition;
    uint32_t constant_bytes;
    int depth;
    /* The depth that a skip from further up arrives with at each step, or NOT_REACHED. */
    int8_t arriving[MB_CONDITION_STEPS_MAX + 1];
};

enum { NOT_REACHED = -1 };

__attribute__((format(printf, 2, 3))) static int wrong(char error[MB_ERROR_SIZE],
                                                       const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, MB_ERROR_SIZE, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

static bool is_binary(const struct mb_condition_step *step) {
    return effects[step->opcode].takes == 2;
}

static bool has_value(const struct mb_condition_step *step) {
    return is_binary(step) && step->width == 1;
}

static bool is_skip(const struct mb_condition_step *step) {
    return step->opcode == MB_STEP_SKIP_IF_FALSE || step->opcode == MB_STEP_SKIP_IF_TRUE;
}

static bool is_integer_width(uint8_t width) {
    return width == 1 || width == 2 || width == 4 || width == 8;
}

static bool lies_within(uint64_t first, uint64_t size, uint64_t begin, uint64_t end) {
    return first >= begin && first <= end && size <= end - first;
}

static bool lies_in_entry(uint32_t place, uint32_t size) {
    return lies_within(place, size, 0, MB_ENTRY_SIZE);
}

static bool lies_in_first_side(uint32_t place, uint32_t size) {
    const uint32_t begin = offsetof(struct mb_entry, snapshot);
    return lies_within(place, size, begin, begin + SIDE);
}

static bool are_constants(const struct check *check, uint32_t first, uint32_t size) {
    return lies_within(first, size, 0, check->constant_bytes);
}

static uint32_t bytes_of(uint32_t bits) {
    return (bits + CHAR_BIT - 1) / CHAR_BIT;
}

/* Are the step's operands such that nothing outside the entry, the constants and the counters is
 * touched? */
static bool has_sound_operands(const struct check *check, const struct mb_condition_step *step,
                               uint32_t index) {
    switch (step->opcode) {
    case MB_STEP_LOAD:
        return is_integer_width(step->width) && lies_in_entry(step->place, step->width);
    case MB_STEP_LOAD_OF_SIDE:
        return is_integer_width(step->width) && lies_in_first_side(step->place, step->width) &&
               step->target <= 1;
    case MB_STEP_STARTS_WITH:
        return are_constants(check, step->target, step->place);
    case MB_STEP_MATCHES:
        return step->width <= PREFIX_BITS_MAX && lies_in_entry(step->place, ADDRESS_SIZE) &&
               are_constants(check, step->target, bytes_of(step->width));
    case MB_STEP_SAME_ADDRESS:
        return lies_in_entry(step->place, ADDRESS_SIZE) &&
               lies_in_entry(step->target, ADDRESS_SIZE);
    case MB_STEP_COUNTER:
    case MB_STEP_COUNT:
        return step->place < check->condition->counters;
    case MB_STEP_SKIP_IF_FALSE:
    case MB_STEP_SKIP_IF_TRUE:
        return step->target > index && step->target <= check->condition->step_count;
    default:
        return !is_binary(step) || step->width <= 1;
    }
}

static int check_step(struct check *check, uint32_t index, char error[MB_ERROR_SIZE]) {
    const struct mb_condition_step *step = &check->condition->steps[index];
    if (step->opcode >= MB_STEPS)
        return wrong(error, "step %u: there is no opcode %u", index, step->opcode);
    if (!has_sound_operands(check, step, index))
        return wrong(error, "step %u: an operand is out of range", index);
    if (check->arriving[index] != NOT_REACHED && check->arriving[index] != check->depth)
        return wrong(error, "step %u: the stack's depth differs by the way there", index);
    const int takes = effects[step->opcode].takes - has_value(step);
    if (check->depth < takes)
        return wrong(error, "step %u: the stack is empty", index);
    if (is_skip(step)) {
        int8_t *arriving = &check->arriving[step->target];
        if (*arriving != NOT_REACHED && *arriving != check->depth)
            return wrong(error, "step %u: the stack's depth differs by the way there",
                         step->target);
        *arriving = (int8_t)check->depth;
    }
    check->depth += effects[step->opcode].leaves - takes;
    if (check->depth > MB_CONDITION_STACK_MAX)
        return wrong(error, "step %u: the stack is full", index);
    return 0;
}

static int check_steps(const struct mb_condition *condition, uint32_t constant_bytes,
                       char error[MB_ERROR_SIZE]) {
    struct check check = {.condition = condition, .constant_bytes = constant_bytes};
    memset(check.arriving, NOT_REACHED, sizeof check.arriving);
    for (uint32_t index = 0; index < condition->step_count; index++)
        if (check_step(&check, index, error) != 0)
            return -EINVAL;
    const int arriving = check.arriving[condition->step_count];
    if (check.depth != 1 || (arriving != NOT_REACHED && arriving != 1))
        return wrong(error, "the program does not end with one value");
    return 0;
}

int mb_condition_load(struct mb_condition *condition, const uint8_t *program, uint32_t size,
                      uint32_t step_count, uint32_t counters, char error[MB_ERROR_SIZE]) {
    memset(condition, 0, sizeof *condition);
    if (step_count > MB_CONDITION_STEPS_MAX)
        return wrong(error, "%u steps: at most %d are possible", step_count,
                     MB_CONDITION_STEPS_MAX);
    if (counters > MB_CONDITION_COUNTERS_MAX)
        return wrong(error, "%u counters: at most %d are possible", counters,
                     MB_CONDITION_COUNTERS_MAX);
    const uint32_t steps_size = step_count * (uint32_t)sizeof *condition->steps;
    if (size < steps_size || size - steps_size > MB_CONDITION_CONSTANTS_MAX)
        return wrong(error, "%u bytes do not hold %u steps and at most %d of constants", size,
                     step_count, MB_CONDITION_CONSTANTS_MAX);
    condition->step_count = step_count;
    condition->counters = counters;
    if (steps_size != 0)
        memcpy(condition->steps, program, steps_size);
    if (size != steps_size)
        memcpy(condition->constants, program + steps_size, size - steps_size);
    return check_steps(condition, size - steps_size, error);
}

/* --- running --- */

static uint64_t load(const struct mb_entry *entry, uint32_t place, uint8_t width) {
    uint64_t value = 0;
    /* Little-endian hosts only, as the whole of the shared memory's layout. */
    memcpy(&value, (const uint8_t *)entry + place, width);
    return value;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "load() fills the low bytes first");

static unsigned direction_of(const struct mb_entry *entry) {
    return (entry->flags & MB_FROM_RESPONDER) != 0;
}

static uint32_t place_of_side(const struct mb_entry *entry, const struct mb_condition_step *step) {
    return step->place + (direction_of(entry) ^ step->target) * SIDE;
}

static bool starts_with(const struct mb_condition *condition, const struct mb_condition_step *step,
                        const struct mb_condition_input *input) {
    return step->place <= input->entry->data_length &&
           (step->place == 0 ||
            memcmp(input->data, condition->constants + step->target, step->place) == 0);
}

static bool matches(const struct mb_condition *condition, const struct mb_condition_step *step,
                    const struct mb_entry *entry) {
    const uint8_t *address = (const uint8_t *)entry + step->place;
    const uint8_t *prefix = condition->constants + step->target;
    const uint32_t whole = step->width / CHAR_BIT;
    const uint32_t rest = step->width % CHAR_BIT;
    return memcmp(address, prefix, whole) == 0 &&
           (rest == 0 || ((address[whole] ^ prefix[whole]) & 0xff00 >> rest & 0xff) == 0);
}

static bool is_same_address(const struct mb_condition_step *step, const struct mb_entry *entry) {
    const uint8_t *bytes = (const uint8_t *)entry;
    return memcmp(bytes + step->place, bytes + step->target, ADDRESS_SIZE) == 0;
}

/* False where there is no quotient, or none that fits. Both round towards negative infinity. */
static bool divide(uint8_t opcode, int64_t left, int64_t right, int64_t *result) {
    if (right == 0 || (left == INT64_MIN && right == -1))
        return false;
    const int64_t quotient = left / right;
    const int64_t rest = left % right;
    const bool is_above = rest != 0 && (rest < 0) != (right < 0);
    *result = opcode == MB_STEP_DIVIDE ? quotient - is_above : rest + (is_above ? right : 0);
    return true;
}

/* False where there is no result that fits into 64 bits. */
static bool calculate(uint8_t opcode, int64_t left, int64_t right, int64_t *result) {
    switch (opcode) {
    case MB_STEP_ADD:
        return !__builtin_add_overflow(left, right, result);
    case MB_STEP_SUBTRACT:
        return !__builtin_sub_overflow(left, right, result);
    case MB_STEP_MULTIPLY:
        return !__builtin_mul_overflow(left, right, result);
    case MB_STEP_DIVIDE:
    case MB_STEP_MODULO:
        return divide(opcode, left, right, result);
    case MB_STEP_BITS_AND:
        *result = left & right;
        return true;
    case MB_STEP_BITS_OR:
        *result = left | right;
        return true;
    case MB_STEP_EQUAL:
        *result = left == right;
        return true;
    case MB_STEP_UNEQUAL:
        *result = left != right;
        return true;
    case MB_STEP_LESS:
        *result = left < right;
        return true;
    case MB_STEP_AT_MOST:
        *result = left <= right;
        return true;
    case MB_STEP_GREATER:
        *result = left > right;
        return true;
    default:
        *result = left >= right;
        return true;
    }
}

static bool to_signed(uint64_t value, int64_t *result) {
    *result = (int64_t)value;
    return value <= INT64_MAX;
}

/* Steps that take one value, `*top`, and leave one there. False: failed. */
static bool change(const struct mb_condition_step *step, const struct mb_condition_input *input,
                   int64_t *top) {
    switch (step->opcode) {
    case MB_STEP_NOT:
        *top = *top == 0;
        return true;
    case MB_STEP_NEGATE:
        return !__builtin_sub_overflow((int64_t)0, *top, top);
    default: /* MB_STEP_BYTE */
        if (*top < 0 || *top >= (int64_t)input->entry->data_length)
            return false;
        *top = input->data[*top];
        return true;
    }
}

/* Steps that take nothing and leave one value in `*top`. False: failed. */
static bool fetch(const struct mb_condition *condition, const struct mb_condition_step *step,
                  const struct mb_condition_input *input, int64_t *top) {
    const struct mb_entry *entry = input->entry;
    switch (step->opcode) {
    case MB_STEP_PUSH:
        *top = step->value;
        return true;
    case MB_STEP_LOAD:
        return to_signed(load(entry, step->place, step->width), top);
    case MB_STEP_LOAD_OF_SIDE:
        return to_signed(load(entry, place_of_side(entry, step), step->width), top);
    case MB_STEP_DIRECTION:
        *top = direction_of(entry);
        return true;
    case MB_STEP_AGE:
        return entry->time <= INT64_MAX && input->started <= INT64_MAX &&
               !__builtin_sub_overflow((int64_t)entry->time, (int64_t)input->started, top);
    case MB_STEP_STARTS_WITH:
        *top = starts_with(condition, step, input);
        return true;
    case MB_STEP_MATCHES:
        *top = matches(condition, step, entry);
        return true;
    case MB_STEP_SAME_ADDRESS:
        *top = is_same_address(step, entry);
        return true;
    default: /* MB_STEP_COUNTER */
        *top = input->counters[step->place];
        return true;
    }
}

/* A counter that would overflow stays as it is. */
static bool count(int64_t *counter, int64_t more) {
    int64_t sum;
    if (__builtin_add_overflow(*counter, more, &sum))
        return false;
    *counter = sum;
    return true;
}

enum mb_condition_result mb_condition_run(const struct mb_condition *condition,
                                          const struct mb_condition_input *input) {
    int64_t stack[MB_CONDITION_STACK_MAX + 1] = {0};
    int64_t *top = stack; /* the first place stays unused: `top` always points to something */
    const struct mb_condition_step *const steps = condition->steps;
    uint32_t next = 0;
    while (next < condition->step_count) {
        const struct mb_condition_step *step = &steps[next++];
        switch (step->opcode) {
        case MB_STEP_SKIP_IF_FALSE:
        case MB_STEP_SKIP_IF_TRUE:
            if ((*top != 0) == (step->opcode == MB_STEP_SKIP_IF_TRUE))
                next = step->target;
            else
                top--;
            break;
        case MB_STEP_COUNT:
            if (!count(&input->counters[step->place], *top--))
                return MB_CONDITION_FAILED;
            break;
        case MB_STEP_NOT:
        case MB_STEP_NEGATE:
        case MB_STEP_BYTE:
            if (!change(step, input, top))
                return MB_CONDITION_FAILED;
            break;
        default:
            if (!is_binary(step)) {
                if (!fetch(condition, step, input, ++top))
                    return MB_CONDITION_FAILED;
                break;
            }
            const int64_t right = step->width == 1 ? step->value : *top--;
            if (!calculate(step->opcode, *top, right, top))
                return MB_CONDITION_FAILED;
        }
    }
    return *top != 0 ? MB_CONDITION_TRUE : MB_CONDITION_FALSE;
}
