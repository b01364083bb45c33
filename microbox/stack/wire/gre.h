/*
 * GRE (RFC 2784, RFC 2890), its form for PPTP (RFC 2637), and ERSPAN in it.
 */
#ifndef MICROBOX_STACK_WIRE_GRE_H
#define MICROBOX_STACK_WIRE_GRE_H

#include "microbox/stack/wire/bytes.h"

enum {
    MB_GRE_PROTOCOL = 2,
    MB_GRE_SIZE_MIN = 4,
    MB_GRE_CHECKSUM_AT = 4,
    MB_ERSPAN_2_SIZE = 8,
    MB_ERSPAN_3_SIZE = 12,
    MB_ERSPAN_3_SUBHEADER = 8
};

enum mb_gre_flag {
    MB_GRE_CHECKSUM = 0x8000,
    MB_GRE_ROUTING = 0x4000, /* RFC 1701; not decoded */
    MB_GRE_KEY = 0x2000,
    MB_GRE_SEQUENCE = 0x1000,
    MB_GRE_ACKNOWLEDGMENT = 0x0080, /* version 1 */
    MB_GRE_VERSION = 0x0007
};

enum mb_gre_protocol {
    MB_GRE_PPP = 0x880b,
    MB_GRE_ETHERNET = 0x6558,
    MB_GRE_ERSPAN_2 = 0x88be, /* without a sequence number: type I, which has no header */
    MB_GRE_ERSPAN_3 = 0x22eb
};

static inline uint16_t mb_gre_protocol(const uint8_t *header) {
    return mb_read_16(header + MB_GRE_PROTOCOL);
}

/* Length of the header; 0 where it is none that is decoded, or not all there. */
static inline uint32_t mb_gre_header_length(const uint8_t *header, uint32_t length) {
    if (length < MB_GRE_SIZE_MIN)
        return 0;
    uint16_t flags = mb_read_16(header);
    if ((flags & MB_GRE_ROUTING) != 0 || (flags & MB_GRE_VERSION) > 1)
        return 0;
    uint32_t size = MB_GRE_SIZE_MIN;
    size += (flags & MB_GRE_CHECKSUM) != 0 ? 4 : 0;
    size += (flags & MB_GRE_KEY) != 0 ? 4 : 0;
    size += (flags & MB_GRE_SEQUENCE) != 0 ? 4 : 0;
    if ((flags & MB_GRE_VERSION) == 1)
        size += (flags & MB_GRE_ACKNOWLEDGMENT) != 0 ? 4 : 0;
    return size <= length ? size : 0;
}

static inline int mb_gre_has_sequence(const uint8_t *header) {
    return (mb_read_16(header) & MB_GRE_SEQUENCE) != 0;
}

static inline int mb_gre_has_checksum(const uint8_t *header) {
    return (mb_read_16(header) & MB_GRE_CHECKSUM) != 0;
}

/* The key of a header that is all there; 0 where it has none. PPTP's: length and call. */
static inline uint32_t mb_gre_key(const uint8_t *header) {
    uint16_t flags = mb_read_16(header);
    if ((flags & MB_GRE_KEY) == 0)
        return 0;
    return mb_read_32(header + MB_GRE_SIZE_MIN + ((flags & MB_GRE_CHECKSUM) != 0 ? 4 : 0));
}

/* Types II and III. */
static inline uint32_t mb_erspan_session(const uint8_t *header) {
    return mb_read_16(header + 2) & 0x03ff;
}

/* Length of an ERSPAN type III header; 0 where it is not all there. */
static inline uint32_t mb_erspan_3_length(const uint8_t *header, uint32_t length) {
    if (length < MB_ERSPAN_3_SIZE)
        return 0;
    uint32_t size = MB_ERSPAN_3_SIZE;
    if ((header[MB_ERSPAN_3_SIZE - 1] & 1) != 0)
        size += MB_ERSPAN_3_SUBHEADER;
    return size <= length ? size : 0;
}

#endif
