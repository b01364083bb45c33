/*
 * A million sources that nobody answers: memory stays under its cap, and connections that were
 * there go on where they were. And tuples that were chosen to collide.
 */
#include "tests/core/stack_fixture.h"

#include "microbox/stack/flows/flow_table.h"

enum {
    SOURCES = 1000000,
    CONNECTIONS = 1000,
    FLOWS_MAX = 20000,
    BATCH = 250, /* frames handed over at once; they lie at the end of the pool */
    FRAME_SIZE = 64,
    /* What the table's memory may be beside its flows: buckets, and a huge page begun. */
    MEMORY_BESIDE = 8 << 20
};

static const struct mb_stack_counters *counters(const struct stack_fixture *stack) {
    return mb_stack_counters(stack->stack);
}

static void open_for_bytes(struct stack_fixture *stack) {
    /* Who reads datagrams of another port makes the stack follow all of them, and no log full. */
    struct mb_subscription wanted[] = {{.filter = ""}, {.bit = 1, .filter = "udp port 9"}};
    stack_want(&wanted[0], MB_TYPE_TCP_DATA);
    stack_want(&wanted[1], MB_TYPE_UDP_DATAGRAM);
    stack_open_with(stack, &(struct mb_stack_config){.flows_max = FLOWS_MAX}, wanted, 2, NULL, 0);
}

static void say(struct stack_fixture *stack, uint16_t port, unsigned from, unsigned flags,
                uint32_t sequence, uint32_t acknowledgment, const char *payload) {
    stack_tcp(stack, (struct tcp){.from = from,
                                  .flags = flags,
                                  .sequence = sequence,
                                  .acknowledgment = acknowledgment,
                                  .payload = payload,
                                  .port = port});
}

/* Opens connections from ports 1 and up, which say "before". Their numbers are in `flows`. */
static void connect_all(struct stack_fixture *stack, uint64_t flows[CONNECTIONS]) {
    for (uint16_t i = 0; i < CONNECTIONS; i++) {
        const uint16_t port = i + 1;
        say(stack, port, 0, SYN, 100, 0, NULL);
        say(stack, port, 1, SYN | ACK, 300, 101, NULL);
        say(stack, port, 0, ACK, 101, 301, "before");
        flows[i] = stack->handled.flow;
    }
}

static void all_go_on(struct stack_fixture *stack, const uint64_t flows[CONNECTIONS]) {
    for (uint16_t i = 0; i < CONNECTIONS; i++) {
        const uint64_t first = stack->log.next;
        say(stack, i + 1, 0, ACK, 107, 301, "after");
        assert_int_equal(stack->log.next, first + 1);
        const struct mb_entry *entry = &stack->log.slots[first & (STACK_LOG_SLOTS - 1)];
        assert_int_equal(entry->flow, flows[i]);
        assert_int_equal(entry->payload.tcp_data.offset, 6);
        assert_memory_equal(stack->pool + entry->frame + entry->data_offset, "after", 5);
    }
}

/* One packet from 11.0.0.0 + `source`. */
static uint32_t write_packet(uint8_t *frame, uint8_t protocol, uint8_t flags, uint32_t source) {
    const uint32_t header = protocol == 6 ? 20 : 8;
    uint8_t *transport = frame + stack_write_ipv4(frame, 0, protocol, header);
    stack_put_32(frame + 26, 0x0b000000 + source);
    memset(transport, 0, header);
    stack_put_16(transport, 1024 + source % 50000);
    stack_put_16(transport + 2, 80);
    if (protocol == 17) {
        stack_put_16(transport + 4, header);
        return 34 + header;
    }
    stack_put_32(transport + 4, source);
    stack_put_32(transport + 8, flags & ACK ? 1 : 0);
    transport[12] = 5 << 4;
    transport[13] = flags;
    stack_put_16(transport + 14, 65535);
    return 34 + header;
}

static void flood(struct stack_fixture *stack, uint8_t protocol, uint8_t flags) {
    struct mb_frame frames[BATCH];
    struct mb_handled handled[BATCH];
    const uint64_t place = STACK_POOL_SIZE - BATCH * FRAME_SIZE;
    for (uint32_t source = 0; source < SOURCES; source += BATCH) {
        for (uint32_t i = 0; i < BATCH; i++) {
            const uint64_t offset = place + (uint64_t)i * FRAME_SIZE;
            const uint32_t length = write_packet(stack->pool + offset, protocol, flags, source + i);
            frames[i] = (struct mb_frame){.offset = offset,
                                          .time = stack->time += 1000,
                                          .length = length,
                                          .wire_length = length,
                                          .link_type = 1};
        }
        assert_int_equal(mb_stack_handle(stack->stack, stack->pool, frames, BATCH, handled), BATCH);
        mb_log_commit(&stack->log);
    }
}

static uint64_t resident(void) {
    unsigned long size;
    unsigned long pages;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &size, &pages), 2);
    fclose(file);
    return (uint64_t)pages * 4096;
}

static void connections_survive(uint8_t protocol, uint8_t flags) {
    static uint64_t flows[CONNECTIONS];
    struct stack_fixture stack;
    open_for_bytes(&stack);
    connect_all(&stack, flows);
    const uint64_t before = resident();
    flood(&stack, protocol, flags);
    assert_in_range(resident(), 0,
                    before + (uint64_t)FLOWS_MAX * sizeof(struct mb_flow_entry) + MEMORY_BESIDE);
    assert_in_range(counters(&stack)->flows_active, CONNECTIONS, FLOWS_MAX);
    all_go_on(&stack, flows);
    assert_in_range(counters(&stack)->chain_longest, 1, 12);
    if (flags & RST)
        assert_int_equal(counters(&stack)->by_reason[MB_REASON_TCP_RST_WITHOUT_FLOW], SOURCES);
    else
        assert_int_equal(counters(&stack)->flows_evicted, SOURCES - FLOWS_MAX + CONNECTIONS);
    stack_close(&stack);
}

static void connections_survive_syns(void **state) {
    (void)state;
    connections_survive(6, SYN);
}

static void connections_survive_answers_to_nobody(void **state) {
    (void)state;
    connections_survive(6, SYN | ACK);
}

static void connections_survive_acknowledgments(void **state) {
    (void)state;
    connections_survive(6, ACK);
}

static void connections_survive_resets(void **state) {
    (void)state;
    connections_survive(6, RST);
}

static void connections_survive_datagrams(void **state) {
    (void)state;
    connections_survive(17, 0);
}

/* --- collisions --- */

static const uint64_t KEY[2] = {1, 2};

static struct mb_five_tuple tuple_of(uint32_t source) {
    struct mb_five_tuple it = {.source_port = 1000,
                               .destination_port = 80,
                               .protocol = 6,
                               .ip_version = 4,
                               .source = {[10] = 0xff, 0xff},
                               .destination = {[10] = 0xff, 0xff, 192, 168, 0, 1}};
    stack_put_32(it.source + 12, source);
    return it;
}

enum { COLLIDING = 300, COLLISION_FLOWS = 1024 };

/* Sources whose flows share a bucket for who hashes with KEY. */
static void find_colliding(const struct mb_flow_table *table, uint32_t sources[COLLIDING]) {
    unsigned found = 0;
    for (uint32_t source = 0; found < COLLIDING; source++) {
        struct mb_five_tuple it = tuple_of(source);
        if ((mb_flow_hash(KEY, &it, 0) & table->bucket_mask) == 0)
            sources[found++] = source;
    }
}

static uint32_t longest_chain_of(struct mb_flow_table *table, const uint32_t sources[COLLIDING]) {
    for (unsigned i = 0; i < COLLIDING; i++) {
        struct mb_five_tuple it = tuple_of(sources[i]);
        mb_flow_insert(table, &it, 0, mb_flow_hash(table->key, &it, 0), i + 1, MB_TIMEOUT_OPENING);
    }
    return table->longest;
}

static void only_who_knows_the_key_makes_chains_long(void **state) {
    (void)state;
    static uint32_t sources[COLLIDING];
    const uint64_t secret[2] = {0x243f6a8885a308d3, 0x13198a2e03707344};
    struct mb_flow_table known;
    struct mb_flow_table unknown;
    assert_int_equal(mb_flow_table_create(&known, COLLISION_FLOWS, KEY), 0);
    assert_int_equal(mb_flow_table_create(&unknown, COLLISION_FLOWS, secret), 0);
    find_colliding(&known, sources);
    assert_int_equal(longest_chain_of(&known, sources), MB_FLOW_CHAIN_MAX);
    assert_in_range(longest_chain_of(&unknown, sources), 1, 6);
    assert_int_equal(unknown.active, COLLIDING);
    mb_flow_table_destroy(&known);
    mb_flow_table_destroy(&unknown);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_survive_syns),
        cmocka_unit_test(connections_survive_answers_to_nobody),
        cmocka_unit_test(connections_survive_acknowledgments),
        cmocka_unit_test(connections_survive_resets),
        cmocka_unit_test(connections_survive_datagrams),
        cmocka_unit_test(only_who_knows_the_key_makes_chains_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
