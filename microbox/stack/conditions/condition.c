#include "microbox/stack/conditions/condition.h"

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
    [MB_STEP_PUSH] = {0, 1},          [MB_STEP_LOAD] = {0, 1},
    [MB_STEP_LOAD_OF_SIDE] = {0, 1},  [MB_STEP_LOAD_PAYLOAD] = {0, 1},
    [MB_STEP_DIRECTION] = {0, 1},     [MB_STEP_AGE] = {0, 1},
    [MB_STEP_BYTE] = {1, 1},          [MB_STEP_STARTS_WITH] = {0, 1},
    [MB_STEP_MATCHES] = {0, 1},       [MB_STEP_SAME_ADDRESS] = {0, 1},
    [MB_STEP_COUNTER] = {0, 1},       [MB_STEP_COUNT] = {1, 0},
    [MB_STEP_SKIP_IF_FALSE] = {1, 0}, [MB_STEP_SKIP_IF_TRUE] = {1, 0},
    [MB_STEP_NOT] = {1, 1},           [MB_STEP_NEGATE] = {1, 1},
    [MB_STEP_ADD] = {2, 1},           [MB_STEP_SUBTRACT] = {2, 1},
    [MB_STEP_MULTIPLY] = {2, 1},      [MB_STEP_DIVIDE] = {2, 1},
    [MB_STEP_MODULO] = {2, 1},        [MB_STEP_BITS_AND] = {2, 1},
    [MB_STEP_BITS_OR] = {2, 1},       [MB_STEP_EQUAL] = {2, 1},
    [MB_STEP_UNEQUAL] = {2, 1},       [MB_STEP_LESS] = {2, 1},
    [MB_STEP_AT_MOST] = {2, 1},       [MB_STEP_GREATER] = {2, 1},
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
    case MB_STEP_LOAD_PAYLOAD:
        return is_integer_width(step->width);
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

static bool overlaps(const struct mb_condition_step *step, uint32_t first, uint32_t size) {
    return step->place < first + size && first < step->place + step->width;
}

static bool reads_flow(const struct mb_condition_step *step) {
    const struct mb_entry *entry;
    switch (step->opcode) {
    case MB_STEP_LOAD_OF_SIDE:
    case MB_STEP_DIRECTION:
    case MB_STEP_AGE:
        return true;
    case MB_STEP_LOAD:
        return overlaps(step, offsetof(struct mb_entry, flow), sizeof entry->flow) ||
               overlaps(step, offsetof(struct mb_entry, snapshot), sizeof entry->snapshot);
    default:
        return false;
    }
}

bool mb_condition_reads_flow(const struct mb_condition *condition) {
    for (uint32_t index = 0; index < condition->step_count; index++)
        if (reads_flow(&condition->steps[index]))
            return true;
    return false;
}

/* --- running --- */

/* A number of `width` bytes, whatever its alignment. */
static inline uint64_t number_at(const uint8_t *at, uint8_t width) {
    uint16_t two;
    uint32_t four;
    uint64_t eight;
    switch (width) {
    case sizeof *at:
        return *at;
    case sizeof two:
        memcpy(&two, at, sizeof two);
        return two;
    case sizeof four:
        memcpy(&four, at, sizeof four);
        return four;
    default:
        memcpy(&eight, at, sizeof eight);
        return eight;
    }
}

static inline uint64_t load(const struct mb_entry *entry, uint32_t place, uint8_t width) {
    return number_at((const uint8_t *)entry + place, width);
}

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

static inline bool to_signed(uint64_t value, int64_t *result) {
    *result = (int64_t)value;
    return value <= INT64_MAX;
}

static bool load_payload(const struct mb_condition_input *input,
                         const struct mb_condition_step *step, int64_t *result) {
    if (!lies_within(step->place, step->width, 0, input->payload_length))
        return false;
    return to_signed(number_at(input->payload + step->place, step->width), result);
}

static bool age(const struct mb_condition_input *input, int64_t *result) {
    const uint64_t now = input->entry->time;
    return now <= INT64_MAX && input->started <= INT64_MAX &&
           !__builtin_sub_overflow((int64_t)now, (int64_t)input->started, result);
}

static bool byte_of_data(const struct mb_condition_input *input, int64_t *index) {
    if (*index < 0 || *index >= (int64_t)input->entry->data_length)
        return false;
    *index = input->data[*index];
    return true;
}

/* A counter that would overflow stays as it is. */
static bool count(int64_t *counter, int64_t more) {
    int64_t sum;
    if (__builtin_add_overflow(*counter, more, &sum))
        return false;
    *counter = sum;
    return true;
}

/* The right operand of a binary operator; what is then on top is the left one, and takes the
 * result. */
static inline int64_t right_operand(const struct mb_condition_step *step, int64_t **top) {
    return step->width == 1 ? step->value : *(*top)--;
}

enum mb_condition_result mb_condition_run(const struct mb_condition *condition,
                                          const struct mb_condition_input *input) {
    int64_t stack[MB_CONDITION_STACK_MAX + 1];
    int64_t *top = stack; /* the first place stays unused: `top` always points to something */
    int64_t right;
    const struct mb_entry *entry = input->entry;
    const struct mb_condition_step *step = condition->steps;
    const struct mb_condition_step *const end = step + condition->step_count;
    bool is_sound = true;
    for (; step < end && is_sound; step++) {
        switch (step->opcode) {
        case MB_STEP_PUSH:
            *++top = step->value;
            break;
        case MB_STEP_LOAD:
            is_sound = to_signed(load(entry, step->place, step->width), ++top);
            break;
        case MB_STEP_LOAD_OF_SIDE:
            is_sound = to_signed(load(entry, place_of_side(entry, step), step->width), ++top);
            break;
        case MB_STEP_LOAD_PAYLOAD:
            is_sound = load_payload(input, step, ++top);
            break;
        case MB_STEP_DIRECTION:
            *++top = direction_of(entry);
            break;
        case MB_STEP_AGE:
            is_sound = age(input, ++top);
            break;
        case MB_STEP_BYTE:
            is_sound = byte_of_data(input, top);
            break;
        case MB_STEP_STARTS_WITH:
            *++top = starts_with(condition, step, input);
            break;
        case MB_STEP_MATCHES:
            *++top = matches(condition, step, entry);
            break;
        case MB_STEP_SAME_ADDRESS:
            *++top = is_same_address(step, entry);
            break;
        case MB_STEP_COUNTER:
            *++top = input->counters[step->place];
            break;
        case MB_STEP_COUNT:
            is_sound = count(&input->counters[step->place], *top--);
            break;
        case MB_STEP_SKIP_IF_FALSE:
            if (*top == 0)
                step = condition->steps + step->target - 1;
            else
                top--;
            break;
        case MB_STEP_SKIP_IF_TRUE:
            if (*top != 0)
                step = condition->steps + step->target - 1;
            else
                top--;
            break;
        case MB_STEP_NOT:
            *top = *top == 0;
            break;
        case MB_STEP_NEGATE:
            is_sound = !__builtin_sub_overflow((int64_t)0, *top, top);
            break;
        case MB_STEP_ADD:
            right = right_operand(step, &top);
            is_sound = !__builtin_add_overflow(*top, right, top);
            break;
        case MB_STEP_SUBTRACT:
            right = right_operand(step, &top);
            is_sound = !__builtin_sub_overflow(*top, right, top);
            break;
        case MB_STEP_MULTIPLY:
            right = right_operand(step, &top);
            is_sound = !__builtin_mul_overflow(*top, right, top);
            break;
        case MB_STEP_DIVIDE:
        case MB_STEP_MODULO:
            right = right_operand(step, &top);
            is_sound = divide(step->opcode, *top, right, top);
            break;
        case MB_STEP_BITS_AND:
            right = right_operand(step, &top);
            *top &= right;
            break;
        case MB_STEP_BITS_OR:
            right = right_operand(step, &top);
            *top |= right;
            break;
        case MB_STEP_EQUAL:
            right = right_operand(step, &top);
            *top = *top == right;
            break;
        case MB_STEP_UNEQUAL:
            right = right_operand(step, &top);
            *top = *top != right;
            break;
        case MB_STEP_LESS:
            right = right_operand(step, &top);
            *top = *top < right;
            break;
        case MB_STEP_AT_MOST:
            right = right_operand(step, &top);
            *top = *top <= right;
            break;
        case MB_STEP_GREATER:
            right = right_operand(step, &top);
            *top = *top > right;
            break;
        default: /* MB_STEP_AT_LEAST */
            right = right_operand(step, &top);
            *top = *top >= right;
        }
    }
    if (!is_sound)
        return MB_CONDITION_FAILED;
    return *top != 0 ? MB_CONDITION_TRUE : MB_CONDITION_FALSE;
}
