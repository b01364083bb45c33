#include "microbox/stack/decode/checksums.h"
#include "microbox/stack/decode/layers.h"
#include "microbox/stack/wire/arp.h"
#include "microbox/stack/wire/ethernet.h"
#include "microbox/stack/wire/icmp.h"
#include "microbox/stack/wire/ipv4.h"
#include "microbox/stack/wire/ipv6.h"
#include "microbox/stack/wire/tcp.h"
#include "microbox/stack/wire/udp.h"

#include <string.h>

/* Bytes of a transport header of which `length` are captured; 0: not known. */
static uint32_t transport_header_length(uint8_t protocol, const uint8_t *header, uint32_t length) {
    switch (protocol) {
    case MB_PROTOCOL_TCP:
        return length < MB_TCP_SIZE_MIN ? MB_TCP_SIZE_MIN : mb_tcp_header_length(header);
    case MB_PROTOCOL_UDP:
        return MB_UDP_SIZE;
    case MB_PROTOCOL_ICMP:
    case MB_PROTOCOL_ICMPV6:
        return MB_ICMP_SIZE_MIN;
    default:
        return 0;
    }
}

/* True where the fragment ends before the transport header does; what a snap length cut is taken
 * to be there. Extension headers that lie in the datagram belong to the chain (RFC 7112). */
static bool ends_inside_headers(struct mb_rest rest, uint8_t protocol) {
    for (unsigned count = 0; mb_ipv6_is_extension(protocol); count++) {
        if (count == MB_IPV6_EXTENSIONS_MAX)
            return false;
        const uint8_t *header = mb_rest_next(&rest);
        if (mb_ipv6_extension_check(protocol, header, mb_rest_captured(&rest)) != MB_REASON_NONE)
            return mb_rest_captured(&rest) == mb_rest_on_wire(&rest);
        rest.at += mb_ipv6_extension_length(protocol, header);
        protocol = header[0];
    }
    return mb_rest_on_wire(&rest) <
           transport_header_length(protocol, mb_rest_next(&rest), mb_rest_captured(&rest));
}

/* The rest of the frame is a part of a datagram: it belongs to no flow until the datagram is whole
 * (defrag.h). Ports are told where a first fragment has them. */
static void decode_fragment(struct mb_decoded *decoded, struct mb_rest *rest, uint8_t protocol) {
    bool is_first = decoded->fragment.start == 0;
    bool has_ports = protocol == MB_PROTOCOL_TCP || protocol == MB_PROTOCOL_UDP;
    decoded->is_fragment = true;
    decoded->tuple.protocol = protocol;
    decoded->type = MB_TYPE_PACKET_IP_FRAGMENT;
    if (is_first && has_ports && mb_rest_captured(rest) >= 4) {
        decoded->transport_offset = (uint16_t)rest->at;
        decoded->tuple.source_port = mb_read_16(mb_rest_next(rest));
        decoded->tuple.destination_port = mb_read_16(mb_rest_next(rest) + 2);
    }
    if (is_first)
        mb_note_transport(decoded, rest, protocol);
    if (is_first && ends_inside_headers(*rest, protocol))
        decoded->reason = decoded->tuple.ip_version == 6 ? MB_REASON_IPV6_FIRST_FRAGMENT_INCOMPLETE
                                                         : MB_REASON_FRAGMENT_TINY;
    mb_take_payload(decoded, rest);
}

/* False for an atomic fragment, which is a whole datagram (RFC 6946). `announced`: the byte that
 * says that the header follows. */
static bool read_fragment_header(struct mb_decoded *decoded, const uint8_t *header,
                                 const uint8_t *announced) {
    decoded->fragment = (struct mb_fragment_header){
        .identification = mb_ipv6_identification(header),
        .start = (uint16_t)mb_ipv6_fragment_offset(header),
        .next_header = (uint16_t)(announced - decoded->bytes),
        .has_more = mb_ipv6_more_fragments(header),
    };
    return decoded->fragment.start != 0 || decoded->fragment.has_more;
}

static void take_routing(struct mb_rest *rest, const uint8_t *header) {
    if (!mb_ipv6_routing_is_pending(header))
        return;
    rest->final_destination = mb_ipv6_final_destination(header);
    rest->has_unknown_destination = rest->final_destination == NULL;
}

/* Walks the extension headers from `protocol` on, which the byte `announced` says, then decodes
 * what they end with. */
static void decode_extensions(struct mb_decoded *decoded, struct mb_rest *rest, uint8_t protocol,
                              const uint8_t *announced) {
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
        if (protocol == MB_IPV6_FRAGMENT && read_fragment_header(decoded, header, announced))
            return decode_fragment(decoded, rest, header[0]);
        announced = header;
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
    if (mb_rest_is_too_short(rest, total))
        return mb_malformed(decoded, MB_REASON_IPV4_TOTAL_LENGTH);
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
    if (mb_ipv4_is_fragment(header)) {
        decoded->fragment = (struct mb_fragment_header){
            .identification = mb_ipv4_identification(header),
            .start = (uint16_t)mb_ipv4_fragment_offset(header),
            .has_more = mb_ipv4_more_fragments(header),
        };
        return decode_fragment(decoded, rest, protocol);
    }
    if (protocol == MB_IPV6_AUTHENTICATION)
        return decode_extensions(decoded, rest, protocol, header + MB_IPV4_PROTOCOL);
    mb_decode_transport(decoded, rest, protocol);
}

void mb_decode_ipv6(struct mb_decoded *decoded, struct mb_rest *rest) {
    const uint8_t *header = mb_rest_next(rest);
    uint8_t reason = mb_ipv6_check(header, mb_rest_captured(rest));
    if (reason != MB_REASON_NONE)
        return mb_malformed(decoded, reason);
    uint32_t payload = mb_ipv6_payload_length(header);
    if (mb_rest_is_too_short(rest, MB_IPV6_SIZE + payload))
        return mb_malformed(decoded, MB_REASON_IPV6_PAYLOAD_LENGTH);
    if (payload != 0)
        mb_rest_end_after(rest, MB_IPV6_SIZE + payload);
    decoded->network_offset = (uint16_t)rest->at;
    decoded->network_length = mb_rest_captured(rest);
    decoded->ttl = mb_ipv6_hop_limit(header);
    decoded->tuple.ip_version = 6;
    memcpy(decoded->tuple.source, header + MB_IPV6_SOURCE, 16);
    memcpy(decoded->tuple.destination, header + MB_IPV6_DESTINATION, 16);
    rest->at += MB_IPV6_SIZE;
    decode_extensions(decoded, rest, mb_ipv6_next_header(header), header + MB_IPV6_NEXT_HEADER);
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
