/* A module one of whose fields is of a type that there is not. */
#include "microbox/include/microbox.h"

static void packet(struct mb_stack *stack, struct mb_flow_entry *flow,
                   const struct mb_decoded *decoded, unsigned direction) {
    (void)stack;
    (void)flow;
    (void)decoded;
    (void)direction;
}

static const struct mb_module_type types[] = {
    {.name = "flow.udp.odd", .sentence = "Odd.", .fields = {{"length", "uint32"}}},
};

const struct mb_module microbox_module = {
    .abi = MB_MODULE_ABI,
    .name = "other_field",
    .sentence = "Has a field of no known type.",
    .transport = MB_TRANSPORT_UDP,
    .packet = packet,
    .types = types,
    .type_count = 1,
};
