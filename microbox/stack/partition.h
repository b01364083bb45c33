/*
 * Which worker a frame is for, where flows are shared out over several.
 *
 * By the outermost pair of IP addresses, without ports: so both directions of a flow, all fragments
 * of its packets (only the first one has ports), and all that one tunnel carries meet in one
 * worker. An ICMP error goes by the pair that it quotes, to the flow that it is about. What is not
 * IP goes to worker 0.
 *
 * The hash's key is fixed: what a worker handles must not change from one replay to the next. (So
 * who sends packets may choose the worker that they keep busy, and nothing else.)
 */
#ifndef MICROBOX_STACK_PARTITION_H
#define MICROBOX_STACK_PARTITION_H

#include "microbox/events/payloads.h"
#include "microbox/io/source.h"

#include <stdint.h>

/* Of the pair of addresses, which are all that is read, the same in both directions. */
uint64_t mb_partition_hash(const uint64_t key[2], const struct mb_five_tuple *tuple);

/* Which of `parts` equal parts of all hashes this one is in. */
static inline uint32_t mb_partition_part(uint64_t hash, uint32_t parts) {
    return (uint32_t)((hash >> 32) * parts >> 32);
}

/* A number below `workers`, which is above 0. `bytes`: the frame, `frame->length` of them. */
uint32_t mb_partition_worker(uint32_t workers, const struct mb_frame *frame, const uint8_t *bytes);

#endif
