/*
 * ICMP (RFC 792) and ICMPv6 (RFC 4443).
 */
#ifndef MICROBOX_STACK_WIRE_ICMP_H
#define MICROBOX_STACK_WIRE_ICMP_H

#include "microbox/events/event_types.h"
#include "microbox/stack/wire/bytes.h"

#include <stdbool.h>

enum {
    MB_ICMP_TYPE = 0,
    MB_ICMP_CODE = 1,
    MB_ICMP_IDENTIFIER = 4,
    MB_ICMP_SEQUENCE = 6,
    MB_ICMP_SIZE_MIN = 4,
    MB_ICMP_ECHO_SIZE = 8,
    MB_ICMP_ERROR_SIZE = 8 /* then the packet that the error is about */
};

enum {
    MB_ICMP_ECHO_REPLY = 0,
    MB_ICMP_UNREACHABLE = 3,
    MB_ICMP_SOURCE_QUENCH = 4,
    MB_ICMP_REDIRECT = 5,
    MB_ICMP_ECHO_REQUEST = 8,
    MB_ICMP_TIME_EXCEEDED = 11,
    MB_ICMP_PARAMETER_PROBLEM = 12,
    MB_ICMPV6_UNREACHABLE = 1,
    MB_ICMPV6_TOO_BIG = 2,
    MB_ICMPV6_PARAMETER_PROBLEM = 4,
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

static inline int mb_icmp_is_error(const uint8_t *message, uint8_t ip_version) {
    uint8_t type = message[MB_ICMP_TYPE];
    if (ip_version == 6)
        return type >= MB_ICMPV6_UNREACHABLE && type <= MB_ICMPV6_PARAMETER_PROBLEM;
    return type == MB_ICMP_UNREACHABLE || type == MB_ICMP_SOURCE_QUENCH ||
           type == MB_ICMP_REDIRECT || type == MB_ICMP_TIME_EXCEEDED ||
           type == MB_ICMP_PARAMETER_PROBLEM;
}

/* Errors only. */
static inline uint8_t mb_icmp_error_check(const uint8_t *message, uint32_t length) {
    (void)message;
    return length < MB_ICMP_ERROR_SIZE ? MB_REASON_ICMP_TRUNCATED : MB_REASON_NONE;
}

/* Errors only: the size that would have fit (RFC 1191 section 4, RFC 4443 section 3.2); 0: the
 * error speaks of something else. */
static inline uint32_t mb_icmp_mtu(const uint8_t *message, uint8_t ip_version) {
    enum { FRAGMENTATION_NEEDED = 4 };
    if (ip_version == 6)
        return message[MB_ICMP_TYPE] == MB_ICMPV6_TOO_BIG ? mb_read_32(message + 4) : 0;
    bool is_too_big = message[MB_ICMP_TYPE] == MB_ICMP_UNREACHABLE &&
                      message[MB_ICMP_CODE] == FRAGMENTATION_NEEDED;
    return is_too_big ? mb_read_16(message + 6) : 0;
}

#endif
