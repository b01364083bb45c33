/* A worker tells in its counter page what packets of a flow take, for as long as it was asked to.
 */
#include "worker_fixture.h"

#include "microbox/stack/core.h"
#include "microbox/stack/worker_private.h"

enum { PACKETS = 40 };

#define LONG UINT64_C(3600000000000)

static const struct mb_worker_config one_at_a_time = {.batch = 1};

/* How many of the packets up to `last` are told of; all times have to fit. */
static unsigned told(const struct bench *bench, uint64_t last) {
    struct mb_area area = {0};
    assert_int_equal(
        mb_area_map(&area, mb_worker_counters_fd(bench->worker), mb_worker_counters_size()), 0);
    const struct mb_counter_page *page = area.base;
    unsigned count = 0;
    for (uint64_t packet = 1; packet <= last; packet++) {
        struct mb_sojourn sojourn;
        if (!mb_sojourn_read(page->sojourns, packet, &sojourn))
            continue;
        count++;
        assert_int_equal(sojourn.flow, 1 + (packet - 1) % 3);
        assert_true(sojourn.whole > 0 && sojourn.whole < LONG);
        assert_true(sojourn.decoding + sojourn.handling <= sojourn.whole);
        assert_int_equal(sojourn.parts, 0); /* flows of packets alone run no module */
    }
    mb_area_destroy(&area);
    return count;
}

/* Commands hold the worker back, so that it is asked in the middle of its input. */
static void begin(struct bench *bench) {
    append_datagrams(bench, PACKETS);
    bench->nf[0].gives_commands = true;
    bench->nf[0].reads_flows = true;
    bench->nf[0].stands = true;
    start(bench, &one_at_a_time, 1, false);
    turn(bench, 20);
    assert_int_equal(counters(bench).packets, DELAY);
    assert_int_equal(told(bench, PACKETS), 0);
}

static uint32_t slot_of(const struct bench *bench, uint64_t flow) {
    struct mb_flow_answer answer;
    assert_int_equal(
        mb_worker_ask(bench->worker, &(struct mb_flow_question){.number = flow}, &answer, 1), 1);
    return answer.slot;
}

static void end(struct bench *bench) {
    bench->nf[0].stands = false;
    turn(bench, 1000);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[0].seen, PACKETS);
}

static void packets_of_the_flow_are_told_of(void **state) {
    struct bench *bench = *state;
    begin(bench);
    assert_true(mb_worker_trace(bench->worker, slot_of(bench, 2), 2, LONG));
    end(bench);
    assert_int_equal(told(bench, PACKETS), 10); /* 11, 14, ... 38 */
}

static void nothing_is_told_where_nobody_asks(void **state) {
    struct bench *bench = *state;
    begin(bench);
    end(bench);
    assert_int_equal(told(bench, PACKETS), 0);
}

static void it_ends_by_itself(void **state) {
    struct bench *bench = *state;
    begin(bench);
    assert_true(mb_worker_trace(bench->worker, slot_of(bench, 2), 2, 0));
    turn(bench, 1); /* the time is over by then */
    assert_int_equal(bench->worker->traces_until, 0);
    assert_int_equal(bench->worker->stack->trace.flow, 0);
    end(bench);
    assert_int_equal(told(bench, PACKETS), 0);
}

static void a_flow_that_is_not_there_is_not_traced(void **state) {
    struct bench *bench = *state;
    begin(bench);
    assert_true(mb_worker_trace(bench->worker, slot_of(bench, 2), 2, LONG));
    assert_false(mb_worker_trace(bench->worker, slot_of(bench, 2), 7, LONG));
    end(bench);
    assert_int_equal(told(bench, PACKETS), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(packets_of_the_flow_are_told_of, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_told_where_nobody_asks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_ends_by_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flow_that_is_not_there_is_not_traced, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
