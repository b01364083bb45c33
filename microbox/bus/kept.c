/*
 * An NF that takes batches publishes at their ends, and the cause of what it publishes may be the
 * batch's first entry. A reader comes to what was published when it has read the batch, but its
 * poll may end in the middle of one. Were its cursor to move there, the frame of that first entry
 * could be used again, and the event that is still to come would show bytes of another packet.
 *
 * So such a reader's cursor moves from batch to batch of those that it reads. It holds no more than
 * if it took batches itself, so what is said in batch.c of who waits for whom holds for it too. The
 * exception: a reader whose own log is full moves on (publish.c), since those behind it, who are to
 * make room, read no further than its cursor.
 */
#include "microbox/bus/atomic.h"
#include "microbox/bus/reader_private.h"

/* The end of the last batch that was read whole. Batches end at the first packet boundary at or
 * past multiples of `cut`; some end earlier, and then this is too little, which only keeps more. */
static uint64_t last_batch_end(const struct mb_reader *reader, uint64_t cut) {
    const uint64_t multiple = reader->resting / cut * cut;
    if (multiple <= reader->cursor)
        return reader->cursor;
    const struct mb_window read = {.end = reader->resting, .whole = true};
    return mb_reader_boundary(reader, multiple, &read);
}

/* Where nothing before the head is for this NF, no publisher has anything for it either: whatever
 * names them names it (layout.h). */
static bool has_read_all(const struct mb_reader *reader) {
    return mb_load_acquire(&reader->log->due[reader->nf]) <= reader->resting;
}

uint64_t mb_reader_not_kept(const struct mb_reader *reader) {
    uint64_t position = reader->resting;
    if (!reader->reads_batches || has_read_all(reader))
        return position;
    for (uint32_t i = 0; i < reader->peers; i++) {
        const struct mb_peer *peer = &reader->peer[i];
        /* A publisher's cursor stands at the end of a batch. */
        if (peer->cut == 0 || peer->cursor <= reader->resting)
            continue;
        const uint64_t end = last_batch_end(reader, peer->cut);
        if (end < position)
            position = end;
    }
    return position;
}
