#include "microbox/stack/gate.h"

#include "microbox/bus/atomic.h"
#include "microbox/events/event_types.h"

#include <stdlib.h>

/* A packet that has not left yet. */
struct pending {
    struct mb_frame frame;
    uint64_t first; /* its entries: [first, end) */
    uint64_t end;
    uint64_t flow;
    uint64_t judges; /* set of NFs that some entry names */
    uint64_t number;
    struct mb_handled_datagram datagrams[MB_DEFRAG_NESTED_MAX];
    uint32_t flow_slot;
    uint8_t dropped; /* enum mb_reason: by the stack, whatever the judges say */
};

struct judge {
    const uint8_t *verdicts;
    uint64_t mask[2];
    bool fails_closed;
};

struct mb_gate {
    struct mb_gate_config config;
    uint64_t slot_mask; /* of the log */

    uint64_t judges; /* set of watched NFs */
    struct judge judge[MB_NFS_MAX];
    uint64_t position[MB_NFS_MAX]; /* what each watched NF has passed, read once a run */

    /* Waiting packets: [oldest, newest), counted from 0. */
    uint64_t oldest;
    uint64_t newest;
    struct pending *pending;

    /* By sequence modulo slots, of the entries of waiting packets. Copies, since the entries
     * themselves may have been claimed anew when their verdicts are read. */
    uint64_t *named; /* set of watched NFs */

    /* By flow slot: the flow there that is dropped, 0: none. A flow that is gone leaves its
     * number behind; it never comes again. */
    uint64_t *dropped_flow;

    /* By datagram slot: the packet that completed the last datagram there, where it was dropped,
     * and so did not reach the receiver, which waits for it; 0: none. */
    uint64_t *dropped_completion;

    struct mb_gate_counters counters;
};

struct mb_gate *mb_gate_create(const struct mb_gate_config *config) {
    struct mb_gate *gate = calloc(1, sizeof *gate);
    if (!gate)
        return NULL;
    const uint64_t slots = config->log->slot_mask + 1;
    gate->config = *config;
    gate->slot_mask = config->log->slot_mask;
    gate->pending = calloc(config->capacity, sizeof *gate->pending);
    gate->named = calloc(slots, sizeof *gate->named);
    gate->dropped_flow = calloc(config->flow_slots, sizeof *gate->dropped_flow);
    gate->dropped_completion = calloc(config->datagram_slots, sizeof *gate->dropped_completion);
    if (gate->pending && gate->named && gate->dropped_flow && gate->dropped_completion)
        return gate;
    mb_gate_destroy(gate);
    return NULL;
}

void mb_gate_destroy(struct mb_gate *gate) {
    if (!gate)
        return;
    free(gate->pending);
    free(gate->named);
    free(gate->dropped_flow);
    free(gate->dropped_completion);
    free(gate);
}

void mb_gate_watch(struct mb_gate *gate, uint32_t index, const uint8_t *verdicts,
                   const uint64_t mask[2], bool fails_closed) {
    gate->judge[index] = (struct judge){verdicts, {mask[0], mask[1]}, fails_closed};
    gate->judges |= UINT64_C(1) << index;
}

void mb_gate_unwatch(struct mb_gate *gate, uint32_t index) {
    gate->judges &= ~(UINT64_C(1) << index);
    gate->judge[index] = (struct judge){0};
}

uint64_t mb_gate_room(const struct mb_gate *gate) {
    return gate->config.capacity - (gate->newest - gate->oldest);
}

/* --- packets come --- */

static uint64_t watched_that_mask_names(const struct mb_gate *gate, const uint64_t mask[2]) {
    uint64_t named = 0;
    for (uint64_t rest = gate->judges; rest; rest &= rest - 1) {
        const unsigned index = (unsigned)__builtin_ctzll(rest);
        const uint64_t *own = gate->judge[index].mask;
        if ((mask[0] & own[0]) | (mask[1] & own[1]))
            named |= UINT64_C(1) << index;
    }
    return named;
}

void mb_gate_add(struct mb_gate *gate, const struct mb_frame *frame,
                 const struct mb_handled *handled) {
    uint64_t judges = 0;
    for (uint64_t sequence = handled->first; sequence < handled->end; sequence++) {
        const uint64_t slot = sequence & gate->slot_mask;
        const struct mb_entry *entry = &gate->config.log->slots[slot];
        const bool is_apart = entry->flags & MB_APART;
        gate->named[slot] = is_apart ? 0 : watched_that_mask_names(gate, entry->mask);
        judges |= gate->named[slot];
    }
    gate->pending[gate->newest++ & (gate->config.capacity - 1)] = (struct pending){
        .frame = *frame,
        .first = handled->first,
        .end = handled->end,
        .flow = handled->flow,
        .judges = judges,
        .number = handled->packet,
        .datagrams = {handled->datagrams[0], handled->datagrams[1]},
        .flow_slot = handled->flow_slot,
        .dropped = handled->dropped,
    };
}

/* --- packets leave --- */

static bool all_have_passed(const struct mb_gate *gate, const struct pending *packet) {
    for (uint64_t rest = packet->judges; rest; rest &= rest - 1)
        if (gate->position[__builtin_ctzll(rest)] < packet->end)
            return false;
    return true;
}

/* What NF `index` says of an entry: the reason to drop its packet, or none. */
static enum mb_reason verdict_on(const struct mb_gate *gate, unsigned index, uint64_t sequence) {
    const struct judge *judge = &gate->judge[index];
    const uint64_t slot = sequence & gate->slot_mask;
    if (sequence >= gate->config.log->page->gone_at[index])
        return judge->fails_closed ? MB_REASON_NF_FAILED_CLOSED : MB_REASON_NONE;
    switch (mb_load_byte_relaxed(&judge->verdicts[slot])) {
    case MB_DROP:
        return MB_REASON_VERDICT_DROP;
    case MB_DROP_FLOW:
        return MB_REASON_VERDICT_DROP_FLOW;
    default:
        return MB_REASON_NONE;
    }
}

/* What is left of two verdicts: the flow goes before the packet, and what an NF said goes before
 * what it could not say. */
static enum mb_reason stronger(enum mb_reason one, enum mb_reason other) {
    static const enum mb_reason order[] = {
        MB_REASON_VERDICT_DROP_FLOW,
        MB_REASON_VERDICT_DROP,
        MB_REASON_NF_FAILED_CLOSED,
    };
    for (unsigned i = 0; i < sizeof order / sizeof *order; i++)
        if (one == order[i] || other == order[i])
            return order[i];
    return MB_REASON_NONE;
}

static enum mb_reason verdict_on_packet(const struct mb_gate *gate, const struct pending *packet) {
    enum mb_reason reason = MB_REASON_NONE;
    if (!packet->judges)
        return reason;
    for (uint64_t sequence = packet->first; sequence < packet->end; sequence++)
        for (uint64_t rest = gate->named[sequence & gate->slot_mask]; rest; rest &= rest - 1)
            reason = stronger(reason, verdict_on(gate, (unsigned)__builtin_ctzll(rest), sequence));
    return reason;
}

/* The packet's own verdict, and that on its flow, which it may itself have brought. */
static enum mb_reason judge_flow(struct mb_gate *gate, const struct pending *packet) {
    const enum mb_reason reason = verdict_on_packet(gate, packet);
    if (packet->flow == 0 || packet->flow_slot >= gate->config.flow_slots)
        return reason;
    uint64_t *dropped = &gate->dropped_flow[packet->flow_slot];
    if (reason == MB_REASON_VERDICT_DROP_FLOW)
        *dropped = packet->flow;
    return *dropped == packet->flow ? MB_REASON_VERDICT_DROP_FLOW : reason;
}

/* A datagram is dropped with the packet that completed it. Its receiver has the fragments before
 * that one and waits for more: what comes of it later is dropped too. */
static enum mb_reason judge_packet(struct mb_gate *gate, const struct pending *packet) {
    enum mb_reason reason = judge_flow(gate, packet);
    for (unsigned i = 0; i < MB_DEFRAG_NESTED_MAX; i++) {
        const struct mb_handled_datagram *of = &packet->datagrams[i];
        if (of->before != 0 && gate->dropped_completion[of->slot] == of->before)
            reason = stronger(reason, MB_REASON_VERDICT_DROP);
    }
    const bool is_dropped = reason != MB_REASON_NONE || packet->dropped != MB_REASON_NONE;
    for (unsigned i = 0; i < MB_DEFRAG_NESTED_MAX; i++)
        if (packet->datagrams[i].completes && is_dropped)
            gate->dropped_completion[packet->datagrams[i].slot] = packet->number;
    return reason;
}

static void count_drop(struct mb_gate_counters *counters, enum mb_reason reason) {
    counters->dropped++;
    counters->verdict_drop += reason == MB_REASON_VERDICT_DROP;
    counters->verdict_drop_flow += reason == MB_REASON_VERDICT_DROP_FLOW;
    counters->failed_closed += reason == MB_REASON_NF_FAILED_CLOSED;
}

static void leave(struct mb_gate *gate, const struct pending *packet) {
    const enum mb_reason reason = judge_packet(gate, packet);
    if (reason != MB_REASON_NONE)
        count_drop(&gate->counters, reason);
    else if (packet->dropped != MB_REASON_NONE)
        gate->counters.refused++;
    else if (gate->config.sink)
        mb_sink_write(gate->config.sink, &packet->frame, gate->config.pool + packet->frame.offset);
}

static void learn_positions(struct mb_gate *gate) {
    for (uint64_t rest = gate->judges; rest; rest &= rest - 1) {
        const unsigned index = (unsigned)__builtin_ctzll(rest);
        gate->position[index] = mb_log_passed(gate->config.log, index);
    }
}

uint64_t mb_gate_run(struct mb_gate *gate) {
    const uint64_t before = gate->oldest;
    if (gate->oldest == gate->newest)
        return 0;
    learn_positions(gate);
    while (gate->oldest != gate->newest) {
        const struct pending *packet = &gate->pending[gate->oldest & (gate->config.capacity - 1)];
        if (!all_have_passed(gate, packet))
            break;
        leave(gate, packet);
        gate->oldest++;
    }
    return gate->oldest - before;
}

struct mb_gate_counters mb_gate_counters(const struct mb_gate *gate) {
    struct mb_gate_counters counters = gate->counters;
    counters.waiting = gate->newest - gate->oldest;
    return counters;
}
