/*
 * An NF that skips: it holds back nobody, so what it reads may be overwritten at any time
 * (layout.h, "Floor"). It therefore reads from a copy of its own, as large as the log and with each
 * entry in the same slot, made of packets that were copied whole; all else about reading is the
 * same as for others. Where entries were overwritten before it came to them, it goes on at the
 * floor, and gets system.lost in the slot of the last entry that it missed.
 *
 * Frames in memory that is used again are copied likewise, to the same offset of memory of its own,
 * when their events are delivered. Two events of one poll name the same memory only where it is the
 * same frame: the later one was there to be read before the earlier one's frame was copied, and
 * that copy would have been too late. An event whose frame is gone becomes system.lost itself.
 */
#include "microbox/bus/atomic.h"
#include "microbox/bus/reader_private.h"
#include "microbox/events/event_types.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    WORDS_OF_LINE = MB_CACHE_LINE / sizeof(uint64_t),
    LINES = MB_ENTRY_SIZE / MB_CACHE_LINE,
    TRIES = 1000 /* the worker is just moving the floor: that takes it some microseconds */
};

struct mb_skipping {
    struct mb_entry *slots;        /* the copy */
    const struct mb_entry *shared; /* the worker's */
    uint64_t ahead;                /* how far beyond `next` is copied */
    uint64_t end;                  /* entries before this one are copied, or were never to be had */
    uint64_t named;                /* how many of those were for this NF, lost ones included */
    uint64_t loses[8];             /* set of types that are counted */
    bool is_behind;                /* the one at `end` was overwritten before it was copied */
    bool has_lost;                 /* the entry before `next` is a system.lost to be delivered */

    const uint8_t *shared_frames; /* frame pool as others read it; NULL: nothing in it is copied */
    uint8_t *own_frames;          /* as this NF reads it */
    uint64_t unstable;            /* what lies from here on may be used again */
};

/* --- making --- */

int mb_skipping_create(struct mb_reader *reader, const uint64_t loses[8]) {
    struct mb_skipping *skipping = calloc(1, sizeof *skipping);
    if (skipping == NULL)
        return -ENOMEM;
    reader->skipping = skipping;
    skipping->slots = calloc(reader->slot_mask + 1, sizeof *skipping->slots);
    if (skipping->slots == NULL)
        return -ENOMEM;
    memcpy(skipping->loses, loses, sizeof skipping->loses);
    /* A packet has to fit, and a batch with the packet that ends it. */
    skipping->ahead = 2 * (uint64_t)MB_ENTRIES_PER_PACKET;
    if (reader->cut + MB_ENTRIES_PER_PACKET > skipping->ahead)
        skipping->ahead = reader->cut + MB_ENTRIES_PER_PACKET;
    return 0;
}

static void free_copies(struct mb_peer *peer) {
    free(peer->verdict_copies);
    free(peer->version_copies);
}

void mb_skipping_destroy(struct mb_reader *reader) {
    if (reader->skipping == NULL)
        return;
    free(reader->skipping->slots);
    free(reader->skipping);
    for (uint32_t i = 0; i < reader->peers; i++)
        free_copies(&reader->peer[i]);
}

const struct mb_entry *mb_skipping_slots(struct mb_reader *reader, const struct mb_entry *shared) {
    reader->skipping->shared = shared;
    return reader->skipping->slots;
}

int mb_skipping_add_judge(struct mb_reader *reader, struct mb_peer *peer) {
    peer->verdict_copies = calloc(reader->slot_mask + 1, 1);
    if (peer->verdict_copies == NULL)
        return -ENOMEM;
    peer->shared_verdicts = peer->verdicts;
    peer->verdicts = peer->verdict_copies;
    if (peer->editor == 0)
        return 0;
    peer->version_copies = calloc(reader->slot_mask + 1, sizeof *peer->version_copies);
    return peer->version_copies != NULL ? 0 : -ENOMEM;
}

int mb_reader_copy_frames(struct mb_reader *reader, const struct mb_frame_pool *shared,
                          const struct mb_frame_pool *own) {
    struct mb_skipping *skipping = reader->skipping;
    if (skipping == NULL || own->size != shared->size || own->unstable != shared->unstable)
        return -EINVAL;
    const uint64_t size = own->size - own->unstable;
    if (size == 0)
        return 0;
    uint8_t *frames = (uint8_t *)(uintptr_t)own->bytes;
    if (mmap(frames + own->unstable, size, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
        return -errno;
    skipping->shared_frames = shared->bytes;
    skipping->own_frames = frames;
    skipping->unstable = own->unstable;
    return 0;
}

/* --- copying --- */

static bool names(const struct mb_entry *entry, const uint64_t bits[2]) {
    return ((entry->mask[0] & bits[0]) | (entry->mask[1] & bits[1])) != 0;
}

/* In the table of an editor. */
static const uint64_t *shared_word(const struct mb_reader *reader, const struct mb_peer *peer,
                                   uint64_t slot) {
    const uint8_t *area = reader->skipping->shared_frames + reader->versions_offset;
    const uint64_t table = mb_versions_table(&reader->versions_shape, peer->editor);
    return (const uint64_t *)(area + table) + slot;
}

/* Of an entry that may itself not name the editors: its packet does. */
static void copy_version_words(const struct mb_reader *reader, uint64_t slot) {
    for (uint32_t i = 0; i < reader->peers && mb_reader_sees_edits(reader); i++) {
        const struct mb_peer *peer = &reader->peer[i];
        if (peer->version_copies != NULL)
            mb_copy_unstable(&peer->version_copies[slot], shared_word(reader, peer, slot), 1);
    }
}

/* The first line of an entry says who it is for, and what others need of it. */
static void copy_entry(const struct mb_reader *reader, uint64_t sequence) {
    const struct mb_skipping *skipping = reader->skipping;
    const uint64_t slot = sequence & reader->slot_mask;
    struct mb_entry *copy = &skipping->slots[slot];
    uint64_t *to = (uint64_t *)copy;
    const uint64_t *from = (const uint64_t *)&skipping->shared[slot];
    mb_copy_unstable(to, from, WORDS_OF_LINE);
    if (names(copy, reader->bits)) {
        mb_copy_unstable(to + WORDS_OF_LINE, from + WORDS_OF_LINE, (LINES - 1) * WORDS_OF_LINE);
        copy_version_words(reader, slot);
    }
    if (!names(copy, reader->judges))
        return;
    for (uint32_t i = 0; i < reader->peers; i++) {
        const struct mb_peer *peer = &reader->peer[i];
        if (peer->verdict_copies != NULL)
            peer->verdict_copies[slot] = mb_load_byte_unstable(&peer->shared_verdicts[slot]);
    }
}

/* The end of the last packet in [first, end), or `first`. */
static uint64_t last_boundary(const struct mb_reader *reader, uint64_t first, uint64_t end) {
    while (end > first && !(mb_reader_entry(reader, end - 1)->flags & MB_LAST))
        end--;
    return end;
}

/* As the worker counts (floor.c). */
static bool counts(const struct mb_reader *reader, const struct mb_entry *entry) {
    const uint64_t *loses = reader->skipping->loses;
    return mb_reader_matches(reader, entry) != 0 && loses[entry->type / 64] >> entry->type % 64 & 1;
}

/* A worker that died while it told of a new floor has overwritten nothing that the old one keeps.
 */
static const uint64_t *floor_in_force(const struct mb_reader *reader) {
    return reader->worker_is_gone ? &reader->log->counted : &reader->log->floor;
}

/* Copies what there is up to `end`; or finds that it was overwritten. The floor is read last:
 * `copy_intact` and `copy_judged` in docs/bus-protocol.md. */
static void copy_entries(struct mb_reader *reader, uint64_t end) {
    struct mb_skipping *skipping = reader->skipping;
    for (uint64_t sequence = skipping->end; sequence < end; sequence++)
        copy_entry(reader, sequence);
    if (mb_load_acquire(floor_in_force(reader)) > skipping->end) {
        skipping->is_behind = true;
        return;
    }
    end = last_boundary(reader, skipping->end, end);
    for (; skipping->end < end; skipping->end++)
        skipping->named += counts(reader, mb_reader_entry(reader, skipping->end));
}

/* --- what was lost --- */

/* Floor, and how many entries before it were for this NF: `exact_loss` in docs/bus-protocol.md. Of
 * a worker that died while it told of a new floor, the number may already be that of the new one.
 */
static bool read_floor(const struct mb_reader *reader, uint64_t *floor, uint64_t *named) {
    for (unsigned tries = 0; tries < TRIES; tries++) {
        *floor = mb_load_acquire(&reader->log->counted);
        *named = mb_load_acquire(&reader->log->named_before[reader->nf]);
        if (mb_load_acquire(floor_in_force(reader)) == *floor)
            return true;
        mb_spin_pause();
    }
    return false;
}

/* Makes of the entry in slot `sequence` one that says that `events` were lost. */
static void put_lost(struct mb_reader *reader, uint64_t sequence, uint64_t events, uint64_t time,
                     uint64_t packet) {
    reader->own.counters->lost += events;
    reader->skipping->slots[sequence & reader->slot_mask] = (struct mb_entry){
        .sequence = sequence,
        .time = time,
        .packet = packet,
        .type = MB_TYPE_SYSTEM_LOST,
        .flags = MB_LAST | MB_APART,
        .mask = {reader->bits[0], reader->bits[1]},
        .payload.lost = {.events = events},
    };
}

static uint64_t later(uint64_t one, uint64_t other) {
    return one > other ? one : other;
}

/* The time of a loss is that of the first entry behind it. That slot may be empty still, or written
 * again: then it holds another time, which serves as well unless it is earlier than what came. */
static void put_lost_before(struct mb_reader *reader, uint64_t floor, uint64_t events) {
    const struct mb_skipping *skipping = reader->skipping;
    const struct mb_entry *last = mb_reader_entry(reader, skipping->end - 1);
    struct mb_entry first;
    mb_copy_unstable((uint64_t *)&first,
                     (const uint64_t *)&skipping->shared[floor & reader->slot_mask], WORDS_OF_LINE);
    put_lost(reader, floor - 1, events, later(first.time, last->time),
             later(first.packet, last->packet));
}

/* All that was copied is delivered: goes to the floor. */
static void go_to_floor(struct mb_reader *reader) {
    struct mb_skipping *skipping = reader->skipping;
    uint64_t floor;
    uint64_t named;
    if (!read_floor(reader, &floor, &named) || floor <= skipping->end)
        return;
    if (named > skipping->named) {
        put_lost_before(reader, floor, named - skipping->named);
        skipping->has_lost = true;
    }
    skipping->named = named;
    skipping->end = floor;
    skipping->is_behind = false;
    mb_reader_go_to(reader, floor);
    mb_reader_move_cursor(reader, floor);
}

void mb_skipping_look(struct mb_reader *reader, struct mb_window *window) {
    struct mb_skipping *skipping = reader->skipping;
    if (skipping->end < reader->next) /* what was before `from` was not for this NF */
        skipping->end = reader->next;
    uint64_t end = reader->next + skipping->ahead;
    if (end > window->end)
        end = window->end;
    if (!skipping->is_behind && end > skipping->end)
        copy_entries(reader, end);
    if (skipping->is_behind && reader->next == skipping->end)
        go_to_floor(reader);
    if (skipping->has_lost) {
        window->end = reader->next;
        window->whole = true;
    } else if (window->end > skipping->end) {
        window->end = skipping->end;
        window->whole = true;
    }
}

bool mb_skipping_ends_batch(const struct mb_reader *reader) {
    return reader->skipping != NULL && reader->skipping->is_behind;
}

/* --- delivering --- */

bool mb_skipping_has_lost(const struct mb_reader *reader) {
    return reader->skipping != NULL && reader->skipping->has_lost;
}

const struct mb_entry *mb_skipping_take_lost(struct mb_reader *reader) {
    if (!mb_skipping_has_lost(reader))
        return NULL;
    reader->skipping->has_lost = false;
    return mb_reader_entry(reader, reader->next - 1);
}

/* The same place of both pools. */
static void copy_bytes(const struct mb_skipping *skipping, uint64_t from, uint64_t end) {
    const uint64_t first = from & ~(uint64_t)(sizeof(uint64_t) - 1);
    mb_copy_unstable((uint64_t *)(skipping->own_frames + first),
                     (const uint64_t *)(skipping->shared_frames + first),
                     (end - first + sizeof(uint64_t) - 1) / sizeof(uint64_t));
}

/* The version of a frame, where editors before this NF made one. What it says of its length counts
 * for nothing before it is known that it was copied whole. */
static bool copy_version(const struct mb_reader *reader, const struct mb_entry *entry) {
    const struct mb_skipping *skipping = reader->skipping;
    const uint64_t at = mb_reader_version(reader, entry->sequence);
    if (at == MB_NEVER)
        return false;
    copy_bytes(skipping, at, at + sizeof(struct mb_version));
    const struct mb_version *version = (const struct mb_version *)(skipping->own_frames + at);
    const uint64_t bytes = at + sizeof *version;
    const uint64_t area_end = reader->versions_offset + mb_versions_size(&reader->versions_shape);
    if (version->length <= area_end - bytes)
        copy_bytes(skipping, bytes, bytes + version->length);
    return true;
}

/* Copies the frame of an entry, if it has one, where its memory may be used again. Returns false
 * where it was. */
static bool keep_frame(const struct mb_reader *reader, const struct mb_entry *entry) {
    const struct mb_skipping *skipping = reader->skipping;
    bool is_unstable = mb_reader_sees_edits(reader) && copy_version(reader, entry);
    if (entry->frame_length != 0 && entry->frame >= skipping->unstable) {
        copy_bytes(skipping, entry->frame, entry->frame + entry->frame_length);
        is_unstable = true;
    }
    return !is_unstable || mb_load_acquire(&reader->log->frames_floor) <= entry->sequence;
}

void mb_skipping_keep_frames(struct mb_reader *reader) {
    if (reader->skipping->own_frames == NULL)
        return;
    for (uint32_t i = 0; i < reader->delivered; i++) {
        struct mb_delivery *delivery = &reader->deliveries[i];
        const struct mb_entry *entry = delivery->entry;
        if (keep_frame(reader, entry))
            continue;
        put_lost(reader, delivery->position, 1, entry->time, entry->packet);
        reader->own.counters->matched--;
        delivery->bits = mb_reader_matches(reader, entry);
    }
}
