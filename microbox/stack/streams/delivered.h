/*
 * Segments that were given out and not acknowledged yet, so that what comes again can be compared
 * with what went before: who injects bytes into a connection races the real sender, and the loser's
 * copy comes when the winner's was given out. Kept only where somebody wants to be told.
 *
 * A side's segments are a ring of records in the order of the stream; the side names its last one.
 * No bytes are copied.
 */
#ifndef MICROBOX_STACK_STREAMS_DELIVERED_H
#define MICROBOX_STACK_STREAMS_DELIVERED_H

#include "microbox/stack/flows/flow.h"
#include "microbox/stack/streams/reassembly.h"

#include <stdbool.h>
#include <stdint.h>

enum { MB_DELIVERED_PER_SIDE = 64 };

/* Of a segment whose frame's memory was given back. */
#define MB_FRAME_GONE UINT64_MAX

struct mb_delivered_record {
    struct mb_segment segment;
    uint32_t next; /* in the ring; a free record: the next free one */
};

/* Records for all flows of a worker, made once; index 0 is none. */
struct mb_delivered_pool {
    struct mb_delivered_record *records; /* [1, capacity] */
    /* What lies there is not kept: acknowledgements that never come would fill it. NULL: there is
     * no such area. */
    const struct mb_assembled_frames *assembled;
    uint32_t capacity;
    uint32_t free;
    uint32_t unused; /* from here on no record was ever taken */
};

size_t mb_delivered_pool_bytes(uint32_t capacity);
int mb_delivered_pool_create(struct mb_delivered_pool *pool, uint32_t capacity); /* 0 or -errno */
void mb_delivered_pool_destroy(struct mb_delivered_pool *pool);

/* The most segments that were ever in it; 0 where there is none. */
static inline uint32_t mb_delivered_pool_peak(const struct mb_delivered_pool *pool) {
    return pool->unused != 0 ? pool->unused - 1 : 0;
}

/* The segment was given out, behind those before. False: one had to be forgotten for it, or it
 * itself is. */
bool mb_delivered_add(struct mb_delivered_pool *pool, struct mb_stream_side *side,
                      const struct mb_segment *segment);

/* The receiver has all before `acknowledged`. */
void mb_delivered_forget(struct mb_delivered_pool *pool, struct mb_stream_side *side,
                         uint32_t acknowledged);

void mb_delivered_release(struct mb_delivered_pool *pool, struct mb_stream_side *side);

/* Of the side's segments the first one, then the one behind `index`; 0: no more. */
static inline uint32_t mb_delivered_first(const struct mb_delivered_pool *pool,
                                          const struct mb_stream_side *side) {
    return side->delivered == 0 ? 0 : pool->records[side->delivered].next;
}
static inline uint32_t mb_delivered_next(const struct mb_delivered_pool *pool,
                                         const struct mb_stream_side *side, uint32_t index) {
    return index == side->delivered ? 0 : pool->records[index].next;
}

#endif
