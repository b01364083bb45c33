/*
 * Packets that NFs edit: records are taken when their NF has passed the packet, and become versions
 * of its frame.
 *
 * An NF's memory is not to be trusted: a record is copied, word by word, before it is checked; the
 * bytes that it replaces are copied into the version, once, and never looked at where they lie.
 */
#include "microbox/stack/gate_private.h"
#include "microbox/stack/gate_streams.h"

#include "microbox/bus/atomic.h"
#include "microbox/bus/edit.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 8 };

/* --- making --- */

static size_t owners_size(uint64_t slots) {
    return slots * sizeof(uint8_t);
}

static size_t remade_size(void) {
    return sizeof(struct mb_version) + MB_VERSION_FRAME_MAX + MB_EDIT_GROWS_MAX;
}

void mb_gate_add_memory_of_edits(const struct mb_gate_config *config, struct mb_memory *memory) {
    memory->edited_frames += owners_size(config->log->slot_mask + 1) + remade_size();
}

bool mb_gate_accept_edits(struct mb_gate *gate, const struct mb_decoder *decoder,
                          const struct mb_versions_shape *shape, uint8_t *area) {
    gate->decoder = *decoder;
    if (gate->owns_frame == NULL)
        gate->owns_frame = calloc(1, owners_size(gate->slot_mask + 1));
    if (gate->versions == NULL)
        gate->versions = mb_versions_create(shape, area, gate->config.log);
    if (gate->remade == NULL)
        gate->remade = malloc(remade_size());
    return gate->owns_frame != NULL && gate->versions != NULL && gate->remade != NULL;
}

void mb_gate_watch_edits(struct mb_gate *gate, uint32_t index, const struct mb_nf_area *parts,
                         const struct mb_nf_geometry *geometry) {
    struct mb_judge *judge = &gate->judge[index];
    judge->editor = geometry->editor;
    judge->edits = parts->edits;
    judge->replacements = parts->replacements;
    judge->replacements_size = geometry->edit_bytes;
    judge->next = gate->newest;
    gate->editors |= UINT64_C(1) << index;
}

bool mb_gate_lacks_room(const struct mb_gate *gate) {
    return gate->is_held_up;
}

uint64_t mb_gate_unsound_edits(const struct mb_gate *gate, uint32_t index) {
    return gate->judge[index].unsound_edits;
}

const uint64_t *mb_gate_edit_reasons(const struct mb_gate *gate) {
    return gate->edit_reasons;
}

void mb_gate_refuse_edit(struct mb_gate *gate, unsigned index, enum mb_reason reason) {
    gate->counters.edits_refused++;
    gate->by_nf[index].edits_refused++;
    gate->edit_reasons[reason]++;
    gate->judge[index].unsound_edits += reason == MB_REASON_EDIT_UNSOUND;
}

/* --- taking --- */

/* Each foreign word is read once. */
static struct mb_edit copy_of(const struct mb_edit *foreign) {
    enum { WORDS = sizeof *foreign / sizeof(uint64_t) };
    uint64_t words[WORDS];
    for (unsigned i = 0; i < WORDS; i++)
        words[i] = mb_load_relaxed((const uint64_t *)foreign + i);
    struct mb_edit copy;
    memcpy(&copy, words, sizeof copy);
    return copy;
}

static struct mb_replacement header_of(const uint8_t *foreign) {
    const uint64_t word = mb_load_relaxed((const uint64_t *)(const void *)foreign);
    struct mb_replacement copy;
    memcpy(&copy, &word, sizeof copy);
    return copy;
}

static uint64_t aligned(uint64_t length) {
    return (length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* One of those that lie in `left` bytes of the ring. Returns the bytes that it takes there; 0: it
 * is not sound, or too much. */
static uint64_t gather_replacement(struct mb_gathered_edits *gathered, const uint8_t *foreign,
                                   uint64_t left) {
    const struct mb_replacement replacement = header_of(foreign);
    const uint64_t size = sizeof replacement + aligned(replacement.length);
    gathered->payload_bytes += replacement.length;
    if (size > left)
        gathered->reason = MB_REASON_EDIT_UNSOUND;
    else if (gathered->payload_count == MB_GATHERED_REPLACEMENTS_MAX ||
             gathered->payload_bytes > MB_GATHERED_BYTES_MAX)
        gathered->reason = MB_REASON_EDIT_TOO_MUCH;
    if (gathered->reason != MB_REASON_NONE)
        return 0;
    gathered->payload[gathered->payload_count++] = (struct mb_new_bytes){
        .at = replacement.at,
        .length = replacement.length,
        .bytes = foreign + sizeof replacement,
    };
    return size;
}

static void gather_replacements(struct mb_gathered_edits *gathered, const struct mb_judge *judge,
                                const struct mb_edit *record) {
    uint64_t left = record->replacements_size;
    if (left == 0)
        return;
    const uint64_t at = record->replacements & (judge->replacements_size - 1);
    if (judge->replacements == NULL || at % ALIGNMENT != 0 || left % ALIGNMENT != 0 ||
        left > judge->replacements_size - at) {
        gathered->reason = MB_REASON_EDIT_UNSOUND;
        return;
    }
    const uint8_t *foreign = judge->replacements + at;
    while (left != 0) {
        const uint64_t size = gather_replacement(gathered, foreign, left);
        if (size == 0)
            return;
        foreign += size;
        left -= size;
    }
}

bool mb_gate_left_edit(const struct mb_gate *gate, const uint64_t *named, unsigned index,
                       uint64_t sequence) {
    const uint64_t slot = sequence & gate->slot_mask;
    return sequence < gate->config.log->page->gone_at[index] && named[slot] >> index & 1 &&
           mb_load_byte_relaxed(&gate->judge[index].verdicts[slot]) & MB_LEFT_EDIT;
}

void mb_gate_gather_edits(const struct mb_gate *gate, unsigned index, uint64_t packet,
                          uint64_t sequence, struct mb_gathered_edits *gathered) {
    const struct mb_judge *judge = &gate->judge[index];
    const struct mb_edit record = copy_of(&judge->edits[sequence & gate->slot_mask]);
    gathered->is_any = true;
    if (record.packet != packet || !mb_edit_is_sound(&record))
        gathered->reason = MB_REASON_EDIT_UNSOUND;
    else if (!mb_edit_merge(&gathered->headers, &record))
        gathered->reason = MB_REASON_EDIT_TOO_MUCH;
    if (gathered->reason == MB_REASON_NONE)
        gather_replacements(gathered, judge, &record);
}

/* What NF `index` left with the packet's entries. Where the NF died, what it had not passed counts
 * for nothing. An event whose bytes came with other packets is told of the packet, and no part of
 * it: that is refused alone, but for bytes of streams (gate_stream_edits.c). */
static void gather(struct mb_gate *gate, unsigned index, const struct mb_pending *packet,
                   struct mb_gathered_edits *gathered) {
    for (uint64_t sequence = packet->first; sequence < packet->end; sequence++) {
        const uint8_t owner = gate->owns_frame[sequence & gate->slot_mask];
        if (!mb_gate_left_edit(gate, gate->named, index, sequence))
            continue;
        gathered->others += owner == MB_FRAME_OF_OTHERS;
        if (owner != MB_FRAME_OF_PACKET)
            continue;
        mb_gate_gather_edits(gate, index, packet->number, sequence, gathered);
        if (gathered->reason != MB_REASON_NONE)
            return;
    }
}

/* --- applying --- */

static void show(struct mb_gate *gate, uint32_t editor, const struct mb_pending *packet) {
    for (uint64_t sequence = packet->first; sequence < packet->end; sequence++)
        if (gate->owns_frame[sequence & gate->slot_mask] == MB_FRAME_OF_PACKET)
            mb_versions_show(gate->versions, editor, packet->version, sequence);
}

bool mb_gate_make_version(struct mb_gate *gate, unsigned index, struct mb_pending *packet,
                          uint64_t number, const struct mb_packet_edit *edit) {
    const uint32_t editor = gate->judge[index].editor;
    const struct mb_frame frame = mb_gate_frame_as_edited(packet);
    if (frame.length > MB_VERSION_FRAME_MAX) {
        mb_gate_refuse_edit(gate, index, MB_REASON_EDIT_TOO_MUCH);
        return true;
    }
    struct mb_version *version =
        mb_versions_room(gate->versions, editor, frame.length + MB_EDIT_GROWS_MAX, gate->oldest);
    if (version == NULL) {
        gate->is_held_up = true;
        return false;
    }
    struct mb_edited_packet edited;
    const enum mb_reason reason =
        mb_packet_edit(&gate->decoder, &frame, mb_gate_bytes_as_edited(gate, packet), edit,
                       (uint8_t *)(version + 1), &edited);
    if (reason != MB_REASON_NONE) {
        mb_gate_refuse_edit(gate, index, reason);
        return true;
    }
    const struct mb_version *before = packet->version;
    struct mb_edit said = before != NULL ? before->said : (struct mb_edit){0};
    if (edit->headers != NULL && !mb_edit_merge(&said, edit->headers)) {
        mb_gate_refuse_edit(gate, index, MB_REASON_EDIT_TOO_MUCH);
        return true;
    }
    *version = (struct mb_version){
        .original = packet->frame.offset,
        .until = packet->end,
        .number = number,
        .length = edited.length,
        .wire_length = edited.wire_length,
        .shift = (before != NULL ? before->shift : 0) + edited.shift,
        .said = said,
    };
    mb_versions_keep(gate->versions, editor, version);
    packet->version = version;
    show(gate, editor, packet);
    gate->counters.edits++;
    gate->by_nf[index].edits++;
    return true;
}

/* What is held longer than versions are is made again of the frame as received: its headers. What
 * its bytes are is the stream's to say. */
const struct mb_version *mb_gate_remake_version(struct mb_gate *gate, const struct mb_frame *frame,
                                                const struct mb_edit *said) {
    struct mb_version *version = gate->remade;
    struct mb_edited_packet edited;
    const struct mb_packet_edit edit = {.headers = said};
    const uint8_t *bytes = gate->config.pool + frame->offset;
    if (mb_packet_edit(&gate->decoder, frame, bytes, &edit, (uint8_t *)(version + 1), &edited) !=
        MB_REASON_NONE)
        return NULL;
    *version = (struct mb_version){
        .original = frame->offset,
        .length = edited.length,
        .wire_length = edited.wire_length,
        .shift = edited.shift,
        .said = *said,
    };
    return version;
}

/* Fragments that wait for their datagram are kept by their place in the pool, as received. */
static bool is_kept(const struct mb_gate *gate, const struct mb_pending *packet) {
    return gate->fragments != NULL && packet->datagrams[0].slot != 0;
}

/* False: there is no room. */
static bool apply(struct mb_gate *gate, unsigned index, struct mb_pending *packet,
                  uint64_t number) {
    if (gate->streams != NULL && !mb_gate_edit_steps(gate, index, packet, number))
        return false;
    struct mb_gathered_edits gathered;
    mb_gate_gather_nothing(&gathered);
    gather(gate, index, packet, &gathered);
    if (gathered.is_any && gathered.reason == MB_REASON_NONE && is_kept(gate, packet))
        gathered.reason = MB_REASON_EDIT_FRAGMENT;
    if (gathered.payload_count != 0 && mb_gate_segment_waits(gate, number))
        gathered.reason = MB_REASON_EDIT_STREAM;
    if (gathered.is_any && gathered.reason == MB_REASON_NONE) {
        const struct mb_packet_edit edit = {
            .headers = &gathered.headers,
            .payload = gathered.payload,
            .payload_count = gathered.payload_count,
        };
        if (!mb_gate_make_version(gate, index, packet, number, &edit))
            return false;
    } else if (gathered.is_any) {
        mb_gate_refuse_edit(gate, index, gathered.reason);
    }
    for (; gathered.others != 0; gathered.others--)
        mb_gate_refuse_edit(gate, index, MB_REASON_EDIT_OTHER_FRAME);
    return true;
}

static struct mb_pending *waiting(struct mb_gate *gate, uint64_t number) {
    return &gate->pending[number & (gate->config.capacity - 1)];
}

static uint64_t smaller(uint64_t one, uint64_t other) {
    return one < other ? one : other;
}

/* Of one editor, up to `limit`. Returns how far all is applied. */
static uint64_t apply_up_to(struct mb_gate *gate, unsigned index, uint64_t limit) {
    struct mb_judge *judge = &gate->judge[index];
    if (judge->next < gate->oldest) /* what left without it did not name it */
        judge->next = gate->oldest;
    for (; judge->next != gate->newest; judge->next++) {
        struct mb_pending *packet = waiting(gate, judge->next);
        if (packet->until > limit)
            return smaller(limit, packet->first);
        if (packet->judges >> index & 1 && !apply(gate, index, packet, judge->next))
            return packet->first;
    }
    return limit;
}

/* `edited` in docs/bus-protocol.md. */
void mb_gate_apply_edits(struct mb_gate *gate) {
    uint64_t limit = UINT64_MAX;
    gate->is_held_up = false;
    for (uint64_t rest = gate->editors; rest; rest &= rest - 1) {
        const unsigned index = (unsigned)__builtin_ctzll(rest);
        struct mb_judge *judge = &gate->judge[index];
        limit = apply_up_to(gate, index, smaller(limit, judge->passed));
        mb_log_set_applied(gate->config.log, index, limit);
        gate->position[index] = limit;
    }
}
