#include "microbox/stack/flows/flow_lifecycle.h"

#include "microbox/stack/core.h"
#include "microbox/stack/modules/modules.h"
#include "microbox/stack/modules/tcp_steps.h"
#include "microbox/stack/wire/tcp.h"

#include <string.h>

/* --- which modules a flow runs --- */

/* Adds to `bits` those of `more` that the flow's NFs have not switched off for the direction. */
static void add_switched_on(const struct mb_stack *stack, const struct mb_flow_entry *flow,
                            unsigned direction, const uint64_t more[2], uint64_t bits[2]) {
    static const uint64_t nothing[2] = {0, 0};
    const uint64_t *off = nothing;
    if (stack->commands != NULL)
        off = stack->commands->switched[mb_flow_slot(stack, flow)].off[direction];
    bits[0] |= more[0] & ~off[0];
    bits[1] |= more[1] & ~off[1];
}

static bool is_read(const struct mb_stack *stack, const struct mb_flow_entry *flow,
                    unsigned direction) {
    const uint64_t *readers = stack->subscriptions.module_mask[1];
    uint64_t bits[2] = {flow->mask[direction][0], flow->mask[direction][1]};
    add_switched_on(stack, flow, direction, stack->subscriptions.per_packet, bits);
    return ((readers[0] & bits[0]) | (readers[1] & bits[1])) != 0;
}

static void set_stream_sides(struct mb_stack *stack, struct mb_flow_entry *flow) {
    uint8_t sides = 0;
    if (flow->modules & MB_MODULE_TCP_STREAM)
        for (unsigned direction = 0; direction < 2; direction++)
            sides |= (uint8_t)(is_read(stack, flow, direction) << direction);
    for (unsigned direction = 0; direction < 2; direction++) {
        if (flow->stream_sides & ~sides & 1u << direction)
            mb_tcp_stream_release(stack, flow, direction);
        if (sides & ~flow->stream_sides & 1u << direction)
            mb_tcp_stream_pick_up(flow, direction);
    }
    flow->stream_sides = sides;
}

/* The modules that the flow's subscribers need. A direction that was not seen yet may be wanted by
 * any filter. */
static uint16_t needed_modules(const struct mb_stack *stack, const struct mb_flow_entry *flow) {
    const struct mb_subscriptions *subscriptions = &stack->subscriptions;
    bool is_answered = mb_flow_is_answered(flow);
    const uint64_t *unknown = is_answered ? subscriptions->per_packet : subscriptions->filtered;
    uint64_t bits[2] = {flow->mask[0][0] | flow->mask[1][0], flow->mask[0][1] | flow->mask[1][1]};
    add_switched_on(stack, flow, 0, unknown, bits);
    add_switched_on(stack, flow, 1, unknown, bits);
    return mb_subscriptions_modules(subscriptions, bits, (enum mb_transport)flow->transport) |
           stack->always[flow->transport];
}

bool mb_flow_work_out_modules(struct mb_stack *stack, struct mb_flow_entry *flow) {
    const uint16_t modules = flow->modules;
    const uint8_t sides = flow->stream_sides;
    flow->epoch = stack->subscriptions.epoch;
    flow->modules = needed_modules(stack, flow);
    if (flow->modules & ~modules & MB_MODULE_TCP_MONITOR)
        mb_tcp_monitor_pick_up(flow);
    set_stream_sides(stack, flow);
    return flow->modules != modules || flow->stream_sides != sides;
}

/* Who wants a direction, by a packet of it. */
static void learn_direction(struct mb_stack *stack, struct mb_flow_entry *flow,
                            const struct mb_decoded *packet, unsigned direction) {
    bool is_first = !(flow->marks & 3 * MB_FLOW_SEEN);
    flow->marks |= (uint8_t)(MB_FLOW_SEEN << direction);
    stack->counters.filters_run +=
        mb_subscriptions_of_flow(&stack->subscriptions, packet, flow->mask[direction]);
    flow->epoch = 0;
    if (stack->commands != NULL)
        mb_commands_begin_direction(stack->commands, mb_flow_slot(stack, flow), is_first, direction,
                                    flow->mask[direction]);
}

/* A filter of each packet knows nothing of what was switched off. */
static void leave_out_switched_off(struct mb_stack *stack, const struct mb_flow_entry *flow,
                                   unsigned direction) {
    const uint64_t matched[2] = {stack->cause.bits[0], stack->cause.bits[1]};
    stack->cause.bits[0] = 0;
    stack->cause.bits[1] = 0;
    add_switched_on(stack, flow, direction, matched, stack->cause.bits);
}

/* --- its end --- */

void mb_flow_end(struct mb_stack *stack, struct mb_flow_entry *flow, uint8_t reason) {
    if (flow->marks & MB_FLOW_ENDED)
        return;
    if (flow->epoch != stack->subscriptions.epoch)
        mb_flow_work_out_modules(stack, flow);
    flow->marks |= MB_FLOW_ENDED;
    if (mb_flow_is_reset(flow))
        reason = MB_REASON_END_RST;
    mb_count_reason(stack, reason);
    if (reason == MB_REASON_END_EVICTED)
        stack->counters.flows_evicted++;
    stack->module_entries = 0;
    for (unsigned module = stack->modules.count; module-- > 0;) {
        const struct mb_module *it = stack->modules.module[module];
        if (flow->modules >> module & 1 && it->end != NULL)
            it->end(stack, flow, reason);
    }
    mb_tcp_stream_release(stack, flow, 0);
    mb_tcp_stream_release(stack, flow, 1);
    if (stack->steps != NULL && flow->transport == MB_TRANSPORT_TCP)
        mb_tcp_step_end(stack, flow);
    flow->modules = 0;
}

void mb_set_apart(struct mb_stack *stack, uint8_t when) {
    stack->cause.frame = 0;
    stack->cause.frame_length = 0;
    stack->cause.flags = MB_APART | when;
    stack->cause.bits[0] = 0;
    stack->cause.bits[1] = 0;
}

void mb_flow_refuse(struct mb_stack *stack, struct mb_flow_entry *flow, enum mb_flow_mark mark,
                    uint8_t reason) {
    flow->marks |= (uint8_t)mark;
    flow->ending = reason;
    if (mark == MB_FLOW_DROPPED)
        mb_refuse_packet(stack, reason);
}

void mb_flow_give_up(struct mb_stack *stack, struct mb_flow_entry *flow, uint8_t reason) {
    const struct mb_cause packet = stack->cause;
    mb_set_apart(stack, packet.flags & MB_WHEN);
    mb_flow_end(stack, flow, reason);
    stack->cause = packet;
    mb_flow_remove(&stack->table, flow);
    stack->has_given_up_flow = true;
}

/* Nothing came after a RST that would have shown that it was not taken. The flow is kept, so that
 * late segments start no other. */
static void retire(struct mb_stack *stack, struct mb_flow_entry *flow) {
    const struct mb_cause packet = stack->cause;
    mb_set_apart(stack, packet.flags & MB_WHEN);
    mb_flow_end(stack, flow, MB_REASON_END_RST);
    stack->cause = packet;
    mb_flow_requeue(&stack->table, flow, MB_TIMEOUT_CLOSED);
}

/* Both sides said FIN and only the last acknowledgement is missing: that is no silence. */
static uint8_t timeout_reason(const struct mb_flow_entry *flow) {
    if (flow->timeout_class == MB_TIMEOUT_RESET)
        return MB_REASON_END_RST;
    return flow->tcp[0].marks & flow->tcp[1].marks & MB_TCP_FIN_SEEN ? MB_REASON_END_FIN
                                                                     : MB_REASON_END_TIMEOUT;
}

void mb_flow_expire(struct mb_stack *stack, struct mb_flow_entry *flow) {
    if (flow->timeout_class == MB_TIMEOUT_RESET)
        retire(stack, flow);
    else
        mb_flow_give_up(stack, flow, timeout_reason(flow));
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
        return MB_TIMEOUT_ICMP_UNANSWERED;
    default:
        return MB_TIMEOUT_UDP_UNANSWERED;
    }
}

struct mb_five_tuple mb_reversed_tuple(const struct mb_five_tuple *tuple) {
    struct mb_five_tuple other = *tuple;
    memcpy(other.source, tuple->destination, 16);
    memcpy(other.destination, tuple->source, 16);
    other.source_port = tuple->destination_port;
    other.destination_port = tuple->source_port;
    return other;
}

/* A RST opens nothing, and whoever gets one without a connection ignores it (RFC 9293 section
 * 3.10.7.1). */
static bool begins_no_flow(struct mb_stack *stack, const struct mb_decoded *packet) {
    if (packet->transport != MB_TRANSPORT_TCP || !(packet->tcp_flags & MB_TCP_RST))
        return false;
    mb_count_reason(stack, MB_REASON_TCP_RST_WITHOUT_FLOW);
    return true;
}

/* Refused until it was silent for as long as a connection may take to open. */
static void remember_refused(struct mb_stack *stack, const struct mb_decoded *packet) {
    mb_refused_flows_add(&stack->refused, packet->hash,
                         stack->table.now + stack->config.tcp_opening_timeout);
}

static bool was_refused(const struct mb_stack *stack, const struct mb_decoded *packet) {
    return stack->refused.slots != NULL &&
           mb_refused_flows_has(&stack->refused, packet->hash, stack->table.now);
}

/* There is no room for the packet's flow. False: what is to become of the packet is settled. */
static bool make_room(struct mb_stack *stack, const struct mb_decoded *packet) {
    struct mb_flow_entry *flow;
    mb_count_reason(stack, MB_REASON_LIMIT_FLOWS);
    switch (mb_cap_met(stack, MB_CAP_FLOWS)) {
    case MB_AT_CAP_DROP_FLOW:
        remember_refused(stack, packet);
        mb_refuse_packet(stack, MB_REASON_LIMIT_FLOWS);
        return false;
    case MB_AT_CAP_DROP_PACKET:
        mb_refuse_packet(stack, MB_REASON_LIMIT_FLOWS);
        return false;
    case MB_AT_CAP_BYPASS:
        stack->is_bypassed = true;
        stack->counters.packets_bypassed++;
        return false;
    case MB_AT_CAP_PASS:
        return false;
    default:
        flow = mb_flow_to_evict(&stack->table, packet->hash);
        if (flow != NULL) /* there is none where a test has the cap met in an empty table */
            mb_flow_give_up(stack, flow, MB_REASON_END_EVICTED);
        return true;
    }
}

/* One that is overdue keeps no other out, although the packet in hand is the one to find it so.
 * False: none is. */
static bool give_up_overdue(struct mb_stack *stack) {
    uint32_t looks = 16;
    for (unsigned each = 0; each < MB_TIMEOUT_CLASSES; each++) {
        struct mb_flow_entry *flow =
            mb_flow_overdue(&stack->table, (enum mb_timeout_class)each, &looks);
        if (flow == NULL)
            continue;
        mb_flow_give_up(stack, flow, timeout_reason(flow));
        return true;
    }
    return false;
}

/* A packet gives up one flow at most before its own begins: each may hold as many segments as a
 * flow may, and the log keeps room for those of one. */
static bool has_room(struct mb_stack *stack, const struct mb_decoded *packet) {
    if (was_refused(stack, packet)) {
        remember_refused(stack, packet);
        mb_count_reason(stack, MB_REASON_LIMIT_FLOW_REFUSED);
        mb_refuse_packet(stack, MB_REASON_LIMIT_FLOW_REFUSED);
        return false;
    }
    if (stack->has_given_up_flow)
        return true;
    if (mb_flow_chain_is_full(&stack->table, packet->hash))
        return make_room(stack, packet);
    if (stack->table.active == stack->table.capacity)
        return give_up_overdue(stack) || make_room(stack, packet);
    return !mb_cap_is_forced(stack, MB_CAP_FLOWS) || make_room(stack, packet);
}

static struct mb_flow_entry *start_flow(struct mb_stack *stack, const struct mb_decoded *packet,
                                        unsigned *direction) {
    if (begins_no_flow(stack, packet) || !has_room(stack, packet))
        return NULL;
    bool is_answer = packet->transport == MB_TRANSPORT_TCP &&
                     (packet->tcp_flags & (MB_TCP_SYN | MB_TCP_ACK)) == (MB_TCP_SYN | MB_TCP_ACK);
    struct mb_five_tuple tuple = is_answer ? mb_reversed_tuple(&packet->tuple) : packet->tuple;
    *direction = is_answer;
    struct mb_flow_entry *flow = mb_flow_insert(&stack->table, &tuple, packet->domain, packet->hash,
                                                packet->number, first_class(packet));
    flow->transport = packet->transport;
    flow->started = packet->time;
    flow->tunnel = packet->tunnel;
    flow->tunnel_identifier = packet->tunnel_identifier;
    flow->receiver[0] = mb_hosts_find(&stack->hosts, tuple.destination);
    flow->receiver[1] = mb_hosts_find(&stack->hosts, tuple.source);
    for (unsigned direction = 0; direction < 2; direction++) {
        flow->stream[direction].policy = flow->receiver[direction].segments;
        if (flow->receiver[direction].hops != 0)
            flow->tcp[direction].marks |= MB_TCP_HOPS_KNOWN;
    }
    if (mb_module_set_has_users(&stack->modules))
        mb_module_set_start_flow(&stack->modules, (size_t)(flow - stack->table.flows));
    count_flow(stack, (enum mb_transport)packet->transport);
    return flow;
}

/* The packet belongs to no flow that is known. */
static struct mb_flow_entry *pick_up_flow(struct mb_stack *stack, const struct mb_decoded *packet,
                                          unsigned *direction) {
    if (stack->config.needs_handshake && packet->transport == MB_TRANSPORT_TCP &&
        !(packet->tcp_flags & (MB_TCP_SYN | MB_TCP_RST))) {
        mb_count_reason(stack, MB_REASON_TCP_MIDSTREAM);
        return NULL;
    }
    return start_flow(stack, packet, direction);
}

/* A new connection on the five-tuple of `flow`. Where it was opened by a SYN that `flow` keeps in
 * mind, it begins with that one. */
static struct mb_flow_entry *follow_up(struct mb_stack *stack, struct mb_flow_entry *flow,
                                       const struct mb_decoded *packet, unsigned *direction) {
    struct mb_tcp_pending_syn syn = {0};
    if (mb_tcp_answers_pending_syn(flow, packet, *direction))
        syn = flow->pending_syn;
    mb_flow_give_up(stack, flow, MB_REASON_END_REUSED);
    struct mb_flow_entry *next = start_flow(stack, packet, direction);
    if (next != NULL)
        next->pending_syn = syn;
    return next;
}

struct mb_flow_entry *mb_flow_of_packet(struct mb_stack *stack, const struct mb_decoded *packet,
                                        unsigned *direction) {
    struct mb_flow_entry *flow =
        mb_flow_find(&stack->table, &packet->tuple, packet->domain, packet->hash, direction);
    if (flow == NULL)
        return pick_up_flow(stack, packet, direction);
    if (mb_flow_is_overdue(&stack->table, flow)) {
        if (flow->timeout_class != MB_TIMEOUT_RESET) {
            mb_flow_give_up(stack, flow, timeout_reason(flow));
            return pick_up_flow(stack, packet, direction);
        }
        retire(stack, flow);
    }
    if (packet->transport == MB_TRANSPORT_TCP &&
        (packet->tcp_flags & MB_TCP_SYN || flow->marks & MB_FLOW_ENDED) &&
        mb_tcp_begins_anew(flow, packet, *direction))
        return follow_up(stack, flow, packet, direction);
    mb_flow_touch(&stack->table, flow);
    return flow;
}

/* Whether a connection that nobody tracks is open can be told by this alone: somebody answers. */
static void see_answer(struct mb_stack *stack, struct mb_flow_entry *flow) {
    if (flow->timeout_class == MB_TIMEOUT_OPENING && !(flow->modules & MB_MODULE_TCP_MONITOR))
        mb_flow_open(&stack->table, flow);
    else
        mb_flow_answered(&stack->table, flow);
}

void mb_flow_see_direction(struct mb_stack *stack, struct mb_flow_entry *flow,
                           const struct mb_decoded *packet, unsigned direction) {
    bool was_answered = mb_flow_is_answered(flow);
    if (!(flow->marks & MB_FLOW_SEEN << direction))
        learn_direction(stack, flow, packet, direction);
    if (flow->epoch != stack->subscriptions.epoch && !(flow->marks & MB_FLOW_ENDED))
        mb_flow_work_out_modules(stack, flow);
    if (!was_answered && mb_flow_is_answered(flow))
        see_answer(stack, flow);
    if (stack->commands != NULL && stack->subscriptions.packet_filter_count != 0)
        leave_out_switched_off(stack, flow, direction);
}
