/*
 * Commands of NFs about flows, as the stack obeys them: when, for whom, and what the flow runs
 * then.
 */
#include "tests/core/stack_fixture.h"

#include <errno.h>

enum { DELAY = 4, SLOTS = 16, BIT_DATA = 0, BIT_PACKETS = 1, BIT_OTHER = 64 };

/* The ring of NF 0. It is in no log, so it counts as having passed everything. */
struct nf {
    struct mb_nf_page page;
    struct mb_command commands[SLOTS];
};

struct fixture {
    struct stack_fixture stack;
    struct nf nf;
};

static struct mb_subscription wanting(uint32_t nf, uint8_t bit, uint16_t type, const char *filter) {
    struct mb_subscription subscription = {.nf = nf, .bit = bit, .filter = filter};
    stack_want(&subscription, type);
    return subscription;
}

static struct mb_switch switching(uint32_t k, uint8_t bit, bool is_off_at_first) {
    struct mb_switch one = {.subscription = k, .is_off_at_first = is_off_at_first};
    one.mask[bit / 64] = UINT64_C(1) << bit % 64;
    return one;
}

static void open_with(struct fixture *fixture, const struct mb_subscription *subscriptions,
                      uint32_t count, const struct mb_switch *switches, uint32_t switch_count) {
    memset(&fixture->nf, 0, sizeof fixture->nf);
    stack_open_with(&fixture->stack, &(struct mb_stack_config){.command_delay = DELAY},
                    subscriptions, count, NULL, 0);
    const struct mb_command_ring ring = {
        .page = &fixture->nf.page, .slots = fixture->nf.commands, .count = SLOTS};
    assert_int_equal(
        mb_stack_accept_commands(fixture->stack.stack, switches, switch_count, &ring, 1), 0);
}

/* One NF that reads bytes; its subscription 0 can be switched. */
static void open_reader(struct fixture *fixture, const char *filter) {
    struct mb_subscription data = wanting(0, BIT_DATA, MB_TYPE_TCP_DATA, filter);
    struct mb_switch one = switching(0, BIT_DATA, false);
    open_with(fixture, &data, 1, &one, 1);
}

static void close_all(struct fixture *fixture) {
    stack_close(&fixture->stack);
}

static const struct mb_stack_counters *counters(const struct fixture *fixture) {
    return mb_stack_counters(fixture->stack.stack);
}

static void say(struct fixture *fixture, struct mb_command command) {
    struct mb_nf_page *page = &fixture->nf.page;
    fixture->nf.commands[page->command_head++ % SLOTS] = command;
    uint32_t nf;
    uint64_t position;
    mb_stack_room(fixture->stack.stack, &nf, &position);
}

/* What an NF says when it handles the last packet, which must be of flow 1. */
static struct mb_command command_now(const struct fixture *fixture, enum mb_command_kind kind) {
    const uint64_t packet = fixture->stack.handled.packet;
    return (struct mb_command){.flow = 1,
                               .packet = packet,
                               .seen = packet,
                               .subscriptions = 1,
                               .kind = (uint16_t)kind,
                               .sides = 3};
}

static void say_now(struct fixture *fixture, enum mb_command_kind kind) {
    say(fixture, command_now(fixture, kind));
}

/* Segments of one byte, from side 0, `count` of them. */
static void send_bytes(struct fixture *fixture, uint32_t *sequence, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        stack_send(&fixture->stack, 0, ACK, (*sequence)++, 301, "x");
}

static void unsubscribing_takes_effect_after_the_delay(void **state) {
    (void)state;
    struct fixture fixture;
    open_reader(&fixture, "");
    stack_handshake(&fixture.stack);
    uint32_t sequence = 101;
    send_bytes(&fixture, &sequence, 2);
    say_now(&fixture, MB_COMMAND_UNSUBSCRIBE);
    send_bytes(&fixture, &sequence, DELAY - 1);
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_DATA), 2 + DELAY - 1);
    send_bytes(&fixture, &sequence, 10);
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_DATA), 2 + DELAY - 1);
    assert_int_equal(counters(&fixture)->stream_bytes, 2 + DELAY - 1);
    assert_int_equal(counters(&fixture)->commands_obeyed, 1);
    assert_int_equal(counters(&fixture)->module_changes, 1);
    close_all(&fixture);
}

/* NF 0 drops flows, NF 1 waits for it, NF 2 does not; both read bytes. */
static void open_dropper(struct fixture *fixture, bool may_drop) {
    const struct mb_subscription wanted[] = {
        wanting(0, BIT_DATA, MB_TYPE_TCP_DATA, ""),
        wanting(1, BIT_OTHER, MB_TYPE_TCP_DATA, ""),
        wanting(2, BIT_OTHER + 1, MB_TYPE_PACKET_IP_TCP, ""),
    };
    struct mb_switch one = switching(0, BIT_DATA, false);
    one.drops[BIT_OTHER / 64] = UINT64_C(1) << BIT_OTHER % 64;
    memset(&fixture->nf, 0, sizeof fixture->nf);
    stack_open_with(&fixture->stack, &(struct mb_stack_config){.command_delay = DELAY}, wanted, 3,
                    NULL, 0);
    const struct mb_command_ring ring = {.page = &fixture->nf.page,
                                         .slots = fixture->nf.commands,
                                         .count = SLOTS,
                                         .may_drop = may_drop};
    assert_int_equal(mb_stack_accept_commands(fixture->stack.stack, &one, 1, &ring, 1), 0);
}

static void a_dropped_flow_concerns_neither_the_nf_nor_those_that_wait_for_it(void **state) {
    (void)state;
    struct fixture fixture;
    open_dropper(&fixture, true);
    stack_handshake(&fixture.stack);
    uint32_t sequence = 101;
    send_bytes(&fixture, &sequence, 1);
    say_now(&fixture, MB_COMMAND_DROP_FLOW);
    send_bytes(&fixture, &sequence, DELAY - 1);
    assert_int_equal(fixture.stack.handled.dropped_by, 0);
    send_bytes(&fixture, &sequence, 5);
    assert_int_equal(fixture.stack.handled.dropped_by, 1 + 0);
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_DATA), DELAY);
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_PACKET_IP_TCP), 3 + DELAY + 5);
    assert_int_equal(counters(&fixture)->commands_obeyed, 1);
    close_all(&fixture);
}

/* It would hide the flow from those behind, though its packets go out. */
static void who_is_not_inline_drops_no_flow(void **state) {
    (void)state;
    struct fixture fixture;
    open_dropper(&fixture, false);
    stack_handshake(&fixture.stack);
    say_now(&fixture, MB_COMMAND_DROP_FLOW);
    uint32_t sequence = 101;
    send_bytes(&fixture, &sequence, DELAY + 5);
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_DATA), DELAY + 5);
    assert_int_equal(fixture.stack.handled.dropped_by, 0);
    assert_int_equal(counters(&fixture)->commands_refused, 1);
    close_all(&fixture);
}

static void a_command_of_one_side_leaves_the_other(void **state) {
    (void)state;
    struct fixture fixture;
    open_reader(&fixture, "");
    stack_handshake(&fixture.stack);
    struct mb_command command = command_now(&fixture, MB_COMMAND_UNSUBSCRIBE);
    command.sides = 1;
    say(&fixture, command);
    uint32_t sequence = 101;
    send_bytes(&fixture, &sequence, DELAY + 5);
    stack_send(&fixture.stack, 1, ACK, 301, sequence, "pong");
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_DATA), DELAY - 1 + 1);
    assert_string_equal(stack_text(&fixture.stack, 1), "pong");
    close_all(&fixture);
}

static void what_was_held_is_let_go(void **state) {
    (void)state;
    struct fixture fixture;
    open_reader(&fixture, "");
    stack_handshake(&fixture.stack);
    stack_send(&fixture.stack, 0, ACK, 105, 301, "past a hole");
    assert_int_equal(counters(&fixture)->held_segments, 1);
    say_now(&fixture, MB_COMMAND_UNSUBSCRIBE);
    for (unsigned i = 0; i < DELAY; i++)
        stack_send(&fixture.stack, 1, ACK, 301, 101, NULL);
    assert_int_equal(counters(&fixture)->held_segments, 0);
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_GAP), 0);
    close_all(&fixture);
}

static void who_else_reads_the_flow_goes_on_reading(void **state) {
    (void)state;
    struct fixture fixture;
    struct mb_subscription wanted[] = {wanting(0, BIT_DATA, MB_TYPE_TCP_DATA, ""),
                                       wanting(1, BIT_OTHER, MB_TYPE_TCP_DATA, "")};
    struct mb_switch one = switching(0, BIT_DATA, false);
    open_with(&fixture, wanted, 2, &one, 1);
    stack_handshake(&fixture.stack);
    say_now(&fixture, MB_COMMAND_UNSUBSCRIBE);
    uint32_t sequence = 101;
    send_bytes(&fixture, &sequence, 2 * DELAY);
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_DATA), 2 * DELAY);
    const struct mb_entry *last = &fixture.stack.log.slots[fixture.stack.log.next - 1];
    assert_int_equal(last->mask[0], 0);
    assert_int_equal(last->mask[1], 1);
    assert_int_equal(counters(&fixture)->module_changes, 0);
    close_all(&fixture);
}

static void what_follows_the_nf_is_switched_with_it(void **state) {
    (void)state;
    struct fixture fixture;
    struct mb_subscription wanted[] = {wanting(0, BIT_DATA, MB_TYPE_TCP_DATA, ""),
                                       wanting(1, BIT_OTHER, MB_TYPE_TCP_DATA, "")};
    struct mb_switch one = switching(0, BIT_DATA, false);
    one.mask[1] = 1; /* BIT_OTHER */
    open_with(&fixture, wanted, 2, &one, 1);
    stack_handshake(&fixture.stack);
    say_now(&fixture, MB_COMMAND_UNSUBSCRIBE);
    uint32_t sequence = 101;
    send_bytes(&fixture, &sequence, 2 * DELAY);
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_DATA), DELAY - 1);
    close_all(&fixture);
}

static void a_direction_seen_later_stays_switched_off(void **state) {
    (void)state;
    struct fixture fixture;
    open_reader(&fixture, "tcp port 80");
    uint32_t sequence = 101;
    send_bytes(&fixture, &sequence, 1);
    say_now(&fixture, MB_COMMAND_UNSUBSCRIBE);
    send_bytes(&fixture, &sequence, DELAY);
    stack_send(&fixture.stack, 1, ACK, 301, sequence, "pong");
    assert_string_equal(stack_text(&fixture.stack, 1), "");
    close_all(&fixture);
}

static void a_filter_of_each_packet_is_switched_too(void **state) {
    (void)state;
    struct fixture fixture;
    open_reader(&fixture, "tcp[13] & 16 != 0");
    stack_handshake(&fixture.stack);
    say_now(&fixture, MB_COMMAND_UNSUBSCRIBE);
    uint32_t sequence = 101;
    send_bytes(&fixture, &sequence, DELAY - 1);
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_DATA), DELAY - 1);
    send_bytes(&fixture, &sequence, DELAY);
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_DATA), DELAY - 1);
    close_all(&fixture);
}

static void a_keep_alive_is_no_place_to_go_on_from(void **state) {
    (void)state;
    struct fixture fixture;
    open_reader(&fixture, "");
    stack_handshake(&fixture.stack);
    uint32_t sequence = 101;
    send_bytes(&fixture, &sequence, 1);
    say_now(&fixture, MB_COMMAND_UNSUBSCRIBE);
    send_bytes(&fixture, &sequence, DELAY);
    say_now(&fixture, MB_COMMAND_SUBSCRIBE);
    send_bytes(&fixture, &sequence, DELAY - 1);
    stack_send(&fixture.stack, 0, ACK, sequence - 1, 301, NULL);
    send_bytes(&fixture, &sequence, 1);
    const struct mb_entry *last = NULL;
    for (const struct mb_entry *it; (it = stack_next(&fixture.stack, MB_TYPE_TCP_DATA)) != NULL;)
        last = it;
    assert_int_equal(last->payload.tcp_data.offset, sequence - 101 - 1);
    close_all(&fixture);
}

/* The bytes are off at first, or come back: the stream goes on where it is, its offsets count what
 * was left out. */
static void a_stream_is_picked_up_where_it_is(void **state) {
    (void)state;
    struct fixture fixture;
    struct mb_subscription wanted[] = {wanting(0, BIT_DATA, MB_TYPE_TCP_DATA, ""),
                                       wanting(1, BIT_OTHER, MB_TYPE_TCP_END, "")};
    struct mb_switch one = switching(0, BIT_DATA, true);
    open_with(&fixture, wanted, 2, &one, 1);
    stack_handshake(&fixture.stack);
    uint32_t sequence = 101;
    send_bytes(&fixture, &sequence, 5);
    say_now(&fixture, MB_COMMAND_SUBSCRIBE);
    send_bytes(&fixture, &sequence, DELAY - 1);
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_DATA), 0);
    send_bytes(&fixture, &sequence, 1);
    const struct mb_entry *first = stack_next(&fixture.stack, MB_TYPE_TCP_DATA);
    assert_non_null(first);
    assert_int_equal(first->payload.tcp_data.offset, 5 + DELAY - 1);

    say_now(&fixture, MB_COMMAND_UNSUBSCRIBE);
    send_bytes(&fixture, &sequence, 10);
    say_now(&fixture, MB_COMMAND_SUBSCRIBE);
    send_bytes(&fixture, &sequence, DELAY);
    const struct mb_entry *again = NULL;
    for (const struct mb_entry *it; (it = stack_next(&fixture.stack, MB_TYPE_TCP_DATA)) != NULL;)
        again = it;
    assert_int_equal(again->payload.tcp_data.offset, sequence - 101 - 1);
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_GAP), 0);
    assert_int_equal(counters(&fixture)->module_changes, 3);
    close_all(&fixture);
}

static void open_packet_reader(struct fixture *fixture) {
    struct mb_subscription wanted[] = {wanting(0, BIT_DATA, MB_TYPE_TCP, ""),
                                       wanting(0, BIT_PACKETS, MB_TYPE_PACKET_IP_TCP, "")};
    for (uint16_t type = MB_TYPE_TCP; type < MB_TYPE_HTTP; type++)
        stack_want(&wanted[0], type);
    struct mb_switch switches[] = {switching(0, BIT_DATA, true), switching(1, BIT_PACKETS, false)};
    open_with(fixture, wanted, 2, switches, 2);
}

/* While nobody follows the connection its sequence numbers go on, far past what was known. */
static void a_connection_is_followed_from_its_middle_on(void **state) {
    (void)state;
    struct fixture fixture;
    open_packet_reader(&fixture);
    stack_handshake(&fixture.stack);
    uint32_t sequence = 101;
    send_bytes(&fixture, &sequence, 3);
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_START), 0);
    say_now(&fixture, MB_COMMAND_SUBSCRIBE);
    send_bytes(&fixture, &sequence, DELAY + 2);
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_DATA), 3);
    say_now(&fixture, MB_COMMAND_UNSUBSCRIBE);
    send_bytes(&fixture, &sequence, DELAY);
    sequence += 1 << 28;
    stack_send(&fixture.stack, 1, ACK, 301 + (1 << 28), sequence, NULL);
    say_now(&fixture, MB_COMMAND_SUBSCRIBE);
    send_bytes(&fixture, &sequence, DELAY - 1);
    const uint64_t silent = fixture.stack.log.next;
    send_bytes(&fixture, &sequence, 1);
    stack_send(&fixture.stack, 1, ACK, 301 + (1 << 28), sequence, "back");
    for (uint64_t i = silent; i < fixture.stack.log.next; i++)
        assert_true(fixture.stack.log.slots[i].type < MB_TYPE_TCP_ANOMALY);
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_START), 1);
    const struct mb_entry *last = &fixture.stack.log.slots[fixture.stack.log.next - 1];
    assert_int_equal(last->type, MB_TYPE_TCP_DATA);
    assert_int_equal(last->data_length, 4);
    assert_int_equal(last->snapshot.side[1].state, MB_TCP_ESTABLISHED);
    close_all(&fixture);
}

static void a_new_connection_is_told_from_one_that_nobody_follows(void **state) {
    (void)state;
    struct fixture fixture;
    open_packet_reader(&fixture);
    stack_handshake(&fixture.stack);
    stack_send(&fixture.stack, 0, SYN, 100, 0, NULL);
    assert_int_equal(fixture.stack.handled.flow, 1);
    stack_send(&fixture.stack, 0, SYN, 70000, 0, NULL);
    assert_int_equal(fixture.stack.handled.flow, 5);
    stack_send(&fixture.stack, 0, FIN | ACK, 70001, 1, NULL);
    stack_send(&fixture.stack, 1, FIN | ACK, 1, 70002, NULL);
    fixture.stack.time += 300 * SECONDS; /* over tcp_closed_timeout */
    stack_udp(&fixture.stack, 0, "time goes by");
    assert_int_equal(counters(&fixture)->by_reason[MB_REASON_END_FIN], 1);
    close_all(&fixture);
}

static void a_flow_that_has_ended_is_left_alone(void **state) {
    (void)state;
    struct fixture fixture;
    open_reader(&fixture, "");
    stack_handshake(&fixture.stack);
    say_now(&fixture, MB_COMMAND_UNSUBSCRIBE);
    stack_send(&fixture.stack, 0, RST, 101, 0, NULL);
    stack_send(&fixture.stack, 1, RST, 301, 0, NULL);
    stack_send(&fixture.stack, 0, SYN, 7000, 0, NULL); /* another flow in its place */
    stack_send(&fixture.stack, 0, ACK, 7001, 1, "new");
    stack_send(&fixture.stack, 0, ACK, 7004, 1, "er");
    assert_string_equal(stack_text(&fixture.stack, 0), "newer");
    assert_int_equal(counters(&fixture)->commands_late, 1);
    assert_int_equal(counters(&fixture)->commands_obeyed, 0);
    close_all(&fixture);
}

static void commands_of_an_nf_that_is_gone_are_too_late(void **state) {
    (void)state;
    struct fixture fixture;
    open_reader(&fixture, "");
    stack_handshake(&fixture.stack);
    say_now(&fixture, MB_COMMAND_UNSUBSCRIBE);
    mb_stack_detach(fixture.stack.stack, 0, -9, true);
    uint32_t sequence = 101;
    send_bytes(&fixture, &sequence, 2 * DELAY);
    assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_DATA), 2 * DELAY);
    assert_int_equal(counters(&fixture)->commands_late, 1);
    close_all(&fixture);
}

static void expect_refused(struct fixture *fixture, struct mb_command command) {
    say(fixture, command);
    uint32_t sequence = 101;
    send_bytes(fixture, &sequence, 1);
    say_now(fixture, MB_COMMAND_UNSUBSCRIBE); /* not listened to any more */
    send_bytes(fixture, &sequence, 3 * DELAY);
    assert_int_equal(stack_count(&fixture->stack, MB_TYPE_TCP_DATA), 3 * DELAY + 1);
    assert_in_range(counters(fixture)->commands_refused, 1, 2);
    assert_int_equal(counters(fixture)->commands_obeyed, 0);
    close_all(fixture);
}

static void open_hostile(struct fixture *fixture, struct mb_command *command) {
    open_reader(fixture, "");
    stack_handshake(&fixture->stack);
    *command = command_now(fixture, MB_COMMAND_UNSUBSCRIBE);
}

static void an_unsound_command_is_refused(void **state) {
    (void)state;
    struct fixture fixture;
    struct mb_command command;
    for (unsigned wrong = 0; wrong < 9; wrong++) {
        open_hostile(&fixture, &command);
        switch (wrong) {
        case 0:
            command.kind = 0;
            break;
        case 1:
            command.kind = MB_COMMAND_KINDS;
            break;
        case 2:
            command.sides = 0;
            break;
        case 3:
            command.sides = 4;
            break;
        case 4:
            command.subscriptions = 0;
            break;
        case 5:
            command.subscriptions = 3; /* the second one is no switch of its own */
            break;
        case 6:
            command.flow = 0;
            break;
        case 7:
            command.packet = UINT64_MAX;
            break;
        default: /* it comes too late */
            stack_udp(&fixture.stack, 0, "x");
            stack_udp(&fixture.stack, 0, "x");
            command.packet = 1;
        }
        expect_refused(&fixture, command);
    }
}

static void a_packet_of_another_flow_says_nothing_of_this_one(void **state) {
    (void)state;
    struct fixture fixture;
    struct mb_command command;
    const uint64_t others[] = {0, 2, 1000, UINT64_MAX};
    for (unsigned i = 0; i < 4; i++) {
        open_hostile(&fixture, &command);
        stack_udp(&fixture.stack, 0, "x");
        command.flow = i == 1 ? 4 : 1;
        command.seen = others[i];
        say(&fixture, command);
        uint32_t sequence = 101;
        send_bytes(&fixture, &sequence, 2 * DELAY);
        assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_DATA), 2 * DELAY);
        assert_int_equal(counters(&fixture)->commands_late, 1);
        close_all(&fixture);
    }
}

static void a_head_that_runs_away_or_back_closes_the_ring(void **state) {
    (void)state;
    const uint64_t heads[] = {SLOTS + 2, UINT64_MAX, 0};
    for (unsigned i = 0; i < 3; i++) {
        struct fixture fixture;
        open_reader(&fixture, "");
        stack_handshake(&fixture.stack);
        say_now(&fixture, MB_COMMAND_UNSUBSCRIBE);
        fixture.nf.page.command_head = heads[i];
        uint32_t nf;
        uint64_t position;
        mb_stack_room(fixture.stack.stack, &nf, &position);
        uint32_t sequence = 101;
        send_bytes(&fixture, &sequence, 2 * DELAY);
        assert_int_equal(stack_count(&fixture.stack, MB_TYPE_TCP_DATA), 2 * DELAY);
        assert_int_equal(counters(&fixture)->commands_refused, 1);
        close_all(&fixture);
    }
}

static void a_switch_needs_a_ring(void **state) {
    (void)state;
    struct stack_fixture stack;
    stack_open(&stack);
    struct mb_switch one = switching(0, 0, false);
    assert_int_equal(mb_stack_accept_commands(stack.stack, &one, 1, NULL, 0), -EINVAL);
    struct nf nf = {0};
    const struct mb_command_ring ring = {.page = &nf.page, .slots = nf.commands, .count = SLOTS};
    one.subscription = 32;
    assert_int_equal(mb_stack_accept_commands(stack.stack, &one, 1, &ring, 1), -EINVAL);
    one.subscription = 31;
    assert_int_equal(mb_stack_accept_commands(stack.stack, &one, 1, &ring, 1), 0);
    stack_close(&stack);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsubscribing_takes_effect_after_the_delay),
        cmocka_unit_test(a_dropped_flow_concerns_neither_the_nf_nor_those_that_wait_for_it),
        cmocka_unit_test(who_is_not_inline_drops_no_flow),
        cmocka_unit_test(a_command_of_one_side_leaves_the_other),
        cmocka_unit_test(what_was_held_is_let_go),
        cmocka_unit_test(who_else_reads_the_flow_goes_on_reading),
        cmocka_unit_test(what_follows_the_nf_is_switched_with_it),
        cmocka_unit_test(a_direction_seen_later_stays_switched_off),
        cmocka_unit_test(a_filter_of_each_packet_is_switched_too),
        cmocka_unit_test(a_stream_is_picked_up_where_it_is),
        cmocka_unit_test(a_keep_alive_is_no_place_to_go_on_from),
        cmocka_unit_test(a_connection_is_followed_from_its_middle_on),
        cmocka_unit_test(a_new_connection_is_told_from_one_that_nobody_follows),
        cmocka_unit_test(a_flow_that_has_ended_is_left_alone),
        cmocka_unit_test(commands_of_an_nf_that_is_gone_are_too_late),
        cmocka_unit_test(an_unsound_command_is_refused),
        cmocka_unit_test(a_packet_of_another_flow_says_nothing_of_this_one),
        cmocka_unit_test(a_head_that_runs_away_or_back_closes_the_ring),
        cmocka_unit_test(a_switch_needs_a_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
