/*
 * The Internet checksum (RFC 1071): the ones' complement of the ones' complement sum of 16-bit
 * words. Data with its right checksum in place sum up to 0xffff.
 */
#ifndef MICROBOX_STACK_WIRE_CHECKSUM_H
#define MICROBOX_STACK_WIRE_CHECKSUM_H

#include "microbox/stack/wire/bytes.h"

/* Adds `length` bytes to a sum that was begun with 0 or with other whole words. An odd last byte is
 * padded with zero, so only the last part may be of odd length. */
static inline uint64_t mb_checksum_add(uint64_t sum, const uint8_t *bytes, uint32_t length) {
    uint32_t at = 0;
    for (; length - at >= 4; at += 4)
        sum += mb_read_32(bytes + at);
    if (length - at >= 2) {
        sum += mb_read_16(bytes + at);
        at += 2;
    }
    if (at < length)
        sum += (uint64_t)bytes[at] << 8;
    return sum;
}

static inline uint16_t mb_checksum_fold(uint64_t sum) {
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

#endif
