/*
 * Geneve (RFC 8926).
 */
#ifndef MICROBOX_STACK_WIRE_GENEVE_H
#define MICROBOX_STACK_WIRE_GENEVE_H

#include "microbox/stack/wire/bytes.h"

enum {
    MB_GENEVE_PORT = 6081,
    MB_GENEVE_SIZE_MIN = 8,
    MB_GENEVE_PROTOCOL = 2,
    MB_GENEVE_NETWORK = 4
};

/* Length of the header with its options; 0 where there is none of version 0, or not all of it. */
static inline uint32_t mb_geneve_header_length(const uint8_t *header, uint32_t length) {
    if (length < MB_GENEVE_SIZE_MIN || header[0] >> 6 != 0 || header[7] != 0)
        return 0;
    uint32_t size = MB_GENEVE_SIZE_MIN + (header[0] & 0x3fu) * 4;
    return size <= length ? size : 0;
}

/* An Ethernet type, or MB_GRE_ETHERNET for a frame. */
static inline uint16_t mb_geneve_protocol(const uint8_t *header) {
    return mb_read_16(header + MB_GENEVE_PROTOCOL);
}

/* The virtual network identifier, 24 bits. */
static inline uint32_t mb_geneve_network(const uint8_t *header) {
    return mb_read_32(header + MB_GENEVE_NETWORK) >> 8;
}

#endif
