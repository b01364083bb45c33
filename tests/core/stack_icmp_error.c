/*
 * ICMP errors: which flow they speak of, what they say about it, and that they change nothing.
 */
#include "tests/core/stack_fixture.h"

enum { UNREACHABLE = 3, EXCEEDED = 11, HOST = 1, TOO_BIG = 4 };

/* An error from a router, 10.0.0.9, to who sent the quoted packet. What is left out is 0. */
struct error {
    unsigned quoted_from; /* side of the flow, as in the fixture */
    uint8_t type;
    uint8_t code;
    uint16_t mtu;
    uint8_t protocol; /* of the quoted packet */
    uint16_t ports[2];
    uint32_t sequence;
    uint16_t fragment;    /* fragment field of the quoted packet */
    uint32_t cut;         /* bytes that the quote has less than eight of the transport header */
    bool goes_to_another; /* not to who sent what is quoted */
};

static void send_error(struct stack_fixture *stack, struct error error) {
    uint8_t frame[128];
    uint8_t inner[64];
    uint32_t quoted = 20 + 8 - error.cut;
    stack_write_ipv4(inner, error.quoted_from, error.protocol, 100);
    stack_put_16(inner + 14 + 6, error.fragment);
    stack_put_16(inner + 34, error.ports[0]);
    stack_put_16(inner + 36, error.ports[1]);
    stack_put_32(inner + 38, error.sequence);

    stack_write_ipv4(frame, 0, 1, 8 + quoted);
    stack_put_32(frame + 26, 0x0a000009);
    stack_put_32(frame + 30, error.goes_to_another ? 0x0a000007 : 0x0a000001 + error.quoted_from);
    memset(frame + 34, 0, 8);
    frame[34] = error.type;
    frame[35] = error.code;
    stack_put_16(frame + 40, error.mtu);
    memcpy(frame + 42, inner + 14, quoted);
    stack_frame(stack, frame, 42 + quoted, 42 + quoted, 1);
}

/* About the segment of side `from` that begins at `sequence`. */
static struct error about_segment(unsigned from, uint32_t sequence) {
    return (struct error){.quoted_from = from,
                          .type = UNREACHABLE,
                          .code = HOST,
                          .protocol = 6,
                          .ports = {from == 0 ? 1000 : 80, from == 0 ? 80 : 1000},
                          .sequence = sequence};
}

/* A connection on which five bytes of the originator, from 101 on, are not acknowledged. */
static void open_with_bytes_on_their_way(struct stack_fixture *stack) {
    stack_open(stack);
    stack_handshake(stack);
    stack_send(stack, 0, ACK, 101, 301, "hello");
}

static void an_error_is_an_event_of_the_flow_that_it_quotes(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with_bytes_on_their_way(&stack);
    struct error error = about_segment(0, 101);
    error.code = TOO_BIG;
    error.mtu = 1400;
    send_error(&stack, error);
    const struct mb_entry *entry = stack_next(&stack, MB_TYPE_TCP_ICMP_ERROR);
    assert_non_null(entry);
    assert_int_equal(entry->flow, 1);
    assert_int_equal(stack.handled.flow, 1);
    assert_false(entry->flags & MB_FROM_RESPONDER);
    assert_int_equal(entry->data_length, 28);
    assert_int_equal(entry->payload.icmp_error.message_type, UNREACHABLE);
    assert_int_equal(entry->payload.icmp_error.code, TOO_BIG);
    assert_int_equal(entry->payload.icmp_error.mtu, 1400);
    assert_int_equal(entry->payload.icmp_error.sequence_number, 101);
    assert_int_equal(entry->payload.icmp_error.flow.tuple.destination_port, 80);
    assert_int_equal(stack_count(&stack, MB_TYPE_ICMP_START), 0);
    stack_close(&stack);
}

static void an_error_may_quote_either_side(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_handshake(&stack);
    stack_send(&stack, 1, ACK, 301, 101, "world");
    send_error(&stack, about_segment(1, 301));
    const struct mb_entry *entry = stack_next(&stack, MB_TYPE_TCP_ICMP_ERROR);
    assert_non_null(entry);
    assert_true(entry->flags & MB_FROM_RESPONDER);
    stack_close(&stack);
}

static void an_error_ends_nothing_and_feeds_nothing(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with_bytes_on_their_way(&stack);
    send_error(&stack, about_segment(0, 101));
    const struct mb_entry *entry = stack_next(&stack, MB_TYPE_TCP_ICMP_ERROR);
    assert_int_equal(entry->snapshot.side[0].packets, 3);
    assert_int_equal(entry->snapshot.side[1].packets, 1);
    assert_int_equal(entry->snapshot.side[0].state, MB_TCP_ESTABLISHED);
    stack_send(&stack, 1, ACK, 301, 106, "world");
    assert_string_equal(stack_text(&stack, 0), "hello");
    assert_string_equal(stack_text(&stack, 1), "world");
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_END), 0);
    stack_close(&stack);
}

static void an_error_keeps_no_flow_alive(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription everything = stack_everything();
    stack_open_with(&stack, &(struct mb_stack_config){.udp_timeout = 10 * SECONDS}, &everything, 1,
                    NULL, 0);
    stack_udp(&stack, 0, "one");
    stack_udp(&stack, 1, "two");
    for (unsigned i = 0; i < 3; i++) {
        stack.time += 5 * SECONDS;
        send_error(&stack,
                   (struct error){.type = UNREACHABLE, .protocol = 17, .ports = {5353, 53}});
    }
    assert_int_equal(stack_count(&stack, MB_TYPE_UDP_ICMP_ERROR), 2);
    assert_int_equal(stack_count(&stack, MB_TYPE_UDP_END), 1);
    stack_close(&stack);
}

/* RFC 5927 section 4.1. */
static void an_error_about_what_is_not_on_its_way_is_an_anomaly(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with_bytes_on_their_way(&stack);
    const uint32_t forged[] = {100, 106, 0x80000000, 101 + (1u << 20)};
    for (unsigned i = 0; i < sizeof forged / sizeof *forged; i++)
        send_error(&stack, about_segment(0, forged[i]));
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_ICMP_ERROR), 0);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_ICMP_OUT_OF_WINDOW), 4);
    const struct mb_entry *entry = stack_next(&stack, MB_TYPE_TCP_ICMP_OUT_OF_WINDOW);
    assert_int_equal(entry->reason, MB_REASON_TCP_ICMP_OUT_OF_WINDOW);
    assert_int_equal(entry->payload.tcp_anomaly.sequence_number, 100);
    send_error(&stack, about_segment(0, 101));
    send_error(&stack, about_segment(0, 105));
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_ICMP_ERROR), 2);
    stack_close(&stack);
}

static void a_syn_that_nobody_answered_may_be_quoted(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_send(&stack, 0, SYN, 100, 0, NULL);
    send_error(&stack, about_segment(0, 100));
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_ICMP_ERROR), 1);
    stack_close(&stack);
}

static void errors_about_datagrams_and_echo_requests(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    stack_udp(&stack, 0, "hello");
    send_error(&stack, (struct error){.type = EXCEEDED, .protocol = 17, .ports = {5353, 53}});
    assert_int_equal(stack_count(&stack, MB_TYPE_UDP_ICMP_ERROR), 1);

    uint8_t echo[42];
    stack_write_ipv4(echo, 0, 1, 8);
    memcpy(echo + 34, (uint8_t[]){8, 0, 0, 0, 0x12, 0x34, 0, 1}, 8);
    stack_frame(&stack, echo, sizeof echo, sizeof echo, 1);
    send_error(
        &stack,
        (struct error){.type = EXCEEDED, .protocol = 1, .ports = {0x0800}, .sequence = 0x12340001});
    assert_int_equal(stack_count(&stack, MB_TYPE_ICMP_ERROR), 1);
    assert_int_equal(stack_count(&stack, MB_TYPE_ICMP_START), 1);
    stack_close(&stack);
}

static void an_error_about_an_unknown_flow_is_a_message(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    send_error(&stack, about_segment(0, 101));
    assert_int_equal(stack_count(&stack, MB_TYPE_ICMP_MESSAGE), 1);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_START), 0);
    const struct mb_stack_counters *counters = mb_stack_counters(stack.stack);
    assert_int_equal(counters->by_reason[MB_REASON_ICMP_ERROR_WITHOUT_FLOW], 1);
    stack_close(&stack);
}

static void what_quotes_too_little_speaks_of_no_flow(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with_bytes_on_their_way(&stack);
    struct error error = about_segment(0, 101);
    for (error.cut = 1; error.cut <= 28; error.cut++)
        send_error(&stack, error);
    error.cut = 0;
    error.fragment = 5; /* a later fragment has no ports */
    send_error(&stack, error);
    error.fragment = 0;
    error.goes_to_another = true;
    send_error(&stack, error);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_ICMP_ERROR), 0);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_ICMP_OUT_OF_WINDOW), 0);
    stack_close(&stack);
}

static void what_an_error_quotes_is_named_for_every_type(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with_bytes_on_their_way(&stack);
    static const uint8_t errors[] = {3, 4, 5, 11, 12};
    struct error error = about_segment(0, 101);
    for (unsigned i = 0; i < sizeof errors; i++) {
        error.type = errors[i];
        send_error(&stack, error);
    }
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_ICMP_ERROR), 5);
    error.type = 13; /* a timestamp request quotes nothing */
    send_error(&stack, error);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_ICMP_ERROR), 5);
    stack_close(&stack);
}

/* fd00::1 sends UDP from 5353 to fd00::2, port 53; with a destination options header before it in
 * the quote. */
static void errors_of_icmpv6(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    const uint8_t datagram[] = {0x60, 0, 0, 0, 0, 8, 17, 64, 0xfd, 0,    0, 0,  0, 0, 0, 0,
                                0,    0, 0, 0, 0, 0, 0,  1,  0xfd, 0,    0, 0,  0, 0, 0, 0,
                                0,    0, 0, 0, 0, 0, 0,  2,  0x14, 0xe9, 0, 53, 0, 8, 0, 0};
    stack_frame(&stack, datagram, sizeof datagram, sizeof datagram, 101);
    uint8_t error[40 + 8 + 40 + 8 + 8] = {
        0x60, 0,        0,           0,        0,        64,       58,      64,
        0xfd, [23] = 9, [24] = 0xfd, [39] = 1, [40] = 2, [46] = 5, [47] = 0};
    uint8_t *quote = error + 48;
    memcpy(quote, datagram, 40);
    quote[6] = 60;
    quote[40] = 17;
    memcpy(quote + 48, datagram + 40, 8);
    stack_frame(&stack, error, sizeof error, sizeof error, 101);
    const struct mb_entry *entry = stack_next(&stack, MB_TYPE_UDP_ICMP_ERROR);
    assert_non_null(entry);
    assert_int_equal(entry->payload.icmp_error.mtu, 1280);
    stack_close(&stack);
}

/* The packet's own headers say who wants it; who wants the flow gets what is said of the flow. */
static void filters_of_the_packet_and_of_the_flow(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription subscriptions[2] = {{.bit = 0, .filter = "icmp"},
                                               {.bit = 1, .filter = "tcp port 80"}};
    stack_want(&subscriptions[0], MB_TYPE_PACKET_IP_ICMP);
    stack_want(&subscriptions[1], MB_TYPE_TCP_ICMP_ERROR);
    stack_open_with(&stack, &(struct mb_stack_config){0}, subscriptions, 2, NULL, 0);
    stack_handshake(&stack);
    stack_send(&stack, 0, ACK, 101, 301, "hello");
    send_error(&stack, about_segment(0, 101));
    const struct mb_entry *packet = stack_next(&stack, MB_TYPE_PACKET_IP_ICMP);
    const struct mb_entry *error = stack_next(&stack, MB_TYPE_TCP_ICMP_ERROR);
    assert_non_null(packet);
    assert_int_equal(packet->mask[0], 1);
    assert_int_equal(packet->flow, 1);
    assert_non_null(error);
    assert_int_equal(error->mask[0], 2);
    stack_close(&stack);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_is_an_event_of_the_flow_that_it_quotes),
        cmocka_unit_test(an_error_may_quote_either_side),
        cmocka_unit_test(an_error_ends_nothing_and_feeds_nothing),
        cmocka_unit_test(an_error_keeps_no_flow_alive),
        cmocka_unit_test(an_error_about_what_is_not_on_its_way_is_an_anomaly),
        cmocka_unit_test(a_syn_that_nobody_answered_may_be_quoted),
        cmocka_unit_test(errors_about_datagrams_and_echo_requests),
        cmocka_unit_test(an_error_about_an_unknown_flow_is_a_message),
        cmocka_unit_test(what_quotes_too_little_speaks_of_no_flow),
        cmocka_unit_test(what_an_error_quotes_is_named_for_every_type),
        cmocka_unit_test(errors_of_icmpv6),
        cmocka_unit_test(filters_of_the_packet_and_of_the_flow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
