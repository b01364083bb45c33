#include "microbox/stack/core.h"
#include "microbox/stack/icmp_error.h"
#include "microbox/stack/modules/modules.h"

static void packet(struct mb_stack *stack, struct mb_flow_entry *flow,
                   const struct mb_decoded *datagram, unsigned direction) {
    mb_publish_start(stack, flow, MB_TYPE_UDP_START, direction);
    struct mb_entry *entry =
        mb_publish_flow(stack, flow, MB_TYPE_UDP_DATAGRAM, datagram->reason, direction);
    if (entry == NULL)
        return;
    entry->data_offset = datagram->payload_offset;
    entry->data_length = datagram->payload_captured;
}

static void icmp_error(struct mb_stack *stack, struct mb_flow_entry *flow,
                       const struct mb_decoded *error, const struct mb_icmp_quote *quote,
                       unsigned direction) {
    mb_icmp_error_publish(stack, flow, MB_TYPE_UDP_ICMP_ERROR, error, quote, direction);
}

static void end(struct mb_stack *stack, struct mb_flow_entry *flow, uint8_t reason) {
    mb_publish_end(stack, flow, MB_TYPE_UDP_END, reason);
}

const struct mb_module mb_module_udp = {
    .name = "udp",
    .bit = MB_MODULE_UDP,
    .transport = MB_TRANSPORT_UDP,
    .packet = packet,
    .icmp_error = icmp_error,
    .end = end,
};
