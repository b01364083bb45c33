/*
 * UDP (RFC 768).
 */
#ifndef MICROBOX_STACK_WIRE_UDP_H
#define MICROBOX_STACK_WIRE_UDP_H

#include "microbox/events/event_types.h"
#include "microbox/stack/wire/bytes.h"

enum {
    MB_UDP_SOURCE_PORT = 0,
    MB_UDP_DESTINATION_PORT = 2,
    MB_UDP_LENGTH = 4,
    MB_UDP_CHECKSUM = 6,
    MB_UDP_SIZE = 8
};

static inline uint16_t mb_udp_source_port(const uint8_t *header) {
    return mb_read_16(header + MB_UDP_SOURCE_PORT);
}

static inline uint16_t mb_udp_destination_port(const uint8_t *header) {
    return mb_read_16(header + MB_UDP_DESTINATION_PORT);
}

/* 0 in a jumbogram (RFC 2675 section 4). */
static inline uint32_t mb_udp_length(const uint8_t *header) {
    return mb_read_16(header + MB_UDP_LENGTH);
}

/* `length`: bytes captured; `datagram`: bytes that IP says there are. */
static inline uint8_t mb_udp_check(const uint8_t *header, uint32_t length, uint32_t datagram) {
    if (length < MB_UDP_SIZE)
        return MB_REASON_UDP_TRUNCATED;
    uint32_t said = mb_udp_length(header);
    if (said == 0 && datagram > 0xffff)
        return MB_REASON_NONE;
    return said < MB_UDP_SIZE || said > datagram ? MB_REASON_UDP_LENGTH : MB_REASON_NONE;
}

#endif
