/*
 * Where a batch ends: at the first packet boundary at or past a multiple of `cut`, or earlier where
 * the entries before it say so. It depends on positions alone, never on timing.
 *
 * A reader that waits for its batch to be complete must not wait for a publisher that waits for it.
 * A publisher whose log is full has at least half of it in entries from before its packet in hand,
 * so a batch also ends with the packet of each entry that completes a quarter of the log, or of the
 * data ring, of any NF before this one.
 *
 * An entry with MB_ENDS_BATCH does so too: the end of the input, after which nothing comes, and
 * checkpoints, since packets that wait for this reader's verdicts need not be about anything that
 * it reads.
 */
#include "microbox/bus/atomic.h"
#include "microbox/bus/reader_private.h"

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

/* The first entry from `next` on that ends a batch. */
static void look_for_mark(struct mb_reader *reader, uint64_t end) {
    if (reader->mark != MB_NEVER && reader->mark < reader->next)
        reader->mark = MB_NEVER;
    if (reader->scanned < reader->next)
        reader->scanned = reader->next;
    for (; reader->mark == MB_NEVER && reader->scanned < end; reader->scanned++)
        if (mb_reader_entry(reader, reader->scanned)->flags & MB_ENDS_BATCH)
            reader->mark = reader->scanned;
}

static const struct mb_nf_entry *next_to_scan(const struct mb_peer *peer) {
    return &peer->slots[peer->scanned & (peer->geometry.own_slots - 1)];
}

static bool ends_batches(const struct mb_peer *peer) {
    return peer->barrier && peer->slots != NULL && !peer->broken;
}

static void look_for_part(const struct mb_reader *reader, struct mb_peer *peer, uint64_t end) {
    if (peer->batch_end_at != MB_NEVER && peer->batch_end_at < reader->next)
        peer->batch_end_at = MB_NEVER;
    while (peer->batch_end_at == MB_NEVER && peer->scanned < peer->visible) {
        const struct mb_nf_entry *slot = next_to_scan(peer);
        uint64_t at = mb_load_acquire(&slot->provenance.at);
        bool ends_part = mb_load_byte_acquire(&slot->provenance.ends_part) != 0;
        uint64_t given_up = mb_nf_log_given_up(reader, peer);
        if (given_up > peer->scanned) {
            peer->scanned = given_up;
            continue;
        }
        if (at >= end)
            return;
        if (at >= reader->next && ends_part)
            peer->batch_end_at = at;
        peer->scanned++;
    }
}

/* The batch ends at `end`: what was published in it may be overwritten once it is read. */
static void skip_to(struct mb_peer *peer, uint64_t end) {
    while (peer->scanned < peer->visible &&
           mb_load_relaxed(&next_to_scan(peer)->provenance.at) < end)
        peer->scanned++;
}

uint64_t mb_reader_batch_end(struct mb_reader *reader, const struct mb_window *window) {
    uint64_t end = mb_reader_cut_after(reader);
    look_for_mark(reader, window->end);
    if (reader->mark < end)
        end = reader->mark + 1;
    for (uint32_t i = 0; i < reader->peers; i++) {
        struct mb_peer *peer = &reader->peer[i];
        if (!ends_batches(peer))
            continue;
        look_for_part(reader, peer, window->end);
        if (peer->batch_end_at < end)
            end = peer->batch_end_at + 1;
    }
    if (end > window->end)
        return MB_NEVER;
    end = mb_reader_boundary(reader, end, window);
    for (uint32_t i = 0; i < reader->peers && end != MB_NEVER; i++)
        if (ends_batches(&reader->peer[i]))
            skip_to(&reader->peer[i], end);
    return end;
}
