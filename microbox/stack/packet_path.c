/*
 * What is done for each packet: decode, count, tell the time, find its place, publish. Nothing here
 * allocates, calls the system, locks or reads a clock. Read `mb_stack_handle` first.
 */
#include "microbox/stack/core.h"
#include "microbox/stack/flows/flow_lifecycle.h"
#include "microbox/stack/icmp_error.h"
#include "microbox/stack/modules/modules.h"
#include "microbox/stack/modules/tcp_steps.h"
#include "microbox/stack/reset.h"
#include "microbox/stack/stack.h"
#include "microbox/stack/wire/tcp.h"

#include <string.h>

static void count_packet(struct mb_stack *stack, const struct mb_decoded *packet) {
    struct mb_stack_counters *counters = &stack->counters;
    counters->packets++;
    counters->bytes += packet->length;
    counters->time = packet->time;
    if (packet->reason != MB_REASON_NONE)
        mb_count_reason(stack, packet->reason);
    if (packet->network_length != 0)
        counters->packets_ip++;
    if (packet->type == MB_TYPE_PACKET_IP_FRAGMENT)
        counters->fragments++;
    switch (packet->type) {
    case MB_TYPE_PACKET_IP_TCP:
        counters->packets_tcp++;
        return;
    case MB_TYPE_PACKET_IP_UDP:
        counters->packets_udp++;
        return;
    case MB_TYPE_PACKET_IP_ICMP:
        counters->packets_icmp++;
        return;
    case MB_TYPE_PACKET_MALFORMED:
        counters->packets_malformed++;
        return;
    default:
        counters->packets_other++;
    }
}

static void fire_timers(struct mb_stack *stack) {
    uint32_t fired = 0;
    for (uint32_t i = 0; i < stack->timer_count && fired < MB_TIMERS_PER_PACKET; i++) {
        struct mb_timer_state *timer = &stack->timers[stack->next_timer];
        stack->next_timer = (stack->next_timer + 1) % stack->timer_count;
        if (stack->clock.now < timer->due)
            continue;
        uint64_t missed = (stack->clock.now - timer->due) / timer->period;
        timer->due += (missed + 1) * timer->period;
        fired++;
        struct mb_entry *entry = mb_publish_plain(stack, timer->mask, MB_TYPE_TIMER);
        if (entry == NULL)
            continue;
        entry->payload.timer.period = timer->period;
        entry->payload.timer.missed = missed;
    }
}

/* Batches end here. */
static void publish_checkpoint(struct mb_stack *stack) {
    struct mb_entry *entry =
        mb_publish_plain(stack, stack->subscriptions.type_mask[MB_TYPE_SYSTEM_CHECKPOINT],
                         MB_TYPE_SYSTEM_CHECKPOINT);
    if (entry != NULL)
        entry->flags |= MB_ENDS_BATCH;
}

void mb_stack_end_batches(struct mb_stack *stack) {
    const uint64_t first = stack->log->next;
    mb_set_apart(stack);
    publish_checkpoint(stack);
    mb_end_packet(stack, first);
}

static void publish_due_checkpoint(struct mb_stack *stack, uint64_t packet) {
    if (packet != stack->next_checkpoint)
        return;
    stack->next_checkpoint += stack->checkpoint;
    publish_checkpoint(stack);
}

/* A reader of batches must not keep the whole datagrams that the next one needs the place of. */
static void end_batch_of_datagrams(struct mb_stack *stack) {
    if (!mb_assembled_ends_batch(&stack->assembled))
        return;
    mb_set_apart(stack);
    publish_checkpoint(stack);
}

/* A reader of batches waits until all of a batch is applied, so the versions of all its frames have
 * to have room at once, each with a header and what it may grow by. */
static void end_batch_of_versions(struct mb_stack *stack, const struct mb_decoded *packet) {
    if (stack->config.batch_bytes_max == 0)
        return;
    stack->batch_bytes += packet->length + MB_VERSION_BESIDE_FRAME;
    if (stack->batch_bytes <= stack->config.batch_bytes_max)
        return;
    stack->batch_bytes = 0;
    mb_set_apart(stack);
    publish_checkpoint(stack);
}

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
        stack->modules.module[__builtin_ctz(left)]->packet(stack, flow, packet, direction);
    if (flow->ending == MB_REASON_NONE)
        return;
    mb_flow_end(stack, flow, flow->ending);
    flow->ending = MB_REASON_NONE;
    if (!mb_flow_is_refused(flow))
        mb_flow_requeue(&stack->table, flow, MB_TIMEOUT_CLOSED);
}

/* For the gate, where it wants to know. */
static void note_kind(struct mb_stack *stack, enum mb_segment_kind kind) {
    if (stack->steps != NULL)
        *mb_stream_steps_note(stack->steps) = (struct mb_segment_note){.kind = (uint8_t)kind};
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
        note_kind(stack, MB_SEGMENT_FREE);
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

/* Publishes the packet's own event, then those of its flow. */
static void handle_alone(struct mb_stack *stack, const struct mb_decoded *packet,
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

/* A fragment, and somebody reads what comes of it. */
static bool is_collected(const struct mb_stack *stack, const struct mb_decoded *packet) {
    return packet->type == MB_TYPE_PACKET_IP_FRAGMENT && stack->defrag.is_on;
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
        handle_alone(stack, fragment, handled);
    if (datagram == NULL)
        return false;
    noted->slot = (uint32_t)(datagram - stack->defrag.table.datagrams);
    noted->before = datagram->completed;
    noted->begins = datagram->fragments == 1;
    noted->completes = is_complete && mb_defrag_assemble(stack, datagram, fragment, whole);
    return noted->completes;
}

static bool is_tracked(const struct mb_stack *stack, const struct mb_decoded *packet) {
    return stack->tracked >> packet->transport & 1;
}

static void note_reason(struct mb_decoded *packet, uint8_t reason) {
    if (packet->reason == MB_REASON_NONE)
        packet->reason = reason;
}

/* What a receiver would drop belongs to no flow; where only an event is asked for, all goes on. */
static void judge_checksums(const struct mb_stack *stack, struct mb_decoded *packet) {
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
    judge_checksums(stack, whole);
    if (whole->reason != MB_REASON_NONE)
        mb_count_reason(stack, whole->reason);
    if (is_tracked(stack, whole))
        whole->hash = mb_flow_hash(stack->table.key, &whole->tuple, whole->domain);
    else if (is_collected(stack, whole))
        whole->hash = mb_datagram_hash(&stack->defrag.table, whole);
}

/* The datagram that a fragment completes is handled as the packet that completed it. In a tunnel it
 * may be a fragment itself. */
__attribute__((noinline)) static void
handle_fragment(struct mb_stack *stack, struct mb_decoded *fragment, struct mb_handled *handled) {
    struct mb_decoded wholes[MB_DEFRAG_NESTED_MAX];
    for (unsigned nested = 0; nested < MB_DEFRAG_NESTED_MAX; nested++) {
        struct mb_decoded *whole = &wholes[nested];
        if (!take_fragment(stack, fragment, handled, &handled->datagrams[nested], whole))
            return;
        prepare_whole(stack, whole);
        handled->datagrams[nested].is_around = whole->depth > fragment->depth;
        if (whole->type != MB_TYPE_PACKET_IP_FRAGMENT)
            return handle_alone(stack, whole, handled);
        fragment = whole;
    }
    mb_count_reason(stack, MB_REASON_FRAGMENT_NESTED);
    fragment->reason = MB_REASON_FRAGMENT_NESTED;
    handle_alone(stack, fragment, handled);
}

/* Of a fragment the packet's reason may change. */
static void handle(struct mb_stack *stack, struct mb_decoded *packet, struct mb_handled *handled) {
    if (stack->commands != NULL && packet->number >= stack->commands->due)
        mb_commands_obey(stack, packet->number);
    *handled = (struct mb_handled){.first = stack->log->next, .packet = packet->number};
    note_kind(stack, MB_SEGMENT_NONE);
    stack->packets = packet->number;
    stack->module_entries = 0;
    stack->dropped = MB_REASON_NONE;
    stack->is_bypassed = false;
    stack->has_given_up_flow = false;
    stack->cause = (struct mb_cause){
        .time = packet->time,
        .packet = packet->number,
        .flags = MB_APART,
    };
    count_packet(stack, packet);
    mb_packet_clock_advance(&stack->clock, packet->time);
    stack->table.now = stack->clock.now;
    stack->table.seen = mb_packet_clock_seen(&stack->clock);
    if (stack->timer_count != 0)
        fire_timers(stack);
    publish_due_checkpoint(stack, packet->number);
    stack->cause.flags = 0;
    mb_defrag_expire(stack);
    if (is_collected(stack, packet))
        handle_fragment(stack, packet, handled);
    else
        handle_alone(stack, packet, handled);
    if (mb_flow_some_may_be_overdue(&stack->table))
        mb_flows_expire(stack, handled->first);
    if (mb_held_longest_wait(&stack->held) != NULL)
        mb_tcp_stream_expire(stack, handled->first);
    end_batch_of_datagrams(stack);
    end_batch_of_versions(stack, packet);
    mb_end_packet(stack, handled->first);
    handled->end = stack->log->next;
    handled->dropped = stack->dropped;
    if (stack->steps != NULL)
        mb_stream_steps_end_packet(stack->steps);
    if (stack->commands != NULL)
        mb_commands_note(stack->commands, handled);
}

void mb_stack_update_gauges(struct mb_stack *stack) {
    stack->counters.flows_active = stack->table.active;
    stack->counters.chain_longest = stack->table.longest;
    stack->counters.held_segments = stack->held.used;
    stack->counters.held_segments_peak = stack->held.peak;
    stack->counters.held_bytes = stack->held.bytes;
    stack->counters.fragments_held_bytes = stack->defrag.held;
}

/*
 * Packets go in groups through two steps: decode and hash, which asks for the flow's bucket;
 * handle, which asks for the flow of a packet that comes some packets later. Between asking and use
 * lies other work, so memory answers in the meantime. Flows are asked for one by one between
 * packets rather than all at once: a core waits when more than a dozen lines are on their way.
 */
enum { GROUP = 32, FRAMES_AHEAD = 16, FLOWS_AHEAD = 6, HEADERS_USUALLY = 54 };

MB_PREFETCHES void prefetch_headers(const uint8_t *pool, const struct mb_frame *frame) {
    __builtin_prefetch(pool + frame->offset);
    __builtin_prefetch(pool + frame->offset + HEADERS_USUALLY - 1);
}

/* Decodes `count` frames; `readable` is how many there are from `frames` on. */
static void decode_group(struct mb_stack *stack, const uint8_t *pool, const struct mb_frame *frames,
                         size_t count, size_t readable, struct mb_decoded *packets) {
    for (size_t i = 0; i < count; i++) {
        struct mb_decoded *packet = &packets[i];
        if (i + FRAMES_AHEAD < readable)
            prefetch_headers(pool, &frames[i + FRAMES_AHEAD]);
        mb_decode(&stack->decoder, packet, &frames[i], pool + frames[i].offset,
                  stack->packets + 1 + i);
        if (stack->config.checksums != MB_CHECKSUMS_OFF)
            judge_checksums(stack, packet);
    }
}

static void hash_four(const struct mb_stack *stack, struct mb_decoded *four[MB_FLOW_HASHES]) {
    const struct mb_five_tuple *tuples[MB_FLOW_HASHES];
    uint64_t hashes[MB_FLOW_HASHES];
    for (unsigned i = 0; i < MB_FLOW_HASHES; i++)
        tuples[i] = &four[i]->tuple;
    mb_flow_hashes(stack->table.key, tuples, hashes);
    for (unsigned i = 0; i < MB_FLOW_HASHES; i++) {
        four[i]->hash = hashes[i];
        mb_flow_prefetch_bucket(&stack->table, hashes[i]);
    }
}

static void hash_one(const struct mb_stack *stack, struct mb_decoded *packet) {
    packet->hash = mb_flow_hash(stack->table.key, &packet->tuple, packet->domain);
    mb_flow_prefetch_bucket(&stack->table, packet->hash);
}

/* Finds out where the packets' flows and datagrams lie, and asks for it. */
static void hash_group(const struct mb_stack *stack, struct mb_decoded *packets, size_t count) {
    struct mb_decoded *four[MB_FLOW_HASHES];
    unsigned waiting = 0;
    for (size_t i = 0; i < count; i++) {
        struct mb_decoded *packet = &packets[i];
        if (is_tracked(stack, packet)) {
            if (!mb_flow_hash_is_plain(&packet->tuple, packet->domain)) {
                hash_one(stack, packet);
                continue;
            }
            four[waiting++] = packet;
            if (waiting < MB_FLOW_HASHES)
                continue;
            hash_four(stack, four);
            waiting = 0;
        } else if (is_collected(stack, packet)) {
            packet->hash = mb_datagram_hash(&stack->defrag.table, packet);
            mb_datagram_prefetch_bucket(&stack->defrag.table, packet->hash);
        }
    }
    for (unsigned i = 0; i < waiting; i++)
        hash_one(stack, four[i]);
}

/* Room for its entries, and where it is a fragment for the datagram that it may complete. */
static bool has_room_for(struct mb_stack *stack, const struct mb_decoded *packet) {
    if (!mb_has_room_for_packet(stack))
        return false;
    return !is_collected(stack, packet) || mb_assembled_has_room(&stack->assembled);
}

MB_PREFETCHES void prefetch_place(const struct mb_stack *stack, const struct mb_decoded *packet) {
    if (is_tracked(stack, packet))
        mb_flow_prefetch(&stack->table, packet->hash);
    else if (is_collected(stack, packet))
        mb_datagram_prefetch(&stack->defrag.table, packet->hash);
}

/* Handles the packets of a group, as far as there is room. Returns how many. */
static size_t handle_group(struct mb_stack *stack, struct mb_decoded *packets, size_t count,
                           struct mb_handled *handled) {
    for (size_t i = 0; i < FLOWS_AHEAD && i < count; i++)
        prefetch_place(stack, &packets[i]);
    for (size_t i = 0; i < count; i++) {
        if (!has_room_for(stack, &packets[i]))
            return i;
        if (i + FLOWS_AHEAD < count)
            prefetch_place(stack, &packets[i + FLOWS_AHEAD]);
        handle(stack, &packets[i], &handled[i]);
    }
    return count;
}

size_t mb_stack_handle(struct mb_stack *stack, const uint8_t *pool, const struct mb_frame *frames,
                       size_t count, struct mb_handled *handled) {
    struct mb_decoded packets[GROUP];
    size_t done = 0;
    stack->pool = pool;
    for (size_t i = 0; i < FRAMES_AHEAD && i < count; i++)
        prefetch_headers(pool, &frames[i]);
    while (done < count && mb_has_room_for_packet(stack)) {
        size_t group = count - done < GROUP ? count - done : GROUP;
        decode_group(stack, pool, frames + done, group, count - done, packets);
        hash_group(stack, packets, group);
        size_t some = handle_group(stack, packets, group, handled + done);
        done += some;
        if (some < group)
            break;
    }
    mb_stack_update_gauges(stack);
    return done;
}
