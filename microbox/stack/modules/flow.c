#include "microbox/stack/core.h"
#include "microbox/stack/modules/modules.h"

static void packet(struct mb_stack *stack, struct mb_flow_entry *flow,
                   const struct mb_decoded *decoded, unsigned direction) {
    (void)decoded;
    mb_publish_start(stack, flow, MB_TYPE_FLOW_START, direction);
}

static void end(struct mb_stack *stack, struct mb_flow_entry *flow, uint8_t reason) {
    mb_publish_end(stack, flow, MB_TYPE_FLOW_END, reason);
}

const struct mb_module mb_module_flow = {
    .name = "flow",
    .bit = MB_MODULE_FLOW,
    .transport = MB_TRANSPORT_OTHER,
    .packet = packet,
    .end = end,
};
