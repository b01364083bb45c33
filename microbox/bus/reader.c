/*
 * Making a reader, mapping what it reads, and polling.
 */
#include "microbox/bus/reader.h"

#include "microbox/bus/atomic.h"
#include "microbox/bus/log.h"
#include "microbox/bus/reader_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SUBSCRIPTIONS_MAX = 32, NO_SUBSCRIPTION = 255, PREFETCH_AHEAD = 8 };

/* --- making and mapping --- */

static bool delivers(const uint64_t types[8]) {
    uint64_t any = 0;
    for (unsigned i = 0; i < 8; i++)
        any |= types[i];
    return any != 0;
}

static bool learn_subscriptions(struct mb_reader *reader, const struct mb_reader_config *config) {
    memset(reader->subscription_of_bit, NO_SUBSCRIPTION, sizeof reader->subscription_of_bit);
    for (uint32_t k = 0; k < config->subscriptions; k++) {
        uint8_t bit = config->bit[k];
        if (bit >= MB_SUBSCRIPTIONS_MAX || reader->subscription_of_bit[bit] != NO_SUBSCRIPTION)
            return false;
        reader->subscription_of_bit[bit] = (uint8_t)k;
        reader->bits[bit / 64] |= UINT64_C(1) << bit % 64;
        for (uint32_t type = 0; type < MB_TYPES_MAX; type++)
            if (config->types[k][type / 64] >> type % 64 & 1)
                reader->subscriptions_of_type[type] |= UINT32_C(1) << k;
        if (delivers(config->types[k]))
            reader->delivering |= UINT32_C(1) << k;
    }
    return true;
}

/* Batches that begin at multiples of powers of two nest, so NFs with different ones never wait for
 * each other; a quarter of the log leaves room for the worker to fill them. */
static bool is_sound(const struct mb_reader_config *config) {
    uint64_t cut = config->cut;
    return config->nf < MB_NFS_MAX && config->subscriptions <= SUBSCRIPTIONS_MAX &&
           config->geometry.log_slots == config->log_slots && (cut & (cut - 1)) == 0 &&
           cut <= config->log_slots / 4 &&
           (config->geometry.command_slots != 0) == (config->command_delay != 0) &&
           (config->command_delay == 0 || cut == 0) &&
           (config->instance == 0 || config->instance < config->instances) &&
           (uint64_t)config->switchable >> config->subscriptions == 0 &&
           !(config->skips && (config->geometry.is_inline || config->command_delay != 0));
}

static int create_area(struct mb_reader *reader) {
    size_t size = mb_nf_area_size(&reader->geometry);
    if (size == 0)
        return -EINVAL;
    int error = mb_area_create(&reader->own_area, "microbox nf", size);
    if (error != 0)
        return error;
    reader->own = mb_nf_area_parts(reader->own_area.base, &reader->geometry);
    reader->own.page->magic = MB_NF_PAGE_MAGIC;
    reader->own.page->version = MB_LAYOUT_VERSION;
    reader->own.page->nf = reader->nf;
    return 0;
}

struct mb_reader *mb_reader_create(const struct mb_reader_config *config, int *error) {
    *error = -EINVAL;
    if (!is_sound(config))
        return NULL;
    *error = -ENOMEM;
    struct mb_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return NULL;
    reader->nf = config->nf;
    reader->cut = config->cut;
    reader->instance = config->instance;
    reader->instances = config->instances;
    reader->wait_policy = config->wait_policy;
    reader->geometry = config->geometry;
    reader->switchable = config->switchable;
    memcpy(reader->streams, config->streams, sizeof reader->streams);
    reader->slot_mask = config->log_slots - 1;
    reader->merge_next = MB_NEVER;
    reader->mark = MB_NEVER;
    reader->dropped_by = MB_NOBODY;
    reader->broken = MB_NOBODY;
    reader->copies = calloc(MB_COPIES, sizeof *reader->copies);
    if (reader->copies != NULL)
        *error = learn_subscriptions(reader, config) ? create_area(reader) : -EINVAL;
    if (*error == 0 && config->command_delay != 0)
        *error = mb_command_index_create(reader, config->command_delay);
    if (*error == 0 && config->skips)
        *error = mb_skipping_create(reader, config->loses);
    if (*error == 0)
        return reader;
    mb_reader_destroy(reader);
    return NULL;
}

void mb_reader_destroy(struct mb_reader *reader) {
    if (reader == NULL)
        return;
    for (uint32_t i = 0; i < reader->peers; i++)
        mb_area_destroy(&reader->peer[i].area);
    mb_area_destroy(&reader->log_area);
    mb_area_destroy(&reader->own_area);
    mb_command_index_destroy(reader);
    mb_skipping_destroy(reader);
    mb_flow_set_destroy(&reader->dropped_flows);
    mb_flow_set_destroy(&reader->judged_flows);
    free(reader->copies);
    free(reader);
}

int mb_reader_area_fd(const struct mb_reader *reader) {
    return reader->own_area.fd;
}

int mb_reader_map_log(struct mb_reader *reader, int fd) {
    if (reader->log != NULL)
        return -EALREADY;
    uint64_t slots = reader->slot_mask + 1;
    int error = mb_area_map(&reader->log_area, fd, mb_log_size(slots));
    if (error != 0)
        return error;
    const struct mb_log_page *page = reader->log_area.base;
    if (page->magic != MB_LOG_MAGIC || page->version != MB_LAYOUT_VERSION ||
        page->slot_size != sizeof(struct mb_entry) || page->slots != slots) {
        mb_area_destroy(&reader->log_area);
        return -EPROTO;
    }
    reader->log = page;
    reader->slots = (const struct mb_entry *)((const uint8_t *)page + MB_PAGE_SIZE);
    if (reader->skipping != NULL)
        reader->slots = mb_skipping_slots(reader, reader->slots);
    return 0;
}

static bool may_be_neighbour(const struct mb_reader *reader, const struct mb_neighbour *neighbour) {
    if (neighbour->index >= MB_NFS_MAX || neighbour->index == reader->nf)
        return false;
    if (neighbour->geometry.log_slots != reader->slot_mask + 1)
        return false;
    if (neighbour->publishes &&
        (!neighbour->barrier || neighbour->geometry.own_slots == 0 || reader->skipping != NULL))
        return false;
    if (neighbour->skips && neighbour->index < reader->nf)
        return false;
    if (neighbour->cut > reader->slot_mask + 1)
        return false;
    return !neighbour->barrier || neighbour->index < reader->nf;
}

/* The NF's place in the order of indexes, which is the order of the chain. Whoever was there before
 * is unmapped. */
static struct mb_peer *place_of(struct mb_reader *reader, uint32_t index) {
    for (uint32_t i = 0; i < reader->peers; i++) {
        if (reader->peer[i].index != index)
            continue;
        mb_area_destroy(&reader->peer[i].area);
        free(reader->peer[i].verdict_copies);
        free(reader->peer[i].version_copies);
        return &reader->peer[i];
    }
    uint32_t place = reader->peers++;
    for (; place > 0 && reader->peer[place - 1].index > index; place--)
        reader->peer[place] = reader->peer[place - 1];
    return &reader->peer[place];
}

static void sum_up_peers(struct mb_reader *reader) {
    reader->judges[0] = 0;
    reader->judges[1] = 0;
    reader->reads_batches = false;
    reader->sees_edits = false;
    for (uint32_t i = 0; i < reader->peers; i++) {
        const struct mb_peer *peer = &reader->peer[i];
        reader->reads_batches |= peer->cut != 0;
        if (!peer->barrier || peer->verdicts == NULL)
            continue;
        reader->sees_edits |= peer->editor != 0;
        reader->judges[0] |= peer->mask[0];
        reader->judges[1] |= peer->mask[1];
    }
}

int mb_reader_map_neighbour(struct mb_reader *reader, const struct mb_neighbour *neighbour) {
    size_t size = mb_nf_area_size(&neighbour->geometry);
    if (size == 0 || !may_be_neighbour(reader, neighbour))
        return -EINVAL;
    struct mb_area area;
    int error = mb_area_map(&area, neighbour->fd, size);
    if (error != 0)
        return error;
    const struct mb_nf_area parts = mb_nf_area_parts(area.base, &neighbour->geometry);
    if (mb_load_relaxed(&parts.page->magic) != MB_NF_PAGE_MAGIC ||
        mb_load_half_relaxed(&parts.page->version) != MB_LAYOUT_VERSION ||
        mb_load_half_relaxed(&parts.page->nf) != neighbour->index) {
        mb_area_destroy(&area);
        return -EPROTO;
    }
    /* What it published before, it published before this reader knew it. */
    const uint64_t published = mb_load_acquire(&parts.page->log_head);
    mb_reader_advance(reader);
    struct mb_peer peer = {
        .index = neighbour->index,
        .barrier = neighbour->barrier,
        .publishes = neighbour->publishes,
        .skips = neighbour->skips,
        .cut = neighbour->publishes ? neighbour->cut : 0,
        .is_shadow = neighbour->is_shadow,
        .editor = neighbour->is_shadow ? 0 : neighbour->geometry.editor,
        .mask = {neighbour->mask[0], neighbour->mask[1]},
        .geometry = neighbour->geometry,
        .area = area,
        .page = parts.page,
        .verdicts = neighbour->is_shadow ? NULL : parts.verdicts,
        .slots = parts.slots,
        .ring = parts.ring,
        .gone_at = MB_NEVER,
        .left_at = MB_NEVER,
        .visible = published,
        .taken = published,
        .next_at = MB_NEVER,
        .scanned = published,
        .batch_end_at = MB_NEVER,
    };
    if (peer.barrier && peer.verdicts != NULL && reader->skipping != NULL &&
        mb_skipping_add_judge(reader, &peer) != 0) {
        free(peer.verdict_copies);
        mb_area_destroy(&area);
        return -ENOMEM;
    }
    *place_of(reader, neighbour->index) = peer;
    sum_up_peers(reader);
    mb_nf_log_find_next(reader);
    return 0;
}

/* --- delivering --- */

static uint32_t subscriptions_in(const struct mb_reader *reader, uint64_t mask, uint32_t first) {
    uint32_t subscriptions = 0;
    for (; mask != 0; mask &= mask - 1) {
        uint32_t bit = first + (uint32_t)__builtin_ctzll(mask);
        subscriptions |= UINT32_C(1) << reader->subscription_of_bit[bit];
    }
    return subscriptions;
}

uint32_t mb_reader_matches(const struct mb_reader *reader, const struct mb_entry *entry) {
    uint64_t low = entry->mask[0] & reader->bits[0];
    uint64_t high = entry->mask[1] & reader->bits[1];
    if ((low | high) == 0 || entry->type >= MB_TYPES_MAX)
        return 0;
    uint32_t deliver = reader->subscriptions_of_type[entry->type];
    if (deliver == 0)
        return 0;
    return deliver & (subscriptions_in(reader, low, 0) | subscriptions_in(reader, high, 64));
}

/* Neither a packet nor a flow: a timer, the end of the input. */
static bool is_of_no_share(const struct mb_entry *entry) {
    return entry->flow == 0 && entry->frame_length == 0;
}

/* As `mb_reader_matches`, for what an NF published. Its mask is that of the worker's entry which
 * caused it, and names this reader under the publisher's filters. Subscription 0 has no filter:
 * whatever made the publisher speak is right for it. Of several instances the mask names the one
 * whose share it is; where all are named, as for a timer, it is for the first. */
static uint32_t matches_published(const struct mb_reader *reader, const struct mb_entry *entry) {
    if (entry->type >= MB_TYPES_MAX)
        return 0;
    if (reader->instances > 1 && !is_of_no_share(entry))
        return mb_reader_matches(reader, entry);
    if (reader->instance > 0)
        return 0;
    return mb_reader_matches(reader, entry) |
           (reader->subscriptions_of_type[entry->type] & UINT32_C(1));
}

/* The subscriptions among `bits` whose handlers the event reaches; counts it. */
static uint32_t delivered_bits(struct mb_reader *reader, const struct mb_entry *entry, uint64_t at,
                               int publisher, int dropped_by, uint32_t bits) {
    struct mb_nf_counters *counters = reader->own.counters;
    counters->matched++;
    if (mb_reader_is_dropped(reader, entry, publisher, dropped_by)) {
        counters->judged_dropped++;
        return 0;
    }
    const uint32_t wanted = mb_reader_is_settled(reader, entry, at)
                                ? 0
                                : mb_reader_still_wanted(reader, entry, at, bits);
    counters->settled += wanted == 0;
    return wanted;
}

static void deliver_nf_entry(struct mb_reader *reader, const struct mb_peer *peer,
                             const struct mb_nf_entry *copy) {
    uint32_t bits = matches_published(reader, &copy->entry);
    uint64_t at = copy->provenance.at;
    int dropped_by = at >= reader->resting ? reader->dropped_by : MB_NOBODY;
    if (bits != 0)
        bits = delivered_bits(reader, &copy->entry, at, (int)peer->index, dropped_by, bits);
    if (bits == 0)
        return;
    const uint8_t *payload = copy->entry.payload.bytes;
    if (copy->entry.flags & MB_IN_DATA_RING)
        payload = &peer->ring[copy->provenance.blob & (peer->geometry.ring_bytes - 1)];
    reader->deliveries[reader->delivered++] = (struct mb_delivery){
        .entry = &copy->entry,
        .nf_entry = copy,
        .payload = payload,
        .payload_length = copy->provenance.blob_length,
        .bits = bits,
        .position = at,
    };
}

/* Delivers what other NFs published before position `before`. Returns false where there is no room
 * left. */
static bool take_nf_entries(struct mb_reader *reader, uint64_t before) {
    while (reader->merge_next < before) {
        if (reader->delivered == reader->capacity || reader->copies_used == MB_COPIES)
            return false;
        const struct mb_peer *peer;
        const struct mb_nf_entry *copy = mb_nf_log_take(reader, &peer);
        if (copy != NULL)
            deliver_nf_entry(reader, peer, copy);
    }
    return true;
}

static void add_delivery(struct mb_reader *reader, const struct mb_entry *entry, uint32_t bits,
                         uint64_t position) {
    reader->deliveries[reader->delivered++] = (struct mb_delivery){
        .entry = entry,
        .nf_entry = NULL,
        .payload = entry->payload.bytes,
        .payload_length = MB_PAYLOAD_SIZE,
        .bits = bits,
        .position = position,
    };
}

static void deliver_lost(struct mb_reader *reader) {
    const struct mb_entry *lost = mb_skipping_take_lost(reader);
    const uint32_t bits = lost != NULL ? mb_reader_matches(reader, lost) : 0;
    if (bits != 0)
        add_delivery(reader, lost, bits, lost->sequence);
}

static void deliver_entry(struct mb_reader *reader, const struct mb_entry *entry) {
    uint32_t bits = mb_reader_matches(reader, entry);
    if (bits != 0)
        bits = delivered_bits(reader, entry, reader->next, MB_NOBODY, reader->dropped_by, bits);
    if (bits == 0)
        return;
    /* Handlers come when the whole poll is done; by then the other lines are here. */
    __builtin_prefetch(&entry->payload);
    __builtin_prefetch(&entry->snapshot);
    add_delivery(reader, entry, bits, reader->next);
}

static bool take_entry(struct mb_reader *reader) {
    if (reader->delivered == reader->capacity)
        return false;
    deliver_entry(reader, mb_reader_entry(reader, reader->next));
    reader->next++;
    return true;
}

static void clear_verdicts(struct mb_reader *reader, uint64_t first, uint64_t end) {
    uint8_t *verdicts = reader->own.verdicts;
    if (verdicts == NULL)
        return;
    uint64_t begin = first & reader->slot_mask;
    uint64_t count = end - first;
    uint64_t to_the_end = reader->slot_mask + 1 - begin;
    uint64_t straight = count < to_the_end ? count : to_the_end;
    memset(&verdicts[begin], MB_PASS, straight);
    memset(verdicts, MB_PASS, count - straight);
}

static bool begin_packet(struct mb_reader *reader, const struct mb_window *window) {
    uint64_t end = mb_reader_boundary(reader, reader->next + 1, window);
    if (end == MB_NEVER)
        return false;
    __builtin_prefetch(mb_reader_entry(reader, end + PREFETCH_AHEAD));
    clear_verdicts(reader, reader->next, end);
    reader->packet_end = end;
    reader->dropped_by = MB_NOBODY;
    if ((reader->judges[0] | reader->judges[1]) != 0)
        reader->dropped_by = mb_reader_judged(reader, reader->next, end);
    return true;
}

/* Delivers what `window` allows, packet after packet. It may stop inside a packet where there is no
 * room left; the cursor then waits before it. */
static void take(struct mb_reader *reader, const struct mb_window *window) {
    for (;;) {
        if (!take_nf_entries(reader, reader->next))
            return;
        if (reader->next == reader->packet_end) {
            reader->resting = reader->next;
            if (reader->next >= window->end || !begin_packet(reader, window))
                return;
        }
        if (!take_entry(reader))
            return;
    }
}

static void take_what_is_ready(struct mb_reader *reader, const struct mb_window *window) {
    if (reader->skipping == NULL) {
        take(reader, window);
        return;
    }
    deliver_lost(reader);
    take(reader, window);
    mb_skipping_keep_frames(reader);
}

/* --- polling --- */

bool mb_reader_is_inside_packet(const struct mb_reader *reader) {
    return reader->resting != reader->next;
}

/* All before the head may be read, and nothing comes behind it. */
static bool is_last_batch(const struct mb_reader *reader, const struct mb_window *window) {
    return reader->worker_is_gone && window->whole &&
           window->end == mb_load_sequential(&reader->log->head);
}

static bool is_ready(struct mb_reader *reader, struct mb_window *window) {
    if (mb_reader_is_inside_packet(reader)) {
        *window = (struct mb_window){.end = reader->packet_end, .whole = true};
        return true;
    }
    *window = mb_reader_look(reader);
    if (mb_skipping_has_lost(reader))
        return true;
    if (!window->concerned || window->end <= reader->next)
        return false;
    if (reader->cut == 0)
        return true;
    uint64_t end = mb_reader_batch_end(reader, window);
    if (end == MB_NEVER && (mb_skipping_ends_batch(reader) || is_last_batch(reader, window)))
        end = window->end;
    if (end == MB_NEVER)
        return false;
    window->end = end;
    window->whole = true;
    return true;
}

static int report_broken(struct mb_reader *reader, uint32_t *broken_nf) {
    if (reader->broken == MB_NOBODY)
        return 0;
    *broken_nf = (uint32_t)reader->broken;
    reader->broken = MB_NOBODY;
    return -EPROTO;
}

/* Looks once. Returns how many were delivered; moves on over what is not for this NF. `*moved`:
 * whether there was any of either. */
static uint32_t look_once(struct mb_reader *reader, struct mb_window *window, bool *moved) {
    uint64_t before = reader->next;
    if (is_ready(reader, window))
        take_what_is_ready(reader, window);
    *moved = reader->next != before || reader->delivered > 0;
    if (reader->delivered == 0)
        mb_reader_advance(reader);
    return reader->delivered;
}

/* Returns true when there is something to look at again, false when the time is over. */
static bool wait_for_more(struct mb_reader *reader, const struct mb_window *window,
                          uint64_t deadline) {
    uint64_t now = mb_monotonic_time();
    if (now >= deadline)
        return false;
    mb_reader_sleep(reader, window, deadline - now);
    return true;
}

static uint64_t deadline_after(uint64_t timeout_ns) {
    uint64_t now = mb_monotonic_time();
    return timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;
}

int mb_reader_poll(struct mb_reader *reader, struct mb_delivery *deliveries, uint32_t capacity,
                   uint64_t timeout_ns, uint32_t *broken_nf) {
    if (capacity < 2 * MB_ENTRIES_PER_PACKET || reader->log == NULL)
        return -EINVAL;
    mb_reader_advance(reader);
    reader->deliveries = deliveries;
    reader->capacity = capacity;
    reader->own.counters->polls++;
    uint64_t deadline = 0;
    uint32_t spins = reader->wait_policy.spins;
    for (;;) {
        struct mb_window window;
        bool moved;
        if (look_once(reader, &window, &moved) > 0) {
            mb_reader_begin_share(reader);
            return (int)reader->delivered;
        }
        int error = report_broken(reader, broken_nf);
        if (error != 0)
            return error;
        if (timeout_ns == 0) {
            if (!moved)
                return 0;
            continue;
        }
        if (spins > 0) {
            spins--;
            mb_spin_pause();
            continue;
        }
        if (deadline == 0)
            deadline = deadline_after(timeout_ns);
        if (moved ? mb_monotonic_time() >= deadline : !wait_for_more(reader, &window, deadline))
            return 0;
    }
}

void mb_reader_advance(struct mb_reader *reader) {
    if (reader->log == NULL)
        return;
    reader->delivered = 0;
    reader->copies_used = 0;
    mb_reader_move_cursor(reader, mb_reader_not_kept(reader));
}

struct mb_nf_counters *mb_reader_counters(struct mb_reader *reader) {
    return reader->own.counters;
}

const struct mb_entry *mb_reader_origin(const struct mb_reader *reader,
                                        const struct mb_delivery *delivery) {
    if (delivery->nf_entry == NULL)
        return delivery->entry;
    return mb_reader_entry(reader, delivery->position);
}

uint64_t mb_reader_position(const struct mb_reader *reader) {
    return reader->cursor;
}
