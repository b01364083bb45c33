/*
 * TCP sequence numbers: counters modulo 2^32 (RFC 9293 section 3.4). Comparison across the wrap is
 * done here and nowhere else: `a` is before `b` when the way from a up to b is the shorter one.
 */
#ifndef MICROBOX_STACK_SEQUENCE_NUMBER_H
#define MICROBOX_STACK_SEQUENCE_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/* How far `b` is past `a`; negative where it is before. */
static inline int32_t mb_sequence_distance(uint32_t a, uint32_t b) {
    return (int32_t)(b - a);
}

static inline bool mb_sequence_before(uint32_t a, uint32_t b) {
    return mb_sequence_distance(a, b) > 0;
}

static inline bool mb_sequence_at_or_before(uint32_t a, uint32_t b) {
    return mb_sequence_distance(a, b) >= 0;
}

static inline uint32_t mb_sequence_later(uint32_t a, uint32_t b) {
    return mb_sequence_before(a, b) ? b : a;
}

#endif
