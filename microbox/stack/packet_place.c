/*
 * Where a packet belongs, and what it is to those who read it: its own event, its flow and what
 * that one's modules make of it; of a fragment, its datagram.
 */
#include "microbox/stack/flows/flow_lifecycle.h"
#include "microbox/stack/icmp_error.h"
#include "microbox/stack/modules/modules.h"
#include "microbox/stack/modules/tcp_steps.h"
#include "microbox/stack/packet_path.h"
#include "microbox/stack/reset.h"
#include "microbox/stack/wire/tcp.h"

/* `low` and `high`: the bits that want it, not all 0. */
__attribute__((noinline)) static void
publish_wanted_packet(struct mb_stack *stack, const struct mb_decoded *packet, uint64_t low,
                      uint64_t high, const struct mb_flow_entry *flow, unsigned direction) {
    const uint64_t mask[2] = {low, high};
    struct mb_entry *entry = mb_publish_of(stack, flow, mask, packet->type, packet->reason,
                                           direction != 0 ? MB_FROM_RESPONDER : 0);
    entry->data_offset = packet->payload_offset;
    entry->data_length = packet->payload_captured;
    entry->payload.packet = (struct mb_packet){
        .tuple = packet->tuple,
        .wire_length = packet->wire_length,
        .ether_type = packet->ether_type,
        .network_offset = packet->network_offset,
        .transport_offset = packet->transport_offset,
        .payload_offset = packet->payload_offset,
        .tcp_flags = packet->tcp_flags,
        .ttl = packet->ttl,
        .tunnel = packet->tunnel,
        .fragments = packet->fragments,
    };
    if (flow == NULL) {
        memset(&entry->snapshot, 0, sizeof entry->snapshot);
        return;
    }
    entry->flow = flow->number;
    entry->snapshot = flow->snapshot;
}

/* Most packets are wanted by nobody as such: apart, since what publishes needs registers saved. */
static void publish_packet(struct mb_stack *stack, const struct mb_decoded *packet,
                           const uint64_t who[2], const struct mb_flow_entry *flow,
                           unsigned direction) {
    const uint64_t *wanted = stack->subscriptions.type_mask[packet->type];
    const uint64_t low = wanted[0] & who[0];
    const uint64_t high = wanted[1] & who[1];
    if ((low | high) != 0)
        publish_wanted_packet(stack, packet, low, high, flow, direction);
}

static void publish_packet_of_flow(struct mb_stack *stack, const struct mb_decoded *packet,
                                   const struct mb_flow_entry *flow, unsigned direction) {
    const uint64_t who[2] = {flow->mask[direction][0] | stack->cause.bits[0],
                             flow->mask[direction][1] | stack->cause.bits[1]};
    publish_packet(stack, packet, who, flow, direction);
}

/* Who wants the packet by its own headers, whatever flow it speaks of. */
static void publish_by_itself(struct mb_stack *stack, const struct mb_decoded *packet,
                              const struct mb_flow_entry *flow, unsigned direction) {
    const struct mb_subscriptions *subscriptions = &stack->subscriptions;
    const uint64_t *wanted = subscriptions->type_mask[packet->type];
    uint64_t who[2] = {subscriptions->unfiltered[0], subscriptions->unfiltered[1]};
    const uint64_t chosen[2] = {subscriptions->filtered[0] | subscriptions->shares.shared[0],
                                subscriptions->filtered[1] | subscriptions->shares.shared[1]};
    if ((wanted[0] & chosen[0]) | (wanted[1] & chosen[1]))
        stack->counters.filters_run += mb_subscriptions_of_flow(subscriptions, packet, who);
    for (unsigned half = 0; half < 2; half++) {
        who[half] |= stack->cause.bits[half];
        if (stack->commands != NULL)
            who[half] &= ~stack->commands->off_at_first[half];
    }
    publish_packet(stack, packet, who, flow, direction);
}

static void handle_without_flow(struct mb_stack *stack, const struct mb_decoded *packet) {
    const uint64_t *wanted = stack->subscriptions.type_mask[packet->type];
    if ((wanted[0] | wanted[1]) != 0)
        publish_by_itself(stack, packet, NULL, 0);
}

/* Those that have work with the flow's next packet: its start is told once. */
static uint32_t modules_at_work(const struct mb_flow_entry *flow) {
    return flow->marks & MB_FLOW_START_TOLD ? flow->modules & ~(uint32_t)MB_MODULE_FLOW
                                            : flow->modules;
}

static void run_modules(struct mb_stack *stack, struct mb_flow_entry *flow,
                        const struct mb_decoded *packet, unsigned direction) {
    for (uint32_t left = modules_at_work(flow); left != 0; left &= left - 1)
        stack->modules.packet[__builtin_ctz(left)](stack, flow, packet, direction);
    if (flow->ending == MB_REASON_NONE)
        return;
    mb_flow_end(stack, flow, flow->ending);
    flow->ending = MB_REASON_NONE;
    if (!mb_flow_is_refused(flow))
        mb_flow_requeue(&stack->table, flow, MB_TIMEOUT_CLOSED);
}

/* By the policy of a cap; the flow has ended for its subscribers. */
static void handle_refused(struct mb_stack *stack, const struct mb_flow_entry *flow,
                           const struct mb_decoded *packet, unsigned direction) {
    if (flow->marks & MB_FLOW_BYPASSED) {
        stack->counters.packets_bypassed++;
        return;
    }
    mb_count_reason(stack, MB_REASON_LIMIT_FLOW_REFUSED);
    mb_refuse_packet(stack, MB_REASON_LIMIT_FLOW_REFUSED);
    publish_packet_of_flow(stack, packet, flow, direction);
}

/* An ICMP error belongs to the flow that it speaks of, and travels against the packet that it
 * quotes. False: it speaks of none that is known, and is a message like others. */
static bool handle_icmp_error(struct mb_stack *stack, const struct mb_decoded *packet,
                              struct mb_handled *handled) {
    struct mb_icmp_quote quote;
    unsigned direction;
    struct mb_flow_entry *flow = mb_icmp_error_find(stack, packet, &quote, &direction);
    if (flow == NULL)
        return false;
    handled->flow = flow->number;
    handled->flow_slot = mb_flow_slot(stack, flow);
    handled->dropped_by = flow->dropped_by;
    handled->direction = (uint8_t)(1 - direction);
    if (mb_flow_is_refused(flow)) {
        handle_refused(stack, flow, packet, 1 - direction);
        return true;
    }
    publish_by_itself(stack, packet, flow, 1 - direction);
    mb_icmp_error_tell(stack, flow, packet, &quote, direction);
    return true;
}

/* Who wants the direction, and what the flow runs, is what it was at the packet before. */
static bool is_known(const struct mb_stack *stack, const struct mb_flow_entry *flow,
                     unsigned direction) {
    return flow->marks & MB_FLOW_SEEN << direction && flow->epoch == stack->subscriptions.epoch &&
           (stack->commands == NULL || stack->subscriptions.packet_filter_count == 0);
}

/* Anybody can make a RST with any number. */
static void note_sequence(struct mb_handled *handled, const struct mb_decoded *packet) {
    if (packet->transport != MB_TRANSPORT_TCP || packet->tcp_flags & MB_TCP_RST)
        return;
    handled->has_sequence = true;
    handled->sequence_end = mb_segment_end(packet);
}

static void handle_with_flow(struct mb_stack *stack, const struct mb_decoded *packet,
                             struct mb_handled *handled) {
    unsigned direction;
    struct mb_flow_entry *flow = mb_flow_of_packet(stack, packet, &direction);
    if (flow == NULL) {
        if (!stack->is_bypassed)
            handle_without_flow(stack, packet);
        return;
    }
    if (!is_known(stack, flow, direction))
        mb_flow_see_direction(stack, flow, packet, direction);
    handled->flow = flow->number;
    handled->flow_slot = mb_flow_slot(stack, flow);
    handled->dropped_by = flow->dropped_by;
    handled->direction = (uint8_t)direction;
    if (stack->notes_sequences)
        note_sequence(handled, packet);
    if (mb_flow_is_refused(flow)) {
        mb_packet_note_kind(stack, MB_SEGMENT_FREE);
        return handle_refused(stack, flow, packet, direction);
    }
    publish_packet_of_flow(stack, packet, flow, direction);
    struct mb_side *side = &flow->snapshot.side[direction];
    side->packets++;
    side->bytes += packet->payload_length;
    run_modules(stack, flow, packet, direction);
    if (stack->steps != NULL && packet->transport == MB_TRANSPORT_TCP)
        mb_tcp_note_segment(stack, flow, packet, direction);
    if (packet->tcp_flags & (MB_TCP_SYN | MB_TCP_FIN | MB_TCP_RST) &&
        !(flow->modules & MB_MODULE_TCP_MONITOR))
        mb_tcp_pass_by(&stack->table, flow, packet, direction);
}

static void find_place(struct mb_stack *stack, const struct mb_decoded *packet,
                       struct mb_handled *handled) {
    if (packet->transport == MB_TRANSPORT_NONE)
        return handle_without_flow(stack, packet);
    if (packet->is_icmp_error && handle_icmp_error(stack, packet, handled))
        return;
    if (stack->tracked >> packet->transport & 1)
        handle_with_flow(stack, packet, handled);
    else
        handle_without_flow(stack, packet);
}

void mb_packet_handle_alone(struct mb_stack *stack, const struct mb_decoded *packet,
                            struct mb_handled *handled) {
    stack->cause.frame = packet->frame;
    stack->cause.frame_length = packet->length;
    stack->cause.bits[0] = 0;
    stack->cause.bits[1] = 0;
    if (stack->subscriptions.packet_filter_count != 0)
        stack->counters.filters_run +=
            mb_subscriptions_of_packet(&stack->subscriptions, packet, stack->cause.bits);
    find_place(stack, packet, handled);
}

/* Hands the fragment to its datagram. Publishes the fragment, with what is odd about it. True where
 * the datagram is whole now: it is in `whole`. */
static bool take_fragment(struct mb_stack *stack, struct mb_decoded *fragment,
                          struct mb_handled *handled, struct mb_handled_datagram *noted,
                          struct mb_decoded *whole) {
    struct mb_datagram *datagram;
    bool is_complete;
    uint8_t reason = mb_defrag_add(stack, fragment, &datagram, &is_complete);
    if (reason != MB_REASON_NONE && reason != fragment->reason) {
        mb_count_reason(stack, reason);
        fragment->reason = reason;
    }
    if (!stack->is_bypassed)
        mb_packet_handle_alone(stack, fragment, handled);
    if (datagram == NULL)
        return false;
    noted->slot = (uint32_t)(datagram - stack->defrag.table.datagrams);
    noted->before = datagram->completed;
    noted->begins = datagram->fragments == 1;
    noted->completes = is_complete && mb_defrag_assemble(stack, datagram, fragment, whole);
    return noted->completes;
}

static void note_reason(struct mb_decoded *packet, uint8_t reason) {
    if (packet->reason == MB_REASON_NONE)
        packet->reason = reason;
}

void mb_packet_judge_checksums(const struct mb_stack *stack, struct mb_decoded *packet) {
    if (packet->checksum_is_partial)
        note_reason(packet, MB_REASON_CHECKSUM_PARTIAL);
    if (packet->bad_checksum == MB_REASON_NONE)
        return;
    note_reason(packet, packet->bad_checksum);
    if (stack->config.checksums != MB_CHECKSUMS_DROP)
        return;
    packet->type = MB_TYPE_PACKET_MALFORMED;
    packet->transport = MB_TRANSPORT_NONE;
}

/* What holds for a packet as received holds for one that was put together. */
static void prepare_whole(struct mb_stack *stack, struct mb_decoded *whole) {
    mb_packet_judge_checksums(stack, whole);
    if (whole->reason != MB_REASON_NONE)
        mb_count_reason(stack, whole->reason);
    if (mb_packet_is_tracked(stack, whole))
        whole->hash = mb_flow_hash(stack->table.key, &whole->tuple, whole->domain);
    else if (mb_packet_is_collected(stack, whole))
        whole->hash = mb_datagram_hash(&stack->defrag.table, whole);
}

void mb_packet_handle_fragment(struct mb_stack *stack, struct mb_decoded *fragment,
                               struct mb_handled *handled) {
    struct mb_decoded wholes[MB_DEFRAG_NESTED_MAX];
    stack->defrag.budget = MB_DEFRAG_GIVEN_UP_PER_PACKET;
    for (unsigned nested = 0; nested < MB_DEFRAG_NESTED_MAX; nested++) {
        struct mb_decoded *whole = &wholes[nested];
        if (!take_fragment(stack, fragment, handled, &handled->datagrams[nested], whole))
            return;
        prepare_whole(stack, whole);
        handled->datagrams[nested].is_around = whole->depth > fragment->depth;
        if (whole->type != MB_TYPE_PACKET_IP_FRAGMENT)
            return mb_packet_handle_alone(stack, whole, handled);
        fragment = whole;
    }
    mb_count_reason(stack, MB_REASON_FRAGMENT_NESTED);
    fragment->reason = MB_REASON_FRAGMENT_NESTED;
    mb_packet_handle_alone(stack, fragment, handled);
}
