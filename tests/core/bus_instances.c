/*
 * Two instances that read what an NF publishes, while it overwrites what was for the other one: a
 * thread for each party. Each instance has to see all of its own, in its place, and nothing else.
 */
#include "bus_fixture.h"

#include "microbox/events/event_types.h"

#include <pthread.h>
#include <time.h>

enum {
    PACKETS = 30000,
    SLOTS = MB_LOG_SLOTS_MIN,
    OWN_SLOTS = 16,
    PARSER = 0,
    INSTANCES = 2, /* NFs 1 and 2 */
    WAIT = 20000000
};

static const struct bus_nf nfs[] = {
    {.own_slots = OWN_SLOTS, .ring_bytes = 4096},
    {.waits_for = NF(PARSER), .merges = NF(PARSER), .instance = 0, .instances = INSTANCES},
    {.waits_for = NF(PARSER), .merges = NF(PARSER), .instance = 1, .instances = INSTANCES},
};

struct party {
    struct bus *bus;
    uint32_t index;
    uint64_t random;
    uint64_t entries; /* of the worker that it was given */
    uint64_t events;  /* of the parser */
    uint64_t missing; /* events that the last entry still has to have */
    bool ended;
    bool failed;
};

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void nap(struct party *party) {
    if (next_random(&party->random) % 16 != 0)
        return;
    const struct timespec nap = {.tv_nsec = (long)(next_random(&party->random) % 200000)};
    nanosleep(&nap, NULL);
}

/* What the parser publishes about a flow's entry. */
static uint64_t events_about(const struct mb_entry *entry) {
    return entry->flow % 4;
}

static bool is_of_instance(const struct mb_entry *entry, uint32_t index) {
    return 1 + entry->flow % INSTANCES == index;
}

static void parse(struct party *party, const struct mb_delivery *delivery) {
    uint8_t payload[100] = {0};
    struct mb_reader *reader = party->bus->reader[party->index];
    mb_reader_set_position(reader, delivery->position);
    for (uint64_t i = 0; i < events_about(delivery->entry); i++) {
        const uint32_t length = i == 0 ? sizeof payload : 8;
        memcpy(payload, &delivery->entry->flow, sizeof delivery->entry->flow);
        party->failed |= mb_reader_publish(reader, delivery, 9, 0, payload, length, NULL) != 0;
    }
}

static void read_entry(struct party *party, const struct mb_entry *entry) {
    party->failed |= party->missing != 0 || !is_of_instance(entry, party->index);
    party->entries++;
    party->missing = events_about(entry);
}

/* The parser's events about an entry follow it. */
static void read_event(struct party *party, const struct mb_delivery *delivery) {
    uint64_t flow;
    memcpy(&flow, delivery->payload, sizeof flow);
    party->failed |= flow != delivery->entry->flow || party->missing == 0 ||
                     delivery->position != delivery->nf_entry->provenance.cause;
    party->missing--;
    party->events++;
}

static void handle(struct party *party, const struct mb_delivery *delivery) {
    if (delivery->entry->type == MB_TYPE_SYSTEM_END_OF_INPUT)
        party->ended = true;
    else if (party->index == PARSER)
        parse(party, delivery);
    else if (delivery->nf_entry != NULL)
        read_event(party, delivery);
    else
        read_entry(party, delivery->entry);
}

static void *take_part(void *argument) {
    struct party *party = argument;
    struct mb_delivery *deliveries = party->bus->delivery[party->index];
    struct mb_reader *reader = party->bus->reader[party->index];
    while (!party->ended && !party->failed) {
        uint32_t broken;
        const int count = mb_reader_poll(reader, deliveries, BUS_CAPACITY, WAIT, &broken);
        party->failed |= count < 0;
        for (int i = 0; i < count; i++)
            handle(party, &deliveries[i]);
        mb_reader_advance(reader);
        nap(party);
    }
    return NULL;
}

static void publish_packet(struct bus *bus, uint64_t flow, uint64_t mask, uint16_t type) {
    while (!mb_log_has_room(&bus->log, MB_ENTRIES_PER_PACKET))
        mb_log_wait_for_room(&bus->log, WAIT);
    bus_entry(bus, flow, mask)->type = type;
    bus_end_packet(bus);
    mb_log_commit(&bus->log);
}

/* Long runs of packets for one instance. Returns how many entries each instance was to get. */
static void work(struct bus *bus, uint64_t random, uint64_t expected[1 + INSTANCES]) {
    uint64_t side = 0;
    for (uint64_t packet = 0; packet < PACKETS; packet++) {
        if (next_random(&random) % 200 == 0)
            side = 1 - side;
        const uint64_t flow = 2 + 2 * (next_random(&random) % 500) + side;
        expected[1 + side]++;
        publish_packet(bus, flow, NF(PARSER) | NF(1 + side), BUS_TYPE);
    }
    publish_packet(bus, 0, NF(PARSER) | NF(1) | NF(2), MB_TYPE_SYSTEM_END_OF_INPUT);
}

static void each_instance_reads_its_own(void **state) {
    (void)state;
    static struct bus bus;
    struct party parties[1 + INSTANCES];
    pthread_t threads[1 + INSTANCES];
    uint64_t expected[1 + INSTANCES] = {0};
    bus_create(&bus, SLOTS, nfs, 1 + INSTANCES);
    for (uint32_t i = 0; i <= INSTANCES; i++) {
        parties[i] = (struct party){.bus = &bus, .index = i, .random = 77 + i};
        assert_int_equal(pthread_create(&threads[i], NULL, take_part, &parties[i]), 0);
    }
    work(&bus, 88172645463325252, expected);
    for (uint32_t i = 0; i <= INSTANCES; i++) {
        pthread_join(threads[i], NULL);
        assert_true(parties[i].ended);
        assert_false(parties[i].failed);
        assert_int_equal(parties[i].missing, 0);
        assert_int_equal(parties[i].entries, expected[i]);
    }
    assert_int_equal(parties[1].events + parties[2].events, bus_counters(&bus, PARSER)->published);
    assert_true(bus_counters(&bus, PARSER)->waits_full > 0);
    bus_destroy(&bus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_instance_reads_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
