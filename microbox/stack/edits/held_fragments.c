/*
 * Held fragments lie in one ring, in the order in which they came; those of a datagram are a list
 * through it. Who is overtaken by the ring's head has waited longest, and without it the rest of
 * its datagram is of no use.
 */
#include "microbox/stack/edits/held_fragments.h"

#include <stdlib.h>

enum { NOWHERE = 0 };

struct held {
    struct mb_frame frame;
    uint64_t next; /* sequence number of the next one of its datagram; 0: it is the last */
    uint32_t slot; /* of its datagram; 0: it is not held any more */
};

/* Sequence numbers count from 1. */
struct waiting {
    uint64_t first; /* 0: nothing waits */
    uint64_t last;
};

struct mb_held_fragments {
    uint64_t newest;
    struct waiting *waiting; /* by datagram slot */
    struct held ring[MB_HELD_FRAGMENTS_MAX];
};

_Static_assert((MB_HELD_FRAGMENTS_MAX & (MB_HELD_FRAGMENTS_MAX - 1)) == 0, "it is a mask");

static size_t waiting_size(uint32_t datagram_slots) {
    return datagram_slots * sizeof(struct waiting);
}

size_t mb_held_fragments_bytes(uint32_t datagram_slots) {
    return sizeof(struct mb_held_fragments) + waiting_size(datagram_slots);
}

struct mb_held_fragments *mb_held_fragments_create(uint32_t datagram_slots) {
    struct mb_held_fragments *fragments = calloc(1, sizeof *fragments);
    if (fragments == NULL)
        return NULL;
    fragments->waiting = calloc(1, waiting_size(datagram_slots));
    if (fragments->waiting != NULL)
        return fragments;
    free(fragments);
    return NULL;
}

void mb_held_fragments_destroy(struct mb_held_fragments *fragments) {
    if (fragments == NULL)
        return;
    free(fragments->waiting);
    free(fragments);
}

static struct held *at(struct mb_held_fragments *fragments, uint64_t sequence) {
    return &fragments->ring[sequence & (MB_HELD_FRAGMENTS_MAX - 1)];
}

void mb_held_fragments_forget(struct mb_held_fragments *fragments, uint32_t slot) {
    struct waiting *waiting = &fragments->waiting[slot];
    for (uint64_t sequence = waiting->first; sequence != 0;
         sequence = at(fragments, sequence)->next)
        at(fragments, sequence)->slot = NOWHERE;
    *waiting = (struct waiting){0};
}

static void append(struct mb_held_fragments *fragments, uint32_t slot, uint64_t sequence) {
    struct waiting *waiting = &fragments->waiting[slot];
    if (waiting->first == 0)
        waiting->first = sequence;
    else
        at(fragments, waiting->last)->next = sequence;
    waiting->last = sequence;
    at(fragments, sequence)->slot = slot;
    at(fragments, sequence)->next = 0;
}

void mb_held_fragments_add(struct mb_held_fragments *fragments, uint32_t slot,
                           const struct mb_frame *frame) {
    struct held *held = at(fragments, ++fragments->newest);
    if (held->slot != NOWHERE)
        mb_held_fragments_forget(fragments, held->slot);
    held->frame = *frame;
    append(fragments, slot, fragments->newest);
}

void mb_held_fragments_move(struct mb_held_fragments *fragments, uint32_t slot,
                            uint32_t other_slot) {
    uint64_t sequence = fragments->waiting[slot].first;
    fragments->waiting[slot] = (struct waiting){0};
    while (sequence != 0) {
        const uint64_t next = at(fragments, sequence)->next;
        append(fragments, other_slot, sequence);
        sequence = next;
    }
}

bool mb_held_fragments_take(struct mb_held_fragments *fragments, uint32_t slot,
                            struct mb_frame *frame) {
    struct waiting *waiting = &fragments->waiting[slot];
    if (waiting->first == 0)
        return false;
    struct held *held = at(fragments, waiting->first);
    *frame = held->frame;
    held->slot = NOWHERE;
    waiting->first = held->next;
    return true;
}

void mb_held_fragments_forget_all(struct mb_held_fragments *fragments) {
    for (uint32_t place = 0; place < MB_HELD_FRAGMENTS_MAX; place++)
        if (fragments->ring[place].slot != NOWHERE)
            mb_held_fragments_forget(fragments, fragments->ring[place].slot);
}

void mb_held_fragments_kept(const struct mb_held_fragments *fragments, struct mb_ranges *kept) {
    for (uint32_t place = 0; place < MB_HELD_FRAGMENTS_MAX; place++) {
        const struct held *held = &fragments->ring[place];
        if (held->slot != NOWHERE)
            mb_ranges_add(kept, held->frame.offset, held->frame.length);
    }
}
