#include "microbox/stack/decode/checksums.h"
#include "microbox/stack/decode/domain.h"
#include "microbox/stack/decode/layers.h"
#include "microbox/stack/flows/flow_table.h"
#include "microbox/stack/wire/ethernet.h"
#include "microbox/stack/wire/geneve.h"
#include "microbox/stack/wire/gre.h"
#include "microbox/stack/wire/gtp.h"
#include "microbox/stack/wire/mpls.h"
#include "microbox/stack/wire/ppp.h"
#include "microbox/stack/wire/udp.h"
#include "microbox/stack/wire/vxlan.h"

#include <string.h>

/* A tunnel's header, read. */
struct tunnel {
    uint32_t size;
    uint32_t identifier;
    uint16_t protocol; /* an Ethernet type, MB_GRE_ETHERNET for a frame; 0: nothing decoded */
    uint8_t kind;      /* enum mb_tunnel */
};

/* Calls of PPTP and endpoints of GTP-U are numbered by their receiver, so each direction bears
 * another number (RFC 2637 section 4.1, TS 29.281 section 5.1). A session of ERSPAN says which
 * mirror it was, not whose packet it is. */
static bool both_directions_bear(uint8_t kind) {
    return kind != MB_TUNNEL_PPTP && kind != MB_TUNNEL_GTP && kind != MB_TUNNEL_ERSPAN;
}

/* UDP's source port is no part of it: it is chosen by the flow inside (RFC 7348 section 5). */
static uint64_t domain_inside(const struct mb_decoded *decoded, const struct mb_rest *rest,
                              const struct tunnel *tunnel) {
    if (rest->decoder->flow_key_ignores & MB_IGNORE_TUNNEL)
        return decoded->domain;
    struct mb_five_tuple ends = decoded->tuple;
    ends.source_port = 0;
    ends.destination_port = 0;
    const uint64_t *key = rest->decoder->key;
    return mb_domain_add(key, mb_flow_hash(key, &ends, decoded->domain),
                         MB_DOMAIN_TUNNEL + tunnel->kind,
                         both_directions_bear(tunnel->kind) ? tunnel->identifier : 0);
}

/* What follows is a packet inside another: the flow is the inner one's. */
static void enter(struct mb_decoded *decoded, struct mb_rest *rest, const struct tunnel *tunnel) {
    decoded->domain = domain_inside(decoded, rest, tunnel);
    uint16_t vlan = decoded->tuple.vlan;
    memset(&decoded->tuple, 0, sizeof decoded->tuple);
    decoded->tuple.vlan = vlan;
    decoded->depth++;
    decoded->tunnel = tunnel->kind;
    decoded->tunnel_identifier = tunnel->identifier;
    decoded->type = MB_TYPE_PACKET;
    decoded->transport = MB_TRANSPORT_NONE;
    decoded->transport_offset = 0;
    rest->at += tunnel->size;
    rest->final_destination = NULL;
    rest->has_unknown_destination = false;
    rest->home_address = NULL;
}

/* Tunnels are not entered deeper than some. */
static bool may_enter(struct mb_decoded *decoded, const struct mb_rest *rest) {
    if (decoded->depth < rest->decoder->tunnels_max)
        return true;
    decoded->reason = MB_REASON_TUNNEL_TOO_DEEP;
    return false;
}

void mb_decode_inner_ip(struct mb_decoded *decoded, struct mb_rest *rest, uint8_t protocol) {
    if (!may_enter(decoded, rest))
        return mb_decode_other(decoded, rest);
    enter(decoded, rest, &(struct tunnel){.kind = MB_TUNNEL_IP_IN_IP});
    if (protocol == MB_PROTOCOL_IPV4)
        mb_decode_ipv4(decoded, rest);
    else
        mb_decode_ipv6(decoded, rest);
}

static void decode_inner(struct mb_decoded *decoded, struct mb_rest *rest,
                         const struct tunnel *tunnel) {
    enter(decoded, rest, tunnel);
    if (tunnel->protocol == MB_GRE_ETHERNET)
        mb_decode_ethernet(decoded, rest);
    else
        mb_decode_network(decoded, rest, tunnel->protocol);
}

static bool is_network(uint16_t protocol) {
    return protocol == MB_ETHER_TYPE_IPV4 || protocol == MB_ETHER_TYPE_IPV6 ||
           protocol == MB_ETHER_TYPE_MPLS || protocol == MB_GRE_ETHERNET;
}

/* What lies between GRE's header and what GRE is there for. `size` and `protocol` of `tunnel` are
 * GRE's own; 0 bytes of size: it is not all there. */

static void read_erspan_2(struct tunnel *tunnel, const uint8_t *header, uint32_t length) {
    tunnel->kind = MB_TUNNEL_ERSPAN;
    tunnel->protocol = MB_GRE_ETHERNET;
    if (!mb_gre_has_sequence(header))
        return;
    if (length - tunnel->size >= MB_ERSPAN_2_SIZE)
        tunnel->identifier = mb_erspan_session(header + tunnel->size);
    tunnel->size += MB_ERSPAN_2_SIZE;
}

static void read_erspan_3(struct tunnel *tunnel, const uint8_t *header, uint32_t length) {
    uint32_t more = mb_erspan_3_length(header + tunnel->size, length - tunnel->size);
    tunnel->kind = MB_TUNNEL_ERSPAN;
    tunnel->protocol = more != 0 ? MB_GRE_ETHERNET : 0;
    if (more != 0)
        tunnel->identifier = mb_erspan_session(header + tunnel->size);
    tunnel->size += more;
}

static void read_pptp(struct tunnel *tunnel, const uint8_t *header, uint32_t length) {
    bool has_address =
        length - tunnel->size > MB_PPP_HDLC_SIZE && header[tunnel->size] == MB_PPP_HDLC_ADDRESS;
    tunnel->kind = MB_TUNNEL_PPTP;
    tunnel->identifier &= 0xffff;
    tunnel->size += (has_address ? MB_PPP_HDLC_SIZE : 0) + MB_PPP_PROTOCOL_SIZE;
    tunnel->protocol = tunnel->size <= length
                           ? mb_ppp_ether_type(header + tunnel->size - MB_PPP_PROTOCOL_SIZE)
                           : 0;
}

static struct tunnel read_gre(const uint8_t *header, uint32_t length) {
    struct tunnel tunnel = {.size = mb_gre_header_length(header, length), .kind = MB_TUNNEL_GRE};
    if (tunnel.size == 0)
        return tunnel;
    tunnel.protocol = mb_gre_protocol(header);
    tunnel.identifier = mb_gre_key(header);
    if (tunnel.protocol == MB_GRE_ERSPAN_2)
        read_erspan_2(&tunnel, header, length);
    else if (tunnel.protocol == MB_GRE_ERSPAN_3)
        read_erspan_3(&tunnel, header, length);
    else if (tunnel.protocol == MB_GRE_PPP)
        read_pptp(&tunnel, header, length);
    return tunnel;
}

void mb_decode_gre(struct mb_decoded *decoded, struct mb_rest *rest) {
    uint32_t length = mb_rest_captured(rest);
    struct tunnel tunnel = read_gre(mb_rest_next(rest), length);
    mb_verify_gre(decoded, rest);
    if (tunnel.size == 0 || tunnel.size > length || !is_network(tunnel.protocol) ||
        !may_enter(decoded, rest))
        return mb_decode_other(decoded, rest);
    decode_inner(decoded, rest, &tunnel);
}

bool mb_is_udp_tunnel_port(uint16_t port) {
    return port == MB_VXLAN_PORT || port == MB_GENEVE_PORT || port == MB_GTP_PORT;
}

static struct tunnel read_vxlan(const uint8_t *header, uint32_t length) {
    if (!mb_vxlan_is_one(header, length))
        return (struct tunnel){0};
    return (struct tunnel){.kind = MB_TUNNEL_VXLAN,
                           .size = MB_VXLAN_SIZE,
                           .protocol = MB_GRE_ETHERNET,
                           .identifier = mb_vxlan_network(header)};
}

static struct tunnel read_geneve(const uint8_t *header, uint32_t length) {
    uint32_t size = mb_geneve_header_length(header, length);
    if (size == 0)
        return (struct tunnel){0};
    return (struct tunnel){.kind = MB_TUNNEL_GENEVE,
                           .size = size,
                           .protocol = mb_geneve_protocol(header),
                           .identifier = mb_geneve_network(header)};
}

static struct tunnel read_gtp(const uint8_t *header, uint32_t length) {
    uint32_t size = mb_gtp_header_length(header, length);
    if (size == 0)
        return (struct tunnel){0};
    return (struct tunnel){.kind = MB_TUNNEL_GTP,
                           .size = size,
                           .protocol = mb_ip_ether_type(header + size, length - size),
                           .identifier = mb_gtp_endpoint(header)};
}

/* Tunnels over UDP are known by their port; so their headers are looked at closely, and what does
 * not fit is a datagram like others. */
bool mb_decode_udp_tunnel(struct mb_decoded *decoded, struct mb_rest *rest) {
    const uint8_t *header = mb_rest_next(rest);
    uint32_t length = mb_rest_captured(rest);
    struct tunnel tunnel;
    switch (decoded->tuple.destination_port) {
    case MB_VXLAN_PORT:
        tunnel = read_vxlan(header, length);
        break;
    case MB_GENEVE_PORT:
        tunnel = read_geneve(header, length);
        break;
    case MB_GTP_PORT:
        tunnel = read_gtp(header, length);
        break;
    default:
        return false;
    }
    if (tunnel.size == 0 || !is_network(tunnel.protocol) || !may_enter(decoded, rest))
        return false;
    decode_inner(decoded, rest, &tunnel);
    return true;
}
