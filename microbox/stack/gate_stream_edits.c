/*
 * Bytes of streams that NFs edit where they came with other packets: those of segments that were
 * held, given out with the packet that closed the hole, or as time passed. The frame that they lie
 * in gets a version for those behind the editor, and the stream gets the version's bytes
 * (gate_streams.c). Of bytes in the packet's own frame the packet's version has it all
 * (gate_edits.c).
 */
#include "microbox/stack/gate_streams.h"

enum { SHARE = 4 }; /* of a ring of versions: one packet's steps may have one part in so many */

static bool has_headers(const struct mb_edit *headers) {
    return headers->fields != 0 || headers->tags_popped != 0 || headers->tags_pushed != 0;
}

static bool are_of_step(const struct mb_stream_step *step,
                        const struct mb_gathered_edits *gathered) {
    const uint64_t begin = step->position - step->frame;
    for (uint32_t i = 0; i < gathered->payload_count; i++)
        if (gathered->payload[i].at < begin ||
            gathered->payload[i].at + (uint64_t)gathered->payload[i].length >
                begin + step->captured)
            return false;
    return true;
}

static void gather(const struct mb_gate *gate, unsigned index, const struct mb_stream_step *step,
                   struct mb_gathered_edits *gathered) {
    const uint64_t *named = step->is_apart ? gate->streams->named_apart : gate->named;
    mb_gate_gather_nothing(gathered);
    for (uint64_t entry = step->first; entry < step->end; entry++)
        if (gathered->reason == MB_REASON_NONE && mb_gate_left_edit(gate, named, index, entry))
            mb_gate_gather_edits(gate, index, step->packet, entry, gathered);
    if (gathered->reason != MB_REASON_NONE)
        return;
    if (has_headers(&gathered->headers))
        gathered->reason = MB_REASON_EDIT_OTHER_FRAME;
    else if (step->is_passing)
        gathered->reason = MB_REASON_EDIT_FRAGMENT;
    else if (!are_of_step(step, gathered))
        gathered->reason = MB_REASON_EDIT_UNSOUND;
}

/* The frame, or its last version. */
static const uint8_t *bytes_of(const struct mb_gate *gate, const struct mb_stream_step *step) {
    return step->version != NULL ? mb_version_bytes(step->version)
                                 : gate->config.pool + step->frame;
}

static void keep(struct mb_gate *gate, unsigned index, struct mb_stream_step *step,
                 const struct mb_version *version) {
    const uint32_t editor = gate->judge[index].editor;
    mb_versions_keep(gate->versions, editor, version);
    step->version = version;
    for (uint64_t entry = step->first; entry < step->end; entry++)
        mb_versions_show(gate->versions, editor, version, entry);
    gate->counters.edits++;
    gate->by_nf[index].edits++;
}

/* False: there is no room. */
static bool make_version(struct mb_gate *gate, unsigned index, const struct mb_pending *packet,
                         struct mb_stream_step *step, uint64_t number,
                         const struct mb_packet_edit *edit) {
    const struct mb_frame frame = {
        .offset = step->frame,
        .length = step->frame_length,
        .wire_length = step->frame_length,
        .link_type = packet->frame.link_type,
    };
    struct mb_version *version = mb_versions_room(gate->versions, gate->judge[index].editor,
                                                  frame.length + MB_EDIT_GROWS_MAX, gate->oldest);
    if (version == NULL) {
        gate->is_held_up = true;
        return false;
    }
    struct mb_edited_packet edited;
    const enum mb_reason reason = mb_packet_edit(&gate->decoder, &frame, bytes_of(gate, step), edit,
                                                 (uint8_t *)(version + 1), &edited);
    if (reason != MB_REASON_NONE) {
        mb_gate_refuse_edit(gate, index, reason);
        return true;
    }
    *version = (struct mb_version){
        .original = step->frame,
        .until = packet->until,
        .number = number,
        .length = edited.length,
        .wire_length = edited.wire_length,
    };
    keep(gate, index, step, version);
    return true;
}

static bool edit_step(struct mb_gate *gate, unsigned index, const struct mb_pending *packet,
                      struct mb_stream_step *step, uint64_t number, uint64_t *left) {
    struct mb_gathered_edits gathered;
    gather(gate, index, step, &gathered);
    if (!gathered.is_any)
        return true;
    if (gathered.reason == MB_REASON_NONE &&
        (step->frame_length > MB_VERSION_FRAME_MAX || step->frame_length > *left))
        gathered.reason = MB_REASON_EDIT_TOO_MUCH;
    if (gathered.reason != MB_REASON_NONE) {
        mb_gate_refuse_edit(gate, index, gathered.reason);
        return true;
    }
    *left -= step->frame_length;
    const struct mb_packet_edit edit = {
        .payload = gathered.payload,
        .payload_count = gathered.payload_count,
    };
    return make_version(gate, index, packet, step, number, &edit);
}

static bool has_other_bytes(const struct mb_stream_step *step, const struct mb_pending *packet) {
    return step->kind == MB_STEP_BYTES && (step->is_apart || step->frame != packet->frame.offset);
}

bool mb_gate_edit_steps(struct mb_gate *gate, unsigned index, const struct mb_pending *packet,
                        uint64_t number) {
    uint64_t left = mb_versions_ring_bytes(gate->versions) / SHARE;
    uint64_t first;
    uint64_t end;
    mb_gate_steps_of(gate, number, &first, &end);
    for (; first != end; first++) {
        struct mb_stream_step *step = mb_stream_steps_at(&gate->streams->steps, first);
        const uint64_t bit = UINT64_C(1) << index;
        if (!has_other_bytes(step, packet))
            continue;
        if (step->edited_by & bit) {
            left -= step->frame_length < left ? step->frame_length : left;
            continue;
        }
        if (!edit_step(gate, index, packet, step, number, &left))
            return false;
        step->edited_by |= bit; /* what is tried again goes on behind it */
    }
    return true;
}
