/*
 * Who wants what: masks by event type, and the filters that decide about a flow's direction or a
 * packet.
 */
#ifndef MICROBOX_STACK_SUBSCRIPTIONS_H
#define MICROBOX_STACK_SUBSCRIPTIONS_H

#include "microbox/bus/layout.h"
#include "microbox/io/filter.h"
#include "microbox/stack/decode/decode.h"
#include "microbox/stack/module_set.h"
#include "microbox/stack/share.h"
#include "microbox/stack/stack.h"

/* A filter, and the bits that have it. */
struct mb_shared_filter {
    struct mb_filter *filter;
    char *expression;
    uint64_t mask[2];
};

struct mb_subscriptions {
    uint64_t type_mask[MB_TYPES_MAX][2]; /* who wants the type, or one that is derived from it */
    uint64_t own_mask[MB_TYPES_MAX][2];  /* who wants the type itself */
    const struct mb_module_set *modules;
    uint64_t module_mask[MB_MODULES_MAX][2]; /* who wants something that the module publishes */
    /* By transport: who wants flow.start and flow.end of such flows, since they read no start or
     * end of the transport's own (tcp.start, ...). */
    uint64_t flow_start[MB_TRANSPORTS][2];
    uint64_t flow_end[MB_TRANSPORTS][2];
    uint64_t unfiltered[2];
    uint64_t filtered[2];   /* bits with a filter of either kind */
    uint64_t per_packet[2]; /* bits whose filter is evaluated for each packet */
    struct mb_shares shares;
    uint64_t nf_mask[MB_NFS_MAX][2];
    struct mb_shared_filter flow_filters[MB_SUBSCRIPTIONS_MAX];
    struct mb_shared_filter packet_filters[MB_SUBSCRIPTIONS_MAX];
    uint32_t flow_filter_count;
    uint32_t packet_filter_count;
    uint32_t epoch; /* changes when masks do; never 0 */
};

/* `modules` must outlive the subscriptions. `derived` is sound (derived.h). Returns 0, or -EINVAL
 * with a sentence in `error`; what was made is released by destroy. */
int mb_subscriptions_create(struct mb_subscriptions *subscriptions,
                            const struct mb_module_set *modules,
                            const struct mb_subscription *wanted, uint32_t count,
                            const struct mb_derived_type *derived, uint32_t derived_count,
                            uint32_t link_type, char error[MB_ERROR_SIZE]);
void mb_subscriptions_destroy(struct mb_subscriptions *subscriptions);

/* None of NF `nf`'s bits is set from now on. */
void mb_subscriptions_remove(struct mb_subscriptions *subscriptions, uint32_t nf);

/* The bits that want a flow's direction, judged by what a packet of it has in common with the
 * others: its five-tuple, which also says whose share it is in. A packet that belongs to no flow is
 * judged by its own bytes. Those whose filter needs each packet are left out. Returns how many
 * filters were run. */
uint32_t mb_subscriptions_of_flow(const struct mb_subscriptions *subscriptions,
                                  const struct mb_decoded *packet, uint64_t mask[2]);

/* The same for a flow's direction of which no packet is at hand: `tuple` as its packets have it. */
uint32_t mb_subscriptions_of_tuple(const struct mb_subscriptions *subscriptions,
                                   const struct mb_five_tuple *tuple, uint64_t mask[2]);

/* The bits whose per-packet filter the packet matches, where it is in their share. Returns how many
 * filters were run. */
uint32_t mb_subscriptions_of_packet(const struct mb_subscriptions *subscriptions,
                                    const struct mb_decoded *packet, uint64_t mask[2]);

/* Who wants something of such flows that the module publishes. */
void mb_subscriptions_of_module(const struct mb_subscriptions *subscriptions, unsigned module,
                                enum mb_transport transport, uint64_t mask[2]);

/* The modules that `mask` needs for a flow of this kind, those they build on included. */
uint16_t mb_subscriptions_modules(const struct mb_subscriptions *subscriptions,
                                  const uint64_t mask[2], enum mb_transport transport);

#endif
