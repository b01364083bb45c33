/*
 * A whole chain at work: a worker that publishes, NFs that read, judge and publish, each taking
 * naps at random. Whatever the timing, each NF has to see just the same, in the same order and, in
 * batches, cut at the same places, as in a run by one thread that takes turns.
 */
#ifndef MICROBOX_TESTS_CORE_BUS_PARTIES_H
#define MICROBOX_TESTS_CORE_BUS_PARTIES_H

#include "bus_fixture.h"

#include "microbox/events/event_types.h"

#include <time.h>

enum { PARTIES = 9, PARTY_PACKETS = 12000, PARTY_SLOTS = MB_LOG_SLOTS_MIN, PARTY_WAIT = 20000000 };

/* A firewall; a parser with a small log; who reads its events in batches; a second firewall; who
 * reads all events; two instances that read the parser's events, each of its share of the flows,
 * and two more that do so in batches and judge. */
static const struct bus_nf parties[PARTIES] = {
    {.is_inline = true, .own_slots = 64, .ring_bytes = 4096},
    {.waits_for = NF(0), .own_slots = 16, .ring_bytes = 4096},
    {.waits_for = NF(0) | NF(1), .merges = NF(1), .cut = 64},
    {.waits_for = NF(0) | NF(1), .merges = NF(1), .is_inline = true, .cut = 256},
    {.waits_for = NF(0) | NF(1) | NF(2) | NF(3), .merges = NF(0) | NF(1)},
    {.waits_for = NF(0) | NF(1), .merges = NF(1), .instance = 0, .instances = 2},
    {.waits_for = NF(0) | NF(1), .merges = NF(1), .instance = 1, .instances = 2},
    {.waits_for = NF(0) | NF(1), .merges = NF(1), .is_inline = true, .cut = 64, .instances = 2},
    {.waits_for = NF(0) | NF(1),
     .merges = NF(1),
     .is_inline = true,
     .cut = 64,
     .instance = 1,
     .instances = 2},
};

/* What a party saw. */
struct party {
    uint64_t fingerprint; /* of all deliveries, in order */
    uint64_t deliveries;
    bool ended; /* it saw the end of the input */
    bool failed;
};

struct naps {
    uint64_t state; /* 0: none */
};

static inline uint64_t party_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline void party_nap(struct naps *naps) {
    if (naps->state == 0 || party_random(&naps->state) % 16 != 0)
        return;
    struct timespec nap = {.tv_nsec = (long)(party_random(&naps->state) % 200000)};
    nanosleep(&nap, NULL);
}

static inline uint64_t party_mix(uint64_t fingerprint, uint64_t word) {
    return (fingerprint ^ word) * UINT64_C(0x100000001b3);
}

static inline void party_note(struct party *party, const struct mb_delivery *delivery) {
    uint64_t publisher =
        delivery->nf_entry != NULL ? 1 + delivery->nf_entry->provenance.publisher : 0;
    const uint64_t words[] = {publisher, delivery->position, delivery->entry->sequence,
                              delivery->entry->flow, delivery->payload_length};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        party->fingerprint = party_mix(party->fingerprint, words[i]);
    for (uint32_t i = 0; i < delivery->payload_length; i++)
        party->fingerprint = party_mix(party->fingerprint, delivery->payload[i]);
    party->deliveries++;
}

/* Judges by what the event says, never by when it comes. */
static inline void party_judge(struct mb_reader *reader, const struct mb_delivery *delivery,
                               uint32_t index) {
    uint64_t choice = (delivery->entry->flow * 31 + delivery->position + index) % 97;
    enum mb_verdict verdict = choice < 5    ? MB_DROP
                              : choice == 5 ? MB_DROP_FLOW
                              : choice == 6 ? MB_PASS_FLOW
                                            : MB_PASS;
    if (verdict != MB_PASS && delivery->entry->flow != 0)
        mb_reader_judge(reader, delivery->position, verdict);
}

/* Some events make an NF publish: up to three short or long ones. */
static inline bool party_publish(struct mb_reader *reader, const struct mb_delivery *delivery) {
    uint8_t payload[300];
    uint64_t choice = delivery->entry->sequence * 7 + delivery->entry->flow;
    uint32_t length = choice % 3 == 0 ? sizeof payload : 24;
    memset(payload, (int)(choice & 0xff), sizeof payload);
    for (uint64_t i = 0; i < choice % 4; i++)
        if (mb_reader_publish(reader, delivery, 9, 0, payload, length, NULL) != 0)
            return false;
    return true;
}

static inline void party_handle(struct mb_reader *reader, uint32_t index, struct party *party,
                                const struct mb_delivery *delivery) {
    if (delivery->bits == 0)
        return;
    party_note(party, delivery);
    mb_reader_set_position(reader, delivery->position);
    if (delivery->entry->type == MB_TYPE_SYSTEM_END_OF_INPUT)
        party->ended = true;
    else if (parties[index].own_slots != 0 && !party_publish(reader, delivery))
        party->failed = true;
    party_judge(reader, delivery, index);
}

/* One poll of party `index`. Returns whether it goes on. */
static inline bool party_turn(struct mb_reader *reader, uint32_t index, struct party *party,
                              struct mb_delivery *deliveries, uint64_t timeout_ns) {
    uint32_t broken;
    int count = mb_reader_poll(reader, deliveries, BUS_CAPACITY, timeout_ns, &broken);
    if (count < 0)
        party->failed = true;
    for (int i = 0; i < count; i++)
        party_handle(reader, index, party, &deliveries[i]);
    if (count > 0 && parties[index].cut != 0) /* where a batch ends matters too */
        party->fingerprint = party_mix(party->fingerprint, 0x55);
    if (count > 0)
        mb_reader_advance(reader);
    return !party->ended && !party->failed;
}

static inline void party_run(struct bus *bus, uint32_t index, struct party *party,
                             struct naps naps) {
    while (party_turn(bus->reader[index], index, party, bus->delivery[index], PARTY_WAIT))
        party_nap(&naps);
}

/* Who is named must make sense to the plan: who reads an NF's events is named with it. */
static inline uint64_t party_mask(uint64_t choice, uint64_t packet, uint64_t flow) {
    if (packet % 4000 > 2500) /* all but one idle for a while, longer than the log */
        return NF(2);
    uint64_t mask = choice & 0x1f;
    if (mask & NF(0))
        mask |= NF(4);
    if (mask & NF(1))
        mask |= NF(2) | NF(3) | NF(4) | (flow % 4 == 0 ? NF(5) | NF(7) : NF(6) | NF(8));
    return mask;
}

static inline void party_packet(struct bus *bus, uint64_t *content) {
    uint64_t count = 1 + party_random(content) % 4;
    uint64_t flow = 1 + party_random(content) % 300;
    for (uint64_t i = 0; i < count; i++)
        bus_entry(bus, flow, party_mask(party_random(content), bus->packets, flow));
    bus_end_packet(bus);
}

static inline void party_end_of_input(struct bus *bus) {
    struct mb_entry *entry = bus_entry(bus, 0, NF(PARTIES) - 1);
    entry->type = MB_TYPE_SYSTEM_END_OF_INPUT;
    entry->flags |= MB_ENDS_BATCH;
    bus_end_packet(bus);
    mb_log_commit(&bus->log);
}

/* The worker. What it publishes is always the same. */
static inline void party_work(struct bus *bus, struct naps naps) {
    uint64_t content = 88172645463325252;
    uint64_t open = 0;
    for (uint64_t packet = 0; packet < PARTY_PACKETS; packet++) {
        while (!mb_log_has_room(&bus->log, MB_ENTRIES_PER_PACKET)) {
            mb_log_commit(&bus->log);
            mb_log_wait_for_room(&bus->log, PARTY_WAIT);
        }
        party_packet(bus, &content);
        if (++open < 16 && naps.state != 0 && party_random(&naps.state) % 8 != 0)
            continue;
        mb_log_commit(&bus->log);
        open = 0;
        party_nap(&naps);
    }
    mb_log_commit(&bus->log);
    party_end_of_input(bus);
}

/* The model: one thread, one packet at a time through the whole chain. */
static inline void party_model(struct party model[PARTIES]) {
    static struct bus bus;
    bus_create(&bus, PARTY_SLOTS, parties, PARTIES);
    memset(model, 0, PARTIES * sizeof *model);
    uint64_t content = 88172645463325252;
    for (uint64_t packet = 0; packet <= PARTY_PACKETS; packet++) {
        assert_true(mb_log_has_room(&bus.log, MB_ENTRIES_PER_PACKET));
        if (packet < PARTY_PACKETS)
            party_packet(&bus, &content);
        else
            party_end_of_input(&bus);
        mb_log_commit(&bus.log);
        for (uint32_t i = 0; i < PARTIES; i++)
            for (uint64_t before = UINT64_MAX; before != model[i].deliveries;) {
                before = model[i].deliveries;
                party_turn(bus.reader[i], i, &model[i], bus.delivery[i], 0);
            }
    }
    for (uint32_t i = 0; i < PARTIES; i++) {
        assert_true(model[i].ended);
        assert_false(model[i].failed);
        assert_true(model[i].deliveries > 1000);
    }
    assert_true(mb_log_drained(&bus.log));
    bus_destroy(&bus);
}

static inline void party_compare(const struct party *seen, const struct party *model) {
    for (uint32_t i = 0; i < PARTIES; i++) {
        assert_false(seen[i].failed);
        assert_true(seen[i].ended);
        assert_int_equal(seen[i].deliveries, model[i].deliveries);
        assert_true(seen[i].fingerprint == model[i].fingerprint);
    }
}

#endif
