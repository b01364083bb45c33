/*
 * Flows and those who came while they lived: who wants a flow is worked out anew, and an NF may be
 * told of the flows that began before it.
 */
#ifndef MICROBOX_STACK_FLOWS_FLOW_RENEWAL_H
#define MICROBOX_STACK_FLOWS_FLOW_RENEWAL_H

#include "microbox/stack/flows/flow.h"

struct mb_stack;

/* Subscriptions have changed: works out who wants the flow and what it runs. What NFs switched off
 * stays off, except for bits of `joined`, whose NFs are new. A start that nobody was told of is
 * told to nobody any more. */
void mb_flow_renew(struct mb_stack *stack, struct mb_flow_entry *flow, const uint64_t joined[2]);

/* True where mb_flow_present would tell some of `who`. */
bool mb_flow_present_is_wanted(const struct mb_stack *stack, const struct mb_flow_entry *flow,
                               const uint64_t who[2]);

/* Publishes flow.present to those of `who` whose filters the flow matches. */
void mb_flow_present(struct mb_stack *stack, const struct mb_flow_entry *flow,
                     const uint64_t who[2]);

#endif
