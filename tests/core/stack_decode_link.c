/*
 * The link layer, and what lies between it and the network layer.
 */
#include "tests/core/decode_fixture.h"

enum { WLAN = 105, PRISM = 119, RADIOTAP = 127, AVS = 163 };

/* An 802.11 data frame to an access point, without its frame control. */
#define WLAN_REST 0, 0, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 3, 0x10, 0
#define SNAP_IPV4 0xaa, 0xaa, 3, 0, 0, 0, 8, 0
#define DATAGRAM  IPV4(28, 17), UDP(8)

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

static void wlan_data_frames_in_the_clear_are_decoded(void **state) {
    (void)state;
    expect_type(DECODE_AS(WLAN, 0x08, 1, WLAN_REST, SNAP_IPV4, DATAGRAM), MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE_AS(WLAN, 0x88, 1, WLAN_REST, 0, 0, SNAP_IPV4, DATAGRAM),
                MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE_AS(WLAN, 0x08, 3, WLAN_REST, 2, 0, 0, 0, 0, 4, SNAP_IPV4, DATAGRAM),
                MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE_AS(WLAN, 0x88, 0x81, WLAN_REST, 0, 0, 1, 2, 3, 4, SNAP_IPV4, DATAGRAM),
                MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE_AS(AVS, 0x80, 0x21, 0x10, 1, 0, 0, 0, 12, 1, 2, 3, 4, 0x08, 1, WLAN_REST,
                          SNAP_IPV4, DATAGRAM),
                MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE_AS(PRISM, 0x44, 0, 0, 0, 12, 0, 0, 0, 1, 2, 3, 4, 0x08, 1, WLAN_REST,
                          SNAP_IPV4, DATAGRAM),
                MB_TYPE_PACKET_IP_UDP);
}

static void radiotap_says_whether_the_header_is_padded(void **state) {
    (void)state;
    expect_type(
        DECODE_AS(RADIOTAP, 0, 0, 8, 0, 0, 0, 0, 0, 0x08, 1, WLAN_REST, SNAP_IPV4, DATAGRAM),
        MB_TYPE_PACKET_IP_UDP);
    expect_type(DECODE_AS(RADIOTAP, 0, 0, 9, 0, 2, 0, 0, 0, 0x20, 0x88, 1, WLAN_REST, 0, 0, 0, 0,
                          SNAP_IPV4, DATAGRAM),
                MB_TYPE_PACKET_IP_UDP);
    /* Two words of bits, then a time stamp at a multiple of eight, then the flags. */
    expect_type(DECODE_AS(RADIOTAP, 0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4,
                          5, 6, 7, 8, 0x20, 0x88, 1, WLAN_REST, 0, 0, 0, 0, SNAP_IPV4, DATAGRAM),
                MB_TYPE_PACKET_IP_UDP);
    expect_malformed(DECODE_AS(RADIOTAP, 0, 0, 7, 0, 0, 0, 0, 0, 0x08, 1, WLAN_REST),
                     MB_REASON_FRAME_TRUNCATED);
    expect_malformed(DECODE_AS(RADIOTAP, 0, 0, 200, 0, 0, 0, 0, 0, 0x08, 1, WLAN_REST),
                     MB_REASON_FRAME_TRUNCATED);
    expect_malformed(DECODE_AS(PRISM, 0x44, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 2),
                     MB_REASON_FRAME_TRUNCATED);
}

static void expect_skipped(struct mb_decoded decoded) {
    assert_int_equal(decoded.type, MB_TYPE_PACKET);
    assert_int_equal(decoded.reason, MB_REASON_WLAN_SKIPPED);
}

static void other_wlan_frames_are_skipped(void **state) {
    (void)state;
    expect_skipped(DECODE_AS(WLAN, 0x80, 0, WLAN_REST, 1, 2, 3));                /* a beacon */
    expect_skipped(DECODE_AS(WLAN, 0xd4, 0, 0, 0, 2, 0, 0, 0, 0, 1));            /* an ack */
    expect_skipped(DECODE_AS(WLAN, 0x48, 1, WLAN_REST));                         /* no data */
    expect_skipped(DECODE_AS(WLAN, 0x08, 0x41, WLAN_REST, SNAP_IPV4, DATAGRAM)); /* encrypted */
    expect_skipped(DECODE_AS(WLAN, 0x08, 0x05, WLAN_REST, SNAP_IPV4, DATAGRAM)); /* a fragment */
    expect_skipped(DECODE_AS(WLAN, 0x88, 1, WLAN_REST, 0x80, 0, SNAP_IPV4, DATAGRAM)); /* many */
    expect_skipped(decode_cut((const uint8_t *)"", 0, 0, WLAN));
}

static void a_priority_tag_is_no_vlan(void **state) {
    (void)state;
    struct mb_decoded it = DECODE(ETHERNET(0x81, 0), 0xa0, 0, 8, 0, DATAGRAM);
    assert_int_equal(it.tuple.vlan, 0);
    assert_int_equal(it.domain, 0);
}

/* The kernel copies as much of a packet as it was told to, and the frame does not say so. */
static void a_netfilter_log_may_lack_the_packets_end(void **state) {
    (void)state;
    struct mb_decoded it =
        DECODE_AS(239, 2, 0, 0, 0, 32, 0, 9, 0, IPV4(128, 17), 0, 1, 0, 2, 0, 108, 0, 0);
    assert_int_equal(it.type, MB_TYPE_PACKET_IP_UDP);
    assert_int_equal(it.reason, MB_REASON_PAYLOAD_CUT);
    assert_int_equal(it.payload_length, 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_netfilter_log_may_lack_the_packets_end),
        cmocka_unit_test(link_types),
        cmocka_unit_test(what_is_between_link_and_network),
        cmocka_unit_test(headers_that_no_offset_can_name_are_not_decoded),
        cmocka_unit_test(wlan_data_frames_in_the_clear_are_decoded),
        cmocka_unit_test(radiotap_says_whether_the_header_is_padded),
        cmocka_unit_test(other_wlan_frames_are_skipped),
        cmocka_unit_test(a_priority_tag_is_no_vlan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
