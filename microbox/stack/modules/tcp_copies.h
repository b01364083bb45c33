/*
 * Copies of the same bytes, compared: tcp.anomaly.overlap.inconsistent. A part of tcp.stream, at
 * work only where somebody subscribes to that.
 */
#ifndef MICROBOX_STACK_MODULES_TCP_COPIES_H
#define MICROBOX_STACK_MODULES_TCP_COPIES_H

#include "microbox/stack/core.h"

/* Does somebody want to be told of what differs in this direction? */
static inline bool mb_tcp_compares_copies(const struct mb_stack *stack,
                                          const struct mb_flow_entry *flow, unsigned direction) {
    const uint64_t *wanted = stack->subscriptions.type_mask[MB_TYPE_TCP_OVERLAP_INCONSISTENT];
    const uint64_t *who = flow->mask[direction];
    const uint64_t *bits = stack->subscriptions.per_packet;
    return (wanted[0] & (who[0] | bits[0])) | (wanted[1] & (who[1] | bits[1]));
}

/* Compares a segment with what was given out and not acknowledged, and with what is held, before it
 * changes either. Publishes where bytes differ. */
void mb_tcp_compare_copies(struct mb_stack *stack, const struct mb_flow_entry *flow,
                           unsigned direction, const struct mb_segment *segment);

#endif
