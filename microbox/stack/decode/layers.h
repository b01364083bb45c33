/*
 * What the layers of the decoder share: the part of the frame that is still ahead, and one function
 * for each layer, called by the one outside of it. Private to decode_*.c and checksums.c.
 */
#ifndef MICROBOX_STACK_DECODE_LAYERS_H
#define MICROBOX_STACK_DECODE_LAYERS_H

#include "microbox/events/event_types.h"
#include "microbox/stack/decode/decode.h"

#include <stddef.h>

/* The part of the frame that is not decoded yet. `end` is where the captured bytes of the layer
 * end, `wire_end` where they ended on the wire; end <= wire_end, and at <= end. */
struct mb_rest {
    const struct mb_decoder *decoder;
    const uint8_t *bytes; /* the frame */
    uint32_t at;
    uint32_t end;
    uint32_t wire_end;
    bool is_bounded; /* a layer's header gave `wire_end`, not the frame's length */
    bool may_be_cut; /* before it was captured: the frame's length does not say how long it was */
    /* IPv6: the address that a routing header says the packet is for in the end; NULL: there is no
     * such header, or it was used up. Checksums cover that address (RFC 8200 section 8.1). */
    const uint8_t *final_destination;
    bool has_unknown_destination; /* such a header of a type that is not decoded */
    const uint8_t *home_address;  /* IPv6: covered in place of the source (RFC 6275); NULL: none */
};

static inline const uint8_t *mb_rest_next(const struct mb_rest *rest) {
    return rest->bytes + rest->at;
}

static inline uint32_t mb_rest_captured(const struct mb_rest *rest) {
    return rest->end - rest->at;
}

static inline uint32_t mb_rest_on_wire(const struct mb_rest *rest) {
    return rest->wire_end - rest->at;
}

/* Less came than the `length` bytes that the packet says it has: receivers drop it, as Linux does
 * in ip_rcv_core() and ip6_rcv_core(). One in a tunnel may have been cut before it was put there.
 */
static inline bool mb_rest_is_too_short(const struct mb_rest *rest, uint32_t length) {
    return length > mb_rest_on_wire(rest) && !rest->is_bounded && !rest->may_be_cut;
}

/* The layer is `length` bytes long; what follows them is padding. More bytes than the frame has
 * were cut from it; more than the layer around has are not this packet's. */
static inline void mb_rest_end_after(struct mb_rest *rest, uint32_t length) {
    if (rest->is_bounded && length > mb_rest_on_wire(rest))
        return;
    rest->is_bounded = true;
    rest->wire_end = rest->at + length;
    if (rest->end > rest->wire_end)
        rest->end = rest->wire_end;
}

static inline void mb_malformed(struct mb_decoded *decoded, uint8_t reason) {
    decoded->type = MB_TYPE_PACKET_MALFORMED;
    decoded->reason = reason;
}

static inline void mb_take_payload(struct mb_decoded *decoded, const struct mb_rest *rest) {
    decoded->payload_offset = (uint16_t)rest->at;
    decoded->payload_length = mb_rest_on_wire(rest);
    decoded->payload_captured = mb_rest_captured(rest);
    if (decoded->payload_captured < decoded->payload_length && decoded->reason == MB_REASON_NONE)
        decoded->reason = MB_REASON_PAYLOAD_CUT;
}

/* Link: what the capture's link type says. */
void mb_decode_link(struct mb_decoded *decoded, struct mb_rest *rest, uint32_t link_type);
void mb_decode_ethernet(struct mb_decoded *decoded, struct mb_rest *rest);

/* Between link and network. Each takes headers off and returns what follows as an Ethernet type,
 * 0: nothing that is decoded. */
uint16_t mb_take_shims(struct mb_decoded *decoded, struct mb_rest *rest, uint16_t ether_type);
uint16_t mb_take_llc(struct mb_rest *rest);
uint16_t mb_take_ppp(struct mb_decoded *decoded, struct mb_rest *rest);

/* Network: what `ether_type` announces. */
void mb_decode_network(struct mb_decoded *decoded, struct mb_rest *rest, uint16_t ether_type);
void mb_decode_ipv4(struct mb_decoded *decoded, struct mb_rest *rest);
void mb_decode_ipv6(struct mb_decoded *decoded, struct mb_rest *rest);

enum mb_ip_protocol {
    MB_PROTOCOL_ICMP = 1,
    MB_PROTOCOL_IPV4 = 4,
    MB_PROTOCOL_TCP = 6,
    MB_PROTOCOL_UDP = 17,
    MB_PROTOCOL_IPV6 = 41,
    MB_PROTOCOL_GRE = 47,
    MB_PROTOCOL_ICMPV6 = 58,
    MB_PROTOCOL_SCTP = 132
};

/* Transport. */
void mb_decode_transport(struct mb_decoded *decoded, struct mb_rest *rest, uint8_t protocol);
void mb_decode_other(struct mb_decoded *decoded, struct mb_rest *rest);

/* Tunnels: what is inside is decoded in place of what is around. */
void mb_decode_inner_ip(struct mb_decoded *decoded, struct mb_rest *rest, uint8_t protocol);
void mb_decode_gre(struct mb_decoded *decoded, struct mb_rest *rest);
/* Known by their port. True where one was entered. */
bool mb_decode_udp_tunnel(struct mb_decoded *decoded, struct mb_rest *rest);
bool mb_is_udp_tunnel_port(uint16_t port);

#endif
