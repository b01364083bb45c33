/*
 * Frames written byte by byte, and what the decoder says of them.
 */
#ifndef MICROBOX_TESTS_CORE_DECODE_FIXTURE_H
#define MICROBOX_TESTS_CORE_DECODE_FIXTURE_H

#include "tests/core/stack_fixture.h"

#include "microbox/stack/decode/decode.h"

#define ETHERNET(type_high, type_low) 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, type_high, type_low
#define IPV4(total, protocol)                                                                      \
    0x45, 0, 0, total, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2
#define IPV6(payload, next_header)                                                                 \
    0x60, 0, 0, 0, 0, payload, next_header, 63, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, \
        0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2
#define TCP(offset, flags)                                                                         \
    0x04, 0xd2, 0, 80, 0, 0, 0, 100, 0, 0, 0, 200, (offset) << 4, flags, 0x10, 0, 0, 0, 0, 0
#define UDP(length) 0x04, 0xd2, 0, 53, 0, length, 0, 0

static const struct mb_decoder decoder = {.key = {1, 2}, .tunnels_max = 4, .verifies = true};

/* The frame lies at the very end of its memory, so that the sanitizers see any read past it. */
static __attribute__((noinline, unused)) struct mb_decoded
decode_cut(const uint8_t *bytes, uint32_t length, uint32_t wire_length, uint32_t link_type) {
    struct mb_decoded decoded;
    uint8_t *copy = malloc(length != 0 ? length : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, length);
    struct mb_frame frame = {
        .length = length, .wire_length = wire_length, .link_type = link_type, .time = 7};
    mb_decode(&decoder, &decoded, &frame, copy, 1);
    assert_true(decoded.payload_offset + decoded.payload_captured <= length);
    assert_true(decoded.payload_captured <= decoded.payload_length);
    assert_true(decoded.network_offset + decoded.network_length <= length);
    free(copy);
    return decoded;
}

#define DECODE(...) DECODE_AS(1, __VA_ARGS__)
/* Static: hundreds of arrays on a function's stack would keep the sanitizers' compiler busy for a
 * minute. */
#define DECODE_AS(link_type, ...)                                                                  \
    ({                                                                                             \
        static const uint8_t bytes_of_frame[] = {__VA_ARGS__};                                     \
        decode_cut(bytes_of_frame, sizeof bytes_of_frame, sizeof bytes_of_frame, link_type);       \
    })

static __attribute__((noinline, unused)) void expect_malformed(struct mb_decoded decoded,
                                                               enum mb_reason reason) {
    assert_string_equal(mb_reason_name(decoded.reason), mb_reason_name(reason));
    assert_int_equal(decoded.type, MB_TYPE_PACKET_MALFORMED);
}

static __attribute__((noinline, unused)) void expect_type(struct mb_decoded decoded,
                                                          enum mb_event_type type) {
    assert_string_equal(mb_event_type_name(decoded.type), mb_event_type_name(type));
    assert_int_equal(decoded.reason, MB_REASON_NONE);
}

#endif
