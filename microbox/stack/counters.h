/*
 * What a worker counts: the rows of counters.def, then occurrences by event type, by reason, by
 * cap and policy, what each inline NF did at the gate, and what each NF in shadow would have done.
 * And what it measures.
 *
 * The stack counts into a private struct of its own; the rows from log_waits on it leaves at 0,
 * they are the worker's. Once a batch, when the log's head has moved, the worker copies all into
 * its counter page. It has two copies there by turns, so that one is whole at whatever instruction
 * it is killed; who reads while it runs may see the one that he reads be written again.
 */
#ifndef MICROBOX_STACK_COUNTERS_H
#define MICROBOX_STACK_COUNTERS_H

#include "microbox/bus/layout.h"
#include "microbox/bus/sojourn.h"
#include "microbox/stack/caps.h"

#include <stdint.h>

/* What the verdicts of one inline NF, or their absence, did. A packet that several NFs judged
 * counts for the strongest verdict, and of equal ones for the first NF's in the chain. */
struct mb_judge_counters {
    uint64_t packets_dropped;  /* by a verdict on them alone */
    uint64_t packets_of_flows; /* dropped with their flow, by MB_DROP_FLOW */
    uint64_t packets_of_resets;
    uint64_t flows_dropped;
    uint64_t flows_reset;
    uint64_t unjudged_passed; /* packets that the NF was gone for */
    uint64_t unjudged_dropped;
    uint64_t rewrites; /* of flows, taken */
    uint64_t rewrites_refused;
    uint64_t edits; /* of packets, applied */
    uint64_t edits_refused;
};

struct mb_stack_counters {
#define COUNTER(field, sentence) uint64_t field;
#include "microbox/stack/counters.def"
#undef COUNTER
    uint64_t published_by_type[MB_TYPES_MAX];    /* entries, by number of their type */
    uint64_t by_reason[MB_REASONS_MAX];          /* occurrences, by number of the reason */
    uint64_t caps_met[MB_CAPS][MB_CAP_POLICIES]; /* times a cap was met, by what was done */
    struct mb_judge_counters judges[MB_NFS_MAX]; /* by index of the NF */
};

/* What the verdicts of one NF in shadow would have done, had it been the only one that judges. */
struct mb_shadow_counters {
    struct mb_judge_counters judge;
    uint64_t flows;           /* that it would have dropped packets of */
    uint64_t dropped_already; /* of the packets that it would have dropped: those that did not leave
                                 though it had no say */
};

/* The whole counter page. Written by the worker alone. */
struct mb_counter_page {
    uint64_t current; /* 0 or 1: which of `copies` was written last, and is whole */
    uint8_t line0[56];
    struct mb_stack_counters copies[2];
    struct mb_shadow_counters shadows[MB_NFS_MAX]; /* by index of the NF; zeros of one that was in
                                                      shadow never */
    struct mb_sojourn sojourns[MB_SOJOURNS]; /* while a flow is traced; written at each batch's end
                                                at most, before the head moves */
};

#endif
