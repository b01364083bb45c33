/*
 * Verdicts: what an inline NF drops, later NFs pass over; what an NF is done with, it gets no more.
 */
#include "bus_fixture.h"

#include "microbox/events/event_types.h"

enum { SLOTS = MB_LOG_SLOTS_MIN };

static const struct bus_nf firewall = {.is_inline = true};
static const struct bus_nf behind = {.waits_for = NF(0)};
static const struct bus_nf reporting_firewall = {
    .is_inline = true, .own_slots = 64, .ring_bytes = 4096};
static const struct bus_nf reading_behind = {.waits_for = NF(0), .merges = NF(0)};

enum { BOTH = NF(0) | NF(1) };

static const struct bus_nf stream_firewall = {.is_inline = true, .reads_streams = true};

/* NF 0 polls all there is, judges one entry, and moves on. */
static void judge(struct bus *bus, uint64_t sequence, enum mb_verdict verdict) {
    assert_true(bus_poll(bus, 0) > 0);
    mb_reader_judge(bus->reader[0], sequence, verdict);
    mb_reader_advance(bus->reader[0]);
}

static void a_dropped_packet_is_passed_over(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){firewall, behind}, 2);
    bus_packets(&bus, 3, 1, BOTH);
    judge(&bus, 1, MB_DROP);
    bus_expect(&bus, 1, 0, 2, -1);
    assert_int_equal(bus_counters(&bus, 1)->judged_dropped, 1);
    assert_int_equal(bus_counters(&bus, 1)->matched, 3);
    assert_int_equal(bus_counters(&bus, 0)->verdicts[MB_DROP], 1);
    bus_destroy(&bus);
}

static void a_drop_concerns_all_entries_of_the_packet(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){firewall, behind}, 2);
    bus_entry(&bus, 1, NF(1));
    bus_entry(&bus, 1, BOTH);
    bus_entry(&bus, 1, NF(1));
    bus_end_packet(&bus);
    mb_log_commit(&bus.log);
    bus_packet(&bus, 1, NF(1));
    judge(&bus, 1, MB_DROP);
    bus_expect(&bus, 1, 3, -1);
    bus_destroy(&bus);
}

static void what_is_apart_from_the_packet_is_not_dropped_with_it(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){firewall, behind}, 2);
    bus_entry(&bus, 1, BOTH);
    bus_entry(&bus, 0, NF(1))->flags |= MB_APART; /* a timer fires */
    bus_entry(&bus, 2, NF(1))->flags |= MB_APART; /* another flow ends by its timeout */
    bus_end_packet(&bus);
    mb_log_commit(&bus.log);
    judge(&bus, 0, MB_DROP);
    bus_expect(&bus, 1, 1, 2, -1);
    bus_destroy(&bus);
}

static void a_packet_is_not_dropped_with_what_is_apart_from_it(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){firewall, behind}, 2);
    bus_packet(&bus, 2, BOTH);
    bus_entry(&bus, 1, BOTH);
    bus_entry(&bus, 2, BOTH)->flags |= MB_APART; /* flow 2 ends */
    bus_end_packet(&bus);
    mb_log_commit(&bus.log);
    judge(&bus, 0, MB_DROP_FLOW);
    bus_expect(&bus, 1, 1, -1);
    bus_destroy(&bus);
}

/* Packets bear their flow's number, although their payload is not a flow's. */
static void a_verdict_on_a_packet_may_be_one_on_its_flow(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){firewall, behind}, 2);
    for (unsigned i = 0; i < 3; i++) {
        bus_entry(&bus, 1, BOTH)->flags = 0;
        bus_end_packet(&bus);
    }
    mb_log_commit(&bus.log);
    judge(&bus, 1, MB_DROP_FLOW);
    assert_int_equal(bus_counters(&bus, 0)->settled, 1);
    bus_expect(&bus, 1, 0, -1);
    bus_destroy(&bus);
}

static void a_reset_flow_is_passed_over_like_a_dropped_one(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){firewall, behind}, 2);
    bus_packets(&bus, 3, 1, BOTH);
    bus_packet(&bus, 2, BOTH);
    judge(&bus, 1, MB_RESET);
    assert_int_equal(bus_counters(&bus, 0)->verdicts[MB_RESET], 1);
    assert_int_equal(bus_counters(&bus, 0)->settled, 1);
    bus_expect(&bus, 1, 0, 3, -1);
    bus_destroy(&bus);
}

/* A retransmission would bring the bytes back. */
static void a_drop_of_bytes_of_a_stream_drops_the_flow(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){stream_firewall, behind}, 2);
    bus_packets(&bus, 3, 1, BOTH);
    bus_packet(&bus, 2, BOTH);
    assert_int_equal(bus_poll(&bus, 0), 4);
    assert_int_equal(mb_reader_judge_delivery(bus.reader[0], &bus.delivery[0][1], MB_DROP),
                     MB_DROP_FLOW);
    assert_int_equal(mb_reader_judge(bus.reader[0], 3, MB_PASS), MB_PASS);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_counters(&bus, 0)->verdicts[MB_DROP], 0);
    assert_int_equal(bus_counters(&bus, 0)->verdicts[MB_DROP_FLOW], 1);
    bus_expect(&bus, 1, 0, 3, -1);
    bus_destroy(&bus);
}

static void a_dropped_flow_is_passed_over_from_there_on(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){firewall, behind}, 2);
    bus_packet(&bus, 1, NF(1));
    bus_packet(&bus, 1, BOTH);
    bus_packet(&bus, 1, NF(1));
    bus_packet(&bus, 2, NF(1));
    judge(&bus, 1, MB_DROP_FLOW);
    bus_expect(&bus, 1, 0, 3, -1);
    bus_packet(&bus, 1, NF(1));
    bus_packet(&bus, 2, NF(1));
    bus_expect(&bus, 1, 5, -1);
    bus_destroy(&bus);
}

static void a_flow_dropped_while_a_reader_idled_stays_dropped_for_it(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){firewall, behind}, 2);
    uint64_t start = bus_packet(&bus, 1, NF(0));
    judge(&bus, start, MB_DROP_FLOW);
    for (unsigned i = 0; i < 3 * SLOTS; i++) {
        if (!mb_log_has_room(&bus.log, 1))
            bus_expect(&bus, 1, -1);
        bus_packet(&bus, 2, 0);
    }
    bus_packet(&bus, 1, NF(1));
    bus_packet(&bus, 2, NF(1));
    bus_expect(&bus, 1, 3 * SLOTS + 2, -1);
    bus_destroy(&bus);
}

static void a_verdict_counts_only_where_the_mask_names_the_judge(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){firewall, behind}, 2);
    bus_packets(&bus, 2, 1, BOTH);
    assert_int_equal(bus_poll(&bus, 0), 2);
    mb_reader_judge(bus.reader[0], 0, MB_DROP);
    mb_reader_advance(bus.reader[0]);
    bus_expect(&bus, 1, 1, -1);
    /* One lap later the slot's old verdict is still there, but not about this entry. */
    for (unsigned i = 2; i < SLOTS; i++) {
        bus_packet(&bus, 1, NF(1));
        bus_poll(&bus, 1);
    }
    bus_packet(&bus, 1, NF(1));
    bus_expect(&bus, 1, SLOTS, -1);
    bus_destroy(&bus);
}

static void verdicts_begin_anew_with_each_lap(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){firewall, behind}, 2);
    for (unsigned i = 0; i < 2 * SLOTS; i++) {
        uint64_t sequence = bus_packet(&bus, 1, BOTH);
        assert_int_equal(bus_poll(&bus, 0), 1);
        if (sequence < SLOTS)
            mb_reader_judge(bus.reader[0], sequence, MB_DROP);
        mb_reader_advance(bus.reader[0]);
        assert_int_equal(bus_poll(&bus, 1), sequence < SLOTS ? 0 : 1);
    }
    bus_destroy(&bus);
}

static void a_stronger_verdict_stays(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){firewall, behind}, 2);
    bus_packet(&bus, 1, BOTH);
    assert_int_equal(bus_poll(&bus, 0), 1);
    struct mb_nf_geometry geometry = bus_geometry(&bus, 0);
    const uint8_t *verdicts = mb_nf_area_parts(bus.area[0].base, &geometry).verdicts;
    mb_reader_judge(bus.reader[0], 0, MB_PASS);
    assert_int_equal(verdicts[0], MB_PASS);
    mb_reader_judge(bus.reader[0], 0, MB_DROP);
    mb_reader_judge(bus.reader[0], 0, MB_PASS);
    mb_reader_judge(bus.reader[0], 0, MB_PASS_FLOW);
    assert_int_equal(verdicts[0], MB_DROP);
    mb_reader_judge(bus.reader[0], 0, MB_DROP_FLOW);
    mb_reader_judge(bus.reader[0], 0, MB_DROP);
    assert_int_equal(verdicts[0], MB_DROP_FLOW);
    bus_destroy(&bus);
}

static void a_verdict_outside_the_poll_is_ignored(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){firewall, behind}, 2);
    bus_packets(&bus, 2, 1, BOTH);
    assert_int_equal(bus_poll(&bus, 0), 2);
    mb_reader_judge(bus.reader[0], 2, MB_DROP);
    mb_reader_judge(bus.reader[0], UINT64_MAX, MB_DROP);
    mb_reader_judge(bus.reader[0], 0, (enum mb_verdict)MB_VERDICTS);
    mb_reader_advance(bus.reader[0]);
    mb_reader_judge(bus.reader[0], 0, MB_DROP);
    bus_packet(&bus, 1, BOTH);
    assert_int_equal(bus_poll(&bus, 0), 1);
    mb_reader_advance(bus.reader[0]);
    bus_expect(&bus, 1, 0, 1, 2, -1);
    bus_destroy(&bus);
}

static void an_nf_that_passed_a_flow_gets_no_more_of_it(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){firewall, behind}, 2);
    bus_packets(&bus, 3, 1, BOTH);
    bus_packet(&bus, 2, BOTH);
    assert_int_equal(bus_poll(&bus, 0), 4);
    mb_reader_judge(bus.reader[0], 0, MB_PASS_FLOW);
    assert_int_equal(bus.delivery[0][0].bits, 1);
    assert_int_equal(bus.delivery[0][1].bits, 0);
    assert_int_equal(bus.delivery[0][2].bits, 0);
    assert_int_equal(bus.delivery[0][3].bits, 1);
    mb_reader_advance(bus.reader[0]);
    bus_packet(&bus, 1, BOTH);
    bus_packet(&bus, 2, BOTH);
    bus_expect(&bus, 0, 5, -1);
    bus_expect(&bus, 1, 0, 1, 2, 3, 4, 5, -1);
    assert_int_equal(bus_counters(&bus, 0)->settled, 3);
    bus_destroy(&bus);
}

static void a_reader_that_is_not_inline_can_pass_a_flow_but_not_drop(void **state) {
    (void)state;
    struct bus bus;
    const struct bus_nf reads = {0};
    bus_create(&bus, SLOTS, (struct bus_nf[]){reads, behind}, 2);
    bus_packets(&bus, 2, 1, BOTH);
    judge(&bus, 0, MB_DROP);
    bus_expect(&bus, 1, 0, 1, -1);
    bus_packets(&bus, 2, 1, BOTH);
    judge(&bus, 2, MB_PASS_FLOW);
    bus_packet(&bus, 1, BOTH);
    bus_expect(&bus, 0, -1);
    bus_destroy(&bus);
}

static void a_dropped_flow_is_judged_again_where_it_goes_on(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){firewall, behind}, 2);
    bus_packets(&bus, 2, 1, BOTH);
    judge(&bus, 0, MB_DROP_FLOW);
    bus_packet(&bus, 1, BOTH);
    bus_expect(&bus, 0, -1);
    struct mb_nf_geometry geometry = bus_geometry(&bus, 0);
    const uint8_t *verdicts = mb_nf_area_parts(bus.area[0].base, &geometry).verdicts;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(verdicts[i], MB_DROP_FLOW);
    bus_expect(&bus, 1, -1);
    bus_destroy(&bus);
}

static void what_the_dead_did_not_judge_goes_as_configured(void **state) {
    (void)state;
    for (unsigned closed = 0; closed < 2; closed++) {
        struct bus bus;
        struct bus_nf dying = {.is_inline = true, .fails_closed = closed};
        bus_create(&bus, SLOTS, (struct bus_nf[]){dying, behind}, 2);
        bus_packets(&bus, 2, 1, BOTH);
        judge(&bus, 1, MB_DROP);
        bus_packets(&bus, 2, 1, BOTH);
        assert_int_equal(bus_poll(&bus, 0), 2);
        mb_reader_judge(bus.reader[0], 2, MB_DROP); /* and dies before it moves on */
        mb_log_detach(&bus.log, 0);
        bus_packet(&bus, 1, NF(1));
        if (closed)
            bus_expect(&bus, 1, 0, 4, -1);
        else
            bus_expect(&bus, 1, 0, 2, 3, 4, -1);
        bus_destroy(&bus);
    }
}

static void publish(struct bus *bus, uint32_t index, uint32_t delivery, uint16_t type) {
    uint8_t payload[MB_PAYLOAD_SIZE] = {0};
    const struct mb_delivery *cause = &bus->delivery[index][delivery];
    mb_reader_set_position(bus->reader[index], cause->position);
    assert_int_equal(
        mb_reader_publish(bus->reader[index], cause, type, 0, payload, sizeof payload, NULL), 0);
}

static void what_the_dropping_nf_says_itself_is_delivered(void **state) {
    (void)state;
    struct bus bus;
    bus_create(&bus, SLOTS, (struct bus_nf[]){reporting_firewall, reading_behind}, 2);
    bus_packet(&bus, 1, BOTH);
    assert_int_equal(bus_poll(&bus, 0), 1);
    publish(&bus, 0, 0, BUS_TYPE);
    mb_reader_judge(bus.reader[0], 0, MB_DROP_FLOW);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), 1);
    assert_non_null(bus.delivery[1][0].nf_entry);
    bus_destroy(&bus);
}

static void what_an_earlier_nf_made_of_it_is_dropped_with_it_but_alerts(void **state) {
    (void)state;
    struct bus bus;
    struct bus_nf parser = {.own_slots = 64, .ring_bytes = 4096};
    struct bus_nf judge_behind = {.waits_for = NF(0), .is_inline = true};
    struct bus_nf last = {.waits_for = NF(0) | NF(1), .merges = NF(0)};
    bus_create(&bus, SLOTS, (struct bus_nf[]){parser, judge_behind, last}, 3);
    enum { ALL = NF(0) | NF(1) | NF(2) };
    const enum mb_verdict verdicts[] = {MB_DROP, MB_DROP_FLOW, MB_PASS};
    for (unsigned i = 0; i < 3; i++) {
        bus_packet(&bus, 1, ALL);
        assert_int_equal(bus_poll(&bus, 0), 1);
        publish(&bus, 0, 0, BUS_TYPE);
        publish(&bus, 0, 0, MB_TYPE_ALERT);
        mb_reader_advance(bus.reader[0]);
        bus_poll(&bus, 1);
        mb_reader_judge(bus.reader[1], i, verdicts[i]);
        mb_reader_advance(bus.reader[1]);
        /* The third packet belongs to a flow that was dropped before. */
        assert_int_equal(bus_poll(&bus, 2), 1);
        assert_int_equal(bus.delivery[2][0].entry->type, MB_TYPE_ALERT);
    }
    bus_destroy(&bus);
}

/* Who takes batches publishes at the batch's last entry, which may be of any flow. */
static void a_dropped_flow_is_not_judged_again_on_another_ones_packet(void **state) {
    (void)state;
    struct bus bus;
    struct bus_nf parser = {.own_slots = 64, .ring_bytes = 4096};
    struct bus_nf judge_behind = {.waits_for = NF(0), .merges = NF(0), .is_inline = true};
    struct bus_nf last = {.waits_for = NF(0) | NF(1)};
    bus_create(&bus, SLOTS, (struct bus_nf[]){parser, judge_behind, last}, 3);
    enum { ALL = NF(0) | NF(1) | NF(2) };
    bus_packet(&bus, 1, ALL);
    assert_int_equal(bus_poll(&bus, 0), 1);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), 1);
    mb_reader_judge(bus.reader[1], 0, MB_DROP_FLOW);
    mb_reader_advance(bus.reader[1]);
    bus_packet(&bus, 1, ALL);
    bus_packet(&bus, 2, ALL);
    assert_int_equal(bus_poll(&bus, 0), 2);
    mb_reader_set_batch_position(bus.reader[0], 2);
    uint8_t payload[MB_PAYLOAD_SIZE] = {0};
    assert_int_equal(mb_reader_publish(bus.reader[0], &bus.delivery[0][0], BUS_TYPE, 0, payload,
                                       sizeof payload, NULL),
                     0);
    mb_reader_advance(bus.reader[0]);
    bus_expect(&bus, 1, 2, -1);
    assert_int_equal(bus_counters(&bus, 1)->settled, 2);
    bus_expect(&bus, 2, 2, -1);
    bus_destroy(&bus);
}

/* Likewise where that event is what makes the judge speak: the flow is the event's. */
static void a_verdict_on_an_event_is_one_on_its_own_flow(void **state) {
    (void)state;
    struct bus bus;
    struct bus_nf parser = {.own_slots = 64, .ring_bytes = 4096};
    struct bus_nf judge_behind = {.waits_for = NF(0), .merges = NF(0), .is_inline = true};
    struct bus_nf last = {.waits_for = NF(0) | NF(1)};
    bus_create(&bus, SLOTS, (struct bus_nf[]){parser, judge_behind, last}, 3);
    enum { ALL = NF(0) | NF(1) | NF(2) };
    bus_packet(&bus, 1, ALL);
    bus_packet(&bus, 2, ALL);
    assert_int_equal(bus_poll(&bus, 0), 2);
    mb_reader_set_batch_position(bus.reader[0], 1);
    uint8_t payload[MB_PAYLOAD_SIZE] = {0};
    assert_int_equal(mb_reader_publish(bus.reader[0], &bus.delivery[0][0], BUS_TYPE, 0, payload,
                                       sizeof payload, NULL),
                     0);
    mb_reader_advance(bus.reader[0]);
    assert_int_equal(bus_poll(&bus, 1), 3);
    assert_non_null(bus.delivery[1][2].nf_entry);
    mb_reader_judge_delivery(bus.reader[1], &bus.delivery[1][2], MB_DROP_FLOW);
    mb_reader_advance(bus.reader[1]);
    bus_packet(&bus, 1, ALL);
    bus_packet(&bus, 2, ALL);
    bus_expect(&bus, 0, 2, 3, -1);
    bus_expect(&bus, 1, 3, -1);
    bus_expect(&bus, 2, 0, 1, 3, -1);
    bus_destroy(&bus);
}

static void two_judges_are_both_heard(void **state) {
    (void)state;
    struct bus bus;
    struct bus_nf second = {.waits_for = NF(0), .is_inline = true};
    struct bus_nf last = {.waits_for = NF(0) | NF(1)};
    bus_create(&bus, SLOTS, (struct bus_nf[]){firewall, second, last}, 3);
    bus_packets(&bus, 4, 1, NF(0) | NF(1) | NF(2));
    judge(&bus, 0, MB_DROP);
    assert_int_equal(bus_poll(&bus, 1), 3);
    mb_reader_judge(bus.reader[1], 2, MB_DROP);
    mb_reader_advance(bus.reader[1]);
    bus_expect(&bus, 2, 1, 3, -1);
    bus_destroy(&bus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dropped_packet_is_passed_over),
        cmocka_unit_test(a_drop_concerns_all_entries_of_the_packet),
        cmocka_unit_test(what_is_apart_from_the_packet_is_not_dropped_with_it),
        cmocka_unit_test(a_packet_is_not_dropped_with_what_is_apart_from_it),
        cmocka_unit_test(a_verdict_on_a_packet_may_be_one_on_its_flow),
        cmocka_unit_test(a_reset_flow_is_passed_over_like_a_dropped_one),
        cmocka_unit_test(a_drop_of_bytes_of_a_stream_drops_the_flow),
        cmocka_unit_test(a_dropped_flow_is_passed_over_from_there_on),
        cmocka_unit_test(a_flow_dropped_while_a_reader_idled_stays_dropped_for_it),
        cmocka_unit_test(a_verdict_counts_only_where_the_mask_names_the_judge),
        cmocka_unit_test(verdicts_begin_anew_with_each_lap),
        cmocka_unit_test(a_stronger_verdict_stays),
        cmocka_unit_test(a_verdict_outside_the_poll_is_ignored),
        cmocka_unit_test(an_nf_that_passed_a_flow_gets_no_more_of_it),
        cmocka_unit_test(a_reader_that_is_not_inline_can_pass_a_flow_but_not_drop),
        cmocka_unit_test(a_dropped_flow_is_judged_again_where_it_goes_on),
        cmocka_unit_test(what_the_dead_did_not_judge_goes_as_configured),
        cmocka_unit_test(what_the_dropping_nf_says_itself_is_delivered),
        cmocka_unit_test(what_an_earlier_nf_made_of_it_is_dropped_with_it_but_alerts),
        cmocka_unit_test(a_dropped_flow_is_not_judged_again_on_another_ones_packet),
        cmocka_unit_test(a_verdict_on_an_event_is_one_on_its_own_flow),
        cmocka_unit_test(two_judges_are_both_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
