/*
 * flow: the start and the end of any flow, for subscribers that read no start or end of its own
 * transport. What a flow is needs no tracking, so this is the least that a flow can cost.
 */
#include "microbox/stack/core.h"
#include "microbox/stack/modules/modules.h"

static void packet(struct mb_stack *stack, struct mb_flow_entry *flow,
                   const struct mb_decoded *decoded, unsigned direction) {
    (void)decoded;
    flow->marks |= MB_FLOW_START_TOLD;
    const uint64_t *generic = stack->subscriptions.flow_start[flow->transport];
    const uint64_t *bits = stack->cause.bits;
    const uint64_t who[2] = {generic[0] & (flow->mask[direction][0] | bits[0]),
                             generic[1] & (flow->mask[direction][1] | bits[1])};
    mb_publish_start_to(stack, flow, MB_TYPE_FLOW_START, direction, who);
}

static void end(struct mb_stack *stack, struct mb_flow_entry *flow, uint8_t reason) {
    const uint64_t *generic = stack->subscriptions.flow_end[flow->transport];
    const uint64_t *bits = stack->cause.bits;
    const uint64_t who[2] = {generic[0] & (flow->mask[0][0] | flow->mask[1][0] | bits[0]),
                             generic[1] & (flow->mask[0][1] | flow->mask[1][1] | bits[1])};
    mb_publish_end_to(stack, flow, MB_TYPE_FLOW_END, reason, who);
}

const struct mb_module mb_module_flow = {
    .name = "flow",
    .bit = MB_MODULE_FLOW,
    .transport = MB_TRANSPORT_OTHER, /* and the others, as subscriptions.c works out */
    .packet = packet,
    .end = end,
};
