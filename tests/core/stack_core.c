/*
 * What the stack does for whom: subscriptions, filters, modules, timers, limits, the end.
 */
#include "tests/core/stack_fixture.h"

static struct mb_subscription wanting(uint8_t bit, uint16_t type, const char *filter) {
    struct mb_subscription subscription = {.nf = bit, .bit = bit, .filter = filter};
    stack_want(&subscription, type);
    return subscription;
}

static void open_for(struct stack_fixture *stack, const struct mb_subscription *subscriptions,
                     uint32_t count) {
    stack_open_with(stack, &(struct mb_stack_config){0}, subscriptions, count, NULL, 0);
}

static const struct mb_stack_counters *counters(const struct stack_fixture *stack) {
    return mb_stack_counters(stack->stack);
}

static void talk(struct stack_fixture *stack) {
    stack_handshake(stack);
    stack_send(stack, 0, ACK, 101, 301, "ping");
    stack_send(stack, 1, ACK, 301, 105, "pong");
}

static void what_nobody_wants_is_not_written(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_for(&stack, NULL, 0);
    talk(&stack);
    stack_finish(&stack);
    assert_int_equal(stack.log.next, 0);
    assert_int_equal(counters(&stack)->flows_tcp, 0);
    assert_int_equal(counters(&stack)->packets, 5);
    stack_close(&stack);
}

static void packets_alone_need_no_flows(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription packets = wanting(0, MB_TYPE_PACKET_IP_TCP, "");
    open_for(&stack, &packets, 1);
    talk(&stack);
    assert_int_equal(stack_count(&stack, MB_TYPE_PACKET_IP_TCP), 5);
    assert_int_equal(counters(&stack)->flows_tcp, 0);
    const struct mb_entry *packet = stack_next(&stack, MB_TYPE_PACKET_IP_TCP);
    assert_int_equal(packet->flow, 0);
    assert_int_equal(packet->flags, MB_LAST);
    assert_int_equal(packet->payload.packet.tuple.destination_port, 80);
    assert_int_equal(packet->payload.packet.tcp_flags, SYN);
    stack_close(&stack);
}

static void streams_are_followed_where_they_are_read(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription subscriptions[] = {wanting(3, MB_TYPE_TCP_DATA, "tcp dst port 80"),
                                              wanting(70, MB_TYPE_TCP_START, "")};
    subscriptions[1].nf = 4;
    open_for(&stack, subscriptions, 2);
    talk(&stack);
    const struct mb_entry *start = stack_next(&stack, MB_TYPE_TCP_START);
    assert_int_equal(start->mask[0], 0);
    assert_int_equal(start->mask[1], 1 << 6);
    const struct mb_entry *data = stack_next(&stack, MB_TYPE_TCP_DATA);
    assert_int_equal(data->mask[0], 1 << 3);
    assert_int_equal(data->mask[1], 0);
    assert_string_equal(stack_text(&stack, 0), "ping");
    assert_string_equal(stack_text(&stack, 1), "");
    assert_int_equal(counters(&stack)->stream_bytes, 4);
    assert_int_equal(counters(&stack)->filters_run, 2); /* once a direction */
    stack_close(&stack);
}

static void a_filter_on_one_direction_gets_the_end(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription end = wanting(0, MB_TYPE_TCP_END, "src port 80");
    open_for(&stack, &end, 1);
    talk(&stack);
    stack_send(&stack, 0, RST, 105, 0, NULL);
    stack_send(&stack, 1, RST, 305, 0, NULL);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_END), 1);
    stack_close(&stack);
}

/* libpcap alone would not find the ports behind a hop-by-hop header. */
static void a_filter_of_a_flow_sees_past_extension_headers(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription subscriptions[] = {wanting(0, MB_TYPE_UDP_DATAGRAM, "udp port 53"),
                                              wanting(1, MB_TYPE_UDP_DATAGRAM, "udp port 54")};
    const uint8_t datagram[40 + 8 + 8] = {
        0x60,     [5] = 16, [8] = 0xfd,  [23] = 1,    [24] = 0xfd, [39] = 2, [40] = 17,
        [42] = 1, [43] = 4, [48] = 0x14, [49] = 0xe9, [51] = 53,   [53] = 8};
    open_for(&stack, subscriptions, 2);
    stack_frame(&stack, datagram, sizeof datagram, sizeof datagram, 101);
    assert_int_equal(stack_count(&stack, MB_TYPE_UDP_DATAGRAM), 1);
    assert_int_equal(stack_next(&stack, MB_TYPE_UDP_DATAGRAM)->mask[0], 1);
    stack_close(&stack);
}

static void filters_of_bytes_run_for_each_packet(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription syns =
        wanting(0, MB_TYPE_PACKET_IP_TCP, "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn");
    open_for(&stack, &syns, 1);
    talk(&stack);
    assert_int_equal(stack_count(&stack, MB_TYPE_PACKET_IP_TCP), 1);
    assert_int_equal(counters(&stack)->filters_run, 5);
    stack_close(&stack);
}

static void one_filter_of_many_is_run_once(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription subscriptions[] = {wanting(0, MB_TYPE_TCP_DATA, "port 80"),
                                              wanting(1, MB_TYPE_TCP_DATA, "port 80"),
                                              wanting(2, MB_TYPE_TCP_DATA, "port 81")};
    open_for(&stack, subscriptions, 3);
    talk(&stack);
    assert_int_equal(stack_next(&stack, MB_TYPE_TCP_DATA)->mask[0], 3);
    assert_int_equal(counters(&stack)->filters_run, 2 * 2);
    stack_close(&stack);
}

static void a_wrong_filter_is_named(void **state) {
    (void)state;
    struct mb_log log;
    char error[MB_ERROR_SIZE] = "";
    struct mb_subscription wrong = wanting(0, MB_TYPE_TCP_DATA, "tcp porrt 80");
    assert_int_equal(mb_log_create(&log, MB_LOG_SLOTS_MIN), 0);
    assert_null(mb_stack_create(&(struct mb_stack_config){.link_type = 1}, &log, &wrong, 1, NULL, 0,
                                error));
    assert_non_null(strstr(error, "'tcp porrt 80'"));
    mb_log_destroy(&log);
}

static void the_dead_are_not_named(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription subscriptions[] = {wanting(0, MB_TYPE_TCP_DATA, ""),
                                              wanting(1, MB_TYPE_TCP_END, ""),
                                              wanting(2, MB_TYPE_SYSTEM_NF_EXITED, "")};
    open_for(&stack, subscriptions, 3);
    stack_handshake(&stack);
    stack_send(&stack, 0, ACK, 103, 301, "held");
    assert_int_equal(counters(&stack)->held_segments, 1);
    mb_stack_detach(stack.stack, 0, -9, false);
    const struct mb_entry *exited = stack_next(&stack, MB_TYPE_SYSTEM_NF_EXITED);
    assert_int_equal(exited->payload.nf_exited.status, -9);
    assert_int_equal(exited->flags, MB_APART | MB_LAST);
    stack_send(&stack, 0, ACK, 101, 301, "ab");
    assert_int_equal(counters(&stack)->held_segments, 0);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_DATA), 0);
    stack_finish(&stack);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_END), 1);
    stack_close(&stack);
}

static void who_fails_closed_stays_named(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription data = wanting(0, MB_TYPE_TCP_DATA, "");
    open_for(&stack, &data, 1);
    mb_stack_detach(stack.stack, 0, -9, true);
    talk(&stack);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_DATA), 2);
    stack_close(&stack);
}

static void datagrams_and_messages_have_flows(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_udp(&stack, 0, "question");
    stack_udp(&stack, 1, "answer");
    const struct mb_entry *start = stack_next(&stack, MB_TYPE_UDP_START);
    assert_int_equal(start->flow, 1);
    const struct mb_entry *question = stack_next(&stack, MB_TYPE_UDP_DATAGRAM);
    assert_memory_equal(stack.pool + question->frame + question->data_offset, "question", 8);
    const struct mb_entry *answer = stack_next(&stack, MB_TYPE_UDP_DATAGRAM);
    assert_int_equal(answer->flags & MB_FROM_RESPONDER, MB_FROM_RESPONDER);
    assert_int_equal(answer->snapshot.side[0].bytes, 8);
    assert_int_equal(answer->snapshot.side[1].packets, 1);
    stack.time += 121 * SECONDS;
    stack_udp(&stack, 0, "again");
    assert_int_equal(stack_next(&stack, MB_TYPE_UDP_END)->reason, MB_REASON_END_TIMEOUT);
    assert_int_equal(stack_next(&stack, MB_TYPE_UDP_START)->flow, 3);
    stack_close(&stack);
}

static void pings_are_told_apart_by_identifier(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    for (unsigned identifier = 1; identifier <= 2; identifier++) {
        for (unsigned from = 0; from < 2; from++) {
            uint8_t frame[42];
            uint8_t *icmp = frame + stack_write_ipv4(frame, from, 1, 8);
            memcpy(icmp, (uint8_t[]){from == 0 ? 8 : 0, 0, 0, 0, 0, (uint8_t)identifier, 0, 77}, 8);
            stack_frame(&stack, frame, sizeof frame, sizeof frame, 1);
        }
    }
    assert_int_equal(stack_count(&stack, MB_TYPE_ICMP_START), 2);
    const struct mb_entry *message = stack_next(&stack, MB_TYPE_ICMP_MESSAGE);
    assert_int_equal(message->payload.icmp_message.message_type, 8);
    assert_int_equal(message->payload.icmp_message.sequence_number, 77);
    assert_int_equal(message->payload.icmp_message.identifier, 1);
    stack_close(&stack);
}

static void other_protocols_have_flows(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    uint8_t frame[44];
    stack_write_ipv4(frame, 0, 89, 10);
    memset(frame + 34, 1, 10);
    stack_frame(&stack, frame, sizeof frame, sizeof frame, 1);
    assert_int_equal(stack_next(&stack, MB_TYPE_FLOW_START)->payload.flow.tuple.protocol, 89);
    stack_finish(&stack);
    assert_int_equal(stack_next(&stack, MB_TYPE_FLOW_END)->reason, MB_REASON_END_SHUTDOWN);
    stack_close(&stack);
}

static void any_flow_has_a_start_and_an_end_without_being_tracked(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription flows = {.filter = ""};
    stack_want(&flows, MB_TYPE_FLOW_START);
    stack_want(&flows, MB_TYPE_FLOW_END);
    open_for(&stack, &flows, 1);
    talk(&stack);
    stack_udp(&stack, 0, "question");
    const struct mb_entry *tcp = stack_next(&stack, MB_TYPE_FLOW_START);
    assert_int_equal(tcp->payload.flow.tuple.protocol, 6);
    assert_int_equal(stack_next(&stack, MB_TYPE_FLOW_START)->payload.flow.tuple.protocol, 17);
    assert_int_equal(stack.log.next, 2);
    stack_finish(&stack);
    const struct mb_entry *end = stack_next(&stack, MB_TYPE_FLOW_END);
    assert_int_equal(end->payload.flow_end.started, tcp->time);
    assert_int_equal(end->snapshot.side[1].packets, 2);
    assert_int_equal(end->snapshot.side[1].state, MB_TCP_CLOSED); /* nobody looked */
    stack_close(&stack);
}

static void who_reads_a_start_of_its_own_kind_gets_no_other(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription subscriptions[2] = {{.bit = 0}, {.bit = 1}};
    stack_want(&subscriptions[0], MB_TYPE_FLOW_START);
    stack_want(&subscriptions[0], MB_TYPE_TCP_START);
    stack_want(&subscriptions[1], MB_TYPE_FLOW_START);
    open_for(&stack, subscriptions, 2);
    talk(&stack);
    assert_int_equal(stack_next(&stack, MB_TYPE_TCP_START)->mask[0], 1);
    assert_int_equal(stack_next(&stack, MB_TYPE_FLOW_START)->mask[0], 2);
    assert_int_equal(stack.log.next, 2);
    stack_udp(&stack, 0, "question");
    assert_int_equal(stack_next(&stack, MB_TYPE_FLOW_START)->mask[0], 3);
    stack_close(&stack);
}

static void timers_fire_in_packet_time(void **state) {
    (void)state;
    struct stack_fixture stack;
    const struct mb_timer_subscription timer = {.period = SECONDS, .mask = {2, 0}};
    stack_open_with(&stack, &(struct mb_stack_config){0}, NULL, 0, &timer, 1);
    stack_udp(&stack, 0, "a");
    stack.time += SECONDS / 2;
    stack_udp(&stack, 0, "b");
    assert_int_equal(stack_count(&stack, MB_TYPE_TIMER), 0);
    stack.time += SECONDS / 2;
    stack_udp(&stack, 0, "c");
    const struct mb_entry *first = stack_next(&stack, MB_TYPE_TIMER);
    assert_int_equal(first->payload.timer.missed, 0);
    assert_int_equal(first->mask[0], 2);
    assert_int_equal(first->time, stack.time);
    stack.time += 10 * SECONDS;
    stack_udp(&stack, 0, "d");
    assert_int_equal(stack_next(&stack, MB_TYPE_TIMER)->payload.timer.missed, 9);
    stack.time -= 20 * SECONDS;
    stack_udp(&stack, 0, "e");
    assert_int_equal(stack_count(&stack, MB_TYPE_TIMER), 2);
    stack_close(&stack);
}

static void a_broken_time_evicts_nothing_and_does_not_hang(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription everything = stack_everything();
    const struct mb_timer_subscription timer = {.period = 1, .mask = {1, 0}};
    stack_open_with(&stack, &(struct mb_stack_config){0}, &everything, 1, &timer, 1);
    stack_handshake(&stack);
    uint64_t now = stack.time;
    stack.time = UINT64_MAX;
    stack_udp(&stack, 0, "from the future");
    stack.time = 0;
    stack_udp(&stack, 0, "from the past");
    stack.time = now + 1;
    stack_send(&stack, 0, ACK, 101, 301, "still open");
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_END), 0);
    assert_string_equal(stack_text(&stack, 0), "still open");
    stack_close(&stack);
}

static void a_full_table_gives_up_the_oldest(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription everything = stack_everything();
    stack_open_with(&stack, &(struct mb_stack_config){.flows_max = 2}, &everything, 1, NULL, 0);
    for (uint16_t port = 1; port <= 3; port++)
        stack_tcp(&stack, (struct tcp){.flags = SYN, .sequence = 100, .port = port});
    const struct mb_entry *end = stack_next(&stack, MB_TYPE_TCP_END);
    assert_int_equal(end->reason, MB_REASON_END_EVICTED);
    assert_int_equal(end->flow, 1);
    assert_int_equal(counters(&stack)->flows_evicted, 1);
    assert_int_equal(counters(&stack)->flows_active, 2);
    assert_true(stack.handled.flow_slot < mb_stack_flow_slots(stack.stack));
    stack_close(&stack);
}

static void flows_end_in_the_order_of_their_first_packets(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    for (uint16_t port = 1; port <= 50; port++)
        stack_tcp(&stack, (struct tcp){.flags = SYN, .sequence = 100, .port = port});
    for (uint16_t port = 1; port <= 50; port += 7) /* the lists' order changes, not this */
        stack_tcp(&stack, (struct tcp){.flags = ACK, .sequence = 101, .port = port});
    stack_finish(&stack);
    for (uint64_t flow = 1; flow <= 50; flow++) {
        const struct mb_entry *end = stack_next(&stack, MB_TYPE_TCP_END);
        assert_int_equal(end->flow, flow);
        assert_int_equal(end->flags & MB_LAST, MB_LAST);
    }
    const struct mb_entry *last = stack_next(&stack, MB_TYPE_SYSTEM_END_OF_INPUT);
    assert_int_equal(last->payload.end_of_input.packets, 58);
    assert_int_equal(last->sequence, stack.log.next - 1);
    assert_true(mb_stack_finish(stack.stack, MB_REASON_END_SHUTDOWN));
    assert_int_equal(last->sequence, stack.log.next - 1);
    stack_close(&stack);
}

static void malformed_packets_are_told_and_counted(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_frame(&stack, (const uint8_t[]){1, 2, 3}, 3, 3, 1);
    const struct mb_entry *malformed = stack_next(&stack, MB_TYPE_PACKET_MALFORMED);
    assert_int_equal(malformed->reason, MB_REASON_FRAME_TRUNCATED);
    assert_int_equal(counters(&stack)->packets_malformed, 1);
    assert_int_equal(counters(&stack)->by_reason[MB_REASON_FRAME_TRUNCATED], 1);
    assert_int_equal(counters(&stack)->published_by_type[MB_TYPE_PACKET_MALFORMED], 1);
    stack_close(&stack);
}

static void a_packet_owns_what_it_caused(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    talk(&stack);
    assert_int_equal(stack.handled.flow, 1);
    assert_int_equal(stack.handled.packet, 5);
    assert_int_equal(stack.handled.end, stack.log.next);
    assert_int_equal(stack.handled.end - stack.handled.first, 2);
    const struct mb_entry *first = &stack.log.slots[stack.handled.first];
    assert_int_equal(first[0].type, MB_TYPE_PACKET_IP_TCP);
    assert_int_equal(first[0].flags, MB_FROM_RESPONDER);
    assert_int_equal(first[0].flow, 1);
    assert_int_equal(first[1].type, MB_TYPE_TCP_DATA);
    assert_int_equal(first[1].flags, MB_FROM_RESPONDER | MB_HAS_FLOW | MB_LAST);
    stack_close(&stack);
}

/* IPv4 and TCP of a SYN from 10.0.0.1:1000 to 10.0.0.2:80, with their checksums right. */
static void send_checked_syn(struct stack_fixture *stack, uint8_t ip_error, uint8_t tcp_error) {
    uint8_t frame[54] = {0};
    const uint8_t packet[40] = {0x45, 0,   0, 40, 0, 0, 0,    0, 64,   6,    0x66, 0xce, 10,
                                0,    0,   1, 10, 0, 0, 2,    3, 232,  0,    80,   0,    0,
                                0,    100, 0, 0,  0, 0, 0x50, 2, 0xff, 0xff, 0x97, 0x44};
    frame[12] = 8;
    memcpy(frame + 14, packet, sizeof packet);
    frame[14 + 11] ^= ip_error;
    frame[34 + 17] ^= tcp_error;
    stack_frame(stack, frame, sizeof frame, sizeof frame, 1);
}

static void open_with_checksums(struct stack_fixture *stack, enum mb_checksums checksums) {
    struct mb_subscription everything = stack_everything();
    stack_open_with(stack, &(struct mb_stack_config){.checksums = checksums}, &everything, 1, NULL,
                    0);
}

static void right_checksums_are_found_right(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with_checksums(&stack, MB_CHECKSUMS_DROP);
    send_checked_syn(&stack, 0, 0);
    assert_int_equal(stack_count(&stack, MB_TYPE_PACKET_MALFORMED), 0);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_START), 1);
    stack_close(&stack);
}

static void wrong_checksums_are_told(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with_checksums(&stack, MB_CHECKSUMS_EVENT);
    send_checked_syn(&stack, 0, 1);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_BAD_CHECKSUM), 1);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_START), 1);
    send_checked_syn(&stack, 1, 0);
    stack_next(&stack, MB_TYPE_PACKET_IP_TCP);
    assert_int_equal(stack_next(&stack, MB_TYPE_PACKET_IP_TCP)->reason, MB_REASON_IPV4_CHECKSUM);
    stack_close(&stack);
}

static void packets_with_wrong_checksums_belong_to_no_flow(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with_checksums(&stack, MB_CHECKSUMS_DROP);
    send_checked_syn(&stack, 0, 1);
    assert_int_equal(stack_next(&stack, MB_TYPE_PACKET_MALFORMED)->reason,
                     MB_REASON_TCP_BAD_CHECKSUM);
    send_checked_syn(&stack, 1, 0);
    assert_int_equal(stack_next(&stack, MB_TYPE_PACKET_MALFORMED)->reason, MB_REASON_IPV4_CHECKSUM);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_START), 0);
    stack_close(&stack);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_wants_is_not_written),
        cmocka_unit_test(packets_alone_need_no_flows),
        cmocka_unit_test(streams_are_followed_where_they_are_read),
        cmocka_unit_test(a_filter_on_one_direction_gets_the_end),
        cmocka_unit_test(a_filter_of_a_flow_sees_past_extension_headers),
        cmocka_unit_test(filters_of_bytes_run_for_each_packet),
        cmocka_unit_test(one_filter_of_many_is_run_once),
        cmocka_unit_test(a_wrong_filter_is_named),
        cmocka_unit_test(the_dead_are_not_named),
        cmocka_unit_test(who_fails_closed_stays_named),
        cmocka_unit_test(datagrams_and_messages_have_flows),
        cmocka_unit_test(pings_are_told_apart_by_identifier),
        cmocka_unit_test(other_protocols_have_flows),
        cmocka_unit_test(any_flow_has_a_start_and_an_end_without_being_tracked),
        cmocka_unit_test(who_reads_a_start_of_its_own_kind_gets_no_other),
        cmocka_unit_test(timers_fire_in_packet_time),
        cmocka_unit_test(a_broken_time_evicts_nothing_and_does_not_hang),
        cmocka_unit_test(a_full_table_gives_up_the_oldest),
        cmocka_unit_test(flows_end_in_the_order_of_their_first_packets),
        cmocka_unit_test(malformed_packets_are_told_and_counted),
        cmocka_unit_test(a_packet_owns_what_it_caused),
        cmocka_unit_test(right_checksums_are_found_right),
        cmocka_unit_test(wrong_checksums_are_told),
        cmocka_unit_test(packets_with_wrong_checksums_belong_to_no_flow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
