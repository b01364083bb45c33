/*
 * What the writers of packets share: numbers in network byte order, and random ones from a seed.
 */
#ifndef MICROBOX_BENCHMARKS_SUPPORT_PACKET_BYTES_H
#define MICROBOX_BENCHMARKS_SUPPORT_PACKET_BYTES_H

#include <stdint.h>

static inline void put16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void put32(uint8_t *at, uint32_t value) {
    put16(at, value >> 16);
    put16(at + 2, value);
}

/* xorshift64*; the state must not be 0. */
static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

#endif
