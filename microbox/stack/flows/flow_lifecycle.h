/*
 * A flow from its first packet to its end: which packet begins one, what modules it runs, and what
 * ends it.
 */
#ifndef MICROBOX_STACK_FLOWS_FLOW_LIFECYCLE_H
#define MICROBOX_STACK_FLOWS_FLOW_LIFECYCLE_H

#include "microbox/stack/decode/decode.h"
#include "microbox/stack/flows/flow.h"

#include <stdbool.h>
#include <stdint.h>

struct mb_stack;

/* The flow that the packet belongs to; where there is none it begins one. *direction: 0 where the
 * originator sent the packet. NULL: it belongs to none, since it cannot begin one or since the
 * table is full; what the policy does with it then is in stack->dropped and stack->is_bypassed. */
struct mb_flow_entry *mb_flow_of_packet(struct mb_stack *stack, const struct mb_decoded *packet,
                                        unsigned *direction);

/* A packet of the flow goes this way: works out who wants the direction, where that is not known
 * yet, and which modules the flow runs. */
void mb_flow_see_direction(struct mb_stack *stack, struct mb_flow_entry *flow,
                           const struct mb_decoded *packet, unsigned direction);

/* Works out anew what the flow runs, since who wants its events has changed. True where that is
 * another set of modules, or other sides of the stream, than before. */
bool mb_flow_work_out_modules(struct mb_stack *stack, struct mb_flow_entry *flow);

/* The five-tuple as packets of the other direction have it. */
struct mb_five_tuple mb_reversed_tuple(const struct mb_five_tuple *tuple);

/* Modules publish what they still hold and the end, those that build on others first. The flow
 * stays in the table, so that late packets begin no new one. Nothing where it has ended before. */
void mb_flow_end(struct mb_stack *stack, struct mb_flow_entry *flow, uint8_t reason);

/* Ends the flow, apart from the packet in hand, and takes it out of the table. */
void mb_flow_give_up(struct mb_stack *stack, struct mb_flow_entry *flow, uint8_t reason);

/* The policy of a cap ends the flow when its modules are done with the packet in hand: from then on
 * its packets are dropped or bypassed, as `mark` says (MB_FLOW_DROPPED, with the packet in hand, or
 * MB_FLOW_BYPASSED). It stays in the table while it goes on sending. A new connection on the
 * five-tuple is a new flow. `reason`: which cap it was. */
void mb_flow_refuse(struct mb_stack *stack, struct mb_flow_entry *flow, enum mb_flow_mark mark,
                    uint8_t reason);

/* A packet of such a flow. */
static inline bool mb_flow_is_refused(const struct mb_flow_entry *flow) {
    return flow->marks & (MB_FLOW_DROPPED | MB_FLOW_BYPASSED);
}

/* Ends a flow that was silent for too long, apart from the packet in hand. After a RST it stays in
 * the table, as one that has ended. */
void mb_flow_expire(struct mb_stack *stack, struct mb_flow_entry *flow);

/* What is published from now on is not about the packet in hand. `when`: of MB_WHEN. */
void mb_set_apart(struct mb_stack *stack, uint8_t when);

#endif
