/*
 * Packets of translated flows: names at their places, in both directions, and checksums as right,
 * or as wrong, as they were. The decoder's verifying part is the judge.
 */
#include "decode_fixture.h"

#include "microbox/stack/edits/edited_frame.h"
#include "microbox/stack/edits/translation.h"
#include "microbox/stack/wire/checksum.h"

enum { FLOW = 9, SLOT = 2, SLOTS = 4, LENGTH_MAX = 256, FORTH = 0, BACK = 1, NETWORK = 14 };

struct bench {
    struct mb_translations *translations;
    uint8_t frame[LENGTH_MAX];
    uint8_t copy[LENGTH_MAX];
    uint32_t length;
};

static int set_up(void **state) {
    struct bench *bench = calloc(1, sizeof *bench);
    bench->translations = mb_translations_create(SLOTS, &decoder);
    assert_non_null(bench->translations);
    *state = bench;
    return 0;
}

static int tear_down(void **state) {
    struct bench *bench = *state;
    mb_translations_destroy(bench->translations);
    free(bench);
    return 0;
}

/* --- frames --- */

static void begin(struct bench *bench) {
    bench->length = 0;
}

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

static uint64_t pseudo_sum(const struct bench *bench, uint32_t network, uint8_t protocol,
                           uint32_t length) {
    const uint8_t *header = bench->frame + network;
    const bool is_4 = header[0] >> 4 == 4;
    uint64_t sum = mb_checksum_add(0, header + (is_4 ? 12 : 8), is_4 ? 8 : 32);
    return mb_checksum_add_number(mb_checksum_add_number(sum, protocol), length);
}

/* Of all bytes from `transport` to the frame's end. */
static void seal_transport(struct bench *bench, uint32_t network, uint32_t transport,
                           uint32_t field, uint8_t protocol) {
    const uint32_t length = bench->length - transport;
    uint8_t *header = bench->frame + transport;
    memset(header + field, 0, 2);
    const uint64_t sum = protocol == 1 ? 0 : pseudo_sum(bench, network, protocol, length);
    write_sum(header + field, mb_checksum_add(sum, header, length));
}

static struct mb_decoded verified(const uint8_t *bytes, uint32_t length) {
    return decode_cut(bytes, length, length, 1);
}

static void expect_right(const uint8_t *bytes, uint32_t length) {
    const struct mb_decoded decoded = verified(bytes, length);
    assert_int_equal(decoded.bad_checksum, MB_REASON_NONE);
    assert_false(decoded.checksum_is_partial);
}

static void make_tcp(struct bench *bench) {
    begin(bench);
    PUT(bench, ETHERNET(8, 0), IPV4(45, 6), TCP(5, 0x18), 'h', 'e', 'l', 'l', 'o');
    seal_ipv4(bench, NETWORK);
    seal_transport(bench, NETWORK, 34, 16, 6);
    expect_right(bench->frame, bench->length);
}

static void make_udp(struct bench *bench) {
    begin(bench);
    PUT(bench, ETHERNET(8, 0), IPV4(31, 17), UDP(11), 'a', 'b', 'c');
    seal_ipv4(bench, NETWORK);
    seal_transport(bench, NETWORK, 34, 6, 17);
    expect_right(bench->frame, bench->length);
}

/* --- translating --- */

static struct mb_leaving leaving(const struct bench *bench, const struct mb_frame *frame,
                                 unsigned direction) {
    return (struct mb_leaving){.frame = frame,
                               .bytes = bench->frame,
                               .flow = FLOW,
                               .flow_slot = SLOT,
                               .direction = (uint8_t)direction};
}

static bool take(struct bench *bench, uint32_t nf, const struct mb_rewrite *rewrite) {
    const struct mb_frame frame = {
        .length = bench->length, .wire_length = bench->length, .link_type = 1};
    const struct mb_leaving packet = leaving(bench, &frame, FORTH);
    return mb_translations_take(bench->translations, &packet, nf, rewrite);
}

static void translate(struct bench *bench, unsigned direction) {
    const struct mb_frame frame = {
        .length = bench->length, .wire_length = bench->length, .link_type = 1};
    const struct mb_leaving packet = leaving(bench, &frame, direction);
    mb_translations_apply(bench->translations, &packet, bench->copy);
}

/* And once more: what is remembered of the first time comes to the same. */
static void apply(struct bench *bench, unsigned direction) {
    uint8_t first[LENGTH_MAX];
    memcpy(bench->copy, bench->frame, bench->length);
    translate(bench, direction);
    memcpy(first, bench->copy, bench->length);
    memcpy(bench->copy, bench->frame, bench->length);
    translate(bench, direction);
    assert_memory_equal(bench->copy, first, bench->length);
}

#define IPV4_NAME(a, b, c, d)                                                                      \
    { [10] = 0xff, 0xff, a, b, c, d }

/* The originator, 10.0.0.1:1234 in the frames, is called 192.0.2.7:40000 from now on. */
static const struct mb_rewrite new_source = {
    .flow = FLOW,
    .source = IPV4_NAME(192, 0, 2, 7),
    .source_port = 40000,
    .fields = MB_REWRITE_SOURCE | MB_REWRITE_SOURCE_PORT,
};

static const struct mb_rewrite new_destination = {
    .flow = FLOW,
    .destination = IPV4_NAME(198, 51, 100, 9),
    .destination_port = 8080,
    .fields = MB_REWRITE_DESTINATION | MB_REWRITE_DESTINATION_PORT,
};

static void expect_address(const uint8_t address[16], uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    assert_memory_equal(address, ((const uint8_t[16])IPV4_NAME(a, b, c, d)), 16);
}

static void the_originators_name_is_the_source_forth_and_the_destination_back(void **state) {
    struct bench *bench = *state;
    make_tcp(bench);
    assert_true(take(bench, 0, &new_source));
    apply(bench, FORTH);
    expect_right(bench->copy, bench->length);
    struct mb_decoded decoded = verified(bench->copy, bench->length);
    expect_address(decoded.tuple.source, 192, 0, 2, 7);
    expect_address(decoded.tuple.destination, 10, 0, 0, 2);
    assert_int_equal(decoded.tuple.source_port, 40000);
    assert_int_equal(decoded.tuple.destination_port, 80);
    assert_memory_equal(bench->copy + 54, "hello", 5);

    apply(bench, BACK); /* as if 10.0.0.1 were the responder */
    expect_right(bench->copy, bench->length);
    decoded = verified(bench->copy, bench->length);
    expect_address(decoded.tuple.source, 10, 0, 0, 1);
    expect_address(decoded.tuple.destination, 192, 0, 2, 7);
    assert_int_equal(decoded.tuple.source_port, 1234);
    assert_int_equal(decoded.tuple.destination_port, 40000);
}

static void translate_other(struct bench *bench, uint32_t at, uint8_t turned) {
    bench->frame[at] ^= turned;
    apply(bench, FORTH);
    bench->frame[at] ^= turned;
}

/* Whatever the next one is: the same, or another in any bit of its headers. */
static void what_is_remembered_of_a_segment_changes_nothing_for_the_next(void **state) {
    struct bench *bench = *state;
    make_tcp(bench);
    for (uint32_t bit = 8 * 12; bit < 8 * bench->length; bit++) {
        const uint8_t turned = (uint8_t)(1 << bit % 8);
        assert_true(take(bench, 0, &new_source));
        apply(bench, FORTH);
        expect_right(bench->copy, bench->length);
        translate_other(bench, bit / 8, turned);
        uint8_t behind_another[LENGTH_MAX];
        memcpy(behind_another, bench->copy, bench->length);
        assert_true(take(bench, 0, &new_source)); /* so nothing is remembered */
        translate_other(bench, bit / 8, turned);
        assert_memory_equal(bench->copy, behind_another, bench->length);
    }
}

static void new_names_take_the_place_of_what_is_remembered(void **state) {
    struct bench *bench = *state;
    make_tcp(bench);
    assert_true(take(bench, 0, &new_source));
    apply(bench, FORTH);
    assert_true(take(bench, 1, &new_destination));
    apply(bench, FORTH);
    expect_right(bench->copy, bench->length);
    const struct mb_decoded decoded = verified(bench->copy, bench->length);
    expect_address(decoded.tuple.source, 192, 0, 2, 7);
    expect_address(decoded.tuple.destination, 198, 51, 100, 9);
}

static void nothing_but_names_and_checksums_changes(void **state) {
    struct bench *bench = *state;
    make_udp(bench);
    assert_true(take(bench, 0, &new_source));
    apply(bench, FORTH);
    for (uint32_t i = 0; i < bench->length; i++) {
        const bool is_name = (i >= 26 && i < 30) || i == 34 || i == 35;
        const bool is_checksum = i == 24 || i == 25 || i == 40 || i == 41;
        if (!is_name && !is_checksum)
            assert_int_equal(bench->copy[i], bench->frame[i]);
    }
}

static void a_wrong_checksum_stays_wrong_by_as_much(void **state) {
    struct bench *bench = *state;
    make_tcp(bench);
    bench->frame[24] ^= 0x10;
    bench->frame[50] ^= 0x01;
    assert_true(take(bench, 0, &new_source));
    apply(bench, FORTH);
    const struct mb_decoded decoded = verified(bench->copy, bench->length);
    assert_int_equal(decoded.bad_checksum, MB_REASON_IPV4_CHECKSUM);
    bench->copy[24] ^= 0x10;
    assert_int_equal(verified(bench->copy, bench->length).bad_checksum, MB_REASON_TCP_BAD_CHECKSUM);
    make_tcp(bench);
    uint8_t right[LENGTH_MAX];
    apply(bench, FORTH);
    memcpy(right, bench->copy, bench->length);
    bench->frame[54] = 'j'; /* other bytes under the same checksum */
    apply(bench, FORTH);
    assert_memory_equal(bench->copy + 50, right + 50, 2);
}

static void a_checksum_that_is_left_to_the_card_stays_so(void **state) {
    struct bench *bench = *state;
    make_tcp(bench);
    const uint16_t partial = mb_checksum_fold(pseudo_sum(bench, NETWORK, 6, 25));
    memcpy(bench->frame + 50, &partial, sizeof partial);
    assert_true(verified(bench->frame, bench->length).checksum_is_partial);
    assert_true(take(bench, 0, &new_source));
    apply(bench, FORTH);
    const struct mb_decoded decoded = verified(bench->copy, bench->length);
    assert_true(decoded.checksum_is_partial);
    assert_int_equal(decoded.bad_checksum, MB_REASON_NONE);
}

static void udp_without_a_checksum_has_none_afterwards(void **state) {
    struct bench *bench = *state;
    make_udp(bench);
    memset(bench->frame + 40, 0, 2);
    assert_true(take(bench, 0, &new_source));
    apply(bench, FORTH);
    assert_memory_equal(bench->copy + 40, "\0\0", 2);
    expect_right(bench->copy, bench->length);
}

/* Where the sum comes out as 0, the field says 0xffff (RFC 768): some source port makes it so. */
static void a_udp_checksum_never_becomes_none(void **state) {
    struct bench *bench = *state;
    unsigned met = 0;
    make_udp(bench);
    for (uint32_t port = 0; port <= UINT16_MAX; port++) {
        struct mb_rewrite rewrite = new_source;
        rewrite.source_port = (uint16_t)port;
        assert_true(take(bench, 0, &rewrite));
        apply(bench, FORTH);
        assert_memory_not_equal(bench->copy + 40, "\0\0", 2);
        met += memcmp(bench->copy + 40, "\xff\xff", 2) == 0;
    }
    assert_int_equal(met, 1);
}

static void ipv6_has_its_addresses_in_the_pseudo_header_alone(void **state) {
    struct bench *bench = *state;
    begin(bench);
    PUT(bench, ETHERNET(0x86, 0xdd), IPV6(20, 6), TCP(5, 2));
    seal_transport(bench, NETWORK, 54, 16, 6);
    expect_right(bench->frame, bench->length);
    const struct mb_rewrite rewrite = {
        .flow = FLOW,
        .source = {0x20, 1, 0xd, 0xb8, [15] = 7},
        .source_port = 40000,
        .fields = MB_REWRITE_SOURCE | MB_REWRITE_SOURCE_PORT,
    };
    assert_true(take(bench, 0, &rewrite));
    apply(bench, FORTH);
    expect_right(bench->copy, bench->length);
    const struct mb_decoded decoded = verified(bench->copy, bench->length);
    assert_memory_equal(decoded.tuple.source, rewrite.source, 16);
    assert_int_equal(decoded.tuple.source_port, 40000);
}

/* RFC 5508 section 3.1. */
static void an_echos_identifier_is_the_originators_both_ways(void **state) {
    struct bench *bench = *state;
    for (unsigned direction = FORTH; direction <= BACK; direction++) {
        begin(bench);
        PUT(bench, ETHERNET(8, 0), IPV4(28, 1), direction == FORTH ? 8 : 0, 0, 0, 0, 0x12, 0x34, 0,
            1);
        seal_ipv4(bench, NETWORK);
        seal_transport(bench, NETWORK, 34, 2, 1);
        expect_right(bench->frame, bench->length);
        assert_true(take(bench, 0, &new_source));
        apply(bench, direction);
        expect_right(bench->copy, bench->length);
        assert_int_equal(verified(bench->copy, bench->length).icmp_identifier, 40000);
    }
}

/* 10.0.0.9, a router, or the responder itself, says that what the originator sent did not come. */
static void make_error(struct bench *bench, uint8_t sender) {
    begin(bench);
    PUT(bench, ETHERNET(8, 0), 0x45, 0, 0, 56, 0, 1, 0, 0, 64, 1, 0, 0, 10, 0, 0, sender, 10, 0, 0,
        1, 3, 3, 0, 0, 0, 0, 0, 0);
    PUT(bench, IPV4(31, 17), UDP(11));
    seal_ipv4(bench, 42);
    bench->frame[68] = 0xab; /* its checksum: over bytes that are not there */
    bench->frame[69] = 0xcd;
    seal_ipv4(bench, NETWORK);
    seal_transport(bench, NETWORK, 34, 2, 1);
    expect_right(bench->frame, bench->length);
}

/* RFC 5508 section 4. */
static void what_an_error_quotes_is_translated_and_a_routers_name_stays(void **state) {
    struct bench *bench = *state;
    make_error(bench, 9);
    assert_true(take(bench, 0, &new_source));
    assert_true(take(bench, 0, &new_destination));
    apply(bench, BACK);
    expect_right(bench->copy, bench->length);
    const uint8_t *copy = bench->copy;
    assert_memory_equal(copy + 26, ((uint8_t[]){10, 0, 0, 9, 192, 0, 2, 7}), 8);
    assert_memory_equal(copy + 54, ((uint8_t[]){192, 0, 2, 7, 198, 51, 100, 9}), 8);
    assert_memory_equal(copy + 62, ((uint8_t[]){40000 >> 8, 40000 & 255, 8080 >> 8, 8080 & 255}),
                        4);
    assert_int_equal(mb_checksum_fold(mb_checksum_add(0, copy + 42, 20)), 0xffff);
    make_udp(bench); /* the same as a packet of its own: its checksum changes by as much */
    bench->frame[40] = 0xab;
    bench->frame[41] = 0xcd;
    uint8_t quoted[2];
    memcpy(quoted, copy + 68, 2);
    apply(bench, FORTH);
    assert_memory_equal(bench->copy + 40, quoted, 2);
}

static void an_error_of_the_other_end_bears_its_new_name(void **state) {
    struct bench *bench = *state;
    make_error(bench, 2);
    assert_true(take(bench, 0, &new_destination));
    apply(bench, BACK);
    expect_right(bench->copy, bench->length);
    assert_memory_equal(bench->copy + 26, ((uint8_t[]){198, 51, 100, 9, 10, 0, 0, 1}), 8);
}

/* Each header around what is inside has a checksum over it. */
static void make_vxlan(struct bench *bench) {
    begin(bench);
    PUT(bench, ETHERNET(8, 0), IPV4(84, 17), 0x30, 0x39, 0x12, 0xb5, 0, 64, 0, 0);
    PUT(bench, 8, 0, 0, 0, 0, 0, 7, 0, ETHERNET(8, 0), IPV4(34, 17), UDP(14), 1, 2, 3, 4, 5, 6);
    seal_ipv4(bench, 64);
    seal_transport(bench, 64, 84, 6, 17);
    seal_ipv4(bench, NETWORK);
    seal_transport(bench, NETWORK, 34, 6, 17);
    expect_right(bench->frame, bench->length);
    assert_int_equal(verified(bench->frame, bench->length).tunnel, MB_TUNNEL_VXLAN);
}

static void checksums_around_a_tunnel_hold(void **state) {
    struct bench *bench = *state;
    make_vxlan(bench);
    assert_true(take(bench, 0, &new_source));
    apply(bench, FORTH);
    expect_right(bench->copy, bench->length);
    const struct mb_decoded decoded = verified(bench->copy, bench->length);
    assert_int_equal(decoded.tunnel, MB_TUNNEL_VXLAN);
    expect_address(decoded.tuple.source, 192, 0, 2, 7);
    assert_memory_equal(bench->copy + 26, bench->frame + 26, 8); /* the tunnel's own ends */
}

/* An NF's bytes in the copy's payload, and all checksums right for them. */
static void edit_payload(struct bench *bench, uint32_t at) {
    struct mb_checksum_trail trail = {0};
    struct mb_decoder noting = decoder;
    noting.verifies = true;
    noting.trail = &trail;
    struct mb_decoded decoded;
    const struct mb_frame frame = {
        .length = bench->length, .wire_length = bench->length, .link_type = 1};
    mb_decode(&noting, &decoded, &frame, bench->frame, 0);
    struct mb_edited_frame edited;
    mb_edit_begin(&edited, bench->frame, bench->copy);
    mb_edit_bytes(&edited, at, (const uint8_t[]){9, 8, 7, 6}, 4);
    mb_repair_checksums(&edited, &trail);
}

static void what_an_edit_did_to_a_checksum_is_not_repaired_again(void **state) {
    struct bench *bench = *state;
    make_vxlan(bench);
    assert_true(take(bench, 0, &new_source));
    memcpy(bench->copy, bench->frame, bench->length);
    edit_payload(bench, 92);
    expect_right(bench->copy, bench->length);
    translate(bench, FORTH);
    expect_right(bench->copy, bench->length);
    assert_memory_equal(bench->copy + 92, ((const uint8_t[]){9, 8, 7, 6}), 4);
}

static void make_fragments(struct bench *first, struct bench *last) {
    begin(first);
    PUT(first, ETHERNET(8, 0), 0x45, 0, 0, 36, 0, 1, 0x20, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0,
        2, UDP(19), 1, 2, 3, 4, 5, 6, 7, 8);
    begin(last);
    PUT(last, ETHERNET(8, 0), 0x45, 0, 0, 23, 0, 1, 0, 2, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 9,
        10, 11);
    seal_ipv4(first, NETWORK);
    seal_ipv4(last, NETWORK);
    uint64_t sum = pseudo_sum(first, NETWORK, 17, 19);
    sum = mb_checksum_add(sum, first->frame + 34, 16);
    write_sum(first->frame + 40, mb_checksum_add(sum, last->frame + 34, 3));
}

static void a_datagram_in_fragments_is_whole_afterwards(void **state) {
    struct bench *first = *state;
    struct bench last = *first;
    make_fragments(first, &last);
    assert_true(take(first, 0, &new_source));
    apply(first, FORTH);
    apply(&last, FORTH);
    assert_int_equal(verified(first->copy, first->length).bad_checksum, MB_REASON_NONE);
    assert_int_equal(verified(last.copy, last.length).bad_checksum, MB_REASON_NONE);
    memcpy(first->frame, first->copy, first->length);
    uint64_t sum = pseudo_sum(first, NETWORK, 17, 19);
    sum = mb_checksum_add(sum, first->copy + 34, 16);
    assert_int_equal(mb_checksum_fold(mb_checksum_add(sum, last.copy + 34, 3)), 0xffff);
    assert_memory_equal(last.copy + 34, last.frame + 34, 3); /* no port is there */
}

static void the_last_nf_of_the_chain_has_the_last_word(void **state) {
    struct bench *bench = *state;
    make_tcp(bench);
    struct mb_rewrite rewrite = new_source;
    assert_true(take(bench, 5, &rewrite));
    rewrite.source[15] = 8;
    rewrite.source_port = 50000;
    assert_true(take(bench, 3, &rewrite));
    assert_true(take(bench, 3, &new_destination));
    apply(bench, FORTH);
    struct mb_decoded decoded = verified(bench->copy, bench->length);
    expect_address(decoded.tuple.source, 192, 0, 2, 7);
    assert_int_equal(decoded.tuple.source_port, 40000);
    expect_address(decoded.tuple.destination, 198, 51, 100, 9);
    assert_true(take(bench, 5, &rewrite));
    apply(bench, FORTH);
    decoded = verified(bench->copy, bench->length);
    expect_address(decoded.tuple.source, 192, 0, 2, 8);
}

static void a_flow_in_the_same_place_is_not_translated(void **state) {
    struct bench *bench = *state;
    make_tcp(bench);
    assert_true(take(bench, 0, &new_source));
    assert_true(mb_translations_know(bench->translations, FLOW, SLOT));
    assert_false(mb_translations_know(bench->translations, FLOW + 1, SLOT));
    assert_false(mb_translations_know(bench->translations, FLOW, SLOT + 1));
    assert_false(mb_translations_know(bench->translations, FLOW, SLOTS));
    assert_false(mb_translations_know(bench->translations, 0, 0));
}

static void what_is_not_sound_is_refused(void **state) {
    struct bench *bench = *state;
    make_tcp(bench);
    struct mb_rewrite rewrite = new_source;
    rewrite.flow = FLOW + 1;
    assert_false(take(bench, 0, &rewrite));
    rewrite = new_source;
    rewrite.fields = 0;
    assert_false(take(bench, 0, &rewrite));
    rewrite.fields = MB_REWRITE_FIELDS + 1;
    assert_false(take(bench, 0, &rewrite));
    rewrite = new_source;
    rewrite.source[0] = 0xfd; /* IPv6 for a flow of IPv4 */
    assert_false(take(bench, 0, &rewrite));
    assert_false(mb_translations_know(bench->translations, FLOW, SLOT));
}

/* Any bytes as a frame of a translated flow, cut anywhere: nothing past its end is read or written,
 * and what is written back is what was there. */
static void no_frame_is_read_or_written_past_its_end(void **state) {
    struct bench *bench = *state;
    void (*const makers[])(struct bench *) = {make_tcp, make_udp};
    struct mb_rewrite all = new_source;
    memcpy(all.destination, new_destination.destination, 16);
    all.destination_port = 8080;
    all.fields = MB_REWRITE_FIELDS;
    make_tcp(bench);
    assert_true(take(bench, 0, &all));
    srandom(5);
    for (unsigned round = 0; round < 20000; round++) {
        if (round % 3 == 2)
            make_error(bench, (uint8_t)(round % 8));
        else
            makers[round % 3](bench);
        for (unsigned damage = (unsigned)random() % 4; damage > 0; damage--)
            bench->frame[(unsigned)random() % bench->length] = (uint8_t)random();
        const uint32_t length = (uint32_t)random() % (bench->length + 1);
        uint8_t *bytes = malloc(length + 1);
        uint8_t *copy = malloc(length + 1);
        memcpy(bytes + 1, bench->frame, length);
        memcpy(copy + 1, bench->frame, length);
        const struct mb_frame frame = {.length = length, .wire_length = length, .link_type = 1};
        struct mb_leaving packet = leaving(bench, &frame, round & 1);
        packet.bytes = bytes + 1;
        mb_translations_apply(bench->translations, &packet, copy + 1);
        free(bytes);
        free(copy);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TRANSLATION_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
        TRANSLATION_TEST(the_originators_name_is_the_source_forth_and_the_destination_back),
        TRANSLATION_TEST(what_is_remembered_of_a_segment_changes_nothing_for_the_next),
        TRANSLATION_TEST(new_names_take_the_place_of_what_is_remembered),
        TRANSLATION_TEST(nothing_but_names_and_checksums_changes),
        TRANSLATION_TEST(a_wrong_checksum_stays_wrong_by_as_much),
        TRANSLATION_TEST(a_checksum_that_is_left_to_the_card_stays_so),
        TRANSLATION_TEST(udp_without_a_checksum_has_none_afterwards),
        TRANSLATION_TEST(a_udp_checksum_never_becomes_none),
        TRANSLATION_TEST(ipv6_has_its_addresses_in_the_pseudo_header_alone),
        TRANSLATION_TEST(an_echos_identifier_is_the_originators_both_ways),
        TRANSLATION_TEST(what_an_error_quotes_is_translated_and_a_routers_name_stays),
        TRANSLATION_TEST(an_error_of_the_other_end_bears_its_new_name),
        TRANSLATION_TEST(checksums_around_a_tunnel_hold),
        TRANSLATION_TEST(what_an_edit_did_to_a_checksum_is_not_repaired_again),
        TRANSLATION_TEST(a_datagram_in_fragments_is_whole_afterwards),
        TRANSLATION_TEST(the_last_nf_of_the_chain_has_the_last_word),
        TRANSLATION_TEST(a_flow_in_the_same_place_is_not_translated),
        TRANSLATION_TEST(what_is_not_sound_is_refused),
        TRANSLATION_TEST(no_frame_is_read_or_written_past_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
