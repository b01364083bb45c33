#include "microbox/stack/flow_lifecycle.h"

#include "microbox/stack/core.h"
#include "microbox/stack/modules/modules.h"
#include "microbox/stack/wire/tcp.h"

#include <string.h>

/* --- which modules a flow runs --- */

static void set_stream_sides(struct mb_stack *stack, struct mb_flow_entry *flow) {
    const uint64_t *readers = stack->subscriptions.module_mask[1];
    const uint64_t *bits = stack->subscriptions.per_packet;
    uint8_t sides = 0;
    if (flow->modules & MB_MODULE_TCP_STREAM)
        for (unsigned direction = 0; direction < 2; direction++)
            if (readers[0] & (flow->mask[direction][0] | bits[0]) ||
                readers[1] & (flow->mask[direction][1] | bits[1]))
                sides |= (uint8_t)(1u << direction);
    for (unsigned direction = 0; direction < 2; direction++)
        if (flow->stream_sides & ~sides & 1u << direction)
            mb_tcp_stream_release(stack, flow, direction);
    flow->stream_sides = sides;
}

/* What the flow's subscribers need. A direction that was not seen yet may be wanted by any filter.
 */
static void work_out_modules(struct mb_stack *stack, struct mb_flow_entry *flow) {
    const struct mb_subscriptions *subscriptions = &stack->subscriptions;
    bool both_seen = (flow->marks & 3 * MB_FLOW_SEEN) == 3 * MB_FLOW_SEEN;
    const uint64_t *unknown = both_seen ? subscriptions->per_packet : subscriptions->filtered;
    const uint64_t bits[2] = {flow->mask[0][0] | flow->mask[1][0] | unknown[0],
                              flow->mask[0][1] | flow->mask[1][1] | unknown[1]};
    flow->epoch = subscriptions->epoch;
    flow->modules =
        mb_subscriptions_modules(subscriptions, bits, (enum mb_transport)flow->transport) |
        stack->always[flow->transport];
    set_stream_sides(stack, flow);
}

/* --- its end --- */

void mb_flow_end(struct mb_stack *stack, struct mb_flow_entry *flow, uint8_t reason) {
    if (flow->marks & MB_FLOW_ENDED)
        return;
    if (flow->epoch != stack->subscriptions.epoch)
        work_out_modules(stack, flow);
    flow->marks |= MB_FLOW_ENDED;
    mb_count_reason(stack, reason);
    if (reason == MB_REASON_END_EVICTED) {
        mb_count_reason(stack, MB_REASON_LIMIT_FLOWS);
        stack->counters.flows_evicted++;
    }
    stack->module_entries = 0;
    for (unsigned module = stack->modules.count; module-- > 0;) {
        const struct mb_module *it = stack->modules.module[module];
        if (flow->modules >> module & 1 && it->end != NULL)
            it->end(stack, flow, reason);
    }
    mb_tcp_stream_release(stack, flow, 0);
    mb_tcp_stream_release(stack, flow, 1);
    flow->modules = 0;
}

void mb_set_apart(struct mb_stack *stack) {
    stack->cause.frame = 0;
    stack->cause.frame_length = 0;
    stack->cause.flags = MB_APART;
    stack->cause.bits[0] = 0;
    stack->cause.bits[1] = 0;
}

void mb_flow_give_up(struct mb_stack *stack, struct mb_flow_entry *flow, uint8_t reason) {
    const struct mb_cause packet = stack->cause;
    mb_set_apart(stack);
    mb_flow_end(stack, flow, reason);
    stack->cause = packet;
    mb_flow_remove(&stack->table, flow);
}

/* Both sides said FIN and only the last acknowledgement is missing: that is no silence. */
static uint8_t timeout_reason(const struct mb_flow_entry *flow) {
    return flow->tcp[0].marks & flow->tcp[1].marks & MB_TCP_FIN_SEEN ? MB_REASON_END_FIN
                                                                     : MB_REASON_END_TIMEOUT;
}

static uint32_t entries_to_end(const struct mb_stack *stack, const struct mb_flow_entry *flow) {
    const uint32_t held = (uint32_t)flow->stream[0].held + flow->stream[1].held;
    return held * mb_entries_per_held(stack->derived) +
           (MB_MODULE_ENTRIES + 3) * mb_entries_per_event(stack->derived);
}

void mb_flows_expire(struct mb_stack *stack, uint64_t first_entry) {
    for (unsigned timeout_class = 0; timeout_class < MB_TIMEOUT_CLASSES; timeout_class++) {
        for (;;) {
            struct mb_flow_entry *flow =
                mb_flow_overdue(&stack->table, (enum mb_timeout_class)timeout_class);
            if (flow == NULL)
                break;
            mb_settle(stack);
            uint64_t used = stack->log->next - first_entry;
            if (used + entries_to_end(stack, flow) > MB_ENTRIES_PER_PACKET)
                return;
            mb_flow_give_up(stack, flow, timeout_reason(flow));
        }
    }
}

/* --- finding a packet's flow --- */

static void count_flow(struct mb_stack *stack, enum mb_transport transport) {
    switch (transport) {
    case MB_TRANSPORT_TCP:
        stack->counters.flows_tcp++;
        return;
    case MB_TRANSPORT_UDP:
        stack->counters.flows_udp++;
        return;
    case MB_TRANSPORT_ICMP:
        stack->counters.flows_icmp++;
        return;
    default:
        stack->counters.flows_other++;
    }
}

static enum mb_timeout_class first_class(const struct mb_decoded *packet) {
    switch (packet->transport) {
    case MB_TRANSPORT_TCP:
        return MB_TIMEOUT_OPENING;
    case MB_TRANSPORT_ICMP:
        return MB_TIMEOUT_ICMP;
    default:
        return MB_TIMEOUT_UDP;
    }
}

static struct mb_five_tuple reversed(const struct mb_five_tuple *tuple) {
    struct mb_five_tuple other = *tuple;
    memcpy(other.source, tuple->destination, 16);
    memcpy(other.destination, tuple->source, 16);
    other.source_port = tuple->destination_port;
    other.destination_port = tuple->source_port;
    return other;
}

static struct mb_flow_entry *start_flow(struct mb_stack *stack, const struct mb_decoded *packet,
                                        unsigned *direction) {
    bool is_answer = packet->transport == MB_TRANSPORT_TCP &&
                     (packet->tcp_flags & (MB_TCP_SYN | MB_TCP_ACK)) == (MB_TCP_SYN | MB_TCP_ACK);
    struct mb_five_tuple tuple = is_answer ? reversed(&packet->tuple) : packet->tuple;
    *direction = is_answer;
    if (stack->table.active == stack->table.capacity)
        mb_flow_give_up(stack, mb_flow_oldest(&stack->table), MB_REASON_END_EVICTED);
    struct mb_flow_entry *flow = mb_flow_insert(&stack->table, &tuple, packet->domain, packet->hash,
                                                packet->number, first_class(packet));
    flow->transport = packet->transport;
    flow->started = packet->time;
    flow->receiver[0] = mb_hosts_find(&stack->hosts, tuple.destination);
    flow->receiver[1] = mb_hosts_find(&stack->hosts, tuple.source);
    if (mb_module_set_has_users(&stack->modules))
        mb_module_set_start_flow(&stack->modules, (size_t)(flow - stack->table.flows));
    count_flow(stack, (enum mb_transport)packet->transport);
    return flow;
}

struct mb_flow_entry *mb_flow_of_packet(struct mb_stack *stack, const struct mb_decoded *packet,
                                        unsigned *direction) {
    struct mb_flow_entry *flow =
        mb_flow_find(&stack->table, &packet->tuple, packet->domain, packet->hash, direction);
    if (flow == NULL)
        return start_flow(stack, packet, direction);
    if (mb_flow_is_overdue(&stack->table, flow)) {
        mb_flow_give_up(stack, flow, timeout_reason(flow));
        return start_flow(stack, packet, direction);
    }
    if (packet->transport == MB_TRANSPORT_TCP && packet->tcp_flags & MB_TCP_SYN &&
        mb_tcp_begins_anew(flow, packet, *direction)) {
        mb_flow_give_up(stack, flow, MB_REASON_END_REUSED);
        return start_flow(stack, packet, direction);
    }
    mb_flow_touch(&stack->table, flow);
    return flow;
}

void mb_flow_see_direction(struct mb_stack *stack, struct mb_flow_entry *flow,
                           const struct mb_decoded *packet, unsigned direction) {
    if (!(flow->marks & MB_FLOW_SEEN << direction)) {
        flow->marks |= (uint8_t)(MB_FLOW_SEEN << direction);
        stack->counters.filters_run +=
            mb_subscriptions_of_flow(&stack->subscriptions, packet, flow->mask[direction]);
        flow->epoch = 0;
    }
    if (flow->epoch != stack->subscriptions.epoch && !(flow->marks & MB_FLOW_ENDED))
        work_out_modules(stack, flow);
}
