/*
 * An NF's own blocks of flows: one of a fixed size for each, made at its first use.
 *
 * All memory is reserved at the start and used only where a block is. A block stays where it is
 * until its flow has ended: what other NFs published about the flow's last packet may come one poll
 * later, so it goes with the poll after the one that brought the end. Those that wait for that are
 * not counted as flows with a block, and have room of their own: which flows get none must not
 * depend on where a poll ends.
 */
#ifndef MICROBOX_C_NF_FLOW_STATES_H
#define MICROBOX_C_NF_FLOW_STATES_H

#include <stddef.h>
#include <stdint.h>

struct mb_flow_block;

struct mb_flow_states {
    uint32_t size;               /* bytes of a block; 0: no states are kept */
    uint32_t most;               /* flows with a block that have not ended */
    uint32_t live;               /* of these there are */
    uint32_t blocks;             /* in all */
    uint32_t used;               /* blocks that were ever used: those behind are untouched */
    uint32_t free;               /* first of the free blocks before; 0: none. Blocks count from 1 */
    uint32_t ending;             /* first block whose flow ended in this poll */
    uint32_t past;               /* likewise in the poll before */
    uint32_t buckets;            /* a power of two */
    uint32_t *bucket;            /* first block of a chain; 0: none */
    struct mb_flow_block *block; /* by number, from 1 */
    uint8_t *bytes;
    uint64_t refused; /* first uses of a block when `most` flows had one */
};

/* `most`: flows that have a block at a time; `poll_max`: flows that may end in one poll. Returns 0
 * or -ENOMEM. */
int mb_flow_states_create(struct mb_flow_states *states, uint32_t size, uint32_t most,
                          uint32_t poll_max);
void mb_flow_states_destroy(struct mb_flow_states *states);

/* The flow's block, all zero at first; NULL where `most` others have one. `flow` is not 0. */
void *mb_flow_states_get(struct mb_flow_states *states, uint64_t flow);

/* The flow has ended, or the NF gets no more of it. */
void mb_flow_states_end(struct mb_flow_states *states, uint64_t flow);

/* A poll begins that brings something: the blocks of flows that ended before the last one are free.
 */
void mb_flow_states_turn(struct mb_flow_states *states);

#endif
