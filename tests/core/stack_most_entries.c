/*
 * The log keeps room for MB_ENTRIES_PER_PACKET entries of one packet. None causes more, although
 * it may end a flow that holds hundreds of segments, with three entries for each.
 */
#include "condition_steps.h"
#include "stack_fixture.h"

#include "microbox/stack/flows/flow_table.h"

enum { HELD = 320 };

static const uint64_t FOREVER = 1000000 * SECONDS;

static void open_with(struct stack_fixture *stack, struct mb_stack_config config) {
    struct mb_subscription everything = stack_everything();
    config.held_segments_per_flow = HELD;
    config.gap_timeout = FOREVER;
    config.tcp_unanswered_timeout = 240 * SECONDS;
    stack_open_with(stack, &config, &everything, 1, NULL, 0);
}

static void send_syn(struct stack_fixture *stack, uint16_t port) {
    stack_tcp(stack, (struct tcp){.flags = SYN, .sequence = 100, .port = port});
}

/* A flow that holds as many segments as it may, each behind a hole of its own and cut by the snap
 * length. */
static void hold_many(struct stack_fixture *stack, uint16_t port) {
    send_syn(stack, port);
    for (uint32_t i = 0; i < HELD; i++)
        stack_tcp(
            stack,
            (struct tcp){
                .flags = ACK, .sequence = 103 + 4 * i, .payload = "ab", .cut = 1, .port = port});
    assert_int_equal(stack->handled.end - stack->handled.first, 2); /* the packet, out of order */
}

/* Without what its time has ended, which has room of its own. */
static uint64_t entries_of_last(const struct stack_fixture *stack) {
    uint64_t count = 0;
    for (uint64_t sequence = stack->handled.first; sequence < stack->handled.end; sequence++) {
        const struct mb_entry *entry = &stack->log.slots[sequence & stack->log.slot_mask];
        count += (entry->flags & MB_WHEN) != MB_OVERDUE;
    }
    return count;
}

/* The flow that the packet belongs to is overdue, and a test has the cap on flows met at it. */
static void a_forced_eviction_besides_an_overdue_flow(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        struct stack_fixture stack;
        open_with(&stack, (struct mb_stack_config){.force_flows = 1u << 31, .force_seed = seed});
        hold_many(&stack, 1);
        stack.time += 200 * SECONDS;
        hold_many(&stack, 2);
        stack.time += 50 * SECONDS;
        send_syn(&stack, 1);
        assert_in_range(entries_of_last(&stack), 1, MB_ENTRIES_PER_PACKET);
        stack_close(&stack);
    }
}

/* --- a chain at its cap, in a table at its own --- */

static const uint64_t key[2] = {1, 2};

enum { FLOWS = MB_FLOW_CHAIN_MAX + 1, BUCKETS = 128 };

static uint64_t bucket_of(uint16_t port) {
    struct mb_five_tuple tuple = {
        .source_port = port, .destination_port = 80, .protocol = 6, .ip_version = 4};
    stack_put_32(tuple.source + 12, 0x0a000001);
    stack_put_32(tuple.destination + 12, 0x0a000002);
    return mb_flow_hash(key, &tuple, 0) % BUCKETS;
}

/* The next port behind `port` whose flow is in the same chain as that of port 1. */
static uint16_t next_in_chain(uint16_t port) {
    do
        port++;
    while (bucket_of(port) != bucket_of(1));
    return port;
}

static void a_full_chain_besides_an_overdue_flow(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with(&stack, (struct mb_stack_config){.flows_max = FLOWS, .hash_key = {key[0], key[1]}});
    assert_int_not_equal(bucket_of(2), bucket_of(1));
    hold_many(&stack, 2);
    stack.time += 200 * SECONDS;
    hold_many(&stack, 1);
    stack.time += SECONDS;
    uint16_t port = 1;
    for (unsigned i = 1; i < MB_FLOW_CHAIN_MAX; i++) {
        port = next_in_chain(port);
        send_syn(&stack, port);
    }
    assert_int_equal(mb_stack_counters(stack.stack)->flows_active, FLOWS);
    assert_int_equal(mb_stack_counters(stack.stack)->chain_longest, MB_FLOW_CHAIN_MAX);
    stack.time += 60 * SECONDS;
    send_syn(&stack, next_in_chain(port));
    assert_in_range(entries_of_last(&stack), 3 * HELD, MB_ENTRIES_PER_PACKET);
    stack_close(&stack);
}

/* --- derived types --- */

/* Bytes [start, start + length) of a SYN's segment, or the first ones of one of many datagrams. */
static void send_fragment(struct stack_fixture *stack, uint16_t identification, uint32_t start,
                          uint32_t length, bool has_more) {
    uint8_t frame[34 + 32] = {0};
    stack_write_ipv4(frame, 0, 6, length);
    stack_put_16(frame + 18, identification);
    stack_put_16(frame + 20, (has_more ? 0x2000 : 0) | start / 8);
    uint8_t *tcp = frame + 34 - start;
    if (start == 0)
        stack_put_16(tcp + 2, 80);
    if (start + length > 13 && start <= 12) {
        tcp[12] = 5 << 4;
        tcp[13] = SYN;
    }
    stack_frame(stack, frame, 34 + length, 34 + length, 1);
}

/* What is derived from datagrams that the packet gives up leaves room for the flow that it evicts.
 */
static void what_is_derived_before_an_eviction(void **state) {
    (void)state;
    enum { DATAGRAMS = 4 };
    static const struct mb_condition_step always[] = {PUSH(1)};
    struct mb_derived_type derived[MB_DERIVED_MAX] = {0};
    for (uint16_t i = 0; i < MB_DERIVED_MAX; i++) {
        const uint16_t base = MB_TYPE_INCOMPLETE_DATAGRAM;
        derived[i].type = (uint16_t)(MB_TYPES_BUILT_IN + i);
        derived[i].program = (const uint8_t *)always;
        derived[i].program_size = sizeof always;
        derived[i].step_count = 1;
        derived[i].bases[base / 64] |= UINT64_C(1) << base % 64;
    }
    struct stack_fixture stack;
    open_with(&stack, (struct mb_stack_config){.flows_max = 1,
                                               .derived = derived,
                                               .derived_count = MB_DERIVED_MAX,
                                               .fragment_bytes_max = 8 * DATAGRAMS + 16});
    for (uint16_t i = 0; i < DATAGRAMS; i++)
        send_fragment(&stack, i, 0, 8, true);
    send_fragment(&stack, DATAGRAMS, 0, 16, true);
    hold_many(&stack, 1);
    send_fragment(&stack, DATAGRAMS, 16, 32, false); /* there is room for it alone */
    assert_int_equal(stack_count(&stack, MB_TYPE_INCOMPLETE_DATAGRAM), DATAGRAMS);
    assert_in_range(entries_of_last(&stack), 3 * HELD, MB_ENTRIES_PER_PACKET);
    assert_true(mb_stack_counters(stack.stack)->by_reason[MB_REASON_LIMIT_DERIVED] != 0);
    stack_close(&stack);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forced_eviction_besides_an_overdue_flow),
        cmocka_unit_test(a_full_chain_besides_an_overdue_flow),
        cmocka_unit_test(what_is_derived_before_an_eviction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
