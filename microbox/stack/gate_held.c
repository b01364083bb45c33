/*
 * Segments that the gate holds, since inline NFs have to see bytes before theirs first: those of a
 * side in a list, by position.
 */
#include "microbox/stack/gate_streams.h"

static uint32_t take_record(struct mb_gate_streams *streams) {
    const uint32_t index = streams->held_free;
    if (index != 0)
        streams->held_free = streams->held[index].next;
    else if (streams->held_unused <= streams->guard.held_max)
        return streams->held_unused++;
    return index;
}

/* Behind those that begin no later. */
static void link_held(struct mb_gate_streams *streams, struct mb_gate_side *side, uint32_t index) {
    struct mb_held_packet *held = &streams->held[index];
    uint32_t before = side->last;
    while (before != 0 && streams->held[before].position > held->position)
        before = streams->held[before].previous;
    held->previous = before;
    held->next = before != 0 ? streams->held[before].next : side->first;
    *(before != 0 ? &streams->held[before].next : &side->first) = index;
    *(held->next != 0 ? &streams->held[held->next].previous : &side->last) = index;
}

static struct mb_held_packet take_first(struct mb_gate *gate, struct mb_gate_stream *stream,
                                        struct mb_gate_side *side) {
    struct mb_gate_streams *streams = gate->streams;
    const uint32_t index = side->first;
    const struct mb_held_packet taken = streams->held[index];
    side->first = taken.next;
    *(taken.next != 0 ? &streams->held[taken.next].previous : &side->last) = 0;
    streams->held[index].packet.number = 0;
    streams->held[index].next = streams->held_free;
    streams->held_free = index;
    stream->held--;
    gate->counters.held--;
    return taken;
}

void mb_gate_drop_held(struct mb_gate *gate, uint64_t flow, uint32_t flow_slot,
                       struct mb_gate_judgement judgement) {
    struct mb_gate_stream *stream = &gate->streams->of[flow_slot];
    if (stream->flow != flow)
        return;
    for (unsigned direction = 0; direction < 2; direction++)
        while (stream->side[direction].first != 0) {
            const struct mb_held_packet held = take_first(gate, stream, &stream->side[direction]);
            mb_gate_count_drop(gate, &held.packet, judgement);
        }
}

void mb_gate_drop_unseen(struct mb_gate *gate, struct mb_gate_stream *stream,
                         struct mb_gate_side *side) {
    while (side->first != 0) {
        (void)take_first(gate, stream, side);
        mb_gate_count_unseen(gate);
    }
}

enum mb_gate_admission mb_gate_hold(struct mb_gate *gate, struct mb_gate_stream *stream,
                                    const struct mb_held_packet *packet) {
    struct mb_gate_streams *streams = gate->streams;
    const uint32_t index = stream->held < streams->guard.held_per_flow ? take_record(streams) : 0;
    if (index == 0)
        return MB_GATE_NO_ROOM;
    struct mb_held_packet *held = &streams->held[index];
    const struct mb_version *version = packet->packet.version;
    *held = *packet;
    held->packet.version = NULL; /* its memory is used again before the segment leaves */
    held->edited = version != NULL ? index : 0;
    if (version != NULL)
        streams->said[index] = version->said;
    link_held(streams, &stream->side[packet->packet.direction], index);
    stream->held++;
    gate->counters.held++;
    return MB_GATE_HELD;
}

static void let_held_out(struct mb_gate *gate, const struct mb_gate_side *side,
                         const struct mb_held_packet *held, bool is_free) {
    struct mb_gate_carried carried = {0};
    const bool unseen = is_free || mb_gate_takes_unseen(gate, &held->note);
    const bool leaves = mb_gate_is_fragmented(&held->packet)
                            ? unseen
                            : mb_gate_look_up(gate, held, side, unseen, &carried);
    struct mb_pending packet = held->packet;
    if (held->edited != 0)
        packet.version =
            mb_gate_remake_version(gate, &packet.frame, &gate->streams->said[held->edited]);
    if (leaves)
        mb_gate_let_out(gate, &packet, &carried);
    else
        mb_gate_count_unseen(gate);
}

static void let_held_out_until(struct mb_gate *gate, struct mb_gate_stream *stream,
                               struct mb_gate_side *side, uint64_t end, bool is_free) {
    while (side->first != 0) {
        const struct mb_held_packet *first = &gate->streams->held[side->first];
        if (first->position + first->note.length > end)
            return;
        const struct mb_held_packet held = take_first(gate, stream, side);
        let_held_out(gate, side, &held, is_free);
    }
}

/* Those whose bytes were given out. */
void mb_gate_release(struct mb_gate *gate, struct mb_gate_stream *stream,
                     struct mb_gate_side *side) {
    let_held_out_until(gate, stream, side, side->judged, false);
}

/* Nobody judges the direction any more. */
void mb_gate_release_all(struct mb_gate *gate, struct mb_gate_stream *stream,
                         struct mb_gate_side *side) {
    let_held_out_until(gate, stream, side, UINT64_MAX, true);
}

/* --- memory of frames --- */

void mb_gate_kept_frames(const struct mb_gate *gate, struct mb_ranges *kept) {
    const struct mb_gate_streams *streams = gate->streams;
    for (uint32_t index = 1; streams != NULL && index < streams->held_unused; index++) {
        const struct mb_pending *packet = &streams->held[index].packet;
        if (packet->number != 0) /* else the record is free */
            mb_ranges_add(kept, packet->frame.offset, packet->frame.length);
    }
    if (gate->fragments != NULL)
        mb_held_fragments_kept(gate->fragments, kept);
}

void mb_gate_forget_fragments(struct mb_gate *gate) {
    if (gate->fragments != NULL)
        mb_held_fragments_forget_all(gate->fragments);
}
