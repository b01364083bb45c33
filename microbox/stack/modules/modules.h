/*
 * The built-in modules.
 */
#ifndef MICROBOX_STACK_MODULES_MODULES_H
#define MICROBOX_STACK_MODULES_MODULES_H

#include "microbox/stack/module.h"

extern const struct mb_module mb_module_tcp_monitor;
extern const struct mb_module mb_module_tcp_stream;
extern const struct mb_module mb_module_udp;
extern const struct mb_module mb_module_icmp;
extern const struct mb_module mb_module_flow;

/* True where the segment opens a new connection on the five-tuple of `flow`. */
bool mb_tcp_begins_anew(const struct mb_flow_entry *flow, const struct mb_decoded *packet,
                        unsigned direction);

/* Lets go of what tcp.stream holds for one side, without publishing it. */
void mb_tcp_stream_release(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction);

#endif
