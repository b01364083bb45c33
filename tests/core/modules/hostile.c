/* Publishes far more than a module may. */
#include "microbox/include/microbox.h"

const struct mb_module microbox_module;

static void publish_often(struct mb_stack *stack, struct mb_flow_entry *flow) {
    for (int i = 0; i < 100; i++)
        mb_module_publish(stack, &microbox_module, 0, flow, 0);
}

static void packet(struct mb_stack *stack, struct mb_flow_entry *flow,
                   const struct mb_decoded *decoded, unsigned direction) {
    (void)decoded;
    (void)direction;
    publish_often(stack, flow);
}

static void end(struct mb_stack *stack, struct mb_flow_entry *flow, uint8_t reason) {
    (void)reason;
    publish_often(stack, flow);
}

static const struct mb_module_type types[] = {
    {.name = "flow.udp.flood", .sentence = "One of very many."},
};

const struct mb_module microbox_module = {
    .abi = MB_MODULE_ABI,
    .name = "hostile",
    .sentence = "Publishes far more than it may.",
    .transport = MB_TRANSPORT_UDP,
    .packet = packet,
    .end = end,
    .types = types,
    .type_count = 1,
};
