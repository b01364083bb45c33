/*
 * A worker, an NF that judges, one that reads all, and two that skip (one in batches), each in a
 * thread of its own that naps at random. The skipping ones lose events, in the middle of copying
 * them too; what they get is whole, what they get and what they lose is all that was for them, and
 * the others notice nothing. All share one mapping of each area, as in bus_threads.c.
 */
#include "bus_parties.h"

#include <pthread.h>

enum { READERS = 4, JUDGE = 0, SKIPS = 2, PACKETS = 60001 }; /* and the end, which nobody drops */

static const struct bus_nf readers[READERS] = {
    {.is_inline = true},
    {.waits_for = NF(JUDGE)},
    [SKIPS] = {.waits_for = NF(JUDGE), .skips = true},
    {.skips = true, .cut = 256},
};

struct reading {
    struct bus *bus;
    uint32_t index;
    struct naps naps;
    uint64_t handled;
    uint64_t lost;
    uint64_t next; /* no sequence number may be smaller */
    bool is_torn;
    bool ended;
};

static bool is_dropped(const struct mb_entry *entry) {
    return entry->sequence % 5 == 0 && (entry->mask[0] & NF(JUDGE)) != 0;
}

/* As bus_entry made it, and not dropped where this NF waits for the judge. */
static bool is_whole(const struct reading *reading, const struct mb_entry *entry) {
    if (entry->time != entry->sequence * 1000 || entry->sequence < reading->next)
        return false;
    for (unsigned i = 0; i < MB_PAYLOAD_SIZE; i++)
        if (entry->payload.bytes[i] != (entry->sequence & 0xff))
            return false;
    return reading->index != SKIPS || !is_dropped(entry);
}

static void handle(struct reading *reading, const struct mb_delivery *delivery) {
    const struct mb_entry *entry = delivery->entry;
    if (entry->type == MB_TYPE_SYSTEM_LOST) {
        reading->lost += entry->payload.lost.events;
        return;
    }
    reading->is_torn |= !is_whole(reading, entry);
    reading->next = entry->sequence + 1;
    reading->ended |= entry->type == MB_TYPE_SYSTEM_END_OF_INPUT;
    reading->handled++;
    if (reading->index == JUDGE && is_dropped(entry))
        mb_reader_judge(reading->bus->reader[JUDGE], entry->sequence, MB_DROP);
}

static void *read_all(void *argument) {
    struct reading *reading = argument;
    struct bus *bus = reading->bus;
    struct mb_delivery *deliveries = bus->delivery[reading->index];
    while (!reading->ended) {
        uint32_t broken;
        const int count = mb_reader_poll(bus->reader[reading->index], deliveries, BUS_CAPACITY,
                                         PARTY_WAIT, &broken);
        if (readers[reading->index].skips) /* what is delivered stays as it is, however late */
            party_nap(&reading->naps);
        for (int i = 0; i < count; i++)
            handle(reading, &deliveries[i]);
        mb_reader_advance(bus->reader[reading->index]);
    }
    return NULL;
}

/* Who is named, by what. Returns how many are for NF `index`. */
static uint64_t publish(struct bus *bus, uint32_t index) {
    uint64_t content = 88172645463325252;
    uint64_t named = 1; /* the end */
    for (uint64_t packet = 0; packet < PACKETS; packet++) {
        while (!mb_log_has_room(&bus->log, MB_ENTRIES_PER_PACKET)) {
            mb_log_commit(&bus->log);
            mb_log_wait_for_room(&bus->log, PARTY_WAIT);
        }
        const uint64_t mask = party_random(&content) & (NF(READERS) - 1);
        named += mask >> index & 1;
        bus_entry(bus, 1, mask);
        bus_end_packet(bus);
        if (packet % 64 == 0)
            mb_log_commit(&bus->log);
    }
    bus_entry(bus, 0, NF(READERS) - 1)->type = MB_TYPE_SYSTEM_END_OF_INPUT;
    bus->log.slots[(bus->log.next - 1) & bus->log.slot_mask].flags |= MB_ENDS_BATCH;
    bus_end_packet(bus);
    mb_log_commit(&bus->log);
    return named;
}

static void what_is_lost_and_what_is_read_is_all(void **state) {
    (void)state;
    uint64_t lost = 0;
    for (uint32_t watched = 0; watched < READERS; watched++) {
        static struct bus bus;
        bus_create(&bus, MB_LOG_SLOTS_MIN, readers, READERS);
        struct reading readings[READERS];
        pthread_t threads[READERS];
        for (uint32_t i = 0; i < READERS; i++) {
            readings[i] =
                (struct reading){.bus = &bus, .index = i, .naps = {watched * 1000 + i + 1}};
            assert_int_equal(pthread_create(&threads[i], NULL, read_all, &readings[i]), 0);
        }
        const uint64_t named = publish(&bus, watched);
        for (uint32_t i = 0; i < READERS; i++) {
            pthread_join(threads[i], NULL);
            assert_false(readings[i].is_torn);
            lost += readings[i].lost;
        }
        const struct mb_nf_counters *counters = bus_counters(&bus, watched);
        assert_int_equal(counters->matched + counters->lost, named);
        assert_int_equal(counters->lost, readings[watched].lost);
        assert_int_equal(readings[watched].handled + counters->judged_dropped + counters->lost,
                         named);
        if (!readers[watched].skips)
            assert_int_equal(counters->lost, 0);
        assert_true(mb_log_drained(&bus.log));
        bus_destroy(&bus);
    }
    assert_true(lost > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_lost_and_what_is_read_is_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
