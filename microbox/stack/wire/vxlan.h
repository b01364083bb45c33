/*
 * VXLAN (RFC 7348): eight bytes, then an Ethernet frame.
 */
#ifndef MICROBOX_STACK_WIRE_VXLAN_H
#define MICROBOX_STACK_WIRE_VXLAN_H

#include "microbox/stack/wire/ethernet.h"

enum { MB_VXLAN_PORT = 4789, MB_VXLAN_SIZE = 8, MB_VXLAN_FLAGS = 0x08, MB_VXLAN_NETWORK = 4 };

/* True where there is a header as the RFC has it, and an Ethernet header behind. */
static inline int mb_vxlan_is_one(const uint8_t *header, uint32_t length) {
    return length >= MB_VXLAN_SIZE + MB_ETHERNET_SIZE && header[0] == MB_VXLAN_FLAGS &&
           header[7] == 0;
}

/* The VXLAN network identifier, 24 bits. */
static inline uint32_t mb_vxlan_network(const uint8_t *header) {
    return mb_read_32(header + MB_VXLAN_NETWORK) >> 8;
}

#endif
