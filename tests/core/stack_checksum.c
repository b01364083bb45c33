/*
 * Checksums: the sum itself against a slow one, each layer's right and wrong, those that were left
 * to the network card, and those that cannot be looked at.
 */
#include "tests/core/decode_fixture.h"

#include "microbox/stack/wire/checksum.h"

/* --- the sum --- */

/* RFC 1071 section 4.1, one 16-bit word at a time. */
static uint16_t slow_sum(const uint8_t *bytes, uint32_t length) {
    uint32_t sum = 0;
    for (uint32_t at = 0; at < length; at++) {
        sum += at % 2 == 0 ? (uint32_t)bytes[at] << 8 : bytes[at];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

/* Sums are in the machine's byte order, which is little-endian; 0 and 0xffff are the same number,
 * and a sum of anything but zeros is never 0. */
static uint16_t fast_sum(const uint8_t *bytes, uint32_t length) {
    return __builtin_bswap16(mb_checksum_fold(mb_checksum_add(0, bytes, length)));
}

static void the_sum_is_that_of_the_rfc(void **state) {
    (void)state;
    enum { LONGEST = 300 };
    uint8_t bytes[LONGEST + 8];
    uint32_t random = 7;
    for (unsigned i = 0; i < sizeof bytes; i++) {
        random = random * 1103515245 + 12345;
        bytes[i] = i % 5 == 0 ? 0xff : (uint8_t)(random >> 16);
    }
    for (uint32_t begin = 0; begin < 8; begin++)
        for (uint32_t length = 0; length <= LONGEST; length++)
            assert_int_equal(fast_sum(bytes + begin, length), slow_sum(bytes + begin, length));
}

static void a_sum_of_the_largest_words_does_not_overflow(void **state) {
    (void)state;
    enum { LENGTH = 1 << 20 };
    uint8_t *bytes = malloc(LENGTH);
    assert_non_null(bytes);
    memset(bytes, 0xff, LENGTH);
    assert_int_equal(fast_sum(bytes, LENGTH), 0xffff);
    free(bytes);
}

/* --- frames --- */

static uint16_t complement(uint32_t sum) {
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void fill_ipv4(uint8_t *header) {
    stack_put_16(header + 10, 0);
    stack_put_16(header + 10, complement(slow_sum(header, 20)));
}

/* The sum over addresses (`size` bytes from `addresses` on), protocol and length. */
static uint32_t pseudo_sum(const uint8_t *addresses, uint32_t size, uint8_t protocol,
                           uint32_t length) {
    return (uint32_t)slow_sum(addresses, size) + protocol + length;
}

static void fill_transport(uint8_t *transport, uint32_t length, uint32_t field, uint32_t pseudo) {
    stack_put_16(transport + field, 0);
    stack_put_16(transport + field, complement(pseudo + slow_sum(transport, length)));
}

static uint8_t checked(const uint8_t *bytes, uint32_t length) {
    return decode_cut(bytes, length, length, 1).bad_checksum;
}

#define EXPECT(bytes, reason) assert_int_equal(checked(bytes, sizeof(bytes)), MB_REASON_##reason)

static void every_byte_of_a_segment_counts(void **state) {
    (void)state;
    uint8_t frame[] = {ETHERNET(8, 0), IPV4(45, 6), TCP(5, ACK), 'h', 'e', 'l', 'l', 'o'};
    fill_transport(frame + 34, 25, 16, pseudo_sum(frame + 26, 8, 6, 25));
    fill_ipv4(frame + 14);
    EXPECT(frame, NONE);
    for (unsigned at = 34; at < sizeof frame; at++) {
        if (at == 34 + 12)
            continue; /* the data offset: another header */
        frame[at] ^= 0x20;
        assert_int_not_equal(checked(frame, sizeof frame), MB_REASON_NONE);
        frame[at] ^= 0x20;
    }
    frame[22]--; /* TTL */
    EXPECT(frame, IPV4_CHECKSUM);
}

static void datagrams(void **state) {
    (void)state;
    uint8_t frame[] = {ETHERNET(8, 0), IPV4(31, 17), UDP(11), 'a', 'b', 'c', 0, 0, 0};
    fill_ipv4(frame + 14);
    EXPECT(frame, NONE); /* 0: there is none */
    fill_transport(frame + 34, 11, 6, pseudo_sum(frame + 26, 8, 17, 11));
    EXPECT(frame, NONE);
    frame[44] ^= 1;
    EXPECT(frame, UDP_CHECKSUM);
}

static void a_datagram_over_ipv6_must_have_one(void **state) {
    (void)state;
    uint8_t frame[] = {ETHERNET(0x86, 0xdd), IPV6(10, 17), UDP(10), 'a', 'b'};
    EXPECT(frame, UDP_CHECKSUM);
    fill_transport(frame + 54, 10, 6, pseudo_sum(frame + 22, 32, 17, 10));
    EXPECT(frame, NONE);
    /* But for tunnels (RFC 6935). */
    const uint8_t tunnel[] = {
        ETHERNET(0x86, 0xdd), IPV6(10, 17), 4, 0xd2, 0x12, 0xb5, 0, 10, 0, 0, 'a', 'b'};
    EXPECT(tunnel, NONE);
}

static void messages(void **state) {
    (void)state;
    uint8_t four[] = {ETHERNET(8, 0), IPV4(30, 1), 8, 0, 0, 0, 1, 2, 0, 5, 'h', 'i'};
    fill_ipv4(four + 14);
    fill_transport(four + 34, 10, 2, 0);
    EXPECT(four, NONE);
    four[42] ^= 1;
    EXPECT(four, ICMP_CHECKSUM);
    uint8_t six[] = {ETHERNET(0x86, 0xdd), IPV6(10, 58), 128, 0, 0, 0, 1, 2, 0, 5, 'h', 'i'};
    fill_transport(six + 54, 10, 2, pseudo_sum(six + 22, 32, 58, 10));
    EXPECT(six, NONE);
    six[62] ^= 1;
    EXPECT(six, ICMP_CHECKSUM);
}

/* RFC 8200 section 8.1: the checksum covers the final destination, fd00::9, not the next hop. */
static void a_routing_header_says_who_is_addressed(void **state) {
    (void)state;
    uint8_t frame[] = {ETHERNET(0x86, 0xdd),
                       IPV6(34, 43),
                       17,
                       2,
                       4,
                       1,
                       0,
                       0,
                       0,
                       0,
                       0xfd,
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
                       0,
                       0,
                       0,
                       9,
                       UDP(10),
                       'a',
                       'b'};
    uint8_t addresses[32];
    memcpy(addresses, frame + 22, 16);
    memcpy(addresses + 16, frame + 62, 16);
    fill_transport(frame + 78, 10, 6, pseudo_sum(addresses, 32, 17, 10));
    EXPECT(frame, NONE);
    frame[57] = 0; /* no segment left: the destination is the final one */
    EXPECT(frame, UDP_CHECKSUM);
    frame[57] = 1;
    frame[56] = 3; /* of a type that is not known: let pass */
    frame[86] ^= 1;
    EXPECT(frame, NONE);
}

/* RFC 6275 section 11.3.1. */
static void a_home_address_is_covered_in_place_of_the_source(void **state) {
    (void)state;
    uint8_t frame[] = {ETHERNET(0x86, 0xdd),
                       IPV6(34, 60),
                       17,
                       2,
                       1,
                       2,
                       0,
                       0,
                       201,
                       16,
                       0xfd,
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
                       0,
                       0,
                       0,
                       9,
                       UDP(10),
                       'a',
                       'b'};
    uint8_t addresses[32];
    memcpy(addresses, frame + 62, 16);
    memcpy(addresses + 16, frame + 38, 16);
    fill_transport(frame + 78, 10, 6, pseudo_sum(addresses, 32, 17, 10));
    EXPECT(frame, NONE);
}

/* 10.0.0.1 to 10.0.0.2 in GRE with a checksum, or in VXLAN: what is around counts, too. */
static void headers_around_a_tunnel(void **state) {
    (void)state;
    uint8_t frame[] = {ETHERNET(8, 0), IPV4(58, 47), 0x80, 0,  8, 0, 0, 0, 0, 0,
                       IPV4(30, 17),   UDP(10),      'a',  'b'};
    fill_ipv4(frame + 42);
    fill_transport(frame + 34, 38, 4, 0);
    fill_ipv4(frame + 14);
    EXPECT(frame, NONE);
    frame[sizeof frame - 1] ^= 1;
    EXPECT(frame, GRE_CHECKSUM);
    frame[22]--;
    EXPECT(frame, IPV4_CHECKSUM);

    uint8_t vxlan[] = {ETHERNET(8, 0),
                       IPV4(80, 17),
                       4,
                       0xd2,
                       0x12,
                       0xb5,
                       0,
                       60,
                       0,
                       0,
                       8,
                       0,
                       0,
                       0,
                       0,
                       0,
                       4,
                       0,
                       ETHERNET(8, 0),
                       IPV4(30, 17),
                       UDP(10),
                       'a',
                       'b'};
    fill_ipv4(vxlan + 14);
    fill_ipv4(vxlan + 64);
    EXPECT(vxlan, NONE);
    vxlan[72]--; /* the inner TTL */
    EXPECT(vxlan, IPV4_CHECKSUM);
    fill_ipv4(vxlan + 64);
    vxlan[40] = 1;
    EXPECT(vxlan, UDP_CHECKSUM);
}

/* --- left to the network card --- */

static void a_sum_of_the_pseudo_header_alone_is_no_error(void **state) {
    (void)state;
    uint8_t frame[] = {ETHERNET(8, 0), IPV4(45, 6), TCP(5, ACK), 'h', 'e', 'l', 'l', 'o'};
    fill_ipv4(frame + 14);
    const uint32_t lengths[] = {25, 0};
    for (unsigned i = 0; i < 2; i++) {
        uint16_t partial = (uint16_t)~complement(pseudo_sum(frame + 26, 8, 6, lengths[i]));
        stack_put_16(frame + 50, partial);
        struct mb_decoded it = decode_cut(frame, sizeof frame, sizeof frame, 1);
        assert_int_equal(it.bad_checksum, MB_REASON_NONE);
        assert_true(it.checksum_is_partial);
        stack_put_16(frame + 50, partial + 1u);
        EXPECT(frame, TCP_BAD_CHECKSUM);
    }
}

static void it_is_counted_and_told(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription everything = stack_everything();
    stack_open_with(&stack, &(struct mb_stack_config){.checksums = MB_CHECKSUMS_DROP}, &everything,
                    1, NULL, 0);
    uint8_t frame[] = {ETHERNET(8, 0), IPV4(40, 6), TCP(5, SYN)};
    fill_ipv4(frame + 14);
    stack_put_16(frame + 50, (uint16_t)~complement(pseudo_sum(frame + 26, 8, 6, 20)));
    stack_frame(&stack, frame, sizeof frame, sizeof frame, 1);
    assert_int_equal(stack_next(&stack, MB_TYPE_PACKET_IP_TCP)->reason, MB_REASON_CHECKSUM_PARTIAL);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_START), 1);
    const struct mb_stack_counters *counters = mb_stack_counters(stack.stack);
    assert_int_equal(counters->by_reason[MB_REASON_CHECKSUM_PARTIAL], 1);
    stack_close(&stack);
}

/* --- what is done about wrong ones --- */

static void send_wrong_datagram(struct stack_fixture *stack, enum mb_checksums checksums) {
    struct mb_subscription everything = stack_everything();
    stack_open_with(stack, &(struct mb_stack_config){.checksums = checksums}, &everything, 1, NULL,
                    0);
    uint8_t frame[] = {ETHERNET(8, 0), IPV4(31, 17), UDP(11), 'a', 'b', 'c'};
    fill_ipv4(frame + 14);
    stack_put_16(frame + 40, 0x1234);
    stack_frame(stack, frame, sizeof frame, sizeof frame, 1);
}

static void off_event_and_drop(void **state) {
    (void)state;
    struct stack_fixture stack;
    send_wrong_datagram(&stack, MB_CHECKSUMS_OFF);
    assert_int_equal(stack_next(&stack, MB_TYPE_UDP_DATAGRAM)->reason, MB_REASON_NONE);
    stack_close(&stack);
    send_wrong_datagram(&stack, MB_CHECKSUMS_EVENT);
    assert_int_equal(stack_next(&stack, MB_TYPE_UDP_DATAGRAM)->reason, MB_REASON_UDP_CHECKSUM);
    stack_close(&stack);
    send_wrong_datagram(&stack, MB_CHECKSUMS_DROP);
    assert_int_equal(stack_next(&stack, MB_TYPE_PACKET_MALFORMED)->reason, MB_REASON_UDP_CHECKSUM);
    assert_int_equal(stack_count(&stack, MB_TYPE_UDP_START), 0);
    stack_close(&stack);
}

/* --- what cannot be looked at --- */

static void what_is_cut_or_a_fragment_is_let_pass(void **state) {
    (void)state;
    uint8_t frame[] = {ETHERNET(8, 0), IPV4(45, 6), TCP(5, ACK), 'h', 'e', 'l', 'l', 'o'};
    fill_ipv4(frame + 14);
    EXPECT(frame, TCP_BAD_CHECKSUM);
    assert_int_equal(decode_cut(frame, sizeof frame - 1, sizeof frame, 1).bad_checksum,
                     MB_REASON_NONE);
    frame[20] = 0x20; /* more fragments follow */
    fill_ipv4(frame + 14);
    EXPECT(frame, NONE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sum_is_that_of_the_rfc),
        cmocka_unit_test(a_sum_of_the_largest_words_does_not_overflow),
        cmocka_unit_test(every_byte_of_a_segment_counts),
        cmocka_unit_test(datagrams),
        cmocka_unit_test(a_datagram_over_ipv6_must_have_one),
        cmocka_unit_test(messages),
        cmocka_unit_test(a_routing_header_says_who_is_addressed),
        cmocka_unit_test(a_home_address_is_covered_in_place_of_the_source),
        cmocka_unit_test(headers_around_a_tunnel),
        cmocka_unit_test(a_sum_of_the_pseudo_header_alone_is_no_error),
        cmocka_unit_test(it_is_counted_and_told),
        cmocka_unit_test(off_event_and_drop),
        cmocka_unit_test(what_is_cut_or_a_fragment_is_let_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
