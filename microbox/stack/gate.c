#include "microbox/stack/gate_private.h"
#include "microbox/stack/gate_streams.h"

#include <stdlib.h>

static uint64_t slots_of_log(const struct mb_gate_config *config) {
    return config->log->slot_mask + 1;
}

static size_t pending_size(const struct mb_gate_config *config) {
    return config->capacity * sizeof(struct mb_pending);
}

static size_t named_size(const struct mb_gate_config *config) {
    return slots_of_log(config) * sizeof(uint64_t);
}

static size_t flows_size(const struct mb_gate_config *config) {
    return config->flow_slots * sizeof(struct mb_gate_flow);
}

static size_t completions_size(const struct mb_gate_config *config) {
    return config->datagram_slots * sizeof(struct mb_dropped_completion);
}

void mb_gate_add_memory(const struct mb_gate_config *config, struct mb_memory *memory) {
    memory->waiting_packets += pending_size(config) + named_size(config);
    memory->flows += flows_size(config);
    memory->fragments += completions_size(config);
}

struct mb_gate *mb_gate_create(const struct mb_gate_config *config) {
    struct mb_gate *gate = calloc(1, sizeof *gate);
    if (!gate)
        return NULL;
    gate->config = *config;
    gate->slot_mask = config->log->slot_mask;
    gate->oldest = gate->newest = config->after ? config->after->newest : 0;
    gate->pending = calloc(1, pending_size(config));
    gate->named = calloc(1, named_size(config));
    gate->flows = calloc(1, flows_size(config));
    gate->dropped_completions = calloc(1, completions_size(config));
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
    free(gate->owns_frame);
    mb_versions_destroy(gate->versions);
    free(gate->remade);
    mb_translations_destroy(gate->translations);
    mb_held_fragments_destroy(gate->fragments);
    mb_gate_streams_destroy(gate->prepared_streams);
    free(gate);
}

void mb_gate_watch(struct mb_gate *gate, uint32_t index, const uint8_t *verdicts,
                   const uint64_t mask[2], bool fails_closed) {
    gate->judge[index] = (struct mb_judge){
        .verdicts = verdicts,
        .mask = {mask[0], mask[1]},
        .fails_closed = fails_closed,
    };
    gate->judges |= UINT64_C(1) << index;
}

void mb_gate_unwatch(struct mb_gate *gate, uint32_t index) {
    gate->judges &= ~(UINT64_C(1) << index);
    gate->rewriters &= gate->judges;
    gate->editors &= gate->judges;
    gate->judge[index] = (struct mb_judge){0};
}

void mb_gate_fail_closed(struct mb_gate *gate, uint32_t index) {
    gate->judge[index].fails_closed = true;
}

void mb_gate_add_memory_of_translations(const struct mb_gate_config *config,
                                        struct mb_memory *memory) {
    memory->flows += mb_translations_bytes(config->flow_slots);
    memory->fragments += mb_held_fragments_bytes(config->datagram_slots);
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

uint64_t mb_gate_dropped_flow(const struct mb_gate *gate, uint32_t slot) {
    return gate->flows[slot].is_dropped ? gate->flows[slot].number : 0;
}

uint64_t mb_gate_room(const struct mb_gate *gate) {
    return gate->config.capacity - (gate->newest - gate->oldest);
}

/* --- packets come --- */

uint64_t mb_gate_watched(const struct mb_gate *gate, const uint64_t mask[2]) {
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
        gate->named[slot] = is_apart ? 0 : mb_gate_watched(gate, entry->mask);
        if (gate->owns_frame != NULL)
            gate->owns_frame[slot] = !is_apart && entry->frame == frame->offset
                                         ? MB_FRAME_OF_PACKET
                                         : MB_FRAME_OF_OTHERS;
        judges |= gate->named[slot];
    }
    struct mb_pending *packet = &gate->pending[gate->newest++ & (gate->config.capacity - 1)];
    *packet = (struct mb_pending){
        .frame = *frame,
        .first = handled->first,
        .end = handled->end,
        .until = handled->end,
        .flow = handled->flow,
        .judges = judges,
        .number = handled->packet,
        .datagrams = {handled->datagrams[0], handled->datagrams[1]},
        .flow_slot = handled->flow_slot,
        .sequence_end = handled->sequence_end,
        .has_sequence = handled->has_sequence,
        .direction = handled->direction,
        .dropped = handled->dropped,
        .dropped_by = gate->config.after ? 0 : handled->dropped_by, /* by others */
    };
    if (gate->streams != NULL)
        mb_gate_add_steps(gate, packet);
}

/* --- flows --- */

/* Begun anew where another flow was in its place. */
static struct mb_gate_flow *flow_at(struct mb_gate *gate, uint64_t number, uint32_t slot) {
    struct mb_gate_flow *flow = &gate->flows[slot];
    if (flow->number != number)
        *flow = (struct mb_gate_flow){.number = number};
    return flow;
}

static struct mb_gate_flow *flow_of(struct mb_gate *gate, const struct mb_pending *packet) {
    return flow_at(gate, packet->flow, packet->flow_slot);
}

static bool has_flow(const struct mb_gate *gate, const struct mb_pending *packet) {
    return packet->flow != 0 && packet->flow_slot < gate->config.flow_slots;
}

static void note_sent(struct mb_gate_flow *flow, const struct mb_pending *packet) {
    const unsigned direction = packet->direction;
    const uint32_t *sent = mb_gate_sent_by(flow, direction);
    if (sent != NULL && (int32_t)(packet->sequence_end - *sent) <= 0)
        return;
    flow->has_sent |= 1u << direction;
    flow->sent[direction] = packet->sequence_end;
}

static bool try_reset(struct mb_gate *gate, const struct mb_pending *packet,
                      struct mb_gate_flow *flow) {
    if (flow->reset_was_tried)
        return false;
    flow->reset_was_tried = true;
    flow->is_reset = mb_gate_send_resets(gate, packet, flow);
    gate->counters.resets_not_made += !flow->is_reset;
    return flow->is_reset;
}

/* A judgement on the flow from this packet on. */
static void drop_flow(struct mb_gate *gate, const struct mb_pending *packet,
                      struct mb_gate_flow *flow, struct mb_gate_judgement judgement) {
    const bool is_news = !flow->is_dropped;
    const bool resets =
        judgement.reason == MB_REASON_VERDICT_RESET && try_reset(gate, packet, flow);
    if (!is_news && !resets)
        return;
    flow->is_dropped = true;
    flow->dropped_by = judgement.by & (MB_NFS_MAX - 1);
    gate->by_nf[judgement.by].flows_reset += resets;
    gate->by_nf[judgement.by].flows_dropped += !resets;
    if (gate->streams != NULL)
        mb_gate_drop_held(gate, flow->number, packet->flow_slot, judgement);
}

/* No RST can be made: the packet in hand is another flow's. */
void mb_gate_drop_flow_apart(struct mb_gate *gate, uint64_t number, uint32_t flow_slot,
                             struct mb_gate_judgement judgement) {
    if (mb_gate_judgement_strength(judgement.reason) <
        mb_gate_judgement_strength(MB_REASON_VERDICT_DROP_FLOW))
        return;
    struct mb_gate_flow *flow = flow_at(gate, number, flow_slot);
    if (flow->is_dropped)
        return;
    gate->counters.resets_not_made += judgement.reason == MB_REASON_VERDICT_RESET;
    judgement.reason = MB_REASON_VERDICT_DROP_FLOW;
    flow->is_dropped = true;
    flow->dropped_by = judgement.by & (MB_NFS_MAX - 1);
    gate->by_nf[judgement.by].flows_dropped++;
    mb_gate_drop_held(gate, number, flow_slot, judgement);
}

/* --- packets leave --- */

/* The packet's own judgement, and that on its flow, which it may itself have brought. */
static struct mb_gate_judgement judge_flow(struct mb_gate *gate, const struct mb_pending *packet,
                                           uint64_t *unjudged) {
    const struct mb_gate_judgement judgement =
        mb_gate_judge_range(gate, gate->named, packet->first, packet->end, unjudged);
    const bool is_on_flow = mb_gate_judgement_strength(judgement.reason) >=
                            mb_gate_judgement_strength(MB_REASON_VERDICT_DROP_FLOW);
    if (!has_flow(gate, packet)) {
        gate->counters.resets_not_made += judgement.reason == MB_REASON_VERDICT_RESET;
        return is_on_flow ? (struct mb_gate_judgement){MB_REASON_VERDICT_DROP_FLOW, judgement.by}
                          : judgement;
    }
    struct mb_gate_flow *flow = flow_of(gate, packet);
    if (is_on_flow)
        drop_flow(gate, packet, flow, judgement);
    if (packet->dropped_by != 0)
        drop_flow(gate, packet, flow,
                  (struct mb_gate_judgement){MB_REASON_VERDICT_DROP_FLOW, packet->dropped_by - 1u});
    if (!flow->is_dropped)
        return judgement;
    return (struct mb_gate_judgement){
        .reason = flow->is_reset ? MB_REASON_VERDICT_RESET : MB_REASON_VERDICT_DROP_FLOW,
        .by = flow->dropped_by,
    };
}

/* A datagram is dropped with the packet that completed it. Its receiver has the fragments before
 * that one and waits for more: what comes of it later is dropped too. */
static struct mb_gate_judgement judge_packet(struct mb_gate *gate, const struct mb_pending *packet,
                                             uint64_t *unjudged) {
    struct mb_gate_judgement judgement = judge_flow(gate, packet, unjudged);
    for (unsigned i = 0; i < MB_DEFRAG_NESTED_MAX; i++) {
        const struct mb_handled_datagram *of = &packet->datagrams[i];
        const struct mb_dropped_completion *last = &gate->dropped_completions[of->slot];
        if (of->before != 0 && last->packet == of->before)
            judgement = mb_gate_stronger_judgement(
                judgement, (struct mb_gate_judgement){MB_REASON_VERDICT_DROP, last->by});
    }
    const bool is_dropped = judgement.reason != MB_REASON_NONE || packet->dropped != MB_REASON_NONE;
    for (unsigned i = 0; i < MB_DEFRAG_NESTED_MAX; i++)
        if (packet->datagrams[i].completes && is_dropped)
            gate->dropped_completions[packet->datagrams[i].slot] =
                (struct mb_dropped_completion){packet->number, judgement.by};
    return judgement;
}

static void count_flow(struct mb_gate *gate, const struct mb_pending *packet) {
    if (!has_flow(gate, packet))
        return;
    struct mb_gate_flow *flow = flow_of(gate, packet);
    gate->counters.flows_of_dropped += !flow->has_losses;
    flow->has_losses = true;
}

/* Both gates have the packet in the same place. */
static bool has_left_before(const struct mb_gate *gate) {
    const struct mb_gate *before = gate->config.after;
    return !before || before->pending[gate->oldest & (before->config.capacity - 1)].has_left;
}

void mb_gate_count_drop(struct mb_gate *gate, const struct mb_pending *packet,
                        struct mb_gate_judgement judgement) {
    struct mb_gate_counters *counters = &gate->counters;
    struct mb_judge_counters *by_nf = &gate->by_nf[judgement.by];
    count_flow(gate, packet);
    counters->dropped++;
    counters->dropped_already += !has_left_before(gate);
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

void mb_gate_count_unseen(struct mb_gate *gate) {
    gate->counters.unseen++;
}

void mb_gate_let_out(struct mb_gate *gate, const struct mb_pending *packet,
                     const struct mb_gate_carried *carried) {
    if (packet->has_sequence && has_flow(gate, packet))
        note_sent(flow_of(gate, packet), packet);
    mb_gate_send(gate, packet, carried);
}

/* NFs have passed it. */
static void admit(struct mb_gate *gate, struct mb_pending *packet,
                  const struct mb_gate_news *news) {
    struct mb_gate_carried carried = {0};
    enum mb_gate_admission admission = MB_GATE_LEAVES;
    if (gate->streams != NULL)
        admission = mb_gate_admit(gate, packet, news, &carried);
    packet->has_left = admission == MB_GATE_LEAVES || admission == MB_GATE_HELD;
    switch (admission) {
    case MB_GATE_LEAVES:
        return mb_gate_let_out(gate, packet, &carried);
    case MB_GATE_UNSEEN:
        return mb_gate_count_unseen(gate);
    case MB_GATE_NO_ROOM:
        gate->counters.held_no_room++;
        return;
    case MB_GATE_HELD:
        return;
    }
}

static void let_pass_or_drop(struct mb_gate *gate, struct mb_pending *packet,
                             const struct mb_gate_news *news) {
    uint64_t unjudged = 0;
    if (packet->judges & gate->rewriters)
        mb_gate_take_rewrites(gate, packet);
    const struct mb_gate_judgement judgement = judge_packet(gate, packet, &unjudged);
    if (judgement.reason != MB_REASON_NONE)
        return mb_gate_count_drop(gate, packet, judgement);
    if (packet->dropped != MB_REASON_NONE) {
        gate->counters.refused++;
        return;
    }
    for (; unjudged != 0; unjudged &= unjudged - 1)
        gate->by_nf[__builtin_ctzll(unjudged)].unjudged_passed++;
    admit(gate, packet, news);
}

static void leave(struct mb_gate *gate, struct mb_pending *packet) {
    struct mb_gate_news news = {0};
    if (gate->streams != NULL)
        mb_gate_follow_steps(gate, packet, &news);
    gate->departure = (struct mb_departure){packet->number, MB_DEPARTS_ITSELF};
    if (!packet->is_no_packet)
        let_pass_or_drop(gate, packet, &news);
    if (gate->streams != NULL)
        mb_gate_follow_packet(gate, packet, &news);
}

static bool all_have_passed(const struct mb_gate *gate, const struct mb_pending *packet) {
    for (uint64_t rest = packet->judges; rest; rest &= rest - 1)
        if (gate->position[__builtin_ctzll(rest)] < packet->until)
            return false;
    return true;
}

static void learn_positions(struct mb_gate *gate) {
    for (uint64_t rest = gate->judges; rest; rest &= rest - 1) {
        const unsigned index = (unsigned)__builtin_ctzll(rest);
        gate->position[index] = mb_log_passed(gate->config.log, index);
        gate->judge[index].passed = gate->position[index];
    }
}

static void let_out_what_may_leave(struct mb_gate *gate) {
    const uint64_t end = gate->config.after ? gate->config.after->oldest : gate->newest;
    while (gate->oldest != end) {
        struct mb_pending *packet = &gate->pending[gate->oldest & (gate->config.capacity - 1)];
        if (!all_have_passed(gate, packet))
            break;
        leave(gate, packet);
        gate->oldest++;
    }
}

/* What leaves makes room for versions, so that more may be applied, and leave. */
static void apply_and_let_out(struct mb_gate *gate) {
    const bool was_held_up = gate->is_held_up;
    uint64_t before;
    do {
        before = gate->oldest;
        mb_gate_apply_edits(gate);
        let_out_what_may_leave(gate);
    } while (gate->is_held_up && gate->oldest != before);
    gate->counters.edit_waits += gate->is_held_up && !was_held_up;
}

/* `gate_judged` and `gate_empties` in docs/bus-protocol.md. */
uint64_t mb_gate_run(struct mb_gate *gate) {
    const uint64_t before = gate->oldest;
    if (gate->oldest == gate->newest && gate->editors == 0)
        return 0;
    learn_positions(gate);
    if (gate->editors != 0)
        apply_and_let_out(gate);
    else
        let_out_what_may_leave(gate);
    return gate->oldest - before;
}

struct mb_gate_counters mb_gate_counters(const struct mb_gate *gate) {
    struct mb_gate_counters counters = gate->counters;
    counters.waiting = gate->newest - gate->oldest;
    if (gate->streams != NULL) {
        counters.judged_forgotten = mb_judged_bytes_forgotten(gate->streams->judged);
        counters.judged_peak = mb_judged_bytes_peak(gate->streams->judged);
    }
    return counters;
}

const struct mb_judge_counters *mb_gate_judge(const struct mb_gate *gate, uint32_t index) {
    return &gate->by_nf[index];
}

uint64_t mb_gate_added(const struct mb_gate *gate) {
    return gate->newest;
}

uint64_t mb_gate_done(const struct mb_gate *gate) {
    return gate->oldest;
}
