/*
 * What a C user needs is in the one public header: an event goes from a log through an NF that
 * publishes and judges to another one.
 */
#include "microbox/include/microbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { SLOTS = MB_LOG_SLOTS_MIN, CAPACITY = 2 * MB_ENTRIES_PER_PACKET };

static const struct mb_nf_geometry shape = {
    .log_slots = SLOTS, .own_slots = 64, .ring_bytes = 4096, .is_inline = true};

static struct mb_reader *make_nf(uint32_t index, struct mb_log *log, struct mb_area *area) {
    struct mb_reader_config config = {.nf = index,
                                      .log_slots = SLOTS,
                                      .geometry = shape,
                                      .subscriptions = 1,
                                      .bit = {(uint8_t)index},
                                      .wait_policy = mb_wait_policy_default()};
    memset(config.types[0], 0xff, sizeof config.types[0]);
    int error;
    struct mb_reader *reader = mb_reader_create(&config, &error);
    assert_non_null(reader);
    int fd = mb_reader_area_fd(reader);
    assert_int_equal(mb_area_map(area, fd, mb_nf_area_size(&shape)), 0);
    struct mb_nf_area parts = mb_nf_area_parts(area->base, &shape);
    struct mb_consumer consumer = {
        .page = parts.page, .verdicts = parts.verdicts, .mask = {UINT64_C(1) << index, 0}};
    assert_int_equal(mb_log_attach(log, index, &consumer), 0);
    assert_int_equal(mb_reader_map_log(reader, log->area.fd), 0);
    return reader;
}

static void introduce(struct mb_reader *reader, struct mb_reader *other, uint32_t other_index,
                      bool is_earlier) {
    const struct mb_neighbour neighbour = {.index = other_index,
                                           .fd = mb_reader_area_fd(other),
                                           .geometry = shape,
                                           .mask = {UINT64_C(1) << other_index, 0},
                                           .barrier = is_earlier,
                                           .publishes = is_earlier};
    assert_int_equal(mb_reader_map_neighbour(reader, &neighbour), 0);
}

static void publish_datagram(struct mb_log *log, uint16_t port) {
    assert_true(mb_log_has_room(log, MB_ENTRIES_PER_PACKET));
    uint64_t first = log->next;
    struct mb_entry *entry = mb_log_claim(log, (const uint64_t[]){3, 0});
    entry->type = MB_TYPE_UDP_DATAGRAM;
    entry->reason = MB_REASON_NONE;
    entry->flags = MB_HAS_FLOW;
    entry->flow = port;
    entry->frame_length = 60;
    entry->payload.flow = (struct mb_flow){.tuple.destination_port = port};
    mb_log_end_packet(log, first);
    mb_log_commit(log);
}

static int poll(struct mb_reader *reader, struct mb_delivery *deliveries) {
    uint32_t broken;
    return mb_reader_poll(reader, deliveries, CAPACITY, 0, &broken);
}

static void events_go_round(void **state) {
    (void)state;
    struct mb_log log;
    struct mb_area areas[2];
    struct mb_delivery deliveries[CAPACITY];
    assert_int_equal(mb_log_create(&log, SLOTS), 0);
    struct mb_reader *first = make_nf(0, &log, &areas[0]);
    struct mb_reader *second = make_nf(1, &log, &areas[1]);
    introduce(first, second, 1, false);
    introduce(second, first, 0, true);

    publish_datagram(&log, 53);
    publish_datagram(&log, 69);
    assert_int_equal(poll(first, deliveries), 2);
    assert_int_equal(((const struct mb_flow *)deliveries[1].payload)->tuple.destination_port, 69);
    const struct mb_alert alert = {.severity = 3};
    mb_reader_set_position(first, deliveries[1].position);
    assert_int_equal(mb_reader_publish(first, &deliveries[1], MB_TYPE_ALERT, MB_REASON_NONE,
                                       (const uint8_t *)&alert, sizeof alert, NULL),
                     0);
    mb_reader_judge(first, deliveries[1].position, MB_DROP);
    mb_reader_advance(first);

    assert_int_equal(poll(second, deliveries), 2);
    assert_string_equal(mb_event_type_name(deliveries[0].entry->type), "flow.udp.datagram");
    assert_string_equal(mb_event_type_name(deliveries[1].entry->type), "alert");
    assert_int_equal(((const struct mb_alert *)deliveries[1].payload)->severity, 3);
    mb_reader_advance(second);
    assert_true(mb_log_drained(&log));

    mb_reader_destroy(first);
    mb_reader_destroy(second);
    mb_area_destroy(&areas[0]);
    mb_area_destroy(&areas[1]);
    mb_log_destroy(&log);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_go_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
