/*
 * Reading what other NFs published. Their memory is not to be trusted: each word is read once, and
 * an entry is copied before it is checked, so that it is the checked one that is delivered.
 */
#include "microbox/bus/atomic.h"
#include "microbox/bus/reader_private.h"

#include <stddef.h>

enum { WORDS_OF_ENTRY = sizeof(struct mb_nf_entry) / sizeof(uint64_t) };

static void declare_broken(struct mb_reader *reader, struct mb_peer *peer) {
    peer->broken = true;
    peer->next_at = MB_NEVER;
    peer->batch_end_at = MB_NEVER;
    reader->broken = (int)peer->index;
}

static const struct mb_nf_entry *slot_of(const struct mb_peer *peer, uint64_t sequence) {
    return &peer->slots[sequence & (peer->geometry.own_slots - 1)];
}

uint64_t mb_nf_log_given_up(const struct mb_reader *reader, const struct mb_peer *peer) {
    if (reader->instances <= 1)
        return 0;
    uint64_t tail = mb_load_acquire(&peer->page->log_tail);
    return tail < peer->visible ? tail : peer->visible;
}

/* Returns true where something that it would have taken next is gone. */
static bool skip_given_up(const struct mb_reader *reader, struct mb_peer *peer) {
    uint64_t tail = mb_nf_log_given_up(reader, peer);
    if (tail <= peer->taken)
        return false;
    peer->taken = tail;
    peer->next_at = MB_NEVER;
    return true;
}

/* `at` of the entry that comes next. It may not run backwards. */
static void look_at_next(struct mb_reader *reader, struct mb_peer *peer) {
    uint64_t at;
    peer->next_at = MB_NEVER;
    if (peer->broken)
        return;
    do {
        if (peer->taken == peer->visible)
            return;
        at = mb_load_acquire(&slot_of(peer, peer->taken)->provenance.at);
    } while (skip_given_up(reader, peer));
    if (at < peer->taken_at || at == MB_NEVER) {
        declare_broken(reader, peer);
        return;
    }
    peer->next_at = at;
}

/* Entries that are not merged matter for the ends of batches alone. */
static void look_for_batches(struct mb_reader *reader, struct mb_peer *peer, uint64_t head) {
    if (reader->cut == 0 || reader->skipping != NULL) /* nobody waits for who skips */
        return;
    peer->visible = head;
    if (head - peer->scanned > peer->geometry.own_slots)
        peer->scanned = head - peer->geometry.own_slots;
}

/* Behind the load of its cursor: `causal` in docs/bus-protocol.md. */
void mb_nf_log_look(struct mb_reader *reader, struct mb_peer *peer) {
    if (peer->slots == NULL || peer->broken)
        return;
    uint64_t head = mb_load_acquire(&peer->page->log_head);
    if (!peer->publishes) {
        look_for_batches(reader, peer, head);
        return;
    }
    if (head < peer->visible) {
        declare_broken(reader, peer);
        return;
    }
    peer->visible = head;
    skip_given_up(reader, peer);
    if (head - peer->taken > peer->geometry.own_slots) {
        declare_broken(reader, peer);
        return;
    }
    if (peer->next_at == MB_NEVER)
        look_at_next(reader, peer);
}

void mb_nf_log_find_next(struct mb_reader *reader) {
    reader->merge_next = MB_NEVER;
    for (uint32_t i = 0; i < reader->peers; i++) {
        const struct mb_peer *peer = &reader->peer[i];
        if (peer->publishes && peer->next_at < reader->merge_next)
            reader->merge_next = peer->next_at;
    }
}

static struct mb_peer *peer_of_next(struct mb_reader *reader) {
    uint32_t i = 0;
    while (!reader->peer[i].publishes || reader->peer[i].next_at != reader->merge_next)
        i++;
    return &reader->peer[i];
}

static void copy_entry(struct mb_nf_entry *copy, const struct mb_nf_entry *slot) {
    uint64_t *to = (uint64_t *)copy;
    const uint64_t *from = (const uint64_t *)slot;
#pragma GCC unroll 32
    for (unsigned i = 0; i < WORDS_OF_ENTRY; i++)
        to[i] = mb_load_acquire(&from[i]);
}

static bool lies_in_ring(const struct mb_peer *peer, const struct mb_provenance *provenance) {
    uint64_t ring_bytes = peer->geometry.ring_bytes;
    uint64_t offset = provenance->blob & (ring_bytes - 1);
    return provenance->blob_length <= ring_bytes / 4 &&
           offset + provenance->blob_length <= ring_bytes;
}

static bool is_sound(const struct mb_peer *peer, const struct mb_nf_entry *copy) {
    const struct mb_provenance *provenance = &copy->provenance;
    if (copy->entry.sequence != peer->taken || provenance->at != peer->next_at)
        return false;
    if (provenance->publisher != peer->index || provenance->cause_log > MB_NFS_MAX)
        return false;
    if (copy->entry.type >= MB_TYPES_MAX)
        return false;
    if (copy->entry.flags & MB_IN_DATA_RING)
        return lies_in_ring(peer, provenance);
    return provenance->blob_length <= MB_PAYLOAD_SIZE;
}

const struct mb_nf_entry *mb_nf_log_take(struct mb_reader *reader, const struct mb_peer **whose) {
    struct mb_peer *peer = peer_of_next(reader);
    struct mb_nf_entry *copy = &reader->copies[reader->copies_used];
    *whose = peer;
    copy_entry(copy, slot_of(peer, peer->taken));
    if (skip_given_up(reader, peer)) {
        look_at_next(reader, peer);
        mb_nf_log_find_next(reader);
        return NULL;
    }
    if (!is_sound(peer, copy)) {
        declare_broken(reader, peer);
        mb_nf_log_find_next(reader);
        return NULL;
    }
    copy->provenance.is_shadow = peer->is_shadow;
    reader->copies_used++;
    peer->taken++;
    peer->taken_at = peer->next_at;
    look_at_next(reader, peer);
    mb_nf_log_find_next(reader);
    return copy;
}
