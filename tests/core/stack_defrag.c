/*
 * Datagrams put together from fragments: what makes them whole, what receivers let go, limits, and
 * where the whole ones lie.
 */
#include "tests/core/stack_fixture.h"

#include "microbox/stack/core.h"
#include "microbox/stack/fragments/defrag.h"
#include "microbox/stack/wire/checksum.h"

#include <time.h>

enum { FRAME_MAX = 2048, UDP = 17, TCP = 6, IP_IN_IP = 4 };

/* A part of a datagram's payload; what is left out is 0. */
struct part {
    const void *bytes; /* of the part itself */
    uint32_t start;
    uint32_t length;
    bool more;
    uint32_t identification;
    uint8_t protocol; /* default UDP */
    uint16_t vlan;
    uint32_t cut; /* bytes that the capture's snap length took off the end */
    uint32_t source;
};

/* The payload of a UDP datagram from 10.0.0.1:1000 to 10.0.0.2:53, with letters as its bytes. */
static void write_udp(uint8_t *to, uint32_t length) {
    stack_put_16(to, 1000);
    stack_put_16(to + 2, 53);
    stack_put_16(to + 4, length);
    stack_put_16(to + 6, 0);
    for (uint32_t i = 8; i < length; i++)
        to[i] = (uint8_t)('a' + i % 26);
}

static void send_part(struct stack_fixture *stack, struct part part) {
    uint8_t frame[FRAME_MAX];
    uint8_t protocol = part.protocol != 0 ? part.protocol : UDP;
    uint32_t headers = stack_write_ipv4(frame, 0, protocol, part.length);
    stack_put_16(frame + 18, part.identification);
    stack_put_16(frame + 20, (part.more ? 0x2000u : 0) | part.start / 8);
    if (part.source != 0)
        stack_put_32(frame + 26, part.source);
    memcpy(frame + headers, part.bytes, part.length);
    uint32_t length = headers + part.length;
    if (part.vlan != 0) {
        memmove(frame + 16, frame + 12, length - 12);
        stack_put_16(frame + 12, 0x8100);
        stack_put_16(frame + 14, part.vlan);
        length += 4;
    }
    stack_frame(stack, frame, length - part.cut, length, 1);
}

/* Bytes [start, end) of a datagram of `length` bytes. */
static void send_range(struct stack_fixture *stack, const uint8_t *datagram, uint32_t length,
                       uint32_t start, uint32_t end, uint32_t identification) {
    send_part(stack, (struct part){.bytes = datagram + start,
                                   .start = start,
                                   .length = end - start,
                                   .more = end < length,
                                   .identification = identification});
}

static void send_part_6(struct stack_fixture *stack, struct part part) {
    uint8_t frame[FRAME_MAX] = {0};
    stack_put_16(frame + 12, 0x86dd);
    frame[14] = 0x60;
    stack_put_16(frame + 18, 8 + part.length);
    frame[20] = 44;
    frame[21] = 64;
    frame[14 + 23] = 1;
    frame[14 + 39] = 2;
    frame[54] = UDP;
    stack_put_16(frame + 56, part.start | part.more);
    stack_put_32(frame + 58, part.identification);
    memcpy(frame + 62, part.bytes, part.length);
    stack_frame(stack, frame, 62 + part.length, 62 + part.length, 1);
}

static const struct mb_stack_counters *counters(const struct stack_fixture *stack) {
    return mb_stack_counters(stack->stack);
}

static uint64_t told(const struct stack_fixture *stack, uint8_t reason) {
    return counters(stack)->by_reason[reason];
}

static void expect_datagram(struct stack_fixture *stack, const uint8_t *datagram, uint32_t length) {
    const struct mb_entry *entry = stack_next(stack, MB_TYPE_UDP_DATAGRAM);
    assert_non_null(entry);
    assert_int_equal(entry->data_length, length - 8);
    assert_memory_equal(stack->pool + entry->frame + entry->data_offset, datagram + 8, length - 8);
}

static void open_with(struct stack_fixture *stack, struct mb_stack_config config) {
    struct mb_subscription everything = stack_everything();
    stack_open_with(stack, &config, &everything, 1, NULL, 0);
}

/* --- whole datagrams --- */

static void fragments_in_any_order_make_a_datagram(void **state) {
    (void)state;
    static const uint32_t orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const uint32_t bounds[] = {0, 16, 40, 61};
    uint8_t datagram[61];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    stack_open(&stack);
    for (uint32_t i = 0; i < 6; i++) {
        for (unsigned k = 0; k < 3; k++) {
            assert_null(stack_next(&stack, MB_TYPE_UDP_DATAGRAM));
            uint32_t part = orders[i][k];
            send_range(&stack, datagram, sizeof datagram, bounds[part], bounds[part + 1], 7 + i);
        }
        expect_datagram(&stack, datagram, sizeof datagram);
    }
    assert_int_equal(counters(&stack)->datagrams_reassembled, 6);
    stack_close(&stack);
}

static void a_whole_datagram_is_no_packet_more(void **state) {
    (void)state;
    uint8_t datagram[32];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    stack_open(&stack);
    send_range(&stack, datagram, 32, 0, 16, 1);
    send_range(&stack, datagram, 32, 16, 32, 1);
    assert_int_equal(counters(&stack)->packets, 2);
    assert_int_equal(counters(&stack)->packets_other, 2);
    assert_int_equal(counters(&stack)->packets_udp, 0);
    assert_int_equal(counters(&stack)->fragments, 2);
    assert_int_equal(counters(&stack)->fragments_held_bytes, 0);
    assert_int_equal(stack_count(&stack, MB_TYPE_PACKET_IP_FRAGMENT), 2);
    const struct mb_entry *packet = stack_next(&stack, MB_TYPE_PACKET_IP_UDP);
    assert_int_equal(packet->packet, 2);
    assert_int_equal(packet->payload.packet.fragments, 2);
    assert_int_equal(packet->payload.packet.tuple.destination_port, 53);
    const struct mb_entry *data = stack_next(&stack, MB_TYPE_UDP_DATAGRAM);
    assert_int_equal(data->packet, 2);
    assert_true(data->flags & MB_LAST);
    assert_int_equal(data->snapshot.side[0].packets, 1);
    stack_close(&stack);
}

static void the_frame_is_as_if_it_had_never_been_cut_up(void **state) {
    (void)state;
    uint8_t datagram[32];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    stack_open(&stack);
    send_range(&stack, datagram, 32, 16, 32, 9);
    send_range(&stack, datagram, 32, 0, 16, 9);
    const struct mb_entry *packet = stack_next(&stack, MB_TYPE_PACKET_IP_UDP);
    const uint8_t *frame = stack.pool + packet->frame;
    uint8_t expected[34];
    stack_write_ipv4(expected, 0, UDP, 32);
    stack_put_16(expected + 18, 9);
    assert_int_equal(packet->frame_length, 66);
    assert_memory_equal(frame, expected, 24);
    assert_int_equal(mb_checksum_fold(mb_checksum_add(0, frame + 14, 20)), 0xffff);
    assert_memory_equal(frame + 26, expected + 26, 8);
    assert_memory_equal(frame + 34, datagram, sizeof datagram);
    stack_close(&stack);
}

static void ipv6_loses_its_fragment_header(void **state) {
    (void)state;
    uint8_t datagram[32];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    stack_open(&stack);
    send_part_6(&stack, (struct part){.bytes = datagram + 24, .start = 24, .length = 8});
    send_part_6(&stack, (struct part){.bytes = datagram, .length = 24, .more = true});
    const struct mb_entry *packet = stack_next(&stack, MB_TYPE_PACKET_IP_UDP);
    const uint8_t *frame = stack.pool + packet->frame;
    assert_int_equal(packet->frame_length, 14 + 40 + 32);
    assert_int_equal(mb_read_16(frame + 18), 32);
    assert_int_equal(frame[20], UDP);
    assert_memory_equal(frame + 54, datagram, sizeof datagram);
    expect_datagram(&stack, datagram, sizeof datagram);
    stack_close(&stack);
}

static void other_datagrams_fragments_stay_apart(void **state) {
    (void)state;
    uint8_t datagram[32];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    stack_open(&stack);
    struct part first = {.bytes = datagram, .length = 16, .more = true, .identification = 5};
    struct part last = {.bytes = datagram + 16, .start = 16, .length = 16, .identification = 5};
    send_part(&stack, first);
    struct part other = last;
    other.identification = 6;
    send_part(&stack, other);
    other = last;
    other.protocol = TCP;
    send_part(&stack, other);
    other = last;
    other.vlan = 3;
    send_part(&stack, other);
    other = last;
    other.source = 0x0a000009;
    send_part(&stack, other);
    assert_int_equal(counters(&stack)->datagrams_reassembled, 0);
    send_part(&stack, last);
    expect_datagram(&stack, datagram, sizeof datagram);
    stack_close(&stack);
}

static void what_a_snap_length_cut_stays_cut(void **state) {
    (void)state;
    uint8_t datagram[48];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    stack_open(&stack);
    send_part(&stack, (struct part){.bytes = datagram, .length = 24, .more = true, .cut = 4});
    send_range(&stack, datagram, 48, 24, 48, 0);
    const struct mb_entry *packet = stack_next(&stack, MB_TYPE_PACKET_IP_UDP);
    assert_int_equal(packet->reason, MB_REASON_PAYLOAD_CUT);
    assert_int_equal(packet->data_length, 12);
    assert_int_equal(packet->frame_length, 34 + 20);
    assert_int_equal(packet->payload.packet.wire_length, 34 + 48);
    stack_close(&stack);
}

/* A tunnel's packet was cut up before it went into the tunnel, and again inside it. */
static void fragments_inside_fragments(void **state) {
    (void)state;
    uint8_t datagram[32];
    uint8_t inner[2][36];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    stack_open(&stack);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t frame[34];
        stack_write_ipv4(frame, 1, UDP, 16);
        stack_put_16(frame + 20, i == 0 ? 0x2000 : 2);
        memcpy(inner[i], frame + 14, 20);
        memcpy(inner[i] + 20, datagram + 16 * i, 16);
    }
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned half = 0; half < 2; half++)
            send_part(&stack, (struct part){.bytes = inner[i] + 24 * half,
                                            .start = 24 * half,
                                            .length = half == 0 ? 24 : 12,
                                            .more = half == 0,
                                            .identification = i,
                                            .protocol = IP_IN_IP});
        assert_int_equal(stack.handled.datagrams[0].completes, true);
        assert_int_equal(stack.handled.datagrams[1].completes, i == 1);
    }
    expect_datagram(&stack, datagram, sizeof datagram);
    assert_int_equal(counters(&stack)->datagrams_reassembled, 3);
    assert_int_equal(counters(&stack)->fragments, 4);
    stack_close(&stack);
}

static void nobody_reads_so_nothing_is_kept(void **state) {
    (void)state;
    uint8_t datagram[32];
    struct stack_fixture stack;
    struct mb_subscription arp = {.filter = ""};
    stack_want(&arp, MB_TYPE_PACKET_ARP);
    write_udp(datagram, sizeof datagram);
    stack_open_with(&stack, &(struct mb_stack_config){0}, &arp, 1, NULL, 0);
    send_range(&stack, datagram, 32, 0, 16, 1);
    assert_int_equal(counters(&stack)->fragments_held_bytes, 0);
    send_range(&stack, datagram, 32, 16, 32, 1);
    assert_int_equal(counters(&stack)->datagrams_reassembled, 0);
    assert_int_equal(counters(&stack)->fragments, 2);
    stack_close(&stack);
}

/* --- overlaps --- */

/* Two copies of bytes 16 to 31, the second one with other bytes and a fragment of its own. */
static void send_two_copies(struct stack_fixture *stack, const uint8_t *datagram) {
    static const uint8_t other[] = "################";
    send_range(stack, datagram, 48, 16, 32, 1);
    send_part(stack,
              (struct part){
                  .bytes = other, .start = 16, .length = 16, .more = true, .identification = 1});
    send_range(stack, datagram, 48, 32, 48, 1);
    send_range(stack, datagram, 48, 0, 16, 1);
}

static void the_receivers_system_decides_between_copies(void **state) {
    (void)state;
    uint8_t datagram[48];
    write_udp(datagram, sizeof datagram);
    for (uint8_t policy = 0; policy < MB_OVERLAP_POLICIES; policy++) {
        struct stack_fixture stack;
        struct mb_host_network everybody = {.address = {[10] = 0xff, [11] = 0xff},
                                            .prefix_length = 96,
                                            .profile = {.fragments = policy}};
        open_with(&stack, (struct mb_stack_config){.hosts = &everybody, .host_count = 1});
        send_two_copies(&stack, datagram);
        bool second_wins = policy == MB_OVERLAP_LAST || policy == MB_OVERLAP_LINUX;
        const struct mb_entry *entry = stack_next(&stack, MB_TYPE_UDP_DATAGRAM);
        const uint8_t *bytes = stack.pool + entry->frame + entry->data_offset;
        assert_int_equal(bytes[16 - 8], second_wins ? '#' : datagram[16]);
        assert_int_equal(told(&stack, MB_REASON_FRAGMENT_OVERLAP_INCONSISTENT), 1);
        stack_close(&stack);
    }
}

static void overlaps_are_told_by_kind(void **state) {
    (void)state;
    uint8_t datagram[64];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    stack_open(&stack);
    send_range(&stack, datagram, 64, 0, 40, 1);
    send_range(&stack, datagram, 64, 0, 40, 1);
    assert_int_equal(told(&stack, MB_REASON_FRAGMENT_DUPLICATE), 1);
    send_range(&stack, datagram, 64, 8, 32, 1);
    assert_int_equal(told(&stack, MB_REASON_FRAGMENT_TEARDROP), 1);
    send_range(&stack, datagram, 64, 32, 48, 1);
    assert_int_equal(told(&stack, MB_REASON_FRAGMENT_OVERLAP), 1);
    send_range(&stack, datagram, 64, 48, 64, 1);
    expect_datagram(&stack, datagram, sizeof datagram);
    stack_close(&stack);
}

/* RFC 5722: the datagram, and what comes of it after. RFC 8200: but a repeated fragment is none. */
static void overlapping_fragments_of_ipv6_cost_the_datagram(void **state) {
    (void)state;
    uint8_t datagram[48];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    stack_open(&stack);
    struct part first = {.bytes = datagram, .length = 24, .more = true};
    send_part_6(&stack, first);
    send_part_6(&stack, first);
    assert_int_equal(told(&stack, MB_REASON_FRAGMENT_DUPLICATE), 1);
    send_part_6(&stack,
                (struct part){.bytes = datagram + 16, .start = 16, .length = 16, .more = 1});
    const struct mb_entry *incomplete = stack_next(&stack, MB_TYPE_INCOMPLETE_DATAGRAM);
    assert_int_equal(incomplete->reason, MB_REASON_FRAGMENT_OVERLAP);
    assert_int_equal(incomplete->payload.incomplete_datagram.fragments, 3);
    send_part_6(&stack, (struct part){.bytes = datagram + 24, .start = 24, .length = 24});
    assert_int_equal(told(&stack, MB_REASON_FRAGMENT_REFUSED), 1);
    assert_int_equal(counters(&stack)->datagrams_reassembled, 0);
    assert_int_equal(counters(&stack)->fragments_held_bytes, 0);
    stack_close(&stack);
}

/* --- fragments that receivers let go --- */

static void expect_let_go(struct part part, uint8_t reason) {
    uint8_t datagram[64];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    stack_open(&stack);
    send_range(&stack, datagram, 64, 0, 16, 0);
    send_range(&stack, datagram, 64, 48, 64, 0);
    part.bytes = datagram;
    send_part(&stack, part);
    assert_int_equal(told(&stack, reason), 1);
    assert_int_equal(counters(&stack)->fragments_refused, 1);
    assert_int_equal(stack.log.slots[stack.log.next - 1].reason, reason);
    send_range(&stack, datagram, 64, 16, 48, 0);
    expect_datagram(&stack, datagram, sizeof datagram);
    stack_close(&stack);
}

static void what_receivers_let_go_is_let_go(void **state) {
    (void)state;
    expect_let_go((struct part){.start = 16, .more = true}, MB_REASON_FRAGMENT_ZERO_LENGTH);
    expect_let_go((struct part){.start = 16, .length = 12, .more = true},
                  MB_REASON_FRAGMENT_LENGTH);
    expect_let_go((struct part){.start = 65528, .length = 60}, MB_REASON_FRAGMENT_TOO_LONG);
    expect_let_go((struct part){.start = 65528, .length = 0}, MB_REASON_FRAGMENT_ZERO_LENGTH);
    expect_let_go((struct part){.start = 64, .length = 8}, MB_REASON_FRAGMENT_END);
    expect_let_go((struct part){.start = 64, .length = 8, .more = true}, MB_REASON_FRAGMENT_END);
    expect_let_go((struct part){.start = 16, .length = 8}, MB_REASON_FRAGMENT_END);
}

static void the_longest_datagram_is_taken(void **state) {
    (void)state;
    static uint8_t datagram[65515];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    stack_open(&stack);
    for (uint32_t start = 0; start < sizeof datagram; start += 1480)
        send_range(&stack, datagram, sizeof datagram, start,
                   start + 1480 < sizeof datagram ? start + 1480 : sizeof datagram, 1);
    expect_datagram(&stack, datagram, sizeof datagram);
    stack_close(&stack);
}

/* --- limits --- */

static void fragments_time_out_from_the_first_one_on(void **state) {
    (void)state;
    uint8_t datagram[48];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    open_with(&stack, (struct mb_stack_config){.fragment_timeout = 30 * SECONDS});
    send_range(&stack, datagram, 48, 0, 16, 1);
    stack.time += 20 * SECONDS;
    send_range(&stack, datagram, 48, 16, 32, 1);
    stack.time += 11 * SECONDS;
    send_range(&stack, datagram, 48, 32, 48, 1);
    assert_int_equal(counters(&stack)->datagrams_reassembled, 0);
    const struct mb_entry *incomplete = stack_next(&stack, MB_TYPE_INCOMPLETE_DATAGRAM);
    assert_int_equal(incomplete->reason, MB_REASON_FRAGMENT_TIMEOUT);
    assert_true(incomplete->flags & MB_APART);
    assert_int_equal(incomplete->payload.incomplete_datagram.received, 32);
    assert_int_equal(incomplete->payload.incomplete_datagram.identification, 1);
    stack_finish(&stack);
    incomplete = stack_next(&stack, MB_TYPE_INCOMPLETE_DATAGRAM);
    assert_int_equal(incomplete->reason, MB_REASON_END_SHUTDOWN);
    assert_int_equal(counters(&stack)->datagrams_incomplete, 2);
    assert_int_equal(counters(&stack)->fragments_held_bytes, 0);
    stack_close(&stack);
}

static void the_oldest_datagram_gives_way(void **state) {
    (void)state;
    uint8_t datagram[32];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    open_with(&stack, (struct mb_stack_config){.fragmented_datagrams_max = 2});
    for (uint32_t i = 1; i <= 3; i++)
        send_range(&stack, datagram, 32, 0, 16, i);
    const struct mb_entry *incomplete = stack_next(&stack, MB_TYPE_INCOMPLETE_DATAGRAM);
    assert_int_equal(incomplete->reason, MB_REASON_FRAGMENT_LIMIT);
    assert_int_equal(incomplete->payload.incomplete_datagram.identification, 1);
    send_range(&stack, datagram, 32, 16, 32, 3);
    send_range(&stack, datagram, 32, 16, 32, 2);
    assert_int_equal(counters(&stack)->datagrams_reassembled, 2);
    stack_close(&stack);
}

static void bytes_held_have_a_limit(void **state) {
    (void)state;
    uint8_t datagram[256];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    open_with(&stack, (struct mb_stack_config){.fragment_bytes_max = 100});
    for (uint32_t i = 0; i < 40; i++) {
        send_range(&stack, datagram, 256, 0, 40, i);
        assert_true(counters(&stack)->fragments_held_bytes <= 100);
    }
    assert_int_equal(counters(&stack)->datagrams_incomplete, 38);
    stack_close(&stack);
}

static void fragments_of_a_datagram_have_a_limit(void **state) {
    (void)state;
    uint8_t datagram[64];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    open_with(&stack, (struct mb_stack_config){.fragments_per_datagram = 4});
    for (uint32_t i = 0; i < 5; i++)
        send_range(&stack, datagram, 64, 8 * i, 8 * i + 8, 1);
    assert_int_equal(told(&stack, MB_REASON_FRAGMENT_LIMIT), 1);
    stack_close(&stack);
}

static uint64_t met(const struct stack_fixture *stack, enum mb_cap_policy policy) {
    return counters(stack)->caps_met[MB_CAP_FRAGMENTS][policy];
}

/* FragmentSmack by overlaps: each costs a step for each piece that it lies over. */
static void who_overlaps_again_and_again_is_let_do_so_for_a_while(void **state) {
    (void)state;
    enum { PIECES = 4 };
    uint8_t datagram[64];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    open_with(&stack, (struct mb_stack_config){.fragments_per_datagram = PIECES});
    send_range(&stack, datagram, 64, 0, 8, 1);
    send_range(&stack, datagram, 64, 16, 24, 1);
    for (uint32_t i = 0; i < 10; i++)
        send_range(&stack, datagram, 64, 0, 24, 1);
    /* The first lies over two pieces, the second over all three: together more than PIECES. */
    assert_int_equal(told(&stack, MB_REASON_FRAGMENT_OVERLAP), 2);
    assert_int_equal(told(&stack, MB_REASON_FRAGMENT_LIMIT), 8);
    assert_int_equal(met(&stack, MB_AT_CAP_EVICT), 8);
    send_range(&stack, datagram, 64, 24, 64, 1);
    expect_datagram(&stack, datagram, sizeof datagram);
    stack_close(&stack);
}

/* Room for one datagram, which waits, and a fragment of another one. */
static void meet_cap(struct stack_fixture *stack, enum mb_cap_policy policy) {
    uint8_t datagram[32];
    write_udp(datagram, sizeof datagram);
    open_with(stack,
              (struct mb_stack_config){.fragmented_datagrams_max = 1, .fragments_at_cap = policy});
    send_range(stack, datagram, 32, 0, 16, 1);
    send_range(stack, datagram, 32, 0, 16, 2);
    assert_int_equal(met(stack, policy), 1);
    if (policy == MB_AT_CAP_EVICT)
        return;
    assert_int_equal(told(stack, MB_REASON_FRAGMENT_LIMIT), 1);
    assert_int_equal(counters(stack)->datagrams_incomplete, 0);
}

static void a_policy_says_what_happens_at_the_cap(void **state) {
    (void)state;
    struct stack_fixture stack;
    meet_cap(&stack, MB_AT_CAP_EVICT);
    assert_int_equal(counters(&stack)->datagrams_incomplete, 1);
    stack_close(&stack);
    meet_cap(&stack, MB_AT_CAP_DROP_PACKET);
    assert_int_equal(stack.handled.dropped, MB_REASON_FRAGMENT_LIMIT);
    stack_close(&stack);
    meet_cap(&stack, MB_AT_CAP_BYPASS);
    assert_int_equal(stack_count(&stack, MB_TYPE_PACKET_IP_FRAGMENT), 1);
    assert_int_equal(stack.handled.dropped, MB_REASON_NONE);
    stack_close(&stack);
    meet_cap(&stack, MB_AT_CAP_PASS);
    assert_int_equal(stack_count(&stack, MB_TYPE_PACKET_IP_FRAGMENT), 2);
    assert_int_equal(stack.handled.dropped, MB_REASON_NONE);
    stack_close(&stack);
}

static void a_datagram_dropped_at_the_cap_stays_dropped(void **state) {
    (void)state;
    uint8_t datagram[64];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    open_with(&stack, (struct mb_stack_config){.fragments_per_datagram = 2,
                                               .fragments_at_cap = MB_AT_CAP_DROP_FLOW});
    for (uint32_t i = 0; i < 3; i++)
        send_range(&stack, datagram, 64, 16 * i, 16 * i + 8, 1);
    assert_int_equal(stack.handled.dropped, MB_REASON_FRAGMENT_LIMIT);
    send_range(&stack, datagram, 64, 48, 64, 1);
    assert_int_equal(stack.handled.dropped, MB_REASON_FRAGMENT_REFUSED);
    stack_close(&stack);
}

static void a_datagram_dropped_at_the_limit_on_bytes_stays_dropped(void **state) {
    (void)state;
    uint8_t datagram[128];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    open_with(&stack, (struct mb_stack_config){.fragment_bytes_max = 100,
                                               .fragments_at_cap = MB_AT_CAP_DROP_FLOW});
    send_range(&stack, datagram, 128, 0, 40, 1);
    send_range(&stack, datagram, 128, 40, 80, 1);
    send_range(&stack, datagram, 128, 80, 120, 1);
    assert_int_equal(stack.handled.dropped, MB_REASON_FRAGMENT_LIMIT);
    send_range(&stack, datagram, 128, 120, 128, 1);
    assert_int_equal(stack.handled.dropped, MB_REASON_FRAGMENT_REFUSED);
    assert_int_equal(counters(&stack)->fragments_held_bytes, 0);
    stack_close(&stack);
}

static void a_cap_can_be_forced(void **state) {
    (void)state;
    uint8_t datagram[32];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    open_with(&stack, (struct mb_stack_config){.fragments_at_cap = MB_AT_CAP_PASS,
                                               .force_fragments = UINT32_MAX});
    send_range(&stack, datagram, 32, 0, 16, 1);
    assert_int_equal(met(&stack, MB_AT_CAP_PASS), 1);
    assert_int_equal(counters(&stack)->fragments_refused, 1);
    stack_close(&stack);
}

/* --- where whole datagrams lie --- */

static void send_fragmented_tcp(struct stack_fixture *stack, uint32_t sequence, const char *text) {
    uint8_t segment[64] = {0};
    uint32_t length = 20 + (uint32_t)strlen(text);
    static uint32_t identification = 1000;
    stack_put_16(segment, 1000);
    stack_put_16(segment + 2, 80);
    stack_put_32(segment + 4, sequence);
    stack_put_32(segment + 8, 301);
    segment[12] = 0x50;
    segment[13] = ACK;
    stack_put_16(segment + 14, 65535);
    memcpy(segment + 20, text, length - 20);
    identification++;
    for (uint32_t start = 0; start < length; start += 8)
        send_part(stack, (struct part){.bytes = segment + start,
                                       .start = start,
                                       .length = length - start < 8 ? length - start : 8,
                                       .more = start + 8 < length,
                                       .identification = identification,
                                       .protocol = TCP});
}

static void send_many_datagrams(struct stack_fixture *stack, uint32_t count) {
    uint8_t datagram[32];
    write_udp(datagram, sizeof datagram);
    for (uint32_t i = 0; i < count; i++) {
        send_range(stack, datagram, 32, 0, 16, i);
        send_range(stack, datagram, 32, 16, 32, i);
    }
}

/* The log has no reader, so slots are free as soon as their packets are committed. */
static void a_segment_out_of_order_keeps_its_datagram(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    send_fragmented_tcp(&stack, 105, "second");
    send_many_datagrams(&stack, 4 * STACK_DATAGRAMS * MB_ASSEMBLED_SMALL_PER_LARGE);
    send_fragmented_tcp(&stack, 101, "one.");
    assert_string_equal(stack_text(&stack, 0), "one.second");
    stack_close(&stack);
}

static void held_segments_in_all_slots_leave_no_room(void **state) {
    (void)state;
    uint8_t datagram[32];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    open_with(&stack, (struct mb_stack_config){.assembled_datagrams_max = 1});
    stack_handshake(&stack);
    for (uint32_t i = 0; i < MB_ASSEMBLED_SMALL_PER_LARGE; i++)
        send_fragmented_tcp(&stack, 105 + 10 * i, "apart");
    assert_int_equal(told(&stack, MB_REASON_FRAGMENT_LIMIT), 0);
    send_many_datagrams(&stack, 1);
    assert_int_equal(told(&stack, MB_REASON_FRAGMENT_LIMIT), 1);
    send_fragmented_tcp(&stack, 500, "this one neither");
    assert_int_equal(counters(&stack)->datagrams_reassembled, MB_ASSEMBLED_SMALL_PER_LARGE);
    /* The fragments themselves are events in any case. The hole is filled: slots are free again. */
    stack_send(&stack, 0, ACK, 101, 301, "hole");
    assert_string_equal(stack_text(&stack, 0), "holeapart");
    send_range(&stack, datagram, 32, 0, 16, 77);
    send_range(&stack, datagram, 32, 16, 32, 77);
    expect_datagram(&stack, datagram, sizeof datagram);
    assert_int_equal(told(&stack, MB_REASON_FRAGMENT_LIMIT), 2);
    assert_int_equal(counters(&stack)->datagrams_incomplete, 2);
    stack_close(&stack);
}

/* Moves a reader that takes batches behind the last complete one. */
static void pass_batches(struct stack_fixture *stack, struct mb_nf_page *reader) {
    uint64_t end = stack->log.head;
    while (end > reader->cursor &&
           !(stack->log.slots[(end - 1) & stack->log.slot_mask].flags & MB_ENDS_BATCH))
        end--;
    reader->cursor = end;
}

static void read_batches(struct stack_fixture *stack, struct mb_nf_page *reader, uint32_t size,
                         uint32_t count) {
    static uint8_t datagram[8000];
    write_udp(datagram, size);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t start = 0; start < size; start += 1600) {
            send_range(stack, datagram, size, start, start + 1600 < size ? start + 1600 : size, i);
            pass_batches(stack, reader);
        }
    }
    assert_int_not_equal(reader->cursor, 0);
}

/* Or the reader waits for its batch to be complete, and the stack for the reader. */
static void batches_end_before_the_slots_do(void **state) {
    (void)state;
    enum { LARGE = 4 };
    struct stack_fixture stack;
    struct mb_nf_page reader = {0};
    open_with(&stack, (struct mb_stack_config){.assembled_datagrams_max = LARGE});
    const struct mb_consumer consumer = {.page = &reader, .mask = {1, 0}};
    assert_int_equal(mb_log_attach(&stack.log, 0, &consumer), 0);
    read_batches(&stack, &reader, 8000, 3 * LARGE);
    read_batches(&stack, &reader, 2000, 3 * LARGE * MB_ASSEMBLED_SMALL_PER_LARGE);
    /* The more is held back, the sooner. */
    stack_handshake(&stack);
    for (uint32_t i = 0; i < LARGE * MB_ASSEMBLED_SMALL_PER_LARGE; i++) {
        send_fragmented_tcp(&stack, 105 + 10 * i, "apart");
        pass_batches(&stack, &reader);
        read_batches(&stack, &reader, 2000, 4);
    }
    stack_close(&stack);
}

/* Whatever the cap on held segments makes of a flow, its end lets go of all slots. */
static void no_policy_keeps_a_slot(void **state) {
    (void)state;
    for (unsigned policy = 0; policy < MB_CAP_POLICIES; policy++) {
        struct stack_fixture stack;
        open_with(&stack,
                  (struct mb_stack_config){.held_segments_per_flow = 3, .held_at_cap = policy});
        stack_handshake(&stack);
        for (uint32_t i = 0; i < 3; i++)
            send_fragmented_tcp(&stack, 105 + 10 * i, "apart");
        assert_int_equal(stack.stack->assembled.classes[0].pinned, 3);
        for (uint32_t i = 3; i < 6; i++)
            send_fragmented_tcp(&stack, 105 + 10 * i, "apart");
        assert_int_not_equal(counters(&stack)->caps_met[MB_CAP_HELD][policy], 0);
        stack_send(&stack, 1, RST, 301, 0, NULL);
        stack_send(&stack, 0, RST, 101, 0, NULL);
        stack_finish(&stack);
        assert_int_equal(stack.stack->assembled.classes[0].pinned, 0);
        stack_close(&stack);
    }
}

/* Readers hold slots: the stack takes no further packet instead of overwriting what they read. */
static void a_slot_waits_for_its_readers(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_nf_page reader = {0};
    uint8_t datagram[32];
    write_udp(datagram, sizeof datagram);
    open_with(&stack, (struct mb_stack_config){.assembled_datagrams_max = 1});
    const struct mb_consumer consumer = {.page = &reader, .mask = {1, 0}};
    assert_int_equal(mb_log_attach(&stack.log, 0, &consumer), 0);
    send_many_datagrams(&stack, MB_ASSEMBLED_SMALL_PER_LARGE - 1);
    struct mb_frame frame = {.length = 34 + 16, .wire_length = 34 + 16, .link_type = 1};
    assert_int_equal(mb_stack_handle(stack.stack, stack.pool, &frame, 1, &stack.handled), 0);
    reader.cursor = stack.log.head;
    assert_int_equal(mb_stack_handle(stack.stack, stack.pool, &frame, 1, &stack.handled), 1);
    stack_close(&stack);
}

/* --- what the gate is told --- */

static void later_fragments_name_the_packet_that_completed(void **state) {
    (void)state;
    uint8_t datagram[32];
    struct stack_fixture stack;
    write_udp(datagram, sizeof datagram);
    stack_open(&stack);
    send_range(&stack, datagram, 32, 0, 16, 1);
    const struct mb_handled_datagram first = stack.handled.datagrams[0];
    assert_int_not_equal(first.slot, 0);
    assert_int_equal(first.before, 0);
    assert_false(first.completes);
    send_range(&stack, datagram, 32, 16, 32, 1);
    assert_true(stack.handled.datagrams[0].completes);
    send_range(&stack, datagram, 32, 16, 32, 1);
    assert_int_equal(stack.handled.datagrams[0].slot, first.slot);
    assert_int_equal(stack.handled.datagrams[0].before, 2);
    send_range(&stack, datagram, 32, 0, 16, 1);
    assert_true(stack.handled.datagrams[0].completes);
    assert_int_equal(stack.handled.datagrams[0].before, 2);
    stack.time += 61 * SECONDS;
    send_range(&stack, datagram, 32, 16, 32, 1);
    assert_int_equal(stack.handled.datagrams[0].before, 0);
    stack_close(&stack);
}

/* --- hostile --- */

static uint64_t processor_time(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * SECONDS + (uint64_t)time.tv_nsec;
}

enum flood { ORDINARY, NEW_DATAGRAMS, ONE_DATAGRAM };
enum { FLOOD = 1000000, FLOOD_BATCH = MB_BATCH };

/* Handles FLOOD packets that are made in place, and returns the processor time that it took. */
static uint64_t flood(struct stack_fixture *stack, enum flood kind) {
    static uint8_t frames[FLOOD_BATCH][64];
    struct mb_frame references[FLOOD_BATCH];
    struct mb_handled handled[FLOOD_BATCH];
    uint64_t used = 0;
    for (uint32_t done = 0; done < FLOOD; done += FLOOD_BATCH) {
        for (uint32_t i = 0; i < FLOOD_BATCH; i++) {
            uint32_t number = done + i;
            stack_write_ipv4(frames[i], 0, UDP, 30);
            write_udp(frames[i] + 34, 30);
            if (kind == ORDINARY)
                stack_put_32(frames[i] + 26, 0x0a000000 + number);
            if (kind == NEW_DATAGRAMS)
                stack_put_32(frames[i] + 26, 0x0a000000 + number);
            /* From both ends towards the middle, one datagram after another. */
            uint32_t place = number % 2 == 0 ? number % 8000 : 8000 - number % 8000;
            if (kind == ONE_DATAGRAM)
                stack_put_16(frames[i] + 18, number / 8000);
            if (kind != ORDINARY)
                stack_put_16(frames[i] + 20, 0x2000u | (1 + place));
            stack_put_16(frames[i] + 16, 20 + 24);
            references[i] = (struct mb_frame){.offset = i * sizeof frames[0],
                                              .time = stack->time,
                                              .length = 34 + 24,
                                              .wire_length = 34 + 24,
                                              .link_type = 1};
        }
        memcpy(stack->pool, frames, sizeof frames);
        uint64_t before = processor_time();
        size_t count = mb_stack_handle(stack->stack, stack->pool, references, FLOOD_BATCH, handled);
        mb_log_commit(&stack->log);
        used += processor_time() - before;
        assert_int_equal(count, FLOOD_BATCH);
    }
    return used;
}

/* CVE-2018-5391 (FragmentSmack), where packets took thousands of times as long. How many times it
 * is exactly is measured where it is quiet: `make bench`. */
enum { OTHER_ORDER_OF_GROWTH = 30 };

static void a_million_incomplete_fragments_are_no_more_than_packets(void **state) {
    (void)state;
    uint64_t used[3];
    for (enum flood kind = ORDINARY; kind <= ONE_DATAGRAM; kind++) {
        struct stack_fixture stack;
        open_with(&stack, (struct mb_stack_config){.fragmented_datagrams_max = 1024,
                                                   .fragment_bytes_max = 1 << 20});
        used[kind] = flood(&stack, kind);
        assert_true(counters(&stack)->fragments_held_bytes <= 1 << 20);
        assert_int_equal(counters(&stack)->datagrams_reassembled, 0);
        stack_close(&stack);
    }
    print_message("ordinary %llu ns, new datagrams %llu, one datagram %llu\n",
                  (unsigned long long)used[0] / FLOOD, (unsigned long long)used[1] / FLOOD,
                  (unsigned long long)used[2] / FLOOD);
    assert_true(used[NEW_DATAGRAMS] < OTHER_ORDER_OF_GROWTH * used[ORDINARY]);
    assert_true(used[ONE_DATAGRAM] < OTHER_ORDER_OF_GROWTH * used[ORDINARY]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fragments_in_any_order_make_a_datagram),
        cmocka_unit_test(a_whole_datagram_is_no_packet_more),
        cmocka_unit_test(the_frame_is_as_if_it_had_never_been_cut_up),
        cmocka_unit_test(ipv6_loses_its_fragment_header),
        cmocka_unit_test(other_datagrams_fragments_stay_apart),
        cmocka_unit_test(what_a_snap_length_cut_stays_cut),
        cmocka_unit_test(fragments_inside_fragments),
        cmocka_unit_test(nobody_reads_so_nothing_is_kept),
        cmocka_unit_test(the_receivers_system_decides_between_copies),
        cmocka_unit_test(overlaps_are_told_by_kind),
        cmocka_unit_test(overlapping_fragments_of_ipv6_cost_the_datagram),
        cmocka_unit_test(what_receivers_let_go_is_let_go),
        cmocka_unit_test(the_longest_datagram_is_taken),
        cmocka_unit_test(fragments_time_out_from_the_first_one_on),
        cmocka_unit_test(the_oldest_datagram_gives_way),
        cmocka_unit_test(bytes_held_have_a_limit),
        cmocka_unit_test(fragments_of_a_datagram_have_a_limit),
        cmocka_unit_test(who_overlaps_again_and_again_is_let_do_so_for_a_while),
        cmocka_unit_test(a_policy_says_what_happens_at_the_cap),
        cmocka_unit_test(a_datagram_dropped_at_the_cap_stays_dropped),
        cmocka_unit_test(a_datagram_dropped_at_the_limit_on_bytes_stays_dropped),
        cmocka_unit_test(a_cap_can_be_forced),
        cmocka_unit_test(a_segment_out_of_order_keeps_its_datagram),
        cmocka_unit_test(held_segments_in_all_slots_leave_no_room),
        cmocka_unit_test(no_policy_keeps_a_slot),
        cmocka_unit_test(a_slot_waits_for_its_readers),
        cmocka_unit_test(batches_end_before_the_slots_do),
        cmocka_unit_test(later_fragments_name_the_packet_that_completed),
        cmocka_unit_test(a_million_incomplete_fragments_are_no_more_than_packets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
