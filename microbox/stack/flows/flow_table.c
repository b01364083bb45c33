#include "microbox/stack/flows/flow_table.h"

#include "microbox/stack/lazy_memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static void *map(size_t size) {
    void *memory = mb_lazy_map(size);
    /* Flows are found at random: with small pages nearly each one would miss the TLB. */
    if (memory != NULL)
        (void)madvise(memory, size, MADV_HUGEPAGE);
    return memory;
}

static size_t flows_size(uint32_t capacity) {
    return ((size_t)capacity + 1) * sizeof(struct mb_flow_entry);
}

static size_t buckets_size(uint32_t bucket_mask) {
    return ((size_t)bucket_mask + 1) * sizeof(uint32_t);
}

/* At least twice as many buckets as flows, so that a chain is rarely longer than one. */
static uint32_t bucket_mask_for(uint32_t capacity) {
    uint64_t buckets = 64;
    while (buckets < 2 * (uint64_t)capacity && buckets < UINT64_C(1) << 31)
        buckets *= 2;
    return (uint32_t)(buckets - 1);
}

size_t mb_flow_table_bytes(uint32_t capacity) {
    return flows_size(capacity) + buckets_size(bucket_mask_for(capacity));
}

int mb_flow_table_create(struct mb_flow_table *table, uint32_t capacity, const uint64_t key[2]) {
    memset(table, 0, sizeof *table);
    table->capacity = capacity;
    table->unused = 1;
    table->lines = sizeof(struct mb_flow_entry) / 64;
    table->quiet_until = UINT64_MAX;
    table->bucket_mask = bucket_mask_for(capacity);
    table->key[0] = key[0];
    table->key[1] = key[1];
    table->flows = map(flows_size(capacity));
    table->buckets = map(buckets_size(table->bucket_mask));
    if (table->flows == NULL || table->buckets == NULL) {
        mb_flow_table_destroy(table);
        return -ENOMEM;
    }
    return 0;
}

void mb_flow_table_destroy(struct mb_flow_table *table) {
    mb_lazy_unmap(table->flows, flows_size(table->capacity));
    mb_lazy_unmap(table->buckets, buckets_size(table->bucket_mask));
    table->flows = NULL;
    table->buckets = NULL;
}

void mb_flow_table_set_timeout(struct mb_flow_table *table, enum mb_timeout_class timeout_class,
                               uint64_t timeout) {
    table->lists[timeout_class].timeout = timeout;
    table->lists[timeout_class].slack = timeout / 16;
}

/* --- finding --- */

static inline bool same_address(const uint8_t a[16], const uint8_t b[16]) {
    return memcmp(a, b, 16) == 0;
}

static inline bool is_forward(const struct mb_five_tuple *flow, const struct mb_five_tuple *tuple) {
    return flow->source_port == tuple->source_port &&
           flow->destination_port == tuple->destination_port &&
           same_address(flow->source, tuple->source) &&
           same_address(flow->destination, tuple->destination);
}

static inline bool is_backward(const struct mb_five_tuple *flow,
                               const struct mb_five_tuple *tuple) {
    return flow->source_port == tuple->destination_port &&
           flow->destination_port == tuple->source_port &&
           same_address(flow->source, tuple->destination) &&
           same_address(flow->destination, tuple->source);
}

struct mb_flow_entry *mb_flow_find(struct mb_flow_table *table, const struct mb_five_tuple *tuple,
                                   uint64_t domain, uint64_t hash, unsigned *direction) {
    uint32_t index = table->buckets[hash & table->bucket_mask];
    while (index != 0) {
        struct mb_flow_entry *flow = &table->flows[index];
        index = flow->chain;
        if (flow->hash != (uint32_t)hash || flow->tuple.protocol != tuple->protocol ||
            flow->tuple.ip_version != tuple->ip_version || flow->domain != (uint32_t)domain)
            continue;
        if (is_forward(&flow->tuple, tuple)) {
            *direction = 0;
            return flow;
        }
        if (is_backward(&flow->tuple, tuple)) {
            *direction = 1;
            return flow;
        }
    }
    return NULL;
}

/* --- lists --- */

static uint32_t index_of(const struct mb_flow_table *table, const struct mb_flow_entry *flow) {
    return (uint32_t)(flow - table->flows);
}

/* The last moment at which the list's oldest flow, queued then, is not overdue. What is behind it
 * was queued later, and nothing is seen more than `slack` after it was queued, but for the packets
 * of a step in time. */
static uint64_t quiet_from(const struct mb_timeout_list *list, uint64_t queued) {
    return queued + list->timeout + list->slack;
}

static void begin_list(struct mb_flow_table *table, struct mb_timeout_list *list, uint32_t index) {
    const uint64_t quiet = quiet_from(list, table->now);
    list->oldest = index;
    if (quiet < table->quiet_until)
        table->quiet_until = quiet;
}

static void enqueue(struct mb_flow_table *table, struct mb_flow_entry *flow,
                    enum mb_timeout_class timeout_class) {
    struct mb_timeout_list *list = &table->lists[timeout_class];
    uint32_t index = index_of(table, flow);
    flow->timeout_class = (uint8_t)timeout_class;
    flow->queued = table->now;
    flow->older = list->newest;
    flow->newer = 0;
    if (list->newest != 0)
        table->flows[list->newest].newer = index;
    else
        begin_list(table, list, index);
    list->newest = index;
}

static void dequeue(struct mb_flow_table *table, struct mb_flow_entry *flow) {
    struct mb_timeout_list *list = &table->lists[flow->timeout_class];
    if (flow->older != 0)
        table->flows[flow->older].newer = flow->newer;
    else
        list->oldest = flow->newer;
    if (flow->newer != 0)
        table->flows[flow->newer].older = flow->older;
    else
        list->newest = flow->older;
}

void mb_flow_requeue(struct mb_flow_table *table, struct mb_flow_entry *flow,
                     enum mb_timeout_class timeout_class) {
    dequeue(table, flow);
    enqueue(table, flow, timeout_class);
}

/* --- insertion and removal --- */

static uint32_t chain_length(const struct mb_flow_table *table, uint64_t hash) {
    uint32_t length = 0;
    uint32_t index = table->buckets[hash & table->bucket_mask];
    for (; index != 0; index = table->flows[index].chain)
        length++;
    return length;
}

bool mb_flow_chain_is_full(const struct mb_flow_table *table, uint64_t hash) {
    return chain_length(table, hash) >= MB_FLOW_CHAIN_MAX;
}

bool mb_flow_table_is_full(const struct mb_flow_table *table, uint64_t hash) {
    return table->active == table->capacity || mb_flow_chain_is_full(table, hash);
}

static uint32_t take_slot(struct mb_flow_table *table) {
    uint32_t index = table->free;
    if (index != 0) {
        table->free = table->flows[index].chain;
        return index;
    }
    return table->unused <= table->capacity ? table->unused++ : 0;
}

struct mb_flow_entry *mb_flow_insert(struct mb_flow_table *table, const struct mb_five_tuple *tuple,
                                     uint64_t domain, uint64_t hash, uint64_t number,
                                     enum mb_timeout_class timeout_class) {
    uint32_t length = chain_length(table, hash);
    uint32_t index = length < MB_FLOW_CHAIN_MAX ? take_slot(table) : 0;
    if (index == 0)
        return NULL;
    if (length >= table->longest)
        table->longest = length + 1;
    struct mb_flow_entry *flow = &table->flows[index];
    memset(flow, 0, sizeof *flow);
    flow->tuple = *tuple;
    flow->number = number;
    flow->domain = (uint32_t)domain;
    flow->hash = (uint32_t)hash;
    flow->last_seen = table->seen;
    uint32_t *bucket = &table->buckets[hash & table->bucket_mask];
    flow->chain = *bucket;
    *bucket = index;
    enqueue(table, flow, timeout_class);
    table->active++;
    return flow;
}

/* In a flood the oldest flow of a class goes with each packet: what the next removals need is
 * fetched, in two steps, as the bucket is known only when the flow has come. */
MB_PREFETCHES void prefetch_removal(const struct mb_flow_table *table, uint32_t index) {
    const struct mb_flow_entry *flow = &table->flows[index];
    const char *newer = (const char *)&table->flows[flow->newer];
    __builtin_prefetch(&table->buckets[flow->hash & table->bucket_mask], 1);
    for (unsigned line = 0; line < table->lines; line++)
        __builtin_prefetch(newer + 64 * line, 1);
}

void mb_flow_remove(struct mb_flow_table *table, struct mb_flow_entry *flow) {
    uint32_t index = index_of(table, flow);
    uint32_t *link = &table->buckets[flow->hash & table->bucket_mask];
    while (*link != index)
        link = &table->flows[*link].chain;
    *link = flow->chain;
    dequeue(table, flow);
    prefetch_removal(table, table->lists[flow->timeout_class].oldest);
    flow->number = 0;
    flow->chain = table->free;
    table->free = index;
    table->active--;
}

void mb_flow_table_is_quiet(struct mb_flow_table *table) {
    table->quiet_until = UINT64_MAX;
    for (unsigned each = 0; each < MB_TIMEOUT_CLASSES; each++) {
        const struct mb_timeout_list *list = &table->lists[each];
        if (list->oldest == 0)
            continue;
        const uint64_t quiet = quiet_from(list, table->flows[list->oldest].queued);
        if (quiet < table->quiet_until)
            table->quiet_until = quiet;
    }
}

struct mb_flow_entry *mb_flow_overdue(struct mb_flow_table *table,
                                      enum mb_timeout_class timeout_class, uint32_t *looks) {
    const struct mb_timeout_list *list = &table->lists[timeout_class];
    for (; list->oldest != 0 && *looks != 0; --*looks) {
        struct mb_flow_entry *flow = &table->flows[list->oldest];
        if (table->now <= quiet_from(list, flow->queued))
            return NULL;
        if (mb_flow_is_overdue(table, flow))
            return flow;
        mb_flow_requeue(table, flow, timeout_class);
    }
    return NULL;
}

struct mb_flow_entry *mb_flow_next_overdue(struct mb_flow_table *table,
                                           enum mb_timeout_class timeout_class, uint32_t *at) {
    const struct mb_timeout_list *list = &table->lists[timeout_class];
    while (*at != 0) {
        struct mb_flow_entry *flow = &table->flows[*at];
        if (table->now <= quiet_from(list, flow->queued))
            return NULL;
        *at = flow->newer;
        if (mb_flow_is_overdue(table, flow))
            return flow;
        mb_flow_requeue(table, flow, timeout_class);
    }
    return NULL;
}

/* --- eviction --- */

/* Flows of a lower rank go first; of the same rank, the one that was queued first. */
static const uint8_t eviction_rank[MB_TIMEOUT_CLASSES] = {
    [MB_TIMEOUT_CLOSED] = 0,         [MB_TIMEOUT_RESET] = 1,
    [MB_TIMEOUT_OPENING] = 1,        [MB_TIMEOUT_TCP_UNANSWERED] = 1,
    [MB_TIMEOUT_UDP_UNANSWERED] = 1, [MB_TIMEOUT_ICMP_UNANSWERED] = 1,
    [MB_TIMEOUT_OPEN] = 2,           [MB_TIMEOUT_UDP] = 2,
    [MB_TIMEOUT_ICMP] = 2,
};

static bool goes_before(const struct mb_flow_entry *flow, const struct mb_flow_entry *other) {
    if (other == NULL)
        return true;
    uint8_t rank = eviction_rank[flow->timeout_class];
    uint8_t other_rank = eviction_rank[other->timeout_class];
    return rank != other_rank ? rank < other_rank : flow->queued < other->queued;
}

/* Where a flow was queued says when it was last seen only to a sixteenth of its timeout: one that
 * was seen since is put where it belongs. A few at most, so that no packet pays for many. */
enum { REQUEUED_AT_MOST = 8 };

static void put_silent_first(struct mb_flow_table *table, enum mb_timeout_class timeout_class) {
    for (unsigned i = 0; i < REQUEUED_AT_MOST; i++) {
        struct mb_flow_entry *oldest = &table->flows[table->lists[timeout_class].oldest];
        if (oldest->last_seen <= oldest->queued || oldest->queued == table->now)
            return;
        mb_flow_requeue(table, oldest, timeout_class);
    }
}

static struct mb_flow_entry *first_to_evict(struct mb_flow_table *table) {
    struct mb_flow_entry *first = NULL;
    for (unsigned timeout_class = 0; timeout_class < MB_TIMEOUT_CLASSES; timeout_class++) {
        if (table->lists[timeout_class].oldest == 0)
            continue;
        put_silent_first(table, (enum mb_timeout_class)timeout_class);
        struct mb_flow_entry *flow = &table->flows[table->lists[timeout_class].oldest];
        if (goes_before(flow, first))
            first = flow;
    }
    return first;
}

static struct mb_flow_entry *first_of_chain(struct mb_flow_table *table, uint64_t hash) {
    struct mb_flow_entry *first = NULL;
    uint32_t index = table->buckets[hash & table->bucket_mask];
    for (; index != 0; index = table->flows[index].chain)
        if (goes_before(&table->flows[index], first))
            first = &table->flows[index];
    return first;
}

struct mb_flow_entry *mb_flow_to_evict(struct mb_flow_table *table, uint64_t hash) {
    return mb_flow_chain_is_full(table, hash) ? first_of_chain(table, hash) : first_to_evict(table);
}

/* --- unanswered flows --- */

static const uint8_t class_when_answered[MB_TIMEOUT_CLASSES] = {
    [MB_TIMEOUT_CLOSED] = MB_TIMEOUT_CLOSED,      [MB_TIMEOUT_RESET] = MB_TIMEOUT_RESET,
    [MB_TIMEOUT_OPENING] = MB_TIMEOUT_OPENING,    [MB_TIMEOUT_TCP_UNANSWERED] = MB_TIMEOUT_OPEN,
    [MB_TIMEOUT_UDP_UNANSWERED] = MB_TIMEOUT_UDP, [MB_TIMEOUT_ICMP_UNANSWERED] = MB_TIMEOUT_ICMP,
    [MB_TIMEOUT_OPEN] = MB_TIMEOUT_OPEN,          [MB_TIMEOUT_UDP] = MB_TIMEOUT_UDP,
    [MB_TIMEOUT_ICMP] = MB_TIMEOUT_ICMP,
};

void mb_flow_answered(struct mb_flow_table *table, struct mb_flow_entry *flow) {
    enum mb_timeout_class now = class_when_answered[flow->timeout_class];
    if (now != flow->timeout_class)
        mb_flow_requeue(table, flow, now);
}
