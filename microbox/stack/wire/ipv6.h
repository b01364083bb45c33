/*
 * IPv6 (RFC 8200) and its extension headers.
 */
#ifndef MICROBOX_STACK_WIRE_IPV6_H
#define MICROBOX_STACK_WIRE_IPV6_H

#include "microbox/events/event_types.h"
#include "microbox/stack/wire/bytes.h"

#include <stddef.h>

enum {
    MB_IPV6_PAYLOAD_LENGTH = 4,
    MB_IPV6_NEXT_HEADER = 6,
    MB_IPV6_HOP_LIMIT = 7,
    MB_IPV6_SOURCE = 8,
    MB_IPV6_DESTINATION = 24,
    MB_IPV6_SIZE = 40,

    MB_IPV6_EXTENSION_SIZE_MIN = 8,
    MB_IPV6_FRAGMENT_SIZE = 8,
    MB_IPV6_EXTENSIONS_MAX = 10
};

static inline uint8_t mb_ipv6_check(const uint8_t *header, uint32_t length) {
    if (length < MB_IPV6_SIZE)
        return MB_REASON_IPV6_TRUNCATED;
    if (header[0] >> 4 != 6)
        return MB_REASON_IPV6_VERSION;
    return MB_REASON_NONE;
}

/* 0 for a jumbogram (RFC 2675), or where the network card was to cut the packet into pieces. */
static inline uint32_t mb_ipv6_payload_length(const uint8_t *header) {
    return mb_read_16(header + MB_IPV6_PAYLOAD_LENGTH);
}

static inline uint8_t mb_ipv6_next_header(const uint8_t *header) {
    return header[MB_IPV6_NEXT_HEADER];
}

static inline uint8_t mb_ipv6_hop_limit(const uint8_t *header) {
    return header[MB_IPV6_HOP_LIMIT];
}

/* Headers that announce another one behind them. The authentication header (RFC 4302) is one,
 * after IPv4 too. */
enum mb_ipv6_extension {
    MB_IPV6_HOP_BY_HOP = 0,
    MB_IPV6_ROUTING = 43,
    MB_IPV6_FRAGMENT = 44,
    MB_IPV6_AUTHENTICATION = 51,
    MB_IPV6_DESTINATION_OPTIONS = 60,
    MB_IPV6_MOBILITY = 135,
    MB_IPV6_HOST_IDENTITY = 139,
    MB_IPV6_SHIM6 = 140
};

static inline int mb_ipv6_is_extension(uint8_t protocol) {
    switch (protocol) {
    case MB_IPV6_HOP_BY_HOP:
    case MB_IPV6_ROUTING:
    case MB_IPV6_FRAGMENT:
    case MB_IPV6_AUTHENTICATION:
    case MB_IPV6_DESTINATION_OPTIONS:
    case MB_IPV6_MOBILITY:
    case MB_IPV6_HOST_IDENTITY:
    case MB_IPV6_SHIM6:
        return 1;
    default:
        return 0;
    }
}

/* Length of the extension header; its first two bytes must be there. */
static inline uint32_t mb_ipv6_extension_length(uint8_t protocol, const uint8_t *header) {
    if (protocol == MB_IPV6_FRAGMENT)
        return MB_IPV6_FRAGMENT_SIZE;
    if (protocol == MB_IPV6_AUTHENTICATION)
        return (header[1] + 2u) * 4;
    return (header[1] + 1u) * 8;
}

static inline uint8_t mb_ipv6_extension_check(uint8_t protocol, const uint8_t *header,
                                              uint32_t length) {
    if (length < MB_IPV6_EXTENSION_SIZE_MIN)
        return MB_REASON_IPV6_EXTENSION_TRUNCATED;
    return length < mb_ipv6_extension_length(protocol, header) ? MB_REASON_IPV6_EXTENSION_TRUNCATED
                                                               : MB_REASON_NONE;
}

/* In bytes. */
static inline uint32_t mb_ipv6_fragment_offset(const uint8_t *header) {
    return mb_read_16(header + 2) & 0xfff8u;
}

static inline int mb_ipv6_more_fragments(const uint8_t *header) {
    return (header[3] & 1) != 0;
}

static inline uint32_t mb_ipv6_identification(const uint8_t *header) {
    return mb_read_32(header + 4);
}

enum mb_ipv6_routing_type {
    MB_IPV6_ROUTING_SOURCE = 0, /* deprecated by RFC 5095 */
    MB_IPV6_ROUTING_MOBILE = 2, /* RFC 6275 section 6.4 */
    MB_IPV6_ROUTING_SEGMENT = 4 /* RFC 8754 */
};

/* True where the packet's destination is not yet the final one. */
static inline int mb_ipv6_routing_is_pending(const uint8_t *header) {
    return header[3] != 0;
}

/* The final destination of a routing header that is pending and all there; NULL: not known. */
static inline const uint8_t *mb_ipv6_final_destination(const uint8_t *header) {
    uint32_t addresses = header[1] / 2;
    if (addresses == 0)
        return NULL;
    switch (header[2]) {
    case MB_IPV6_ROUTING_SOURCE:
        return header + 8 + 16 * (addresses - 1);
    case MB_IPV6_ROUTING_MOBILE:
    case MB_IPV6_ROUTING_SEGMENT: /* the list is in reverse order */
        return header + 8;
    default:
        return NULL;
    }
}

/* The home address in destination options that are all there (RFC 6275 section 6.3); NULL: none. */
static inline const uint8_t *mb_ipv6_home_address(const uint8_t *header) {
    enum { PAD_1 = 0, HOME_ADDRESS = 201, ADDRESS_SIZE = 16 };
    uint32_t length = (header[1] + 1u) * 8;
    for (uint32_t at = 2; at + 2 <= length;) {
        if (header[at] == HOME_ADDRESS && header[at + 1] == ADDRESS_SIZE &&
            length - at >= 2 + ADDRESS_SIZE)
            return header + at + 2;
        at += header[at] == PAD_1 ? 1 : 2u + header[at + 1];
    }
    return NULL;
}

#endif
