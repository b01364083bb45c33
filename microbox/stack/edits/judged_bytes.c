/*
 * A table of blocks, chained by hash, and two lists through them: those in use, in the order in
 * which they were taken, and those that are free, in the order in which they became so. Both are
 * rings with a head of their own. The block of a side that was taken first is its first one, since
 * positions only grow.
 */
#include "microbox/stack/edits/judged_bytes.h"

#include "microbox/stack/lazy_memory.h"
#include "microbox/stack/siphash.h"

#include <stdlib.h>
#include <string.h>

enum { WORDS = MB_JUDGED_BLOCK / 64 };

/* Heads of the lists; blocks count from NONE + HEADS on. */
enum { NONE, IN_USE, FREE, HEADS = 2 };

struct block {
    struct mb_judged_side *side; /* NULL: it is free */
    uint64_t stream;             /* 0: it was never taken */
    uint64_t number;             /* position of its first byte, in blocks */
    uint32_t chain;              /* the next one with the same hash */
    uint32_t behind;             /* in the side */
    uint32_t newer;              /* in the ring that it is in */
    uint32_t older;
    uint64_t known[WORDS]; /* bit i: byte i is */
    uint8_t bytes[MB_JUDGED_BLOCK];
};

struct mb_judged_bytes {
    uint64_t key[2];
    uint32_t capacity; /* blocks */
    uint32_t unused;   /* from here on no block was ever taken */
    uint32_t free_count;
    uint32_t bucket_mask;
    uint64_t forgotten;
    uint32_t *buckets;
    struct block *blocks;
};

static size_t blocks_size(const struct mb_judged_bytes *judged) {
    return ((size_t)judged->capacity + 1 + HEADS) * sizeof(struct block);
}

static size_t buckets_size(const struct mb_judged_bytes *judged) {
    return ((size_t)judged->bucket_mask + 1) * sizeof *judged->buckets;
}

static struct mb_judged_bytes shape_of(uint64_t bytes_max) {
    struct mb_judged_bytes judged = {
        .unused = NONE + 1 + HEADS,
        .bucket_mask = MB_JUDGED_BLOCKS_MIN - 1,
    };
    const uint64_t blocks = bytes_max / MB_JUDGED_BLOCK;
    judged.capacity = blocks > UINT32_MAX / 4 ? UINT32_MAX / 4 : (uint32_t)blocks;
    if (judged.capacity < MB_JUDGED_BLOCKS_MIN)
        judged.capacity = MB_JUDGED_BLOCKS_MIN;
    while (judged.bucket_mask < judged.capacity)
        judged.bucket_mask = 2 * judged.bucket_mask + 1;
    return judged;
}

uint64_t mb_judged_bytes_size(uint64_t bytes_max) {
    const struct mb_judged_bytes judged = shape_of(bytes_max);
    return blocks_size(&judged) + buckets_size(&judged);
}

struct mb_judged_bytes *mb_judged_bytes_create(uint64_t bytes_max, const uint64_t key[2]) {
    struct mb_judged_bytes *judged = malloc(sizeof *judged);
    if (judged == NULL)
        return NULL;
    *judged = shape_of(bytes_max);
    judged->key[0] = key[0];
    judged->key[1] = key[1];
    judged->blocks = mb_lazy_map(blocks_size(judged));
    judged->buckets = mb_lazy_map(buckets_size(judged));
    if (judged->blocks == NULL || judged->buckets == NULL) {
        mb_judged_bytes_destroy(judged);
        return NULL;
    }
    for (uint32_t head = IN_USE; head <= FREE; head++)
        judged->blocks[head].newer = judged->blocks[head].older = head;
    return judged;
}

void mb_judged_bytes_destroy(struct mb_judged_bytes *judged) {
    if (judged == NULL)
        return;
    mb_lazy_unmap(judged->blocks, blocks_size(judged));
    mb_lazy_unmap(judged->buckets, buckets_size(judged));
    free(judged);
}

/* --- the rings --- */

/* `newer` of a head is its oldest block. */
static uint32_t oldest_of(const struct mb_judged_bytes *judged, uint32_t head) {
    return judged->blocks[head].newer == head ? NONE : judged->blocks[head].newer;
}

static void append(struct mb_judged_bytes *judged, uint32_t head, uint32_t index) {
    struct block *block = &judged->blocks[index];
    block->older = judged->blocks[head].older;
    block->newer = head;
    judged->blocks[block->older].newer = index;
    judged->blocks[head].older = index;
    judged->free_count += head == FREE;
}

static void take_off(struct mb_judged_bytes *judged, uint32_t head, uint32_t index) {
    const struct block *block = &judged->blocks[index];
    judged->blocks[block->older].newer = block->newer;
    judged->blocks[block->newer].older = block->older;
    judged->free_count -= head == FREE;
}

/* --- the table --- */

static uint32_t *bucket_of(const struct mb_judged_bytes *judged, uint64_t stream, uint64_t number) {
    struct mb_siphash sip = mb_siphash_begin(judged->key);
    mb_siphash_absorb(&sip, stream);
    mb_siphash_absorb(&sip, number);
    return &judged->buckets[mb_siphash_end(&sip) & judged->bucket_mask];
}

static struct block *find(const struct mb_judged_bytes *judged, const struct mb_judged_side *side,
                          uint64_t number) {
    uint32_t index = *bucket_of(judged, side->stream, number);
    while (index != NONE) {
        struct block *block = &judged->blocks[index];
        if (block->stream == side->stream && block->number == number)
            return block;
        index = block->chain;
    }
    return NULL;
}

static void take_out_of_table(struct mb_judged_bytes *judged, uint32_t index) {
    struct block *block = &judged->blocks[index];
    uint32_t *link = bucket_of(judged, block->stream, block->number);
    while (*link != index)
        link = &judged->blocks[*link].chain;
    *link = block->chain;
    block->stream = 0;
}

static void put_into_table(struct mb_judged_bytes *judged, uint32_t index) {
    struct block *block = &judged->blocks[index];
    uint32_t *bucket = bucket_of(judged, block->stream, block->number);
    block->chain = *bucket;
    *bucket = index;
}

/* --- blocks of a side --- */

static void free_first(struct mb_judged_bytes *judged, struct mb_judged_side *side) {
    const uint32_t index = side->first;
    struct block *block = &judged->blocks[index];
    side->first = block->behind;
    if (side->first == NONE)
        side->last = NONE;
    block->side = NULL;
    take_off(judged, IN_USE, index);
    append(judged, FREE, index);
}

/* A block that is in no list and not in the table. */
static uint32_t take_block(struct mb_judged_bytes *judged) {
    const bool has_unused = judged->unused <= judged->capacity + HEADS;
    if (has_unused && judged->free_count <= MB_JUDGED_BLOCKS_LATE)
        return judged->unused++;
    if (oldest_of(judged, FREE) == NONE) {
        judged->forgotten++;
        free_first(judged, judged->blocks[oldest_of(judged, IN_USE)].side);
    }
    const uint32_t index = oldest_of(judged, FREE);
    take_off(judged, FREE, index);
    take_out_of_table(judged, index);
    return index;
}

static struct block *add_block(struct mb_judged_bytes *judged, struct mb_judged_side *side,
                               uint64_t number) {
    const uint32_t index = take_block(judged);
    struct block *block = &judged->blocks[index];
    block->side = side;
    block->stream = side->stream;
    block->number = number;
    block->behind = NONE;
    memset(block->known, 0, sizeof block->known);
    put_into_table(judged, index);
    append(judged, IN_USE, index);
    if (side->last == NONE)
        side->first = index;
    else
        judged->blocks[side->last].behind = index;
    side->last = index;
    return block;
}

/* The last one, where the position lies in it. */
static struct block *block_to_fill(struct mb_judged_bytes *judged, struct mb_judged_side *side,
                                   uint64_t number) {
    if (side->last != NONE && judged->blocks[side->last].number == number)
        return &judged->blocks[side->last];
    return add_block(judged, side, number);
}

void mb_judged_bytes_acknowledge(struct mb_judged_bytes *judged, struct mb_judged_side *side,
                                 uint64_t position) {
    const uint64_t before = position < side->end ? position : side->end;
    while (side->first != NONE &&
           (judged->blocks[side->first].number + 1) * MB_JUDGED_BLOCK <= before)
        free_first(judged, side);
}

void mb_judged_bytes_release(struct mb_judged_bytes *judged, struct mb_judged_side *side) {
    while (side->first != NONE)
        free_first(judged, side);
}

uint64_t mb_judged_bytes_peak(const struct mb_judged_bytes *judged) {
    return (uint64_t)(judged->unused - (NONE + 1 + HEADS)) * MB_JUDGED_BLOCK;
}

uint64_t mb_judged_bytes_forgotten(const struct mb_judged_bytes *judged) {
    return judged->forgotten;
}

/* --- bytes of a block --- */

/* Bits [from, end) of the word that has bit `from`, `end` being past it. */
static uint64_t bits_of_word(uint32_t from, uint32_t end) {
    const uint32_t shift = from % 64;
    const uint32_t count = end - from < 64 - shift ? end - from : 64 - shift;
    return (count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1) << shift;
}

static void set_known(struct block *block, uint32_t from, uint32_t end) {
    for (; from < end; from = (from / 64 + 1) * 64)
        block->known[from / 64] |= bits_of_word(from, end);
}

static bool is_known(const struct block *block, uint32_t at) {
    return block->known[at / 64] >> at % 64 & 1;
}

/* How many bytes from `from` on, before `end`, are known like the first, or unknown like it. */
static uint32_t run_from(const struct block *block, uint32_t from, uint32_t end) {
    const uint64_t turned = is_known(block, from) ? UINT64_MAX : 0;
    uint32_t at = from;
    while (at < end) {
        const uint64_t other = (block->known[at / 64] ^ turned) & bits_of_word(at, end);
        if (other != 0)
            return at / 64 * 64 + (uint32_t)__builtin_ctzll(other) - from;
        at = (at / 64 + 1) * 64;
    }
    return end - from;
}

/* --- ranges --- */

/* The part of a range that lies in one block. */
struct part {
    uint64_t number;
    uint32_t from;
    uint32_t length;
};

static struct part part_at(uint64_t position, uint32_t left) {
    const uint32_t from = (uint32_t)(position % MB_JUDGED_BLOCK);
    const uint32_t room = MB_JUDGED_BLOCK - from;
    return (struct part){position / MB_JUDGED_BLOCK, from, left < room ? left : room};
}

void mb_judged_bytes_put(struct mb_judged_bytes *judged, struct mb_judged_side *side,
                         uint64_t position, const uint8_t *bytes, uint32_t length) {
    if (position < side->end)
        mb_judged_bytes_release(judged, side);
    side->end = position + length;
    while (length != 0) {
        const struct part part = part_at(position, length);
        struct block *block = block_to_fill(judged, side, part.number);
        memcpy(block->bytes + part.from, bytes, part.length);
        set_known(block, part.from, part.from + part.length);
        position += part.length;
        bytes += part.length;
        length -= part.length;
    }
}

void mb_judged_bytes_prefetch(const struct mb_judged_bytes *judged,
                              const struct mb_judged_side *side) {
    const struct part next = part_at(side->end, 1);
    const struct block *block = &judged->blocks[side->last];
    __builtin_prefetch(block, 1);
    __builtin_prefetch(&block->known[next.from / 64], 1);
    __builtin_prefetch(&block->bytes[next.from], 1);
}

/* Of a block, a run of bytes that are all known, or all not; `block` NULL: not. */
struct run {
    const struct block *block;
    uint32_t from;
    uint32_t length;
};

static struct run run_at(const struct mb_judged_bytes *judged, const struct mb_judged_side *side,
                         uint64_t position, uint32_t left) {
    const struct part part = part_at(position, left);
    const struct block *block = find(judged, side, part.number);
    if (block == NULL)
        return (struct run){NULL, part.from, part.length};
    const uint32_t length = run_from(block, part.from, part.from + part.length);
    return (struct run){is_known(block, part.from) ? block : NULL, part.from, length};
}

void mb_judged_bytes_edit(struct mb_judged_bytes *judged, const struct mb_judged_side *side,
                          uint64_t position, const uint8_t *bytes, uint32_t length) {
    while (length != 0) {
        const struct run run = run_at(judged, side, position, length);
        if (run.block != NULL)
            memcpy(find(judged, side, position / MB_JUDGED_BLOCK)->bytes + run.from, bytes,
                   run.length);
        position += run.length;
        bytes += run.length;
        length -= run.length;
    }
}

/* How many of `length` unknown bytes at `position` the receiver has. */
static uint32_t blank_part(const struct mb_judged_range *range, uint64_t position,
                           uint32_t length) {
    if (range->blank_before <= position)
        return 0;
    const uint64_t blank = range->blank_before - position;
    return blank < length ? (uint32_t)blank : length;
}

uint32_t mb_judged_bytes_read(const struct mb_judged_bytes *judged,
                              const struct mb_judged_side *side,
                              const struct mb_judged_range *range, uint8_t *copy) {
    uint32_t unknown = 0;
    for (uint32_t at = 0; at < range->length;) {
        const uint64_t position = range->position + at;
        const struct run run = run_at(judged, side, position, range->length - at);
        const uint32_t blank = run.block != NULL ? 0 : blank_part(range, position, run.length);
        if (run.block != NULL)
            memcpy(copy + at, run.block->bytes + run.from, run.length);
        else
            unknown += run.length - blank;
        memset(copy + at, 0, blank);
        at += run.length;
    }
    return unknown;
}

static bool is_blank(const uint8_t *bytes, uint32_t length) {
    for (uint32_t i = 0; i < length; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

uint32_t mb_judged_bytes_compare(const struct mb_judged_bytes *judged,
                                 const struct mb_judged_side *side,
                                 const struct mb_judged_range *range, const uint8_t *bytes,
                                 bool *differs) {
    uint32_t unknown = 0;
    *differs = false;
    for (uint32_t at = 0; at < range->length;) {
        const uint64_t position = range->position + at;
        const struct run run = run_at(judged, side, position, range->length - at);
        const uint32_t blank = run.block != NULL ? 0 : blank_part(range, position, run.length);
        if (run.block != NULL)
            *differs |= memcmp(bytes + at, run.block->bytes + run.from, run.length) != 0;
        else
            unknown += run.length - blank;
        *differs |= !is_blank(bytes + at, blank);
        at += run.length;
    }
    return unknown;
}
