/*
 * Which checksums of a frame cover what: what has to be known to change bytes of it and leave each
 * checksum as right, or as wrong, as it was.
 */
#ifndef MICROBOX_STACK_DECODE_CHECKSUM_TRAIL_H
#define MICROBOX_STACK_DECODE_CHECKSUM_TRAIL_H

#include "microbox/stack/decode/decode.h"

/* Each layer has a header with a checksum and one behind it; an ICMP error quotes one more. */
enum { MB_CHECKSUMS_MAX = 2 * (MB_TUNNELS_DEPTH_MAX + 2) };

/* Offsets count from the frame's first byte. */
struct mb_checksum {
    uint32_t field; /* of the checksum; captured */
    uint32_t from;  /* it covers the bytes [from, end) */
    uint32_t end;
    uint32_t source; /* of the addresses that it covers as a pseudo header; 0: none, or it is not
                        known which */
    uint32_t destination;
    uint8_t address_length;
    bool zero_is_none; /* UDP: 0 says that there is no checksum, and never is one (RFC 768) */
    bool is_partial;   /* the field holds the sum of the pseudo header alone (checksums.h) */
};

/* From the outside in, so that each covers fields of later ones only. */
struct mb_checksum_trail {
    uint32_t count;
    struct mb_checksum checksums[MB_CHECKSUMS_MAX];
};

/* One more, for the caller to fill; NULL where there is no room: it is left out then. */
static inline struct mb_checksum *mb_checksum_trail_next(struct mb_checksum_trail *trail) {
    return trail->count < MB_CHECKSUMS_MAX ? &trail->checksums[trail->count++] : NULL;
}

/* Adds one, where there is room. */
static inline void mb_checksum_trail_add(struct mb_checksum_trail *trail,
                                         const struct mb_checksum *checksum) {
    struct mb_checksum *next = mb_checksum_trail_next(trail);
    if (next != NULL)
        *next = *checksum;
}

/* Where the checksum is in a transport header; 0: the protocol has none that is known. */
static inline uint32_t mb_transport_checksum(uint8_t protocol) {
    enum { ICMP = 1, TCP = 6, UDP = 17, DCCP = 33, ICMPV6 = 58, UDP_LITE = 136 };
    switch (protocol) {
    case ICMP:
    case ICMPV6:
        return 2;
    case TCP:
        return 16;
    case UDP:
    case DCCP:     /* RFC 4340 section 5.1 */
    case UDP_LITE: /* RFC 3828 section 3 */
        return 6;
    default:
        return 0;
    }
}

#endif
