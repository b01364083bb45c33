/*
 * What goes out: packets under the names that NFs gave their flows, fragments when their datagram
 * is whole, RST segments in the place of what was reset.
 */
#include "microbox/stack/gate_private.h"
#include "microbox/stack/gate_streams.h"

#include "microbox/bus/atomic.h"
#include "microbox/stack/reset.h"

static struct mb_leaving leaving(const struct mb_pending *packet, const struct mb_frame *frame,
                                 const uint8_t *bytes, unsigned direction) {
    return (struct mb_leaving){
        .frame = frame,
        .bytes = bytes,
        .flow = packet->flow,
        .flow_slot = packet->flow_slot,
        .direction = (uint8_t)direction,
    };
}

static bool is_translated(const struct mb_gate *gate, const struct mb_pending *packet) {
    return gate->translations != NULL &&
           mb_translations_know(gate->translations, packet->flow, packet->flow_slot);
}

/* A frame that goes `direction` on the packet's flow. It stays as it is: what a translation, or
 * what it carries, changes is the sink's copy. */
static void send_carrying(struct mb_gate *gate, const struct mb_pending *packet,
                          const struct mb_frame *frame, const uint8_t *bytes, unsigned direction,
                          const struct mb_gate_carried *carried) {
    const bool translated = is_translated(gate, packet);
    gate->counters.translated += translated;
    if (!gate->config.sink)
        return;
    mb_sink_depart(gate->config.sink, gate->departure);
    if (mb_sink_write(gate->config.sink, frame, bytes) != 0)
        return;
    if (carried->range.length != 0)
        mb_gate_carry(gate->streams, frame, bytes, carried, mb_sink_last(gate->config.sink));
    if (!translated)
        return;
    const struct mb_leaving copy = leaving(packet, frame, bytes, direction);
    mb_translations_apply(gate->translations, &copy, mb_sink_last(gate->config.sink));
}

const uint8_t *mb_gate_bytes_as_edited(const struct mb_gate *gate,
                                       const struct mb_pending *packet) {
    return packet->version != NULL ? mb_version_bytes(packet->version)
                                   : gate->config.pool + packet->frame.offset;
}

struct mb_frame mb_gate_frame_as_edited(const struct mb_pending *packet) {
    struct mb_frame frame = packet->frame;
    if (packet->version != NULL) {
        frame.length = packet->version->length;
        frame.wire_length = packet->version->wire_length;
    }
    return frame;
}

static void send(struct mb_gate *gate, const struct mb_pending *packet,
                 const struct mb_frame *frame, const uint8_t *bytes, unsigned direction) {
    static const struct mb_gate_carried nothing = {0};
    send_carrying(gate, packet, frame, bytes, direction, &nothing);
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

static void take_rewrite(struct mb_gate *gate, const struct mb_pending *packet, unsigned index,
                         uint64_t sequence) {
    const struct mb_judge *judge = &gate->judge[index];
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
static void send_fragments(struct mb_gate *gate, const struct mb_pending *packet, uint32_t slot) {
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
static bool keep_fragment(struct mb_gate *gate, const struct mb_pending *packet) {
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

void mb_gate_take_rewrites(struct mb_gate *gate, const struct mb_pending *packet) {
    for (uint64_t sequence = packet->first; sequence < packet->end; sequence++) {
        uint64_t rest = gate->named[sequence & gate->slot_mask] & gate->rewriters;
        for (; rest; rest &= rest - 1)
            take_rewrite(gate, packet, (unsigned)__builtin_ctzll(rest), sequence);
    }
}

/* --- resets --- */

static void send_reset(struct mb_gate *gate, const struct mb_pending *packet,
                       const struct mb_decoded *segment, bool goes_back,
                       struct mb_reset_numbers numbers) {
    uint8_t bytes[MB_RESET_FRAME_MAX];
    struct mb_frame frame = packet->frame;
    frame.length = mb_reset_make(bytes, segment, frame.link_type, goes_back, numbers);
    frame.wire_length = frame.length;
    gate->counters.resets_made++;
    send(gate, packet, &frame, bytes, goes_back ? 1 - packet->direction : packet->direction);
}

static void decode_segment(struct mb_decoded *segment, const struct mb_frame *frame,
                           const uint8_t *bytes) {
    static const struct mb_decoder without_tunnels = {0};
    mb_decode(&without_tunnels, segment, frame, bytes, 0);
}

/* The receiver knows the segment as it was edited, the sender as it was sent. */
bool mb_gate_send_resets(struct mb_gate *gate, const struct mb_pending *packet,
                         const struct mb_gate_flow *flow) {
    struct mb_decoded segment;
    struct mb_decoded edited;
    const struct mb_frame frame = mb_gate_frame_as_edited(packet);
    decode_segment(&segment, &packet->frame, gate->config.pool + packet->frame.offset);
    decode_segment(&edited, &frame, mb_gate_bytes_as_edited(gate, packet));
    if (!mb_reset_is_possible(&segment, packet->frame.link_type) ||
        !mb_reset_is_possible(&edited, packet->frame.link_type))
        return false;
    const uint32_t *sent = mb_gate_sent_by(flow, packet->direction);
    const uint32_t *answered = mb_gate_sent_by(flow, 1 - packet->direction);
    send_reset(gate, packet, &edited, false, mb_reset_onwards(&edited, sent, answered));
    if (!mb_segment_resets(&segment))
        send_reset(gate, packet, &segment, true, mb_reset_back(&segment, answered));
    return true;
}

void mb_gate_send(struct mb_gate *gate, const struct mb_pending *packet,
                  const struct mb_gate_carried *carried) {
    if (gate->fragments != NULL && keep_fragment(gate, packet))
        return;
    const struct mb_frame frame = mb_gate_frame_as_edited(packet);
    struct mb_gate_carried shifted = *carried;
    if (packet->version != NULL)
        shifted.at = (uint32_t)((int64_t)shifted.at + packet->version->shift);
    gate->counters.carried += carried->range.length != 0;
    send_carrying(gate, packet, &frame, mb_gate_bytes_as_edited(gate, packet), packet->direction,
                  &shifted);
}
