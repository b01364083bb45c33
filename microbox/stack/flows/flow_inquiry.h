/*
 * What the stack does for a flow at this moment, for people who ask.
 */
#ifndef MICROBOX_STACK_FLOWS_FLOW_INQUIRY_H
#define MICROBOX_STACK_FLOWS_FLOW_INQUIRY_H

#include "microbox/events/payloads.h"

#include <stdint.h>

struct mb_stack;

/* Which flows are meant: one by its number, or all with these ends, whoever began. */
struct mb_flow_question {
    uint64_t number;            /* 0: by the tuple */
    struct mb_five_tuple tuple; /* addresses and ports; protocol 0: any; the rest does not matter */
};

/* `gets` and `off` are bits of subscriptions, by direction, as the flow's last packet left them;
 * those that were taken away since may be among them. */
struct mb_flow_answer {
    uint64_t number;
    struct mb_five_tuple tuple; /* source: the originator */
    struct mb_snapshot snapshot;
    uint64_t gets[2][2]; /* who gets events; without those whose filter looks at each packet */
    uint64_t off[2][2];  /* who would, but has switched it off */
    uint16_t modules;    /* enum mb_module_bit: those that run */
    uint8_t streams;     /* bit d: the bytes of direction d are put in order */
    uint8_t seen;        /* bit d: a packet went this way, so that the rest is known of it */
    uint32_t slot;       /* where it is in the flow table */
};

/* Looks through the flow table. Flows that have ended are left out. Returns how many answers were
 * written, at most `most`, in no order. */
uint32_t mb_stack_ask(const struct mb_stack *stack, const struct mb_flow_question *question,
                      struct mb_flow_answer *answers, uint32_t most);

#endif
