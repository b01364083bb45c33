/*
 * VLAN tags (IEEE 802.1Q, 802.1ad): the four bytes after the type that announces them.
 */
#ifndef MICROBOX_STACK_WIRE_VLAN_H
#define MICROBOX_STACK_WIRE_VLAN_H

#include "microbox/events/event_types.h"
#include "microbox/stack/wire/ethernet.h"

enum { MB_VLAN_CONTROL = 0, MB_VLAN_TYPE = 2, MB_VLAN_SIZE = 4 };

static inline uint8_t mb_vlan_check(const uint8_t *tag, uint32_t length) {
    (void)tag;
    return length < MB_VLAN_SIZE ? MB_REASON_VLAN_TRUNCATED : MB_REASON_NONE;
}

static inline uint16_t mb_vlan_identifier(const uint8_t *tag) {
    return mb_read_16(tag + MB_VLAN_CONTROL) & 0x0fff;
}

static inline uint16_t mb_vlan_type(const uint8_t *tag) {
    return mb_read_16(tag + MB_VLAN_TYPE);
}

#endif
