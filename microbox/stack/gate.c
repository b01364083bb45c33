#include "microbox/stack/gate.h"

#include "microbox/bus/atomic.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/edits/held_fragments.h"
#include "microbox/stack/edits/translation.h"
#include "microbox/stack/reset.h"

#include <stdlib.h>

/* Who decided, where it was no NF. */
enum { NOBODY = MB_NFS_MAX };

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
    uint32_t sequence_end; /* as in mb_handled */
    bool has_sequence;
    uint8_t direction;
    uint8_t dropped;    /* enum mb_reason: by the stack, whatever the judges say */
    uint8_t dropped_by; /* as in mb_handled */
};

/* What the gate knows of the flow in a slot of the flow table. A flow that is gone leaves its
 * number behind; it never comes again. */
struct gate_flow {
    uint64_t number : 53; /* 0: none */
    uint64_t is_dropped : 1;
    uint64_t is_reset : 1; /* RST segments were made */
    uint64_t reset_was_tried : 1;
    uint64_t dropped_by : 6; /* NF, where it is dropped */
    uint64_t has_sent : 2;   /* bit d: `sent[d]` is set */
    uint32_t sent[2];        /* by direction: one past the highest sequence number let out */
};

_Static_assert(sizeof(struct gate_flow) == 16 && MB_NFS_MAX <= 64, "a look-up reads one line");

/* What becomes of a packet. */
struct judgement {
    enum mb_reason reason; /* to drop it; none: it leaves */
    unsigned by;           /* the NF that says so, or NOBODY */
};

/* The packet that completed the last datagram in a slot of the table of datagrams, where it was
 * dropped, and so did not reach the receiver, which waits for it. */
struct dropped_completion {
    uint64_t packet; /* its number, 0: none */
    unsigned by;
};

struct judge {
    const uint8_t *verdicts;
    const struct mb_rewrite *rewrites; /* NULL: it leaves none */
    uint64_t mask[2];
    bool fails_closed;
    uint8_t unknown_verdict; /* the first that it gave; 0: none */
    uint64_t unsound_rewrites;
};

struct mb_gate {
    struct mb_gate_config config;
    uint64_t slot_mask; /* of the log */

    uint64_t judges;    /* set of watched NFs */
    uint64_t rewriters; /* of these, who may leave rewrites */
    struct judge judge[MB_NFS_MAX];
    uint64_t position[MB_NFS_MAX]; /* what each watched NF has passed, read once a run */

    /* Waiting packets: [oldest, newest), counted from 0. */
    uint64_t oldest;
    uint64_t newest;
    struct pending *pending;

    /* By sequence modulo slots, of the entries of waiting packets. Copies, since the entries
     * themselves may have been claimed anew when their verdicts are read. */
    uint64_t *named; /* set of watched NFs */

    struct gate_flow *flows;                        /* by flow slot */
    struct dropped_completion *dropped_completions; /* by datagram slot */

    /* NULL where there is no rewriter. */
    struct mb_translations *translations;
    struct mb_held_fragments *fragments;

    struct mb_gate_counters counters;
    struct mb_judge_counters by_nf[MB_NFS_MAX + 1]; /* the last one of NOBODY */
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
    gate->flows = calloc(config->flow_slots, sizeof *gate->flows);
    gate->dropped_completions = calloc(config->datagram_slots, sizeof *gate->dropped_completions);
    if (gate->pending && gate->named && gate->flows && gate->dropped_completions)
        return gate;
    mb_gate_destroy(gate);
    return NULL;
}

void mb_gate_destroy(struct mb_gate *gate) {
    if (!gate)
        return;
    free(gate->pending);
    free(gate->named);
    free(gate->flows);
    free(gate->dropped_completions);
    mb_translations_destroy(gate->translations);
    mb_held_fragments_destroy(gate->fragments);
    free(gate);
}

void mb_gate_watch(struct mb_gate *gate, uint32_t index, const uint8_t *verdicts,
                   const uint64_t mask[2], bool fails_closed) {
    gate->judge[index] = (struct judge){
        .verdicts = verdicts,
        .mask = {mask[0], mask[1]},
        .fails_closed = fails_closed,
    };
    gate->judges |= UINT64_C(1) << index;
}

void mb_gate_unwatch(struct mb_gate *gate, uint32_t index) {
    gate->judges &= ~(UINT64_C(1) << index);
    gate->rewriters &= gate->judges;
    gate->judge[index] = (struct judge){0};
}

bool mb_gate_translate(struct mb_gate *gate, const struct mb_decoder *decoder) {
    if (gate->translations == NULL)
        gate->translations = mb_translations_create(gate->config.flow_slots, decoder);
    if (gate->fragments == NULL)
        gate->fragments = mb_held_fragments_create(gate->config.datagram_slots);
    return gate->translations != NULL && gate->fragments != NULL;
}

void mb_gate_watch_rewrites(struct mb_gate *gate, uint32_t index,
                            const struct mb_rewrite *rewrites) {
    gate->judge[index].rewrites = rewrites;
    gate->rewriters |= UINT64_C(1) << index;
}

uint8_t mb_gate_unknown_verdict(const struct mb_gate *gate, uint32_t index) {
    return gate->judge[index].unknown_verdict;
}

uint64_t mb_gate_unsound_rewrites(const struct mb_gate *gate, uint32_t index) {
    return gate->judge[index].unsound_rewrites;
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
        .sequence_end = handled->sequence_end,
        .has_sequence = handled->has_sequence,
        .direction = handled->direction,
        .dropped = handled->dropped,
        .dropped_by = handled->dropped_by,
    };
}

/* --- what is said of a packet --- */

/* What NF `index` says of an entry: the reason to drop its packet, or none. */
static enum mb_reason verdict_on(struct mb_gate *gate, unsigned index, uint64_t sequence) {
    struct judge *judge = &gate->judge[index];
    const uint8_t byte = mb_load_byte_relaxed(&judge->verdicts[sequence & gate->slot_mask]);
    const unsigned verdict = byte & ~MB_VERDICT_MARKS;
    if (verdict >= MB_VERDICTS && judge->unknown_verdict == 0)
        judge->unknown_verdict = byte;
    switch (verdict) {
    case MB_DROP:
        return MB_REASON_VERDICT_DROP;
    case MB_DROP_FLOW:
        return MB_REASON_VERDICT_DROP_FLOW;
    case MB_RESET:
        return MB_REASON_VERDICT_RESET;
    default:
        return MB_REASON_NONE;
    }
}

/* The flow goes before the packet, and what an NF said before what it could not say. */
static unsigned strength(enum mb_reason reason) {
    switch (reason) {
    case MB_REASON_VERDICT_RESET:
        return 4;
    case MB_REASON_VERDICT_DROP_FLOW:
        return 3;
    case MB_REASON_VERDICT_DROP:
        return 2;
    case MB_REASON_NF_FAILED_CLOSED:
        return 1;
    default:
        return 0;
    }
}

/* What is left of two judgements: the stronger one, and of equal ones that of the first NF. */
static struct judgement stronger(struct judgement one, struct judgement other) {
    const unsigned first = strength(one.reason);
    const unsigned second = strength(other.reason);
    if (first == second)
        return one.by <= other.by ? one : other;
    return first > second ? one : other;
}

/* `*unjudged`: the set of NFs that were gone before they could say something. */
static struct judgement judge_entries(struct mb_gate *gate, const struct pending *packet,
                                      uint64_t *unjudged) {
    struct judgement judgement = {MB_REASON_NONE, NOBODY};
    for (uint64_t sequence = packet->first; sequence < packet->end; sequence++) {
        for (uint64_t rest = gate->named[sequence & gate->slot_mask]; rest; rest &= rest - 1) {
            const unsigned index = (unsigned)__builtin_ctzll(rest);
            const bool is_gone = sequence >= gate->config.log->page->gone_at[index];
            struct judgement one = {MB_REASON_NONE, index};
            if (!is_gone)
                one.reason = verdict_on(gate, index, sequence);
            else if (gate->judge[index].fails_closed)
                one.reason = MB_REASON_NF_FAILED_CLOSED;
            *unjudged |= is_gone ? UINT64_C(1) << index : 0;
            if (one.reason != MB_REASON_NONE)
                judgement = stronger(judgement, one);
        }
    }
    return judgement;
}

/* --- flows --- */

/* Begun anew where another flow was in its place. */
static struct gate_flow *flow_of(struct mb_gate *gate, const struct pending *packet) {
    struct gate_flow *flow = &gate->flows[packet->flow_slot];
    if (flow->number != packet->flow)
        *flow = (struct gate_flow){.number = packet->flow};
    return flow;
}

static bool has_flow(const struct mb_gate *gate, const struct pending *packet) {
    return packet->flow != 0 && packet->flow_slot < gate->config.flow_slots;
}

static const uint32_t *sent_by(const struct gate_flow *flow, unsigned direction) {
    return flow->has_sent >> direction & 1 ? &flow->sent[direction] : NULL;
}

static void note_sent(struct gate_flow *flow, const struct pending *packet) {
    const unsigned direction = packet->direction;
    const uint32_t *sent = sent_by(flow, direction);
    if (sent != NULL && (int32_t)(packet->sequence_end - *sent) <= 0)
        return;
    flow->has_sent |= 1u << direction;
    flow->sent[direction] = packet->sequence_end;
}

/* --- what leaves --- */

static struct mb_leaving leaving(const struct pending *packet, const struct mb_frame *frame,
                                 const uint8_t *bytes, unsigned direction) {
    return (struct mb_leaving){
        .frame = frame,
        .bytes = bytes,
        .flow = packet->flow,
        .flow_slot = packet->flow_slot,
        .direction = (uint8_t)direction,
    };
}

static bool is_translated(const struct mb_gate *gate, const struct pending *packet) {
    return gate->translations != NULL &&
           mb_translations_know(gate->translations, packet->flow, packet->flow_slot);
}

/* A frame that goes `direction` on the packet's flow. It stays as it is: what a translation changes
 * is the sink's copy. */
static void send(struct mb_gate *gate, const struct pending *packet, const struct mb_frame *frame,
                 const uint8_t *bytes, unsigned direction) {
    const bool translated = is_translated(gate, packet);
    gate->counters.translated += translated;
    if (!gate->config.sink || mb_sink_write(gate->config.sink, frame, bytes) != 0 || !translated)
        return;
    const struct mb_leaving copy = leaving(packet, frame, bytes, direction);
    mb_translations_apply(gate->translations, &copy, mb_sink_last(gate->config.sink));
}

static void count_rewrite(struct mb_gate *gate, unsigned index) {
    gate->counters.rewrites++;
    gate->by_nf[index].rewrites++;
}

static void refuse_rewrite(struct mb_gate *gate, unsigned index) {
    gate->counters.rewrites_refused++;
    gate->judge[index].unsound_rewrites++;
    gate->by_nf[index].rewrites_refused++;
}

static void take_rewrite(struct mb_gate *gate, const struct pending *packet, unsigned index,
                         uint64_t sequence) {
    const struct judge *judge = &gate->judge[index];
    const uint64_t slot = sequence & gate->slot_mask;
    if (sequence >= gate->config.log->page->gone_at[index] ||
        !(mb_load_byte_relaxed(&judge->verdicts[slot]) & MB_LEFT_REWRITE))
        return;
    const uint8_t *bytes = gate->config.pool + packet->frame.offset;
    const struct mb_leaving cause = leaving(packet, &packet->frame, bytes, packet->direction);
    if (mb_translations_take(gate->translations, &cause, index, &judge->rewrites[slot]))
        count_rewrite(gate, index);
    else
        refuse_rewrite(gate, index);
}

/* Frames and their order stay as they were, but leave with the packet that made the datagram whole,
 * under its time. */
static void send_fragments(struct mb_gate *gate, const struct pending *packet, uint32_t slot) {
    struct mb_frame frame;
    while (mb_held_fragments_take(gate->fragments, slot, &frame)) {
        frame.time = packet->frame.time;
        gate->counters.fragments_kept--;
        send(gate, packet, &frame, gate->config.pool + frame.offset, packet->direction);
    }
}

/* Until its datagram is whole a fragment is of no flow. Where the flow is in a tunnel inside, its
 * headers lie in the fragments anywhere, and are not found again. True where the packet does not
 * leave; else those that waited for it do. */
static bool keep_fragment(struct mb_gate *gate, const struct pending *packet) {
    for (unsigned i = 0; i < MB_DEFRAG_NESTED_MAX && packet->datagrams[i].slot != 0; i++) {
        const struct mb_handled_datagram *of = &packet->datagrams[i];
        if (of->begins)
            mb_held_fragments_forget(gate->fragments, of->slot);
        if (i > 0)
            mb_held_fragments_move(gate->fragments, packet->datagrams[i - 1].slot, of->slot);
        if (!of->completes) {
            mb_held_fragments_add(gate->fragments, of->slot, &packet->frame);
            gate->counters.fragments_kept++;
            return true;
        }
        if (of->is_around && is_translated(gate, packet)) {
            mb_held_fragments_forget(gate->fragments, of->slot);
            gate->counters.fragments_kept++;
            return true;
        }
        const bool is_last = i + 1 == MB_DEFRAG_NESTED_MAX || packet->datagrams[i + 1].slot == 0;
        if (is_last)
            send_fragments(gate, packet, of->slot);
    }
    return false;
}

/* What NFs left with the packet holds for itself already. */
static void take_rewrites(struct mb_gate *gate, const struct pending *packet) {
    if ((packet->judges & gate->rewriters) == 0)
        return;
    for (uint64_t sequence = packet->first; sequence < packet->end; sequence++) {
        uint64_t rest = gate->named[sequence & gate->slot_mask] & gate->rewriters;
        for (; rest; rest &= rest - 1)
            take_rewrite(gate, packet, (unsigned)__builtin_ctzll(rest), sequence);
    }
}

/* --- resets --- */

static void send_reset(struct mb_gate *gate, const struct pending *packet,
                       const struct mb_decoded *segment, bool goes_back,
                       struct mb_reset_numbers numbers) {
    uint8_t bytes[MB_RESET_FRAME_MAX];
    struct mb_frame frame = packet->frame;
    frame.length = mb_reset_make(bytes, segment, frame.link_type, goes_back, numbers);
    frame.wire_length = frame.length;
    gate->counters.resets_made++;
    send(gate, packet, &frame, bytes, goes_back ? 1 - packet->direction : packet->direction);
}

/* To the receiver, then to the sender, but where that has reset the connection itself (RFC 9293
 * section 3.5.2). Returns false where no RST can be made from the packet. */
static bool send_resets(struct mb_gate *gate, const struct pending *packet,
                        const struct gate_flow *flow) {
    static const struct mb_decoder without_tunnels = {0};
    struct mb_decoded segment;
    mb_decode(&without_tunnels, &segment, &packet->frame, gate->config.pool + packet->frame.offset,
              packet->number);
    if (!mb_reset_is_possible(&segment, packet->frame.link_type))
        return false;
    const uint32_t *sent = sent_by(flow, packet->direction);
    const uint32_t *answered = sent_by(flow, 1 - packet->direction);
    send_reset(gate, packet, &segment, false, mb_reset_onwards(&segment, sent, answered));
    if (!mb_segment_resets(&segment))
        send_reset(gate, packet, &segment, true, mb_reset_back(&segment, answered));
    return true;
}

static bool try_reset(struct mb_gate *gate, const struct pending *packet, struct gate_flow *flow) {
    if (flow->reset_was_tried)
        return false;
    flow->reset_was_tried = true;
    flow->is_reset = send_resets(gate, packet, flow);
    gate->counters.resets_not_made += !flow->is_reset;
    return flow->is_reset;
}

/* A judgement on the flow from this packet on. */
static void drop_flow(struct mb_gate *gate, const struct pending *packet, struct gate_flow *flow,
                      struct judgement judgement) {
    const bool is_news = !flow->is_dropped;
    const bool resets =
        judgement.reason == MB_REASON_VERDICT_RESET && try_reset(gate, packet, flow);
    if (!is_news && !resets)
        return;
    flow->is_dropped = true;
    flow->dropped_by = judgement.by & (MB_NFS_MAX - 1);
    gate->by_nf[judgement.by].flows_reset += resets;
    gate->by_nf[judgement.by].flows_dropped += !resets;
}

/* --- packets leave --- */

/* The packet's own judgement, and that on its flow, which it may itself have brought. */
static struct judgement judge_flow(struct mb_gate *gate, const struct pending *packet,
                                   uint64_t *unjudged) {
    const struct judgement judgement = judge_entries(gate, packet, unjudged);
    const bool is_on_flow = strength(judgement.reason) >= strength(MB_REASON_VERDICT_DROP_FLOW);
    if (!has_flow(gate, packet)) {
        gate->counters.resets_not_made += judgement.reason == MB_REASON_VERDICT_RESET;
        return is_on_flow ? (struct judgement){MB_REASON_VERDICT_DROP_FLOW, judgement.by}
                          : judgement;
    }
    struct gate_flow *flow = flow_of(gate, packet);
    if (is_on_flow)
        drop_flow(gate, packet, flow, judgement);
    if (packet->dropped_by != 0)
        drop_flow(gate, packet, flow,
                  (struct judgement){MB_REASON_VERDICT_DROP_FLOW, packet->dropped_by - 1u});
    if (!flow->is_dropped)
        return judgement;
    return (struct judgement){
        .reason = flow->is_reset ? MB_REASON_VERDICT_RESET : MB_REASON_VERDICT_DROP_FLOW,
        .by = flow->dropped_by,
    };
}

/* A datagram is dropped with the packet that completed it. Its receiver has the fragments before
 * that one and waits for more: what comes of it later is dropped too. */
static struct judgement judge_packet(struct mb_gate *gate, const struct pending *packet,
                                     uint64_t *unjudged) {
    struct judgement judgement = judge_flow(gate, packet, unjudged);
    for (unsigned i = 0; i < MB_DEFRAG_NESTED_MAX; i++) {
        const struct mb_handled_datagram *of = &packet->datagrams[i];
        const struct dropped_completion *last = &gate->dropped_completions[of->slot];
        if (of->before != 0 && last->packet == of->before)
            judgement = stronger(judgement, (struct judgement){MB_REASON_VERDICT_DROP, last->by});
    }
    const bool is_dropped = judgement.reason != MB_REASON_NONE || packet->dropped != MB_REASON_NONE;
    for (unsigned i = 0; i < MB_DEFRAG_NESTED_MAX; i++)
        if (packet->datagrams[i].completes && is_dropped)
            gate->dropped_completions[packet->datagrams[i].slot] =
                (struct dropped_completion){packet->number, judgement.by};
    return judgement;
}

static void count_drop(struct mb_gate *gate, struct judgement judgement) {
    struct mb_gate_counters *counters = &gate->counters;
    struct mb_judge_counters *by_nf = &gate->by_nf[judgement.by];
    counters->dropped++;
    switch (judgement.reason) {
    case MB_REASON_VERDICT_RESET:
        counters->verdict_reset++;
        by_nf->packets_of_resets++;
        return;
    case MB_REASON_VERDICT_DROP_FLOW:
        counters->verdict_drop_flow++;
        by_nf->packets_of_flows++;
        return;
    case MB_REASON_VERDICT_DROP:
        counters->verdict_drop++;
        by_nf->packets_dropped++;
        return;
    default:
        counters->failed_closed++;
        by_nf->unjudged_dropped++;
    }
}

static void let_out(struct mb_gate *gate, const struct pending *packet, uint64_t unjudged) {
    if (packet->has_sequence && has_flow(gate, packet))
        note_sent(flow_of(gate, packet), packet);
    for (; unjudged != 0; unjudged &= unjudged - 1)
        gate->by_nf[__builtin_ctzll(unjudged)].unjudged_passed++;
    if (gate->fragments != NULL && keep_fragment(gate, packet))
        return;
    send(gate, packet, &packet->frame, gate->config.pool + packet->frame.offset, packet->direction);
}

static void leave(struct mb_gate *gate, const struct pending *packet) {
    uint64_t unjudged = 0;
    take_rewrites(gate, packet);
    const struct judgement judgement = judge_packet(gate, packet, &unjudged);
    if (judgement.reason != MB_REASON_NONE)
        count_drop(gate, judgement);
    else if (packet->dropped != MB_REASON_NONE)
        gate->counters.refused++;
    else
        let_out(gate, packet, unjudged);
}

static bool all_have_passed(const struct mb_gate *gate, const struct pending *packet) {
    for (uint64_t rest = packet->judges; rest; rest &= rest - 1)
        if (gate->position[__builtin_ctzll(rest)] < packet->end)
            return false;
    return true;
}

static void learn_positions(struct mb_gate *gate) {
    for (uint64_t rest = gate->judges; rest; rest &= rest - 1) {
        const unsigned index = (unsigned)__builtin_ctzll(rest);
        gate->position[index] = mb_log_passed(gate->config.log, index);
    }
}

/* `gate_judged` and `gate_empties` in docs/bus-protocol.md. */
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

const struct mb_judge_counters *mb_gate_judge(const struct mb_gate *gate, uint32_t index) {
    return &gate->by_nf[index];
}
