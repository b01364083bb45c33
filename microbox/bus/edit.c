/*
 * Own edits of packets (layout.h, "Edits"): each lies beside the verdict on its entry, the bytes
 * that it replaces in a ring. The bus knows no protocols: whether a packet can bear an edit is the
 * worker's to say.
 *
 * Bytes of the ring are free when the worker has applied the packet that they were left with. What
 * lies before `floor` (publish.c) will be, whatever this NF does; so where the ring is full, it
 * waits for that, and what is in hand may fill the ring.
 */
#include "microbox/bus/edit.h"

#include "microbox/bus/atomic.h"
#include "microbox/bus/reader_private.h"

#include <errno.h>
#include <string.h>

enum { ALIGNMENT = 8, DSCP_MAX = 63, ECN_MAX = 3 };

static const uint64_t LOOK_AGAIN = 50000000; /* nanoseconds: then `cancelled` is looked at */

/* --- what is said twice --- */

bool mb_edit_is_sound(const struct mb_edit *edit) {
    if ((edit->fields & ~(uint32_t)MB_EDIT_FIELDS) != 0 || edit->tags_pushed > MB_EDIT_TAGS_MAX ||
        edit->tags_popped > MB_EDIT_POPPED_MAX)
        return false;
    return edit->ip_dscp <= DSCP_MAX && edit->ip_ecn <= ECN_MAX;
}

/* Tags that were pushed before are popped first; what is pushed comes in front of what is left. */
static bool merge_tags(struct mb_edit *kept, const struct mb_edit *more) {
    unsigned popped = more->tags_popped;
    const unsigned taken_back = popped < kept->tags_pushed ? popped : kept->tags_pushed;
    const unsigned left = kept->tags_pushed - taken_back;
    popped += kept->tags_popped - taken_back;
    if (popped > MB_EDIT_POPPED_MAX || left + more->tags_pushed > MB_EDIT_TAGS_MAX)
        return false;
    memmove(&kept->tags[more->tags_pushed], &kept->tags[taken_back], left * sizeof *kept->tags);
    memcpy(kept->tags, more->tags, more->tags_pushed * sizeof *kept->tags);
    kept->tags_popped = (uint8_t)popped;
    kept->tags_pushed = (uint8_t)(left + more->tags_pushed);
    return true;
}

static void merge_fields(struct mb_edit *kept, const struct mb_edit *more) {
#define TAKE(bit, field)                                                                           \
    if (more->fields & (bit))                                                                      \
    memcpy(&kept->field, &more->field, sizeof kept->field)
    TAKE(MB_EDIT_ETH_SOURCE, eth_source);
    TAKE(MB_EDIT_ETH_DESTINATION, eth_destination);
    TAKE(MB_EDIT_IP_TTL, ip_ttl);
    TAKE(MB_EDIT_IP_DSCP, ip_dscp);
    TAKE(MB_EDIT_IP_ECN, ip_ecn);
    TAKE(MB_EDIT_IP_IDENTIFICATION, ip_identification);
    TAKE(MB_EDIT_IP_SOURCE, ip_source);
    TAKE(MB_EDIT_IP_DESTINATION, ip_destination);
    TAKE(MB_EDIT_SOURCE_PORT, source_port);
    TAKE(MB_EDIT_DESTINATION_PORT, destination_port);
    TAKE(MB_EDIT_TCP_FLAGS, tcp_flags);
    TAKE(MB_EDIT_TCP_WINDOW, tcp_window);
    TAKE(MB_EDIT_TCP_URGENT_POINTER, tcp_urgent_pointer);
#undef TAKE
    kept->fields |= more->fields;
}

bool mb_edit_merge(struct mb_edit *kept, const struct mb_edit *more) {
    if (!merge_tags(kept, more))
        return false;
    merge_fields(kept, more);
    return true;
}

/* --- own edits --- */

/* What comes apart is about no packet, but may bear bytes that waited and have not left. */
static bool bears_bytes(const struct mb_entry *entry) {
    return entry->frame_length != 0 && (!(entry->flags & MB_APART) || entry->data_length != 0);
}

static int check(const struct mb_reader *reader, const struct mb_delivery *cause) {
    if (reader->own.edits == NULL)
        return -EPERM;
    if (cause->position < reader->cursor || cause->position >= reader->next)
        return -EINVAL;
    const struct mb_entry *at = mb_reader_entry(reader, cause->position);
    if (!bears_bytes(at) || !bears_bytes(cause->entry))
        return -ENOENT;
    return cause->entry->packet != at->packet ? -EXDEV : 0;
}

/* The record of the entry; empty where none was left yet. */
static struct mb_edit *record_of(struct mb_reader *reader, uint64_t sequence) {
    const uint64_t slot = sequence & reader->slot_mask;
    struct mb_edit *record = &reader->own.edits[slot];
    uint8_t *verdict = &reader->own.verdicts[slot];
    if (*verdict & MB_LEFT_EDIT)
        return record;
    *record = (struct mb_edit){.packet = mb_reader_entry(reader, sequence)->packet};
    mb_store_byte_relaxed(verdict, *verdict | MB_LEFT_EDIT);
    reader->own.counters->edits++;
    return record;
}

int mb_reader_edit(struct mb_reader *reader, const struct mb_delivery *cause,
                   const struct mb_edit *edit) {
    const int error = check(reader, cause);
    if (error != 0)
        return error;
    if (!mb_edit_is_sound(edit))
        return -EINVAL;
    return mb_edit_merge(record_of(reader, cause->position), edit) ? 0 : -E2BIG;
}

static uint64_t ring_mask(const struct mb_reader *reader) {
    return reader->geometry.edit_bytes - 1;
}

/* What was left before the packet in hand lies before edit_floor_head. */
static void note_floor(struct mb_reader *reader, uint64_t position) {
    if (!reader->keeps_batch)
        mb_reader_set_position(reader, position);
    mb_reader_find_floor(reader);
    if (reader->edit_floor == reader->floor)
        return;
    reader->edit_floor = reader->floor;
    reader->edit_floor_head = reader->edit_head;
}

/* Frees what is taken. Returns the word that tells so. */
static uint64_t free_taken(struct mb_reader *reader) {
    const uint64_t applied = mb_load_sequential(&reader->log->applied[reader->nf]);
    if (applied < reader->edit_mark)
        return applied;
    reader->edit_tail = reader->edit_mark_tail;
    reader->edit_mark = reader->edit_floor;
    reader->edit_mark_tail = reader->edit_floor_head;
    if (applied >= reader->edit_mark)
        reader->edit_tail = reader->edit_mark_tail;
    return applied;
}

static bool has_room(const struct mb_reader *reader, uint64_t need) {
    return reader->edit_head + need - reader->edit_tail <= reader->geometry.edit_bytes;
}

static int wait_for_room(struct mb_reader *reader, uint64_t need, const volatile bool *cancelled) {
    reader->own.counters->waits_full++;
    if (reader->floor > reader->cursor)
        mb_reader_move_cursor(reader, reader->floor);
    for (;;) {
        const uint64_t seen = free_taken(reader);
        if (has_room(reader, need))
            return 0;
        if (cancelled != NULL && *cancelled)
            return -EINTR;
        mb_reader_sleep_until_applied(reader, reader->nf, seen, LOOK_AGAIN);
    }
}

/* Room for `size` bytes without a break; what is left of the ring before its end may stay empty.
 * `*begin`: where. */
static int make_room(struct mb_reader *reader, uint64_t size, const volatile bool *cancelled,
                     uint64_t *begin) {
    const uint64_t left = reader->geometry.edit_bytes - (reader->edit_head & ring_mask(reader));
    const uint64_t need = size <= left ? size : left + size;
    *begin = reader->edit_head + need - size;
    if (reader->edit_head + need - reader->edit_floor_head > reader->geometry.edit_bytes)
        return -ENOBUFS;
    if (!has_room(reader, need))
        free_taken(reader);
    return has_room(reader, need) ? 0 : wait_for_room(reader, need, cancelled);
}

/* Replacements of one record lie side by side: those that do not end at the head move there. */
static int gather(struct mb_reader *reader, const struct mb_edit *record, uint64_t size,
                  const volatile bool *cancelled, uint64_t *begin) {
    const uint64_t before = record->replacements_size;
    const bool is_last = before != 0 && record->replacements + before == reader->edit_head;
    const uint64_t to_the_end =
        reader->geometry.edit_bytes - (reader->edit_head & ring_mask(reader));
    if (is_last && size <= to_the_end && to_the_end != reader->geometry.edit_bytes) {
        uint64_t place;
        *begin = record->replacements;
        return make_room(reader, size, cancelled, &place);
    }
    const int error = make_room(reader, before + size, cancelled, begin);
    if (error == 0 && before != 0)
        memmove(&reader->own.replacements[*begin & ring_mask(reader)],
                &reader->own.replacements[record->replacements & ring_mask(reader)], before);
    return error;
}

static int put(struct mb_reader *reader, uint64_t position, struct mb_replacement replacement,
               const uint8_t *bytes, const volatile bool *cancelled) {
    const uint64_t aligned = ((uint64_t)replacement.length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    const uint64_t size = sizeof replacement + aligned;
    const struct mb_edit *before = &reader->own.edits[position & reader->slot_mask];
    const bool has_record = reader->own.verdicts[position & reader->slot_mask] & MB_LEFT_EDIT;
    static const struct mb_edit none = {0};
    uint64_t begin;
    if (size > reader->geometry.edit_bytes)
        return -ENOBUFS;
    if (has_record && before->replacement_count == MB_REPLACEMENTS_PER_ENTRY)
        return -E2BIG;
    const int error = gather(reader, has_record ? before : &none, size, cancelled, &begin);
    if (error != 0)
        return error;
    struct mb_edit *record = record_of(reader, position);
    const uint64_t at = begin + record->replacements_size;
    uint8_t *to = &reader->own.replacements[at & ring_mask(reader)];
    memcpy(to, &replacement, sizeof replacement);
    memcpy(to + sizeof replacement, bytes, replacement.length);
    record->replacements = begin;
    record->replacements_size += (uint32_t)size;
    record->replacement_count++;
    reader->edit_head = at + size;
    return 0;
}

int mb_reader_replace(struct mb_reader *reader, const struct mb_delivery *cause, uint32_t at,
                      const uint8_t *bytes, uint32_t length, const volatile bool *cancelled) {
    const int error = check(reader, cause);
    if (error != 0)
        return error;
    if (reader->own.replacements == NULL)
        return -EPERM;
    const uint32_t available = cause->entry->data_length;
    if (at > available || length > available - at)
        return -ERANGE;
    if (length == 0)
        return 0;
    note_floor(reader, cause->position);
    const struct mb_seen_frame seen = mb_reader_frame(reader, cause);
    return put(reader, cause->position,
               (struct mb_replacement){.at = seen.data_offset + at, .length = length}, bytes,
               cancelled);
}
