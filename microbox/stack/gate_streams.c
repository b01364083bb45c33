#include "microbox/stack/gate_streams.h"

#include "microbox/stack/edits/edited_frame.h"
#include "microbox/stack/lazy_memory.h"
#include "microbox/stack/prefetch.h"

#include <stdlib.h>
#include <string.h>

/* --- making --- */

static size_t streams_size(const struct mb_gate_streams *streams) {
    return (size_t)streams->flow_slots * sizeof *streams->of;
}

static size_t held_size(const struct mb_gate_streams *streams) {
    return ((size_t)streams->guard.held_max + 1) * sizeof *streams->held;
}

static size_t said_size(const struct mb_gate_streams *streams) {
    return ((size_t)streams->guard.held_max + 1) * sizeof *streams->said;
}

static size_t steps_size(const struct mb_stream_steps *steps) {
    return ((size_t)steps->mask + 1) * sizeof *steps->ring;
}

static size_t notes_size(const struct mb_stream_steps *steps) {
    return ((size_t)steps->note_mask + 1) * sizeof *steps->notes;
}

static size_t named_size(uint64_t slot_mask) {
    return (slot_mask + 1) * sizeof(uint64_t);
}

/* Powers of two that are no less. */
static uint64_t mask_of(uint64_t least) {
    uint64_t mask = 1;
    while (mask + 1 < least)
        mask = 2 * mask + 1;
    return mask;
}

static struct mb_gate_streams shape_of(const struct mb_gate_config *config,
                                       const struct mb_stream_guard *guard) {
    const uint64_t steps = mask_of(2 * MB_STREAM_STEPS_PER_PACKET);
    const uint64_t slots = config->log->slot_mask;
    return (struct mb_gate_streams){
        .guard = *guard,
        .flow_slots = config->flow_slots,
        .held_unused = 1,
        .steps.mask = steps > slots ? steps : slots,
        .steps.note_mask = mask_of(config->capacity + MB_BATCH + 1),
    };
}

void mb_gate_add_memory_of_streams(const struct mb_gate_config *config,
                                   const struct mb_stream_guard *guard, struct mb_memory *memory) {
    const struct mb_gate_streams streams = shape_of(config, guard);
    memory->flows += streams_size(&streams);
    memory->held_segments += held_size(&streams) + said_size(&streams);
    memory->judged_bytes += mb_judged_bytes_size(guard->judged_bytes_max);
    memory->waiting_packets += steps_size(&streams.steps) + notes_size(&streams.steps) +
                               named_size(config->log->slot_mask);
}

static struct mb_gate_streams *create(const struct mb_gate *gate,
                                      const struct mb_stream_guard *guard,
                                      const struct mb_decoder *decoder) {
    struct mb_gate_streams *streams = malloc(sizeof *streams);
    if (streams == NULL)
        return NULL;
    *streams = shape_of(&gate->config, guard);
    struct mb_stream_steps *steps = &streams->steps;
    streams->decoder = *decoder;
    streams->decoder.verifies = true; /* it leaves a trail of the checksums */
    steps->ring = mb_lazy_map(steps_size(steps));
    steps->notes = mb_lazy_map(notes_size(steps));
    streams->of = mb_lazy_map(streams_size(streams));
    streams->held = mb_lazy_map(held_size(streams));
    streams->said = mb_lazy_map(said_size(streams));
    streams->judged = mb_judged_bytes_create(guard->judged_bytes_max, decoder->key);
    streams->named_apart = calloc(1, named_size(gate->slot_mask));
    if (steps->ring != NULL && steps->notes != NULL && streams->of != NULL &&
        streams->held != NULL && streams->said != NULL && streams->judged != NULL &&
        streams->named_apart != NULL)
        return streams;
    mb_gate_streams_destroy(streams);
    return NULL;
}

void mb_gate_streams_destroy(struct mb_gate_streams *streams) {
    if (streams == NULL)
        return;
    mb_lazy_unmap(streams->steps.ring, steps_size(&streams->steps));
    mb_lazy_unmap(streams->steps.notes, notes_size(&streams->steps));
    mb_lazy_unmap(streams->of, streams_size(streams));
    mb_lazy_unmap(streams->held, held_size(streams));
    mb_lazy_unmap(streams->said, said_size(streams));
    mb_judged_bytes_destroy(streams->judged);
    free(streams->named_apart);
    free(streams);
}

bool mb_gate_prepare_streams(struct mb_gate *gate, const struct mb_stream_guard *guard,
                             const struct mb_decoder *decoder) {
    if (gate->prepared_streams == NULL)
        gate->prepared_streams = create(gate, guard, decoder);
    return gate->prepared_streams != NULL;
}

struct mb_stream_steps *mb_gate_guard_streams(struct mb_gate *gate) {
    gate->streams = gate->prepared_streams;
    return &gate->streams->steps;
}

/* --- streams --- */

static void forget(struct mb_gate *gate, struct mb_gate_stream *stream) {
    for (unsigned direction = 0; direction < 2; direction++) {
        struct mb_gate_side *side = &stream->side[direction];
        mb_gate_drop_unseen(gate, stream, side);
        mb_judged_bytes_release(gate->streams->judged, &side->bytes);
    }
}

/* Begun anew where another flow was in its place. */
static struct mb_gate_stream *stream_of(struct mb_gate *gate, uint64_t flow, uint32_t flow_slot) {
    struct mb_gate_stream *stream = &gate->streams->of[flow_slot];
    if (stream->flow == flow)
        return stream;
    forget(gate, stream);
    *stream = (struct mb_gate_stream){
        .flow = flow,
        .side = {{.bytes.stream = 2 * flow}, {.bytes.stream = 2 * flow + 1}},
    };
    return stream;
}

/* NULL: nothing is kept of the flow. */
static struct mb_gate_stream *known_stream(struct mb_gate *gate, uint64_t flow,
                                           uint32_t flow_slot) {
    struct mb_gate_stream *stream = &gate->streams->of[flow_slot];
    return stream->flow == flow ? stream : NULL;
}

/* The one that is nearest to what was given out. The first one that is asked for begins the side.
 */
static uint64_t position_of(struct mb_gate_side *side, uint32_t sequence) {
    if (side->judged == 0)
        side->judged = (UINT64_C(1) << 32) + sequence;
    return side->judged + (uint64_t)(int64_t)(int32_t)(sequence - (uint32_t)side->judged);
}

/* --- what a packet carries --- */

/* What the packet would leave with. */
static const uint8_t *payload_of(const struct mb_gate *gate, const struct mb_held_packet *held) {
    const struct mb_pending *packet = &held->packet;
    const uint64_t at = held->note.position - packet->frame.offset;
    const int32_t shift = packet->version != NULL ? packet->version->shift : 0;
    return mb_gate_bytes_as_edited(gate, packet) + at + shift;
}

bool mb_gate_look_up(struct mb_gate *gate, const struct mb_held_packet *held,
                     const struct mb_gate_side *side, bool takes_unseen,
                     struct mb_gate_carried *carried) {
    const struct mb_segment_note *note = &held->note;
    const unsigned other = 1 - held->packet.direction;
    struct mb_judged_range range = {.position = held->position, .length = note->captured};
    bool differs;
    if (note->has_acknowledged[other])
        range.blank_before =
            held->position +
            (uint64_t)(int64_t)(int32_t)(note->acknowledged[other] - note->sequence);
    const uint32_t unknown = mb_judged_bytes_compare(gate->streams->judged, &side->bytes, &range,
                                                     payload_of(gate, held), &differs);
    if (unknown != 0 && !takes_unseen)
        return false;
    if (differs)
        *carried = (struct mb_gate_carried){
            .side = &side->bytes,
            .range = range,
            .at = (uint32_t)(note->position - held->packet.frame.offset),
        };
    return true;
}

/* --- what comes --- */

static void finish_stream(struct mb_gate *gate, struct mb_gate_stream *stream, bool is_guarded) {
    for (unsigned direction = 0; direction < 2; direction++) {
        mb_gate_release(gate, stream, &stream->side[direction]);
        if (!is_guarded)
            mb_gate_release_all(gate, stream, &stream->side[direction]);
    }
    forget(gate, stream);
}

/* As they are when all editors are done. `packet` NULL: they came with none of their flow. */
static const uint8_t *bytes_as_edited(const struct mb_gate *gate, const struct mb_stream_step *step,
                                      const struct mb_pending *packet) {
    const uint64_t at = step->position - step->frame;
    if (step->version != NULL)
        return mb_version_bytes(step->version) + at;
    if (packet != NULL && packet->version != NULL && step->frame == packet->frame.offset)
        return mb_version_bytes(packet->version) + at + packet->version->shift;
    return gate->config.pool + step->position;
}

static void take_bytes(struct mb_gate *gate, struct mb_gate_side *side,
                       const struct mb_stream_step *step, const struct mb_pending *packet,
                       bool is_passed) {
    const uint64_t position = position_of(side, step->sequence);
    if (is_passed && !step->is_passing)
        mb_judged_bytes_put(gate->streams->judged, &side->bytes, position,
                            bytes_as_edited(gate, step, packet), step->captured);
    side->judged = position + step->length;
}

static bool are_the_packets_own(const struct mb_stream_step *step,
                                const struct mb_segment_note *note) {
    return step->position == note->position && step->sequence == note->sequence &&
           step->length == note->length;
}

static void follow_own(struct mb_gate *gate, const struct mb_pending *packet,
                       const struct mb_stream_step *step, const struct mb_segment_note *note,
                       struct mb_gate_news *news) {
    struct mb_gate_stream *stream = stream_of(gate, step->flow, step->flow_slot);
    const unsigned direction = step->direction;
    switch (step->kind) {
    case MB_STEP_BYTES: {
        const struct mb_gate_judgement judgement =
            mb_gate_judge_range(gate, gate->named, step->first, step->end, NULL);
        const bool is_passed = judgement.reason == MB_REASON_NONE;
        take_bytes(gate, &stream->side[direction], step, packet, is_passed);
        news->is_given[direction] = true;
        news->is_whole = is_passed && are_the_packets_own(step, note);
        return;
    }
    case MB_STEP_LEFT:
        news->is_left[direction] = true;
        return;
    default:
        news->is_over = true;
        news->is_guarded = step->is_guarded;
    }
}

/* Of a flow that no packet in hand is of. */
static void follow_apart(struct mb_gate *gate, const struct mb_stream_step *step) {
    struct mb_gate_stream *stream = known_stream(gate, step->flow, step->flow_slot);
    if (stream == NULL)
        return;
    gate->departure = (struct mb_departure){
        .packet = step->packet,
        .order = (step->is_at_end ? MB_DEPARTS_AT_END : MB_DEPARTS_WITH_OTHERS) | step->flow,
    };
    if (step->kind == MB_STEP_END)
        return finish_stream(gate, stream, step->is_guarded);
    if (step->kind == MB_STEP_LEFT)
        return mb_gate_drop_unseen(gate, stream, &stream->side[step->direction]);
    const struct mb_gate_judgement judgement =
        mb_gate_judge_range(gate, gate->streams->named_apart, step->first, step->end, NULL);
    take_bytes(gate, &stream->side[step->direction], step, NULL,
               judgement.reason == MB_REASON_NONE);
    mb_gate_drop_flow_apart(gate, step->flow, step->flow_slot, judgement);
    mb_gate_release(gate, stream, &stream->side[step->direction]);
}

static const struct mb_segment_note *note_at(const struct mb_gate_streams *streams,
                                             uint64_t index) {
    return &streams->steps.notes[index & streams->steps.note_mask];
}

/* Whose frame the step's entries show. */
static void note_owner(struct mb_gate *gate, const struct mb_stream_step *step,
                       const struct mb_pending *packet) {
    if (gate->owns_frame == NULL || (!step->is_apart && step->frame == packet->frame.offset))
        return;
    for (uint64_t entry = step->first; entry < step->end; entry++)
        gate->owns_frame[entry & gate->slot_mask] = MB_FRAME_OF_STREAM;
}

static uint64_t name_apart(struct mb_gate *gate, const struct mb_stream_step *step) {
    uint64_t judges = 0;
    for (uint64_t entry = step->first; entry < step->end; entry++) {
        const uint64_t slot = entry & gate->slot_mask;
        gate->streams->named_apart[slot] =
            mb_gate_watched(gate, gate->config.log->slots[slot].mask);
        judges |= gate->streams->named_apart[slot];
    }
    return judges;
}

void mb_gate_add_steps(struct mb_gate *gate, struct mb_pending *packet) {
    struct mb_gate_streams *streams = gate->streams;
    const uint64_t end = note_at(streams, streams->notes_added++)->steps_end;
    streams->link_type = packet->frame.link_type;
    for (; streams->steps_added != end; streams->steps_added++) {
        const struct mb_stream_step *step =
            mb_stream_steps_at(&streams->steps, streams->steps_added);
        if (step->kind != MB_STEP_BYTES)
            continue;
        note_owner(gate, step, packet);
        if (!step->is_apart)
            continue;
        packet->judges |= name_apart(gate, step);
        packet->until = packet->until > step->end ? packet->until : step->end;
    }
}

void mb_gate_steps_of(const struct mb_gate *gate, uint64_t number, uint64_t *first, uint64_t *end) {
    const struct mb_gate_streams *streams = gate->streams;
    const uint64_t note = streams->notes_left + (number - gate->oldest);
    *first = number == gate->oldest ? streams->steps.oldest : note_at(streams, note - 1)->steps_end;
    *end = note_at(streams, note)->steps_end;
}

bool mb_gate_has_steps_apart(const struct mb_gate *gate) {
    const struct mb_gate_streams *streams = gate->streams;
    return streams != NULL && streams->steps_added != streams->steps.newest;
}

void mb_gate_add_steps_apart(struct mb_gate *gate) {
    struct mb_gate_streams *streams = gate->streams;
    const uint64_t end = gate->config.log->next;
    struct mb_pending *packet = &gate->pending[gate->newest++ & (gate->config.capacity - 1)];
    *packet = (struct mb_pending){.first = end, .end = end, .until = end, .is_no_packet = true};
    if (streams == NULL)
        return;
    packet->frame.link_type = streams->link_type;
    *mb_stream_steps_note(&streams->steps) = (struct mb_segment_note){0};
    mb_stream_steps_end_packet(&streams->steps);
    mb_gate_add_steps(gate, packet);
}

/* Of steps that are taken soon. Packets wait for NFs, and meanwhile what they belong to leaves the
 * caches. */
MB_PREFETCHES void prefetch_steps(const struct mb_gate_streams *streams) {
    enum { STREAM_AHEAD = 12, BYTES_AHEAD = 6, CACHE_LINE = 64 };
    const struct mb_stream_steps *steps = &streams->steps;
    if (steps->newest - steps->oldest <= STREAM_AHEAD)
        return;
    const uint32_t flow_slot = mb_stream_steps_at(steps, steps->oldest + STREAM_AHEAD)->flow_slot;
    __builtin_prefetch(&streams->of[flow_slot], 1);
    __builtin_prefetch((const uint8_t *)&streams->of[flow_slot] + CACHE_LINE, 1);
    const struct mb_stream_step *next = mb_stream_steps_at(steps, steps->oldest + BYTES_AHEAD);
    mb_judged_bytes_prefetch(streams->judged,
                             &streams->of[next->flow_slot].side[next->direction].bytes);
}

void mb_gate_follow_steps(struct mb_gate *gate, const struct mb_pending *packet,
                          struct mb_gate_news *news) {
    struct mb_gate_streams *streams = gate->streams;
    const struct mb_segment_note *note = note_at(streams, streams->notes_left);
    while (streams->steps.oldest != note->steps_end) {
        const struct mb_stream_step *step =
            mb_stream_steps_at(&streams->steps, streams->steps.oldest);
        prefetch_steps(streams);
        if (step->is_apart || packet->is_no_packet || step->flow != packet->flow)
            follow_apart(gate, step);
        else
            follow_own(gate, packet, step, note, news);
        streams->steps.oldest++;
    }
}

/* --- a packet --- */

bool mb_gate_segment_waits(const struct mb_gate *gate, uint64_t number) {
    const struct mb_gate_streams *streams = gate->streams;
    return streams != NULL &&
           note_at(streams, streams->notes_left + (number - gate->oldest))->kind ==
               MB_SEGMENT_WAITS;
}

static struct mb_gate_stream *stream_of_segment(struct mb_gate *gate,
                                                const struct mb_pending *packet,
                                                const struct mb_segment_note *note) {
    if (note->kind == MB_SEGMENT_FREE)
        return known_stream(gate, packet->flow, packet->flow_slot);
    return stream_of(gate, packet->flow, packet->flow_slot);
}

enum mb_gate_admission mb_gate_admit(struct mb_gate *gate, const struct mb_pending *packet,
                                     const struct mb_gate_news *news,
                                     struct mb_gate_carried *carried) {
    struct mb_held_packet it = {.packet = *packet,
                                .note = *note_at(gate->streams, gate->streams->notes_left)};
    if (it.note.kind == MB_SEGMENT_NONE || it.note.length == 0 || news->is_whole)
        return MB_GATE_LEAVES;
    struct mb_gate_stream *stream = stream_of_segment(gate, packet, &it.note);
    if (stream == NULL)
        return MB_GATE_LEAVES;
    struct mb_gate_side *side = &stream->side[packet->direction];
    const bool unseen = mb_gate_takes_unseen(gate, &it.note);
    it.position = position_of(side, it.note.sequence);
    if (it.note.kind == MB_SEGMENT_WAITS)
        return mb_gate_hold(gate, stream, &it);
    if (it.note.kind == MB_SEGMENT_UNSEEN && !unseen)
        return MB_GATE_UNSEEN;
    if (mb_gate_is_fragmented(packet))
        return unseen ? MB_GATE_LEAVES : MB_GATE_UNSEEN;
    return mb_gate_look_up(gate, &it, side, unseen, carried) ? MB_GATE_LEAVES : MB_GATE_UNSEEN;
}

static void take_acknowledgment(struct mb_gate *gate, struct mb_gate_stream *stream,
                                const struct mb_segment_note *note, unsigned direction) {
    struct mb_gate_side *side = &stream->side[1 - direction];
    if (note->has_acknowledged[direction] && side->bytes.first != 0)
        mb_judged_bytes_acknowledge(gate->streams->judged, &side->bytes,
                                    position_of(side, note->acknowledged[direction]));
}

void mb_gate_follow_packet(struct mb_gate *gate, const struct mb_pending *packet,
                           const struct mb_gate_news *news) {
    const struct mb_segment_note *note = note_at(gate->streams, gate->streams->notes_left++);
    struct mb_gate_stream *stream =
        packet->flow != 0 ? known_stream(gate, packet->flow, packet->flow_slot) : NULL;
    if (stream == NULL)
        return;
    if (note->kind == MB_SEGMENT_FREE)
        mb_gate_release_all(gate, stream, &stream->side[packet->direction]);
    for (unsigned direction = 0; direction < 2; direction++) {
        if (news->is_left[direction])
            mb_gate_drop_unseen(gate, stream, &stream->side[direction]);
        if (news->is_given[direction])
            mb_gate_release(gate, stream, &stream->side[direction]);
    }
    if (note->kind != MB_SEGMENT_NONE)
        take_acknowledgment(gate, stream, note, packet->direction);
    if (news->is_over)
        finish_stream(gate, stream, news->is_guarded);
}

/* --- frames --- */

/* The bytes that differ, and one before them where they are odd in number: a payload has headers
 * before it. */
static void note_changes(struct mb_edited_frame *frame, uint32_t at, uint32_t end) {
    while (at < end && frame->before[at] == frame->after[at])
        at++;
    while (at < end && frame->before[end - 1] == frame->after[end - 1])
        end--;
    if (at < end)
        mb_edit_changed(frame, at - (end - at) % 2, end - at + (end - at) % 2);
}

void mb_gate_carry(const struct mb_gate_streams *streams, const struct mb_frame *frame,
                   const uint8_t *bytes, const struct mb_gate_carried *carried, uint8_t *copy) {
    struct mb_decoder decoder = streams->decoder;
    struct mb_checksum_trail trail = {0};
    struct mb_decoded decoded;
    struct mb_edited_frame edited;
    decoder.trail = &trail;
    mb_decode(&decoder, &decoded, frame, bytes, 0);
    mb_edit_begin(&edited, bytes, copy);
    (void)mb_judged_bytes_read(streams->judged, carried->side, &carried->range, copy + carried->at);
    note_changes(&edited, carried->at, carried->at + carried->range.length);
    mb_repair_checksums(&edited, &trail);
}
