/*
 * Filters: the input is an expression, a zero byte, and a packet. No expression and no packet may
 * break anything, and a filter that is per flow gives the same answer when bytes behind the ports,
 * and header fields that change within a flow, are others.
 */
#include "microbox/io/filter.h"

#include <stdlib.h>
#include <string.h>

enum { EXPRESSION_MAXIMUM = 200, PACKET_MAXIMUM = 256, ETHERNET = 1 };

static void require(bool holds) {
    if (!holds)
        abort();
}

/* Names of hosts, networks and services would be looked up. */
static bool asks_nobody(const char *expression) {
    static const char *const words[] = {
        "and", "arp", "dst", "ether", "greater", "host", "icmp", "ip",  "ip6", "len",  "less",
        "net", "not", "or",  "port",  "proto",   "sctp", "src",  "tcp", "udp", "vlan",
    };
    while (*expression) {
        size_t length = strspn(expression, "abcdefghijklmnopqrstuvwxyz6");
        bool known = length == 0 || strspn(expression, "0123456789abcdef") >= length;
        for (size_t i = 0; !known && i < sizeof words / sizeof *words; i++)
            known = strlen(words[i]) == length && memcmp(words[i], expression, length) == 0;
        if (!known)
            return false;
        expression += length ? length : 1;
    }
    return true;
}

/* Changes what may differ between two packets of one flow and direction. */
static void change_what_varies(uint8_t *packet, size_t size) {
    const bool is_ipv4 = packet[0] >> 4 == 4;
    const size_t ports_end = is_ipv4 ? (size_t)(packet[0] & 0xf) * 4 + 4 : 44;
    static const uint8_t ipv4_fields[] = {1, 2, 3, 4, 5, 8, 10, 11};
    static const uint8_t ipv6_fields[] = {1, 2, 3, 4, 5, 7};
    const uint8_t *fields = is_ipv4 ? ipv4_fields : ipv6_fields;
    const size_t count = is_ipv4 ? sizeof ipv4_fields : sizeof ipv6_fields;
    for (size_t i = 0; i < count; i++)
        packet[fields[i]] ^= 0x5a;
    for (size_t i = ports_end; i < size; i++)
        packet[i] ^= 0xa5;
}

/* A packet that has a flow with ports. */
static bool has_flow(const uint8_t *packet, size_t size) {
    if (size < 64)
        return false;
    const unsigned protocol = packet[0] >> 4 == 4 ? packet[9] : packet[6];
    const bool has_ports = protocol == 6 || protocol == 17;
    if (packet[0] >> 4 == 4)
        return has_ports && (packet[0] & 0xf) >= 5 && !(packet[6] & 0x3f) && !packet[7];
    return packet[0] >> 4 == 6 && has_ports;
}

static void try_packet(const struct mb_filter *filter, const uint8_t *bytes, size_t size) {
    uint8_t packet[PACKET_MAXIMUM];
    memcpy(packet, bytes, size);
    const uint32_t length = (uint32_t)size;
    mb_filter_match(filter, packet, length, length, NULL, 0);
    const bool before = mb_filter_match(filter, packet, length, length, packet, length);
    if (!mb_filter_is_per_flow(filter) || !has_flow(packet, size))
        return;
    change_what_varies(packet, size);
    require(before == mb_filter_match(filter, packet, length, length, packet, length));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    char expression[EXPRESSION_MAXIMUM];
    const uint8_t *end = memchr(bytes, 0, size);
    const size_t length = end ? (size_t)(end - bytes) : size;
    if (length >= sizeof expression)
        return 0;
    memcpy(expression, bytes, length);
    expression[length] = 0;
    char error[MB_ERROR_SIZE] = "";
    struct mb_filter *filter =
        asks_nobody(expression) ? mb_filter_compile(expression, ETHERNET, error) : NULL;
    if (!filter)
        return 0;
    const size_t packet_size = end ? size - length - 1 : 0;
    if (end && packet_size <= PACKET_MAXIMUM)
        try_packet(filter, end + 1, packet_size);
    mb_filter_destroy(filter);
    return 0;
}
