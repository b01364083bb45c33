/*
 * Segments that wait for the bytes before them.
 *
 * A side's held segments are a list in sequence order, pairwise disjoint, all of them past the
 * side's `next`. A segment that overlaps what is held already is cut to the pieces that fill holes:
 * of two copies of a byte the one that came first wins. No bytes are copied: a record says where in
 * the frame pool they are.
 *
 * Sequence numbers in one list lie within 2^31 of each other; the caller sees to it.
 */
#ifndef MICROBOX_STACK_REASSEMBLY_H
#define MICROBOX_STACK_REASSEMBLY_H

#include "microbox/stack/flow.h"

#include <stdbool.h>
#include <stdint.h>

/* A run of payload bytes in a frame. Of its `length` bytes the frame has the first `captured`. */
struct mb_segment {
    uint64_t frame; /* offset in the frame pool */
    uint32_t frame_length;
    uint32_t data_offset; /* of the first byte, in the frame */
    uint32_t sequence;
    uint32_t length;
    uint32_t captured;
    uint32_t next; /* held: index of the following record, 0: none */
};

/* Records for all flows of a worker, made once. */
struct mb_held_pool {
    struct mb_segment *records; /* [1, capacity] */
    uint32_t capacity;
    uint32_t free;
    uint32_t unused; /* from here on no record was ever taken */
    uint32_t used;
    uint32_t peak;
};

int mb_held_pool_create(struct mb_held_pool *pool, uint32_t capacity); /* 0 or -errno */
void mb_held_pool_destroy(struct mb_held_pool *pool);

/* Cuts `count` bytes (at most its length) off the segment's front. */
void mb_segment_trim(struct mb_segment *segment, uint32_t count);

/* Holds of `segment` (past side->next) what is not held yet, at most `records_max` pieces and
 * `bytes_max` bytes. True when all of it is held; false leaves in `segment` what is not. */
bool mb_held_insert(struct mb_held_pool *pool, struct mb_stream_side *side,
                    struct mb_segment *segment, uint32_t records_max, uint64_t bytes_max);

/* The first held segment; there must be one. Valid until the next insertion or removal. */
static inline const struct mb_segment *mb_held_first(const struct mb_held_pool *pool,
                                                     const struct mb_stream_side *side) {
    return &pool->records[side->first];
}

/* Takes the first held segment out of the list. There must be one. */
struct mb_segment mb_held_take(struct mb_held_pool *pool, struct mb_stream_side *side);

#endif
