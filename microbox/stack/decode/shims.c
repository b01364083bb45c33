/*
 * Tags, labels and headers between the link and the network layer. Each function takes its header
 * off and returns what follows it as an Ethernet type, 0: nothing that is decoded.
 */
#include "microbox/stack/decode/domain.h"
#include "microbox/stack/decode/layers.h"
#include "microbox/stack/wire/ethernet.h"
#include "microbox/stack/wire/mpls.h"
#include "microbox/stack/wire/ppp.h"
#include "microbox/stack/wire/vlan.h"

/* VLAN tags, MPLS labels and the like that are followed, in each packet of a tunnel. */
enum { SHIMS_MAX = 8 };

static void name_part(struct mb_decoded *decoded, const struct mb_rest *rest, unsigned part,
                      uint32_t identifier) {
    uint8_t ignored = part < MB_DOMAIN_TUNNEL ? MB_IGNORE_VLAN : MB_IGNORE_TUNNEL;
    if ((rest->decoder->flow_key_ignores & ignored) == 0)
        decoded->domain = mb_domain_add(rest->decoder->key, decoded->domain, part, identifier);
}

static void name_tunnel(struct mb_decoded *decoded, uint8_t kind, uint32_t identifier) {
    decoded->tunnel = kind;
    decoded->tunnel_identifier = identifier;
}

/* Identifier 0 gives a priority and no VLAN (IEEE 802.1Q clause 9.6). */
static uint16_t take_vlan(struct mb_decoded *decoded, struct mb_rest *rest) {
    const uint8_t *tag = mb_rest_next(rest);
    uint8_t reason = mb_vlan_check(tag, mb_rest_captured(rest));
    if (reason != MB_REASON_NONE) {
        mb_malformed(decoded, reason);
        return 0;
    }
    uint16_t identifier = mb_vlan_identifier(tag);
    if (identifier != 0)
        name_part(decoded, rest, MB_DOMAIN_VLAN, identifier);
    if (decoded->depth == 0 && decoded->tuple.vlan == 0)
        decoded->tuple.vlan = identifier;
    rest->at += MB_VLAN_SIZE;
    return mb_vlan_type(tag);
}

/* A label names a path in one direction (RFC 3031 section 3.1), so it tells no flows apart. */
static uint16_t take_mpls(struct mb_decoded *decoded, struct mb_rest *rest) {
    const uint8_t *label = mb_rest_next(rest);
    uint8_t reason = mb_mpls_check(label, mb_rest_captured(rest));
    if (reason != MB_REASON_NONE) {
        mb_malformed(decoded, reason);
        return 0;
    }
    name_tunnel(decoded, MB_TUNNEL_MPLS, mb_mpls_label(label));
    rest->at += MB_MPLS_SIZE;
    return mb_mpls_is_bottom(label) ? mb_ip_ether_type(mb_rest_next(rest), mb_rest_captured(rest))
                                    : MB_ETHER_TYPE_MPLS;
}

uint16_t mb_take_ppp(struct mb_decoded *decoded, struct mb_rest *rest) {
    const uint8_t *header = mb_rest_next(rest);
    uint8_t reason = mb_ppp_check(header, mb_rest_captured(rest));
    if (reason != MB_REASON_NONE) {
        mb_malformed(decoded, reason);
        return 0;
    }
    rest->at += MB_PPP_PROTOCOL_SIZE;
    return mb_ppp_ether_type(header);
}

static uint16_t take_pppoe(struct mb_decoded *decoded, struct mb_rest *rest) {
    uint8_t reason = mb_pppoe_check(mb_rest_next(rest), mb_rest_captured(rest));
    if (reason != MB_REASON_NONE) {
        mb_malformed(decoded, reason);
        return 0;
    }
    uint16_t session = mb_pppoe_session(mb_rest_next(rest));
    name_tunnel(decoded, MB_TUNNEL_PPPOE, session);
    name_part(decoded, rest, MB_DOMAIN_TUNNEL + MB_TUNNEL_PPPOE, session);
    uint32_t length = mb_pppoe_length(mb_rest_next(rest));
    rest->at += MB_PPPOE_SIZE;
    if (length >= MB_PPP_PROTOCOL_SIZE)
        mb_rest_end_after(rest, length);
    return mb_take_ppp(decoded, rest);
}

static uint16_t take_backbone(struct mb_decoded *decoded, struct mb_rest *rest) {
    if (mb_rest_captured(rest) < MB_BACKBONE_TAG_SIZE + MB_ETHERNET_SIZE) {
        mb_malformed(decoded, MB_REASON_FRAME_TRUNCATED);
        return 0;
    }
    name_part(decoded, rest, MB_DOMAIN_BACKBONE, mb_backbone_service(mb_rest_next(rest)));
    rest->at += MB_BACKBONE_TAG_SIZE;
    uint16_t ether_type = mb_ethernet_type(mb_rest_next(rest));
    rest->at += MB_ETHERNET_SIZE;
    return ether_type;
}

uint16_t mb_take_llc(struct mb_rest *rest) {
    if (!mb_snap_is_ethernet(mb_rest_next(rest), mb_rest_captured(rest)))
        return 0;
    uint16_t ether_type = mb_snap_type(mb_rest_next(rest));
    rest->at += MB_SNAP_SIZE;
    return ether_type;
}

/* Takes off one header that `ether_type` announces; false: it announces none of those. */
static bool take_shim(struct mb_decoded *decoded, struct mb_rest *rest, uint16_t *ether_type) {
    switch (*ether_type) {
    case MB_ETHER_TYPE_VLAN:
    case MB_ETHER_TYPE_QINQ:
    case MB_ETHER_TYPE_QINQ_OLD:
        *ether_type = take_vlan(decoded, rest);
        return true;
    case MB_ETHER_TYPE_MPLS:
    case MB_ETHER_TYPE_MPLS_MULTICAST:
        *ether_type = take_mpls(decoded, rest);
        return true;
    case MB_ETHER_TYPE_PPPOE_SESSION:
        *ether_type = take_pppoe(decoded, rest);
        return true;
    case MB_ETHER_TYPE_BACKBONE:
        *ether_type = take_backbone(decoded, rest);
        return true;
    default:
        return false;
    }
}

uint16_t mb_take_shims(struct mb_decoded *decoded, struct mb_rest *rest, uint16_t ether_type) {
    for (unsigned count = 0; take_shim(decoded, rest, &ether_type); count++) {
        if (decoded->type == MB_TYPE_PACKET_MALFORMED)
            return 0;
        if (count == SHIMS_MAX) {
            mb_malformed(decoded, MB_REASON_VLAN_TOO_DEEP);
            return 0;
        }
    }
    if (ether_type != 0 && ether_type <= MB_ETHERNET_LENGTH_MAX)
        return mb_take_llc(rest);
    return ether_type;
}
