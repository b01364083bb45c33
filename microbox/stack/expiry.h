/*
 * What ends since time has passed, or since the input is over: flows that were silent for too long,
 * holes that a stream has waited at for too long, datagrams of which fragments did not come.
 *
 * All that a packet's time makes overdue ends with that packet, behind its own entries, in the
 * order of the packets that it began with. So when a flow ends, and in which order, follows from
 * its own packets and from the clock, and not from what else is in the table: workers that share
 * flows out among them end what one would, in an order that can be merged (bus/moment.h).
 *
 * A packet may end any number of flows, each of which took a packet to begin: after a silence of
 * the whole input, or a step in time. They go as the log has room, and no further packet is handled
 * before all have gone.
 */
#ifndef MICROBOX_STACK_EXPIRY_H
#define MICROBOX_STACK_EXPIRY_H

#include "microbox/stack/endings.h"

struct mb_stack;
struct mb_stack_config;

/* What may end at once. */
struct mb_expiry_most {
    uint32_t flows;
    uint32_t holes;
    uint32_t datagrams;
};

struct mb_expiry {
    struct mb_endings endings; /* that are still to come */
    uint8_t reason;            /* enum mb_reason: why all ends; none: since it is overdue */
    uint8_t flags;             /* what the entries bear */
};

/* Of a configuration whose limits are filled in. */
struct mb_expiry_most mb_expiry_most(const struct mb_stack_config *config);

/* Returns 0 or -ENOMEM. */
int mb_expiry_create(struct mb_stack *stack);
void mb_expiry_destroy(struct mb_stack *stack);

/* Ends what the time of the packet in hand has made overdue; the packet's own entries are in the
 * log. False: as much as the log had room for; to be gone on with before the next packet. */
bool mb_expire(struct mb_stack *stack);

/* Nothing is left to end; else goes on with it. False: the log has no room for the rest. */
bool mb_expiry_settle(struct mb_stack *stack);

static inline bool mb_expiry_is_settled(const struct mb_expiry *expiry) {
    return expiry->endings.count == 0;
}

/* The input is over: everything ends. Settle before, and until true behind it. */
void mb_expire_all(struct mb_stack *stack, uint8_t reason);

#endif
