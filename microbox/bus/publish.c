/*
 * The own log: publishing, and waiting for its readers where it is full.
 *
 * `floor` is where the cursor may move while a publication waits: entries before it are done for.
 * What was published from `floor` on is limited to half of the log (and of the data ring), so what
 * has to be freed was always published before it, and its readers can get there.
 */
#include "microbox/bus/atomic.h"
#include "microbox/bus/reader_private.h"

#include <errno.h>
#include <string.h>

enum { BLOB_ALIGNMENT = 8, PARTS = 4 };

static const uint64_t LOOK_AGAIN = 50000000; /* nanoseconds: then `cancelled` is looked at */

static void raise_floor(struct mb_reader *reader, uint64_t floor) {
    if (floor <= reader->floor)
        return;
    reader->floor = floor;
    reader->share_slots = reader->own_head;
    reader->share_ring = reader->own_ring_head;
}

void mb_reader_begin_share(struct mb_reader *reader) {
    reader->keeps_batch = false;
    raise_floor(reader, reader->cursor);
    if (reader->delivered > 0)
        mb_reader_set_position(reader, reader->deliveries[0].position);
}

void mb_reader_set_position(struct mb_reader *reader, uint64_t sequence) {
    if (sequence > reader->position && sequence < reader->next)
        reader->position = sequence;
}

void mb_reader_set_batch_position(struct mb_reader *reader, uint64_t sequence) {
    reader->keeps_batch = true;
    mb_reader_set_position(reader, sequence);
}

void mb_reader_find_floor(struct mb_reader *reader) {
    if (reader->keeps_batch)
        return;
    for (uint64_t sequence = reader->position; sequence > reader->floor; sequence--) {
        if (!(mb_reader_entry(reader, sequence - 1)->flags & MB_LAST))
            continue;
        raise_floor(reader, sequence);
        return;
    }
}

static uint64_t slots_used(const struct mb_reader *reader) {
    return reader->own_head - reader->own_tail;
}

/* Bytes of the data ring that a payload takes, those included that are left unused since it would
 * run over the ring's end. 0 for one that fits in the entry. */
static uint64_t ring_need(const struct mb_reader *reader, uint32_t length) {
    if (length <= MB_PAYLOAD_SIZE)
        return 0;
    uint64_t aligned = ((uint64_t)length + BLOB_ALIGNMENT - 1) & ~(uint64_t)(BLOB_ALIGNMENT - 1);
    uint64_t left =
        reader->geometry.ring_bytes - (reader->own_ring_head & (reader->geometry.ring_bytes - 1));
    return aligned <= left ? aligned : left + aligned;
}

static bool exceeds_share(const struct mb_reader *reader, uint64_t need) {
    return reader->own_head - reader->share_slots >= reader->geometry.own_slots / 2 ||
           reader->own_ring_head - reader->share_ring + need > reader->geometry.ring_bytes / 2;
}

static bool has_room(const struct mb_reader *reader, uint64_t need) {
    return slots_used(reader) < reader->geometry.own_slots &&
           reader->own_ring_head + need - reader->own_ring_tail <= reader->geometry.ring_bytes;
}

/* The smallest position of the NFs behind this one; they are taken as readers of its log. */
static uint64_t passed_by_readers(const struct mb_reader *reader, struct mb_window *slowest) {
    uint64_t head = mb_load_sequential(&reader->log->head);
    uint64_t smallest = MB_NEVER;
    for (uint32_t i = 0; i < reader->peers; i++) {
        const struct mb_peer *peer = &reader->peer[i];
        if (peer->index < reader->nf || peer->skips)
            continue;
        uint64_t cursor;
        uint64_t passed = mb_peer_passed(reader, peer, head, &cursor);
        if (passed >= smallest)
            continue;
        smallest = passed;
        *slowest = (struct mb_window){.limiter = peer, .seen = cursor};
    }
    return smallest;
}

/* Gives up entries that all readers have passed. Returns false where one is left. */
static bool give_up_before(struct mb_reader *reader, uint64_t passed) {
    while (slots_used(reader) > 0) {
        uint64_t slot = reader->own_tail & (reader->geometry.own_slots - 1);
        const struct mb_nf_entry *oldest = &reader->own.slots[slot];
        if (oldest->provenance.at >= passed)
            return false;
        reader->own_ring_tail = oldest->provenance.blob;
        if (oldest->entry.flags & MB_IN_DATA_RING)
            reader->own_ring_tail += oldest->provenance.blob_length;
        reader->own_tail++;
    }
    return true;
}

/* `own_intact` in docs/bus-protocol.md. */
static void reclaim(struct mb_reader *reader, struct mb_window *slowest) {
    if (give_up_before(reader, passed_by_readers(reader, slowest)))
        reader->own_ring_tail = reader->own_ring_head;
    mb_store_release(&reader->own.page->log_tail, reader->own_tail);
}

/* Gives all up that is done for, and waits. Returns 0 or -EINTR. */
static int wait_for_room(struct mb_reader *reader, uint64_t need, const volatile bool *cancelled) {
    reader->own.counters->waits_full++;
    if (reader->floor > reader->cursor)
        mb_reader_move_cursor(reader, reader->floor);
    for (;;) {
        struct mb_window slowest = {.limiter = NULL};
        for (uint32_t spin = 0; spin <= reader->wait_policy.spins; spin++) {
            reclaim(reader, &slowest);
            if (has_room(reader, need))
                return 0;
            mb_spin_pause();
        }
        if (cancelled != NULL && *cancelled)
            return -EINTR;
        mb_reader_sleep(reader, &slowest, LOOK_AGAIN);
    }
}

static int make_room(struct mb_reader *reader, uint64_t need, const volatile bool *cancelled) {
    if (has_room(reader, need))
        return 0;
    struct mb_window slowest;
    reclaim(reader, &slowest);
    return has_room(reader, need) ? 0 : wait_for_room(reader, need, cancelled);
}

/* Puts a long payload into the data ring. Returns its position there; that of the next one for a
 * short payload. */
static uint64_t put_blob(struct mb_reader *reader, const uint8_t *payload, uint32_t length,
                         uint64_t need) {
    uint64_t end = reader->own_ring_head + need;
    uint64_t mask = reader->geometry.ring_bytes - 1;
    reader->own_ring_head = end;
    if (need == 0)
        return end;
    uint64_t aligned = ((uint64_t)length + BLOB_ALIGNMENT - 1) & ~(uint64_t)(BLOB_ALIGNMENT - 1);
    uint64_t blob = end - aligned;
    memcpy(&reader->own.ring[blob & mask], payload, length);
    return blob;
}

/* True where the next entry completes a quarter of the log, or its `need` one of the data ring: who
 * reads in batches ends one there (batch.c). */
static bool ends_part(const struct mb_reader *reader, uint64_t need) {
    uint64_t log_part = reader->geometry.own_slots / PARTS;
    uint64_t ring_part = reader->geometry.ring_bytes / PARTS;
    return (reader->own_head + 1) % log_part == 0 ||
           (reader->own_ring_head + need) / ring_part != reader->own_ring_head / ring_part;
}

/* Each word is released: a reader that finds a new one here also finds the new log_tail. */
static void write_entry(struct mb_reader *reader, const struct mb_nf_entry *entry) {
    uint64_t *to =
        (uint64_t *)&reader->own.slots[reader->own_head & (reader->geometry.own_slots - 1)];
    const uint64_t *from = (const uint64_t *)entry;
#pragma GCC unroll 32
    for (unsigned i = 0; i < sizeof *entry / sizeof *from; i++)
        mb_store_release(&to[i], from[i]);
}

static int check(const struct mb_reader *reader, const struct mb_delivery *cause, uint16_t type,
                 uint32_t length) {
    if (reader->geometry.own_slots == 0)
        return -EPERM;
    if (cause == NULL || type >= MB_TYPES_MAX)
        return -EINVAL;
    if (length > MB_PAYLOAD_SIZE && length > reader->geometry.ring_bytes / 4)
        return -EMSGSIZE;
    return 0;
}

static int publish(struct mb_reader *reader, const struct mb_delivery *cause, uint16_t type,
                   uint8_t reason, const uint8_t *payload, uint32_t payload_length,
                   const volatile bool *cancelled) {
    int error = check(reader, cause, type, payload_length);
    if (error != 0)
        return error;
    mb_reader_find_floor(reader);
    uint64_t need = ring_need(reader, payload_length);
    if (exceeds_share(reader, need))
        return -ENOBUFS;
    /* Waiting may give up the slot that `cause` is in. */
    struct mb_entry entry = *cause->entry;
    struct mb_provenance provenance = {
        .at = reader->position,
        .cause = entry.sequence,
        .cause_log = cause->nf_entry != NULL ? 1 + cause->nf_entry->provenance.publisher : 0,
        .publisher = (uint16_t)reader->nf,
        .blob_length = payload_length,
        .from_batch = reader->keeps_batch ||
                      (cause->nf_entry != NULL && cause->nf_entry->provenance.from_batch != 0),
    };
    error = make_room(reader, need, cancelled);
    if (error != 0)
        return error;
    provenance.ends_part = ends_part(reader, need);
    provenance.blob = put_blob(reader, payload, payload_length, need);
    entry.sequence = reader->own_head;
    entry.type = type;
    entry.reason = reason;
    entry.flags = (entry.flags & (MB_FROM_RESPONDER | MB_HAS_FLOW | MB_APART)) |
                  (need != 0 ? MB_IN_DATA_RING : 0);
    uint32_t inside = payload_length < MB_PAYLOAD_SIZE ? payload_length : MB_PAYLOAD_SIZE;
    memset(&entry.payload, 0, sizeof entry.payload);
    memcpy(&entry.payload, payload, inside);

    write_entry(reader, &(struct mb_nf_entry){entry, provenance});
    reader->own_head++;
    mb_store_release(&reader->own.page->log_head, reader->own_head);
    struct mb_nf_counters *counters = reader->own.counters;
    counters->published++;
    counters->published_bytes += payload_length;
    counters->published_by_type[type]++;
    return 0;
}

void mb_reader_derive(struct mb_reader *reader, mb_derive derive, const void *context) {
    reader->derive = derive;
    reader->derive_context = context;
}

static int publish_derived(struct mb_reader *reader, const uint8_t *payload,
                           uint32_t payload_length, const volatile bool *cancelled) {
    /* Its slot may be given up when the next publication waits. */
    const struct mb_nf_entry last =
        reader->own.slots[(reader->own_head - 1) & (reader->geometry.own_slots - 1)];
    const struct mb_delivery cause = {.entry = &last.entry, .nf_entry = &last};
    uint16_t types[MB_DERIVATIONS_MAX];
    const uint32_t count =
        reader->derive(reader->derive_context, &last.entry, payload, payload_length, types);
    int error = 0;
    for (uint32_t i = 0; i < count && error == 0; i++)
        error = publish(reader, &cause, types[i], last.entry.reason, payload, payload_length,
                        cancelled);
    return error;
}

int mb_reader_publish(struct mb_reader *reader, const struct mb_delivery *cause, uint16_t type,
                      uint8_t reason, const uint8_t *payload, uint32_t payload_length,
                      const volatile bool *cancelled) {
    int error = publish(reader, cause, type, reason, payload, payload_length, cancelled);
    if (error != 0 || reader->derive == NULL)
        return error;
    return publish_derived(reader, payload, payload_length, cancelled);
}

int mb_reader_publish_many(struct mb_reader *reader, const struct mb_publications *many,
                           const volatile bool *cancelled, uint32_t *published) {
    const uint8_t *payload = many->payloads;
    for (*published = 0; *published < many->count; ++*published) {
        const uint32_t cause = many->causes[*published];
        const uint32_t length = many->lengths[*published];
        if (cause >= reader->delivered)
            return -EINVAL;
        int error = mb_reader_publish(reader, &reader->deliveries[cause], many->type, many->reason,
                                      payload, length, cancelled);
        if (error != 0)
            return error;
        payload += length;
    }
    return 0;
}
