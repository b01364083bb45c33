/*
 * Time that packets of one flow take in the stack, while somebody asks for it (decision 50).
 *
 * The path of packets reads no clock, so this is a path of its own (packet_path.c). Of each batch
 * it measures one packet: the first of the flow that leaves entries about it. The modules' times
 * are taken by hooks in front of theirs, which stand in the table of hooks for as long as the
 * packet is handled.
 */
#ifndef MICROBOX_STACK_PACKET_TRACE_H
#define MICROBOX_STACK_PACKET_TRACE_H

#include "microbox/bus/sojourn.h"
#include "microbox/io/source.h"
#include "microbox/stack/module_set.h"
#include "microbox/stack/stack.h"

struct mb_packet_trace {
    uint64_t flow;             /* number of the flow; 0: none is traced */
    uint64_t reading;          /* nanoseconds that a reading of the clock takes, at least */
    uint64_t readings;         /* in this batch */
    uint64_t readings_before;  /* of them, up to when the packet in hand began */
    uint64_t began;            /* when the packet in hand did */
    uint32_t hash;             /* low half of the flow's */
    struct mb_sojourn sojourn; /* of this batch's packet; its number is 0 until there is one */
    mb_packet_hook hooks[MB_MODULES_MAX]; /* those of the modules, while others stand for them */
};

/* A packet of this hash may be the batch's. */
static inline bool mb_packet_trace_wants(const struct mb_packet_trace *trace, uint64_t hash) {
    return (uint32_t)hash == trace->hash && trace->sojourn.packet == 0;
}

/* The packet is handled now, and then it has been. It may be of another flow with the same hash. */
void mb_packet_trace_begin(struct mb_stack *stack);
void mb_packet_trace_end(struct mb_stack *stack, const struct mb_frame *frame,
                         const struct mb_handled *handled);

#endif
