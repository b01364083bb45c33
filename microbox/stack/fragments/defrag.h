/*
 * Puts datagrams together again (RFC 791 section 3.2, RFC 8200 section 4.5).
 *
 * Fragments wait where they lie in their frames. When the last one has come the datagram is copied
 * once, into the assembled area, decoded again, and handled as a part of the packet that completed
 * it. A fragment is let go, and the reason told, where receivers do not take it: what is empty,
 * what would end past 65,535 bytes (the ping of death), what contradicts where another fragment
 * said that the datagram ends, what is no multiple of 8 bytes long and not the last. Fragments of
 * IPv6 that overlap cost the whole datagram (RFC 5722); of IPv4, the receiver's policy decides
 * (fragment_list.h).
 *
 * Limits: datagrams, fragments a datagram (and as many pieces that later ones come to lie over),
 * bytes held. Where the first or the last is met the oldest datagram is given up. For that a packet
 * gives up at most MB_DEFRAG_GIVEN_UP_PER_PACKET; where that is not enough its fragment is let go.
 * After the timeout, which counts from a datagram's first fragment, it is given up too (expiry.h).
 * Each datagram given up is an incomplete_datagram event.
 *
 * A whole datagram is remembered until the timeout: what comes of it later belongs to the packet
 * that completed it, so that a verdict on that packet is one on those (gate.h).
 */
#ifndef MICROBOX_STACK_FRAGMENTS_DEFRAG_H
#define MICROBOX_STACK_FRAGMENTS_DEFRAG_H

#include "microbox/stack/fragments/fragment_table.h"

enum { MB_DEFRAG_GIVEN_UP_PER_PACKET = 4 };

struct mb_stack;

struct mb_defrag {
    bool is_on; /* somebody reads what comes of it */
    struct mb_fragment_table table;
    uint64_t held;   /* bytes captured of all fragments that wait */
    uint32_t budget; /* datagrams that the packet in hand may still give up */
};

/* Returns 0 or -ENOMEM. */
int mb_defrag_create(struct mb_stack *stack);
void mb_defrag_destroy(struct mb_stack *stack);

/* Takes a fragment. Returns what is to be said of it. *datagram: the one that it belongs to, NULL
 * where it was let go; *is_complete: this fragment was the last one missing. */
uint8_t mb_defrag_add(struct mb_stack *stack, const struct mb_decoded *fragment,
                      struct mb_datagram **datagram, bool *is_complete);

/* Makes the datagram whole and decodes it; `fragment` completed it. False: there is no room for it,
 * and it was given up. */
bool mb_defrag_assemble(struct mb_stack *stack, struct mb_datagram *datagram,
                        const struct mb_decoded *fragment, struct mb_decoded *whole);

/* Adds the datagrams that began too long ago, or all, to what is to end. */
void mb_defrag_gather_overdue(struct mb_stack *stack);
void mb_defrag_gather_all(struct mb_stack *stack);

/* Takes a datagram out of the table. One of which fragments are missing is given up. */
void mb_defrag_remove(struct mb_stack *stack, struct mb_datagram *datagram, uint8_t reason);

#endif
