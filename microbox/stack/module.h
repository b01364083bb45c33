/*
 * Modules: what the stack can do for a flow. A flow runs just the modules that its subscribers
 * need, so work that nobody asked for is not done.
 *
 * A module is a struct of hooks, the event types it publishes, and the modules it builds on.
 * Hooks run in the worker, in module order, for each packet of a flow that has the module; they
 * must not allocate, block, call the system or read a clock.
 */
#ifndef MICROBOX_STACK_MODULE_H
#define MICROBOX_STACK_MODULE_H

#include "microbox/events/event_types.h"
#include "microbox/stack/decode.h"
#include "microbox/stack/flow.h"

struct mb_stack;

/* Bits of flow.modules, and the order in which hooks run. */
enum mb_module_bit {
    MB_MODULE_TCP_MONITOR = 1 << 0, /* state of both sides */
    MB_MODULE_TCP_STREAM = 1 << 1,  /* in-order bytes */
    MB_MODULE_UDP = 1 << 2,
    MB_MODULE_ICMP = 1 << 3,
    MB_MODULE_FLOW = 1 << 4, /* start and end of flows of other protocols */
    MB_MODULES = 5
};

struct mb_module {
    const char *name; /* as users write it: tcp.monitor */
    uint32_t bit;
    uint32_t needs;              /* modules that must run before it */
    enum mb_transport transport; /* of the flows that it is for */
    /* A packet of the flow; `direction` 0 from the originator. */
    void (*packet)(struct mb_stack *stack, struct mb_flow_entry *flow,
                   const struct mb_decoded *packet, unsigned direction);
    /* The flow ends; publishes what is still held, and the end. */
    void (*end)(struct mb_stack *stack, struct mb_flow_entry *flow, uint8_t reason);
};

extern const struct mb_module *const mb_modules[MB_MODULES];

/* The modules that events of `type` come from, those they need included. */
uint32_t mb_modules_of_type(uint16_t type);

#endif
