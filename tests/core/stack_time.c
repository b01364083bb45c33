/*
 * Packet times that no clock would give: they evict nobody, keep nobody waiting, and cost no packet
 * much.
 */
#include "tests/core/stack_fixture.h"

#include "microbox/stack/packet_clock.h"

static const uint64_t START = 1700000000 * SECONDS;
static const uint64_t YEAR = 365 * 86400 * SECONDS;

/* --- the clock --- */

static void the_clock_goes_with_packet_time(void **state) {
    (void)state;
    struct mb_packet_clock clock = {0};
    mb_packet_clock_advance(&clock, 1700 * SECONDS);
    assert_int_equal(clock.now, 0);
    mb_packet_clock_advance(&clock, 1705 * SECONDS);
    mb_packet_clock_advance(&clock, 1702 * SECONDS); /* out of order */
    mb_packet_clock_advance(&clock, 1706 * SECONDS);
    assert_int_equal(clock.now, 6 * SECONDS);
}

static void one_broken_time_moves_nothing(void **state) {
    (void)state;
    struct mb_packet_clock clock = {0};
    mb_packet_clock_advance(&clock, 1700000000 * SECONDS);
    mb_packet_clock_advance(&clock, 4000000000 * SECONDS);
    mb_packet_clock_advance(&clock, 1700000001 * SECONDS);
    mb_packet_clock_advance(&clock, 0);
    mb_packet_clock_advance(&clock, 1700000002 * SECONDS);
    mb_packet_clock_advance(&clock, UINT64_MAX);
    mb_packet_clock_advance(&clock, 1700000003 * SECONDS);
    assert_int_equal(clock.now, 3 * SECONDS);
}

static void go_on_for(struct mb_packet_clock *clock, uint64_t from, unsigned packets) {
    for (unsigned i = 0; i < packets; i++)
        mb_packet_clock_advance(clock, from + i);
}

static void a_confirmed_step_counts_as_a_day(void **state) {
    (void)state;
    struct mb_packet_clock clock = {0};
    mb_packet_clock_advance(&clock, 1000 * SECONDS);
    go_on_for(&clock, START, MB_CLOCK_CONFIRMATIONS - 1);
    assert_int_equal(clock.now, 0);
    assert_int_equal(mb_packet_clock_seen(&clock), MB_CLOCK_STEP_MAX);
    mb_packet_clock_advance(&clock, START + SECONDS);
    assert_int_equal(clock.now, MB_CLOCK_STEP_MAX);
    mb_packet_clock_advance(&clock, START + 2 * SECONDS);
    assert_int_equal(clock.now, MB_CLOCK_STEP_MAX + SECONDS);
}

static void silence_between_packets_confirms_nothing_and_denies_nothing(void **state) {
    (void)state;
    struct mb_packet_clock clock = {0};
    mb_packet_clock_advance(&clock, 1000 * SECONDS);
    for (unsigned i = 0; i < MB_CLOCK_CONFIRMATIONS - 1; i++) {
        mb_packet_clock_advance(&clock, START + 2 * i * SECONDS);
        mb_packet_clock_pass(&clock, SECONDS);
    }
    assert_int_equal(clock.now, (MB_CLOCK_CONFIRMATIONS - 1) * SECONDS);
    mb_packet_clock_advance(&clock, START + 2 * MB_CLOCK_CONFIRMATIONS * SECONDS);
    assert_int_equal(clock.now, MB_CLOCK_STEP_MAX + (MB_CLOCK_CONFIRMATIONS - 1) * SECONDS);
    assert_int_equal(clock.reference, START + 2 * MB_CLOCK_CONFIRMATIONS * SECONDS);
}

static void time_that_passes_at_its_end_stays_there(void **state) {
    (void)state;
    struct mb_packet_clock clock = {0};
    mb_packet_clock_advance(&clock, UINT64_MAX - 1);
    mb_packet_clock_pass(&clock, 5 * SECONDS);
    assert_int_equal(clock.reference, UINT64_MAX);
    assert_int_equal(clock.now, 5 * SECONDS);
}

static void the_first_time_may_be_the_broken_one(void **state) {
    (void)state;
    struct mb_packet_clock clock = {0};
    mb_packet_clock_advance(&clock, UINT64_MAX);
    go_on_for(&clock, START, MB_CLOCK_CONFIRMATIONS);
    assert_int_equal(clock.now, 0);
    mb_packet_clock_advance(&clock, START + SECONDS);
    assert_in_range(clock.now, SECONDS - 100, SECONDS);
}

static void going_back_to_the_time_before_is_no_step(void **state) {
    (void)state;
    const uint64_t elsewhere[] = {0, START - 10 * YEAR, 0, UINT64_MAX - 1000};
    struct mb_packet_clock clock = {0};
    for (unsigned i = 0; i < 3; i++) {
        go_on_for(&clock, START + i * SECONDS, 20);
        go_on_for(&clock, elsewhere[i], 20);
        go_on_for(&clock, START + i * SECONDS + 50, 20);
    }
    assert_in_range(clock.now, 2 * SECONDS, 2 * SECONDS + 1000);
    go_on_for(&clock, elsewhere[3], 20); /* forward, and believed: a day */
    const uint64_t after = clock.now;
    for (unsigned i = 0; i < 100; i++) {
        go_on_for(&clock, START + 3 * SECONDS, 20);
        go_on_for(&clock, elsewhere[3], 20);
    }
    assert_in_range(clock.now, after, after + 2 * SECONDS);
}

static void whatever_comes_it_never_goes_back_nor_leaps(void **state) {
    (void)state;
    static const uint64_t odd[] = {0, 1, UINT64_MAX, UINT64_MAX / 2, 1700000000000000000};
    struct mb_packet_clock clock = {0};
    uint64_t random = 20261125;
    uint64_t before = 0;
    for (unsigned i = 0; i < 1000000; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        const uint64_t time =
            random >> 62 == 0 ? random : odd[(random >> 32) % 5] + (random & 0xff);
        mb_packet_clock_advance(&clock, time);
        assert_true(clock.now >= before && clock.now - before <= MB_CLOCK_STEP_MAX);
        before = clock.now;
    }
}

/* --- flows --- */

enum { FLOWS = 200, PACKETS = 1000 };

static const struct mb_stack_counters *counters(const struct stack_fixture *stack) {
    return mb_stack_counters(stack->stack);
}

static void open_with_flows(struct stack_fixture *stack) {
    struct mb_subscription ends = {.filter = ""};
    stack_want(&ends, MB_TYPE_TCP_END);
    stack_open_with(stack, &(struct mb_stack_config){0}, &ends, 1, NULL, 0);
    stack->time = START;
    for (uint16_t port = 1; port <= FLOWS; port++)
        stack_tcp(stack, (struct tcp){.flags = SYN, .sequence = 100, .port = port});
}

/* What time packet `i` says. */
typedef uint64_t pattern(uint64_t i);

static uint64_t always_zero(uint64_t i) {
    (void)i;
    return 0;
}

static uint64_t every_other_in_ten_years(uint64_t i) {
    return START + i * 1000 + (i % 2) * 10 * YEAR;
}

static uint64_t every_other_ten_years_ago(uint64_t i) {
    return START + i * 1000 - (i % 2) * 10 * YEAR;
}

static uint64_t backwards(uint64_t i) {
    return START - i * SECONDS;
}

static uint64_t all_of_these(uint64_t i) {
    const uint64_t times[] = {0, UINT64_MAX, START + i, START + 10 * YEAR, START - 10 * YEAR, 1};
    return times[i % 6];
}

static void no_flow_ends(pattern *time_of) {
    struct stack_fixture stack;
    open_with_flows(&stack);
    for (uint64_t i = 0; i < PACKETS; i++) {
        stack.time = time_of(i);
        stack_tcp(&stack, (struct tcp){.flags = SYN, .sequence = 100, .port = FLOWS});
    }
    stack.time = START + SECONDS;
    stack_tcp(&stack, (struct tcp){.flags = SYN, .sequence = 100, .port = 1});
    assert_int_equal(counters(&stack)->flows_active, FLOWS);
    assert_int_equal(counters(&stack)->flows_tcp, FLOWS);
    stack_close(&stack);
}

static void no_flow_ends_by_absurd_times(void **state) {
    (void)state;
    no_flow_ends(always_zero);
    no_flow_ends(every_other_in_ten_years);
    no_flow_ends(every_other_ten_years_ago);
    no_flow_ends(backwards);
    no_flow_ends(all_of_these);
}

/* With the packet that confirms it, in the order of their first packets, whenever they were seen
 * last; and each by itself, so that the log needs room for one alone. */
static void a_step_that_lasts_ends_all_flows_in_their_order(void **state) {
    (void)state;
    struct stack_fixture stack;
    open_with_flows(&stack);
    for (uint16_t port = FLOWS - 1; port >= 1; port--)
        stack_tcp(&stack, (struct tcp){.flags = ACK, .sequence = 101, .port = port});
    for (unsigned i = 0; i < MB_CLOCK_CONFIRMATIONS; i++) {
        assert_int_equal(counters(&stack)->flows_active, FLOWS);
        stack.time = UINT64_MAX;
        stack_tcp(&stack, (struct tcp){.flags = SYN, .sequence = 100, .port = FLOWS});
    }
    assert_int_equal(counters(&stack)->flows_active, 1); /* the one that goes on */
    const struct mb_entry *end;
    uint64_t ended = 0;
    while ((end = stack_next(&stack, MB_TYPE_TCP_END)) != NULL) {
        assert_int_equal(end->flow, ++ended);
        assert_int_equal(end->packet, stack.handled.packet);
        assert_int_equal(end->flags & (MB_WHEN | MB_APART | MB_LAST),
                         MB_OVERDUE | MB_APART | MB_LAST);
    }
    assert_int_equal(ended, FLOWS - 1);
    stack_close(&stack);
}

/* --- streams --- */

static void begin_to_wait(struct stack_fixture *stack, uint16_t port) {
    stack_tcp(stack, (struct tcp){.flags = SYN, .sequence = 100, .port = port});
    stack_tcp(stack, (struct tcp){.flags = ACK, .sequence = 105, .payload = "late", .port = port});
}

static void a_broken_time_keeps_no_other_stream_waiting(void **state) {
    (void)state;
    struct stack_fixture stack;
    struct mb_subscription gaps = {.filter = ""};
    stack_want(&gaps, MB_TYPE_TCP_GAP);
    stack_open_with(&stack, &(struct mb_stack_config){.gap_timeout = 5 * SECONDS}, &gaps, 1, NULL,
                    0);
    stack.time = START;
    stack_udp(&stack, 0, "the clock runs");
    stack.time = START + 10 * YEAR;
    begin_to_wait(&stack, 2000);
    stack.time = START;
    begin_to_wait(&stack, 2001);
    for (unsigned i = 0; i < 2; i++) {
        stack.time += 6 * SECONDS;
        stack_udp(&stack, 0, "tick");
    }
    assert_int_equal(stack_count(&stack, MB_TYPE_TCP_GAP), 2);
    stack_close(&stack);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_goes_with_packet_time),
        cmocka_unit_test(one_broken_time_moves_nothing),
        cmocka_unit_test(a_confirmed_step_counts_as_a_day),
        cmocka_unit_test(silence_between_packets_confirms_nothing_and_denies_nothing),
        cmocka_unit_test(time_that_passes_at_its_end_stays_there),
        cmocka_unit_test(the_first_time_may_be_the_broken_one),
        cmocka_unit_test(going_back_to_the_time_before_is_no_step),
        cmocka_unit_test(whatever_comes_it_never_goes_back_nor_leaps),
        cmocka_unit_test(no_flow_ends_by_absurd_times),
        cmocka_unit_test(a_step_that_lasts_ends_all_flows_in_their_order),
        cmocka_unit_test(a_broken_time_keeps_no_other_stream_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
