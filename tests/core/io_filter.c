/*
 * Filters: which are evaluated once per flow, and what they match.
 *
 *     io_filter [DIRECTORY]    also tries them on the captures there (*.pcap)
 *
 * The judge of a filter's scope is the traffic itself: where a filter says that it is per flow, all
 * packets that a flow sent in one direction must get one answer, and the answer of plain libpcap on
 * the whole frame.
 */
#include "microbox/io/filter.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ETHERNET = 1, RAW = 101 };

static struct mb_filter *compile(const char *expression) {
    char error[MB_ERROR_SIZE];
    struct mb_filter *filter = mb_filter_compile(expression, ETHERNET, error);
    if (!filter)
        fail_msg("%s: %s", expression, error);
    return filter;
}

static const char *const per_flow[] = {
    "",
    "ip",
    "ip6",
    "tcp",
    "udp or icmp",
    "icmp6",
    "port 80",
    "tcp dst port 23",
    "udp src port 53",
    "tcp port 80 or tcp port 443 or udp port 53",
    "portrange 1-1023",
    "host 10.0.0.1",
    "src host 10.0.0.1 and dst port 80",
    "net 192.168.0.0/16 and not port 22",
    "dst net 10.0.0.0/8 and (tcp or udp)",
    "ip6 host 2001:db8::1",
    "src net 2001:db8::/32",
    "ip proto 47",
    "ip6 proto 6",
    "not tcp",
    "tcp[0:2] = 80",
    "tcp[2:2] > 1023",
    "ip[9] = 6",
    "ip[12:4] = 0x0a000001",
    "ip6[8:4] = 0x20010db8",
    "ip multicast",
    "ip6 multicast",
    "sctp port 5060",
    "host 10.0.0.1 and port 80 and not src net 10.1.0.0/16",
};

static const char *const per_packet[] = {
    "tcp[tcpflags] & tcp-syn != 0",
    "tcp[13] = 2",
    "icmp[0] = 8",
    "icmp[0:2] = 3",
    "icmp[icmptype] = icmp-echo",
    "greater 100",
    "less 60",
    "len > 100",
    "port 80 and greater 100",
    "ip[8] < 5",
    "ip[2:2] > 576",
    "ip[6:2] & 0x4000 != 0",
    "ip[6:2] & 0x3fff != 0",
    "ip[0] & 0xf > 5",
    "ip[40:2] = 80",
    "ip6[6:2] = 80",
    "ip6[40:2] = 80",
    "ip6[42:2] = 80",
    "ip6[4:2] > 100",
    "udp[4:2] > 100",
    "udp[8] = 1",
    "tcp[4:4] = 0",
    "ip[ip[0] & 0xf] = 1",
    "ip6 protochain 6",
    "udp[0:2] = udp[2:2]", /* could be per flow; what goes through scratch memory is not followed */
    "arp",
    "not arp",
    "ip or arp",
    "vlan",
    "vlan and ip",
    "mpls",
    "ether host 00:00:00:00:00:01",
    "ether[0] & 1 = 1",
    "ether broadcast",
    "ether proto 0x86dd",
    "multicast",
    "stp",
    "isis",
    "pppoes",
};

static void filters_of_addresses_protocol_and_ports_are_per_flow(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof per_flow / sizeof *per_flow; i++) {
        struct mb_filter *filter = compile(per_flow[i]);
        if (!mb_filter_is_per_flow(filter))
            fail_msg("\"%s\" is not per flow", per_flow[i]);
        mb_filter_destroy(filter);
    }
}

static void filters_of_other_bytes_are_per_packet(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof per_packet / sizeof *per_packet; i++) {
        struct mb_filter *filter = compile(per_packet[i]);
        if (mb_filter_is_per_flow(filter))
            fail_msg("\"%s\" is per flow", per_packet[i]);
        mb_filter_destroy(filter);
    }
}

static void what_libpcap_rejects_is_refused_in_its_words(void **state) {
    (void)state;
    static const struct {
        const char *expression;
        const char *expected;
    } cases[] = {
        {"tcp prot 80", "syntax error"}, {"port 80 and and", "syntax error"},
        {"host 300.1.2.3", "300.1.2.3"}, {"ip and arp", "rejects all packets"},
        {"port 99999", "port"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char error[MB_ERROR_SIZE];
        assert_null(mb_filter_compile(cases[i].expression, ETHERNET, error));
        if (!strstr(error, cases[i].expected))
            fail_msg("%s: \"%s\"", cases[i].expression, error);
    }
}

/* --- on single frames --- */

static const uint8_t arp_frame[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [12] = 0x08, 0x06};

/* IPv4 10.0.0.1:1234 → 10.0.0.2:23, TCP SYN, inside a VLAN. */
static const uint8_t telnet_frame[58] = {
    [12] = 0x81, 0x00,      0,         7,           0x08,      0x00, /* network from 18 on */
    [18] = 0x45, [21] = 40, [26] = 64, 6,           [30] = 10, 0,    0,  1,           10,
    0,           0,         2,         [38] = 0x04, 0xd2,      0,    23, [50] = 0x50, 0x02,
};

static bool matches_telnet(const char *expression) {
    struct mb_filter *filter = compile(expression);
    const bool matches = mb_filter_match(filter, telnet_frame, sizeof telnet_frame, 1000,
                                         telnet_frame + 18, sizeof telnet_frame - 18);
    mb_filter_destroy(filter);
    return matches;
}

static bool matches_arp(const char *expression) {
    struct mb_filter *filter = compile(expression);
    const bool matches =
        mb_filter_match(filter, arp_frame, sizeof arp_frame, sizeof arp_frame, NULL, 0);
    mb_filter_destroy(filter);
    return matches;
}

static void ip_filters_look_at_the_innermost_packet(void **state) {
    (void)state;
    assert_true(matches_telnet("tcp dst port 23"));
    assert_true(matches_telnet("src host 10.0.0.1"));
    assert_true(matches_telnet("tcp[tcpflags] & tcp-syn != 0"));
    assert_true(matches_telnet(""));
    assert_false(matches_telnet("tcp src port 23"));
    assert_false(matches_telnet("ip6"));
    assert_false(matches_telnet("tcp[tcpflags] & tcp-ack != 0"));
}

static void length_is_the_frames_on_the_wire(void **state) {
    (void)state;
    assert_true(matches_telnet("len = 1000"));
    assert_true(matches_telnet("tcp and greater 900"));
    assert_false(matches_telnet("tcp and less 900"));
}

static void link_layer_filters_look_at_the_whole_frame(void **state) {
    (void)state;
    assert_true(matches_telnet("vlan 7"));
    assert_false(matches_telnet("vlan 8"));
    assert_true(matches_telnet("vlan and tcp dst port 23"));
    assert_false(matches_telnet("arp"));
    assert_true(matches_telnet("not arp"));
    assert_true(matches_arp("arp"));
    assert_true(matches_arp("ether broadcast"));
    assert_false(matches_arp("not arp"));
}

static void frames_without_ip_are_matched_whole(void **state) {
    (void)state;
    assert_true(matches_arp(""));
    assert_true(matches_arp("not tcp"));
    assert_false(matches_arp("ip"));
    assert_false(matches_arp("tcp dst port 23"));
    assert_true(matches_arp("len = 42"));
}

/* --- on real traffic --- */

/* A flow's direction, as far as the property needs it. */
struct direction {
    uint8_t version;
    uint8_t protocol;
    uint8_t addresses[32];
    uint8_t ports[4];
};

struct packet {
    struct direction direction;
    const uint8_t *bytes;
    uint32_t length;
    uint32_t wire_length;
    uint32_t network; /* offset */
};

enum { PACKETS_MAXIMUM = 4096 };

/* Plain packets only: Ethernet, no tag, no tunnel, no fragment, no IPv6 extension header. */
static bool parse_plain(const struct mb_frame *frame, const uint8_t *pool, struct packet *packet) {
    const uint8_t *bytes = pool + frame->offset;
    if (frame->link_type != ETHERNET || frame->length < 14 + 48)
        return false;
    const uint8_t *network = bytes + 14;
    const uint8_t *transport;
    *packet = (struct packet){{0}, bytes, frame->length, frame->wire_length, 14};
    if (bytes[12] == 0x08 && bytes[13] == 0x00 && network[0] >> 4 == 4) {
        const uint8_t *fragment = network + 6;
        if ((fragment[0] & 0x3f) || fragment[1])
            return false;
        packet->direction.version = 4;
        packet->direction.protocol = network[9];
        memcpy(packet->direction.addresses, network + 12, 8);
        transport = network + (network[0] & 0xf) * 4;
    } else if (bytes[12] == 0x86 && bytes[13] == 0xdd && network[0] >> 4 == 6) {
        packet->direction.version = 6;
        packet->direction.protocol = network[6];
        memcpy(packet->direction.addresses, network + 8, 32);
        transport = network + 40;
    } else {
        return false;
    }
    const uint8_t protocol = packet->direction.protocol;
    if (protocol != 6 && protocol != 17)
        return false;
    if (transport + 4 > bytes + frame->length)
        return false;
    memcpy(packet->direction.ports, transport, 4);
    return true;
}

static size_t read_plain_packets(struct mb_source *source, struct packet *packets) {
    struct mb_frame frame;
    size_t count = 0;
    while (count < PACKETS_MAXIMUM && mb_source_read(source, &frame, 1))
        count += parse_plain(&frame, mb_source_pool(source), &packets[count]);
    return count;
}

static bool answer(const struct mb_filter *filter, const struct packet *packet) {
    return mb_filter_match(filter, packet->bytes, packet->length, packet->wire_length,
                           packet->bytes + packet->network, packet->length - packet->network);
}

static bool plain_answer(const struct bpf_program *program, const struct packet *packet) {
    const struct pcap_pkthdr header = {.caplen = packet->length, .len = packet->wire_length};
    return pcap_offline_filter(program, &header, packet->bytes) != 0;
}

static int by_direction(const void *one, const void *other) {
    return memcmp(&((const struct packet *)one)->direction,
                  &((const struct packet *)other)->direction, sizeof(struct direction));
}

/* `packets` are sorted by direction. */
static void check_expression(const char *expression, const char *name, const struct packet *packets,
                             size_t count) {
    struct mb_filter *filter = compile(expression);
    pcap_t *handle = pcap_open_dead(DLT_EN10MB, 262144);
    struct bpf_program plain;
    assert_int_equal(pcap_compile(handle, &plain, expression, 1, PCAP_NETMASK_UNKNOWN), 0);
    for (size_t i = 0; i < count; i++) {
        const bool matches = answer(filter, &packets[i]);
        if (matches != plain_answer(&plain, &packets[i]))
            fail_msg("%s, \"%s\": not libpcap's answer", name, expression);
        const bool same_direction = i && by_direction(&packets[i - 1], &packets[i]) == 0;
        if (same_direction && mb_filter_is_per_flow(filter) &&
            matches != answer(filter, &packets[i - 1]))
            fail_msg("%s, \"%s\": two answers in one flow", name, expression);
    }
    pcap_freecode(&plain);
    pcap_close(handle);
    mb_filter_destroy(filter);
}

static const char *const general[] = {
    "",
    "tcp",
    "udp",
    "ip6",
    "port 80",
    "dst port 443",
    "portrange 1024-5000",
    "src portrange 1024-65535 and tcp",
    "net 192.168.0.0/16",
    "src net 10.0.0.0/8",
    "dst net 0.0.0.0/1 or ip6",
    "ip6 and dst net 2000::/3",
    "not port 53",
    "tcp[0:2] > 1023",
    "udp[2:2] < 1024",
    "ip[12] < 100 and ip[16] > 100",
    "tcp[tcpflags] & tcp-push != 0",
    "ip[8] > 64",
    "ip[2:2] > 100",
    "len > 100",
    "udp[4:2] > 40",
};

/* Expressions about the endpoints of the capture's own packets. */
static void check_endpoints(const char *name, const struct packet *packets, size_t count) {
    for (size_t i = 0; i < count; i += 1 + count / 4) {
        const struct direction *direction = &packets[i].direction;
        char expression[128];
        const unsigned source_port = (unsigned)direction->ports[0] << 8 | direction->ports[1];
        snprintf(expression, sizeof expression, "src port %u and %s", source_port,
                 direction->protocol == 6 ? "tcp" : "udp");
        check_expression(expression, name, packets, count);
        if (direction->version != 4)
            continue;
        const uint8_t *address = direction->addresses;
        snprintf(expression, sizeof expression, "dst host %u.%u.%u.%u or src port %u", address[4],
                 address[5], address[6], address[7], source_port);
        check_expression(expression, name, packets, count);
    }
}

static size_t check_capture(const char *directory, const char *name) {
    char path[4096];
    char error[MB_ERROR_SIZE];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct mb_source *source = mb_source_open(fd, name, error);
    close(fd);
    if (!source)
        fail_msg("%s", error);
    static struct packet packets[PACKETS_MAXIMUM];
    const size_t count = read_plain_packets(source, packets);
    qsort(packets, count, sizeof *packets, by_direction);
    for (size_t i = 0; i < sizeof general / sizeof *general; i++)
        check_expression(general[i], name, packets, count);
    check_endpoints(name, packets, count);
    mb_source_close(source);
    return count;
}

static const char *captures; /* directory; NULL: none given */

static void per_flow_answers_hold_in_real_captures(void **state) {
    (void)state;
    DIR *directory = captures ? opendir(captures) : NULL;
    if (!directory)
        skip();
    size_t packets = 0;
    const struct dirent *entry;
    while ((entry = readdir(directory)))
        if (strstr(entry->d_name, ".pcap"))
            packets += check_capture(captures, entry->d_name);
    closedir(directory);
    print_message("checked on %zu packets\n", packets);
    assert_true(packets > 0);
}

int main(int count, char **arguments) {
    captures = count > 1 ? arguments[1] : NULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_of_addresses_protocol_and_ports_are_per_flow),
        cmocka_unit_test(filters_of_other_bytes_are_per_packet),
        cmocka_unit_test(what_libpcap_rejects_is_refused_in_its_words),
        cmocka_unit_test(ip_filters_look_at_the_innermost_packet),
        cmocka_unit_test(length_is_the_frames_on_the_wire),
        cmocka_unit_test(link_layer_filters_look_at_the_whole_frame),
        cmocka_unit_test(frames_without_ip_are_matched_whole),
        cmocka_unit_test(per_flow_answers_hold_in_real_captures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
