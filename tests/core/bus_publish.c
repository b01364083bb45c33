/*
 * What NFs publish: order of merging, the own log's limits, batches.
 */
#include "bus_fixture.h"

#include <errno.h>

enum { SLOTS = MB_LOG_SLOTS_MIN, OWN_SLOTS = 64, RING = 4096, ALL = 0xff };

static const struct bus_nf publishes = {.own_slots = OWN_SLOTS, .ring_bytes = RING};
static const struct bus_nf merges_first = {.waits_for = NF(0), .merges = NF(0)};

static int publish_bytes(struct bus *bus, uint32_t index, uint32_t delivery, uint32_t length,
                         const volatile bool *cancelled) {
    uint8_t payload[RING];
    const struct mb_delivery *cause = &bus->delivery[index][delivery];
    mb_reader_set_position(bus->reader[index], cause->position);
    memset(payload, (int)mb_reader_counters(bus->reader[index])->published & 0xff, sizeof payload);
    return mb_reader_publish(bus->reader[index], cause, 7, 3, payload, length, cancelled);
}

static void publish(struct bus *bus, uint32_t index, uint32_t delivery) {
    assert_int_equal(publish_bytes(bus, index, delivery, MB_PAYLOAD_SIZE, NULL), 0);
}

static void an_event_has_its_causes_header(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, merges_first}, 2);
    bus_packet(&bus, 1, 0);
    bus_entry(&bus, 2, ALL)->flags |= MB_FROM_RESPONDER;
    bus_end_packet(&bus);
    mb_log_commit(&bus.log);
    assert_int_equal(bus_poll(&bus, 0), 1);
    assert_int_equal(publish_bytes(&bus, 0, 0, 20, NULL), 0);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), 2);
    const struct mb_delivery *delivery = &bus.delivery[1][1];
    assert_ptr_equal(&delivery->nf_entry->entry, delivery->entry);
    assert_int_equal(delivery->entry->sequence, 0);
    assert_int_equal(delivery->entry->time, 1000);
    assert_int_equal(delivery->entry->packet, 2);
    assert_int_equal(delivery->entry->flow, 2);
    assert_int_equal(delivery->entry->frame_length, 64);
    assert_int_equal(delivery->entry->type, 7);
    assert_int_equal(delivery->entry->reason, 3);
    assert_int_equal(delivery->entry->flags, MB_FROM_RESPONDER | MB_HAS_FLOW);
    assert_int_equal(delivery->nf_entry->provenance.at, 1);
    assert_int_equal(delivery->nf_entry->provenance.cause, 1);
    assert_int_equal(delivery->nf_entry->provenance.cause_log, 0);
    assert_int_equal(delivery->nf_entry->provenance.publisher, 0);
    assert_int_equal(delivery->payload_length, 20);
    assert_int_equal(bus_counters(&bus, 0)->published, 1);
    assert_int_equal(bus_counters(&bus, 0)->published_bytes, 20);
    assert_int_equal(bus_counters(&bus, 0)->published_by_type[7], 1);
    bus_destroy(&bus);
}

static int publish_two(struct bus *bus, const uint32_t causes[2], uint32_t *published) {
    static const uint8_t payloads[] = "shortlonger";
    const uint32_t lengths[] = {5, 6};
    const struct mb_publications many = {.type = 7,
                                         .reason = 3,
                                         .count = 2,
                                         .causes = causes,
                                         .lengths = lengths,
                                         .payloads = payloads};
    return mb_reader_publish_many(bus->reader[0], &many, NULL, published);
}

static void many_are_published_in_one_call(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, merges_first}, 2);
    bus_packets(&bus, 2, 1, ALL);
    assert_int_equal(bus_poll(&bus, 0), 2);
    mb_reader_set_batch_position(bus.reader[0], bus.delivery[0][1].position);
    uint32_t published;
    assert_int_equal(publish_two(&bus, (const uint32_t[]){1, 0}, &published), 0);
    assert_int_equal(published, 2);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), 4);
    for (unsigned i = 0; i < 2; i++) {
        const struct mb_delivery *delivery = &bus.delivery[1][2 + i];
        assert_int_equal(delivery->nf_entry->provenance.cause, 1 - i);
        assert_int_equal(delivery->nf_entry->provenance.at, 1);
        assert_int_equal(delivery->payload_length, 5 + i);
        assert_memory_equal(delivery->payload, i == 0 ? "short" : "longer", 5 + i);
    }
    bus_destroy(&bus);
}

static void a_cause_is_one_of_the_last_polls_deliveries(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, merges_first}, 2);
    bus_packet(&bus, 1, ALL);
    assert_int_equal(bus_poll(&bus, 0), 1);
    uint32_t published;
    assert_int_equal(publish_two(&bus, (const uint32_t[]){0, 1}, &published), -EINVAL);
    assert_int_equal(published, 1);
    bus_destroy(&bus);
}

/* Types 8 and 9 where the payload begins with an 'x'. */
static uint32_t derive_two(const void *context, const struct mb_entry *entry,
                           const uint8_t *payload, uint32_t length, uint16_t types[32]) {
    assert_string_equal(context, "context");
    assert_int_equal(entry->type, 7);
    if (length == 0 || payload[0] != 'x')
        return 0;
    types[0] = 8;
    types[1] = 9;
    return 2;
}

static void derived_events_follow_with_the_same_payload(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, merges_first}, 2);
    bus_packet(&bus, 1, ALL);
    assert_int_equal(bus_poll(&bus, 0), 1);
    mb_reader_derive(bus.reader[0], derive_two, "context");
    uint8_t payload[100] = "x and more";
    const struct mb_delivery *cause = &bus.delivery[0][0];
    assert_int_equal(mb_reader_publish(bus.reader[0], cause, 7, 3, payload, 100, NULL), 0);
    assert_int_equal(mb_reader_publish(bus.reader[0], cause, 7, 3, payload + 1, 10, NULL), 0);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), 1 + 4);
    static const uint16_t types[] = {7, 8, 9, 7};
    for (unsigned i = 0; i < 4; i++) {
        const struct mb_delivery *delivery = &bus.delivery[1][1 + i];
        const bool is_derived = types[i] != 7;
        assert_int_equal(delivery->entry->type, types[i]);
        assert_int_equal(delivery->entry->reason, 3);
        assert_int_equal(delivery->payload_length, i < 3 ? 100 : 10);
        assert_memory_equal(delivery->payload, i < 3 ? payload : payload + 1, 10);
        assert_int_equal(delivery->nf_entry->provenance.cause_log, is_derived ? 1 : 0);
        assert_int_equal(delivery->nf_entry->provenance.cause, 0);
    }
    bus_destroy(&bus);
}

static void a_long_payload_lies_in_the_data_ring(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, merges_first}, 2);
    for (unsigned round = 0; round < 20; round++) { /* over the ring's end several times */
        bus_packet(&bus, 1, ALL);
        assert_int_equal(bus_poll(&bus, 0), 1);
        uint32_t length = 900 + round;
        assert_int_equal(publish_bytes(&bus, 0, 0, length, NULL), 0);
        mb_reader_advance(bus.reader[0]);
        assert_int_equal(bus_poll(&bus, 1), 2);
        const struct mb_delivery *delivery = &bus.delivery[1][1];
        assert_int_equal(delivery->entry->flags & MB_IN_DATA_RING, MB_IN_DATA_RING);
        assert_int_equal(delivery->payload_length, length);
        for (uint32_t i = 0; i < length; i++)
            assert_int_equal(delivery->payload[i], round);
        for (uint32_t i = 0; i < MB_PAYLOAD_SIZE; i++)
            assert_int_equal(delivery->entry->payload.bytes[i], round);
        mb_reader_advance(bus.reader[1]);
    }
    bus_destroy(&bus);
}

static void events_merge_by_position_then_nf_then_sequence(void **state) {
    (void)state;
    struct bus bus;
    struct bus_nf last = {.waits_for = NF(0) | NF(1), .merges = NF(0) | NF(1)};
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, publishes, last}, 3);
    bus_packets(&bus, 3, 1, ALL);
    assert_int_equal(bus_poll(&bus, 1), 3); /* the later NF happens to be first */
    publish(&bus, 1, 0);
    publish(&bus, 1, 2);
    mb_reader_advance(bus.reader[1]);
    assert_int_equal(bus_poll(&bus, 0), 3);
    publish(&bus, 0, 0);
    publish(&bus, 0, 0);
    publish(&bus, 0, 1);
    publish(&bus, 0, 2);
    mb_reader_advance(bus.reader[0]);
    const struct {
        int publisher;
        uint64_t at;
        uint64_t sequence;
    } expected[] = {{-1, 0, 0}, {0, 0, 0},  {0, 0, 1}, {1, 0, 0}, {-1, 1, 1},
                    {0, 1, 2},  {-1, 2, 2}, {0, 2, 3}, {1, 2, 1}};
    assert_int_equal(bus_poll(&bus, 2), 9);
    for (unsigned i = 0; i < 9; i++) {
        const struct mb_delivery *delivery = &bus.delivery[2][i];
        int publisher = delivery->nf_entry != NULL ? delivery->nf_entry->provenance.publisher : -1;
        assert_int_equal(publisher, expected[i].publisher);
        assert_int_equal(delivery->position, expected[i].at);
        assert_int_equal(delivery->entry->sequence, expected[i].sequence);
    }
    bus_destroy(&bus);
}

static void an_events_cause_may_be_an_event(void **state) {
    (void)state;
    struct bus bus;
    struct bus_nf middle = publishes;
    middle.waits_for = middle.merges = NF(0);
    struct bus_nf last = {.waits_for = NF(0) | NF(1), .merges = NF(1)};
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, middle, last}, 3);
    bus_packet(&bus, 1, ALL);
    bus_poll(&bus, 0);
    publish(&bus, 0, 0);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), 2);
    publish(&bus, 1, 1);
    mb_reader_advance(bus.reader[1]);
    assert_int_equal(bus_poll(&bus, 2), 2);
    assert_int_equal(bus.delivery[2][1].nf_entry->provenance.cause_log, 1);
    assert_int_equal(bus.delivery[2][1].nf_entry->provenance.cause, 0);
    assert_int_equal(bus.delivery[2][1].nf_entry->provenance.at, 0);
    bus_destroy(&bus);
}

static void what_is_not_passed_yet_is_not_merged(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, merges_first}, 2);
    bus_packet(&bus, 1, ALL);
    bus_poll(&bus, 0);
    publish(&bus, 0, 0);
    mb_reader_advance(bus.reader[0]);
    bus_packet(&bus, 1, ALL);
    bus_poll(&bus, 0);
    publish(&bus, 0, 0); /* the cursor has not moved */
    assert_int_equal(bus_poll(&bus, 1), 2);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), 2);
    bus_destroy(&bus);
}

static void positions_never_go_back(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, merges_first}, 2);
    bus_packets(&bus, 3, 1, ALL);
    bus_poll(&bus, 0);
    publish(&bus, 0, 2);
    publish(&bus, 0, 1); /* is taken as at 2 */
    mb_reader_set_position(bus.reader[0], 1000);
    publish(&bus, 0, 0);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), 6);
    for (unsigned i = 3; i < 6; i++)
        assert_int_equal(bus.delivery[1][i].nf_entry->provenance.at, 2);
    bus_destroy(&bus);
}

static void one_packets_share_is_half_of_the_log(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, merges_first}, 2);
    bus_entry(&bus, 1, ALL);
    bus_entry(&bus, 1, ALL);
    bus_end_packet(&bus);
    bus_packet(&bus, 1, ALL);
    assert_int_equal(bus_poll(&bus, 0), 3);
    for (unsigned i = 0; i < OWN_SLOTS / 2; i++)
        publish(&bus, 0, i % 2);
    assert_int_equal(publish_bytes(&bus, 0, 1, 8, NULL), -ENOBUFS);
    for (unsigned i = 0; i < OWN_SLOTS / 2; i++)
        publish(&bus, 0, 2);
    assert_int_equal(publish_bytes(&bus, 0, 2, 8, NULL), -ENOBUFS);
    bus_destroy(&bus);
}

static void one_packets_share_is_half_of_the_data_ring(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, merges_first}, 2);
    bus_packets(&bus, 2, 1, ALL);
    assert_int_equal(bus_poll(&bus, 0), 2);
    assert_int_equal(publish_bytes(&bus, 0, 0, RING / 4 + 1, NULL), -EMSGSIZE);
    assert_int_equal(publish_bytes(&bus, 0, 0, RING / 4, NULL), 0);
    assert_int_equal(publish_bytes(&bus, 0, 0, RING / 4, NULL), 0);
    assert_int_equal(publish_bytes(&bus, 0, 0, 57, NULL), -ENOBUFS);
    assert_int_equal(publish_bytes(&bus, 0, 0, 56, NULL), 0); /* lies in the entry */
    assert_int_equal(publish_bytes(&bus, 0, 1, RING / 4, NULL), 0);
    bus_destroy(&bus);
}

static void who_declared_nothing_publishes_nothing(void **state) {
    (void)state;
    struct bus bus;
    const struct bus_nf reads = {0};
    bus_create(&bus, SLOTS, &reads, 1);
    bus_packet(&bus, 1, ALL);
    bus_poll(&bus, 0);
    assert_int_equal(publish_bytes(&bus, 0, 0, 8, NULL), -EPERM);
    bus_destroy(&bus);
}

static void a_full_log_gives_up_what_is_done_for_and_waits(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, merges_first}, 2);
    bus_packets(&bus, OWN_SLOTS + 1, 1, ALL);
    assert_int_equal(bus_poll(&bus, 0), OWN_SLOTS + 1);
    for (unsigned i = 0; i < OWN_SLOTS; i++)
        publish(&bus, 0, i);
    volatile bool cancelled = true;
    assert_int_equal(publish_bytes(&bus, 0, OWN_SLOTS, 8, &cancelled), -EINTR);
    assert_int_equal(bus_counters(&bus, 0)->waits_full, 1);
    assert_int_equal(mb_log_passed(&bus.log, 0), OWN_SLOTS);
    assert_int_equal(bus_poll(&bus, 1), 2 * OWN_SLOTS);
    mb_reader_advance(bus.reader[1]);
    assert_int_equal(publish_bytes(&bus, 0, OWN_SLOTS, 8, &cancelled), 0);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), 2);
    bus_destroy(&bus);
}

static void a_batch_stays_whole_while_its_handler_publishes(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, merges_first}, 2);
    bus_packets(&bus, 50, 1, ALL);
    assert_int_equal(bus_poll(&bus, 0), 50);
    mb_reader_set_batch_position(bus.reader[0], 49);
    for (unsigned i = 0; i < OWN_SLOTS / 2; i++)
        publish(&bus, 0, i);
    assert_int_equal(publish_bytes(&bus, 0, 40, 8, NULL), -ENOBUFS);
    assert_int_equal(mb_log_passed(&bus.log, 0), 0);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), 50 + OWN_SLOTS / 2);
    assert_int_equal(bus.delivery[1][50].nf_entry->provenance.at, 49);
    mb_reader_advance(bus.reader[1]);
    bus_packets(&bus, 2, 1, ALL);
    assert_int_equal(bus_poll(&bus, 0), 2);
    publish(&bus, 0, 0); /* a new poll, a new share */
    bus_destroy(&bus);
}

static void a_dead_reader_frees_the_log_of_who_it_read(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, merges_first}, 2);
    bus_packets(&bus, OWN_SLOTS + 1, 1, ALL);
    bus_poll(&bus, 0);
    for (unsigned i = 0; i < OWN_SLOTS; i++)
        publish(&bus, 0, i);
    mb_log_detach(&bus.log, 1);
    publish(&bus, 0, OWN_SLOTS);
    assert_int_equal(bus_counters(&bus, 0)->waits_full, 0);
    bus_destroy(&bus);
}

static void a_packet_with_more_events_than_fit_comes_in_parts(void **state) {
    (void)state;
    struct bus bus;
    struct bus_nf large = {.own_slots = 8192, .ring_bytes = RING};
    struct bus_nf last = {.waits_for = NF(0) | NF(1), .merges = NF(0) | NF(1)};
    bus_create(&bus, SLOTS, (struct bus_nf[]){large, large, last}, 3);
    bus_packets(&bus, 2, 1, ALL);
    enum { EVENTS = 3000 };
    for (uint32_t nf = 0; nf < 2; nf++) {
        assert_int_equal(bus_poll(&bus, nf), 2);
        for (unsigned i = 0; i < EVENTS; i++)
            publish(&bus, nf, 0);
        publish(&bus, nf, 1);
        mb_reader_advance(bus.reader[nf]);
    }
    uint32_t total = 0;
    uint64_t last_key = 0;
    while (total < 2 + 2 * (EVENTS + 1)) {
        uint32_t count = bus_poll(&bus, 2);
        assert_true(count > 0);
        for (uint32_t i = 0; i < count; i++) {
            const struct mb_delivery *delivery = &bus.delivery[2][i];
            uint64_t nf =
                delivery->nf_entry != NULL ? 1 + delivery->nf_entry->provenance.publisher : 0;
            uint64_t key = delivery->position << 32 | nf << 16 | delivery->entry->sequence;
            assert_true(key > last_key || total + i == 0);
            last_key = key;
        }
        assert_true(mb_log_passed(&bus.log, 2) <= 1);
        total += count;
    }
    mb_reader_advance(bus.reader[2]);
    assert_true(mb_log_drained(&bus.log));
    bus_destroy(&bus);
}

/* Two instances share out flows: the second is idle while the first has many. */
static void an_instance_passes_over_what_was_overwritten_meanwhile(void **state) {
    (void)state;
    struct bus bus;
    struct bus_nf first = merges_first;
    first.instances = 2;
    struct bus_nf second = first;
    second.instance = 1;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, first, second}, 3);
    for (unsigned round = 0; round < 3 * OWN_SLOTS; round++) {
        bus_packet(&bus, 1, NF(0) | NF(1));
        assert_int_equal(bus_poll(&bus, 0), 1);
        publish(&bus, 0, 0);
        mb_reader_advance(bus.reader[0]);
        assert_int_equal(bus_poll(&bus, 1), 2);
        mb_reader_advance(bus.reader[1]);
    }
    bus_packet(&bus, 2, NF(0) | NF(2));
    assert_int_equal(bus_poll(&bus, 2), 0); /* all but the last, which it waits for */
    assert_int_equal(bus_poll(&bus, 0), 1);
    publish(&bus, 0, 0);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 2), 2);
    assert_int_equal(bus.delivery[2][1].entry->flow, 2);
    assert_int_equal(bus.delivery[2][1].entry->sequence, 3 * OWN_SLOTS);
    assert_int_equal(bus_poll(&bus, 1), 0);
    bus_destroy(&bus);
}

static void what_is_of_no_flow_is_for_the_first_instance(void **state) {
    (void)state;
    struct bus bus;
    struct bus_nf first = merges_first;
    first.instances = 2;
    struct bus_nf second = first;
    second.instance = 1;
    bus_create(&bus, SLOTS, (struct bus_nf[]){publishes, first, second}, 3);
    bus_entry(&bus, 0, ALL)->frame_length = 0;
    bus_end_packet(&bus);
    mb_log_commit(&bus.log);
    assert_int_equal(bus_poll(&bus, 0), 1);
    publish(&bus, 0, 0);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), 2);
    assert_int_equal(bus_poll(&bus, 2), 1);
    bus_destroy(&bus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_has_its_causes_header),
        cmocka_unit_test(many_are_published_in_one_call),
        cmocka_unit_test(a_cause_is_one_of_the_last_polls_deliveries),
        cmocka_unit_test(derived_events_follow_with_the_same_payload),
        cmocka_unit_test(a_long_payload_lies_in_the_data_ring),
        cmocka_unit_test(events_merge_by_position_then_nf_then_sequence),
        cmocka_unit_test(an_events_cause_may_be_an_event),
        cmocka_unit_test(what_is_not_passed_yet_is_not_merged),
        cmocka_unit_test(positions_never_go_back),
        cmocka_unit_test(one_packets_share_is_half_of_the_log),
        cmocka_unit_test(one_packets_share_is_half_of_the_data_ring),
        cmocka_unit_test(who_declared_nothing_publishes_nothing),
        cmocka_unit_test(a_full_log_gives_up_what_is_done_for_and_waits),
        cmocka_unit_test(a_batch_stays_whole_while_its_handler_publishes),
        cmocka_unit_test(a_dead_reader_frees_the_log_of_who_it_read),
        cmocka_unit_test(a_packet_with_more_events_than_fit_comes_in_parts),
        cmocka_unit_test(an_instance_passes_over_what_was_overwritten_meanwhile),
        cmocka_unit_test(what_is_of_no_flow_is_for_the_first_instance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
