#include "microbox/stack/decode.h"

#include "microbox/events/event_types.h"
#include "microbox/stack/wire/arp.h"
#include "microbox/stack/wire/checksum.h"
#include "microbox/stack/wire/ethernet.h"
#include "microbox/stack/wire/fddi.h"
#include "microbox/stack/wire/geneve.h"
#include "microbox/stack/wire/gre.h"
#include "microbox/stack/wire/gtp.h"
#include "microbox/stack/wire/icmp.h"
#include "microbox/stack/wire/ipv4.h"
#include "microbox/stack/wire/ipv6.h"
#include "microbox/stack/wire/linux_cooked.h"
#include "microbox/stack/wire/loopback.h"
#include "microbox/stack/wire/mpls.h"
#include "microbox/stack/wire/nflog.h"
#include "microbox/stack/wire/ppp.h"
#include "microbox/stack/wire/tcp.h"
#include "microbox/stack/wire/udp.h"
#include "microbox/stack/wire/vlan.h"
#include "microbox/stack/wire/vxlan.h"

#include <string.h>

/* LINKTYPE_ values of captures. */
enum {
    LINK_NULL = 0,
    LINK_ETHERNET = 1,
    LINK_PPP = 9,
    LINK_FDDI = 10,
    LINK_RAW_BSD = 12,
    LINK_RAW_OPENBSD = 14,
    LINK_RAW = 101,
    LINK_LOOP = 108,
    LINK_LINUX_COOKED = 113,
    LINK_IPV4 = 228,
    LINK_IPV6 = 229,
    LINK_NFLOG = 239,
    LINK_LINUX_COOKED_2 = 276
};

enum {
    SHIMS_MAX = 8,   /* VLAN tags, MPLS labels and the like that are followed */
    TUNNELS_MAX = 4, /* packets in packets that are followed */
    /* What a capture says of a packet's length is believed up to here where IP does not say it:
     * nothing sends longer ones, and a segment must be short beside the sequence space. */
    WIRE_LENGTH_MAX = 1 << 20
};

enum {
    PROTOCOL_ICMP = 1,
    PROTOCOL_IPV4 = 4,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    PROTOCOL_IPV6 = 41,
    PROTOCOL_GRE = 47,
    PROTOCOL_ICMPV6 = 58,
    PROTOCOL_SCTP = 132,
};

/* The part of the frame that is not decoded yet. `end` is where the captured bytes of the layer
 * end, `wire_end` where they ended on the wire; end <= wire_end, and at <= end. */
struct rest {
    const uint8_t *bytes;
    uint32_t at;
    uint32_t end;
    uint32_t wire_end;
    bool is_bounded; /* a layer's header gave `wire_end`, not the frame's length */
};

static const uint8_t *next(const struct rest *rest) {
    return rest->bytes + rest->at;
}

static uint32_t captured(const struct rest *rest) {
    return rest->end - rest->at;
}

static uint32_t on_wire(const struct rest *rest) {
    return rest->wire_end - rest->at;
}

/* The layer is `length` bytes long; what follows them is padding. More bytes than the frame has
 * were cut from it; more than the layer around has are not this packet's. */
static void end_after(struct rest *rest, uint32_t length) {
    if (rest->is_bounded && length > on_wire(rest))
        return;
    rest->is_bounded = true;
    rest->wire_end = rest->at + length;
    if (rest->end > rest->wire_end)
        rest->end = rest->wire_end;
}

static void malformed(struct mb_decoded *decoded, uint8_t reason) {
    decoded->type = MB_TYPE_PACKET_MALFORMED;
    decoded->reason = reason;
}

static void take_payload(struct mb_decoded *decoded, const struct rest *rest) {
    decoded->payload_offset = (uint16_t)rest->at;
    decoded->payload_length = on_wire(rest);
    decoded->payload_captured = captured(rest);
    if (decoded->payload_captured < decoded->payload_length && decoded->reason == MB_REASON_NONE)
        decoded->reason = MB_REASON_PAYLOAD_CUT;
}

static void decode_tcp(struct mb_decoded *decoded, struct rest *rest) {
    const uint8_t *header = next(rest);
    decoded->type = MB_TYPE_PACKET_IP_TCP;
    decoded->transport_offset = (uint16_t)rest->at;
    uint8_t reason = mb_tcp_check(header, captured(rest), on_wire(rest));
    if (reason != MB_REASON_NONE)
        return malformed(decoded, reason);
    decoded->tuple.source_port = mb_tcp_source_port(header);
    decoded->tuple.destination_port = mb_tcp_destination_port(header);
    decoded->sequence_number = mb_tcp_sequence(header);
    decoded->acknowledgment_number = mb_tcp_acknowledgment(header);
    decoded->tcp_flags = mb_tcp_flags(header);
    decoded->window = mb_tcp_window(header);
    decoded->urgent_pointer = mb_tcp_urgent_pointer(header);
    reason = mb_tcp_flags_check(decoded->tcp_flags);
    if (reason != MB_REASON_NONE)
        return malformed(decoded, reason);

    uint32_t header_length = mb_tcp_header_length(header);
    uint32_t header_captured = header_length < captured(rest) ? header_length : captured(rest);
    if (header_captured > MB_TCP_SIZE_MIN) {
        /* Receivers take segments with broken options (they stop at the broken one), so the flow
         * gets the segment all the same. */
        struct mb_tcp_options options;
        reason = mb_tcp_options_read(header + MB_TCP_SIZE_MIN, header_captured - MB_TCP_SIZE_MIN,
                                     &options);
        decoded->window_scale = options.window_scale;
        decoded->tcp_options = options.seen;
        decoded->timestamp_value = options.timestamp_value;
        decoded->timestamp_echo = options.timestamp_echo;
        if (header_captured < header_length)
            malformed(decoded, MB_REASON_TCP_TRUNCATED);
        else if (reason != MB_REASON_NONE)
            malformed(decoded, reason);
    }
    decoded->transport = MB_TRANSPORT_TCP;
    rest->at += header_captured;
    rest->wire_end -= header_length - header_captured;
    take_payload(decoded, rest);
}

static void decode_icmp(struct mb_decoded *decoded, struct rest *rest) {
    const uint8_t *message = next(rest);
    decoded->type = MB_TYPE_PACKET_IP_ICMP;
    decoded->transport_offset = (uint16_t)rest->at;
    uint8_t reason = mb_icmp_check(message, captured(rest));
    if (reason != MB_REASON_NONE)
        return malformed(decoded, reason);
    decoded->icmp_type = message[MB_ICMP_TYPE];
    decoded->icmp_code = message[MB_ICMP_CODE];
    uint32_t header_length = MB_ICMP_SIZE_MIN;
    if (mb_icmp_is_echo(message, decoded->tuple.ip_version)) {
        reason = mb_icmp_echo_check(message, captured(rest));
        if (reason != MB_REASON_NONE)
            return malformed(decoded, reason);
        decoded->icmp_identifier = mb_icmp_identifier(message);
        decoded->icmp_sequence_number = mb_icmp_sequence(message);
        decoded->tuple.source_port = decoded->icmp_identifier;
        decoded->tuple.destination_port = decoded->icmp_identifier;
        header_length = MB_ICMP_ECHO_SIZE;
    }
    decoded->transport = MB_TRANSPORT_ICMP;
    rest->at += header_length;
    take_payload(decoded, rest);
}

static void decode_other(struct mb_decoded *decoded, struct rest *rest) {
    decoded->type = MB_TYPE_PACKET_IP;
    decoded->transport = MB_TRANSPORT_OTHER;
    decoded->transport_offset = (uint16_t)rest->at;
    take_payload(decoded, rest);
}

/* SCTP (RFC 9260) has its ports where TCP has them; filters tell its flows apart by them. */
static void decode_sctp(struct mb_decoded *decoded, struct rest *rest) {
    if (captured(rest) >= 4) {
        decoded->tuple.source_port = mb_read_16(next(rest));
        decoded->tuple.destination_port = mb_read_16(next(rest) + 2);
    }
    decode_other(decoded, rest);
}

static void decode_ipv4(struct mb_decoded *decoded, struct rest *rest);
static void decode_ipv6(struct mb_decoded *decoded, struct rest *rest);
static void decode_network(struct mb_decoded *decoded, struct rest *rest, uint16_t ether_type);
static void decode_ethernet(struct mb_decoded *decoded, struct rest *rest);

/* What follows is a packet inside another: the flow is the inner one's. */
static void enter_tunnel(struct mb_decoded *decoded) {
    uint16_t vlan = decoded->tuple.vlan;
    memset(&decoded->tuple, 0, sizeof decoded->tuple);
    decoded->tuple.vlan = vlan;
    decoded->depth++;
    decoded->domain = decoded->depth;
    decoded->type = MB_TYPE_PACKET;
    decoded->transport = MB_TRANSPORT_NONE;
    decoded->transport_offset = 0;
    decoded->is_fragment = false;
}

/* A tunnel is entered only from a packet that is whole, and not deeper than some. */
static bool may_enter_tunnel(const struct mb_decoded *decoded) {
    return decoded->depth < TUNNELS_MAX && !decoded->is_fragment;
}

static void decode_inner_ip(struct mb_decoded *decoded, struct rest *rest, uint8_t protocol) {
    if (!may_enter_tunnel(decoded))
        return decode_other(decoded, rest);
    enter_tunnel(decoded);
    if (protocol == PROTOCOL_IPV4)
        decode_ipv4(decoded, rest);
    else
        decode_ipv6(decoded, rest);
}

/* Enters what the tunnel header of `size` bytes announces: an Ethernet type, or MB_GRE_ETHERNET. */
static void decode_inner(struct mb_decoded *decoded, struct rest *rest, uint32_t size,
                         uint16_t protocol) {
    enter_tunnel(decoded);
    rest->at += size;
    if (protocol == MB_GRE_ETHERNET)
        decode_ethernet(decoded, rest);
    else
        decode_network(decoded, rest, protocol);
}

static bool is_network(uint16_t protocol) {
    return protocol == MB_ETHER_TYPE_IPV4 || protocol == MB_ETHER_TYPE_IPV6 ||
           protocol == MB_ETHER_TYPE_MPLS || protocol == MB_GRE_ETHERNET;
}

static void decode_gre(struct mb_decoded *decoded, struct rest *rest) {
    const uint8_t *header = next(rest);
    uint32_t size = mb_gre_header_length(header, captured(rest));
    if (size == 0 || !may_enter_tunnel(decoded))
        return decode_other(decoded, rest);
    uint16_t protocol = mb_gre_protocol(header);
    if (protocol == MB_GRE_ERSPAN_2) {
        size += mb_gre_has_sequence(header) ? MB_ERSPAN_2_SIZE : 0;
        protocol = MB_GRE_ETHERNET;
    } else if (protocol == MB_GRE_ERSPAN_3) {
        uint32_t more = mb_erspan_3_length(header + size, captured(rest) - size);
        size += more;
        protocol = more != 0 ? MB_GRE_ETHERNET : 0;
    } else if (protocol == MB_GRE_PPP) {
        uint32_t hdlc =
            captured(rest) - size > MB_PPP_HDLC_SIZE && header[size] == MB_PPP_HDLC_ADDRESS
                ? MB_PPP_HDLC_SIZE
                : 0;
        size += hdlc + MB_PPP_PROTOCOL_SIZE;
        protocol =
            size <= captured(rest) ? mb_ppp_ether_type(header + size - MB_PPP_PROTOCOL_SIZE) : 0;
    }
    if (size > captured(rest) || !is_network(protocol))
        return decode_other(decoded, rest);
    decode_inner(decoded, rest, size, protocol);
}

/* Tunnels over UDP are known by their port; so their headers are looked at closely, and what does
 * not fit is a datagram like others. True where one was entered. */
static bool decode_udp_tunnel(struct mb_decoded *decoded, struct rest *rest) {
    const uint8_t *header = next(rest);
    uint32_t length = captured(rest);
    uint32_t size = 0;
    uint16_t protocol = 0;
    switch (decoded->tuple.destination_port) {
    case MB_VXLAN_PORT:
        size = mb_vxlan_is_one(header, length) ? MB_VXLAN_SIZE : 0;
        protocol = MB_GRE_ETHERNET;
        break;
    case MB_GENEVE_PORT:
        size = mb_geneve_header_length(header, length);
        protocol = size != 0 ? mb_geneve_protocol(header) : 0;
        break;
    case MB_GTP_PORT:
        size = mb_gtp_header_length(header, length);
        protocol = size != 0 ? mb_ip_ether_type(header + size, length - size) : 0;
        break;
    default:
        return false;
    }
    if (size == 0 || !is_network(protocol) || !may_enter_tunnel(decoded))
        return false;
    decode_inner(decoded, rest, size, protocol);
    return true;
}

static void decode_udp(struct mb_decoded *decoded, struct rest *rest) {
    const uint8_t *header = next(rest);
    decoded->type = MB_TYPE_PACKET_IP_UDP;
    decoded->transport_offset = (uint16_t)rest->at;
    /* A first fragment says how long the whole datagram is. */
    uint32_t datagram = decoded->is_fragment ? UINT32_MAX : on_wire(rest);
    uint8_t reason = mb_udp_check(header, captured(rest), datagram);
    if (reason == MB_REASON_UDP_TRUNCATED)
        return malformed(decoded, reason);
    decoded->tuple.source_port = mb_udp_source_port(header);
    decoded->tuple.destination_port = mb_udp_destination_port(header);
    if (reason != MB_REASON_NONE)
        return malformed(decoded, reason);
    decoded->transport = MB_TRANSPORT_UDP;
    uint32_t length = mb_udp_length(header);
    if (length != 0 && length < on_wire(rest))
        end_after(rest, length);
    rest->at += MB_UDP_SIZE;
    if (decode_udp_tunnel(decoded, rest))
        return;
    take_payload(decoded, rest);
}

static void decode_transport(struct mb_decoded *decoded, struct rest *rest, uint8_t protocol) {
    decoded->tuple.protocol = protocol;
    switch (protocol) {
    case PROTOCOL_TCP:
        return decode_tcp(decoded, rest);
    case PROTOCOL_UDP:
        return decode_udp(decoded, rest);
    case PROTOCOL_ICMP:
    case PROTOCOL_ICMPV6:
        return decode_icmp(decoded, rest);
    case PROTOCOL_IPV4:
    case PROTOCOL_IPV6:
        return decode_inner_ip(decoded, rest, protocol);
    case PROTOCOL_GRE:
        return decode_gre(decoded, rest);
    case PROTOCOL_SCTP:
        return decode_sctp(decoded, rest);
    default:
        return decode_other(decoded, rest);
    }
}

/* A fragment other than the first has no transport header. */
static void later_fragment(struct mb_decoded *decoded, struct rest *rest, uint8_t protocol) {
    decoded->tuple.protocol = protocol;
    decoded->type = MB_TYPE_PACKET_IP_FRAGMENT;
    decoded->reason = MB_REASON_FRAGMENT_IGNORED;
    take_payload(decoded, rest);
}

/* Walks the extension headers from `protocol` on, then decodes what they end with. */
static void decode_extensions(struct mb_decoded *decoded, struct rest *rest, uint8_t protocol) {
    for (unsigned count = 0; mb_ipv6_is_extension(protocol); count++) {
        if (count == MB_IPV6_EXTENSIONS_MAX)
            return malformed(decoded, MB_REASON_IPV6_TOO_MANY_EXTENSIONS);
        const uint8_t *header = next(rest);
        uint8_t reason = mb_ipv6_extension_check(protocol, header, captured(rest));
        if (reason != MB_REASON_NONE)
            return malformed(decoded, reason);
        rest->at += mb_ipv6_extension_length(protocol, header);
        if (protocol == MB_IPV6_FRAGMENT) {
            uint32_t offset = mb_ipv6_fragment_offset(header);
            decoded->is_fragment = offset != 0 || (header[3] & 1) != 0;
            if (offset != 0)
                return later_fragment(decoded, rest, header[0]);
        }
        protocol = header[0];
    }
    decode_transport(decoded, rest, protocol);
}

static void decode_ipv4(struct mb_decoded *decoded, struct rest *rest) {
    const uint8_t *header = next(rest);
    uint8_t reason = mb_ipv4_check(header, captured(rest));
    if (reason != MB_REASON_NONE)
        return malformed(decoded, reason);
    uint32_t total = mb_ipv4_total_length(header);
    uint32_t header_length = mb_ipv4_header_length(header);
    if (total != 0)
        end_after(rest, total);
    decoded->network_offset = (uint16_t)rest->at;
    decoded->network_length = captured(rest);
    decoded->ttl = mb_ipv4_ttl(header);
    decoded->tuple.ip_version = 4;
    /* ::ffff:a.b.c.d */
    memset(decoded->tuple.source + 10, 0xff, 2);
    memset(decoded->tuple.destination + 10, 0xff, 2);
    memcpy(decoded->tuple.source + 12, header + MB_IPV4_SOURCE, 4);
    memcpy(decoded->tuple.destination + 12, header + MB_IPV4_DESTINATION, 4);
    rest->at += header_length;

    uint8_t protocol = mb_ipv4_protocol(header);
    uint32_t fragment_offset = mb_ipv4_fragment_offset(header);
    decoded->is_fragment = fragment_offset != 0 || (header[MB_IPV4_FRAGMENT] & 0x20) != 0;
    if (fragment_offset != 0)
        return later_fragment(decoded, rest, protocol);
    if (protocol == MB_IPV6_AUTHENTICATION)
        return decode_extensions(decoded, rest, protocol);
    decode_transport(decoded, rest, protocol);
}

static void decode_ipv6(struct mb_decoded *decoded, struct rest *rest) {
    const uint8_t *header = next(rest);
    uint8_t reason = mb_ipv6_check(header, captured(rest));
    if (reason != MB_REASON_NONE)
        return malformed(decoded, reason);
    uint32_t payload = mb_ipv6_payload_length(header);
    if (payload != 0)
        end_after(rest, MB_IPV6_SIZE + payload);
    decoded->network_offset = (uint16_t)rest->at;
    decoded->network_length = captured(rest);
    decoded->ttl = mb_ipv6_hop_limit(header);
    decoded->tuple.ip_version = 6;
    memcpy(decoded->tuple.source, header + MB_IPV6_SOURCE, 16);
    memcpy(decoded->tuple.destination, header + MB_IPV6_DESTINATION, 16);
    rest->at += MB_IPV6_SIZE;
    decode_extensions(decoded, rest, mb_ipv6_next_header(header));
}

static void decode_arp(struct mb_decoded *decoded, struct rest *rest) {
    decoded->type = MB_TYPE_PACKET_ARP;
    uint8_t reason = mb_arp_check(next(rest), captured(rest));
    if (reason != MB_REASON_NONE)
        malformed(decoded, reason);
}

/* Tags, labels and headers between the link and the network layer. Each function takes its header
 * off and returns what follows it as an Ethernet type, 0: nothing that is decoded. */

static uint16_t take_vlan(struct mb_decoded *decoded, struct rest *rest) {
    const uint8_t *tag = next(rest);
    uint8_t reason = mb_vlan_check(tag, captured(rest));
    if (reason != MB_REASON_NONE) {
        malformed(decoded, reason);
        return 0;
    }
    rest->at += MB_VLAN_SIZE;
    return mb_vlan_type(tag);
}

static uint16_t take_mpls(struct mb_decoded *decoded, struct rest *rest) {
    const uint8_t *label = next(rest);
    uint8_t reason = mb_mpls_check(label, captured(rest));
    if (reason != MB_REASON_NONE) {
        malformed(decoded, reason);
        return 0;
    }
    rest->at += MB_MPLS_SIZE;
    return mb_mpls_is_bottom(label) ? mb_ip_ether_type(next(rest), captured(rest))
                                    : MB_ETHER_TYPE_MPLS;
}

static uint16_t take_ppp(struct mb_decoded *decoded, struct rest *rest) {
    const uint8_t *header = next(rest);
    uint8_t reason = mb_ppp_check(header, captured(rest));
    if (reason != MB_REASON_NONE) {
        malformed(decoded, reason);
        return 0;
    }
    rest->at += MB_PPP_PROTOCOL_SIZE;
    return mb_ppp_ether_type(header);
}

static uint16_t take_pppoe(struct mb_decoded *decoded, struct rest *rest) {
    uint8_t reason = mb_pppoe_check(next(rest), captured(rest));
    if (reason != MB_REASON_NONE) {
        malformed(decoded, reason);
        return 0;
    }
    uint32_t length = mb_pppoe_length(next(rest));
    rest->at += MB_PPPOE_SIZE;
    if (length >= MB_PPP_PROTOCOL_SIZE)
        end_after(rest, length);
    return take_ppp(decoded, rest);
}

static uint16_t take_backbone(struct mb_decoded *decoded, struct rest *rest) {
    if (captured(rest) < MB_BACKBONE_TAG_SIZE + MB_ETHERNET_SIZE) {
        malformed(decoded, MB_REASON_FRAME_TRUNCATED);
        return 0;
    }
    rest->at += MB_BACKBONE_TAG_SIZE;
    uint16_t ether_type = mb_ethernet_type(next(rest));
    rest->at += MB_ETHERNET_SIZE;
    return ether_type;
}

static uint16_t take_llc(struct rest *rest) {
    if (!mb_snap_is_ethernet(next(rest), captured(rest)))
        return 0;
    uint16_t ether_type = mb_snap_type(next(rest));
    rest->at += MB_SNAP_SIZE;
    return ether_type;
}

/* Takes off one header that `ether_type` announces; false: it announces none of those. */
static bool take_shim(struct mb_decoded *decoded, struct rest *rest, uint16_t *ether_type) {
    if (mb_vlan_announced(*ether_type))
        *ether_type = take_vlan(decoded, rest);
    else if (*ether_type == MB_ETHER_TYPE_MPLS)
        *ether_type = take_mpls(decoded, rest);
    else if (*ether_type == MB_ETHER_TYPE_PPPOE_SESSION)
        *ether_type = take_pppoe(decoded, rest);
    else if (*ether_type == MB_ETHER_TYPE_BACKBONE)
        *ether_type = take_backbone(decoded, rest);
    else
        return false;
    return true;
}

/* What `ether_type` announces. */
static void decode_network(struct mb_decoded *decoded, struct rest *rest, uint16_t ether_type) {
    if (decoded->depth == 0 && mb_vlan_announced(ether_type) && captured(rest) >= MB_VLAN_SIZE)
        decoded->tuple.vlan = mb_vlan_identifier(next(rest));
    for (unsigned depth = 0; take_shim(decoded, rest, &ether_type); depth++) {
        if (decoded->reason != MB_REASON_NONE)
            return;
        if (depth == SHIMS_MAX)
            return malformed(decoded, MB_REASON_VLAN_TOO_DEEP);
    }
    if (ether_type != 0 && ether_type <= MB_ETHERNET_LENGTH_MAX)
        ether_type = take_llc(rest);
    decoded->ether_type = ether_type;
    switch (ether_type) {
    case MB_ETHER_TYPE_IPV4:
        return decode_ipv4(decoded, rest);
    case MB_ETHER_TYPE_IPV6:
        return decode_ipv6(decoded, rest);
    case MB_ETHER_TYPE_ARP:
        return decode_arp(decoded, rest);
    default:
        return;
    }
}

static void decode_ethernet(struct mb_decoded *decoded, struct rest *rest) {
    const uint8_t *frame = next(rest);
    uint8_t reason = mb_ethernet_check(frame, captured(rest));
    if (reason != MB_REASON_NONE)
        return malformed(decoded, reason);
    rest->at += MB_ETHERNET_SIZE;
    decode_network(decoded, rest, mb_ethernet_type(frame));
}

static void decode_loopback(struct mb_decoded *decoded, struct rest *rest) {
    const uint8_t *frame = next(rest);
    uint8_t reason = mb_loopback_check(frame, captured(rest));
    if (reason != MB_REASON_NONE)
        return malformed(decoded, reason);
    rest->at += MB_LOOPBACK_SIZE;
    decode_network(decoded, rest, mb_loopback_ether_type(frame));
}

static void decode_linux_cooked(struct mb_decoded *decoded, struct rest *rest) {
    const uint8_t *frame = next(rest);
    uint8_t reason = mb_linux_cooked_check(frame, captured(rest));
    if (reason != MB_REASON_NONE)
        return malformed(decoded, reason);
    rest->at += MB_LINUX_COOKED_SIZE;
    decode_network(decoded, rest, mb_linux_cooked_type(frame));
}

static void decode_linux_cooked_2(struct mb_decoded *decoded, struct rest *rest) {
    const uint8_t *frame = next(rest);
    uint8_t reason = mb_linux_cooked_2_check(frame, captured(rest));
    if (reason != MB_REASON_NONE)
        return malformed(decoded, reason);
    rest->at += MB_LINUX_COOKED_2_SIZE;
    decode_network(decoded, rest, mb_linux_cooked_2_type(frame));
}

static void decode_fddi(struct mb_decoded *decoded, struct rest *rest) {
    uint8_t reason = mb_fddi_check(next(rest), captured(rest));
    if (reason != MB_REASON_NONE)
        return malformed(decoded, reason);
    rest->at += MB_FDDI_SIZE;
    decode_network(decoded, rest, take_llc(rest));
}

static void decode_ppp(struct mb_decoded *decoded, struct rest *rest) {
    if (captured(rest) > MB_PPP_HDLC_SIZE && *next(rest) == MB_PPP_HDLC_ADDRESS)
        rest->at += MB_PPP_HDLC_SIZE;
    uint16_t ether_type = take_ppp(decoded, rest);
    decode_network(decoded, rest, ether_type);
}

static void decode_nflog(struct mb_decoded *decoded, struct rest *rest) {
    uint8_t reason = mb_nflog_check(next(rest), captured(rest));
    if (reason != MB_REASON_NONE)
        return malformed(decoded, reason);
    uint32_t packet = mb_nflog_packet(next(rest), captured(rest));
    if (packet == 0)
        return;
    rest->at += packet;
    decode_network(decoded, rest, mb_ip_ether_type(next(rest), captured(rest)));
}

/* No link header: the first four bits say which IP it is. */
static void decode_raw(struct mb_decoded *decoded, struct rest *rest) {
    if (captured(rest) == 0)
        return malformed(decoded, MB_REASON_FRAME_TRUNCATED);
    uint16_t ether_type = *next(rest) >> 4 == 6 ? MB_ETHER_TYPE_IPV6 : MB_ETHER_TYPE_IPV4;
    decode_network(decoded, rest, ether_type);
}

static void decode_link(struct mb_decoded *decoded, struct rest *rest, uint32_t link_type) {
    switch (link_type) {
    case LINK_ETHERNET:
        return decode_ethernet(decoded, rest);
    case LINK_RAW_BSD:
    case LINK_RAW_OPENBSD:
    case LINK_RAW:
        return decode_raw(decoded, rest);
    case LINK_IPV4:
        return decode_network(decoded, rest, MB_ETHER_TYPE_IPV4);
    case LINK_IPV6:
        return decode_network(decoded, rest, MB_ETHER_TYPE_IPV6);
    case LINK_NULL:
    case LINK_LOOP:
        return decode_loopback(decoded, rest);
    case LINK_PPP:
        return decode_ppp(decoded, rest);
    case LINK_FDDI:
        return decode_fddi(decoded, rest);
    case LINK_NFLOG:
        return decode_nflog(decoded, rest);
    case LINK_LINUX_COOKED:
        return decode_linux_cooked(decoded, rest);
    case LINK_LINUX_COOKED_2:
        return decode_linux_cooked_2(decoded, rest);
    default:
        decoded->reason = MB_REASON_LINK_TYPE_UNKNOWN;
    }
}

static uint32_t believed_wire_length(const struct mb_decoded *decoded) {
    uint32_t most = decoded->length > WIRE_LENGTH_MAX ? decoded->length : WIRE_LENGTH_MAX;
    return decoded->wire_length < most ? decoded->wire_length : most;
}

/* Offsets have 16 bits: where headers end further on than that, nothing said of them holds. */
static void forget_headers(struct mb_decoded *decoded) {
    memset(&decoded->tuple, 0, sizeof decoded->tuple);
    decoded->network_length = 0;
    decoded->payload_length = 0;
    decoded->payload_captured = 0;
    decoded->network_offset = 0;
    decoded->transport_offset = 0;
    decoded->payload_offset = 0;
    decoded->transport = MB_TRANSPORT_NONE;
    malformed(decoded, MB_REASON_HEADERS_TOO_LONG);
}

void mb_decode(struct mb_decoded *decoded, const struct mb_frame *frame, const uint8_t *bytes,
               uint64_t number) {
    memset(decoded, 0, sizeof *decoded);
    decoded->bytes = bytes;
    decoded->frame = frame->offset;
    decoded->time = frame->time;
    decoded->number = number;
    decoded->length = frame->length;
    decoded->wire_length = frame->wire_length > frame->length ? frame->wire_length : frame->length;
    decoded->type = MB_TYPE_PACKET;
    decoded->window_scale = MB_TCP_WINDOW_SCALE_NONE;
    struct rest rest = {
        .bytes = bytes, .at = 0, .end = frame->length, .wire_end = believed_wire_length(decoded)};
    decode_link(decoded, &rest, frame->link_type);
    if (rest.at > UINT16_MAX)
        forget_headers(decoded);
}

static bool ipv4_checksum_is_wrong(const struct mb_decoded *decoded) {
    const uint8_t *header = decoded->bytes + decoded->network_offset;
    return mb_checksum_fold(mb_checksum_add(0, header, mb_ipv4_header_length(header))) != 0xffff;
}

/* RFC 9293 section 3.1: over a pseudo header of addresses, protocol and length, then the segment.
 * The prefix of a mapped IPv4 address would add 0xffff twice, which is nothing. */
static bool tcp_checksum_is_wrong(const struct mb_decoded *decoded) {
    uint32_t length =
        decoded->payload_offset - decoded->transport_offset + decoded->payload_captured;
    uint64_t sum = (uint64_t)PROTOCOL_TCP + length;
    sum = mb_checksum_add(sum, decoded->tuple.source, sizeof decoded->tuple.source);
    sum = mb_checksum_add(sum, decoded->tuple.destination, sizeof decoded->tuple.destination);
    sum = mb_checksum_add(sum, decoded->bytes + decoded->transport_offset, length);
    return mb_checksum_fold(sum) != 0xffff;
}

/* Behind some IPv6 extension headers the pseudo header has other addresses than the packet. */
static bool has_extensions(const struct mb_decoded *decoded) {
    return decoded->tuple.ip_version == 6 &&
           decoded->transport_offset != decoded->network_offset + MB_IPV6_SIZE;
}

uint8_t mb_decode_checksums(const struct mb_decoded *decoded) {
    if (decoded->tuple.ip_version == 4 && ipv4_checksum_is_wrong(decoded))
        return MB_REASON_IPV4_CHECKSUM;
    if (decoded->transport != MB_TRANSPORT_TCP || decoded->is_fragment || has_extensions(decoded) ||
        decoded->payload_captured < decoded->payload_length ||
        decoded->reason == MB_REASON_TCP_TRUNCATED)
        return MB_REASON_NONE;
    return tcp_checksum_is_wrong(decoded) ? MB_REASON_TCP_BAD_CHECKSUM : MB_REASON_NONE;
}
