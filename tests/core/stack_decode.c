/*
 * Frames as they are on the wire, and what the decoder says of them.
 */
#include "tests/core/stack_fixture.h"

#include "microbox/stack/decode.h"

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
static struct mb_decoded decode_cut(const uint8_t *bytes, uint32_t length, uint32_t wire_length,
                                    uint32_t link_type) {
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
#define DECODE_AS(link_type, ...)                                                                  \
    decode_cut((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}),             \
               sizeof((const uint8_t[]){__VA_ARGS__}), link_type)

static void expect_malformed(struct mb_decoded decoded, enum mb_reason reason) {
    assert_string_equal(mb_reason_name(decoded.reason), mb_reason_name(reason));
    assert_int_equal(decoded.type, MB_TYPE_PACKET_MALFORMED);
}

static void expect_type(struct mb_decoded decoded, enum mb_event_type type) {
    assert_string_equal(mb_event_type_name(decoded.type), mb_event_type_name(type));
    assert_int_equal(decoded.reason, MB_REASON_NONE);
}

static void a_tcp_segment(void **state) {
    (void)state;
    struct mb_decoded it = DECODE(ETHERNET(8, 0), IPV4(43, 6), TCP(5, ACK | PSH), 'a', 'b', 'c');
    expect_type(it, MB_TYPE_PACKET_IP_TCP);
    assert_int_equal(it.transport, MB_TRANSPORT_TCP);
    assert_int_equal(it.tuple.source_port, 1234);
    assert_int_equal(it.tuple.destination_port, 80);
    assert_int_equal(it.tuple.protocol, 6);
    assert_int_equal(it.tuple.ip_version, 4);
    const uint8_t source[16] = {[10] = 0xff, 0xff, 10, 0, 0, 1};
    assert_memory_equal(it.tuple.source, source, 16);
    assert_int_equal(it.sequence_number, 100);
    assert_int_equal(it.acknowledgment_number, 200);
    assert_int_equal(it.window, 4096);
    assert_int_equal(it.ttl, 64);
    assert_int_equal(it.network_offset, 14);
    assert_int_equal(it.transport_offset, 34);
    assert_int_equal(it.payload_offset, 54);
    assert_int_equal(it.payload_length, 3);
    assert_int_equal(it.payload_captured, 3);
}

static void padding_is_no_payload(void **state) {
    (void)state;
    struct mb_decoded it = DECODE(ETHERNET(8, 0), IPV4(40, 6), TCP(5, ACK), 0, 0, 0, 0, 0, 0);
    expect_type(it, MB_TYPE_PACKET_IP_TCP);
    assert_int_equal(it.payload_length, 0);
}

static void total_length_zero_means_the_rest(void **state) {
    (void)state;
    struct mb_decoded it = DECODE(ETHERNET(8, 0), IPV4(0, 6), TCP(5, ACK), 'a', 'b');
    assert_int_equal(it.payload_length, 2);
}

static void a_snap_length_cuts_the_payload(void **state) {
    (void)state;
    const uint8_t bytes[] = {ETHERNET(8, 0), IPV4(140, 6), TCP(5, ACK), 'a', 'b'};
    struct mb_decoded it = decode_cut(bytes, sizeof bytes, 154, 1);
    assert_int_equal(it.type, MB_TYPE_PACKET_IP_TCP);
    assert_int_equal(it.reason, MB_REASON_PAYLOAD_CUT);
    assert_int_equal(it.payload_length, 100);
    assert_int_equal(it.payload_captured, 2);
}

static void tcp_options_give_the_window_scale(void **state) {
    (void)state;
    struct mb_decoded it =
        DECODE(ETHERNET(8, 0), IPV4(48, 6), TCP(7, SYN), 2, 4, 5, 0xb4, 1, 3, 3, 7);
    expect_type(it, MB_TYPE_PACKET_IP_TCP);
    assert_int_equal(it.window_scale, 7);
}

static void udp_and_icmp(void **state) {
    (void)state;
    struct mb_decoded it = DECODE(ETHERNET(8, 0), IPV4(30, 17), UDP(10), 'h', 'i', 0, 0);
    expect_type(it, MB_TYPE_PACKET_IP_UDP);
    assert_int_equal(it.payload_length, 2);
    it = DECODE(ETHERNET(8, 0), IPV4(30, 1), 8, 0, 0, 0, 0x12, 0x34, 0, 5, 'h', 'i');
    expect_type(it, MB_TYPE_PACKET_IP_ICMP);
    assert_int_equal(it.icmp_type, 8);
    assert_int_equal(it.icmp_sequence_number, 5);
    assert_int_equal(it.tuple.source_port, 0x1234);
    assert_int_equal(it.tuple.destination_port, 0x1234);
    it = DECODE(ETHERNET(8, 0), IPV4(28, 1), 3, 1, 0, 0, 0, 0, 0, 0);
    assert_int_equal(it.tuple.source_port, 0);
}

static void ipv6_extension_headers_are_walked(void **state) {
    (void)state;
    struct mb_decoded it =
        DECODE(ETHERNET(0x86, 0xdd), IPV6(37, 0), 43, 0, 0, 0, 0, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0,
               17, 0, 0, 0, 0, 0, 0, 0, UDP(13), 'h', 'e', 'l', 'l', 'o');
    expect_type(it, MB_TYPE_PACKET_IP_UDP);
    assert_int_equal(it.payload_length, 5);
    assert_int_equal(it.tuple.ip_version, 6);
    assert_int_equal(it.tuple.source[0], 0xfd);
    assert_int_equal(it.ttl, 63);
}

static void fragments_are_told_apart(void **state) {
    (void)state;
    uint8_t later[] = {ETHERNET(8, 0), IPV4(24, 6), 1, 2, 3, 4};
    later[14 + 7] = 9;
    struct mb_decoded it = decode_cut(later, sizeof later, sizeof later, 1);
    assert_int_equal(it.type, MB_TYPE_PACKET_IP_FRAGMENT);
    assert_int_equal(it.reason, MB_REASON_FRAGMENT_IGNORED);
    assert_int_equal(it.transport, MB_TRANSPORT_NONE);
    uint8_t first[] = {ETHERNET(8, 0), IPV4(30, 17), UDP(100), 'a', 'b'};
    first[14 + 6] = 0x20;
    it = decode_cut(first, sizeof first, sizeof first, 1);
    expect_type(it, MB_TYPE_PACKET_IP_UDP);
    assert_true(it.is_fragment);
    assert_int_equal(it.payload_length, 2);
    it = DECODE(ETHERNET(0x86, 0xdd), IPV6(12, 44), 17, 0, 0, 9, 0, 0, 0, 1, 1, 2, 3, 4);
    assert_int_equal(it.type, MB_TYPE_PACKET_IP_FRAGMENT);
}

static void link_types(void **state) {
    (void)state;
    expect_type(DECODE_AS(101, IPV4(28, 17), UDP(8)), MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE_AS(12, IPV6(8, 17), UDP(8)), MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE_AS(14, IPV4(28, 17), UDP(8)), MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE_AS(228, IPV4(28, 17), UDP(8)), MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE_AS(229, IPV6(8, 17), UDP(8)), MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE_AS(0, 2, 0, 0, 0, IPV4(28, 17), UDP(8)), MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE_AS(0, 0, 0, 0, 2, IPV4(28, 17), UDP(8)), MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE_AS(108, 0, 0, 0, 30, IPV6(8, 17), UDP(8)), MB_TYPE_PACKET_IP_UDP);
    expect_type(
        DECODE_AS(113, 0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0, IPV4(28, 17), UDP(8)),
        MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE_AS(276, 8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0,
                          IPV4(28, 17), UDP(8)),
                MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE_AS(9, 0xff, 3, 0, 0x21, IPV4(28, 17), UDP(8)), MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE_AS(10, 0x50, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0xaa, 0xaa, 3, 0, 0, 0, 8,
                          0, IPV4(28, 17), UDP(8)),
                MB_TYPE_PACKET_IP_UDP);
    expect_type(
        DECODE_AS(239, 2, 0, 0, 0, 8, 0, 1, 0, 1, 2, 3, 4, 32, 0, 9, 0, IPV4(28, 17), UDP(8)),
        MB_TYPE_PACKET_IP_UDP);
    struct mb_decoded it = DECODE_AS(147, 1, 2, 3);
    assert_int_equal(it.type, MB_TYPE_PACKET);
    assert_int_equal(it.reason, MB_REASON_LINK_TYPE_UNKNOWN);
}

static void what_is_between_link_and_network(void **state) {
    (void)state;
    struct mb_decoded it =
        DECODE(ETHERNET(0x88, 0xa8), 0x20, 100, 0x81, 0, 0, 7, 8, 0, IPV4(28, 17), UDP(8));
    expect_type(it, MB_TYPE_PACKET_IP_UDP);
    assert_int_equal(it.tuple.vlan, 100);
    expect_type(DECODE(ETHERNET(0x88, 0x47), 0, 1, 0, 64, 0, 2, 1, 64, IPV4(28, 17), UDP(8)),
                MB_TYPE_PACKET_IP_UDP);
    it = DECODE(ETHERNET(0x88, 0x64), 0x11, 0, 0, 1, 0, 30, 0, 0x21, IPV4(34, 17), UDP(8), 1, 2, 3,
                4, 5, 6);
    expect_type(it, MB_TYPE_PACKET_IP_UDP);
    assert_int_equal(it.payload_length, 0); /* PPPoE's length bounds what IP says */
    it = DECODE(ETHERNET(8, 0), IPV4(68, 41), IPV6(8, 17), UDP(8));
    expect_type(it, MB_TYPE_PACKET_IP_UDP);
    assert_int_equal(it.tuple.ip_version, 6);
    assert_int_equal(it.depth, 1);
    expect_type(DECODE(ETHERNET(0, 36), 0xaa, 0xaa, 3, 0, 0, 0, 8, 0, IPV4(28, 17), UDP(8)),
                MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE(ETHERNET(8, 6), 0, 1, 8, 0, 6, 4, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2,
                       3, 4, 5, 6, 7, 8, 9, 10),
                MB_TYPE_PACKET_ARP);
    expect_type(DECODE(ETHERNET(0x88, 0xcc), 1, 2, 3), MB_TYPE_PACKET);
}

/* A UDP datagram of ten bytes, in an Ethernet frame. */
#define INNER_IP                            IPV4(30, 17), UDP(10), 'h', 'i'
#define TUNNEL(port_high, port_low, length) 0x04, 0xd2, port_high, port_low, 0, length, 0, 0

static void expect_inner(struct mb_decoded it) {
    expect_type(it, MB_TYPE_PACKET_IP_UDP);
    assert_int_equal(it.tuple.destination_port, 53);
    assert_int_equal(it.payload_length, 2);
    assert_int_equal(it.depth, 1);
}

static void tunnels_are_entered(void **state) {
    (void)state;
    expect_inner(DECODE(ETHERNET(8, 0), IPV4(50, 4), INNER_IP));
    expect_inner(DECODE(ETHERNET(8, 0), IPV4(54, 47), 0, 0, 8, 0, INNER_IP));
    expect_inner(DECODE(ETHERNET(8, 0), IPV4(58, 47), 0x20, 0, 8, 0, 0, 0, 0, 7, INNER_IP));
    expect_inner(DECODE(ETHERNET(8, 0), IPV4(68, 47), 0, 0, 0x65, 0x58, ETHERNET(8, 0), INNER_IP));
    expect_inner(DECODE(ETHERNET(8, 0), IPV4(68, 47), 0, 0, 0x88, 0xbe, ETHERNET(8, 0), INNER_IP));
    expect_inner(DECODE(ETHERNET(8, 0), IPV4(80, 47), 0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0,
                        0, 0, 0, 0, 0, ETHERNET(8, 0), INNER_IP));
    expect_inner(DECODE(ETHERNET(8, 0), IPV4(62, 47), 0x20, 1, 0x88, 0x0b, 0, 34, 0, 1, 0xff, 3, 0,
                        0x21, INNER_IP));
    expect_inner(DECODE(ETHERNET(8, 0), IPV4(80, 17), TUNNEL(0x12, 0xb5, 60), 8, 0, 0, 0, 0, 0, 1,
                        0, ETHERNET(8, 0), INNER_IP));
    expect_inner(DECODE(ETHERNET(8, 0), IPV4(84, 17), TUNNEL(0x17, 0xc1, 64), 1, 0, 0x65, 0x58, 0,
                        0, 1, 0, 1, 2, 3, 4, ETHERNET(8, 0), INNER_IP));
    expect_inner(DECODE(ETHERNET(8, 0), IPV4(66, 17), TUNNEL(0x08, 0x68, 46), 0x30, 0xff, 0, 30, 0,
                        0, 0, 1, INNER_IP));
    expect_inner(DECODE(ETHERNET(8, 0), IPV4(74, 17), TUNNEL(0x08, 0x68, 54), 0x34, 0xff, 0, 38, 0,
                        0, 0, 1, 0, 0, 0, 0x85, 1, 0, 9, 0, INNER_IP));
}

static void what_only_looks_like_a_tunnel_stays_a_datagram(void **state) {
    (void)state;
    struct mb_decoded it = DECODE(ETHERNET(8, 0), IPV4(36, 17), TUNNEL(0x12, 0xb5, 16), 'n', 'o',
                                  't', ' ', 'o', 'n', 'e', '!');
    expect_type(it, MB_TYPE_PACKET_IP_UDP);
    assert_int_equal(it.depth, 0);
    assert_int_equal(it.payload_length, 8);
    it = DECODE(ETHERNET(8, 0), IPV4(28, 47), 0x40, 0, 8, 0, 1, 2, 3, 4);
    assert_int_equal(it.type, MB_TYPE_PACKET_IP);
    assert_int_equal(it.transport, MB_TRANSPORT_OTHER);
}

static void malformed_packets_have_their_reason(void **state) {
    (void)state;
    expect_malformed(DECODE(1, 2, 3), MB_REASON_FRAME_TRUNCATED);
    expect_malformed(DECODE(ETHERNET(0x81, 0), 0, 1, 8), MB_REASON_VLAN_TRUNCATED);
    expect_malformed(DECODE(ETHERNET(0x81, 0), 0, 1, 0x81, 0, 0, 1, 0x81, 0, 0, 1, 0x81, 0, 0, 1,
                            0x81, 0, 0, 1, 0x81, 0, 0, 1, 0x81, 0, 0, 1, 0x81, 0, 0, 1, 0x81, 0, 0,
                            1, 0x81, 0, 0, 1, 8, 0),
                     MB_REASON_VLAN_TOO_DEEP);
    expect_malformed(DECODE(ETHERNET(8, 6), 0, 1, 8, 0, 6, 4, 0), MB_REASON_ARP_TRUNCATED);
    expect_malformed(DECODE(ETHERNET(8, 6), 0, 1, 8, 0, 255, 255, 0, 1, 1, 2),
                     MB_REASON_ARP_TRUNCATED);
    expect_malformed(DECODE(ETHERNET(8, 0), 0x45, 0), MB_REASON_IPV4_TRUNCATED);
    expect_malformed(DECODE(ETHERNET(8, 0), IPV6(8, 17), UDP(8)), MB_REASON_IPV4_VERSION);
    uint8_t ip[] = {ETHERNET(8, 0), IPV4(28, 17), UDP(8)};
    ip[14] = 0x44;
    expect_malformed(decode_cut(ip, sizeof ip, sizeof ip, 1), MB_REASON_IPV4_HEADER_LENGTH);
    ip[14] = 0x4f;
    ip[17] = 80;
    expect_malformed(decode_cut(ip, sizeof ip, sizeof ip, 1), MB_REASON_IPV4_HEADER_LENGTH);
    expect_malformed(DECODE(ETHERNET(8, 0), IPV4(19, 17), UDP(8)), MB_REASON_IPV4_TOTAL_LENGTH);
    expect_malformed(DECODE(ETHERNET(0x86, 0xdd), 0x60, 0), MB_REASON_IPV6_TRUNCATED);
    expect_malformed(
        DECODE(ETHERNET(0x86, 0xdd), IPV4(28, 17), UDP(8), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        MB_REASON_IPV6_VERSION);
    expect_malformed(DECODE(ETHERNET(0x86, 0xdd), IPV6(8, 0), 17, 5, 0, 0, 0, 0, 0, 0),
                     MB_REASON_IPV6_EXTENSION_TRUNCATED);
    expect_malformed(DECODE(ETHERNET(8, 0), IPV4(30, 6), 4, 0xd2, 0, 80, 0, 0, 0, 100, 0, 0),
                     MB_REASON_TCP_TRUNCATED);
    expect_malformed(DECODE(ETHERNET(8, 0), IPV4(40, 6), TCP(4, ACK)), MB_REASON_TCP_DATA_OFFSET);
    expect_malformed(DECODE(ETHERNET(8, 0), IPV4(40, 6), TCP(6, ACK)), MB_REASON_TCP_DATA_OFFSET);
    expect_malformed(DECODE(ETHERNET(8, 0), IPV4(40, 6), TCP(5, 0)), MB_REASON_TCP_FLAGS);
    expect_malformed(DECODE(ETHERNET(8, 0), IPV4(40, 6), TCP(5, SYN | FIN)), MB_REASON_TCP_FLAGS);
    expect_malformed(DECODE(ETHERNET(8, 0), IPV4(40, 6), TCP(5, SYN | RST)), MB_REASON_TCP_FLAGS);
    expect_malformed(DECODE(ETHERNET(8, 0), IPV4(25, 17), 4, 0xd2, 0, 53, 0),
                     MB_REASON_UDP_TRUNCATED);
    expect_malformed(DECODE(ETHERNET(8, 0), IPV4(28, 17), UDP(7)), MB_REASON_UDP_LENGTH);
    expect_malformed(DECODE(ETHERNET(8, 0), IPV4(28, 17), UDP(9)), MB_REASON_UDP_LENGTH);
    expect_malformed(DECODE(ETHERNET(8, 0), IPV4(22, 1), 8, 0), MB_REASON_ICMP_TRUNCATED);
    expect_malformed(DECODE(ETHERNET(8, 0), IPV4(26, 1), 8, 0, 0, 0, 1, 1),
                     MB_REASON_ICMP_TRUNCATED);
}

static void a_segment_with_broken_options_still_belongs_to_its_flow(void **state) {
    (void)state;
    struct mb_decoded it = DECODE(ETHERNET(8, 0), IPV4(46, 6), TCP(6, ACK), 3, 0, 0, 0, 'o', 'k');
    expect_malformed(it, MB_REASON_TCP_OPTION_LENGTH);
    assert_int_equal(it.transport, MB_TRANSPORT_TCP);
    assert_int_equal(it.payload_length, 2);
}

static void too_many_extension_headers(void **state) {
    (void)state;
    uint8_t bytes[14 + 40 + 11 * 8 + 8] = {ETHERNET(0x86, 0xdd), IPV6(96, 60)};
    for (unsigned i = 0; i < 11; i++)
        bytes[54 + 8 * i] = i < 10 ? 60 : 17;
    expect_malformed(decode_cut(bytes, sizeof bytes, sizeof bytes, 1),
                     MB_REASON_IPV6_TOO_MANY_EXTENSIONS);
}

/* Every prefix of a frame, as if it were all, and as if a snap length had cut it there. */
static void no_prefix_is_read_past_its_end(void **state) {
    (void)state;
    const uint8_t tcp[] = {ETHERNET(0x88, 0xa8),
                           0,
                           1,
                           0x81,
                           0,
                           0,
                           7,
                           8,
                           0,
                           IPV4(51, 6),
                           TCP(7, SYN),
                           2,
                           4,
                           5,
                           0,
                           1,
                           3,
                           3,
                           7,
                           'a',
                           'b',
                           'c'};
    const uint8_t udp[] = {ETHERNET(0x86, 0xdd),
                           IPV6(29, 0),
                           44,
                           0,
                           0,
                           0,
                           0,
                           0,
                           0,
                           0,
                           17,
                           0,
                           0,
                           1,
                           0,
                           0,
                           0,
                           1,
                           UDP(13),
                           'h',
                           'e',
                           'l',
                           'l',
                           'o'};
    const uint8_t geneve[] = {ETHERNET(8, 0),
                              IPV4(84, 17),
                              TUNNEL(0x17, 0xc1, 64),
                              1,
                              0,
                              0x65,
                              0x58,
                              0,
                              0,
                              1,
                              0,
                              1,
                              2,
                              3,
                              4,
                              ETHERNET(8, 0),
                              INNER_IP};
    const uint8_t gre[] = {ETHERNET(8, 0),
                           IPV4(80, 47),
                           0x10,
                           0,
                           0x22,
                           0xeb,
                           0,
                           0,
                           0,
                           1,
                           0x20,
                           0,
                           0,
                           0,
                           0,
                           0,
                           0,
                           0,
                           0,
                           0,
                           0,
                           0,
                           ETHERNET(8, 0),
                           INNER_IP};
    const uint8_t gtp[] = {ETHERNET(8, 0),
                           IPV4(74, 17),
                           TUNNEL(0x08, 0x68, 54),
                           0x34,
                           0xff,
                           0,
                           38,
                           0,
                           0,
                           0,
                           1,
                           0,
                           0,
                           0,
                           0x85,
                           1,
                           0,
                           9,
                           0,
                           INNER_IP};
    for (uint32_t length = 0; length <= sizeof geneve; length++)
        decode_cut(geneve, length, length, 1);
    for (uint32_t length = 0; length <= sizeof gre; length++)
        decode_cut(gre, length, length, 1);
    for (uint32_t length = 0; length <= sizeof gtp; length++)
        decode_cut(gtp, length, length, 1);
    static const uint32_t links[] = {0, 1, 9, 10, 12, 14, 101, 108, 113, 228, 229, 239, 276, 999};
    for (unsigned link = 0; link < sizeof links / sizeof *links; link++) {
        for (uint32_t length = 0; length <= sizeof tcp; length++) {
            decode_cut(tcp, length, length, links[link]);
            decode_cut(tcp, length, sizeof tcp, links[link]);
        }
        for (uint32_t length = 0; length <= sizeof udp; length++) {
            decode_cut(udp, length, length, links[link]);
            decode_cut(udp, length, sizeof udp, links[link]);
        }
    }
}

/* Netfilter's attributes may put the packet far into the frame, and offsets have 16 bits. */
static void headers_that_no_offset_can_name_are_not_decoded(void **state) {
    (void)state;
    enum { ATTRIBUTES = 65508, PACKET = 4 + ATTRIBUTES + 4 };
    const uint8_t segment[] = {IPV4(43, 6), TCP(5, ACK), 'a', 'b', 'c'};
    const uint32_t length = PACKET + sizeof segment;
    uint8_t *frame = calloc(1, length);
    assert_non_null(frame);
    frame[4] = ATTRIBUTES & 0xff;
    frame[5] = ATTRIBUTES >> 8;
    frame[6] = 1;
    frame[4 + ATTRIBUTES] = 4 + sizeof segment;
    frame[4 + ATTRIBUTES + 2] = 9;
    memcpy(frame + PACKET, segment, sizeof segment);
    struct mb_decoded it = decode_cut(frame, length, length, 239);
    expect_malformed(it, MB_REASON_HEADERS_TOO_LONG);
    assert_int_equal(it.transport, MB_TRANSPORT_NONE);
    free(frame);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tcp_segment),
        cmocka_unit_test(padding_is_no_payload),
        cmocka_unit_test(total_length_zero_means_the_rest),
        cmocka_unit_test(a_snap_length_cuts_the_payload),
        cmocka_unit_test(tcp_options_give_the_window_scale),
        cmocka_unit_test(udp_and_icmp),
        cmocka_unit_test(ipv6_extension_headers_are_walked),
        cmocka_unit_test(fragments_are_told_apart),
        cmocka_unit_test(link_types),
        cmocka_unit_test(what_is_between_link_and_network),
        cmocka_unit_test(tunnels_are_entered),
        cmocka_unit_test(what_only_looks_like_a_tunnel_stays_a_datagram),
        cmocka_unit_test(malformed_packets_have_their_reason),
        cmocka_unit_test(a_segment_with_broken_options_still_belongs_to_its_flow),
        cmocka_unit_test(too_many_extension_headers),
        cmocka_unit_test(no_prefix_is_read_past_its_end),
        cmocka_unit_test(headers_that_no_offset_can_name_are_not_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
