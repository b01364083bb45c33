/*
 * Packets in packets: which tunnels are entered, how deep, and that what is around a packet tells
 * its flow apart.
 */
#include "tests/core/decode_fixture.h"

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

static void expect_tunnel(struct mb_decoded it, enum mb_tunnel tunnel, uint32_t identifier) {
    assert_int_equal(it.tunnel, tunnel);
    assert_int_equal(it.tunnel_identifier, identifier);
    assert_int_equal(it.tuple.destination_port, 53);
}

#define VXLAN(network)                                                                             \
    TUNNEL(0x12, 0xb5, 60), 8, 0, 0, 0, 0, 0, network, 0, ETHERNET(8, 0), INNER_IP
#define GENEVE(network)                                                                            \
    TUNNEL(0x17, 0xc1, 60), 0, 0, 0x65, 0x58, 0, 0, network, 0, ETHERNET(8, 0), INNER_IP
#define GRE_WITH_KEY(key) 0x20, 0, 8, 0, 0, 0, 0, key, INNER_IP
#define GTP(endpoint)     TUNNEL(0x08, 0x68, 46), 0x30, 0xff, 0, 30, 0, 0, 0, endpoint, INNER_IP

static void the_innermost_tunnel_is_named(void **state) {
    (void)state;
    expect_tunnel(DECODE(ETHERNET(8, 0), INNER_IP), MB_TUNNEL_NONE, 0);
    expect_tunnel(DECODE(ETHERNET(0x88, 0x47), 0, 1, 0, 64, 0, 2, 1, 64, INNER_IP), MB_TUNNEL_MPLS,
                  32);
    expect_tunnel(DECODE(ETHERNET(0x88, 0x48), 0, 2, 1, 64, INNER_IP), MB_TUNNEL_MPLS, 32);
    expect_tunnel(DECODE(ETHERNET(0x88, 0x64), 0x11, 0, 0, 9, 0, 32, 0, 0x21, INNER_IP),
                  MB_TUNNEL_PPPOE, 9);
    expect_tunnel(DECODE(ETHERNET(8, 0), IPV4(50, 4), INNER_IP), MB_TUNNEL_IP_IN_IP, 0);
    expect_tunnel(DECODE(ETHERNET(8, 0), IPV4(58, 47), GRE_WITH_KEY(7)), MB_TUNNEL_GRE, 7);
    expect_tunnel(DECODE(ETHERNET(8, 0), IPV4(62, 47), 0x20, 1, 0x88, 0x0b, 0, 34, 0, 6, 0xff, 3, 0,
                         0x21, INNER_IP),
                  MB_TUNNEL_PPTP, 6);
    expect_tunnel(DECODE(ETHERNET(8, 0), IPV4(80, 47), 0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0,
                         5, 0, 0, 0, 0, ETHERNET(8, 0), INNER_IP),
                  MB_TUNNEL_ERSPAN, 5);
    expect_tunnel(DECODE(ETHERNET(8, 0), IPV4(80, 17), VXLAN(4)), MB_TUNNEL_VXLAN, 4);
    expect_tunnel(DECODE(ETHERNET(8, 0), IPV4(80, 17), GENEVE(3)), MB_TUNNEL_GENEVE, 3);
    expect_tunnel(DECODE(ETHERNET(8, 0), IPV4(66, 17), GTP(2)), MB_TUNNEL_GTP, 2);
}

static void tunnels_are_followed_to_a_depth(void **state) {
    (void)state;
    uint8_t frame[14 + 20 * 6 + 30] = {ETHERNET(8, 0)};
    const uint8_t inner[] = {INNER_IP};
    for (unsigned depth = 0; depth <= 6; depth++) {
        const uint8_t header[] = {IPV4(0, 4)};
        for (unsigned i = 0; i < depth; i++) {
            memcpy(frame + 14 + 20 * i, header, sizeof header);
            frame[14 + 20 * i + 3] = (uint8_t)(20 * (depth - i) + sizeof inner);
        }
        memcpy(frame + 14 + 20 * depth, inner, sizeof inner);
        uint32_t length = 14 + 20 * depth + sizeof inner;
        struct mb_decoded it = decode_cut(frame, length, length, 1);
        assert_int_equal(it.depth, depth < 4 ? depth : 4);
        assert_int_equal(it.reason, depth <= 4 ? MB_REASON_NONE : MB_REASON_TUNNEL_TOO_DEEP);
        assert_int_equal(it.transport, depth <= 4 ? MB_TRANSPORT_UDP : MB_TRANSPORT_OTHER);
    }
}

/* --- domains --- */

/* The same packet as its answer would travel: outer addresses the other way round. */
#define IPV4_BACK(total, protocol)                                                                 \
    0x45, 0, 0, total, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1
#define IPV4_ELSEWHERE(total, protocol)                                                            \
    0x45, 0, 0, total, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 3

#define DOMAIN(...) DECODE(ETHERNET(8, 0), __VA_ARGS__).domain

static void both_directions_are_in_one_domain(void **state) {
    (void)state;
    assert_int_equal(DOMAIN(IPV4(50, 4), INNER_IP), DOMAIN(IPV4_BACK(50, 4), INNER_IP));
    assert_int_equal(DOMAIN(IPV4(58, 47), GRE_WITH_KEY(7)),
                     DOMAIN(IPV4_BACK(58, 47), GRE_WITH_KEY(7)));
    assert_int_equal(DOMAIN(IPV4(80, 17), VXLAN(4)), DOMAIN(IPV4_BACK(80, 17), VXLAN(4)));
    assert_int_equal(DOMAIN(IPV4(80, 17), GENEVE(4)), DOMAIN(IPV4_BACK(80, 17), GENEVE(4)));
    /* Each end chose the number that it is sent to by. */
    assert_int_equal(DOMAIN(IPV4(66, 17), GTP(2)), DOMAIN(IPV4_BACK(66, 17), GTP(9)));
}

static void what_is_around_makes_the_domain(void **state) {
    (void)state;
    const uint64_t domains[] = {
        DOMAIN(INNER_IP),
        DOMAIN(IPV4(50, 4), INNER_IP),
        DOMAIN(IPV4_ELSEWHERE(50, 4), INNER_IP),
        DOMAIN(IPV4(70, 4), IPV4(50, 4), INNER_IP),
        DOMAIN(IPV4(58, 47), GRE_WITH_KEY(7)),
        DOMAIN(IPV4(58, 47), GRE_WITH_KEY(8)),
        DOMAIN(IPV4(80, 17), VXLAN(7)),
        DOMAIN(IPV4(80, 17), VXLAN(8)),
        DOMAIN(IPV4_ELSEWHERE(80, 17), VXLAN(8)),
        DOMAIN(IPV4(80, 17), GENEVE(7)),
        DOMAIN(IPV4(66, 17), GTP(7)),
        DECODE(ETHERNET(0x81, 0), 0, 7, 8, 0, INNER_IP).domain,
        DECODE(ETHERNET(0x81, 0), 0, 8, 8, 0, INNER_IP).domain,
        DECODE(ETHERNET(0x88, 0xa8), 0, 7, 0x81, 0, 0, 8, 8, 0, INNER_IP).domain,
        DECODE(ETHERNET(0x88, 0xa8), 0, 8, 0x81, 0, 0, 7, 8, 0, INNER_IP).domain,
        DECODE(ETHERNET(0x81, 0), 0, 7, 8, 0, IPV4(80, 17), VXLAN(7)).domain,
        DECODE(ETHERNET(0x88, 0x64), 0x11, 0, 0, 7, 0, 32, 0, 0x21, INNER_IP).domain,
        DECODE(ETHERNET(0x88, 0x64), 0x11, 0, 0, 8, 0, 32, 0, 0x21, INNER_IP).domain,
    };
    const unsigned count = sizeof domains / sizeof *domains;
    assert_int_equal(domains[0], 0);
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = 0; j < i; j++)
            assert_int_not_equal(domains[i], domains[j]);
}

static void priority_and_label_make_no_domain(void **state) {
    (void)state;
    assert_int_equal(DECODE(ETHERNET(0x81, 0), 0xe0, 7, 8, 0, INNER_IP).domain,
                     DECODE(ETHERNET(0x88, 0xa8), 0, 7, 8, 0, INNER_IP).domain);
    assert_int_equal(DECODE(ETHERNET(0x88, 0x47), 0, 2, 1, 64, INNER_IP).domain, 0);
}

/* --- flows --- */

static const uint8_t tagged_7[] = {ETHERNET(0x81, 0), 0, 7, 8, 0, INNER_IP};
static const uint8_t tagged_8[] = {ETHERNET(0x81, 0), 0, 8, 8, 0, INNER_IP};
static const uint8_t in_vxlan_7[] = {ETHERNET(8, 0), IPV4(80, 17), VXLAN(7)};
static const uint8_t in_vxlan_8[] = {ETHERNET(8, 0), IPV4(80, 17), VXLAN(8)};

static unsigned flows_with(uint32_t ignored) {
    struct stack_fixture stack;
    struct mb_subscription everything = stack_everything();
    stack_open_with(&stack, &(struct mb_stack_config){.flow_key_ignores = ignored}, &everything, 1,
                    NULL, 0);
    stack_frame(&stack, tagged_7, sizeof tagged_7, sizeof tagged_7, 1);
    stack_frame(&stack, tagged_8, sizeof tagged_8, sizeof tagged_8, 1);
    stack_frame(&stack, tagged_7, sizeof tagged_7, sizeof tagged_7, 1);
    stack_frame(&stack, in_vxlan_7, sizeof in_vxlan_7, sizeof in_vxlan_7, 1);
    stack_frame(&stack, in_vxlan_8, sizeof in_vxlan_8, sizeof in_vxlan_8, 1);
    stack_frame(&stack, in_vxlan_7, sizeof in_vxlan_7, sizeof in_vxlan_7, 1);
    unsigned flows = stack_count(&stack, MB_TYPE_UDP_START);
    stack_close(&stack);
    return flows;
}

static void tenants_with_equal_addresses_have_flows_of_their_own(void **state) {
    (void)state;
    assert_int_equal(flows_with(0), 4);
    assert_int_equal(flows_with(MB_IGNORE_VLAN), 3);
    assert_int_equal(flows_with(MB_IGNORE_TUNNEL), 3);
    assert_int_equal(flows_with(MB_IGNORE_VLAN | MB_IGNORE_TUNNEL), 1);
}

static void events_name_the_tunnel(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_frame(&stack, in_vxlan_7, sizeof in_vxlan_7, sizeof in_vxlan_7, 1);
    assert_int_equal(stack_next(&stack, MB_TYPE_PACKET_IP_UDP)->payload.packet.tunnel,
                     MB_TUNNEL_VXLAN);
    const struct mb_flow_start *start = &stack_next(&stack, MB_TYPE_UDP_START)->payload.flow_start;
    assert_int_equal(start->tunnel, MB_TUNNEL_VXLAN);
    assert_int_equal(start->tunnel_identifier, 7);
    stack_finish(&stack);
    const struct mb_flow_end *end = &stack_next(&stack, MB_TYPE_UDP_END)->payload.flow_end;
    assert_int_equal(end->tunnel, MB_TUNNEL_VXLAN);
    assert_int_equal(end->tunnel_identifier, 7);
    stack_close(&stack);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tunnels_are_entered),
        cmocka_unit_test(what_only_looks_like_a_tunnel_stays_a_datagram),
        cmocka_unit_test(the_innermost_tunnel_is_named),
        cmocka_unit_test(tunnels_are_followed_to_a_depth),
        cmocka_unit_test(both_directions_are_in_one_domain),
        cmocka_unit_test(what_is_around_makes_the_domain),
        cmocka_unit_test(priority_and_label_make_no_domain),
        cmocka_unit_test(tenants_with_equal_addresses_have_flows_of_their_own),
        cmocka_unit_test(events_name_the_tunnel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
