/*
 * An NF that scribbles over every page that it may write, while worker, gate and other readers go
 * on: it spoils its own results alone, and is found out.
 *
 * It scribbles from a thread of its own, so that words change while they are read. AddressSanitizer
 * and UndefinedBehaviorSanitizer watch those who read them.
 */
#include "bus_fixture.h"

#include "microbox/bus/atomic.h"
#include "microbox/bus/conduct.h"
#include "microbox/bus/reader_private.h"
#include "microbox/stack/decode/decode.h"
#include "microbox/stack/gate.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    SLOTS = MB_LOG_SLOTS_MIN,
    OWN_SLOTS = 64,
    RING = 4096,
    COMMANDS = 4096,
    DELAY = 256,
    FLOWS = 50,
    FRAME = 64,
    GATE_CAPACITY = 1024,
    EDIT_BYTES = MB_PAGE_SIZE,
    SCRIBBLES = 1000000,
    LOUD = 0,    /* reads nothing of the hostile one, and judges */
    HOSTILE = 1, /* has every kind of page */
    MERGES = 2,  /* waits for it, reads its events, publishes */
    BATCHES = 3, /* likewise, in batches */
    NFS = 4,
    ALL = (1 << NFS) - 1,
};

static const struct bus_nf nfs[NFS] = {
    [LOUD] = {.is_inline = true},
    [HOSTILE] = {.is_inline = true,
                 .rewrites = true,
                 .editor = 1,
                 .edit_bytes = EDIT_BYTES,
                 .own_slots = OWN_SLOTS,
                 .ring_bytes = RING,
                 .command_slots = COMMANDS,
                 .command_delay = DELAY},
    [MERGES] = {.waits_for = NF(HOSTILE),
                .merges = NF(HOSTILE),
                .own_slots = OWN_SLOTS,
                .ring_bytes = RING},
    [BATCHES] = {.waits_for = NF(HOSTILE), .merges = NF(HOSTILE), .cut = 64},
};

/* --- the hostile one --- */

struct scribbler {
    struct mb_area *area; /* all that it may write */
    struct mb_nf_area *parts;
    const struct mb_log_page *log;
    const struct mb_entry *entries;
    uint64_t random;
    _Atomic uint64_t done;
};

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* A word that may hurt: small, ahead of or behind the positions in use, maximal, lengths of 2^32 -
 * 1 and verdicts of 255, noise. */
static uint64_t hurtful(struct scribbler *one) {
    const uint64_t noise = next_random(&one->random);
    switch (noise % 5) {
    case 0:
        return noise >> 8 & 63;
    case 1:
        return mb_load_relaxed(&one->log->head) + (noise >> 8) % 128 - 64;
    case 2:
        return UINT64_MAX - (noise >> 8) % 8;
    case 3:
        return UINT32_MAX;
    default:
        return noise;
    }
}

/* The worker writes it meanwhile. */
static uint64_t packet_in(const struct scribbler *one, uint64_t slot) {
    uint64_t packet;
    mb_copy_unstable(&packet, &one->entries[slot].packet, 1);
    return packet;
}

/* Edits that are nearly right: of the packet in the slot, with words that may hurt, and
 * replacements that change while they are taken. */
static void scribble_edit(struct scribbler *one) {
    const uint64_t slot = next_random(&one->random) % SLOTS;
    uint64_t *record = (uint64_t *)(void *)&one->parts->edits[slot];
    uint64_t *ring = (uint64_t *)(void *)one->parts->replacements;
    const uint64_t at = next_random(&one->random) % (EDIT_BYTES / 8 - 2);
    mb_store_relaxed(&record[0], packet_in(one, slot));
    mb_store_relaxed(&record[1], 8 * at);
    mb_store_relaxed(&record[2], (next_random(&one->random) % 4 ? 16 : hurtful(one)) |
                                     (uint64_t)MB_EDIT_IP_TTL << 32);
    mb_store_relaxed(&ring[at],
                     (42 + next_random(&one->random) % 8) | next_random(&one->random) % 9 << 32);
    mb_store_relaxed(&record[3 + next_random(&one->random) % 13],
                     next_random(&one->random) % 4 ? 0 : hurtful(one));
    mb_store_byte_relaxed(&one->parts->verdicts[slot], MB_LEFT_EDIT);
}

static void scribble(struct scribbler *one) {
    struct mb_nf_page *page = one->parts->page;
    uint64_t *const words[] = {&page->cursor, &page->log_head, &page->command_head,
                               (uint64_t *)(void *)&page->asleep};
    uint64_t *all = one->area->base;
    struct mb_nf_entry *slot = &one->parts->slots[next_random(&one->random) % OWN_SLOTS];
    mb_store_relaxed(words[next_random(&one->random) % 4], hurtful(one));
    mb_store_relaxed(&all[next_random(&one->random) % (one->area->size / sizeof *all)],
                     hurtful(one));
    mb_store_relaxed(&slot->provenance.at, hurtful(one));
    mb_store_byte_relaxed(&one->parts->verdicts[next_random(&one->random) % SLOTS],
                          (uint8_t)hurtful(one));
    scribble_edit(one);
}

static void *scribble_on(void *argument) {
    struct scribbler *one = argument;
    while (atomic_load(&one->done) < SCRIBBLES) {
        scribble(one);
        atomic_fetch_add(&one->done, 1);
    }
    mb_store_sequential(&one->parts->page->cursor, UINT64_MAX); /* so nobody waits for it */
    return NULL;
}

/* --- everybody else --- */

struct chain {
    struct bus bus;
    struct mb_gate *gate;
    struct mb_conduct conduct;
    struct mb_decoder decoder;
    struct mb_area frames;
    struct mb_area versions;
    struct mb_frame_pool pool;
    uint64_t random;
    uint64_t seen[NFS]; /* sequence number of the next entry that may come */
    uint64_t sum;       /* of all bytes that were read, so that they are */
};

static const struct mb_versions_shape shape = {
    .editors = 1, .log_slots = SLOTS, .ring_bytes = 4 * MB_VERSION_FRAME_MAX};

/* One frame for all: a UDP datagram. */
static void make_frames(struct chain *chain) {
    static const uint8_t frame[FRAME] = {
        2, 0,  0,  0, 0, 1,  2, 0, 0, 0,  0, 2, 8, 0, 0x45, 0, 0, FRAME - 14, 0,          1, 0,
        0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 4, 0,    5, 0, 0,          FRAME - 34, 0, 0};
    assert_int_equal(mb_area_create(&chain->frames, "frames", MB_PAGE_SIZE), 0);
    assert_int_equal(mb_area_create(&chain->versions, "versions", mb_versions_size(&shape)), 0);
    memcpy(chain->frames.base, frame, sizeof frame);
    assert_int_equal(
        mb_frame_pool_map(
            &chain->pool, (struct mb_pool_part){.fd = chain->frames.fd, .size = MB_PAGE_SIZE},
            (struct mb_pool_part){.size = 0},
            (struct mb_pool_part){.fd = chain->versions.fd, .size = chain->versions.size}),
        0);
    for (uint32_t index = 0; index < NFS; index++)
        assert_int_equal(mb_reader_use_versions(chain->bus.reader[index], &chain->pool, &shape), 0);
}

static void create(struct chain *chain) {
    bus_create(&chain->bus, SLOTS, nfs, NFS);
    make_frames(chain);
    const struct mb_gate_config config = {.log = &chain->bus.log,
                                          .pool = chain->pool.bytes,
                                          .capacity = GATE_CAPACITY,
                                          .flow_slots = FLOWS + 1,
                                          .datagram_slots = 1};
    chain->gate = mb_gate_create(&config);
    assert_non_null(chain->gate);
    assert_true(mb_gate_translate(chain->gate, &chain->decoder));
    assert_true(mb_gate_accept_edits(chain->gate, &chain->decoder, &shape, chain->versions.base));
    for (uint32_t i = LOUD; i <= HOSTILE; i++) {
        const struct mb_consumer *consumer = &chain->bus.log.consumer[i];
        mb_gate_watch(chain->gate, i, consumer->verdicts, consumer->mask, false);
    }
    const struct mb_nf_geometry geometry = bus_geometry(&chain->bus, HOSTILE);
    const struct mb_nf_area parts = mb_nf_area_parts(chain->bus.area[HOSTILE].base, &geometry);
    mb_gate_watch_rewrites(chain->gate, HOSTILE, parts.rewrites);
    mb_gate_watch_edits(chain->gate, HOSTILE, &parts, &geometry);
}

static void destroy(struct chain *chain) {
    mb_gate_destroy(chain->gate);
    bus_destroy(&chain->bus);
    mb_frame_pool_unmap(&chain->pool);
    mb_area_destroy(&chain->frames);
    mb_area_destroy(&chain->versions);
}

/* A packet of one to four entries: in the gate's order (gate.h). Nothing where there is no room. */
static void publish_packet(struct chain *chain) {
    struct bus *bus = &chain->bus;
    mb_gate_run(chain->gate);
    if (!mb_log_has_room(&bus->log, 4) || mb_gate_room(chain->gate) == 0)
        return;
    const uint64_t noise = next_random(&chain->random);
    const uint64_t flow = 1 + noise % FLOWS;
    const uint64_t first = bus->log.next;
    for (uint64_t i = 0; i <= (noise >> 8) % 4; i++)
        bus_entry(bus, flow, ALL);
    bus_end_packet(bus);
    const struct mb_frame frame = {.length = FRAME, .wire_length = FRAME, .link_type = 1};
    const struct mb_handled handled = {.first = first,
                                       .end = bus->log.next,
                                       .packet = bus->packets,
                                       .flow = flow,
                                       .flow_slot = (uint32_t)flow};
    mb_gate_add(chain->gate, &frame, &handled);
    mb_log_commit(&bus->log);
}

/* An entry of the worker's, as it was published, none twice. */
static void expect_sound(struct chain *chain, uint32_t index, const struct mb_entry *entry) {
    assert_true(entry->sequence >= chain->seen[index]);
    assert_int_equal(entry->time, entry->sequence * 1000);
    uint8_t expected[sizeof entry->payload];
    memset(expected, (int)(entry->sequence & 0xff), sizeof expected);
    assert_memory_equal(&entry->payload, expected, sizeof expected);
    chain->seen[index] = entry->sequence + 1;
}

/* A version is as long as what it was made of, but for tags. */
static void sum_up_frame(struct chain *chain, struct mb_seen_frame frame) {
    assert_true(frame.frame_length <= FRAME + 8);
    for (uint32_t i = 0; i < frame.frame_length; i++)
        chain->sum += chain->pool.bytes[frame.frame + i];
}

static void take(struct chain *chain, uint32_t index, const struct mb_delivery *delivery) {
    if (delivery->nf_entry == NULL)
        expect_sound(chain, index, delivery->entry);
    for (uint32_t i = 0; i < delivery->payload_length; i++)
        chain->sum += delivery->payload[i];
    if (delivery->nf_entry == NULL)
        sum_up_frame(chain, mb_reader_frame(chain->bus.reader[index], delivery));
    if (index == LOUD)
        mb_reader_judge_delivery(chain->bus.reader[index], delivery, MB_PASS);
}

static void republish(struct chain *chain, const struct mb_delivery *cause) {
    static const uint8_t payload[200];
    volatile bool cancelled = true;
    mb_reader_set_position(chain->bus.reader[MERGES], cause->position);
    mb_reader_publish(chain->bus.reader[MERGES], cause, 7, 0, payload, sizeof payload, &cancelled);
}

static void read_on(struct chain *chain, uint32_t index) {
    struct mb_reader *reader = chain->bus.reader[index];
    struct mb_delivery *deliveries = chain->bus.delivery[index];
    uint32_t broken = HOSTILE;
    const int count = mb_reader_poll(reader, deliveries, BUS_CAPACITY, 0, &broken);
    assert_true(count >= 0 || count == -EPROTO);
    assert_int_equal(broken, HOSTILE);
    const uint64_t before = chain->seen[index];
    for (int i = 0; i < count; i++)
        take(chain, index, &deliveries[i]);
    if (index == LOUD)
        assert_int_equal(chain->seen[index] - before, count); /* it misses nothing */
    if (index == MERGES && count > 0)
        republish(chain, &deliveries[0]);
    mb_reader_advance(reader);
}

static void turn(struct chain *chain) {
    publish_packet(chain);
    for (uint32_t index = 0; index < NFS; index++)
        if (index != HOSTILE)
            read_on(chain, index);
}

static void it_spoils_its_own_results_alone(void **state) {
    (void)state;
    static struct chain chain;
    chain.random = 7919;
    create(&chain);
    struct scribbler one = {.area = &chain.bus.reader[HOSTILE]->own_area,
                            .parts = &chain.bus.reader[HOSTILE]->own,
                            .log = chain.bus.log.page,
                            .entries = chain.bus.log.slots,
                            .random = 104729};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, scribble_on, &one), 0);
    while (atomic_load(&one.done) < SCRIBBLES) {
        turn(&chain);
        mb_conduct_look(&chain.conduct, chain.bus.log.consumer[HOSTILE].page, chain.bus.log.head);
    }
    pthread_join(thread, NULL);
    mb_conduct_look(&chain.conduct, chain.bus.log.consumer[HOSTILE].page, chain.bus.log.head);

    char words[MB_ERROR_SIZE];
    mb_conduct_in_words(&chain.conduct, words, sizeof words);
    const struct mb_gate_counters counters = mb_gate_counters(chain.gate);
    print_message("%d scribbles, %llu packets, %llu edits taken, %llu refused: %s\n", SCRIBBLES,
                  (unsigned long long)chain.bus.packets, (unsigned long long)counters.edits,
                  (unsigned long long)counters.edits_refused, words);
    assert_true(counters.edits > 0 && counters.edits_refused > 0);
    assert_int_not_equal(chain.conduct.misconduct, MB_CONDUCT_FINE);

    /* It is ended. The others read on to the end. */
    mb_log_detach(&chain.bus.log, HOSTILE);
    for (unsigned i = 0; i < 200; i++)
        turn(&chain);
    assert_int_equal(chain.seen[LOUD], chain.bus.log.head);
    assert_true(chain.seen[MERGES] > 0);
    destroy(&chain);
}

static void expect_words(const struct mb_conduct *conduct, const char *expected) {
    char words[MB_ERROR_SIZE];
    mb_conduct_in_words(conduct, words, sizeof words);
    assert_string_equal(words, expected);
}

static void what_was_wrong_first_is_said(void **state) {
    (void)state;
    struct mb_nf_page page = {.cursor = 5, .log_head = 7};
    struct mb_conduct conduct = {0};
    mb_conduct_look(&conduct, &page, 5);
    assert_int_equal(conduct.misconduct, MB_CONDUCT_FINE);
    page.cursor = 9;
    mb_conduct_look(&conduct, &page, 8);
    expect_words(&conduct, "its cursor is 9, beyond the last event, which is before 8");
    page.cursor = 2;
    mb_conduct_look(&conduct, &page, 8);
    expect_words(&conduct, "its cursor is 9, beyond the last event, which is before 8");
}

static void what_runs_back_is_found(void **state) {
    (void)state;
    struct mb_nf_page page = {.cursor = 5, .log_head = 7, .command_head = 3};
    struct mb_conduct cursor = {.cursor = 6};
    struct mb_conduct log_head = {.log_head = 8};
    struct mb_conduct command_head = {.command_head = 4};
    mb_conduct_look(&cursor, &page, 100);
    mb_conduct_look(&log_head, &page, 100);
    mb_conduct_look(&command_head, &page, 100);
    expect_words(&cursor, "its cursor went back to 5 from 6");
    expect_words(&log_head, "the count of events that it published went back to 7 from 8");
    expect_words(&command_head, "the count of its commands went back to 3 from 4");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_spoils_its_own_results_alone),
        cmocka_unit_test(what_was_wrong_first_is_said),
        cmocka_unit_test(what_runs_back_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
