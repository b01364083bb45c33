#include "microbox/stack/icmp_error.h"

#include "microbox/stack/core.h"
#include "microbox/stack/decode/layers.h"
#include "microbox/stack/flows/flow_lifecycle.h"
#include "microbox/stack/wire/icmp.h"
#include "microbox/stack/wire/ipv4.h"
#include "microbox/stack/wire/ipv6.h"
#include "microbox/stack/wire/tcp.h"

/* What is left of the quoted packet. */
struct quoted {
    const uint8_t *bytes;
    uint32_t length;
};

static void advance(struct quoted *quoted, uint32_t length) {
    quoted->bytes += length;
    quoted->length -= length;
}

/* The first bytes of a transport header; routers need quote no more than eight (RFC 792). */
static bool read_transport(struct mb_icmp_quote *quote, const struct quoted *quoted,
                           uint8_t protocol) {
    enum { PORTS_SIZE = 4, SEQUENCE_END = 8 };
    const uint8_t *header = quoted->bytes;
    quote->tuple.protocol = protocol;
    quote->transport = MB_TRANSPORT_OTHER;
    if (protocol != MB_PROTOCOL_TCP && protocol != MB_PROTOCOL_UDP &&
        protocol != MB_PROTOCOL_SCTP && protocol != MB_PROTOCOL_ICMP &&
        protocol != MB_PROTOCOL_ICMPV6)
        return true;
    if (quoted->length < SEQUENCE_END)
        return false;
    if (protocol == MB_PROTOCOL_ICMP || protocol == MB_PROTOCOL_ICMPV6) {
        quote->transport = MB_TRANSPORT_ICMP;
        if (!mb_icmp_is_echo(header, quote->tuple.ip_version))
            return true;
        quote->tuple.source_port = mb_icmp_identifier(header);
        quote->tuple.destination_port = mb_icmp_identifier(header);
        return true;
    }
    quote->tuple.source_port = mb_read_16(header);
    quote->tuple.destination_port = mb_read_16(header + PORTS_SIZE / 2);
    if (protocol == MB_PROTOCOL_UDP)
        quote->transport = MB_TRANSPORT_UDP;
    if (protocol != MB_PROTOCOL_TCP)
        return true;
    quote->transport = MB_TRANSPORT_TCP;
    quote->sequence_number = mb_tcp_sequence(header);
    return true;
}

static bool read_extensions(struct mb_icmp_quote *quote, struct quoted *quoted, uint8_t protocol) {
    for (unsigned count = 0; mb_ipv6_is_extension(protocol); count++) {
        const uint8_t *header = quoted->bytes;
        if (count == MB_IPV6_EXTENSIONS_MAX ||
            mb_ipv6_extension_check(protocol, header, quoted->length) != MB_REASON_NONE)
            return false;
        if (protocol == MB_IPV6_FRAGMENT && mb_ipv6_fragment_offset(header) != 0)
            return false;
        advance(quoted, mb_ipv6_extension_length(protocol, header));
        protocol = header[0];
    }
    return read_transport(quote, quoted, protocol);
}

/* Routers count down its TTL and may have changed its length, so neither is looked at. */
static bool read_ipv4(struct mb_icmp_quote *quote, struct quoted *quoted) {
    const uint8_t *header = quoted->bytes;
    if (mb_ipv4_check(header, quoted->length) != MB_REASON_NONE ||
        mb_ipv4_fragment_offset(header) != 0)
        return false;
    quote->tuple.ip_version = 4;
    mb_ipv4_addresses(header, quote->tuple.source, quote->tuple.destination);
    advance(quoted, mb_ipv4_header_length(header));
    return read_extensions(quote, quoted, mb_ipv4_protocol(header));
}

static bool read_ipv6(struct mb_icmp_quote *quote, struct quoted *quoted) {
    const uint8_t *header = quoted->bytes;
    if (mb_ipv6_check(header, quoted->length) != MB_REASON_NONE)
        return false;
    quote->tuple.ip_version = 6;
    memcpy(quote->tuple.source, header + MB_IPV6_SOURCE, 16);
    memcpy(quote->tuple.destination, header + MB_IPV6_DESTINATION, 16);
    advance(quoted, MB_IPV6_SIZE);
    return read_extensions(quote, quoted, mb_ipv6_next_header(header));
}

bool mb_icmp_quote_read(const struct mb_decoded *packet, struct mb_icmp_quote *quote) {
    struct quoted quoted = {packet->bytes + packet->payload_offset, packet->payload_captured};
    memset(quote, 0, sizeof *quote);
    quote->mtu = mb_icmp_mtu(packet->bytes + packet->transport_offset, packet->tuple.ip_version);
    bool is_read =
        packet->tuple.ip_version == 4 ? read_ipv4(quote, &quoted) : read_ipv6(quote, &quoted);
    quote->transport_offset = (uint32_t)(quoted.bytes - packet->bytes);
    return is_read && memcmp(quote->tuple.source, packet->tuple.destination, 16) == 0;
}

struct mb_flow_entry *mb_icmp_error_find(struct mb_stack *stack, const struct mb_decoded *packet,
                                         struct mb_icmp_quote *quote, unsigned *direction) {
    if (!mb_icmp_quote_read(packet, quote) || !(stack->tracked >> quote->transport & 1))
        return NULL;
    uint64_t hash = mb_flow_hash(stack->table.key, &quote->tuple, packet->domain);
    struct mb_flow_entry *flow =
        mb_flow_find(&stack->table, &quote->tuple, packet->domain, hash, direction);
    if (flow != NULL && !mb_flow_is_overdue(&stack->table, flow))
        return flow;
    mb_count_reason(stack, MB_REASON_ICMP_ERROR_WITHOUT_FLOW);
    return NULL;
}

void mb_icmp_error_tell(struct mb_stack *stack, struct mb_flow_entry *flow,
                        const struct mb_decoded *packet, const struct mb_icmp_quote *quote,
                        unsigned direction) {
    if (flow->marks & MB_FLOW_ENDED)
        return;
    if (flow->epoch != stack->subscriptions.epoch)
        mb_flow_work_out_modules(stack, flow);
    for (uint32_t left = flow->modules; left != 0; left &= left - 1) {
        const struct mb_module *module = stack->modules.module[__builtin_ctz(left)];
        if (module->icmp_error != NULL)
            module->icmp_error(stack, flow, packet, quote, direction);
    }
}

/* The quoted packet's direction may be one that passes elsewhere, so who wants either gets it. */
struct mb_entry *mb_icmp_error_entry(struct mb_stack *stack, const struct mb_flow_entry *flow,
                                     uint16_t type, uint8_t reason, const struct mb_decoded *packet,
                                     unsigned direction) {
    const uint64_t who[2] = {flow->mask[0][0] | flow->mask[1][0] | stack->cause.bits[0],
                             flow->mask[0][1] | flow->mask[1][1] | stack->cause.bits[1]};
    struct mb_entry *entry = mb_publish_flow_masked(stack, flow, type, reason, direction, who);
    if (entry == NULL)
        return NULL;
    entry->data_offset = packet->payload_offset;
    entry->data_length = packet->payload_captured;
    return entry;
}

void mb_icmp_error_publish(struct mb_stack *stack, const struct mb_flow_entry *flow, uint16_t type,
                           const struct mb_decoded *packet, const struct mb_icmp_quote *quote,
                           unsigned direction) {
    struct mb_entry *entry =
        mb_icmp_error_entry(stack, flow, type, packet->reason, packet, direction);
    if (entry == NULL)
        return;
    struct mb_icmp_error *payload = &entry->payload.icmp_error;
    payload->message_type = packet->icmp_type;
    payload->code = packet->icmp_code;
    payload->mtu = quote->mtu;
    payload->sequence_number = quote->sequence_number;
}
