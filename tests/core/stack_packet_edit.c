/*
 * One packet with other headers, bytes and tags: what changes, what does not, and checksums as
 * right, or as wrong, as they were. The decoder's verifying part is the judge.
 */
#include "decode_fixture.h"

#include "microbox/stack/edits/packet_edit.h"
#include "microbox/stack/wire/checksum.h"

enum { LENGTH_MAX = 256, NETWORK = 14 };

struct bench {
    uint8_t frame[LENGTH_MAX];
    uint32_t length;
    uint32_t cut; /* bytes that were not captured */
    uint32_t link_type;
    uint8_t copy[LENGTH_MAX + MB_EDIT_GROWS_MAX];
    struct mb_edited_packet edited;
};

static void put(struct bench *bench, const void *bytes, uint32_t length) {
    assert_true(bench->length + length <= LENGTH_MAX);
    memcpy(bench->frame + bench->length, bytes, length);
    bench->length += length;
}

#define PUT(bench, ...)                                                                            \
    put(bench, ((const uint8_t[]){__VA_ARGS__}), sizeof((const uint8_t[]){__VA_ARGS__}))

static void write_sum(uint8_t *field, uint64_t sum) {
    const uint16_t value = (uint16_t)~mb_checksum_fold(sum);
    memcpy(field, &value, sizeof value);
}

static void seal_ipv4(struct bench *bench, uint32_t network) {
    uint8_t *header = bench->frame + network;
    memset(header + 10, 0, 2);
    write_sum(header + 10, mb_checksum_add(0, header, 20));
}

/* Of all bytes from `transport` to the frame's end. */
static void seal_transport(struct bench *bench, uint32_t network, uint32_t transport,
                           uint32_t field, uint8_t protocol) {
    const uint32_t length = bench->length - transport;
    const uint8_t *header = bench->frame + network;
    const bool is_4 = header[0] >> 4 == 4;
    uint64_t sum = mb_checksum_add(0, header + (is_4 ? 12 : 8), is_4 ? 8 : 32);
    sum = mb_checksum_add_number(mb_checksum_add_number(sum, protocol), length);
    memset(bench->frame + transport + field, 0, 2);
    write_sum(bench->frame + transport + field,
              mb_checksum_add(sum, bench->frame + transport, length));
}

static struct mb_decoded verified(const uint8_t *bytes, uint32_t length) {
    return decode_cut(bytes, length, length, 1);
}

static struct bench tcp(void) {
    struct bench bench = {.link_type = 1};
    PUT(&bench, ETHERNET(8, 0), IPV4(45, 6), TCP(5, 0x18), 'h', 'e', 'l', 'l', 'o');
    seal_ipv4(&bench, NETWORK);
    seal_transport(&bench, NETWORK, 34, 16, 6);
    return bench;
}

static struct bench udp_6(void) {
    struct bench bench = {.link_type = 1};
    PUT(&bench, ETHERNET(0x86, 0xdd), IPV6(11, 17), UDP(11), 'a', 'b', 'c');
    seal_transport(&bench, NETWORK, 54, 6, 17);
    return bench;
}

static struct bench tagged(void) {
    struct bench bench = {.link_type = 1};
    PUT(&bench, ETHERNET(0x81, 0), 0x60, 5, 8, 0, IPV4(31, 17), UDP(11), 'a', 'b', 'c');
    seal_ipv4(&bench, NETWORK + 4);
    seal_transport(&bench, NETWORK + 4, 38, 6, 17);
    return bench;
}

static enum mb_reason edit_payload(struct bench *bench, const struct mb_edit *headers,
                                   const struct mb_new_bytes *payload, uint32_t count) {
    const struct mb_frame frame = {.length = bench->length,
                                   .wire_length = bench->length + bench->cut,
                                   .link_type = bench->link_type};
    const struct mb_packet_edit edit = {headers, payload, count};
    return mb_packet_edit(&decoder, &frame, bench->frame, &edit, bench->copy, &bench->edited);
}

static enum mb_reason edit(struct bench *bench, struct mb_edit headers) {
    return edit_payload(bench, &headers, NULL, 0);
}

static enum mb_reason replace(struct bench *bench, uint32_t at, const char *bytes) {
    const struct mb_new_bytes payload = {at, (uint32_t)strlen(bytes), (const uint8_t *)bytes};
    return edit_payload(bench, NULL, &payload, 1);
}

static void expect_right(const struct bench *bench) {
    assert_int_equal(verified(bench->copy, bench->edited.length).bad_checksum, MB_REASON_NONE);
}

#define EXPECT_REASON(one, reason)                                                                 \
    assert_string_equal(mb_reason_name(one), mb_reason_name(MB_REASON_##reason))

static void every_field_of_ipv4_and_tcp_is_written_and_no_other(void **state) {
    (void)state;
    struct bench bench = tcp();
    const struct mb_edit headers = {
        .fields = MB_EDIT_FIELDS,
        .eth_source = {1, 1, 1, 1, 1, 1},
        .eth_destination = {3, 3, 3, 3, 3, 3},
        .ip_identification = 0x1234,
        .ip_ttl = 7,
        .ip_dscp = 46,
        .ip_ecn = 3,
        .tcp_flags = 0x42,
        .source_port = 4000,
        .destination_port = 5000,
        .tcp_window = 99,
        .tcp_urgent_pointer = 3,
        .ip_source = {[10] = 0xff, 0xff, 192, 0, 2, 1},
        .ip_destination = {[10] = 0xff, 0xff, 192, 0, 2, 2},
    };
    EXPECT_REASON(edit(&bench, headers), NONE);
    expect_right(&bench);
    struct bench expected = {.link_type = 1};
    PUT(&expected, 3, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 8, 0);
    PUT(&expected, 0x45, 46 << 2 | 3, 0, 45, 0x12, 0x34, 0, 0, 7, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2,
        2);
    PUT(&expected, 4000 >> 8, 4000 & 255, 5000 >> 8, 5000 & 255, 0, 0, 0, 100, 0, 0, 0, 200, 0x50,
        0x42, 0, 99, 0, 0, 0, 3, 'h', 'e', 'l', 'l', 'o');
    seal_ipv4(&expected, NETWORK);
    seal_transport(&expected, NETWORK, 34, 16, 6);
    assert_int_equal(bench.edited.length, expected.length);
    assert_int_equal(bench.edited.shift, 0);
    assert_memory_equal(bench.copy, expected.frame, expected.length);
}

static void fields_of_ipv6_lie_elsewhere(void **state) {
    (void)state;
    struct bench bench = udp_6();
    bench.frame[15] = 0x0f; /* flow label */
    EXPECT_REASON(
        edit(&bench, (struct mb_edit){.fields = MB_EDIT_IP_TTL | MB_EDIT_IP_DSCP |
                                                MB_EDIT_IP_SOURCE | MB_EDIT_DESTINATION_PORT,
                                      .ip_ttl = 9,
                                      .ip_dscp = 10,
                                      .ip_source = {0x20, 1},
                                      .destination_port = 5353}),
        NONE);
    expect_right(&bench);
    const struct mb_decoded decoded = verified(bench.copy, bench.length);
    assert_int_equal(decoded.ttl, 9);
    assert_int_equal(decoded.tuple.source[0], 0x20);
    assert_int_equal(decoded.tuple.destination_port, 5353);
    assert_int_equal(bench.copy[14], 0x60 | 10 << 2 >> 4);
    assert_int_equal(bench.copy[15], (10 << 2 & 15) << 4 | 0x0f);
}

static void bytes_of_the_payload_are_replaced_at_any_place_and_of_any_number(void **state) {
    (void)state;
    for (uint32_t at = 54; at < 59; at++) {
        for (uint32_t length = 0; at + length <= 59; length++) {
            struct bench bench = tcp();
            char bytes[6] = "QwErT";
            bytes[length] = 0;
            EXPECT_REASON(replace(&bench, at, bytes), NONE);
            expect_right(&bench);
            assert_memory_equal(bench.copy + at, bytes, length);
            memcpy(bench.frame + at, bytes, length);
            seal_transport(&bench, NETWORK, 34, 16, 6);
            assert_memory_equal(bench.copy, bench.frame, bench.length);
        }
    }
}

static void of_replacements_that_overlap_the_later_one_holds(void **state) {
    (void)state;
    struct bench bench = tcp();
    const struct mb_new_bytes payload[] = {
        {55, 3, (const uint8_t *)"xyz"}, {54, 2, (const uint8_t *)"ab"}, {58, 0, NULL}};
    EXPECT_REASON(edit_payload(&bench, NULL, payload, 3), NONE);
    assert_memory_equal(bench.copy + 54, "abyzo", 5);
    expect_right(&bench);
}

static void what_is_replaced_by_itself_changes_nothing(void **state) {
    (void)state;
    struct bench bench = tcp();
    EXPECT_REASON(replace(&bench, 54, "hello"), NONE);
    assert_memory_equal(bench.copy, bench.frame, bench.length);
}

static void a_wrong_checksum_stays_wrong_by_as_much(void **state) {
    (void)state;
    struct bench bench = tcp();
    bench.frame[24] ^= 0x10;
    bench.frame[50] ^= 0x01;
    EXPECT_REASON(edit(&bench, (struct mb_edit){.fields = MB_EDIT_IP_TTL, .ip_ttl = 1}), NONE);
    assert_int_equal(verified(bench.copy, bench.length).bad_checksum, MB_REASON_IPV4_CHECKSUM);
    bench.copy[24] ^= 0x10;
    assert_int_equal(verified(bench.copy, bench.length).bad_checksum, MB_REASON_TCP_BAD_CHECKSUM);
}

static void a_checksum_over_a_part_of_the_datagram_counts_that_part(void **state) {
    (void)state;
    struct bench bench = {.link_type = 1}; /* UDP-Lite that covers its header and two bytes */
    PUT(&bench, ETHERNET(8, 0), IPV4(34, 136), 4, 0, 5, 0, 0, 10, 0, 0, 'a', 'b', 'c', 'd', 'e',
        'f');
    seal_ipv4(&bench, NETWORK);
    uint64_t sum = mb_checksum_add(0, bench.frame + NETWORK + 12, 8);
    sum = mb_checksum_add_number(mb_checksum_add_number(sum, 136), 14);
    write_sum(bench.frame + 40, mb_checksum_add(sum, bench.frame + 34, 10));
    const struct mb_decoded before = verified(bench.frame, bench.length);
    EXPECT_REASON(replace(&bench, before.payload_offset, "QWERTY"), NONE);
    memcpy(bench.frame + before.payload_offset, "QWERTY", 6);
    memset(bench.frame + 40, 0, 2);
    write_sum(bench.frame + 40, mb_checksum_add(sum, bench.frame + 34, 10));
    assert_memory_equal(bench.copy, bench.frame, bench.length);
}

static void a_tag_is_pushed_in_front_of_all_others(void **state) {
    (void)state;
    struct bench bench = tagged();
    EXPECT_REASON(
        edit(&bench, (struct mb_edit){.tags_pushed = 2, .tags = {{0x88a8, 100}, {0x8100, 7}}}),
        NONE);
    expect_right(&bench);
    assert_int_equal(bench.edited.length, bench.length + 8);
    assert_int_equal(bench.edited.wire_length, bench.length + 8);
    assert_int_equal(bench.edited.shift, 8);
    assert_memory_equal(bench.copy, bench.frame, 12);
    assert_memory_equal(bench.copy + 12, ((uint8_t[]){0x88, 0xa8, 0, 100, 0x81, 0, 0, 7}), 8);
    assert_memory_equal(bench.copy + 20, bench.frame + 12, bench.length - 12);
}

static void a_tag_is_popped_from_the_outside(void **state) {
    (void)state;
    struct bench bench = tagged();
    EXPECT_REASON(edit(&bench, (struct mb_edit){.tags_popped = 1}), NONE);
    expect_right(&bench);
    assert_int_equal(bench.edited.length, bench.length - 4);
    assert_int_equal(bench.edited.shift, -4);
    assert_memory_equal(bench.copy + 12, bench.frame + 16, bench.length - 16);
    EXPECT_REASON(edit(&bench, (struct mb_edit){.tags_popped = 2}), EDIT_FIELD_ABSENT);
}

static void a_tag_takes_the_place_of_another(void **state) {
    (void)state;
    struct bench bench = tagged();
    EXPECT_REASON(
        edit(&bench,
             (struct mb_edit){.tags_popped = 1, .tags_pushed = 1, .tags = {{0x8100, 0x2009}}}),
        NONE);
    assert_int_equal(bench.edited.shift, 0);
    assert_memory_equal(bench.copy + 12, ((uint8_t[]){0x81, 0, 0x20, 9, 8, 0}), 6);
}

static void fields_that_a_packet_lacks_are_refused(void **state) {
    (void)state;
    struct bench bench = udp_6();
    const uint32_t absent[] = {MB_EDIT_TCP_WINDOW, MB_EDIT_TCP_FLAGS, MB_EDIT_IP_IDENTIFICATION};
    for (unsigned i = 0; i < 3; i++)
        EXPECT_REASON(edit(&bench, (struct mb_edit){.fields = absent[i]}), EDIT_FIELD_ABSENT);
    const struct mb_edit mapped = {.fields = MB_EDIT_IP_SOURCE,
                                   .ip_source = {[10] = 0xff, 0xff, 1, 2, 3, 4}};
    EXPECT_REASON(edit(&bench, mapped), EDIT_FIELD_ABSENT);
    struct bench raw = tcp();
    memmove(raw.frame, raw.frame + NETWORK, raw.length -= NETWORK);
    raw.link_type = 101;
    EXPECT_REASON(edit(&raw, (struct mb_edit){.fields = MB_EDIT_ETH_SOURCE}), EDIT_FIELD_ABSENT);
    EXPECT_REASON(edit(&raw, (struct mb_edit){.tags_pushed = 1}), EDIT_FIELD_ABSENT);
    EXPECT_REASON(edit(&raw, (struct mb_edit){.fields = MB_EDIT_IP_TTL, .ip_ttl = 3}), NONE);
    struct bench arp = {.link_type = 1};
    PUT(&arp, ETHERNET(8, 6), 0, 1, 8, 0, 6, 4, 0, 1);
    EXPECT_REASON(edit(&arp, (struct mb_edit){.fields = MB_EDIT_IP_TTL}), EDIT_FIELD_ABSENT);
    EXPECT_REASON(edit(&arp, (struct mb_edit){.tags_pushed = 1}), NONE);
}

static void bytes_outside_of_the_payload_are_refused(void **state) {
    (void)state;
    struct bench bench = tcp();
    EXPECT_REASON(replace(&bench, 53, "x"), EDIT_OUTSIDE_PAYLOAD);
    EXPECT_REASON(replace(&bench, 58, "xy"), EDIT_OUTSIDE_PAYLOAD);
    EXPECT_REASON(replace(&bench, UINT32_MAX, "x"), EDIT_OUTSIDE_PAYLOAD);
    const struct mb_new_bytes huge = {54, UINT32_MAX, (const uint8_t *)"x"};
    EXPECT_REASON(edit_payload(&bench, NULL, &huge, 1), EDIT_OUTSIDE_PAYLOAD);
    bench.length -= 3;
    bench.cut = 3;
    EXPECT_REASON(replace(&bench, 56, "x"), EDIT_OUTSIDE_PAYLOAD);
    EXPECT_REASON(replace(&bench, 55, "x"), NONE);
}

static void of_a_fragment_only_what_others_need_not_agree_on_changes(void **state) {
    (void)state;
    struct bench bench = tcp();
    bench.frame[20] = 0x20; /* more fragments */
    seal_ipv4(&bench, NETWORK);
    EXPECT_REASON(edit(&bench, (struct mb_edit){.fields = MB_EDIT_IP_SOURCE,
                                                .ip_source = {[10] = 0xff, 0xff, 1, 2, 3, 4}}),
                  EDIT_FRAGMENT);
    EXPECT_REASON(edit(&bench, (struct mb_edit){.fields = MB_EDIT_SOURCE_PORT}), EDIT_FRAGMENT);
    EXPECT_REASON(replace(&bench, 54, "x"), EDIT_FRAGMENT);
    EXPECT_REASON(edit(&bench, (struct mb_edit){.fields = MB_EDIT_IP_TTL,
                                                .ip_ttl = 3,
                                                .tags_pushed = 1,
                                                .tags = {{0x8100, 5}}}),
                  NONE);
    assert_int_equal(verified(bench.copy, bench.edited.length).ttl, 3);
    expect_right(&bench);
}

static void a_checksum_that_is_no_sum_keeps_its_payload(void **state) {
    (void)state;
    struct bench bench = {.link_type = 1};
    PUT(&bench, ETHERNET(8, 0), IPV4(36, 132), 4, 0, 5, 0, 0, 0, 0, 1, 1, 2, 3, 4, 9, 9, 9, 9);
    const struct mb_decoded before = verified(bench.frame, bench.length);
    assert_int_not_equal(before.payload_offset, 0);
    EXPECT_REASON(replace(&bench, before.payload_offset, "x"), EDIT_CHECKSUM);
}

/* Headers of the packet inside, link addresses and tags of the frame; checksums around as well. */
static void in_a_tunnel_the_innermost_packet_changes_and_all_checksums_around_it(void **state) {
    (void)state;
    struct bench bench = {.link_type = 1};
    PUT(&bench, ETHERNET(8, 0), IPV4(86, 17), 0xc0, 0, 4789 >> 8, 4789 & 255, 0, 66, 0, 0);
    PUT(&bench, 8, 0, 0, 0, 0, 0, 7, 0); /* VXLAN */
    PUT(&bench, ETHERNET(8, 0), IPV4(36, 17), UDP(16), 'i', 'n', 's', 'i', 'd', 'e', '!', '!');
    const uint32_t inner = 14 + 20 + 8 + 8 + 14;
    seal_ipv4(&bench, inner);
    seal_transport(&bench, inner, inner + 20, 6, 17);
    seal_ipv4(&bench, NETWORK);
    seal_transport(&bench, NETWORK, 34, 6, 17);
    assert_int_equal(verified(bench.frame, bench.length).bad_checksum, MB_REASON_NONE);
    const struct mb_new_bytes payload = {inner + 28, 3, (const uint8_t *)"abc"};
    const struct mb_edit headers = {.fields = MB_EDIT_IP_TTL | MB_EDIT_ETH_SOURCE,
                                    .ip_ttl = 5,
                                    .tags_pushed = 1,
                                    .tags = {{0x8100, 9}}};
    EXPECT_REASON(edit_payload(&bench, &headers, &payload, 1), NONE);
    expect_right(&bench);
    assert_int_equal(bench.copy[NETWORK + 4 + 8], 64); /* outside */
    assert_int_equal(bench.copy[inner + 4 + 8], 5);
    assert_memory_equal(bench.copy + inner + 4 + 28, "abcide", 6);
    assert_memory_equal(bench.copy + 6, ((uint8_t[6]){0}), 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_of_ipv4_and_tcp_is_written_and_no_other),
        cmocka_unit_test(fields_of_ipv6_lie_elsewhere),
        cmocka_unit_test(bytes_of_the_payload_are_replaced_at_any_place_and_of_any_number),
        cmocka_unit_test(of_replacements_that_overlap_the_later_one_holds),
        cmocka_unit_test(what_is_replaced_by_itself_changes_nothing),
        cmocka_unit_test(a_wrong_checksum_stays_wrong_by_as_much),
        cmocka_unit_test(a_checksum_over_a_part_of_the_datagram_counts_that_part),
        cmocka_unit_test(a_tag_is_pushed_in_front_of_all_others),
        cmocka_unit_test(a_tag_is_popped_from_the_outside),
        cmocka_unit_test(a_tag_takes_the_place_of_another),
        cmocka_unit_test(fields_that_a_packet_lacks_are_refused),
        cmocka_unit_test(bytes_outside_of_the_payload_are_refused),
        cmocka_unit_test(of_a_fragment_only_what_others_need_not_agree_on_changes),
        cmocka_unit_test(a_checksum_that_is_no_sum_keeps_its_payload),
        cmocka_unit_test(in_a_tunnel_the_innermost_packet_changes_and_all_checksums_around_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
