/*
 * Programs of conditions, written step by step.
 */
#ifndef MICROBOX_TESTS_CORE_CONDITION_STEPS_H
#define MICROBOX_TESTS_CORE_CONDITION_STEPS_H

#include "microbox/stack/conditions/condition.h"

#include <stddef.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* Fields of an entry, as operands of MB_STEP_LOAD. */
#define FIELD(member)                                                                              \
    .width = sizeof(((struct mb_entry *)0)->member), .place = offsetof(struct mb_entry, member)

#define PUSH(number)                                                                               \
    { .opcode = MB_STEP_PUSH, .value = (number) }
#define LOAD(member)                                                                               \
    { .opcode = MB_STEP_LOAD, FIELD(member) }
#define BINARY(name)                                                                               \
    { .opcode = MB_STEP_##name }
#define WITH(name, number)                                                                         \
    { .opcode = MB_STEP_##name, .width = 1, .value = (number) }
#define SKIP_IF_FALSE(to)                                                                          \
    { .opcode = MB_STEP_SKIP_IF_FALSE, .target = (to) }
#define SKIP_IF_TRUE(to)                                                                           \
    { .opcode = MB_STEP_SKIP_IF_TRUE, .target = (to) }
#define COUNTED(index)                                                                             \
    { .opcode = MB_STEP_COUNTER, .place = (index) }
#define COUNT(index)                                                                               \
    { .opcode = MB_STEP_COUNT, .place = (index) }

#endif
