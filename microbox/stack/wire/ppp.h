/*
 * PPP (RFC 1661, RFC 1662), and PPPoE sessions (RFC 2516) around it.
 */
#ifndef MICROBOX_STACK_WIRE_PPP_H
#define MICROBOX_STACK_WIRE_PPP_H

#include "microbox/events/event_types.h"
#include "microbox/stack/wire/ethernet.h"

enum {
    MB_PPPOE_SESSION = 2,
    MB_PPPOE_LENGTH = 4,
    MB_PPPOE_SIZE = 6,
    MB_PPP_PROTOCOL_SIZE = 2,
    MB_PPP_HDLC_ADDRESS = 0xff, /* RFC 1662 section 3.1: address and control may precede */
    MB_PPP_HDLC_SIZE = 2
};

static inline uint8_t mb_pppoe_check(const uint8_t *header, uint32_t length) {
    (void)header;
    return length < MB_PPPOE_SIZE ? MB_REASON_FRAME_TRUNCATED : MB_REASON_NONE;
}

static inline uint16_t mb_pppoe_session(const uint8_t *header) {
    return mb_read_16(header + MB_PPPOE_SESSION);
}

/* Bytes that follow the header. */
static inline uint32_t mb_pppoe_length(const uint8_t *header) {
    return mb_read_16(header + MB_PPPOE_LENGTH);
}

static inline uint8_t mb_ppp_check(const uint8_t *header, uint32_t length) {
    (void)header;
    return length < MB_PPP_PROTOCOL_SIZE ? MB_REASON_FRAME_TRUNCATED : MB_REASON_NONE;
}

/* The Ethernet type for PPP's protocol number; 0 for one that carries no IP. */
static inline uint16_t mb_ppp_ether_type(const uint8_t *header) {
    switch (mb_read_16(header)) {
    case 0x0021:
        return MB_ETHER_TYPE_IPV4;
    case 0x0057:
        return MB_ETHER_TYPE_IPV6;
    case 0x0281:
        return MB_ETHER_TYPE_MPLS;
    default:
        return 0;
    }
}

#endif
