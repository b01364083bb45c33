/*
 * Reading to the end of a log whose worker is gone (layout.h, "Death"): nothing that the worker
 * writes moves any more, so the head is where it ends.
 *
 * Positions of NFs go on meaning what they mean, and everybody comes to the head. Two things would
 * be waited for in vain: the rest of a batch, and an NF that died without the worker's having said
 * so. What editors left with packets that the worker had not come to is never applied: those behind
 * see them as received. The last batch ends at the head (reader.c); who is gone is said here, from
 * outside.
 */
#include "microbox/bus/atomic.h"
#include "microbox/bus/reader_private.h"

void mb_reader_worker_is_gone(struct mb_reader *reader) {
    reader->worker_is_gone = true;
}

/* It comes no further than it has come, so all who wait for it find the same. */
static void note_gone(const struct mb_reader *reader, struct mb_peer *peer) {
    const uint64_t head = mb_load_sequential(&reader->log->head);
    uint64_t cursor;
    peer->left_at = mb_peer_passed(reader, peer, head, &cursor);
}

void mb_reader_nf_is_gone(struct mb_reader *reader, uint32_t index) {
    if (!reader->worker_is_gone || reader->log == NULL)
        return;
    for (uint32_t i = 0; i < reader->peers; i++)
        if (reader->peer[i].index == index && reader->peer[i].left_at == MB_NEVER)
            note_gone(reader, &reader->peer[i]);
}

bool mb_reader_is_at_end(const struct mb_reader *reader) {
    if (!reader->worker_is_gone || reader->delivered > 0 || mb_reader_is_inside_packet(reader) ||
        mb_skipping_has_lost(reader))
        return false;
    return reader->next >= mb_load_sequential(&reader->log->head) ||
           reader->next >= mb_load_acquire(&reader->log->due[reader->nf]);
}
