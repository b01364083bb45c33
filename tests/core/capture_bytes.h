/*
 * Builds captures byte by byte, in either byte order, for tests.
 */
#ifndef MICROBOX_TESTS_CAPTURE_BYTES_H
#define MICROBOX_TESTS_CAPTURE_BYTES_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct capture_bytes {
    uint8_t bytes[262144];
    size_t length;
    bool swapped; /* numbers are appended in the other byte order */
};

static inline void append(struct capture_bytes *capture, const void *bytes, size_t length) {
    assert(capture->length + length <= sizeof capture->bytes);
    memcpy(capture->bytes + capture->length, bytes, length);
    capture->length += length;
}

static inline void append16(struct capture_bytes *capture, uint16_t value) {
    value = capture->swapped ? __builtin_bswap16(value) : value;
    append(capture, &value, sizeof value);
}

static inline void append32(struct capture_bytes *capture, uint32_t value) {
    value = capture->swapped ? __builtin_bswap32(value) : value;
    append(capture, &value, sizeof value);
}

static inline void append64(struct capture_bytes *capture, uint64_t value) {
    value = capture->swapped ? __builtin_bswap64(value) : value;
    append(capture, &value, sizeof value);
}

/* Bytes that tell where they belong: first, first + 1, ... */
static inline void append_pattern(struct capture_bytes *capture, uint8_t first, size_t length) {
    for (size_t i = 0; i < length; i++)
        append(capture, &(uint8_t){(uint8_t)(first + i)}, 1);
}

static inline void append_zeros(struct capture_bytes *capture, size_t length) {
    for (size_t i = 0; i < length; i++)
        append(capture, &(uint8_t){0}, 1);
}

/* A file that holds the capture; the caller closes it. */
static inline int capture_file(const struct capture_bytes *capture) {
    const int fd = memfd_create("capture", MFD_CLOEXEC);
    assert(fd >= 0);
    assert(write(fd, capture->bytes, capture->length) == (ssize_t)capture->length);
    return fd;
}

static inline void append_pcap_header(struct capture_bytes *capture, uint32_t magic,
                                      uint32_t snap_length, uint32_t link_type) {
    append32(capture, magic);
    append16(capture, 2);
    append16(capture, 4);
    append64(capture, 0);
    append32(capture, snap_length);
    append32(capture, link_type);
}

static inline void append_pcap_record(struct capture_bytes *capture, uint32_t seconds,
                                      uint32_t fraction, uint32_t length, uint32_t wire_length) {
    append32(capture, seconds);
    append32(capture, fraction);
    append32(capture, length);
    append32(capture, wire_length);
}

/* Blocks of pcapng: begin, append the body, end. `start` is what begin returned. */
static inline size_t begin_block(struct capture_bytes *capture, uint32_t type) {
    const size_t start = capture->length;
    append32(capture, type);
    append32(capture, 0);
    return start;
}

static inline void end_block(struct capture_bytes *capture, size_t start) {
    append_zeros(capture, (4 - capture->length % 4) % 4);
    const uint32_t length = (uint32_t)(capture->length - start + 4);
    append32(capture, length);
    memcpy(capture->bytes + start + 4, capture->bytes + capture->length - 4, 4);
}

static inline void append_section(struct capture_bytes *capture) {
    const size_t start = begin_block(capture, 0x0a0d0d0a);
    append32(capture, 0x1a2b3c4d);
    append16(capture, 1);
    append16(capture, 0);
    append64(capture, UINT64_MAX);
    end_block(capture, start);
}

static inline void append_interface(struct capture_bytes *capture, uint16_t link_type,
                                    uint32_t snap_length) {
    const size_t start = begin_block(capture, 1);
    append16(capture, link_type);
    append16(capture, 0);
    append32(capture, snap_length);
    end_block(capture, start);
}

/* An interface with a clock of its own (if_tsresol, if_tsoffset). */
static inline void append_interface_with_clock(struct capture_bytes *capture, uint16_t link_type,
                                               uint8_t resolution, int64_t offset) {
    const size_t start = begin_block(capture, 1);
    append16(capture, link_type);
    append16(capture, 0);
    append32(capture, 0);
    append16(capture, 2); /* if_name, to be passed over */
    append16(capture, 3);
    append(capture, "eth", 4);
    append16(capture, 9);
    append16(capture, 1);
    append(capture, &resolution, 1);
    append_zeros(capture, 3);
    append16(capture, 14);
    append16(capture, 8);
    append64(capture, (uint64_t)offset);
    append32(capture, 0);
    end_block(capture, start);
}

static inline void append_enhanced_packet(struct capture_bytes *capture, uint32_t interface,
                                          uint64_t time, uint32_t length, uint32_t wire_length) {
    const size_t start = begin_block(capture, 6);
    append32(capture, interface);
    append32(capture, (uint32_t)(time >> 32));
    append32(capture, (uint32_t)time);
    append32(capture, length);
    append32(capture, wire_length);
    append_pattern(capture, 0x40, length);
    end_block(capture, start);
}

#endif
