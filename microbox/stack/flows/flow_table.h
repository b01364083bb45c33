/*
 * The flows of one worker: found by five-tuple in either direction, expired in the order in which
 * they fell silent.
 *
 * Flows lie in a pool made once; pages are touched as flows come. A bucket is the head of a chain
 * through the flows, chosen by a keyed hash (flow_hash.h). Nothing that is published depends on the
 * key. Should a key leak, a chain still ends at a cap: what does not fit there is refused or takes
 * another's place.
 *
 * Each timeout class has a list, oldest first. A packet moves its flow to the list's end only when
 * the flow has been queued for a sixteenth of the timeout, so that most packets touch no neighbour;
 * for that a flow may expire by that much late.
 */
#ifndef MICROBOX_STACK_FLOWS_FLOW_TABLE_H
#define MICROBOX_STACK_FLOWS_FLOW_TABLE_H

#include "microbox/stack/flows/flow.h"
#include "microbox/stack/flows/flow_hash.h"
#include "microbox/stack/prefetch.h"

#include <stdbool.h>
#include <stddef.h>

/* Flows in one chain. With half as many flows as buckets at most, and a key that nobody knows, one
 * chain in 10^40 would be longer. */
enum { MB_FLOW_CHAIN_MAX = 32 };

struct mb_timeout_list {
    uint32_t oldest;
    uint32_t newest;
    uint64_t timeout; /* nanoseconds */
    uint64_t slack;   /* how long a flow may stay where it was queued */
};

struct mb_flow_table {
    struct mb_flow_entry *flows; /* [1, capacity]; 0 means none */
    uint32_t *buckets;
    uint32_t bucket_mask;
    uint32_t capacity;
    uint32_t free;   /* list of freed flows, by `chain` */
    uint32_t unused; /* from here on no flow was ever taken */
    uint32_t active;
    uint32_t lines;       /* cache lines of a flow that its packets usually touch */
    uint32_t longest;     /* most flows that were ever in a chain */
    uint64_t now;         /* the stack's clock; set by the caller, never goes back */
    uint64_t seen;        /* what to note for flows that are seen now: `now`, or later */
    uint64_t quiet_until; /* no flow is overdue before; may be too early */
    struct mb_timeout_list lists[MB_TIMEOUT_CLASSES];
    uint64_t key[2];
};

/* What one takes when it is full. */
size_t mb_flow_table_bytes(uint32_t capacity);

/* The most flows that were ever in it: a slot that was free before is used first. */
static inline uint32_t mb_flow_table_peak(const struct mb_flow_table *table) {
    return table->unused - 1;
}

/* Returns 0 or -errno. Timeouts are set by the caller, before the first insertion. */
int mb_flow_table_create(struct mb_flow_table *table, uint32_t capacity, const uint64_t key[2]);
void mb_flow_table_destroy(struct mb_flow_table *table);
void mb_flow_table_set_timeout(struct mb_flow_table *table, enum mb_timeout_class timeout_class,
                               uint64_t timeout);

/* The flow of `tuple`, NULL: none. *direction: 0 where tuple.source is the originator. `domain`
 * is part of the identity, or whoever can send tunnelled packets past us could reset and feed flows
 * that are in no tunnel. A flow keeps its low half; the low half of the hash, which is over all of
 * it, is compared too. */
struct mb_flow_entry *mb_flow_find(struct mb_flow_table *table, const struct mb_five_tuple *tuple,
                                   uint64_t domain, uint64_t hash, unsigned *direction);

/* True where no flow with this hash can be added. */
bool mb_flow_table_is_full(const struct mb_flow_table *table, uint64_t hash);

/* True where that is because no more fit into its chain. */
bool mb_flow_chain_is_full(const struct mb_flow_table *table, uint64_t hash);

/* A new flow, all zero but its tuple, number and place in the list; NULL: the table, or the chain
 * that it belongs in, is full. */
struct mb_flow_entry *mb_flow_insert(struct mb_flow_table *table, const struct mb_five_tuple *tuple,
                                     uint64_t domain, uint64_t hash, uint64_t number,
                                     enum mb_timeout_class timeout_class);
void mb_flow_remove(struct mb_flow_table *table, struct mb_flow_entry *flow);

/* Puts the flow at the end of a class's list. */
void mb_flow_requeue(struct mb_flow_table *table, struct mb_flow_entry *flow,
                     enum mb_timeout_class timeout_class);

/* The flow is seen now. */
static inline void mb_flow_touch(struct mb_flow_table *table, struct mb_flow_entry *flow) {
    flow->last_seen = table->seen;
    if (table->now - flow->queued > table->lists[flow->timeout_class].slack)
        mb_flow_requeue(table, flow, (enum mb_timeout_class)flow->timeout_class);
}

/* True when the flow was silent for longer than its timeout. */
static inline bool mb_flow_is_overdue(const struct mb_flow_table *table,
                                      const struct mb_flow_entry *flow) {
    return flow->last_seen < table->now &&
           table->now - flow->last_seen > table->lists[flow->timeout_class].timeout;
}

/* False: no flow of any class is overdue. */
static inline bool mb_flow_some_may_be_overdue(const struct mb_flow_table *table) {
    return table->now > table->quiet_until;
}

/* Works out `quiet_until` anew, when no class has an overdue flow. */
void mb_flow_table_is_quiet(struct mb_flow_table *table);

/* A flow of the class that is overdue, NULL: there is none, or it would take more than `*looks`
 * looks to find one. Takes from `*looks` what it took. */
struct mb_flow_entry *mb_flow_overdue(struct mb_flow_table *table,
                                      enum mb_timeout_class timeout_class, uint32_t *looks);

/* The flows of the class that are overdue, one a call, as they were queued; NULL: there is none
 * left. *at: the index of the one to look at next, the list's oldest at first. What was found is to
 * stay in the list until the last call. */
struct mb_flow_entry *mb_flow_next_overdue(struct mb_flow_table *table,
                                           enum mb_timeout_class timeout_class, uint32_t *at);

/* Which flow to give up where mb_flow_table_is_full said so: one that has ended; then, oldest
 * first, one that has not opened or that nobody answers; then the one that was silent longest. Of
 * the whole table, or of the chain of `hash` where that is what is full. NULL: there is none. */
struct mb_flow_entry *mb_flow_to_evict(struct mb_flow_table *table, uint64_t hash);

/* --- unanswered flows --- */

static inline bool mb_flow_is_answered(const struct mb_flow_entry *flow) {
    return (flow->marks & 3 * MB_FLOW_SEEN) == 3 * MB_FLOW_SEEN;
}

/* The connection is open. */
static inline void mb_flow_open(struct mb_flow_table *table, struct mb_flow_entry *flow) {
    mb_flow_requeue(table, flow,
                    mb_flow_is_answered(flow) ? MB_TIMEOUT_OPEN : MB_TIMEOUT_TCP_UNANSWERED);
}

/* The other direction was seen for the first time. */
void mb_flow_answered(struct mb_flow_table *table, struct mb_flow_entry *flow);

MB_PREFETCHES void mb_flow_prefetch_bucket(const struct mb_flow_table *table, uint64_t hash) {
    __builtin_prefetch(&table->buckets[hash & table->bucket_mask]);
}

MB_PREFETCHES void mb_flow_prefetch(const struct mb_flow_table *table, uint64_t hash) {
    const struct mb_flow_entry *flow = &table->flows[table->buckets[hash & table->bucket_mask]];
    const char *lines = (const char *)flow;
    for (unsigned line = 0; line < table->lines; line++)
        __builtin_prefetch(lines + 64 * line, 1);
}

#endif
