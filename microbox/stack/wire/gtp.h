/*
 * GTP-U version 1 (3GPP TS 29.281): users' IP packets between a mobile network's nodes.
 */
#ifndef MICROBOX_STACK_WIRE_GTP_H
#define MICROBOX_STACK_WIRE_GTP_H

#include "microbox/stack/wire/bytes.h"

enum {
    MB_GTP_PORT = 2152,
    MB_GTP_SIZE_MIN = 8,
    MB_GTP_ENDPOINT = 4,
    MB_GTP_OPTIONAL_SIZE = 4, /* sequence number, N-PDU number, next extension's type */
    MB_GTP_VERSION_1 = 0x30,  /* with the protocol type bit */
    MB_GTP_OPTIONAL = 0x07,   /* any of the three: all are there */
    MB_GTP_EXTENSION = 0x04,
    MB_GTP_PACKET = 0xff,
    MB_GTP_EXTENSIONS_MAX = 8
};

/* Length of the headers before the packet; 0 where this is no packet of a user. */
static inline uint32_t mb_gtp_header_length(const uint8_t *header, uint32_t length) {
    if (length < MB_GTP_SIZE_MIN || (header[0] & 0xf0) != MB_GTP_VERSION_1 ||
        header[1] != MB_GTP_PACKET)
        return 0;
    if ((header[0] & MB_GTP_OPTIONAL) == 0)
        return MB_GTP_SIZE_MIN;
    uint32_t at = MB_GTP_SIZE_MIN + MB_GTP_OPTIONAL_SIZE;
    if (length < at)
        return 0;
    if ((header[0] & MB_GTP_EXTENSION) == 0)
        return at;
    /* Each extension says its length in fours, and in its last byte what follows. */
    for (unsigned count = 0; header[at - 1] != 0; count++) {
        if (count == MB_GTP_EXTENSIONS_MAX || at >= length)
            return 0;
        uint32_t size = header[at] * 4u;
        if (size == 0 || size > length - at)
            return 0;
        at += size;
    }
    return at;
}

/* The tunnel endpoint identifier, which the receiver chose. */
static inline uint32_t mb_gtp_endpoint(const uint8_t *header) {
    return mb_read_32(header + MB_GTP_ENDPOINT);
}

#endif
