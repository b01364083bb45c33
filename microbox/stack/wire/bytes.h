/*
 * Reads and writes of big-endian fields at any alignment. The caller has checked that the bytes are
 * there.
 */
#ifndef MICROBOX_STACK_WIRE_BYTES_H
#define MICROBOX_STACK_WIRE_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t mb_read_16(const uint8_t *bytes) {
    uint16_t value;
    memcpy(&value, bytes, sizeof value);
    return __builtin_bswap16(value);
}

static inline uint32_t mb_read_32(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return __builtin_bswap32(value);
}

static inline void mb_write_16(uint8_t *bytes, uint16_t value) {
    value = __builtin_bswap16(value);
    memcpy(bytes, &value, sizeof value);
}

static inline void mb_write_32(uint8_t *bytes, uint32_t value) {
    value = __builtin_bswap32(value);
    memcpy(bytes, &value, sizeof value);
}

#endif
