#include "microbox/stack/checksums.h"
#include "microbox/stack/decode_layers.h"
#include "microbox/stack/wire/arp.h"
#include "microbox/stack/wire/ethernet.h"
#include "microbox/stack/wire/ipv4.h"
#include "microbox/stack/wire/ipv6.h"

#include <string.h>

/* A fragment other than the first has no transport header. */
static void later_fragment(struct mb_decoded *decoded, struct mb_rest *rest, uint8_t protocol) {
    decoded->tuple.protocol = protocol;
    decoded->type = MB_TYPE_PACKET_IP_FRAGMENT;
    decoded->reason = MB_REASON_FRAGMENT_IGNORED;
    mb_take_payload(decoded, rest);
}

static void take_routing(struct mb_rest *rest, const uint8_t *header) {
    if (!mb_ipv6_routing_is_pending(header))
        return;
    rest->final_destination = mb_ipv6_final_destination(header);
    rest->has_unknown_destination = rest->final_destination == NULL;
}

/* Walks the extension headers from `protocol` on, then decodes what they end with. */
static void decode_extensions(struct mb_decoded *decoded, struct mb_rest *rest, uint8_t protocol) {
    for (unsigned count = 0; mb_ipv6_is_extension(protocol); count++) {
        if (count == MB_IPV6_EXTENSIONS_MAX)
            return mb_malformed(decoded, MB_REASON_IPV6_TOO_MANY_EXTENSIONS);
        const uint8_t *header = mb_rest_next(rest);
        uint8_t reason = mb_ipv6_extension_check(protocol, header, mb_rest_captured(rest));
        if (reason != MB_REASON_NONE)
            return mb_malformed(decoded, reason);
        if (protocol == MB_IPV6_ROUTING)
            take_routing(rest, header);
        else if (protocol == MB_IPV6_DESTINATION_OPTIONS)
            rest->home_address = mb_ipv6_home_address(header);
        rest->at += mb_ipv6_extension_length(protocol, header);
        if (protocol == MB_IPV6_FRAGMENT) {
            uint32_t offset = mb_ipv6_fragment_offset(header);
            decoded->is_fragment = offset != 0 || (header[3] & 1) != 0;
            if (offset != 0)
                return later_fragment(decoded, rest, header[0]);
        }
        protocol = header[0];
    }
    mb_decode_transport(decoded, rest, protocol);
}

void mb_decode_ipv4(struct mb_decoded *decoded, struct mb_rest *rest) {
    const uint8_t *header = mb_rest_next(rest);
    uint8_t reason = mb_ipv4_check(header, mb_rest_captured(rest));
    if (reason != MB_REASON_NONE)
        return mb_malformed(decoded, reason);
    uint32_t total = mb_ipv4_total_length(header);
    uint32_t header_length = mb_ipv4_header_length(header);
    if (total != 0)
        mb_rest_end_after(rest, total);
    decoded->network_offset = (uint16_t)rest->at;
    decoded->network_length = mb_rest_captured(rest);
    decoded->ttl = mb_ipv4_ttl(header);
    decoded->tuple.ip_version = 4;
    mb_ipv4_addresses(header, decoded->tuple.source, decoded->tuple.destination);
    mb_verify_ipv4(decoded, rest);
    rest->at += header_length;

    uint8_t protocol = mb_ipv4_protocol(header);
    uint32_t fragment_offset = mb_ipv4_fragment_offset(header);
    decoded->is_fragment = fragment_offset != 0 || (header[MB_IPV4_FRAGMENT] & 0x20) != 0;
    if (fragment_offset != 0)
        return later_fragment(decoded, rest, protocol);
    if (protocol == MB_IPV6_AUTHENTICATION)
        return decode_extensions(decoded, rest, protocol);
    mb_decode_transport(decoded, rest, protocol);
}

void mb_decode_ipv6(struct mb_decoded *decoded, struct mb_rest *rest) {
    const uint8_t *header = mb_rest_next(rest);
    uint8_t reason = mb_ipv6_check(header, mb_rest_captured(rest));
    if (reason != MB_REASON_NONE)
        return mb_malformed(decoded, reason);
    uint32_t payload = mb_ipv6_payload_length(header);
    if (payload != 0)
        mb_rest_end_after(rest, MB_IPV6_SIZE + payload);
    decoded->network_offset = (uint16_t)rest->at;
    decoded->network_length = mb_rest_captured(rest);
    decoded->ttl = mb_ipv6_hop_limit(header);
    decoded->tuple.ip_version = 6;
    memcpy(decoded->tuple.source, header + MB_IPV6_SOURCE, 16);
    memcpy(decoded->tuple.destination, header + MB_IPV6_DESTINATION, 16);
    rest->at += MB_IPV6_SIZE;
    decode_extensions(decoded, rest, mb_ipv6_next_header(header));
}

static void decode_arp(struct mb_decoded *decoded, struct mb_rest *rest) {
    decoded->type = MB_TYPE_PACKET_ARP;
    uint8_t reason = mb_arp_check(mb_rest_next(rest), mb_rest_captured(rest));
    if (reason != MB_REASON_NONE)
        mb_malformed(decoded, reason);
}

/* Nearly all packets are IP with nothing before it. */
void mb_decode_network(struct mb_decoded *decoded, struct mb_rest *rest, uint16_t ether_type) {
    if (ether_type != MB_ETHER_TYPE_IPV4 && ether_type != MB_ETHER_TYPE_IPV6)
        ether_type = mb_take_shims(decoded, rest, ether_type);
    decoded->ether_type = ether_type;
    switch (ether_type) {
    case MB_ETHER_TYPE_IPV4:
        return mb_decode_ipv4(decoded, rest);
    case MB_ETHER_TYPE_IPV6:
        return mb_decode_ipv6(decoded, rest);
    case MB_ETHER_TYPE_ARP:
        return decode_arp(decoded, rest);
    default:
        return;
    }
}
