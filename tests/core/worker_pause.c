/* NFs come and go while packets flow: what each of them sees is exact. */
#include "worker_fixture.h"

#include "microbox/stack/flows/flow_lifecycle.h"
#include "microbox/stack/module.h"

enum { PACKETS = 900, BATCH = 10, FLOWS = 3 };

static const struct mb_worker_config small_batches = {.batch = BATCH};

/* A slice is over before a second batch. */
static void handle_one_batch(struct bench *bench) {
    assert_int_equal(mb_worker_run(bench->worker, 1), MB_WORKER_RUNNING);
}

static void move_all(struct bench *bench) {
    for (unsigned index = 0; index < NFS; index++)
        move_nf(&bench->nf[index]);
}

static void come_to_a_pause(struct bench *bench) {
    mb_worker_pause(bench->worker);
    for (unsigned turns = 0; turns < 100; turns++) {
        if (mb_worker_run(bench->worker, SLICE) == MB_WORKER_PAUSED)
            return;
        move_all(bench);
    }
    fail_msg("the worker did not come to a pause");
}

static void go_on_to_the_end(struct bench *bench) {
    mb_worker_resume(bench->worker);
    bench->status = MB_WORKER_RUNNING;
    turn(bench, 1000);
    assert_int_equal(bench->status, MB_WORKER_DONE);
}

static void lose(struct bench *bench, uint32_t index) {
    mb_reader_destroy(bench->nf[index].reader);
    bench->nf[index] = (struct nf){.is_inline = bench->nf[index].is_inline};
}

static void subscribe_all(struct bench *bench, uint32_t nfs) {
    char error[MB_ERROR_SIZE];
    if (subscribe(bench, nfs, error) != 0)
        fail_msg("%s", error);
}

/* One batch is handled, then the worker is paused. */
static void start_and_pause(struct bench *bench, uint32_t nfs, bool fails_closed) {
    append_datagrams(bench, PACKETS);
    start(bench, &small_batches, nfs, fails_closed);
    handle_one_batch(bench);
    come_to_a_pause(bench);
}

static void in_a_pause_nothing_moves_and_nothing_is_in_flight(void **state) {
    struct bench *bench = *state;
    bench->nf[0].is_inline = true;
    start_and_pause(bench, 1, false);
    assert_int_equal(bench->nf[0].seen, BATCH);
    assert_int_equal(counters(bench).output_packets, BATCH);
    const uint64_t head = mb_worker_head(bench->worker);
    assert_int_equal(mb_worker_run(bench->worker, SLICE), MB_WORKER_PAUSED);
    assert_int_equal(mb_worker_head(bench->worker), head);
    assert_int_equal(counters(bench).packets, BATCH);
    go_on_to_the_end(bench);
    assert_int_equal(bench->nf[0].seen, PACKETS);
    assert_int_equal(counters(bench).output_packets, PACKETS);
}

static void a_pause_waits_for_an_nf_that_stands(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, PACKETS);
    start(bench, &small_batches, 1, false);
    handle_one_batch(bench);
    bench->nf[0].stands = true;
    mb_worker_pause(bench->worker);
    for (unsigned turns = 0; turns < 5; turns++)
        assert_int_equal(mb_worker_run(bench->worker, SLICE), MB_WORKER_RUNNING);
    bench->nf[0].stands = false;
    come_to_a_pause(bench);
    assert_int_equal(bench->nf[0].seen, BATCH);
}

static void a_pause_ends_the_batches_of_who_takes_batches(void **state) {
    struct bench *bench = *state;
    bench->nf[0].cut = SLOTS / 4;
    start_and_pause(bench, 1, false);
    assert_int_equal(bench->nf[0].seen, BATCH);
    go_on_to_the_end(bench);
    assert_int_equal(bench->nf[0].seen, PACKETS);
}

static void who_comes_in_a_pause_sees_all_from_there_on(void **state) {
    struct bench *bench = *state;
    start_and_pause(bench, 1, false);
    attach(bench, 1, false);
    subscribe_all(bench, 2);
    go_on_to_the_end(bench);
    assert_int_equal(bench->nf[0].seen, PACKETS);
    assert_int_equal(bench->nf[1].seen, PACKETS - BATCH);
    assert_int_equal(bench->nf[1].first_packet, BATCH + 1);
    assert_int_equal(bench->nf[0].welcomes_seen, 1);
    assert_int_equal(bench->nf[1].welcomes_seen, 1);
    assert_true(bench->nf[1].saw_end);
}

static void the_first_that_judges_may_come_in_a_pause(void **state) {
    struct bench *bench = *state;
    start_and_pause(bench, 1, false);
    bench->nf[1] = (struct nf){.is_inline = true, .rule = {2, MB_DROP_FLOW}};
    attach(bench, 1, false);
    subscribe_all(bench, 2);
    go_on_to_the_end(bench);
    /* Of the first batch, 1231231231, none was dropped. */
    const uint64_t dropped = PACKETS / FLOWS - 3;
    assert_int_equal(counters(bench).gate_dropped, dropped);
    assert_int_equal(counters(bench).output_packets, PACKETS - dropped);
}

static void who_takes_the_place_of_a_dead_nf_goes_on_from_the_pause(void **state) {
    struct bench *bench = *state;
    bench->nf[0] = (struct nf){.is_inline = true, .rule = {3, MB_DROP}};
    append_datagrams(bench, PACKETS);
    start(bench, &small_batches, 2, true);
    handle_one_batch(bench);
    move_all(bench);
    mb_worker_detach(bench->worker, 0, -9);
    lose(bench, 0);
    handle_one_batch(bench);
    come_to_a_pause(bench);
    assert_int_equal(counters(bench).by_reason[MB_REASON_NF_FAILED_CLOSED], BATCH);
    bench->nf[0].rule = (struct rule){1, MB_DROP};
    attach(bench, 0, true);
    subscribe_all(bench, 2);
    go_on_to_the_end(bench);
    assert_int_equal(bench->nf[0].first_packet, 2 * BATCH + 1);
    assert_int_equal(bench->nf[0].seen, PACKETS - 2 * BATCH);
    assert_int_equal(bench->nf[1].exits_seen, 1);
    assert_int_equal(counters(bench).by_reason[MB_REASON_NF_FAILED_CLOSED], BATCH);
    /* Every third of the first batch by the old one, of what came after by the new one. */
    assert_int_equal(counters(bench).by_reason[MB_REASON_VERDICT_DROP],
                     BATCH / FLOWS + (PACKETS - 2 * BATCH) / FLOWS);
}

static void who_leaves_in_order_stops_no_packet(void **state) {
    struct bench *bench = *state;
    bench->nf[0] = (struct nf){.is_inline = true, .rule = {1, MB_DROP}};
    start_and_pause(bench, 2, true);
    mb_worker_leave(bench->worker, 0);
    mb_reader_destroy(bench->nf[0].reader);
    bench->nf[0].reader = NULL;
    subscribe_all(bench, 2);
    go_on_to_the_end(bench);
    assert_int_equal(bench->nf[0].seen, BATCH);
    assert_int_equal(counters(bench).by_reason[MB_REASON_VERDICT_DROP], BATCH / FLOWS + 1);
    assert_int_equal(bench->nf[1].seen, PACKETS);
    assert_int_equal(bench->nf[1].exits_seen, 1);
    assert_int_equal(counters(bench).by_reason[MB_REASON_NF_FAILED_CLOSED], 0);
}

static void another_takes_over_at_one_event(void **state) {
    struct bench *bench = *state;
    start_and_pause(bench, 2, false);
    mb_worker_leave(bench->worker, 1);
    lose(bench, 1);
    attach(bench, 1, false);
    subscribe_all(bench, 2);
    go_on_to_the_end(bench);
    assert_int_equal(bench->nf[1].first_packet, BATCH + 1);
    assert_int_equal(bench->nf[1].seen, PACKETS - BATCH);
    assert_int_equal(bench->nf[1].exits_seen, 0);
    assert_int_equal(bench->nf[0].seen, PACKETS);
    assert_int_equal(bench->nf[0].exits_seen, 1);
}

static void what_cannot_be_subscribed_to_changes_nothing(void **state) {
    struct bench *bench = *state;
    char error[MB_ERROR_SIZE];
    start_and_pause(bench, 1, false);
    attach(bench, 1, false);
    const struct mb_subscription wrong = {.nf = 1, .bit = 1, .filter = "tcp prot 80"};
    assert_int_equal(mb_worker_subscribe(bench->worker, &wrong, 1, NULL, 0, error), -EINVAL);
    assert_non_null(strstr(error, "tcp prot 80"));
    go_on_to_the_end(bench);
    assert_int_equal(bench->nf[0].seen, PACKETS);
    assert_int_equal(bench->nf[0].welcomes_seen, 0);
    assert_int_equal(bench->nf[1].seen, 0);
}

/* Another worker could not do it, so this one does not either. */
static void who_is_sent_away_has_never_been_there(void **state) {
    struct bench *bench = *state;
    start_and_pause(bench, 1, false);
    bench->nf[1] = (struct nf){.is_inline = true, .rule = {2, MB_DROP_FLOW}};
    attach(bench, 1, true);
    subscribe_all(bench, 2);
    mb_worker_send_away(bench->worker);
    lose(bench, 1);
    subscribe_all(bench, 1);
    mb_worker_resume(bench->worker);
    handle_one_batch(bench);
    come_to_a_pause(bench);
    attach(bench, 1, false); /* its place is free */
    subscribe_all(bench, 2);
    const uint64_t before = bench->nf[0].seen;
    go_on_to_the_end(bench);
    assert_int_equal(bench->nf[0].seen, PACKETS);
    assert_int_equal(bench->nf[0].welcomes_seen, 1); /* of the second one */
    assert_int_equal(bench->nf[0].exits_seen, 0);
    assert_int_equal(bench->nf[1].seen, PACKETS - before);
    assert_int_equal(counters(bench).output_packets, PACKETS);
    assert_int_equal(counters(bench).gate_dropped, 0);
}

static void who_asks_for_it_is_told_of_the_flows_first(void **state) {
    struct bench *bench = *state;
    bench->nf[0].reads_flows = true;
    start_and_pause(bench, 1, false);
    bench->nf[1].reads_flows = true;
    bench->nf[2].reads_flows = true;
    attach(bench, 1, false);
    attach(bench, 2, false);
    mb_worker_catch_up(bench->worker, 1);
    subscribe_all(bench, 3);
    go_on_to_the_end(bench);
    assert_int_equal(bench->nf[0].starts_seen, FLOWS);
    assert_int_equal(bench->nf[0].flows_told, 0);
    assert_int_equal(bench->nf[1].flows_told, FLOWS);
    assert_int_equal(bench->nf[1].idle_told, 21); /* 0, 2 and 1: packets are a second apart */
    assert_int_equal(bench->nf[1].packets_seen_before_told, 0);
    assert_int_equal(bench->nf[1].seen, PACKETS - BATCH);
    assert_int_equal(bench->nf[2].flows_told, 0);
}

static uint32_t asked(const struct bench *bench, struct mb_flow_question question,
                      struct mb_flow_answer answers[FLOWS]) {
    return mb_worker_ask(bench->worker, &question, answers, FLOWS);
}

static void it_is_told_what_is_done_for_a_flow(void **state) {
    struct bench *bench = *state;
    bench->nf[0].reads_flows = true;
    start_and_pause(bench, 1, false);
    struct mb_flow_answer answers[FLOWS];
    assert_int_equal(asked(bench, (struct mb_flow_question){.number = 2}, answers), 1);
    const struct mb_flow_answer second = answers[0];
    assert_int_equal(second.number, 2);
    assert_int_equal(second.tuple.destination_port, 2);
    assert_int_equal(second.gets[0][0], 1); /* NF 0's bit */
    assert_int_equal(second.seen, 1);       /* nobody has answered */
    assert_int_equal(second.snapshot.side[0].packets, BATCH / FLOWS);
    assert_int_equal(second.modules, MB_MODULE_FLOW);
    struct mb_flow_question question = {.tuple = mb_reversed_tuple(&second.tuple)};
    assert_int_equal(asked(bench, question, answers), 1);
    assert_int_equal(answers[0].number, 2);
    question.tuple.protocol = 6;
    assert_int_equal(asked(bench, question, answers), 0);
    question.tuple.protocol = 0;
    question.tuple.source_port = 99;
    assert_int_equal(asked(bench, question, answers), 0);
}

/* Nobody read flows before, so they begin when somebody does. */
static void flows_that_were_not_tracked_are_picked_up(void **state) {
    struct bench *bench = *state;
    start_and_pause(bench, 1, false);
    bench->nf[1].reads_flows = true;
    attach(bench, 1, false);
    mb_worker_catch_up(bench->worker, 1);
    subscribe_all(bench, 2);
    go_on_to_the_end(bench);
    assert_int_equal(bench->nf[1].flows_told, 0);
    assert_int_equal(bench->nf[1].starts_seen, FLOWS);
}

static void a_start_that_is_past_is_not_told_to_who_comes_later(void **state) {
    struct bench *bench = *state;
    bench->nf[0].is_inline = true; /* flows are told apart, but nobody reads them */
    start_and_pause(bench, 1, false);
    bench->nf[1].reads_flows = true;
    attach(bench, 1, false);
    subscribe_all(bench, 2);
    go_on_to_the_end(bench);
    assert_int_equal(bench->nf[1].starts_seen, 0);
}

/* What the one before unsubscribed from, the next one gets. */
static void who_takes_a_place_begins_with_all_switches_as_in_new_flows(void **state) {
    struct bench *bench = *state;
    bench->nf[0].gives_commands = true;
    bench->nf[0].unsubscribes = true;
    append_datagrams(bench, PACKETS);
    start(bench, &small_batches, 2, false);
    for (unsigned i = 0; i < 4; i++) {
        handle_one_batch(bench);
        move_all(bench);
    }
    come_to_a_pause(bench);
    assert_int_equal(counters(bench).commands_obeyed, FLOWS);
    mb_worker_leave(bench->worker, 0);
    lose(bench, 0);
    bench->nf[0].gives_commands = true;
    attach(bench, 0, false);
    subscribe_all(bench, 2);
    const uint64_t seen = bench->nf[1].seen;
    go_on_to_the_end(bench);
    assert_int_equal(bench->nf[0].seen, PACKETS - seen);
}

static void commands_may_come_with_who_comes_later(void **state) {
    struct bench *bench = *state;
    start_and_pause(bench, 1, false);
    bench->nf[1].gives_commands = true;
    bench->nf[1].unsubscribes = true;
    attach(bench, 1, false);
    subscribe_all(bench, 2);
    go_on_to_the_end(bench);
    assert_int_equal(bench->nf[0].seen, PACKETS);
    assert_int_equal(bench->nf[1].seen, FLOWS);
    assert_int_equal(counters(bench).commands_obeyed, FLOWS);
}

static void stop_holds_in_a_pause_too(void **state) {
    struct bench *bench = *state;
    start_and_pause(bench, 1, false);
    mb_worker_stop(bench->worker);
    assert_int_equal(mb_worker_run(bench->worker, SLICE), MB_WORKER_PAUSED);
    go_on_to_the_end(bench);
    assert_int_equal(bench->nf[0].seen, BATCH);
    assert_true(bench->nf[0].saw_end);
}

/* A slice is at least one turn: one reads the packets, one ends their flows. */
enum { SLICES_TO_THE_END = 4 };

static void when_the_input_is_over_there_is_no_pause(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 5);
    start(bench, &plain, 1, false);
    for (unsigned slices = 0; slices < SLICES_TO_THE_END; slices++)
        assert_int_equal(mb_worker_run(bench->worker, SLICE), MB_WORKER_RUNNING);
    mb_worker_pause(bench->worker);
    turn(bench, 100);
    assert_int_equal(bench->status, MB_WORKER_DONE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define PAUSE_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
        PAUSE_TEST(in_a_pause_nothing_moves_and_nothing_is_in_flight),
        PAUSE_TEST(a_pause_waits_for_an_nf_that_stands),
        PAUSE_TEST(a_pause_ends_the_batches_of_who_takes_batches),
        PAUSE_TEST(who_comes_in_a_pause_sees_all_from_there_on),
        PAUSE_TEST(the_first_that_judges_may_come_in_a_pause),
        PAUSE_TEST(who_takes_the_place_of_a_dead_nf_goes_on_from_the_pause),
        PAUSE_TEST(who_leaves_in_order_stops_no_packet),
        PAUSE_TEST(another_takes_over_at_one_event),
        PAUSE_TEST(what_cannot_be_subscribed_to_changes_nothing),
        PAUSE_TEST(who_is_sent_away_has_never_been_there),
        PAUSE_TEST(who_asks_for_it_is_told_of_the_flows_first),
        PAUSE_TEST(it_is_told_what_is_done_for_a_flow),
        PAUSE_TEST(flows_that_were_not_tracked_are_picked_up),
        PAUSE_TEST(a_start_that_is_past_is_not_told_to_who_comes_later),
        PAUSE_TEST(who_takes_a_place_begins_with_all_switches_as_in_new_flows),
        PAUSE_TEST(commands_may_come_with_who_comes_later),
        PAUSE_TEST(stop_holds_in_a_pause_too),
        PAUSE_TEST(when_the_input_is_over_there_is_no_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
