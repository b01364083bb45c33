/*
 * Caps: how much the stack keeps, and what becomes of a packet that would make it keep more.
 *
 * The policy of each cap is configured, each meeting of one is counted, and a test can have a cap
 * met where it is not (mb_stack_config.force_...). Plain C: Python reads the enums.
 */
#ifndef MICROBOX_STACK_CAPS_H
#define MICROBOX_STACK_CAPS_H

enum mb_cap {
    MB_CAP_FLOWS,     /* a packet would begin a flow, and the table, or the chain, is full */
    MB_CAP_HELD,      /* a segment would be held out of order, and one of the limits is met */
    MB_CAP_FRAGMENTS, /* a fragment would be kept, and one of the limits is met */
    MB_CAPS
};

/* The first is the default. docs/stack.md says what each means at each cap. */
enum mb_cap_policy {
    MB_AT_CAP_EVICT,       /* what is oldest is given up for it */
    MB_AT_CAP_DROP_PACKET, /* the packet is not kept and does not go out */
    MB_AT_CAP_DROP_FLOW,   /* nor do those that belong with it, from now on */
    MB_AT_CAP_BYPASS,      /* it goes out, and those that belong with it; nobody is shown them */
    MB_AT_CAP_PASS,        /* it goes on as any packet does, but is not kept */
    MB_CAP_POLICIES
};

#endif
