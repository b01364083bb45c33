/*
 * Modules: what the stack can do for a flow. A flow runs just the modules that its subscribers
 * need, so work that nobody asked for is not done.
 *
 * A module is a struct of hooks, the event types it publishes, and the modules it builds on.
 * Hooks run in the worker, in module order, for each packet of a flow that has the module; they
 * must not allocate, block, call the system or read a clock.
 *
 * A USER'S MODULE is a shared object that exports `const struct mb_module microbox_module` and is
 * named in a chain (`stack.modules:`). It is written against this header alone: what it publishes
 * and what it keeps of a flow it gets through the functions at the end, so it links with nothing.
 * It reads flow and packet (flow.h, decode.h) and changes neither. It is part of the worker: what
 * it does wrong, the worker does wrong.
 */
#ifndef MICROBOX_STACK_MODULE_H
#define MICROBOX_STACK_MODULE_H

#include "microbox/bus/layout.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/decode/decode.h"
#include "microbox/stack/flows/flow.h"

struct mb_icmp_quote; /* icmp_error.h */
struct mb_stack;

/* Bits of flow.modules, and the order in which hooks run. Users' modules take the bits behind. */
enum mb_module_bit {
    MB_MODULE_TCP_MONITOR = 1 << 0, /* state of both sides */
    MB_MODULE_TCP_STREAM = 1 << 1,  /* in-order bytes */
    MB_MODULE_UDP = 1 << 2,
    MB_MODULE_ICMP = 1 << 3,
    MB_MODULE_FLOW = 1 << 4, /* start and end of flows of other protocols */
    MB_MODULES_BUILT_IN = 5,
    MB_MODULES_MAX = 16
};

enum {
    MB_MODULE_TYPES_MAX = 16,        /* event types of one module */
    MB_MODULE_FIELDS_MAX = 8,        /* own fields of one type */
    MB_MODULE_ENTRIES = 8,           /* what users' modules may publish for one packet, or end */
    MB_MODULE_FLOW_STATE_MAX = 4096, /* bytes */
};

/* A field of an event type: `type` is u8, u16, u32, u64, i64 or f64. */
struct mb_module_field {
    const char *name;
    const char *type;
};

/* An event type that a user's module publishes. `name` is its full dotted name, its parent's first
 * ("flow.tcp.response"). Its payload is the parent's, then the fields, laid out as C lays out a
 * struct of them; MB_PAYLOAD_SIZE bytes at most. */
struct mb_module_type {
    const char *name;
    const char *sentence;
    struct mb_module_field fields[MB_MODULE_FIELDS_MAX]; /* those behind the last have no name */
};

struct mb_module {
    const char *name;            /* as users write it: tcp.monitor */
    uint32_t bit;                /* enum mb_module_bit; 0: a user's, the stack chooses */
    uint32_t needs;              /* built-in modules that must run before it */
    enum mb_transport transport; /* of the flows that it is for */
    /* A packet of the flow; `direction` 0 from the originator. */
    void (*packet)(struct mb_stack *stack, struct mb_flow_entry *flow,
                   const struct mb_decoded *packet, unsigned direction);
    /* An ICMP error that quotes a packet of the flow, sent in `direction`: anybody may have sent
     * it. NULL: the module does not care. */
    void (*icmp_error)(struct mb_stack *stack, struct mb_flow_entry *flow,
                       const struct mb_decoded *packet, const struct mb_icmp_quote *quote,
                       unsigned direction);
    /* The flow ends; publishes what is still held, and the end. A user's may have none. */
    void (*end)(struct mb_stack *stack, struct mb_flow_entry *flow, uint8_t reason);

    /* Of users' modules only. */
    uint64_t abi;             /* MB_MODULE_ABI */
    const char *sentence;     /* what it is for */
    uint32_t flow_state_size; /* bytes that it keeps of each flow */
    uint32_t type_count;
    const struct mb_module_type *types;
};

/* Changes with this header's version and with each struct that modules read: a shared object that
 * was built against others is refused. */
#define MB_MODULE_VERSION 1
#define MB_MODULE_ABI                                                                              \
    ((uint64_t)MB_MODULE_VERSION << 48 ^ (uint64_t)sizeof(struct mb_flow_entry) << 32 ^            \
     (uint64_t)sizeof(struct mb_decoded) << 16 ^ (uint64_t)sizeof(struct mb_module))

/* --- for the hooks of users' modules --- */

/* A stack begins with these. */
struct mb_module_services {
    struct mb_entry *(*publish)(struct mb_stack *stack, const struct mb_module *module,
                                uint32_t type, struct mb_flow_entry *flow, unsigned direction);
    void *(*flow_state)(struct mb_stack *stack, const struct mb_module *module,
                        const struct mb_flow_entry *flow);
};

/* Publishes `module->types[type]` about the flow. Returns the entry to write the fields to, behind
 * the parent's payload, which is filled; NULL where nobody wants it, or where MB_MODULE_ENTRIES are
 * published for this packet (counted: limit.module_entries). Valid until the hook returns. */
static inline struct mb_entry *mb_module_publish(struct mb_stack *stack,
                                                 const struct mb_module *module, uint32_t type,
                                                 struct mb_flow_entry *flow, unsigned direction) {
    const struct mb_module_services *services = (const struct mb_module_services *)(void *)stack;
    return services->publish(stack, module, type, flow, direction);
}

/* The module's `flow_state_size` bytes of the flow, all zero when the flow starts. */
static inline void *mb_module_flow_state(struct mb_stack *stack, const struct mb_module *module,
                                         const struct mb_flow_entry *flow) {
    const struct mb_module_services *services = (const struct mb_module_services *)(void *)stack;
    return services->flow_state(stack, module, flow);
}

#endif
