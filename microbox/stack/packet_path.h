/*
 * What is done with one packet, as the path of packets (packet_path.c) asks for it
 * (packet_place.c). Nobody else includes this.
 */
#ifndef MICROBOX_STACK_PACKET_PATH_H
#define MICROBOX_STACK_PACKET_PATH_H

#include "microbox/stack/core.h"

static inline bool mb_packet_is_tracked(const struct mb_stack *stack,
                                        const struct mb_decoded *packet) {
    return stack->tracked >> packet->transport & 1;
}

/* A fragment, and somebody reads what comes of it. */
static inline bool mb_packet_is_collected(const struct mb_stack *stack,
                                          const struct mb_decoded *packet) {
    return packet->type == MB_TYPE_PACKET_IP_FRAGMENT && stack->defrag.is_on;
}

/* Where checksums are looked at: what a receiver would drop belongs to no flow; where only an event
 * is asked for, all goes on. */
void mb_packet_judge_checksums(const struct mb_stack *stack, struct mb_decoded *packet);

/* For the gate, where it wants to know. */
static inline void mb_packet_note_kind(struct mb_stack *stack, enum mb_segment_kind kind) {
    if (stack->steps != NULL)
        *mb_stream_steps_note(stack->steps) = (struct mb_segment_note){.kind = (uint8_t)kind};
}

/* Publishes the packet's own event, then those of its flow. */
void mb_packet_handle_alone(struct mb_stack *stack, const struct mb_decoded *packet,
                            struct mb_handled *handled);

/* The datagram that a fragment completes is handled as the packet that completed it. In a tunnel it
 * may be a fragment itself. */
void mb_packet_handle_fragment(struct mb_stack *stack, struct mb_decoded *fragment,
                               struct mb_handled *handled);

#endif
