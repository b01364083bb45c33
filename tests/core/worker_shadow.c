/* NFs in shadow: nobody feels them, what they count is what they would do, and when they are
 * promoted they do it. */
#include "worker_fixture.h"

enum { PACKETS = 90, FLOWS = 3, BATCH = 10, PER_FLOW = PACKETS / FLOWS };

static const struct mb_worker_config small_batches = {.batch = BATCH};

static struct mb_counter_page page_of(const struct bench *bench) {
    struct mb_area area = {0};
    assert_int_equal(
        mb_area_map(&area, mb_worker_counters_fd(bench->worker), mb_worker_counters_size()), 0);
    const struct mb_counter_page copy = *(const struct mb_counter_page *)area.base;
    mb_area_destroy(&area);
    return copy;
}

static void subscribe_all(struct bench *bench, uint32_t nfs) {
    char error[MB_ERROR_SIZE];
    if (subscribe(bench, nfs, error) != 0)
        fail_msg("%s", error);
}

/* As `start`, but for the NFs of the set, which are in shadow. */
static void start_in_shadow(struct bench *bench, uint32_t nfs, unsigned shadows) {
    char error[MB_ERROR_SIZE];
    struct mb_worker_config config = small_batches;
    config.log_slots = SLOTS;
    config.stack.link_type = 1;
    config.stack.flows_max = 16;
    config.stack.command_delay = DELAY;
    append_datagrams(bench, PACKETS);
    open_input(bench);
    bench->output = memfd_create("output", MFD_CLOEXEC);
    bench->sink = mb_sink_open(dup(bench->output), 1, error);
    bench->worker = mb_worker_create(&config, bench->source, bench->sink, error);
    for (uint32_t i = 0; i < nfs; i++) {
        attach(bench, i, false);
        if (shadows >> i & 1)
            assert_int_equal(mb_worker_shadow(bench->worker, i), 0);
    }
    subscribe_all(bench, nfs);
}

static void run_to_the_end(struct bench *bench) {
    turn(bench, 1000);
    assert_int_equal(bench->status, MB_WORKER_DONE);
}

static void move_all(struct bench *bench) {
    for (unsigned index = 0; index < NFS; index++)
        move_nf(&bench->nf[index]);
}

static void pause_after(struct bench *bench, unsigned batches) {
    while (counters(bench).packets < batches * BATCH) {
        assert_int_equal(mb_worker_run(bench->worker, 1), MB_WORKER_RUNNING);
        move_all(bench);
    }
    mb_worker_pause(bench->worker);
    for (unsigned turns = 0; turns < 100; turns++) {
        if (mb_worker_run(bench->worker, SLICE) == MB_WORKER_PAUSED)
            return;
        move_all(bench);
    }
    fail_msg("the worker did not come to a pause");
}

static void promote(struct bench *bench, uint32_t index, uint32_t nfs) {
    assert_int_equal(mb_worker_promote(bench->worker, index), 0);
    subscribe_all(bench, nfs);
    mb_worker_resume(bench->worker);
}

static void its_verdicts_are_counted_and_nothing_comes_of_them(void **state) {
    struct bench *bench = *state;
    bench->nf[0] = (struct nf){.is_inline = true, .rule = {2, MB_DROP}};
    start_in_shadow(bench, 1, 1);
    run_to_the_end(bench);
    const struct mb_counter_page page = page_of(bench);
    assert_int_equal(page.copies[page.current].output_packets, PACKETS);
    assert_int_equal(page.copies[page.current].gate_dropped, 0);
    assert_int_equal(page.copies[page.current].by_reason[MB_REASON_VERDICT_DROP], 0);
    assert_int_equal(page.copies[page.current].judges[0].packets_dropped, 0);
    assert_int_equal(page.shadows[0].judge.packets_dropped, PER_FLOW);
    assert_int_equal(page.shadows[0].flows, 1);
    assert_int_equal(page.shadows[0].dropped_already, 0);
}

static struct mb_judge_counters counted(void **state, struct rule rule, bool commands,
                                        bool is_shadow, uint64_t *seen) {
    struct bench *bench = *state;
    bench->nf[0] = (struct nf){.is_inline = true, .rule = rule, .gives_commands = commands};
    start_in_shadow(bench, 1, is_shadow ? 1 : 0);
    run_to_the_end(bench);
    const struct mb_counter_page page = page_of(bench);
    *seen = bench->nf[0].seen;
    assert_int_equal(page.copies[page.current].output_packets,
                     is_shadow ? PACKETS : PACKETS - PER_FLOW);
    return is_shadow ? page.shadows[0].judge : page.copies[page.current].judges[0];
}

/* The same NF, once for real and once in shadow: it sees the same and is counted alike. */
static void assert_alike(void **state, struct rule rule, bool commands) {
    uint64_t seen_in_shadow = 0, seen = 0;
    const struct mb_judge_counters shadow = counted(state, rule, commands, true, &seen_in_shadow);
    tear_down(state);
    set_up(state);
    const struct mb_judge_counters real = counted(state, rule, commands, false, &seen);
    assert_memory_equal(&shadow, &real, sizeof real);
    assert_int_equal(seen_in_shadow, seen);
    assert_true(seen > 0);
}

static void what_it_counts_is_what_a_real_one_does(void **state) {
    assert_alike(state, (struct rule){3, MB_DROP}, false);
}

/* Packets behind the verdict count, though the NF sees none of them. */
static void also_of_whole_flows(void **state) {
    assert_alike(state, (struct rule){3, MB_DROP_FLOW}, false);
}

static void also_where_the_stack_is_told_of_the_verdict(void **state) {
    assert_alike(state, (struct rule){3, MB_DROP_FLOW}, true);
}

/* The second would drop what the first drops, and one flow more. */
static void what_was_dropped_without_it_is_counted_apart(void **state) {
    struct bench *bench = *state;
    bench->nf[0] = (struct nf){.is_inline = true, .rule = {2, MB_DROP_FLOW}};
    bench->nf[1] = (struct nf){.is_inline = true, .rule = {2, MB_DROP}};
    start_in_shadow(bench, 2, 1 << 1);
    run_to_the_end(bench);
    const struct mb_counter_page page = page_of(bench);
    assert_int_equal(page.copies[page.current].judges[0].packets_of_flows, PER_FLOW);
    assert_int_equal(page.shadows[1].judge.packets_dropped, PER_FLOW);
    assert_int_equal(page.shadows[1].dropped_already, PER_FLOW);
}

static void each_is_counted_as_if_it_were_alone(void **state) {
    struct bench *bench = *state;
    bench->nf[0] = (struct nf){.is_inline = true, .rule = {2, MB_DROP_FLOW}};
    bench->nf[1] = (struct nf){.is_inline = true, .rule = {2, MB_DROP}};
    bench->nf[2] = (struct nf){.is_inline = true, .rule = {3, MB_DROP}};
    start_in_shadow(bench, 3, 1 << 0 | 1 << 1);
    run_to_the_end(bench);
    const struct mb_counter_page page = page_of(bench);
    assert_int_equal(page.copies[page.current].output_packets, PACKETS - PER_FLOW);
    assert_int_equal(page.shadows[0].judge.packets_of_flows, PER_FLOW);
    assert_int_equal(page.shadows[1].judge.packets_dropped, PER_FLOW);
    assert_int_equal(page.shadows[0].dropped_already, 0);
    assert_int_equal(page.copies[page.current].judges[2].packets_dropped, PER_FLOW);
}

static void packets_do_not_wait_for_it(void **state) {
    struct bench *bench = *state;
    bench->nf[0] = (struct nf){.is_inline = true, .stands = true, .rule = {1, MB_DROP}};
    start_in_shadow(bench, 1, 1);
    turn(bench, 20);
    assert_int_equal(counters(bench).output_packets, PACKETS);
    bench->nf[0].stands = false;
    run_to_the_end(bench);
    assert_int_equal(page_of(bench).shadows[0].judge.packets_dropped, PER_FLOW);
}

static void one_that_dies_drops_nothing_and_is_counted_up_to_there(void **state) {
    struct bench *bench = *state;
    bench->nf[0] = (struct nf){.is_inline = true, .rule = {1, MB_DROP}};
    start_in_shadow(bench, 1, 1);
    pause_after(bench, 1);
    mb_worker_detach(bench->worker, 0, 1);
    mb_worker_resume(bench->worker);
    bench->nf[0].stands = true;
    run_to_the_end(bench);
    const struct mb_counter_page page = page_of(bench);
    assert_int_equal(page.copies[page.current].output_packets, PACKETS);
    assert_int_equal(page.shadows[0].judge.packets_dropped, 4); /* 1231231231 */
    assert_int_equal(page.shadows[0].judge.unjudged_passed, PACKETS - BATCH);
}

static void a_promoted_nf_drops_from_the_pause_on(void **state) {
    struct bench *bench = *state;
    bench->nf[0] = (struct nf){.is_inline = true, .rule = {1, MB_DROP}};
    start_in_shadow(bench, 1, 1);
    pause_after(bench, 1);
    promote(bench, 0, 1);
    run_to_the_end(bench);
    const struct mb_counter_page page = page_of(bench);
    assert_int_equal(page.shadows[0].judge.packets_dropped, 4); /* 1231231231 */
    assert_int_equal(page.copies[page.current].judges[0].packets_dropped, PER_FLOW - 4);
    assert_int_equal(page.copies[page.current].output_packets, PACKETS - PER_FLOW + 4);
}

/* It sees nothing more of flows that it has judged in shadow. */
static void assert_flows_go_on_to_be_dropped(struct bench *bench, bool commands) {
    bench->nf[0] =
        (struct nf){.is_inline = true, .rule = {1, MB_DROP_FLOW}, .gives_commands = commands};
    start_in_shadow(bench, 2, 1);
    pause_after(bench, 3);
    promote(bench, 0, 2);
    run_to_the_end(bench);
    const struct mb_counter_page page = page_of(bench);
    const uint64_t before = 3 * BATCH / FLOWS;
    assert_int_equal(page.shadows[0].judge.packets_of_flows, before);
    assert_int_equal(page.copies[page.current].judges[0].packets_of_flows, PER_FLOW - before);
    assert_int_equal(page.copies[page.current].judges[0].flows_dropped, 1);
    assert_int_equal(page.copies[page.current].output_packets, PACKETS - PER_FLOW + before);
}

static void flows_that_it_would_have_dropped_are_dropped_from_there_on(void **state) {
    assert_flows_go_on_to_be_dropped(*state, false);
}

static void also_where_the_stack_was_told_of_them(void **state) {
    assert_flows_go_on_to_be_dropped(*state, true);
}

static void packets_wait_for_a_promoted_nf(void **state) {
    struct bench *bench = *state;
    bench->nf[0] = (struct nf){.is_inline = true, .rule = {1, MB_DROP}};
    start_in_shadow(bench, 1, 1);
    pause_after(bench, 1);
    promote(bench, 0, 1);
    bench->nf[0].stands = true;
    turn(bench, 20);
    assert_int_equal(counters(bench).output_packets, BATCH);
    bench->nf[0].stands = false;
    run_to_the_end(bench);
}

static void a_promoted_nf_may_fail_closed(void **state) {
    struct bench *bench = *state;
    bench->nf[0] = (struct nf){.is_inline = true, .rule = {9, MB_DROP}};
    start_in_shadow(bench, 1, 1);
    pause_after(bench, 1);
    assert_int_equal(mb_worker_fail_closed(bench->worker, 0), -EINVAL); /* in shadow */
    assert_int_equal(mb_worker_promote(bench->worker, 0), 0);
    assert_int_equal(mb_worker_fail_closed(bench->worker, 0), 0);
    subscribe_all(bench, 1);
    mb_worker_detach(bench->worker, 0, 1);
    mb_worker_resume(bench->worker);
    bench->nf[0].stands = true;
    run_to_the_end(bench);
    assert_int_equal(counters(bench).output_packets, BATCH);
    assert_int_equal(counters(bench).judges[0].unjudged_dropped, PACKETS - BATCH);
}

static void what_cannot_be_in_shadow_or_promoted_is_refused(void **state) {
    struct bench *bench = *state;
    bench->nf[0] = (struct nf){.is_inline = true};
    start_in_shadow(bench, 2, 1);
    assert_int_equal(mb_worker_shadow(bench->worker, 0), -EINVAL);  /* too late */
    assert_int_equal(mb_worker_promote(bench->worker, 0), -EINVAL); /* not paused */
    pause_after(bench, 1);
    assert_int_equal(mb_worker_promote(bench->worker, 1), -EINVAL); /* not inline */
    assert_int_equal(mb_worker_promote(bench->worker, 9), -EINVAL);
    assert_int_equal(mb_worker_promote(bench->worker, 0), 0);
    assert_int_equal(mb_worker_promote(bench->worker, 0), -EINVAL); /* not again */
    subscribe_all(bench, 2);
    mb_worker_resume(bench->worker);
    run_to_the_end(bench);
}

/* It takes the packets from there on; the gate before it has let many out by then. */
static void one_may_come_while_packets_flow(void **state) {
    struct bench *bench = *state;
    start_in_shadow(bench, 1, 0);
    pause_after(bench, 1);
    bench->nf[1] = (struct nf){.is_inline = true, .rule = {2, MB_DROP}};
    attach(bench, 1, false);
    assert_int_equal(mb_worker_shadow(bench->worker, 1), 0);
    subscribe_all(bench, 2);
    mb_worker_resume(bench->worker);
    run_to_the_end(bench);
    const struct mb_counter_page page = page_of(bench);
    assert_int_equal(page.copies[page.current].output_packets, PACKETS);
    assert_int_equal(page.shadows[1].judge.packets_dropped, PER_FLOW - 3); /* 1231231231 */
    assert_int_equal(page.shadows[1].dropped_already, 0);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(its_verdicts_are_counted_and_nothing_comes_of_them),
        CASE(what_it_counts_is_what_a_real_one_does),
        CASE(also_of_whole_flows),
        CASE(also_where_the_stack_is_told_of_the_verdict),
        CASE(what_was_dropped_without_it_is_counted_apart),
        CASE(each_is_counted_as_if_it_were_alone),
        CASE(packets_do_not_wait_for_it),
        CASE(one_that_dies_drops_nothing_and_is_counted_up_to_there),
        CASE(a_promoted_nf_drops_from_the_pause_on),
        CASE(flows_that_it_would_have_dropped_are_dropped_from_there_on),
        CASE(also_where_the_stack_was_told_of_them),
        CASE(packets_wait_for_a_promoted_nf),
        CASE(a_promoted_nf_may_fail_closed),
        CASE(what_cannot_be_in_shadow_or_promoted_is_refused),
        CASE(one_may_come_while_packets_flow),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
