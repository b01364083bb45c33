/* Types derived from the stack's own: what is published, for whom, and how much at most. */
#include "condition_steps.h"
#include "stack_fixture.h"

enum { FIRST = MB_TYPES_BUILT_IN, SECOND };

static struct mb_derived_type derive(uint16_t type, uint16_t base,
                                     const struct mb_condition_step *steps, size_t count) {
    struct mb_derived_type derived = {
        .type = type,
        .counters = 2,
        .program = (const uint8_t *)steps,
        .program_size = (uint32_t)(count * sizeof *steps),
        .step_count = (uint32_t)count,
    };
    derived.bases[base / 64] |= UINT64_C(1) << base % 64;
    return derived;
}

static struct mb_subscription want(uint8_t bit, const char *filter, uint16_t type) {
    struct mb_subscription subscription = {.nf = bit, .bit = bit, .filter = filter};
    stack_want(&subscription, type);
    return subscription;
}

static void open_with(struct stack_fixture *stack, const struct mb_derived_type *derived,
                      uint32_t derived_count, const struct mb_subscription *wanted,
                      uint32_t count) {
    const struct mb_stack_config config = {.derived = derived, .derived_count = derived_count};
    stack_open_with(stack, &config, wanted, count, NULL, 0);
}

static const struct mb_condition_step always[] = {PUSH(1)};
static const struct mb_condition_step from_high_port[] = {LOAD(payload.flow.tuple.source_port),
                                                          WITH(GREATER, 1000)};
static const struct mb_condition_step third_on_flow[] = {PUSH(1), COUNT(0), COUNTED(0),
                                                         WITH(EQUAL, 3)};
static const struct mb_condition_step starts_with_g[] = {
    PUSH(0), {.opcode = MB_STEP_BYTE}, WITH(EQUAL, 'G')};

#define DERIVE(type, base, steps) derive(type, base, steps, COUNT_OF(steps))

static void test_a_derived_entry_follows_its_base_and_says_the_same(void **state) {
    (void)state;
    struct stack_fixture stack;
    const struct mb_derived_type derived = DERIVE(FIRST, MB_TYPE_TCP_START, always);
    const struct mb_subscription wanted[] = {want(0, "", MB_TYPE_TCP_START), want(1, "", FIRST)};
    open_with(&stack, &derived, 1, wanted, 2);
    stack_send(&stack, 0, SYN, 100, 0, NULL);
    assert_int_equal(stack.log.next, 2);
    const struct mb_entry *base = &stack.log.slots[0];
    const struct mb_entry *entry = &stack.log.slots[1];
    assert_int_equal(base->type, MB_TYPE_TCP_START);
    assert_int_equal(base->mask[0], 1);
    assert_int_equal(base->flags & MB_LAST, 0);
    assert_int_equal(entry->type, FIRST);
    assert_int_equal(entry->mask[0], 2);
    assert_int_equal(entry->sequence, 1);
    assert_int_equal(entry->flags, base->flags | MB_LAST);
    assert_int_equal(entry->time, base->time);
    assert_int_equal(entry->flow, base->flow);
    assert_memory_equal(&entry->payload, &base->payload, sizeof entry->payload);
    assert_memory_equal(&entry->snapshot, &base->snapshot, sizeof entry->snapshot);
    stack_close(&stack);
}

static void test_a_base_that_nobody_wants_is_judged_but_not_written(void **state) {
    (void)state;
    struct stack_fixture stack;
    const struct mb_derived_type derived = DERIVE(FIRST, MB_TYPE_TCP_START, from_high_port);
    const struct mb_subscription wanted = want(0, "", FIRST);
    open_with(&stack, &derived, 1, &wanted, 1);
    stack_tcp(&stack, (struct tcp){.flags = SYN, .sequence = 1, .port = 1000});
    assert_int_equal(stack.log.next, 0);
    stack_tcp(&stack, (struct tcp){.flags = SYN, .sequence = 1, .port = 1001});
    assert_int_equal(stack.log.next, 1);
    assert_int_equal(stack.log.slots[0].payload.flow.tuple.source_port, 1001);
    const struct mb_stack_counters *counters = mb_stack_counters(stack.stack);
    assert_int_equal(counters->conditions_run, 2);
    assert_int_equal(counters->entries, 1);
    assert_int_equal(counters->published_by_type[MB_TYPE_TCP_START], 0);
    assert_int_equal(counters->published_by_type[FIRST], 1);
    stack_close(&stack);
}

static void test_a_derived_type_switches_on_the_modules_of_its_base(void **state) {
    (void)state;
    struct stack_fixture stack;
    const struct mb_derived_type derived = DERIVE(FIRST, MB_TYPE_TCP_DATA, starts_with_g);
    const struct mb_subscription wanted = want(0, "", FIRST);
    open_with(&stack, &derived, 1, &wanted, 1);
    stack_handshake(&stack);
    stack_send(&stack, 0, ACK, 105, 301, "Gone"); /* held until the hole before it closes */
    stack_send(&stack, 0, ACK, 101, 301, "Pass");
    const struct mb_entry *entry = stack_next(&stack, FIRST);
    assert_non_null(entry);
    assert_int_equal(entry->payload.tcp_data.offset, 4);
    assert_null(stack_next(&stack, FIRST));
    stack_close(&stack);
}

static void test_a_filter_says_whose_events_are_looked_at(void **state) {
    (void)state;
    struct stack_fixture stack;
    const struct mb_derived_type derived = DERIVE(FIRST, MB_TYPE_TCP_START, always);
    const struct mb_subscription wanted[] = {want(0, "tcp src port 1000", FIRST),
                                             want(1, "tcp src port 1001", FIRST)};
    open_with(&stack, &derived, 1, wanted, 2);
    stack_tcp(&stack, (struct tcp){.flags = SYN, .sequence = 1, .port = 1001});
    stack_tcp(&stack, (struct tcp){.flags = SYN, .sequence = 1, .port = 1002});
    assert_int_equal(stack.log.next, 1);
    assert_int_equal(stack.log.slots[0].mask[0], 2);
    assert_int_equal(mb_stack_counters(stack.stack)->conditions_run, 1);
    stack_close(&stack);
}

static void test_a_child_holds_only_where_its_parent_does(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_derived_type derived[] = {DERIVE(FIRST, MB_TYPE_TCP_START, from_high_port),
                                        DERIVE(SECOND, MB_TYPE_TCP_START, always)};
    derived[1].parent = FIRST;
    const struct mb_subscription wanted = want(0, "", SECOND);
    open_with(&stack, derived, 2, &wanted, 1);
    stack_tcp(&stack, (struct tcp){.flags = SYN, .sequence = 1, .port = 1000});
    stack_tcp(&stack, (struct tcp){.flags = SYN, .sequence = 1, .port = 2000});
    assert_int_equal(stack.log.next, 1);
    assert_int_equal(stack.log.slots[0].type, SECOND);
    assert_int_equal(stack.log.slots[0].payload.flow.tuple.source_port, 2000);
    stack_close(&stack);
}

static void test_what_nobody_wants_is_not_judged(void **state) {
    (void)state;
    struct stack_fixture stack;
    const struct mb_derived_type derived[] = {DERIVE(FIRST, MB_TYPE_TCP_START, always),
                                              DERIVE(SECOND, MB_TYPE_TCP_START, always)};
    const struct mb_subscription wanted = want(0, "", SECOND);
    open_with(&stack, derived, 2, &wanted, 1);
    stack_send(&stack, 0, SYN, 100, 0, NULL);
    assert_int_equal(mb_stack_counters(stack.stack)->conditions_run, 1);
    stack_close(&stack);
}

static void test_counters_belong_to_a_flow_and_begin_with_it(void **state) {
    (void)state;
    struct stack_fixture stack;
    const struct mb_derived_type derived = DERIVE(FIRST, MB_TYPE_PACKET_IP_TCP, third_on_flow);
    const struct mb_subscription wanted = want(0, "", FIRST);
    open_with(&stack, &derived, 1, &wanted, 1);
    for (uint32_t round = 0; round < 4; round++)
        for (uint16_t port = 1000; port < 1002; port++)
            stack_tcp(&stack, (struct tcp){.flags = ACK, .sequence = 1 + round, .port = port});
    assert_int_equal(stack.log.next, 2);
    assert_int_equal(stack.log.slots[0].packet, 5);
    assert_int_equal(stack.log.slots[1].packet, 6);
    stack_tcp(&stack, (struct tcp){.flags = RST, .sequence = 5});
    for (uint32_t round = 0; round < 3; round++) /* the same five-tuple again: another flow */
        stack_tcp(&stack, (struct tcp){.flags = SYN, .sequence = 9000});
    assert_int_equal(stack.log.next, 3);
    assert_int_equal(stack.log.slots[2].packet, 12);
    stack_close(&stack);
}

/* Nobody else reads anything of flows here. */
static void test_what_is_said_of_a_flow_holds_though_nobody_else_follows_it(void **state) {
    (void)state;
    static const struct mb_condition_step from_responder[] = {{.opcode = MB_STEP_DIRECTION}};
    static const struct mb_condition_step not_first[] = {LOAD(flow), BINARY(NOT)};
    static const struct mb_condition_step after_others[] = {LOAD(snapshot.side[0].packets)};
    static const struct mb_condition_step aged[] = {{.opcode = MB_STEP_AGE}};
    struct mb_derived_type derived[] = {
        DERIVE(FIRST, MB_TYPE_PACKET_IP_TCP, from_responder),
        DERIVE(FIRST, MB_TYPE_PACKET_IP_TCP, not_first),
        DERIVE(FIRST, MB_TYPE_PACKET_IP_TCP, after_others),
        DERIVE(FIRST, MB_TYPE_PACKET_IP_TCP, aged),
    };
    const unsigned expected[COUNT_OF(derived)] = {1, 0, 1, 1};
    for (unsigned i = 0; i < COUNT_OF(derived); i++) {
        struct stack_fixture stack;
        const struct mb_subscription wanted = want(0, "", FIRST);
        derived[i].counters = 0;
        open_with(&stack, &derived[i], 1, &wanted, 1);
        stack_send(&stack, 0, SYN, 100, 0, NULL);
        stack.time += SECONDS;
        stack_send(&stack, 1, SYN | ACK, 300, 101, NULL);
        assert_int_equal(stack_count(&stack, FIRST), expected[i]);
        stack_close(&stack);
    }
}

static void test_a_failed_condition_is_counted_and_does_not_hold(void **state) {
    (void)state;
    struct stack_fixture stack;
    const struct mb_derived_type derived = DERIVE(FIRST, MB_TYPE_UDP_DATAGRAM, starts_with_g);
    const struct mb_subscription wanted = want(0, "", FIRST);
    open_with(&stack, &derived, 1, &wanted, 1);
    stack_udp(&stack, 0, "");
    stack_udp(&stack, 0, "Good");
    assert_int_equal(stack.log.next, 1);
    assert_int_equal(mb_stack_counters(stack.stack)->conditions_failed, 1);
    stack_close(&stack);
}

static void test_ends_of_flows_are_judged_too(void **state) {
    (void)state;
    struct stack_fixture stack;
    const struct mb_derived_type derived = DERIVE(FIRST, MB_TYPE_TCP_END, always);
    const struct mb_subscription wanted = want(0, "", FIRST);
    open_with(&stack, &derived, 1, &wanted, 1);
    stack_handshake(&stack);
    stack_finish(&stack);
    assert_int_equal(stack.log.next, 1);
    assert_int_equal(stack.log.slots[0].flags & MB_LAST, MB_LAST);
    stack_close(&stack);
}

static void test_a_detached_nf_wants_nothing_any_more(void **state) {
    (void)state;
    struct stack_fixture stack;
    const struct mb_derived_type derived = DERIVE(FIRST, MB_TYPE_TCP_START, always);
    const struct mb_subscription wanted[] = {want(0, "", FIRST), want(1, "", MB_TYPE_TCP_START)};
    open_with(&stack, &derived, 1, wanted, 2);
    mb_stack_detach(stack.stack, 0, 0, false);
    stack_send(&stack, 0, SYN, 100, 0, NULL);
    assert_int_equal(stack.log.next, 1);
    assert_int_equal(stack.log.slots[0].mask[0], 2);
    assert_int_equal(mb_stack_counters(stack.stack)->conditions_run, 0);
    stack_close(&stack);
}

/* A hole before as many segments as may be held, each behind a hole of its own and cut by the snap
 * length, with eight types derived from every entry that comes of them. */
static void test_derived_entries_take_no_room_from_the_stacks_own(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_derived_type derived[8];
    struct mb_subscription wanted = stack_everything();
    for (uint16_t i = 0; i < COUNT_OF(derived); i++) {
        derived[i] = DERIVE((uint16_t)(FIRST + i), MB_TYPE_TCP_DATA, always);
        derived[i].bases[MB_TYPE_TCP_GAP / 64] |= UINT64_C(1) << MB_TYPE_TCP_GAP % 64;
        derived[i].counters = 0;
    }
    open_with(&stack, derived, COUNT_OF(derived), &wanted, 1);
    stack_handshake(&stack);
    for (uint32_t i = 0; i < 256; i++)
        stack_tcp(&stack, (struct tcp){.flags = ACK,
                                       .sequence = 103 + 4 * i,
                                       .acknowledgment = 301,
                                       .payload = "ab",
                                       .cut = 1});
    assert_int_equal(mb_stack_counters(stack.stack)->by_reason[MB_REASON_LIMIT_DERIVED], 0);
    const uint64_t before = stack.log.next;
    stack_finish(&stack);
    assert_in_range(stack.log.next - before, 3 * 256, MB_ENTRIES_PER_PACKET + 2);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_DATA), 256);
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_GAP), 2 * 256);
    unsigned published = 0;
    for (uint16_t i = 0; i < COUNT_OF(derived); i++)
        published += stack_count(&stack, (uint16_t)(FIRST + i));
    assert_int_equal(published + mb_stack_counters(stack.stack)->by_reason[MB_REASON_LIMIT_DERIVED],
                     8 * 3 * 256);
    assert_true(published > 100);
    stack_close(&stack);
}

/* Two types that hold for each of the segments that one packet sets free lose nothing. */
static void test_an_ordinary_hole_costs_no_derived_entry(void **state) {
    (void)state;
    struct stack_fixture stack;
    const struct mb_derived_type derived[] = {DERIVE(FIRST, MB_TYPE_TCP_DATA, always),
                                              DERIVE(SECOND, MB_TYPE_TCP_DATA, always)};
    const struct mb_subscription wanted = stack_everything();
    open_with(&stack, derived, COUNT_OF(derived), &wanted, 1);
    stack_handshake(&stack);
    for (uint32_t i = 0; i < 256; i++)
        stack_send(&stack, 0, ACK, 103 + 2 * i, 301, "ab");
    stack_send(&stack, 0, ACK, 101, 301, "ab");
    assert_in_range(stack.handled.end - stack.handled.first, 3 * 257, MB_ENTRIES_PER_PACKET);
    assert_int_equal(stack_count(&stack, FIRST), 257);
    assert_int_equal(stack_count(&stack, SECOND), 257);
    stack_close(&stack);
}

static void refuse(const struct mb_derived_type *derived, uint32_t count, const char *why) {
    char error[MB_ERROR_SIZE] = "";
    struct mb_log log;
    const struct mb_subscription wanted = stack_everything();
    const struct mb_stack_config config = {
        .flows_max = 16, .link_type = 1, .derived = derived, .derived_count = count};
    assert_int_equal(mb_log_create(&log, MB_LOG_SLOTS_MIN), 0);
    assert_null(mb_stack_create(&config, &log, &wanted, 1, NULL, 0, error));
    assert_non_null(strstr(error, why));
    mb_log_destroy(&log);
}

static void test_a_derivation_that_makes_no_sense_is_refused(void **state) {
    (void)state;
    static const struct mb_condition_step broken[] = {PUSH(1), PUSH(1)};
    struct mb_derived_type derived[MB_DERIVED_MAX + 1];
    for (uint16_t i = 0; i < COUNT_OF(derived); i++)
        derived[i] = DERIVE((uint16_t)(FIRST + i), MB_TYPE_TCP_START, always);
    refuse(derived, MB_DERIVED_MAX + 1, "33 derived types");
    derived[0].parent = SECOND;
    refuse(derived, 2, "does not stand above");
    derived[0] = DERIVE(MB_TYPE_TCP_START, MB_TYPE_TCP_START, always);
    refuse(derived, 1, "out of range");
    derived[0] = DERIVE(FIRST, MB_TYPE_TIMER, always);
    refuse(derived, 1, "out of range");
    derived[0] = DERIVE(FIRST, MB_TYPE_SYSTEM_NF_EXITED, always);
    refuse(derived, 1, "out of range");
    derived[0] = DERIVE(FIRST, MB_TYPE_TCP_START, broken);
    refuse(derived, 1, "one value");
    for (uint16_t i = 0; i < 5; i++) {
        derived[i] = DERIVE((uint16_t)(FIRST + i), MB_TYPE_TCP_START, always);
        derived[i].counters = MB_CONDITION_COUNTERS_MAX;
    }
    refuse(derived, 5, "40 counters");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_derived_entry_follows_its_base_and_says_the_same),
        cmocka_unit_test(test_a_base_that_nobody_wants_is_judged_but_not_written),
        cmocka_unit_test(test_a_derived_type_switches_on_the_modules_of_its_base),
        cmocka_unit_test(test_a_filter_says_whose_events_are_looked_at),
        cmocka_unit_test(test_a_child_holds_only_where_its_parent_does),
        cmocka_unit_test(test_what_nobody_wants_is_not_judged),
        cmocka_unit_test(test_counters_belong_to_a_flow_and_begin_with_it),
        cmocka_unit_test(test_what_is_said_of_a_flow_holds_though_nobody_else_follows_it),
        cmocka_unit_test(test_a_failed_condition_is_counted_and_does_not_hold),
        cmocka_unit_test(test_ends_of_flows_are_judged_too),
        cmocka_unit_test(test_a_detached_nf_wants_nothing_any_more),
        cmocka_unit_test(test_derived_entries_take_no_room_from_the_stacks_own),
        cmocka_unit_test(test_an_ordinary_hole_costs_no_derived_entry),
        cmocka_unit_test(test_a_derivation_that_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
