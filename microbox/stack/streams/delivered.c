#include "microbox/stack/streams/delivered.h"

#include "microbox/stack/lazy_memory.h"
#include "microbox/stack/sequence_number.h"

#include <errno.h>
#include <string.h>

size_t mb_delivered_pool_bytes(uint32_t capacity) {
    return ((size_t)capacity + 1) * sizeof(struct mb_delivered_record);
}

int mb_delivered_pool_create(struct mb_delivered_pool *pool, uint32_t capacity) {
    memset(pool, 0, sizeof *pool);
    pool->records = mb_lazy_map(mb_delivered_pool_bytes(capacity));
    if (pool->records == NULL)
        return -ENOMEM;
    pool->capacity = capacity;
    pool->unused = 1;
    return 0;
}

void mb_delivered_pool_destroy(struct mb_delivered_pool *pool) {
    mb_lazy_unmap(pool->records, mb_delivered_pool_bytes(pool->capacity));
    pool->records = NULL;
}

static uint32_t take_record(struct mb_delivered_pool *pool) {
    uint32_t index = pool->free;
    if (index != 0)
        pool->free = pool->records[index].next;
    else if (pool->unused <= pool->capacity)
        index = pool->unused++;
    return index;
}

static void forget_first(struct mb_delivered_pool *pool, struct mb_stream_side *side) {
    uint32_t last = side->delivered;
    uint32_t first = pool->records[last].next;
    pool->records[last].next = pool->records[first].next;
    if (--side->delivered_count == 0)
        side->delivered = 0;
    pool->records[first].next = pool->free;
    pool->free = first;
}

bool mb_delivered_add(struct mb_delivered_pool *pool, struct mb_stream_side *side,
                      const struct mb_segment *segment) {
    if (pool->assembled != NULL && mb_assembled_holds(pool->assembled, segment->frame))
        return false;
    bool is_full = side->delivered_count == MB_DELIVERED_PER_SIDE;
    if (is_full)
        forget_first(pool, side);
    uint32_t index = take_record(pool);
    if (index == 0)
        return false;
    struct mb_delivered_record *record = &pool->records[index];
    record->segment = *segment;
    if (side->delivered == 0) {
        record->next = index;
    } else {
        record->next = pool->records[side->delivered].next;
        pool->records[side->delivered].next = index;
    }
    side->delivered = index;
    side->delivered_count++;
    return !is_full;
}

void mb_delivered_forget(struct mb_delivered_pool *pool, struct mb_stream_side *side,
                         uint32_t acknowledged) {
    while (side->delivered_count != 0) {
        const struct mb_segment *first = &pool->records[mb_delivered_first(pool, side)].segment;
        if (!mb_sequence_at_or_before(first->sequence + first->length, acknowledged))
            return;
        forget_first(pool, side);
    }
}

void mb_delivered_release(struct mb_delivered_pool *pool, struct mb_stream_side *side) {
    while (side->delivered_count != 0)
        forget_first(pool, side);
}
