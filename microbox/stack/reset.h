/*
 * A RST segment, made from a packet that the connection has sent: what is written is a frame of its
 * own, with the link header of that packet and nothing else of it but addresses and ports.
 *
 * The link header stays as it is, VLAN tags included; in an Ethernet frame that goes the other way
 * the two addresses change places. Headers that say how long they are, or that differ by direction
 * (802.3 with LLC, PPPoE, MPLS, 802.11, ...), and packets inside of tunnels are left alone.
 */
#ifndef MICROBOX_STACK_RESET_H
#define MICROBOX_STACK_RESET_H

#include "microbox/stack/decode/decode.h"

enum {
    MB_RESET_LINK_MAX = 64, /* bytes of the link header */
    MB_RESET_FRAME_MAX = MB_RESET_LINK_MAX + 40 + 20
};

/* Host byte order. */
struct mb_reset_numbers {
    uint32_t sequence_number;
    uint32_t acknowledgment_number; /* meaningful where `acknowledges` */
    bool acknowledges;
};

/* What the RST says that goes where the segment went (to its receiver), or back (to its sender).
 * `sent` and `answered`: one past the highest sequence number that came through here before it,
 * from its sender and from its receiver; NULL: nothing did. */
struct mb_reset_numbers mb_reset_onwards(const struct mb_decoded *segment, const uint32_t *sent,
                                         const uint32_t *answered);
struct mb_reset_numbers mb_reset_back(const struct mb_decoded *segment, const uint32_t *answered);

/* Whether a RST can be made from the packet, which came on such a link. */
bool mb_reset_is_possible(const struct mb_decoded *packet, uint32_t link_type);

/* Makes it; it must be possible. Returns the frame's length. */
uint32_t mb_reset_make(uint8_t frame[MB_RESET_FRAME_MAX], const struct mb_decoded *segment,
                       uint32_t link_type, bool goes_back, struct mb_reset_numbers numbers);

/* Whether it is a RST itself. */
bool mb_segment_resets(const struct mb_decoded *segment);

/* One past the segment's last sequence number: SYN and FIN count (RFC 9293 section 3.4). */
uint32_t mb_segment_end(const struct mb_decoded *segment);

#endif
