#include "microbox/stack/core.h"
#include "microbox/stack/icmp_error.h"
#include "microbox/stack/modules/modules.h"

static void packet(struct mb_stack *stack, struct mb_flow_entry *flow,
                   const struct mb_decoded *message, unsigned direction) {
    mb_publish_start(stack, flow, MB_TYPE_ICMP_START, direction);
    struct mb_entry *entry =
        mb_publish_flow(stack, flow, MB_TYPE_ICMP_MESSAGE, message->reason, direction);
    if (entry == NULL)
        return;
    entry->data_offset = message->payload_offset;
    entry->data_length = message->payload_captured;
    struct mb_icmp_message *payload = &entry->payload.icmp_message;
    payload->message_type = message->icmp_type;
    payload->code = message->icmp_code;
    payload->identifier = message->icmp_identifier;
    payload->sequence_number = message->icmp_sequence_number;
}

static void icmp_error(struct mb_stack *stack, struct mb_flow_entry *flow,
                       const struct mb_decoded *error, const struct mb_icmp_quote *quote,
                       unsigned direction) {
    mb_icmp_error_publish(stack, flow, MB_TYPE_ICMP_ERROR, error, quote, direction);
}

static void end(struct mb_stack *stack, struct mb_flow_entry *flow, uint8_t reason) {
    mb_publish_end(stack, flow, MB_TYPE_ICMP_END, reason);
}

const struct mb_module mb_module_icmp = {
    .name = "icmp",
    .bit = MB_MODULE_ICMP,
    .transport = MB_TRANSPORT_ICMP,
    .packet = packet,
    .icmp_error = icmp_error,
    .end = end,
};
