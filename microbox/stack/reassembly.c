#include "microbox/stack/reassembly.h"

#include "microbox/stack/sequence_number.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static size_t pool_size(uint32_t capacity) {
    return ((size_t)capacity + 1) * sizeof(struct mb_segment);
}

int mb_held_pool_create(struct mb_held_pool *pool, uint32_t capacity) {
    memset(pool, 0, sizeof *pool);
    void *memory = mmap(NULL, pool_size(capacity), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    pool->records = memory;
    pool->capacity = capacity;
    pool->unused = 1;
    return 0;
}

void mb_held_pool_destroy(struct mb_held_pool *pool) {
    if (pool->records != NULL)
        munmap(pool->records, pool_size(pool->capacity));
    pool->records = NULL;
}

static uint32_t take_record(struct mb_held_pool *pool) {
    uint32_t index = pool->free;
    if (index != 0)
        pool->free = pool->records[index].next;
    else if (pool->unused <= pool->capacity)
        index = pool->unused++;
    else
        return 0;
    if (++pool->used > pool->peak)
        pool->peak = pool->used;
    return index;
}

static void give_record(struct mb_held_pool *pool, uint32_t index) {
    pool->records[index].next = pool->free;
    pool->free = index;
    pool->used--;
}

static uint32_t end_of(const struct mb_segment *segment) {
    return segment->sequence + segment->length;
}

static uint32_t smaller(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

void mb_segment_trim(struct mb_segment *segment, uint32_t count) {
    uint32_t captured = smaller(count, segment->captured);
    segment->sequence += count;
    segment->length -= count;
    segment->captured -= captured;
    segment->data_offset += captured;
}

/* Puts the first `length` bytes of `segment` before the record `later` (0: at the end), behind
 * `earlier` (0: at the front). Returns the new record, 0 where there is none to take. */
static uint32_t link_piece(struct mb_held_pool *pool, struct mb_stream_side *side,
                           const struct mb_segment *segment, uint32_t length, uint32_t earlier,
                           uint32_t later) {
    uint32_t index = take_record(pool);
    if (index == 0)
        return 0;
    struct mb_segment *piece = &pool->records[index];
    *piece = *segment;
    piece->length = length;
    piece->captured = smaller(segment->captured, length);
    piece->next = later;
    if (earlier != 0)
        pool->records[earlier].next = index;
    else
        side->first = index;
    if (later == 0)
        side->last = index;
    side->held++;
    side->held_bytes += length;
    return index;
}

bool mb_held_insert(struct mb_held_pool *pool, struct mb_stream_side *side,
                    struct mb_segment *segment, uint32_t records_max, uint64_t bytes_max) {
    uint32_t earlier = 0;
    uint32_t later = side->first;
    /* What follows a loss mostly comes in order: at the end. */
    if (side->last != 0 &&
        mb_sequence_at_or_before(end_of(&pool->records[side->last]), segment->sequence)) {
        earlier = side->last;
        later = 0;
    }
    while (segment->length != 0) {
        while (later != 0 &&
               mb_sequence_at_or_before(end_of(&pool->records[later]), segment->sequence)) {
            earlier = later;
            later = pool->records[later].next;
        }
        uint32_t hole = segment->length;
        if (later != 0) {
            const struct mb_segment *held = &pool->records[later];
            if (mb_sequence_at_or_before(held->sequence, segment->sequence)) {
                uint32_t repeated = end_of(held) - segment->sequence;
                mb_segment_trim(segment, smaller(repeated, segment->length));
                continue;
            }
            hole = smaller(hole, held->sequence - segment->sequence);
        }
        if (records_max == 0 || hole > bytes_max)
            return false;
        uint32_t piece = link_piece(pool, side, segment, hole, earlier, later);
        if (piece == 0)
            return false;
        records_max--;
        bytes_max -= hole;
        earlier = piece;
        mb_segment_trim(segment, hole);
    }
    return true;
}

struct mb_segment mb_held_take(struct mb_held_pool *pool, struct mb_stream_side *side) {
    uint32_t index = side->first;
    struct mb_segment segment = pool->records[index];
    side->first = segment.next;
    if (segment.next == 0)
        side->last = 0;
    side->held--;
    side->held_bytes -= segment.length;
    give_record(pool, index);
    return segment;
}
