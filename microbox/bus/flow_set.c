#include "microbox/bus/flow_set.h"

#include <stdlib.h>

enum { WAYS = 8, BUCKETS = MB_FLOW_SET_CAPACITY / WAYS, VALUE_BITS = 8 };

/* One cache line. A word is flow << 8 | value; 0: empty. */
struct mb_flow_bucket {
    uint64_t word[WAYS];
};

_Static_assert(sizeof(struct mb_flow_bucket) == 64, "a look-up reads one line");

/* Fibonacci hashing; the numbers are given out by the stack, so nobody can choose collisions. */
static struct mb_flow_bucket *bucket_of(const struct mb_flow_set *set, uint64_t flow) {
    return &set->buckets[(flow * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & (BUCKETS - 1)];
}

bool mb_flow_set_add(struct mb_flow_set *set, uint64_t flow, uint8_t value) {
    if (set->buckets == NULL) {
        set->buckets =
            aligned_alloc(sizeof(struct mb_flow_bucket), BUCKETS * sizeof(struct mb_flow_bucket));
        if (set->buckets == NULL)
            return true;
        for (unsigned i = 0; i < BUCKETS; i++)
            set->buckets[i] = (struct mb_flow_bucket){{0}};
    }
    struct mb_flow_bucket *bucket = bucket_of(set, flow);
    unsigned oldest = 0;
    for (unsigned way = 0; way < WAYS; way++) {
        if (bucket->word[way] >> VALUE_BITS == flow) {
            bucket->word[way] = flow << VALUE_BITS | value;
            return false;
        }
        if (bucket->word[way] < bucket->word[oldest])
            oldest = way;
    }
    bool forgets = bucket->word[oldest] != 0;
    bucket->word[oldest] = flow << VALUE_BITS | value;
    return forgets;
}

int mb_flow_set_find(const struct mb_flow_set *set, uint64_t flow) {
    if (set->buckets == NULL)
        return MB_FLOW_UNKNOWN;
    const struct mb_flow_bucket *bucket = bucket_of(set, flow);
    for (unsigned way = 0; way < WAYS; way++)
        if (bucket->word[way] >> VALUE_BITS == flow)
            return (int)(bucket->word[way] & UINT8_MAX);
    return MB_FLOW_UNKNOWN;
}

void mb_flow_set_destroy(struct mb_flow_set *set) {
    free(set->buckets);
    set->buckets = NULL;
}
