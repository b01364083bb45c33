/*
 * ARP (RFC 826).
 */
#ifndef MICROBOX_STACK_WIRE_ARP_H
#define MICROBOX_STACK_WIRE_ARP_H

#include "microbox/events/event_types.h"
#include "microbox/stack/wire/bytes.h"

enum { MB_ARP_HARDWARE_LENGTH = 4, MB_ARP_PROTOCOL_LENGTH = 5, MB_ARP_HEADER_SIZE = 8 };

/* The header, and two hardware and two protocol addresses of the lengths that it gives. */
static inline uint8_t mb_arp_check(const uint8_t *message, uint32_t length) {
    if (length < MB_ARP_HEADER_SIZE)
        return MB_REASON_ARP_TRUNCATED;
    uint32_t addresses =
        2u * (message[MB_ARP_HARDWARE_LENGTH] + (uint32_t)message[MB_ARP_PROTOCOL_LENGTH]);
    return length - MB_ARP_HEADER_SIZE < addresses ? MB_REASON_ARP_TRUNCATED : MB_REASON_NONE;
}

#endif
