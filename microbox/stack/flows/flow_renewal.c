#include "microbox/stack/flows/flow_renewal.h"

#include "microbox/stack/core.h"
#include "microbox/stack/flows/flow_lifecycle.h"
#include "microbox/stack/wire/tcp.h"

enum { SECOND = 1000000000 };

/* Its first packet is past, so its start is, whether or not somebody read it. */
static void pass_over_start(struct mb_flow_entry *flow) {
    if (!(flow->marks & MB_FLOW_STARTED) && flow->transport == MB_TRANSPORT_TCP)
        for (unsigned direction = 0; direction < 2; direction++)
            flow->snapshot.side[direction].window_scale = MB_TCP_WINDOW_SCALE_NONE;
    flow->marks |= MB_FLOW_STARTED | MB_FLOW_START_TOLD;
}

static void renew_direction(struct mb_stack *stack, struct mb_flow_entry *flow,
                            unsigned direction) {
    const struct mb_five_tuple tuple =
        direction == 0 ? flow->tuple : mb_reversed_tuple(&flow->tuple);
    stack->counters.filters_run +=
        mb_subscriptions_of_tuple(&stack->subscriptions, &tuple, flow->mask[direction]);
    if (stack->commands != NULL)
        mb_commands_begin_direction(stack->commands, mb_flow_slot(stack, flow), false, direction,
                                    flow->mask[direction]);
}

void mb_flow_renew(struct mb_stack *stack, struct mb_flow_entry *flow, const uint64_t joined[2]) {
    if (stack->commands != NULL)
        mb_commands_renew_flow(stack->commands, mb_flow_slot(stack, flow), joined,
                               flow->dropped_by);
    for (unsigned direction = 0; direction < 2; direction++)
        if (flow->marks & MB_FLOW_SEEN << direction)
            renew_direction(stack, flow, direction);
    if (flow->marks & MB_FLOW_ENDED)
        return;
    pass_over_start(flow);
    mb_flow_work_out_modules(stack, flow);
}

/* Those of `who` whose filters the flow matches, in either direction. */
static void matching(const struct mb_flow_entry *flow, const uint64_t who[2], uint64_t mask[2]) {
    for (unsigned half = 0; half < 2; half++)
        mask[half] = who[half] & (flow->mask[0][half] | flow->mask[1][half]);
}

bool mb_flow_present_is_wanted(const struct mb_stack *stack, const struct mb_flow_entry *flow,
                               const uint64_t who[2]) {
    const uint64_t *readers = stack->subscriptions.type_mask[MB_TYPE_FLOW_PRESENT];
    uint64_t wanting[2];
    matching(flow, who, wanting);
    return !(flow->marks & MB_FLOW_ENDED) &&
           ((wanting[0] & readers[0]) | (wanting[1] & readers[1])) != 0;
}

/* The time of a packet that leads the stack's clock is ahead of it. */
static uint16_t idle_seconds(const struct mb_stack *stack, const struct mb_flow_entry *flow) {
    const uint64_t now = stack->table.now;
    const uint64_t seconds = now > flow->last_seen ? (now - flow->last_seen) / SECOND : 0;
    return seconds < UINT16_MAX ? (uint16_t)seconds : UINT16_MAX;
}

void mb_flow_present(struct mb_stack *stack, const struct mb_flow_entry *flow,
                     const uint64_t who[2]) {
    uint64_t wanting[2];
    matching(flow, who, wanting);
    struct mb_entry *entry =
        mb_publish_flow_masked(stack, flow, MB_TYPE_FLOW_PRESENT, MB_REASON_NONE, 0, wanting);
    if (entry == NULL)
        return;
    entry->payload.flow_present.started = flow->started;
    entry->payload.flow_present.tunnel_identifier = flow->tunnel_identifier;
    entry->payload.flow_present.tunnel = flow->tunnel;
    entry->payload.flow_present.idle = idle_seconds(stack, flow);
}
