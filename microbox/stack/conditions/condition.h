/*
 * Conditions of event types that users derive from the stack's own: small programs, made by
 * microbox/chain/conditions and run here on the entry that they judge.
 *
 * A program is a list of steps for a stack machine of signed 64-bit integers; truth is 0 or 1.
 * Steps only go forward, so a program ends after at most as many steps as it has. What does not fit
 * into 64 bits, a division by zero, a byte past the end of the data: the run has failed, and the
 * condition does not hold.
 *
 * A program comes in a message, so it is not trusted: mb_condition_load checks all that
 * mb_condition_run relies on.
 */
#ifndef MICROBOX_STACK_CONDITIONS_CONDITION_H
#define MICROBOX_STACK_CONDITIONS_CONDITION_H

#include "microbox/bus/layout.h"
#include "microbox/io/source.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    MB_CONDITION_STEPS_MAX = 128,
    MB_CONDITION_CONSTANTS_MAX = 1024, /* bytes */
    MB_CONDITION_STACK_MAX = 16,
    MB_CONDITION_COUNTERS_MAX = 8
};

/* What a step does. A binary operator takes its right operand from `value` where `width` is 1. */
enum mb_condition_opcode {
    MB_STEP_PUSH,          /* `value` */
    MB_STEP_LOAD,          /* `width` bytes at `place` of the entry, unsigned */
    MB_STEP_LOAD_OF_SIDE,  /* `place` lies in snapshot.side[0]: the same of the side that sent what
                              the event is about, where `target` is 1 of the other one */
    MB_STEP_LOAD_PAYLOAD,  /* `width` bytes at `place` of the whole payload, where that is longer
                              than an entry has room for */
    MB_STEP_DIRECTION,     /* 0 from the originator, 1 from the responder */
    MB_STEP_AGE,           /* nanoseconds since the flow's first packet */
    MB_STEP_BYTE,          /* pops an index: that byte of the event's data */
    MB_STEP_STARTS_WITH,   /* the data begins with the `place` constants from `target` on */
    MB_STEP_MATCHES,       /* the first `width` bits at `place` are those of the constants at
                              `target` */
    MB_STEP_SAME_ADDRESS,  /* the 16 bytes at `place` are those at `target` */
    MB_STEP_COUNTER,       /* the flow's counter `place` */
    MB_STEP_COUNT,         /* pops what is added to the flow's counter `place` */
    MB_STEP_SKIP_IF_FALSE, /* goes on at step `target` where the top is 0; else pops it */
    MB_STEP_SKIP_IF_TRUE,
    MB_STEP_NOT,
    MB_STEP_NEGATE,
    MB_STEP_ADD,
    MB_STEP_SUBTRACT,
    MB_STEP_MULTIPLY,
    MB_STEP_DIVIDE, /* rounds down */
    MB_STEP_MODULO, /* has the sign of the divisor */
    MB_STEP_BITS_AND,
    MB_STEP_BITS_OR,
    MB_STEP_EQUAL,
    MB_STEP_UNEQUAL,
    MB_STEP_LESS,
    MB_STEP_AT_MOST,
    MB_STEP_GREATER,
    MB_STEP_AT_LEAST,
    MB_STEPS
};

struct mb_condition_step {
    uint8_t opcode; /* enum mb_condition_opcode */
    uint8_t width;
    uint16_t place;
    uint32_t target;
    int64_t value;
};

/* A program that was checked. */
struct mb_condition {
    uint32_t step_count;
    uint32_t counters; /* that it uses: 0 .. counters - 1 */
    struct mb_condition_step steps[128];
    uint8_t constants[1024];
};

/* What a program judges. Nothing is owned. */
struct mb_condition_input {
    const struct mb_entry *entry;
    const uint8_t *data;    /* the event's bytes, entry->data_length of them */
    const uint8_t *payload; /* whole; NULL with the stack's own, which lie in their entries */
    uint32_t payload_length;
    uint64_t started;  /* packet time of the flow's first packet, nanoseconds */
    int64_t *counters; /* of the flow: as many as the program uses; changed */
};

enum mb_condition_result { MB_CONDITION_FALSE, MB_CONDITION_TRUE, MB_CONDITION_FAILED };

/* Takes `step_count` steps and the constants behind them, `size` bytes in all, in host byte order.
 * Returns 0, or -EINVAL with what is wrong in `error`. */
int mb_condition_load(struct mb_condition *condition, const uint8_t *program, uint32_t size,
                      uint32_t step_count, uint32_t counters, char error[MB_ERROR_SIZE]);

/* True where the program asks what only who follows the event's flow can say: which one it is, its
 * age, its direction, its snapshot. */
bool mb_condition_reads_flow(const struct mb_condition *condition);

enum mb_condition_result mb_condition_run(const struct mb_condition *condition,
                                          const struct mb_condition_input *input);

#endif
