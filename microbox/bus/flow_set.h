/*
 * A bounded set of flows with a byte about each: the flows that an NF, or one before it, has
 * judged.
 *
 * Flows are numbered by their first packet, so a number is never used again, and the smallest
 * number in a full bucket is the oldest flow: it is the one to be forgotten. Which flows are
 * forgotten depends on the order of additions alone, never on timing.
 */
#ifndef MICROBOX_BUS_FLOW_SET_H
#define MICROBOX_BUS_FLOW_SET_H

#include <stdbool.h>
#include <stdint.h>

enum { MB_FLOW_SET_CAPACITY = 131072 };

struct mb_flow_bucket;

struct mb_flow_set {
    struct mb_flow_bucket *buckets; /* NULL until the first flow comes */
};

/* Value of a flow that is not in the set. */
enum { MB_FLOW_UNKNOWN = -1 };

/* Adds `flow` (not 0) with `value`, or replaces its value. Returns true when another flow had to be
 * forgotten, or memory for the first one is missing and so this one is. */
bool mb_flow_set_add(struct mb_flow_set *set, uint64_t flow, uint8_t value);

/* The value, or MB_FLOW_UNKNOWN. */
int mb_flow_set_find(const struct mb_flow_set *set, uint64_t flow);

void mb_flow_set_destroy(struct mb_flow_set *set);

#endif
