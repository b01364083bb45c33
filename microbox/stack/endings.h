/*
 * What is to end, by the number of the packet that it began with: a heap, the smallest number on
 * top. Two of one number come flow first, then its holes by direction.
 *
 * All memory is made at start; there is room for all that a stack can have.
 */
#ifndef MICROBOX_STACK_ENDINGS_H
#define MICROBOX_STACK_ENDINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mb_ending_kind {
    MB_ENDING_FLOW,
    MB_ENDING_HOLE_OF_ORIGINATOR, /* + direction: what a stream waits for */
    MB_ENDING_HOLE_OF_RESPONDER,
    MB_ENDING_DATAGRAM /* of which fragments are missing */
};

struct mb_ending {
    uint64_t number; /* of the packet that it began with; of a hole that of its flow */
    uint32_t index;  /* of the flow, or the datagram, in its table */
    uint32_t kind;   /* enum mb_ending_kind */
};

struct mb_endings {
    struct mb_ending *heap;
    uint32_t count;
    uint32_t capacity;
};

/* What so many take. */
size_t mb_endings_bytes(uint32_t capacity);

/* Returns 0 or -ENOMEM. */
int mb_endings_create(struct mb_endings *endings, uint32_t capacity);
void mb_endings_destroy(struct mb_endings *endings);

/* There must be room. */
void mb_endings_add(struct mb_endings *endings, struct mb_ending ending);

/* The one with the smallest number; there must be one. */
struct mb_ending mb_endings_take(struct mb_endings *endings);

#endif
