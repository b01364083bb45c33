/*
 * BSD loopback (LINKTYPE_NULL, LINKTYPE_LOOP): an address family in four bytes, whose byte order
 * for NULL is that of the machine that captured.
 */
#ifndef MICROBOX_STACK_WIRE_LOOPBACK_H
#define MICROBOX_STACK_WIRE_LOOPBACK_H

#include "microbox/events/event_types.h"
#include "microbox/stack/wire/ethernet.h"

enum { MB_LOOPBACK_SIZE = 4 };

static inline uint8_t mb_loopback_check(const uint8_t *frame, uint32_t length) {
    (void)frame;
    return length < MB_LOOPBACK_SIZE ? MB_REASON_FRAME_TRUNCATED : MB_REASON_NONE;
}

/* The Ethernet type for the address family; 0 for one that carries no IP. IPv6 has another number
 * on NetBSD and OpenBSD, on FreeBSD, on Darwin, and on Linux. */
static inline uint16_t mb_loopback_ether_type(const uint8_t *frame) {
    uint32_t family = mb_read_32(frame);
    if (family > 0xffff)
        family = __builtin_bswap32(family);
    switch (family) {
    case 2:
        return MB_ETHER_TYPE_IPV4;
    case 10:
    case 24:
    case 28:
    case 30:
        return MB_ETHER_TYPE_IPV6;
    default:
        return 0;
    }
}

#endif
