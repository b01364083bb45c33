/*
 * What is measured of the packets of one flow, on a clock that moves where the test says and by
 * READING whenever it is read. Of others nothing is, and the clock is not read.
 */
#include "tests/core/stack_fixture.h"

#include "microbox/bus/sojourn.h"
#include "microbox/bus/wait.h"
#include "microbox/stack/flows/flow_inquiry.h"
#include "microbox/stack/module.h"
#include "microbox/stack/module_private.h"

enum { READING = 20, SLOWNESS = 300, OTHERS = 5000, OWN_TYPE = MB_TYPES_BUILT_IN };
enum { SLOW_MODULE = 1 << MB_MODULES_BUILT_IN };

/* --- the clock --- */

static uint64_t now;
static unsigned readings;

uint64_t __wrap_mb_monotonic_time(void);

uint64_t __wrap_mb_monotonic_time(void) {
    readings++;
    now += READING;
    return now;
}

/* --- a module that takes its time --- */

static const struct mb_module slow;

static void take_time(struct mb_stack *stack, struct mb_flow_entry *flow,
                      const struct mb_decoded *packet, unsigned direction) {
    (void)packet;
    now += SLOWNESS;
    (void)mb_module_publish(stack, &slow, 0, flow, direction);
}

static const struct mb_module_type own_type = {.name = "flow.tcp.slow"};
static const struct mb_module slow = {
    .name = "slow",
    .transport = MB_TRANSPORT_TCP,
    .packet = take_time,
    .abi = MB_MODULE_ABI,
    .type_count = 1,
    .types = &own_type,
};

/* --- the flow --- */

/* A connection that is open; somebody wants `type` of it. */
static void open_flow(struct stack_fixture *fixture, uint16_t type) {
    static struct mb_loaded_module loaded = {.module = &slow, .type_number = {OWN_TYPE}};
    static struct mb_loaded_module *const modules[] = {&loaded};
    struct mb_subscription wanted = {0};
    stack_want(&wanted, type);
    const struct mb_stack_config config = {.modules = modules, .module_count = 1};
    stack_open_with(fixture, &config, &wanted, 1, NULL, 0);
    stack_handshake(fixture);
    now = 0;
    readings = 0;
}

static struct mb_flow_answer flow_of(const struct stack_fixture *fixture) {
    struct mb_flow_answer answer;
    assert_int_equal(
        mb_stack_ask(fixture->stack, &(struct mb_flow_question){.number = 1}, &answer, 1), 1);
    return answer;
}

static void begin(struct stack_fixture *fixture) {
    assert_true(mb_stack_trace(fixture->stack, flow_of(fixture).slot, 1));
    readings = 0;
}

/* --- tests --- */

static void what_the_packet_took_is_told_by_part(void **state) {
    (void)state;
    struct stack_fixture fixture;
    struct mb_sojourn sojourn;
    open_flow(&fixture, OWN_TYPE);
    begin(&fixture);
    const uint64_t since = now;
    now += OTHERS;
    stack_send(&fixture, 0, ACK, 101, 301, "hello");
    assert_true(mb_stack_take_sojourn(fixture.stack, since, &sojourn));
    assert_int_equal(sojourn.packet, 4);
    assert_int_equal(sojourn.flow, 1);
    assert_int_equal(sojourn.parts, SLOW_MODULE);
    assert_int_equal(sojourn.part[MB_MODULES_BUILT_IN], SLOWNESS);
    assert_int_equal(sojourn.handling, SLOWNESS);
    assert_int_equal(sojourn.decoding, 0);
    assert_int_equal(sojourn.whole, OTHERS + SLOWNESS);
    assert_false(mb_stack_take_sojourn(fixture.stack, since, &sojourn));
    stack_close(&fixture);
}

static void each_module_that_runs_is_a_part(void **state) {
    (void)state;
    struct stack_fixture fixture;
    struct mb_sojourn sojourn;
    open_flow(&fixture, MB_TYPE_TCP_DATA);
    begin(&fixture);
    stack_send(&fixture, 0, ACK, 101, 301, "hello");
    assert_true(mb_stack_take_sojourn(fixture.stack, 0, &sojourn));
    assert_int_equal(sojourn.parts, MB_MODULE_TCP_MONITOR | MB_MODULE_TCP_STREAM);
    assert_string_equal(stack_text(&fixture, 0), "hello");
    stack_close(&fixture);
}

/* The segment without bytes publishes nothing here, and one packet of a batch is enough. */
static void it_is_the_first_packet_that_leaves_entries(void **state) {
    (void)state;
    struct stack_fixture fixture;
    struct mb_sojourn sojourn;
    open_flow(&fixture, MB_TYPE_TCP_DATA);
    begin(&fixture);
    stack_send(&fixture, 0, ACK, 101, 301, NULL);
    stack_send(&fixture, 0, ACK, 101, 301, "one");
    const unsigned read = readings;
    stack_send(&fixture, 0, ACK, 104, 301, "two");
    assert_int_equal(readings, read);
    assert_true(mb_stack_take_sojourn(fixture.stack, 0, &sojourn));
    assert_int_equal(sojourn.packet, 5);
    stack_send(&fixture, 0, ACK, 107, 301, "three");
    assert_true(mb_stack_take_sojourn(fixture.stack, 0, &sojourn));
    assert_int_equal(sojourn.packet, 7);
    assert_string_equal(stack_text(&fixture, 0), "onetwothree");
    stack_close(&fixture);
}

static void nothing_is_measured_unless_it_is_asked_for(void **state) {
    (void)state;
    struct stack_fixture fixture;
    struct mb_sojourn sojourn;
    open_flow(&fixture, OWN_TYPE);
    stack_send(&fixture, 0, ACK, 101, 301, "before");
    assert_false(mb_stack_take_sojourn(fixture.stack, 0, &sojourn));
    assert_int_equal(readings, 0);
    begin(&fixture);
    mb_stack_end_trace(fixture.stack);
    stack_send(&fixture, 0, ACK, 107, 301, "after");
    assert_false(mb_stack_take_sojourn(fixture.stack, 0, &sojourn));
    assert_int_equal(readings, 0);
    assert_int_equal(stack_count(&fixture, OWN_TYPE), 5); /* those of the handshake are there */
    stack_close(&fixture);
}

static void the_clock_is_not_read_for_other_flows(void **state) {
    (void)state;
    struct stack_fixture fixture;
    struct mb_sojourn sojourn;
    open_flow(&fixture, OWN_TYPE);
    begin(&fixture);
    stack_tcp(&fixture, (struct tcp){.flags = ACK, .port = 2000, .payload = "of another flow"});
    stack_udp(&fixture, 0, "of no flow that anybody follows");
    assert_int_equal(readings, 0);
    assert_false(mb_stack_take_sojourn(fixture.stack, 0, &sojourn));
    stack_close(&fixture);
}

/* It has the same ends, and so the same hash. */
static void a_later_flow_between_the_same_ends_is_another_one(void **state) {
    (void)state;
    struct stack_fixture fixture;
    struct mb_sojourn sojourn;
    open_flow(&fixture, OWN_TYPE);
    begin(&fixture);
    stack_send(&fixture, 0, RST, 101, 0, NULL);
    assert_true(mb_stack_take_sojourn(fixture.stack, 0, &sojourn));
    fixture.time += 10 * SECONDS;
    stack_send(&fixture, 0, SYN, 5000, 0, NULL);
    assert_int_equal(fixture.handled.flow, 5);
    assert_false(mb_stack_take_sojourn(fixture.stack, 0, &sojourn));
    stack_close(&fixture);
}

static void a_flow_that_is_not_there_is_not_traced(void **state) {
    (void)state;
    struct stack_fixture fixture;
    open_flow(&fixture, OWN_TYPE);
    const uint32_t slot = flow_of(&fixture).slot;
    assert_false(mb_stack_trace(fixture.stack, slot, 2));
    assert_false(mb_stack_trace(fixture.stack, slot + 1, 1));
    assert_false(mb_stack_trace(fixture.stack, UINT32_MAX, 1));
    assert_false(mb_stack_trace(fixture.stack, 0, 0));
    stack_send(&fixture, 0, ACK, 101, 301, "hello");
    assert_int_equal(readings, 0);
    stack_close(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_packet_took_is_told_by_part),
        cmocka_unit_test(each_module_that_runs_is_a_part),
        cmocka_unit_test(it_is_the_first_packet_that_leaves_entries),
        cmocka_unit_test(nothing_is_measured_unless_it_is_asked_for),
        cmocka_unit_test(the_clock_is_not_read_for_other_flows),
        cmocka_unit_test(a_later_flow_between_the_same_ends_is_another_one),
        cmocka_unit_test(a_flow_that_is_not_there_is_not_traced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
