/*
 * What a worker counts: the rows of counters.def, then occurrences by event type, by reason, and by
 * cap and policy.
 *
 * The stack counts into a private struct of its own; the rows from log_waits on it leaves at 0,
 * they are the worker's. Once a batch the worker copies all into its counter page, whose whole
 * contents this struct is. Readers of the page may see one batch's counters half copied.
 */
#ifndef MICROBOX_STACK_COUNTERS_H
#define MICROBOX_STACK_COUNTERS_H

#include "microbox/bus/layout.h"
#include "microbox/stack/caps.h"

#include <stdint.h>

struct mb_stack_counters {
#define COUNTER(field, sentence) uint64_t field;
#include "microbox/stack/counters.def"
#undef COUNTER
    uint64_t published_by_type[MB_TYPES_MAX];    /* entries, by number of their type */
    uint64_t by_reason[MB_REASONS_MAX];          /* occurrences, by number of the reason */
    uint64_t caps_met[MB_CAPS][MB_CAP_POLICIES]; /* times a cap was met, by what was done */
};

#endif
