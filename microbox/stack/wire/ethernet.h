/*
 * Ethernet (IEEE 802.3), and LLC with SNAP where the type field is a length.
 */
#ifndef MICROBOX_STACK_WIRE_ETHERNET_H
#define MICROBOX_STACK_WIRE_ETHERNET_H

#include "microbox/events/event_types.h"
#include "microbox/stack/wire/bytes.h"

enum {
    MB_ETHERNET_TYPE = 12,
    MB_ETHERNET_SIZE = 14,
    MB_ETHERNET_LENGTH_MAX = 1500, /* up to here the type field is a length (802.3 clause 3.2.6) */

    MB_BACKBONE_TAG_SIZE = 4,

    MB_SNAP_TYPE = 6, /* AA AA 03, organisation, type */
    MB_SNAP_SIZE = 8
};

enum mb_ether_type {
    MB_ETHER_TYPE_IPV4 = 0x0800,
    MB_ETHER_TYPE_ARP = 0x0806,
    MB_ETHER_TYPE_VLAN = 0x8100,
    MB_ETHER_TYPE_IPV6 = 0x86dd,
    MB_ETHER_TYPE_MPLS = 0x8847,
    MB_ETHER_TYPE_MPLS_MULTICAST = 0x8848,
    MB_ETHER_TYPE_PPPOE_SESSION = 0x8864,
    MB_ETHER_TYPE_QINQ = 0x88a8,
    MB_ETHER_TYPE_BACKBONE = 0x88e7, /* 802.1ah: a service tag, then a whole Ethernet header */
    MB_ETHER_TYPE_QINQ_OLD = 0x9100
};

static inline uint8_t mb_ethernet_check(const uint8_t *frame, uint32_t length) {
    (void)frame;
    return length < MB_ETHERNET_SIZE ? MB_REASON_FRAME_TRUNCATED : MB_REASON_NONE;
}

static inline uint16_t mb_ethernet_type(const uint8_t *frame) {
    return mb_read_16(frame + MB_ETHERNET_TYPE);
}

/* Who the frame belongs to: the last 24 bits of the service tag (IEEE 802.1Q clause 9.7). */
static inline uint32_t mb_backbone_service(const uint8_t *tag) {
    return mb_read_32(tag) & 0x00ffffff;
}

/* True where LLC is followed by a SNAP header whose organisation is 0: an Ethernet type follows
 * (RFC 1042). */
static inline int mb_snap_is_ethernet(const uint8_t *llc, uint32_t length) {
    static const uint8_t header[MB_SNAP_TYPE] = {0xaa, 0xaa, 0x03, 0, 0, 0};
    return length >= MB_SNAP_SIZE && memcmp(llc, header, sizeof header) == 0;
}

static inline uint16_t mb_snap_type(const uint8_t *llc) {
    return mb_read_16(llc + MB_SNAP_TYPE);
}

#endif
