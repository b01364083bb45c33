/*
 * The Internet checksum (RFC 1071): the ones' complement of the ones' complement sum of 16-bit
 * words. Data with its right checksum in place sum up to 0xffff, in either byte order: sums are in
 * the machine's own.
 */
#ifndef MICROBOX_STACK_WIRE_CHECKSUM_H
#define MICROBOX_STACK_WIRE_CHECKSUM_H

#include <stdint.h>
#include <string.h>

/* As many words as the widest registers hold; where they are narrower, the compiler takes more of
 * them. */
typedef uint64_t mb_checksum_block __attribute__((vector_size(32)));

/* Adds `length` bytes to a sum that was begun with 0 or with other whole words. An odd last byte is
 * padded with zero, so only the last part may be of odd length. At most 2^32 bytes in all. */
static inline uint64_t mb_checksum_add(uint64_t sum, const uint8_t *bytes, uint32_t length) {
    mb_checksum_block sums = {0};
    for (; length >= sizeof(mb_checksum_block); length -= (uint32_t)sizeof(mb_checksum_block)) {
        mb_checksum_block block;
        memcpy(&block, bytes, sizeof block);
        sums += (block & UINT32_MAX) + (block >> 32);
        bytes += sizeof block;
    }
    sum += sums[0] + sums[1] + sums[2] + sums[3];
    for (; length >= 4; length -= 4) {
        uint32_t word;
        memcpy(&word, bytes, sizeof word);
        sum += word;
        bytes += sizeof word;
    }
    uint32_t last = 0;
    memcpy(&last, bytes, length);
    return sum + last;
}

static inline uint64_t mb_checksum_add_number(uint64_t sum, uint32_t value) {
    return sum + __builtin_bswap16((uint16_t)value) + __builtin_bswap16((uint16_t)(value >> 16));
}

static inline uint16_t mb_checksum_fold(uint64_t sum) {
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static inline uint16_t mb_checksum_word(const uint8_t *bytes) {
    uint16_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* What it adds to a sum to have the bytes `after` in the place of `before`, which lie where a word
 * begins (RFC 1624 section 3). Never 0xffff: the two zeros are one. */
static inline uint16_t mb_checksum_difference(const uint8_t *before, const uint8_t *after,
                                              uint32_t length) {
    const uint32_t even = length & ~1U;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < even; i += 2)
        sum += (uint64_t)mb_checksum_word(after + i) + (uint16_t)~mb_checksum_word(before + i);
    if (even != length) {
        const uint8_t last_before[2] = {before[even]};
        const uint8_t last_after[2] = {after[even]};
        sum += (uint64_t)mb_checksum_word(last_after) + (uint16_t)~mb_checksum_word(last_before);
    }
    const uint16_t folded = mb_checksum_fold(sum);
    return folded != 0xffff ? folded : 0;
}

/* A checksum that was right, or wrong by so much, for what `sum` was added to; none of the two
 * zeros where nothing was. */
static inline uint16_t mb_checksum_repaired(uint16_t checksum, uint64_t sum) {
    return sum != 0 ? (uint16_t)~mb_checksum_fold(sum + (uint16_t)~checksum) : checksum;
}

#endif
