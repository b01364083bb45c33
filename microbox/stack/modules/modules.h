/*
 * The built-in modules.
 */
#ifndef MICROBOX_STACK_MODULES_MODULES_H
#define MICROBOX_STACK_MODULES_MODULES_H

#include "microbox/stack/flows/flow_table.h"
#include "microbox/stack/module.h"

extern const struct mb_module mb_module_tcp_monitor;
extern const struct mb_module mb_module_tcp_stream;
extern const struct mb_module mb_module_udp;
extern const struct mb_module mb_module_icmp;
extern const struct mb_module mb_module_flow;

/* True where the segment belongs to a new connection on the five-tuple of `flow`. To be asked of
 * SYNs, and of all segments where the flow has ended. */
bool mb_tcp_begins_anew(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                        unsigned direction);

/* True where the new connection was opened by the SYN that `flow` keeps in mind: the next flow is
 * to begin with it, and its originator is who sent it. */
bool mb_tcp_answers_pending_syn(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                                unsigned direction);

/* An ICMP error about the connection, and whether it quotes what was sent and not acknowledged. */
void mb_tcp_icmp_error(struct mb_stack *stack, struct mb_flow_entry *flow,
                       const struct mb_decoded *packet, const struct mb_icmp_quote *quote,
                       unsigned direction);
bool mb_tcp_icmp_error_is_credible(const struct mb_flow_entry *flow, unsigned direction,
                                   uint32_t sequence_number);

/* Lets go of what tcp.stream holds for one side, without publishing it. */
void mb_tcp_stream_release(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction);

/* Adds the holes at which streams of any flow have waited for too long to what is to end. */
void mb_tcp_stream_gather_overdue(struct mb_stack *stack);

/* Gives up the hole that the flow's stream waits at, where that is overdue. */
void mb_tcp_stream_give_up_overdue(struct mb_stack *stack, struct mb_flow_entry *flow,
                                   unsigned direction);

/* tcp_pick_up.c: a connection that is followed, or whose bytes are read, from its middle on. */

/* tcp.monitor begins (again): what it knows of sequence numbers is old, so that each side's next
 * segment is taken as its first one is. States, FINs and window scales stay as they were. */
void mb_tcp_monitor_pick_up(struct mb_flow_entry *flow);

/* tcp.stream begins (again) for one side, at the sequence number after the highest one sent; where
 * that is not known, at the side's next segment. */
void mb_tcp_stream_pick_up(struct mb_flow_entry *flow, unsigned direction);

/* A segment with SYN, FIN or RST, of a connection that nobody follows: it says all the same whether
 * a later SYN begins another connection, and how long this one is to be remembered. */
void mb_tcp_pass_by(struct mb_flow_table *table, struct mb_flow_entry *flow,
                    const struct mb_decoded *segment, unsigned direction);

#endif
