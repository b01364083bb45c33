/*
 * Where a batch ends: at the first packet boundary at or past a multiple of `cut`, or earlier where
 * the entries before it say so. It depends on positions alone, never on timing.
 *
 * A reader that waits for its batch to be complete must not wait for a publisher that waits for it.
 * A publisher whose log is full has at least half of it in entries from before its packet in hand,
 * so a batch also ends with the packet of each entry that completes a quarter of the log, or of the
 * data ring, of any NF before this one.
 *
 * The end of the input ends a batch too: nothing comes after it.
 */
#include "microbox/bus/atomic.h"
#include "microbox/bus/reader_private.h"
#include "microbox/events/event_types.h"

enum { PARTS = 4 };

uint64_t mb_reader_boundary(const struct mb_reader *reader, uint64_t position,
                            const struct mb_window *window) {
    for (uint64_t last = position - 1; last < window->end; last++)
        if (mb_reader_entry(reader, last)->flags & MB_LAST)
            return last + 1;
    return window->whole && position <= window->end ? window->end : MB_NEVER;
}

uint64_t mb_reader_cut_after(const struct mb_reader *reader) {
    return (reader->next / reader->cut + 1) * reader->cut;
}

static void look_for_end_of_input(struct mb_reader *reader, uint64_t end) {
    if (reader->scanned < reader->next)
        reader->scanned = reader->next;
    for (; reader->scanned < end; reader->scanned++)
        if (mb_reader_entry(reader, reader->scanned)->type == MB_TYPE_SYSTEM_END_OF_INPUT)
            reader->input_end = reader->scanned;
}

/* True where the entry completes a quarter of its log or of its data ring. */
static bool completes_part(struct mb_peer *peer, const struct mb_nf_entry *slot) {
    uint64_t used = mb_load_relaxed(&slot->provenance.blob);
    if (mb_load_byte_relaxed(&slot->entry.flags) & MB_IN_DATA_RING)
        used += mb_load_half_relaxed(&slot->provenance.blob_length);
    uint64_t before = peer->scanned_ring;
    uint64_t ring_part = peer->geometry.ring_bytes / PARTS;
    uint64_t log_part = peer->geometry.own_slots / PARTS;
    peer->scanned_ring = used;
    return used / ring_part != before / ring_part || (peer->scanned + 1) % log_part == 0;
}

static void look_for_part(struct mb_reader *reader, struct mb_peer *peer, uint64_t end) {
    if (peer->batch_end_at != MB_NEVER && peer->batch_end_at < reader->next)
        peer->batch_end_at = MB_NEVER;
    while (peer->batch_end_at == MB_NEVER && peer->scanned < peer->visible) {
        const struct mb_nf_entry *slot =
            &peer->slots[peer->scanned & (peer->geometry.own_slots - 1)];
        uint64_t at = mb_load_relaxed(&slot->provenance.at);
        if (at >= end)
            return;
        if (completes_part(peer, slot) && at >= reader->next)
            peer->batch_end_at = at;
        peer->scanned++;
    }
}

uint64_t mb_reader_batch_end(struct mb_reader *reader, const struct mb_window *window) {
    uint64_t end = mb_reader_cut_after(reader);
    look_for_end_of_input(reader, window->end);
    if (reader->input_end >= reader->next && reader->input_end < end)
        end = reader->input_end + 1;
    for (uint32_t i = 0; i < reader->peers; i++) {
        struct mb_peer *peer = &reader->peer[i];
        if (!peer->barrier || peer->slots == NULL || peer->broken)
            continue;
        look_for_part(reader, peer, window->end);
        if (peer->batch_end_at < end)
            end = peer->batch_end_at + 1;
    }
    return end <= window->end ? mb_reader_boundary(reader, end, window) : MB_NEVER;
}
