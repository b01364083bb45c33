/* RST segments that are made from a packet, read back by the decoder with checksums on. */
#include "microbox/stack/reset.h"

#include "microbox/events/event_types.h"
#include "microbox/stack/wire/bytes.h"
#include "microbox/stack/wire/link_types.h"
#include "microbox/stack/wire/tcp.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <string.h>

enum { SYN = MB_TCP_SYN, ACK = MB_TCP_ACK, RST = MB_TCP_RST, FIN = MB_TCP_FIN, PAYLOAD = 10 };

static const struct mb_decoder decoder = {.verifies = true};

#define ADDRESSES 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb
#define TAG(vlan) 0, vlan

/* A frame of a connection: a link header, IP, TCP, ten bytes. */
struct sample {
    uint8_t bytes[256];
    struct mb_frame frame;
    struct mb_decoded segment;
};

static void put(struct sample *sample, const void *bytes, uint32_t length) {
    memcpy(sample->bytes + sample->frame.length, bytes, length);
    sample->frame.length += length;
    sample->frame.wire_length = sample->frame.length;
}

static void put_ip(struct sample *sample, bool is_ipv6) {
    uint8_t ipv4[20] = {0x45, 0, 0, 20 + 20 + PAYLOAD, 0, 1, 0, 0, 57, 6, 0, 0, 10, 0, 0, 1, 10,
                        0,    0, 2};
    uint8_t ipv6[40] = {0x60, 0, 0, 0, 0, 20 + PAYLOAD, 6, 57, 0x20, 1};
    ipv6[23] = 1;
    ipv6[24] = 0x20;
    ipv6[39] = 2;
    put(sample, is_ipv6 ? ipv6 : ipv4, is_ipv6 ? sizeof ipv6 : sizeof ipv4);
}

static void put_tcp(struct sample *sample, uint8_t flags) {
    uint8_t tcp[20 + PAYLOAD] = {[1] = 80, [12] = 0x50, [13] = flags};
    mb_write_16(tcp, 1000);
    mb_write_16(tcp + 2, 80);
    mb_write_32(tcp + 4, 500);
    mb_write_32(tcp + 8, flags & ACK ? 700 : 0);
    put(sample, tcp, sizeof tcp);
}

static struct sample sample_of(const uint8_t *link, uint32_t length, uint32_t link_type,
                               bool is_ipv6, uint8_t flags) {
    struct sample sample = {.frame = {.link_type = link_type}};
    put(&sample, link, length);
    put_ip(&sample, is_ipv6);
    put_tcp(&sample, flags);
    return sample;
}

static void decode(struct sample *sample) {
    mb_decode(&(struct mb_decoder){0}, &sample->segment, &sample->frame, sample->bytes, 1);
}

/* The RST as its receiver reads it; its bytes are in `frame`. */
static struct mb_decoded made(const struct sample *sample, bool goes_back,
                              struct mb_reset_numbers numbers, uint8_t *frame) {
    struct mb_decoded reset;
    assert_true(mb_reset_is_possible(&sample->segment, sample->frame.link_type));
    const uint32_t length =
        mb_reset_make(frame, &sample->segment, sample->frame.link_type, goes_back, numbers);
    const struct mb_frame whole = {
        .length = length, .wire_length = length, .link_type = sample->frame.link_type};
    mb_decode(&decoder, &reset, &whole, frame, 1);
    assert_int_equal(reset.reason, MB_REASON_NONE);
    assert_int_equal(reset.bad_checksum, MB_REASON_NONE);
    assert_false(reset.checksum_is_partial);
    assert_int_equal(reset.transport, MB_TRANSPORT_TCP);
    assert_int_equal(reset.payload_length, 0);
    assert_true(reset.tcp_flags & RST);
    return reset;
}

static void assert_ends(const struct mb_decoded *reset, const struct mb_decoded *segment,
                        bool goes_back) {
    const struct mb_five_tuple *one = &segment->tuple;
    const struct mb_five_tuple *other = &reset->tuple;
    assert_memory_equal(other->source, goes_back ? one->destination : one->source, 16);
    assert_memory_equal(other->destination, goes_back ? one->source : one->destination, 16);
    assert_int_equal(other->source_port, goes_back ? 80 : 1000);
    assert_int_equal(other->destination_port, goes_back ? 1000 : 80);
    assert_int_equal(other->ip_version, one->ip_version);
    assert_int_equal(other->vlan, one->vlan);
}

/* Link headers that are kept, each before IPv4 and IPv6. */
static const struct {
    uint32_t link_type;
    uint32_t length;
    uint8_t bytes[2][24]; /* of IPv4, of IPv6 */
} links[] = {
    {MB_LINK_ETHERNET, 14, {{ADDRESSES, 8, 0}, {ADDRESSES, 0x86, 0xdd}}},
    {MB_LINK_ETHERNET,
     18,
     {{ADDRESSES, 0x81, 0, TAG(7), 8, 0}, {ADDRESSES, 0x81, 0, TAG(7), 0x86, 0xdd}}},
    {MB_LINK_ETHERNET,
     22,
     {{ADDRESSES, 0x88, 0xa8, TAG(9), 0x81, 0, TAG(7), 8, 0},
      {ADDRESSES, 0x88, 0xa8, TAG(9), 0x81, 0, TAG(7), 0x86, 0xdd}}},
    {MB_LINK_RAW, 0, {{0}, {0}}},
    {MB_LINK_LINUX_COOKED, 16, {{[14] = 8}, {[14] = 0x86, [15] = 0xdd}}},
};

static void a_reset_is_a_segment_of_the_connection_on_every_link(void **state) {
    (void)state;
    const struct mb_reset_numbers numbers = {1234, 5678, true};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        for (unsigned is_ipv6 = 0; is_ipv6 < 2; is_ipv6++) {
            struct sample sample = sample_of(links[i].bytes[is_ipv6], links[i].length,
                                             links[i].link_type, is_ipv6, ACK);
            decode(&sample);
            for (unsigned goes_back = 0; goes_back < 2; goes_back++) {
                uint8_t frame[MB_RESET_FRAME_MAX];
                const struct mb_decoded reset = made(&sample, goes_back, numbers, frame);
                assert_ends(&reset, &sample.segment, goes_back);
                assert_int_equal(reset.sequence_number, 1234);
                assert_int_equal(reset.acknowledgment_number, 5678);
                assert_int_equal(reset.tcp_flags, RST | ACK);
            }
        }
    }
}

static void the_addresses_of_the_link_change_places_on_the_way_back(void **state) {
    (void)state;
    struct sample sample = sample_of(links[2].bytes[0], links[2].length, MB_LINK_ETHERNET, 0, ACK);
    decode(&sample);
    uint8_t frame[MB_RESET_FRAME_MAX];
    made(&sample, false, (struct mb_reset_numbers){0}, frame);
    assert_memory_equal(frame, sample.bytes, 22);
    made(&sample, true, (struct mb_reset_numbers){0}, frame);
    assert_memory_equal(frame, sample.bytes + 6, 6);
    assert_memory_equal(frame + 6, sample.bytes, 6);
    assert_memory_equal(frame + 12, sample.bytes + 12, 10);
}

/* PPPoE says how long it is. */
static void no_reset_is_made_where_the_link_header_cannot_stay(void **state) {
    (void)state;
    static const uint8_t pppoe[] = {ADDRESSES, 0x88, 0x64, 0x11, 0, 0, 1, 0, 52, 0, 0x21};
    struct sample sample = sample_of(pppoe, sizeof pppoe, MB_LINK_ETHERNET, false, ACK);
    decode(&sample);
    assert_int_equal(sample.segment.transport, MB_TRANSPORT_TCP);
    assert_false(mb_reset_is_possible(&sample.segment, MB_LINK_ETHERNET));
}

static struct mb_decoded segment_with(uint8_t flags) {
    static struct sample sample;
    sample = sample_of(links[3].bytes[0], 0, MB_LINK_RAW, false, flags);
    decode(&sample);
    return sample.segment;
}

static void assert_numbers(struct mb_reset_numbers numbers, uint32_t sequence, bool acknowledges,
                           uint32_t acknowledgment) {
    assert_int_equal(numbers.sequence_number, sequence);
    assert_int_equal(numbers.acknowledges, acknowledges);
    assert_int_equal(numbers.acknowledgment_number, acknowledgment);
}

/* The segment has bytes 500 to 509, and acknowledges up to 700. */
static void the_receiver_waits_for_what_was_sent_before_the_segment(void **state) {
    (void)state;
    const struct mb_decoded segment = segment_with(ACK);
    const uint32_t sent = 505; /* a retransmission with five new bytes */
    const uint32_t answered = 720;
    assert_numbers(mb_reset_onwards(&segment, &sent, &answered), 505, true, 700);
    assert_numbers(mb_reset_onwards(&segment, NULL, NULL), 500, true, 700);
}

static void the_sender_waits_for_what_was_answered(void **state) {
    (void)state;
    const struct mb_decoded segment = segment_with(ACK | FIN);
    const uint32_t answered = 720; /* under way when the segment was sent */
    assert_numbers(mb_reset_back(&segment, &answered), 720, false, 0);
    assert_numbers(mb_reset_back(&segment, NULL), 700, false, 0);
}

/* RFC 9293 section 3.10.7.1: sequence number 0, and the SYN is acknowledged. */
static void a_syn_is_answered_as_by_a_closed_port(void **state) {
    (void)state;
    const struct mb_decoded segment = segment_with(SYN);
    assert_numbers(mb_reset_back(&segment, NULL), 0, true, 511);
    assert_numbers(mb_reset_onwards(&segment, NULL, NULL), 500, false, 0);
}

/* Section 3.10.7.3: who has sent a SYN believes a RST that acknowledges it. */
static void who_has_sent_a_syn_is_told_that_it_came(void **state) {
    (void)state;
    const struct mb_decoded segment = segment_with(SYN | ACK);
    const uint32_t answered = 700;
    assert_numbers(mb_reset_onwards(&segment, NULL, &answered), 500, true, 700);
    assert_numbers(mb_reset_back(&segment, &answered), 700, false, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reset_is_a_segment_of_the_connection_on_every_link),
        cmocka_unit_test(the_addresses_of_the_link_change_places_on_the_way_back),
        cmocka_unit_test(no_reset_is_made_where_the_link_header_cannot_stay),
        cmocka_unit_test(the_receiver_waits_for_what_was_sent_before_the_segment),
        cmocka_unit_test(the_sender_waits_for_what_was_answered),
        cmocka_unit_test(a_syn_is_answered_as_by_a_closed_port),
        cmocka_unit_test(who_has_sent_a_syn_is_told_that_it_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
