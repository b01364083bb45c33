/*
 * Well-formed TCP segments from a few bytes each. Each byte of payload is the low byte of its own
 * sequence number: so bytes of one side's stream that follow each other differ by one.
 */
#ifndef MICROBOX_FUZZ_SEGMENT_RECIPE_H
#define MICROBOX_FUZZ_SEGMENT_RECIPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { HEADERS = 54, PAYLOAD_MAX = 64, FRAME_SIZE = HEADERS + PAYLOAD_MAX };

/* How the input is read. */
struct segment_recipe {
    uint8_t side_and_flow; /* bit 0: who sends; bit 1: which of two flows; 2 to 7: seconds */
    uint8_t flags;         /* as in the segment */
    uint8_t sequence;      /* added to the side's first number */
    uint8_t sequence_high; /* in units of 4096, biased so that numbers wrap and jump back */
    uint8_t acknowledged;  /* added to the other side's first number */
    uint8_t length;        /* of the payload, modulo PAYLOAD_MAX + 1 */
    uint8_t window;
};

static const uint64_t SECOND = UINT64_C(1000000000);

/* Waits before the segment, nanoseconds. */
static inline uint64_t segment_recipe_wait(const struct segment_recipe *recipe) {
    return (recipe->side_and_flow >> 2) * SECOND;
}

static inline void put16(uint8_t *at, uint16_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void put32(uint8_t *at, uint32_t value) {
    put16(at, (uint16_t)(value >> 16));
    put16(at + 2, (uint16_t)value);
}

static inline uint32_t first_number(unsigned side) {
    return side ? 0xfffffff0 : 0x1000; /* one side wraps soon */
}

static inline void write_segment(uint8_t *frame, const struct segment_recipe *recipe) {
    unsigned side = recipe->side_and_flow & 1;
    uint16_t ports[2] = {(uint16_t)(1024 + (recipe->side_and_flow >> 1 & 1)), 80};
    uint32_t sequence = first_number(side) + recipe->sequence +
                        4096 * (uint32_t)(int32_t)(int8_t)recipe->sequence_high;
    size_t length = recipe->length % (PAYLOAD_MAX + 1);

    memset(frame, 0, FRAME_SIZE);
    put16(frame + 12, 0x0800);
    frame[14] = 0x45;
    put16(frame + 16, (uint16_t)(40 + length));
    frame[22] = 64;
    frame[23] = 6;
    put32(frame + 26, 0x0a000001 + side);
    put32(frame + 30, 0x0a000002 - side);
    put16(frame + 34, ports[side]);
    put16(frame + 36, ports[1 - side]);
    put32(frame + 38, sequence);
    put32(frame + 42, first_number(1 - side) + recipe->acknowledged);
    frame[46] = 5 << 4;
    frame[47] = recipe->flags;
    put16(frame + 48, (uint16_t)(recipe->window << 8));
    uint32_t first = sequence + ((recipe->flags & 2) != 0); /* SYN takes a number */
    for (size_t i = 0; i < length; i++)
        frame[HEADERS + i] = (uint8_t)(first + i);
}

#endif
