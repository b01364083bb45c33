/*
 * Linux netfilter log messages (LINKTYPE_NFLOG): a header, then attributes of which one is the
 * packet. Attributes are in the byte order of the machine that captured; we take it for
 * little-endian.
 */
#ifndef MICROBOX_STACK_WIRE_NFLOG_H
#define MICROBOX_STACK_WIRE_NFLOG_H

#include "microbox/events/event_types.h"

#include <stdint.h>

enum {
    MB_NFLOG_SIZE = 4,
    MB_NFLOG_ATTRIBUTE_SIZE = 4,
    MB_NFLOG_PAYLOAD = 9,
    MB_NFLOG_ATTRIBUTES_MAX = 32
};

static inline uint8_t mb_nflog_check(const uint8_t *frame, uint32_t length) {
    (void)frame;
    return length < MB_NFLOG_SIZE ? MB_REASON_FRAME_TRUNCATED : MB_REASON_NONE;
}

/* Where the packet begins in `frame`; 0: there is none. */
static inline uint32_t mb_nflog_packet(const uint8_t *frame, uint32_t length) {
    uint32_t at = MB_NFLOG_SIZE;
    for (unsigned count = 0; count < MB_NFLOG_ATTRIBUTES_MAX; count++) {
        if (length - at < MB_NFLOG_ATTRIBUTE_SIZE)
            return 0;
        uint32_t size = frame[at] | (uint32_t)frame[at + 1] << 8;
        uint32_t type = frame[at + 2] | (uint32_t)frame[at + 3] << 8;
        if (type == MB_NFLOG_PAYLOAD)
            return at + MB_NFLOG_ATTRIBUTE_SIZE;
        uint32_t padded = (size + 3) & ~3u;
        if (size < MB_NFLOG_ATTRIBUTE_SIZE || padded > length - at)
            return 0;
        at += padded;
    }
    return 0;
}

#endif
