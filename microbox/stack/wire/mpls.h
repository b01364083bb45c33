/*
 * MPLS label stack entries (RFC 3032): four bytes each, the last one marked.
 */
#ifndef MICROBOX_STACK_WIRE_MPLS_H
#define MICROBOX_STACK_WIRE_MPLS_H

#include "microbox/events/event_types.h"
#include "microbox/stack/wire/ethernet.h"

enum { MB_MPLS_SIZE = 4, MB_MPLS_BOTTOM = 1 };

static inline uint8_t mb_mpls_check(const uint8_t *label, uint32_t length) {
    (void)label;
    return length < MB_MPLS_SIZE ? MB_REASON_FRAME_TRUNCATED : MB_REASON_NONE;
}

static inline uint32_t mb_mpls_label(const uint8_t *label) {
    return mb_read_32(label) >> 12;
}

static inline int mb_mpls_is_bottom(const uint8_t *label) {
    return label[2] & MB_MPLS_BOTTOM;
}

/* Labels do not say what follows; IP is known by its version. 0: something else. */
static inline uint16_t mb_ip_ether_type(const uint8_t *packet, uint32_t length) {
    if (length == 0)
        return 0;
    switch (packet[0] >> 4) {
    case 4:
        return MB_ETHER_TYPE_IPV4;
    case 6:
        return MB_ETHER_TYPE_IPV6;
    default:
        return 0;
    }
}

#endif
