/*
 * ICMP (RFC 792) and ICMPv6 (RFC 4443).
 */
#ifndef MICROBOX_STACK_WIRE_ICMP_H
#define MICROBOX_STACK_WIRE_ICMP_H

#include "microbox/events/event_types.h"
#include "microbox/stack/wire/bytes.h"

enum {
    MB_ICMP_TYPE = 0,
    MB_ICMP_CODE = 1,
    MB_ICMP_IDENTIFIER = 4,
    MB_ICMP_SEQUENCE = 6,
    MB_ICMP_SIZE_MIN = 4,
    MB_ICMP_ECHO_SIZE = 8
};

enum {
    MB_ICMP_ECHO_REPLY = 0,
    MB_ICMP_ECHO_REQUEST = 8,
    MB_ICMPV6_ECHO_REQUEST = 128,
    MB_ICMPV6_ECHO_REPLY = 129
};

static inline uint8_t mb_icmp_check(const uint8_t *message, uint32_t length) {
    (void)message;
    return length < MB_ICMP_SIZE_MIN ? MB_REASON_ICMP_TRUNCATED : MB_REASON_NONE;
}

static inline int mb_icmp_is_echo(const uint8_t *message, uint8_t ip_version) {
    uint8_t type = message[MB_ICMP_TYPE];
    if (ip_version == 4)
        return type == MB_ICMP_ECHO_REPLY || type == MB_ICMP_ECHO_REQUEST;
    return type == MB_ICMPV6_ECHO_REPLY || type == MB_ICMPV6_ECHO_REQUEST;
}

/* Echo messages only. */
static inline uint8_t mb_icmp_echo_check(const uint8_t *message, uint32_t length) {
    (void)message;
    return length < MB_ICMP_ECHO_SIZE ? MB_REASON_ICMP_TRUNCATED : MB_REASON_NONE;
}

static inline uint16_t mb_icmp_identifier(const uint8_t *message) {
    return mb_read_16(message + MB_ICMP_IDENTIFIER);
}

static inline uint16_t mb_icmp_sequence(const uint8_t *message) {
    return mb_read_16(message + MB_ICMP_SEQUENCE);
}

#endif
