/*
 * TCP (RFC 9293) and its options.
 */
#ifndef MICROBOX_STACK_WIRE_TCP_H
#define MICROBOX_STACK_WIRE_TCP_H

#include "microbox/events/event_types.h"
#include "microbox/stack/wire/bytes.h"

enum {
    MB_TCP_SOURCE_PORT = 0,
    MB_TCP_DESTINATION_PORT = 2,
    MB_TCP_SEQUENCE = 4,
    MB_TCP_ACKNOWLEDGMENT = 8,
    MB_TCP_DATA_OFFSET = 12,
    MB_TCP_FLAGS = 13,
    MB_TCP_WINDOW = 14,
    MB_TCP_CHECKSUM = 16,
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
    MB_TCP_OPTION_WINDOW_SCALE = 3,
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

/* A segment says something (SYN, RST, ACK or FIN), and not two things that exclude each other. */
static inline uint8_t mb_tcp_flags_check(uint8_t flags) {
    if ((flags & (MB_TCP_SYN | MB_TCP_RST | MB_TCP_ACK | MB_TCP_FIN)) == 0)
        return MB_REASON_TCP_FLAGS;
    if (flags & MB_TCP_SYN && flags & (MB_TCP_FIN | MB_TCP_RST))
        return MB_REASON_TCP_FLAGS;
    return MB_REASON_NONE;
}

/* Walks `length` bytes of options. Sets *window_scale where offered (at most 14), else to
 * MB_TCP_WINDOW_SCALE_NONE. */
static inline uint8_t mb_tcp_options_check(const uint8_t *options, uint32_t length,
                                           uint8_t *window_scale) {
    *window_scale = MB_TCP_WINDOW_SCALE_NONE;
    uint32_t at = 0;
    while (at < length) {
        uint8_t kind = options[at];
        if (kind == MB_TCP_OPTION_END)
            return MB_REASON_NONE;
        if (kind == MB_TCP_OPTION_NOP) {
            at++;
            continue;
        }
        if (length - at < 2)
            return MB_REASON_TCP_OPTION_LENGTH;
        uint8_t size = options[at + 1];
        if (size < 2 || size > length - at)
            return MB_REASON_TCP_OPTION_LENGTH;
        if (kind == MB_TCP_OPTION_WINDOW_SCALE && size == 3) {
            uint8_t shift = options[at + 2];
            *window_scale = shift > MB_TCP_WINDOW_SCALE_MAX ? MB_TCP_WINDOW_SCALE_MAX : shift;
        }
        at += size;
    }
    return MB_REASON_NONE;
}

#endif
