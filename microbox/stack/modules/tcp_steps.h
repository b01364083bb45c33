/*
 * What tcp.stream tells the gate where an inline NF reads the stream: its steps (stream_steps.h),
 * and of each segment whether its bytes were given out. A part of tcp.stream.
 */
#ifndef MICROBOX_STACK_MODULES_TCP_STEPS_H
#define MICROBOX_STACK_MODULES_TCP_STEPS_H

#include "microbox/stack/core.h"

/* Does an inline NF read the bytes of the direction? */
static inline bool mb_tcp_is_guarded(const struct mb_stack *stack, const struct mb_flow_entry *flow,
                                     unsigned direction) {
    const uint64_t *wanted = stack->subscriptions.module_mask[1];
    const uint64_t *judges = stack->stream_judges;
    const uint64_t *who = flow->mask[direction];
    return ((wanted[0] & judges[0] & who[0]) | (wanted[1] & judges[1] & who[1])) != 0;
}

/* `segment` was given out; its entries begin with `first`. */
void mb_tcp_step_bytes(struct mb_stack *stack, const struct mb_flow_entry *flow, unsigned direction,
                       const struct mb_segment *segment, uint64_t first);

/* What is held of the direction is let go. */
void mb_tcp_step_left(struct mb_stack *stack, const struct mb_flow_entry *flow, unsigned direction);

/* The flow is over, and what was held is given out. */
void mb_tcp_step_end(struct mb_stack *stack, const struct mb_flow_entry *flow);

/* A TCP segment of the flow was handled. */
void mb_tcp_note_segment(struct mb_stack *stack, const struct mb_flow_entry *flow,
                         const struct mb_decoded *packet, unsigned direction);

#endif
