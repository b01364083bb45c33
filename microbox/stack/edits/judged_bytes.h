/*
 * The bytes of streams as they were judged: what receivers may get at each sequence number, also
 * when a segment comes again, is cut otherwise, or says something else. An edit of a stream changes
 * what is kept here, and so every segment that leaves.
 *
 * Bytes lie in blocks, found by flow, direction and number. A block is in use until all its bytes
 * are acknowledged. Then it waits, still to be found, until it is taken for other bytes: who sends
 * again what was acknowledged gets the same bytes as a rule, although nothing depends on it. Where
 * no block is free the one that was taken first goes, and what is sent again of its bytes is
 * unknown.
 *
 * Positions are sequence numbers, 64 bits wide: the low half is what the segment says, so that four
 * gigabytes later the same number is another byte.
 */
#ifndef MICROBOX_STACK_EDITS_JUDGED_BYTES_H
#define MICROBOX_STACK_EDITS_JUDGED_BYTES_H

#include <stdbool.h>
#include <stdint.h>

enum {
    MB_JUDGED_BLOCK = 2048,      /* bytes */
    MB_JUDGED_BLOCKS_MIN = 64,   /* in all, whatever the limit says */
    MB_JUDGED_BLOCKS_LATE = 1024 /* acknowledged ones that are kept while others were never used */
};

/* One side's bytes. All zero but `stream`: none. Lies still while it has blocks. */
struct mb_judged_side {
    uint64_t stream; /* names flow and direction, and never names others */
    uint64_t end;    /* behind the last byte that was put here */
    uint32_t first;  /* blocks in use, in order of position; 0: none */
    uint32_t last;
};

struct mb_judged_bytes;

/* What blocks of so many bytes take, and what is kept of them. */
uint64_t mb_judged_bytes_size(uint64_t bytes_max);

/* `bytes_max`: of blocks. `key`: nobody outside may know it. NULL where there is no memory. */
struct mb_judged_bytes *mb_judged_bytes_create(uint64_t bytes_max, const uint64_t key[2]);
void mb_judged_bytes_destroy(struct mb_judged_bytes *judged);

/* The side's next bytes, past all that was put before; else all before is forgotten. */
void mb_judged_bytes_put(struct mb_judged_bytes *judged, struct mb_judged_side *side,
                         uint64_t position, const uint8_t *bytes, uint32_t length);

/* Asks for the memory that the side's next bytes will take. */
void mb_judged_bytes_prefetch(const struct mb_judged_bytes *judged,
                              const struct mb_judged_side *side);

/* Other bytes for some that were put; those that are not known any more stay unknown. */
void mb_judged_bytes_edit(struct mb_judged_bytes *judged, const struct mb_judged_side *side,
                          uint64_t position, const uint8_t *bytes, uint32_t length);

/* The receiver has all before `position`. */
void mb_judged_bytes_acknowledge(struct mb_judged_bytes *judged, struct mb_judged_side *side,
                                 uint64_t position);

/* The flow is over. */
void mb_judged_bytes_release(struct mb_judged_bytes *judged, struct mb_judged_side *side);

/* What is known of bytes that are to leave. */
struct mb_judged_range {
    uint64_t position;
    uint32_t length;
    uint64_t blank_before; /* the receiver has all before: what of it is unknown reads as zero */
};

/* Writes what is known of the range over `copy`, and leaves there what is not. Returns how many
 * bytes are unknown. */
uint32_t mb_judged_bytes_read(const struct mb_judged_bytes *judged,
                              const struct mb_judged_side *side,
                              const struct mb_judged_range *range, uint8_t *copy);

/* Likewise, without a copy: `*differs`, where what is known is not what `bytes` say. */
uint32_t mb_judged_bytes_compare(const struct mb_judged_bytes *judged,
                                 const struct mb_judged_side *side,
                                 const struct mb_judged_range *range, const uint8_t *bytes,
                                 bool *differs);

/* The most bytes that blocks were ever taken for. */
uint64_t mb_judged_bytes_peak(const struct mb_judged_bytes *judged);

/* Blocks that were taken from bytes which were not acknowledged. */
uint64_t mb_judged_bytes_forgotten(const struct mb_judged_bytes *judged);

#endif
