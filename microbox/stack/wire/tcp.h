/*
 * TCP (RFC 9293) and its options.
 */
#ifndef MICROBOX_STACK_WIRE_TCP_H
#define MICROBOX_STACK_WIRE_TCP_H

#include "microbox/events/event_types.h"
#include "microbox/stack/wire/bytes.h"

#include <stdbool.h>

enum {
    MB_TCP_SOURCE_PORT = 0,
    MB_TCP_DESTINATION_PORT = 2,
    MB_TCP_SEQUENCE = 4,
    MB_TCP_ACKNOWLEDGMENT = 8,
    MB_TCP_DATA_OFFSET = 12,
    MB_TCP_FLAGS = 13,
    MB_TCP_WINDOW = 14,
    MB_TCP_CHECKSUM = 16,
    MB_TCP_URGENT_POINTER = 18,
    MB_TCP_SIZE_MIN = 20
};

enum mb_tcp_flag {
    MB_TCP_FIN = 0x01,
    MB_TCP_SYN = 0x02,
    MB_TCP_RST = 0x04,
    MB_TCP_PSH = 0x08,
    MB_TCP_ACK = 0x10,
    MB_TCP_URG = 0x20
};

enum {
    MB_TCP_OPTION_END = 0,
    MB_TCP_OPTION_NOP = 1,
    MB_TCP_OPTION_MAXIMUM_SEGMENT_SIZE = 2,
    MB_TCP_OPTION_WINDOW_SCALE = 3,
    MB_TCP_OPTION_SACK_PERMITTED = 4,
    MB_TCP_OPTION_SACK = 5,
    MB_TCP_OPTION_TIMESTAMP = 8,
    MB_TCP_OPTION_MD5 = 19,
    MB_TCP_OPTION_AUTHENTICATION = 29,
    MB_TCP_OPTION_FAST_OPEN = 34,
    MB_TCP_TIMESTAMP_SIZE = 10,
    MB_TCP_USUAL_OPTIONS = 0x0101080a,
    MB_TCP_WINDOW_SCALE_MAX = 14, /* RFC 7323 section 2.3 */
    MB_TCP_WINDOW_SCALE_NONE = 255
};

static inline uint32_t mb_tcp_header_length(const uint8_t *header) {
    return (header[MB_TCP_DATA_OFFSET] >> 4) * 4u;
}

/* `length`: bytes captured; `segment`: bytes that IP says there are. */
static inline uint8_t mb_tcp_check(const uint8_t *header, uint32_t length, uint32_t segment) {
    if (length < MB_TCP_SIZE_MIN)
        return MB_REASON_TCP_TRUNCATED;
    uint32_t header_length = mb_tcp_header_length(header);
    if (header_length < MB_TCP_SIZE_MIN || header_length > segment)
        return MB_REASON_TCP_DATA_OFFSET;
    return MB_REASON_NONE;
}

static inline uint16_t mb_tcp_source_port(const uint8_t *header) {
    return mb_read_16(header + MB_TCP_SOURCE_PORT);
}

static inline uint16_t mb_tcp_destination_port(const uint8_t *header) {
    return mb_read_16(header + MB_TCP_DESTINATION_PORT);
}

static inline uint32_t mb_tcp_sequence(const uint8_t *header) {
    return mb_read_32(header + MB_TCP_SEQUENCE);
}

static inline uint32_t mb_tcp_acknowledgment(const uint8_t *header) {
    return mb_read_32(header + MB_TCP_ACKNOWLEDGMENT);
}

static inline uint8_t mb_tcp_flags(const uint8_t *header) {
    return header[MB_TCP_FLAGS];
}

static inline uint16_t mb_tcp_window(const uint8_t *header) {
    return mb_read_16(header + MB_TCP_WINDOW);
}

static inline uint16_t mb_tcp_urgent_pointer(const uint8_t *header) {
    return mb_read_16(header + MB_TCP_URGENT_POINTER);
}

/* A segment says something (SYN, RST, ACK or FIN), and not two things that exclude each other. */
static inline uint8_t mb_tcp_flags_check(uint8_t flags) {
    if ((flags & (MB_TCP_SYN | MB_TCP_RST | MB_TCP_ACK | MB_TCP_FIN)) == 0)
        return MB_REASON_TCP_FLAGS;
    if (flags & MB_TCP_SYN && flags & (MB_TCP_FIN | MB_TCP_RST))
        return MB_REASON_TCP_FLAGS;
    return MB_REASON_NONE;
}

/* Options that a segment bears, well-formed. */
enum mb_tcp_option_seen {
    MB_TCP_HAS_WINDOW_SCALE = 1 << 0,
    MB_TCP_HAS_TIMESTAMP = 1 << 1,
    MB_TCP_HAS_SACK_PERMITTED = 1 << 2,
    MB_TCP_HAS_SACK = 1 << 3,
    MB_TCP_HAS_MAXIMUM_SEGMENT_SIZE = 1 << 4,
    MB_TCP_HAS_SIGNATURE = 1 << 5, /* MD5 (RFC 2385) or TCP-AO (RFC 5925) */
    MB_TCP_HAS_FAST_OPEN = 1 << 6  /* RFC 7413 */
};

/* All zero but `window_scale` where the segment has no options. */
struct mb_tcp_options {
    uint32_t timestamp_value;
    uint32_t timestamp_echo;
    uint8_t window_scale; /* at most 14; MB_TCP_WINDOW_SCALE_NONE: not offered */
    uint8_t seen;         /* enum mb_tcp_option_seen */
};

/* `option` is `size` bytes long, kind and length included. One of another size than its RFC says is
 * passed over, as receivers do. */
static inline void mb_tcp_option_read(const uint8_t *option, uint8_t size,
                                      struct mb_tcp_options *options) {
    switch (option[0]) {
    case MB_TCP_OPTION_MAXIMUM_SEGMENT_SIZE:
        options->seen |= size == 4 ? MB_TCP_HAS_MAXIMUM_SEGMENT_SIZE : 0;
        return;
    case MB_TCP_OPTION_WINDOW_SCALE:
        if (size != 3)
            return;
        options->seen |= MB_TCP_HAS_WINDOW_SCALE;
        options->window_scale =
            option[2] > MB_TCP_WINDOW_SCALE_MAX ? MB_TCP_WINDOW_SCALE_MAX : option[2];
        return;
    case MB_TCP_OPTION_SACK_PERMITTED:
        options->seen |= size == 2 ? MB_TCP_HAS_SACK_PERMITTED : 0;
        return;
    case MB_TCP_OPTION_SACK:
        options->seen |= size >= 10 && size % 8 == 2 ? MB_TCP_HAS_SACK : 0;
        return;
    case MB_TCP_OPTION_TIMESTAMP:
        if (size != MB_TCP_TIMESTAMP_SIZE)
            return;
        options->seen |= MB_TCP_HAS_TIMESTAMP;
        options->timestamp_value = mb_read_32(option + 2);
        options->timestamp_echo = mb_read_32(option + 6);
        return;
    case MB_TCP_OPTION_MD5:
        options->seen |= size == 18 ? MB_TCP_HAS_SIGNATURE : 0;
        return;
    case MB_TCP_OPTION_AUTHENTICATION:
        options->seen |= size >= 4 ? MB_TCP_HAS_SIGNATURE : 0;
        return;
    case MB_TCP_OPTION_FAST_OPEN:
        options->seen |= MB_TCP_HAS_FAST_OPEN;
        return;
    default:
        return;
    }
}

/* NOP, NOP, timestamp: what nearly all segments of a connection with timestamps bear (RFC 7323
 * appendix A), and nothing else. */
static inline bool mb_tcp_has_usual_options(const uint8_t *options, uint32_t length) {
    return length == 12 && mb_read_32(options) == MB_TCP_USUAL_OPTIONS;
}

/* Reads `length` bytes of options, up to the first that is broken: the reason says so. */
static inline uint8_t mb_tcp_options_read(const uint8_t *bytes, uint32_t length,
                                          struct mb_tcp_options *options) {
    *options = (struct mb_tcp_options){.window_scale = MB_TCP_WINDOW_SCALE_NONE};
    if (mb_tcp_has_usual_options(bytes, length)) {
        mb_tcp_option_read(bytes + 2, MB_TCP_TIMESTAMP_SIZE, options);
        return MB_REASON_NONE;
    }
    uint32_t at = 0;
    while (at < length) {
        uint8_t kind = bytes[at];
        if (kind == MB_TCP_OPTION_END)
            return MB_REASON_NONE;
        if (kind == MB_TCP_OPTION_NOP) {
            at++;
            continue;
        }
        if (length - at < 2)
            return MB_REASON_TCP_OPTION_LENGTH;
        uint8_t size = bytes[at + 1];
        if (size < 2 || size > length - at)
            return MB_REASON_TCP_OPTION_LENGTH;
        mb_tcp_option_read(bytes + at, size, options);
        at += size;
    }
    return MB_REASON_NONE;
}

#endif
