/*
 * ICMP errors, tied to the flow that they speak of: a router or the receiver quotes the packet that
 * it could not deliver (RFC 792, RFC 4443 section 2.4(c)).
 *
 * An error changes nothing of the flow: anybody can send one, so it neither ends it, nor resets it,
 * nor keeps it alive (RFC 5927).
 */
#ifndef MICROBOX_STACK_ICMP_ERROR_H
#define MICROBOX_STACK_ICMP_ERROR_H

#include "microbox/stack/decode/decode.h"
#include "microbox/stack/flows/flow.h"

struct mb_entry;
struct mb_stack;

struct mb_icmp_quote {
    struct mb_five_tuple tuple; /* of the quoted packet, as it was sent */
    uint32_t sequence_number;   /* TCP */
    uint32_t transport_offset;  /* of its transport header, from the frame's first byte */
    uint32_t mtu;               /* of the link that the packet did not fit, 0: not said */
    uint8_t transport;          /* enum mb_transport */
};

/* What an ICMP error quotes. False where that is no first fragment with the ports in it, or where
 * the error does not go to who sent what it quotes: then it speaks of no flow of its receiver. */
bool mb_icmp_quote_read(const struct mb_decoded *packet, struct mb_icmp_quote *quote);

/* The flow that the error `packet` speaks of; NULL: none that is known. *direction: of the quoted
 * packet. */
struct mb_flow_entry *mb_icmp_error_find(struct mb_stack *stack, const struct mb_decoded *packet,
                                         struct mb_icmp_quote *quote, unsigned *direction);

/* Tells the flow's modules. */
void mb_icmp_error_tell(struct mb_stack *stack, struct mb_flow_entry *flow,
                        const struct mb_decoded *packet, const struct mb_icmp_quote *quote,
                        unsigned direction);

/* For modules: an entry of `type` whose data is the quoted packet; NULL where nobody wants it. */
struct mb_entry *mb_icmp_error_entry(struct mb_stack *stack, const struct mb_flow_entry *flow,
                                     uint16_t type, uint8_t reason, const struct mb_decoded *packet,
                                     unsigned direction);

/* For modules: such an entry with an mb_icmp_error. */
void mb_icmp_error_publish(struct mb_stack *stack, const struct mb_flow_entry *flow, uint16_t type,
                           const struct mb_decoded *packet, const struct mb_icmp_quote *quote,
                           unsigned direction);

#endif
