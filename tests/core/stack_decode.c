/*
 * The network and transport layers of frames, and the reason of each malformed one.
 */
#include "tests/core/decode_fixture.h"

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

/* No receiver takes it: what would follow is not in it, and never comes. */
static void a_length_past_the_frame_is_malformed(void **state) {
    (void)state;
    struct mb_decoded it = DECODE(ETHERNET(8, 0), IPV4(140, 6), TCP(5, ACK), 'a', 'b');
    expect_malformed(it, MB_REASON_IPV4_TOTAL_LENGTH);
    it = DECODE(ETHERNET(0x86, 0xdd), IPV6(100, 6), TCP(5, ACK), 'a', 'b');
    expect_malformed(it, MB_REASON_IPV6_PAYLOAD_LENGTH);
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
    assert_int_equal(it.reason, MB_REASON_NONE);
    assert_int_equal(it.transport, MB_TRANSPORT_NONE);
    assert_int_equal(it.fragment.start, 72);
    assert_false(it.fragment.has_more);
    uint8_t first[] = {ETHERNET(8, 0), IPV4(30, 17), UDP(100), 'a', 'b'};
    first[14 + 4] = 0x12;
    first[14 + 5] = 0x34;
    first[14 + 6] = 0x20;
    it = decode_cut(first, sizeof first, sizeof first, 1);
    expect_type(it, MB_TYPE_PACKET_IP_FRAGMENT);
    assert_true(it.is_fragment);
    assert_true(it.fragment.has_more);
    assert_int_equal(it.fragment.identification, 0x1234);
    assert_int_equal(it.payload_length, 10);
    assert_int_equal(it.tuple.destination_port, mb_read_16(first + 14 + 20 + 2));
    it = DECODE(ETHERNET(0x86, 0xdd), IPV6(12, 44), 17, 0, 0, 9, 0, 0, 0, 1, 1, 2, 3, 4);
    assert_int_equal(it.type, MB_TYPE_PACKET_IP_FRAGMENT);
    assert_int_equal(it.fragment.start, 8);
    assert_int_equal(it.fragment.identification, 1);
    assert_int_equal(it.fragment.next_header, 14 + 6);
}

/* RFC 6946: offset 0 and no more fragments. */
static void an_atomic_fragment_is_whole(void **state) {
    (void)state;
    struct mb_decoded it =
        DECODE(ETHERNET(0x86, 0xdd), IPV6(16, 44), 17, 0, 0, 0, 0, 0, 0, 1, UDP(8));
    expect_type(it, MB_TYPE_PACKET_IP_UDP);
    assert_false(it.is_fragment);
}

static void first_fragments_have_all_headers(void **state) {
    (void)state;
    uint8_t tiny[] = {ETHERNET(8, 0), IPV4(28, 6), 0, 1, 0, 80, 1, 2, 3, 4};
    tiny[14 + 6] = 0x20;
    struct mb_decoded it = decode_cut(tiny, sizeof tiny, sizeof tiny, 1);
    assert_int_equal(it.type, MB_TYPE_PACKET_IP_FRAGMENT);
    assert_int_equal(it.reason, MB_REASON_FRAGMENT_TINY);
    assert_int_equal(it.tuple.destination_port, 80);
    /* Destination options in the datagram, and nothing behind them. */
    it = DECODE(ETHERNET(0x86, 0xdd), IPV6(16, 44), 60, 0, 0, 1, 0, 0, 0, 1, 17, 0, 1, 4, 0, 0, 0,
                0);
    assert_int_equal(it.reason, MB_REASON_IPV6_FIRST_FRAGMENT_INCOMPLETE);
    it = DECODE(ETHERNET(0x86, 0xdd), IPV6(24, 44), 60, 0, 0, 1, 0, 0, 0, 1, 17, 0, 1, 4, 0, 0, 0,
                0, UDP(100));
    assert_int_equal(it.reason, MB_REASON_NONE);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tcp_segment),
        cmocka_unit_test(padding_is_no_payload),
        cmocka_unit_test(total_length_zero_means_the_rest),
        cmocka_unit_test(a_length_past_the_frame_is_malformed),
        cmocka_unit_test(a_snap_length_cuts_the_payload),
        cmocka_unit_test(tcp_options_give_the_window_scale),
        cmocka_unit_test(udp_and_icmp),
        cmocka_unit_test(ipv6_extension_headers_are_walked),
        cmocka_unit_test(fragments_are_told_apart),
        cmocka_unit_test(an_atomic_fragment_is_whole),
        cmocka_unit_test(first_fragments_have_all_headers),
        cmocka_unit_test(malformed_packets_have_their_reason),
        cmocka_unit_test(a_segment_with_broken_options_still_belongs_to_its_flow),
        cmocka_unit_test(too_many_extension_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
