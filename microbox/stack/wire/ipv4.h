/*
 * IPv4 (RFC 791).
 */
#ifndef MICROBOX_STACK_WIRE_IPV4_H
#define MICROBOX_STACK_WIRE_IPV4_H

#include "microbox/events/event_types.h"
#include "microbox/stack/wire/bytes.h"

enum {
    MB_IPV4_TOTAL_LENGTH = 2,
    MB_IPV4_IDENTIFICATION = 4,
    MB_IPV4_FRAGMENT = 6,
    MB_IPV4_TTL = 8,
    MB_IPV4_PROTOCOL = 9,
    MB_IPV4_CHECKSUM = 10,
    MB_IPV4_SOURCE = 12,
    MB_IPV4_DESTINATION = 16,
    MB_IPV4_SIZE_MIN = 20
};

static inline uint32_t mb_ipv4_header_length(const uint8_t *header) {
    return (header[0] & 0x0fu) * 4;
}

/* 0 where the network card was to cut the packet into pieces (segmentation offload). */
static inline uint32_t mb_ipv4_total_length(const uint8_t *header) {
    return mb_read_16(header + MB_IPV4_TOTAL_LENGTH);
}

/* `length`: bytes captured from the header's first on. */
static inline uint8_t mb_ipv4_check(const uint8_t *header, uint32_t length) {
    if (length < MB_IPV4_SIZE_MIN)
        return MB_REASON_IPV4_TRUNCATED;
    if (header[0] >> 4 != 4)
        return MB_REASON_IPV4_VERSION;
    uint32_t header_length = mb_ipv4_header_length(header);
    if (header_length < MB_IPV4_SIZE_MIN)
        return MB_REASON_IPV4_HEADER_LENGTH;
    uint32_t total = mb_ipv4_total_length(header);
    if (total != 0 && total < header_length)
        return MB_REASON_IPV4_TOTAL_LENGTH;
    if (length < header_length)
        return MB_REASON_IPV4_HEADER_LENGTH;
    return MB_REASON_NONE;
}

static inline uint8_t mb_ipv4_ttl(const uint8_t *header) {
    return header[MB_IPV4_TTL];
}

static inline uint8_t mb_ipv4_protocol(const uint8_t *header) {
    return header[MB_IPV4_PROTOCOL];
}

/* In bytes. */
static inline uint32_t mb_ipv4_fragment_offset(const uint8_t *header) {
    return (mb_read_16(header + MB_IPV4_FRAGMENT) & 0x1fffu) * 8;
}

static inline int mb_ipv4_is_fragment(const uint8_t *header) {
    return (mb_read_16(header + MB_IPV4_FRAGMENT) & 0x3fff) != 0;
}

static inline int mb_ipv4_more_fragments(const uint8_t *header) {
    return (header[MB_IPV4_FRAGMENT] & 0x20) != 0;
}

static inline uint16_t mb_ipv4_identification(const uint8_t *header) {
    return mb_read_16(header + MB_IPV4_IDENTIFICATION);
}

/* Written ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2) into 16 zero bytes each. */
static inline void mb_ipv4_addresses(const uint8_t *header, uint8_t source[16],
                                     uint8_t destination[16]) {
    memset(source + 10, 0xff, 2);
    memset(destination + 10, 0xff, 2);
    memcpy(source + 12, header + MB_IPV4_SOURCE, 4);
    memcpy(destination + 12, header + MB_IPV4_DESTINATION, 4);
}

#endif
