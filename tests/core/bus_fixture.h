/*
 * A worker's log and a chain of NFs on it, all in this process: what the tests of the bus share.
 *
 * NF i has bit i of the mask and subscribes to all types. Tests publish packets of one or more
 * entries, poll NFs by hand, and look at what came.
 */
#ifndef MICROBOX_TESTS_CORE_BUS_FIXTURE_H
#define MICROBOX_TESTS_CORE_BUS_FIXTURE_H

#include "microbox/bus/log.h"
#include "microbox/bus/reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BUS_NFS = 12, BUS_CAPACITY = 2 * MB_ENTRIES_PER_PACKET, BUS_TYPE = 5 };

/* Sets of NFs, as the bits of the mask. */
#define NF(index) (UINT64_C(1) << (index))

struct bus_nf {
    uint64_t waits_for; /* set of earlier NFs: its barrier */
    uint64_t merges;    /* set of earlier NFs: whose events it reads */
    bool is_inline;
    bool rewrites;
    uint32_t editor;     /* its number */
    uint64_t edit_bytes; /* of its ring of replacements */
    bool fails_closed;
    uint64_t own_slots;
    uint64_t ring_bytes;
    uint64_t cut;
    uint64_t command_slots;
    uint64_t command_delay;
    bool reads_streams; /* BUS_TYPE carries bytes of a stream */
    uint32_t instance;  /* with `instances` others, which come right before and behind */
    uint32_t instances;
    bool skips;
    bool is_shadow; /* to readers and to the worker */
};

struct bus {
    struct mb_log log;
    uint32_t nfs;
    struct bus_nf nf[BUS_NFS];
    struct mb_reader *reader[BUS_NFS];
    struct mb_area area[BUS_NFS]; /* as the worker maps them */
    struct mb_delivery delivery[BUS_NFS][BUS_CAPACITY];
    uint64_t delivers[BUS_NFS][MB_TYPES_MAX][2]; /* of NFs that skip */
    uint64_t packets;
};

static inline struct mb_nf_geometry bus_geometry(const struct bus *bus, uint32_t index) {
    const struct bus_nf *nf = &bus->nf[index];
    return (struct mb_nf_geometry){.log_slots = bus->log.slot_mask + 1,
                                   .own_slots = nf->own_slots,
                                   .ring_bytes = nf->ring_bytes,
                                   .command_slots = nf->command_slots,
                                   .is_inline = nf->is_inline,
                                   .rewrites = nf->rewrites,
                                   .editor = nf->editor,
                                   .edit_bytes = nf->edit_bytes};
}

static inline uint64_t bus_siblings(const struct bus_nf *nf, uint32_t index) {
    return nf->instances > 1 ? (NF(nf->instances) - 1) << (index - nf->instance) : 0;
}

static inline struct mb_reader *bus_make_reader(const struct bus *bus, uint32_t index) {
    struct mb_reader_config config = {.nf = index,
                                      .log_slots = bus->log.slot_mask + 1,
                                      .geometry = bus_geometry(bus, index),
                                      .subscriptions = 1,
                                      .bit = {(uint8_t)index},
                                      .cut = bus->nf[index].cut,
                                      .instance = bus->nf[index].instance,
                                      .instances = bus->nf[index].instances,
                                      .switchable = bus->nf[index].command_slots != 0,
                                      .command_delay = bus->nf[index].command_delay,
                                      .skips = bus->nf[index].skips};
    memset(config.types[0], 0xff, sizeof config.types[0]);
    if (bus->nf[index].reads_streams)
        config.streams[BUS_TYPE / 64] = UINT64_C(1) << BUS_TYPE % 64;
    memset(config.loses, 0xff, sizeof config.loses);
    int error = 0;
    struct mb_reader *reader = mb_reader_create(&config, &error);
    assert_int_equal(error, 0);
    assert_non_null(reader);
    return reader;
}

/* NF `index` maps NF `other`, as the plan would have it. */
static inline void bus_map_neighbour(struct bus *bus, uint32_t index, uint32_t other) {
    const struct bus_nf *nf = &bus->nf[index];
    struct mb_neighbour neighbour = {.index = other,
                                     .fd = mb_reader_area_fd(bus->reader[other]),
                                     .geometry = bus_geometry(bus, other),
                                     .mask = {NF(other), 0},
                                     .barrier = (nf->waits_for & NF(other)) != 0,
                                     .publishes = (nf->merges & NF(other)) != 0,
                                     .skips = bus->nf[other].skips,
                                     .cut = bus->nf[other].cut,
                                     .is_shadow = bus->nf[other].is_shadow};
    assert_int_equal(mb_reader_map_neighbour(bus->reader[index], &neighbour), 0);
}

/* Each NF maps those that it waits for, and those that wait for it. */
static inline void bus_create(struct bus *bus, uint64_t slots, const struct bus_nf *nfs,
                              uint32_t count) {
    memset(bus, 0, sizeof *bus);
    assert_int_equal(mb_log_create(&bus->log, slots), 0);
    bus->log.wait_policy.spins = 0;
    bus->nfs = count;
    if (count != 0)
        memcpy(bus->nf, nfs, count * sizeof *nfs);
    for (uint32_t i = 0; i < count; i++) {
        bus->reader[i] = bus_make_reader(bus, i);
        struct mb_nf_geometry geometry = bus_geometry(bus, i);
        size_t size = mb_nf_area_size(&geometry);
        assert_int_equal(mb_area_map(&bus->area[i], mb_reader_area_fd(bus->reader[i]), size), 0);
        struct mb_nf_area parts = mb_nf_area_parts(bus->area[i].base, &geometry);
        struct mb_consumer consumer = {.page = parts.page,
                                       .verdicts = parts.verdicts,
                                       .mask = {NF(i), 0},
                                       .edits = nfs[i].editor != 0,
                                       .fails_closed = nfs[i].fails_closed,
                                       .is_shadow = nfs[i].is_shadow,
                                       .siblings = bus_siblings(&nfs[i], i)};
        for (uint32_t type = 0; type < MB_TYPES_MAX; type++)
            bus->delivers[i][type][0] = NF(i);
        if (nfs[i].skips)
            consumer.delivers = (const uint64_t(*)[2])bus->delivers[i];
        assert_int_equal(mb_log_attach(&bus->log, i, &consumer), 0);
        assert_int_equal(mb_reader_map_log(bus->reader[i], bus->log.area.fd), 0);
    }
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < count; j++)
            if ((nfs[i].waits_for & NF(j)) != 0 || (nfs[j].waits_for & NF(i)) != 0)
                bus_map_neighbour(bus, i, j);
}

static inline void bus_destroy(struct bus *bus) {
    for (uint32_t i = 0; i < bus->nfs; i++) {
        mb_reader_destroy(bus->reader[i]);
        mb_area_destroy(&bus->area[i]);
    }
    mb_log_destroy(&bus->log);
}

/* One more entry of the packet in hand, with a frame and, where `flow` is not 0, a flow. */
static inline struct mb_entry *bus_entry(struct bus *bus, uint64_t flow, uint64_t nfs) {
    uint64_t mask[2] = {nfs, 0};
    struct mb_entry *entry = mb_log_claim(&bus->log, mask);
    entry->time = entry->sequence * 1000;
    entry->packet = bus->packets + 1;
    entry->flow = flow;
    entry->frame = 0;
    entry->frame_length = 64;
    entry->type = BUS_TYPE;
    entry->reason = 0;
    entry->flags = flow != 0 ? MB_HAS_FLOW : 0;
    entry->data_length = 0;
    entry->data_offset = 0;
    memset(&entry->payload, (int)(entry->sequence & 0xff), sizeof entry->payload);
    return entry;
}

static inline void bus_end_packet(struct bus *bus) {
    mb_log_end_packet(&bus->log, bus->log.head);
    bus->packets++;
}

/* A packet with one entry, readable at once. Returns its sequence number. */
static inline uint64_t bus_packet(struct bus *bus, uint64_t flow, uint64_t nfs) {
    assert_true(mb_log_has_room(&bus->log, 1));
    uint64_t sequence = bus_entry(bus, flow, nfs)->sequence;
    bus_end_packet(bus);
    mb_log_commit(&bus->log);
    return sequence;
}

static inline void bus_packets(struct bus *bus, uint64_t count, uint64_t flow, uint64_t nfs) {
    for (uint64_t i = 0; i < count; i++)
        bus_packet(bus, flow, nfs);
}

/* Looks once. Returns how many deliveries, in bus->delivery[index]. */
static inline uint32_t bus_poll(struct bus *bus, uint32_t index) {
    uint32_t broken = UINT32_MAX;
    int count = mb_reader_poll(bus->reader[index], bus->delivery[index], BUS_CAPACITY, 0, &broken);
    assert_true(count >= 0);
    return (uint32_t)count;
}

/* Polls, expects just these entries of the worker's log, and moves on. The list ends with -1. */
static inline void bus_expect(struct bus *bus, uint32_t index, ...) {
    va_list expected;
    va_start(expected, index);
    uint32_t count = bus_poll(bus, index);
    uint32_t seen = 0;
    for (int sequence = va_arg(expected, int); sequence >= 0; sequence = va_arg(expected, int)) {
        assert_true(seen < count);
        assert_null(bus->delivery[index][seen].nf_entry);
        assert_int_equal(bus->delivery[index][seen].entry->sequence, sequence);
        seen++;
    }
    assert_int_equal(seen, count);
    va_end(expected);
    mb_reader_advance(bus->reader[index]);
}

static inline struct mb_nf_counters *bus_counters(struct bus *bus, uint32_t index) {
    return mb_reader_counters(bus->reader[index]);
}

#endif
