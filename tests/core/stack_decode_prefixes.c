/*
 * Every prefix of a frame of each kind, as if it were all, and as if a snap length had cut it
 * there: decode_cut puts the bytes at the end of their memory, where the sanitizers watch.
 */
#include "tests/core/decode_fixture.h"

#define DATAGRAM               IPV4(30, 17), UDP(10), 'h', 'i'
#define FRAME                  ETHERNET(8, 0), DATAGRAM
#define TUNNEL(hi, lo, length) 4, 0xd2, hi, lo, 0, length, 0, 0
#define SNAP                   0xaa, 0xaa, 3, 0, 0, 0, 8, 0
#define WLAN                   0x88, 1, 0, 0, [24] = 0, 0

struct sample {
    const char *name;
    uint32_t link_type;
    uint32_t length;
    const uint8_t *bytes;
};

#define SAMPLE(name, link_type, ...)                                                               \
    {                                                                                              \
        name, link_type, sizeof((const uint8_t[]){__VA_ARGS__}), (const uint8_t[]) {               \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

/* clang-format off */
static const struct sample samples[] = {
    SAMPLE("tcp", 1, ETHERNET(8, 0), IPV4(61, 6), TCP(10, SYN), 2, 4, 5, 0, 4, 2, 1, 3, 3, 7, 8, 10,
           0, 0, 0, 1, 0, 0, 0, 2, 'a'),
    SAMPLE("ipv4 options", 1, ETHERNET(8, 0), 0x47, 0, 0, 49, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1,
           10, 0, 0, 2, 131, 7, 4, 10, 0, 0, 9, 0, TCP(5, ACK), 'a'),
    SAMPLE("icmp echo", 1, ETHERNET(8, 0), IPV4(30, 1), 8, 0, 0, 0, 1, 2, 0, 5, 'h', 'i'),
    SAMPLE("icmp error", 1, ETHERNET(8, 0), IPV4(58, 1), 3, 4, 0, 0, 0, 0, 5, 0, DATAGRAM),
    SAMPLE("icmpv6 error", 1, ETHERNET(0x86, 0xdd), IPV6(64, 58), 2, 0, 0, 0, 0, 0, 5, 0,
           IPV6(16, 60), 17, 0, 1, 4, 0, 0, 0, 0, UDP(8)),
    SAMPLE("sctp", 1, ETHERNET(8, 0), IPV4(32, 132), 0, 7, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0),
    SAMPLE("ipv6 extensions", 1, ETHERNET(0x86, 0xdd), IPV6(64, 0), 43, 0, 1, 4, 0, 0, 0, 0,
           60, 2, 4, 1, 0, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3,
           44, 1, 201, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 17, 0, 0, 1, 0, 0, 0, 7, UDP(8)),
    SAMPLE("home address", 1, ETHERNET(0x86, 0xdd), IPV6(32, 60), 17, 2, 1, 2, 0, 0, 201, 16,
           0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, UDP(8)),
    SAMPLE("authentication", 1, ETHERNET(8, 0), IPV4(44, 51), 17, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1,
           1, 2, 3, 4, UDP(8)),
    SAMPLE("arp", 1, ETHERNET(8, 6), 0, 1, 8, 0, 6, 4, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2, 3,
           4, 5, 6, 7, 8, 9, 10),
    SAMPLE("qinq", 1, ETHERNET(0x88, 0xa8), 0, 1, 0x81, 0, 0, 7, 8, 0, DATAGRAM),
    SAMPLE("backbone", 1, ETHERNET(0x88, 0xe7), 0, 1, 2, 3, FRAME),
    SAMPLE("mpls", 1, ETHERNET(0x88, 0x47), 0, 1, 0, 64, 0, 2, 1, 64, DATAGRAM),
    SAMPLE("pppoe", 1, ETHERNET(0x88, 0x64), 0x11, 0, 0, 1, 0, 32, 0, 0x21, DATAGRAM),
    SAMPLE("mpls in pppoe", 1, ETHERNET(0x88, 0x64), 0x11, 0, 0, 1, 0, 36, 2, 0x81, 0, 2, 1, 64,
           DATAGRAM),
    SAMPLE("llc", 1, ETHERNET(0, 38), SNAP, DATAGRAM),
    SAMPLE("ip in ip", 1, ETHERNET(8, 0), IPV4(50, 4), DATAGRAM),
    SAMPLE("gre", 1, ETHERNET(8, 0), IPV4(66, 47), 0xb0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0,
           1, DATAGRAM),
    SAMPLE("pptp", 1, ETHERNET(8, 0), IPV4(70, 47), 0x30, 0x81, 0x88, 0x0b, 0, 34, 0, 1, 0, 0, 0,
           1, 0, 0, 0, 1, 0xff, 3, 0, 0x21, DATAGRAM),
    SAMPLE("erspan 2", 1, ETHERNET(8, 0), IPV4(80, 47), 0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0,
           0, 0, 0, 0, 0, FRAME),
    SAMPLE("erspan 3", 1, ETHERNET(8, 0), IPV4(92, 47), 0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0,
           0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, FRAME),
    SAMPLE("vxlan", 1, ETHERNET(8, 0), IPV4(80, 17), TUNNEL(0x12, 0xb5, 60), 8, 0, 0, 0, 0, 0, 1, 0,
           FRAME),
    SAMPLE("geneve", 1, ETHERNET(8, 0), IPV4(84, 17), TUNNEL(0x17, 0xc1, 64), 1, 0, 0x65, 0x58, 0, 0,
           1, 0, 1, 2, 3, 4, FRAME),
    SAMPLE("gtp", 1, ETHERNET(8, 0), IPV4(74, 17), TUNNEL(0x08, 0x68, 54), 0x34, 0xff, 0, 38, 0, 0, 0,
           1, 0, 0, 0, 0x85, 1, 0, 9, 0, DATAGRAM),
    SAMPLE("loopback", 0, 2, 0, 0, 0, DATAGRAM),
    SAMPLE("ppp", 9, 0xff, 3, 0, 0x21, DATAGRAM),
    SAMPLE("fddi", 10, 0x50, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, SNAP, DATAGRAM),
    SAMPLE("raw", 101, DATAGRAM),
    SAMPLE("802.11", 105, WLAN, SNAP, DATAGRAM),
    SAMPLE("linux cooked", 113, 0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0, DATAGRAM),
    SAMPLE("prism", 119, 0x44, 0, 0, 0, 12, 0, 0, 0, 1, 2, 3, 4, 0x88, 1, [36] = 0, 0, SNAP,
           DATAGRAM),
    SAMPLE("radiotap", 127, 0, 0, 25, 0, 3, 0, 0, 0x80, [24] = 0x20, 0x88, 1, [49] = 0, 0, 0, 0,
           SNAP, DATAGRAM),
    SAMPLE("netfilter log", 239, 2, 0, 0, 0, 8, 0, 1, 0, 1, 2, 3, 4, 34, 0, 9, 0, DATAGRAM),
    SAMPLE("linux cooked 2", 276, 8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0,
           DATAGRAM),
};
/* clang-format on */

enum { SAMPLES = sizeof samples / sizeof *samples };

/* So that the prefixes are those of packets that are decoded to their end. */
static void each_sample_is_whole(void **state) {
    (void)state;
    for (unsigned i = 0; i < SAMPLES; i++) {
        struct mb_decoded it = decode_cut(samples[i].bytes, samples[i].length, samples[i].length,
                                          samples[i].link_type);
        if (it.reason != MB_REASON_NONE && it.reason != MB_REASON_PAYLOAD_CUT)
            fail_msg("%s: %s", samples[i].name, mb_reason_name(it.reason));
        if (it.type == MB_TYPE_PACKET)
            fail_msg("%s is not decoded", samples[i].name);
    }
}

static void no_prefix_is_read_past_its_end(void **state) {
    (void)state;
    for (unsigned i = 0; i < SAMPLES; i++)
        for (uint32_t length = 0; length <= samples[i].length; length++) {
            decode_cut(samples[i].bytes, length, length, samples[i].link_type);
            decode_cut(samples[i].bytes, length, samples[i].length, samples[i].link_type);
        }
}

static void nor_is_it_as_another_link_type(void **state) {
    (void)state;
    for (unsigned i = 0; i < SAMPLES; i++)
        for (unsigned link = 0; link < SAMPLES; link++)
            for (uint32_t length = 0; length <= samples[i].length; length++)
                decode_cut(samples[i].bytes, length, samples[i].length, samples[link].link_type);
}

/* Every byte with each of its bits turned over: lengths and counts that lie. */
static void nor_with_a_bit_turned_over(void **state) {
    (void)state;
    for (unsigned i = 0; i < SAMPLES; i++)
        for (uint32_t bit = 0; bit < samples[i].length * 8; bit++) {
            uint8_t bytes[256];
            memcpy(bytes, samples[i].bytes, samples[i].length);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            decode_cut(bytes, samples[i].length, samples[i].length, samples[i].link_type);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sample_is_whole),
        cmocka_unit_test(no_prefix_is_read_past_its_end),
        cmocka_unit_test(nor_is_it_as_another_link_type),
        cmocka_unit_test(nor_with_a_bit_turned_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
