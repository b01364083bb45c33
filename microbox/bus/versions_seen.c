/*
 * Frames as the editors before this NF left them (version.h).
 */
#include "microbox/bus/atomic.h"
#include "microbox/bus/reader_private.h"

#include <errno.h>

int mb_reader_use_versions(struct mb_reader *reader, const struct mb_frame_pool *pool,
                           const struct mb_versions_shape *shape) {
    if (shape->log_slots != reader->slot_mask + 1 ||
        mb_versions_size(shape) != pool->size - pool->versions)
        return -EINVAL;
    reader->versions_shape = *shape;
    reader->versions = pool->bytes + pool->versions;
    reader->versions_offset = pool->versions;
    return 0;
}

bool mb_reader_sees_edits(const struct mb_reader *reader) {
    return reader->sees_edits && reader->versions != NULL;
}

uint64_t mb_version_word_of(const struct mb_reader *reader, const struct mb_peer *peer,
                            uint64_t sequence) {
    const uint64_t slot = sequence & reader->slot_mask;
    if (peer->version_copies != NULL)
        return peer->version_copies[slot];
    const uint64_t table = mb_versions_table(&reader->versions_shape, peer->editor);
    return mb_load_relaxed((const uint64_t *)(reader->versions + table) + slot);
}

static bool is_seen(const struct mb_reader *reader, const struct mb_peer *peer) {
    return peer->barrier && peer->editor != 0 && peer->editor <= reader->versions_shape.editors;
}

/* `edited` in docs/bus-protocol.md: what is read here was written before applied[] went past the
 * entry, which was read before the entry was delivered. */
uint64_t mb_reader_version(const struct mb_reader *reader, uint64_t sequence) {
    const struct mb_versions_shape *shape = &reader->versions_shape;
    for (uint32_t i = reader->peers; i > 0; i--) {
        const struct mb_peer *peer = &reader->peer[i - 1];
        if (!is_seen(reader, peer))
            continue;
        const uint64_t word = mb_version_word_of(reader, peer, sequence);
        const uint64_t at = mb_version_at(shape, sequence, word);
        if (at < shape->ring_bytes)
            return reader->versions_offset + mb_versions_ring(shape, peer->editor) + at;
    }
    return MB_NEVER;
}

static bool lies_at(const struct mb_reader *reader, const struct mb_delivery *delivery) {
    if (delivery->nf_entry == NULL)
        return true;
    return !delivery->nf_entry->provenance.from_batch &&
           mb_reader_entry(reader, delivery->position)->frame == delivery->entry->frame;
}

static struct mb_seen_frame as_received(const struct mb_entry *entry) {
    return (struct mb_seen_frame){.frame = entry->frame,
                                  .frame_length = entry->frame_length,
                                  .data_offset = entry->data_offset};
}

/* What another NF says of its event's range need not be so. */
static bool holds(const struct mb_version *version, const struct mb_entry *entry) {
    const int64_t first = (int64_t)entry->data_offset + version->shift;
    return version->original == entry->frame && first >= 0 &&
           first + entry->data_length <= (int64_t)version->length;
}

struct mb_seen_frame mb_reader_frame(const struct mb_reader *reader,
                                     const struct mb_delivery *delivery) {
    const struct mb_entry *entry = delivery->entry;
    if (!mb_reader_sees_edits(reader) || !lies_at(reader, delivery))
        return as_received(entry);
    const uint64_t at = mb_reader_version(reader, delivery->position);
    if (at == MB_NEVER)
        return as_received(entry);
    const struct mb_version *version =
        (const struct mb_version *)(reader->versions + (at - reader->versions_offset));
    if (!holds(version, entry))
        return as_received(entry);
    return (struct mb_seen_frame){.frame = at + sizeof *version,
                                  .frame_length = version->length,
                                  .data_offset =
                                      (uint32_t)((int64_t)entry->data_offset + version->shift),
                                  .is_edited = true};
}
