/* The worker's loop: input, NFs, verdicts, output, the end. */
#include "worker_fixture.h"

static void all_packets_reach_the_nf_and_the_output(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 7);
    start(bench, &plain, 1, false);
    turn(bench, 100);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_true(bench->nf[0].saw_end);
    assert_int_equal(bench->nf[0].seen, 7);
    assert_output(bench, "1231231");
    const struct mb_stack_counters page = counters(bench);
    assert_int_equal(page.packets, 7);
    assert_int_equal(page.output_packets, 7);
    assert_int_equal(page.output_bytes, 7 * FRAME_SIZE);
    assert_int_equal(page.output_lost, 0);
    assert_int_equal(page.input_bytes, bench->capture.length);
    assert_int_equal(page.time, UINT64_C(6000000000));
    assert_int_equal(page.finished, 1);
    assert_int_equal(page.published_by_type[MB_TYPE_PACKET_IP_UDP], 7);
    assert_string_equal(mb_worker_warning(bench->worker), "");
    assert_string_equal(mb_worker_complaint(bench->worker), "");
}

/* --- NFs that give commands --- */

static void the_worker_does_not_run_far_ahead_of_who_gives_commands(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 100);
    bench->nf[0].gives_commands = true;
    start(bench, &plain, 2, false);
    bench->nf[0].stands = true;
    turn(bench, 20);
    assert_int_equal(counters(bench).packets, DELAY);
    assert_int_equal(bench->nf[1].seen, DELAY);
    assert_true(counters(bench).command_waits >= 1);
    bench->nf[0].stands = false;
    turn(bench, 1000);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[0].seen, 100);
    assert_int_equal(bench->nf[1].seen, 100);
}

static void a_dead_nf_with_commands_holds_nothing_up(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 100);
    bench->nf[0].gives_commands = true;
    start(bench, &plain, 2, false);
    bench->nf[0].stands = true;
    turn(bench, 20);
    mb_worker_detach(bench->worker, 0, -9);
    turn(bench, 1000);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[1].seen, 100);
    assert_int_equal(bench->nf[1].exits_seen, 1);
}

/* Of each flow the NF wants the first packet it sees. Each of the flows of this traffic has every
 * third packet. */
static void unsubscribing_saves_the_rest_of_a_flow(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 100);
    bench->nf[0].gives_commands = true;
    start(bench, &plain, 2, false);
    bench->nf[0].unsubscribes = true;
    turn(bench, 1000);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[0].seen, 3);
    assert_int_equal(bench->nf[1].seen, 100);
    const struct mb_stack_counters page = counters(bench);
    assert_int_equal(page.commands_obeyed, 3);
    assert_int_equal(page.commands_late + page.commands_refused, 0);
}

/* What comes in the last packets of the input takes effect no more. */
static void commands_of_the_last_packets_are_too_late(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, DELAY);
    bench->nf[0].gives_commands = true;
    start(bench, &plain, 1, false);
    bench->nf[0].unsubscribes = true;
    turn(bench, 1000);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[0].seen, 3);
    assert_int_equal(counters(bench).commands_late, 3);
}

static void a_worker_without_nfs_copies_its_input(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 3);
    start(bench, &plain, 0, false);
    turn(bench, 100);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_output(bench, "123");
}

static void the_packet_limit_ends_the_input(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 7);
    start(bench, &(struct mb_worker_config){.packet_limit = 4, .batch = 3}, 1, false);
    turn(bench, 100);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[0].seen, 4);
    assert_output(bench, "1231");
    assert_string_equal(mb_worker_warning(bench->worker), "");
}

/* Another worker has had five packets. */
static void a_worker_goes_on_behind_packets_that_it_leaves_out(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 9);
    const struct mb_worker_config config = {.stack.packets_before = 5, .packet_limit = 8};
    start(bench, &config, 1, false);
    turn(bench, 100);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[0].seen, 3);
    assert_int_equal(bench->nf[0].first_packet, 6);
    assert_output(bench, "312");
    assert_int_equal(counters(bench).packets, 3);
}

/* Datagrams come one a second. */
static void packets_come_at_the_pace_that_is_asked_for(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 7);
    start(bench, &(struct mb_worker_config){.pace = 1000}, 1, false);
    turn(bench, 5);
    assert_int_equal(bench->status, MB_WORKER_RUNNING);
    assert_int_equal(bench->nf[0].seen, 1);
    mb_worker_stop(bench->worker);
    turn(bench, 100);
    assert_int_equal(bench->status, MB_WORKER_DONE);
}

static void a_high_pace_is_soon_over(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 7);
    start(bench, &(struct mb_worker_config){.pace = 1000000}, 1, false);
    turn(bench, 10000);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[0].seen, 7);
}

static void a_capture_that_ends_inside_a_packet_is_a_warning(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 3);
    bench->capture.length -= 5;
    start(bench, &plain, 1, false);
    turn(bench, 100);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[0].seen, 2);
    assert_non_null(strstr(mb_worker_warning(bench->worker), "inside the record"));
}

/* The log has 4096 slots; nothing is lost however slow the NF is. */
static void an_nf_that_stands_still_holds_the_input_back(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 4000);
    bench->nf[0].stands = true;
    start(bench, &plain, 1, false);
    turn(bench, 20);
    assert_int_equal(bench->status, MB_WORKER_RUNNING);
    assert_in_range(counters(bench).packets, SLOTS / 2, SLOTS - MB_ENTRIES_PER_PACKET + 1);
    assert_true(counters(bench).log_waits > 0);
    bench->nf[0].stands = false;
    turn(bench, 100);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[0].seen, 4000);
    assert_int_equal(counters(bench).output_packets, 4000);
}

static void verdicts_decide_what_comes_out(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 7);
    bench->nf[0] = (struct nf){.is_inline = true, .rule = {2, MB_DROP}};
    bench->nf[1] = (struct nf){.is_inline = true, .rule = {3, MB_DROP_FLOW}};
    start(bench, &plain, 2, false);
    turn(bench, 100);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_output(bench, "111");
    const struct mb_stack_counters page = counters(bench);
    assert_int_equal(page.gate_dropped, 4);
    assert_int_equal(page.by_reason[MB_REASON_VERDICT_DROP], 2);
    assert_int_equal(page.by_reason[MB_REASON_VERDICT_DROP_FLOW], 2);
    assert_int_equal(page.output_packets + page.gate_dropped, page.packets);
}

static void packets_wait_for_the_inline_nf(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 5);
    bench->nf[0] = (struct nf){.is_inline = true, .stands = true};
    start(bench, &plain, 2, false);
    turn(bench, 20);
    assert_int_equal(bench->nf[1].seen, 5);
    assert_int_equal(counters(bench).gate_waiting, 5);
    assert_int_equal(counters(bench).output_packets, 0);
    bench->nf[0].stands = false;
    turn(bench, 100);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_output(bench, "12312");
}

static void what_a_dead_nf_held_is_free_and_its_packets_pass(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 4000);
    bench->nf[0] = (struct nf){.is_inline = true, .stands = true};
    start(bench, &plain, 2, false);
    turn(bench, 20);
    assert_int_equal(bench->status, MB_WORKER_RUNNING);
    assert_int_equal(counters(bench).output_packets, 0);
    mb_worker_detach(bench->worker, 0, -9);
    mb_worker_detach(bench->worker, 0, -9);
    turn(bench, 100);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[1].seen, 4000);
    assert_int_equal(bench->nf[1].exits_seen, 1);
    assert_int_equal(counters(bench).output_packets, 4000);
}

static void an_nf_that_dies_before_the_input_begins_is_told_of(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 5);
    start(bench, &plain, 2, false);
    bench->nf[0].stands = true;
    mb_worker_detach(bench->worker, 0, -9);
    turn(bench, 100);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[1].exits_seen, 1);
    assert_int_equal(bench->nf[1].exit_status, -9);
    assert_int_equal(bench->nf[1].seen, 5);
}

static void packets_of_a_dead_nf_that_fails_closed_are_dropped(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 5);
    bench->nf[0] = (struct nf){.is_inline = true, .stands = true};
    start(bench, &plain, 2, true);
    mb_worker_detach(bench->worker, 0, 1);
    turn(bench, 100);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(counters(bench).by_reason[MB_REASON_NF_FAILED_CLOSED], 5);
    assert_output(bench, "");
}

static void stop_ends_the_run_in_order(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 900);
    bench->nf[0].stands = true;
    start(bench, &(struct mb_worker_config){.batch = 10}, 1, false);
    bench->status = mb_worker_run(bench->worker, 1);
    mb_worker_stop(bench->worker);
    bench->nf[0].stands = false;
    turn(bench, 100);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_true(bench->nf[0].saw_end);
    assert_int_equal(bench->nf[0].seen, 10);
    assert_int_equal(counters(bench).output_packets, 10);
}

static void a_worker_is_not_run_before_it_is_connected(void **state) {
    struct bench *bench = *state;
    char error[MB_ERROR_SIZE];
    open_input(bench);
    const struct mb_worker_config config = {.log_slots = SLOTS};
    bench->worker = mb_worker_create(&config, bench->source, NULL, error);
    assert_int_equal(mb_worker_run(bench->worker, SLICE), MB_WORKER_FAILED);
    assert_non_null(strstr(mb_worker_complaint(bench->worker), "before it had its subscriptions"));
}

static const struct mb_nf_geometry passive = {.log_slots = SLOTS};
static const struct mb_nf_geometry judging = {.log_slots = SLOTS, .is_inline = true};

static void unsound_configuration_is_refused_in_words(void **state) {
    struct bench *bench = *state;
    char error[MB_ERROR_SIZE];
    open_input(bench);
    const struct mb_worker_config odd = {.log_slots = SLOTS + 1};
    assert_null(mb_worker_create(&odd, bench->source, NULL, error));
    assert_non_null(strstr(error, "expected a power of two"));

    const struct mb_worker_config config = {.log_slots = SLOTS};
    bench->worker = mb_worker_create(&config, bench->source, NULL, error);
    make_reader(&bench->nf[0], 0);
    const int area = mb_reader_area_fd(bench->nf[0].reader);
    assert_int_equal(mb_worker_attach(bench->worker, 1, area, &passive, false), -EINVAL);
    assert_int_equal(mb_worker_attach(bench->worker, 0, area, &judging, false), -EINVAL);
    assert_int_equal(mb_worker_attach(bench->worker, 0, area, &passive, false), 0);

    const struct mb_subscription of_nobody = {.nf = 1};
    assert_int_equal(mb_worker_subscribe(bench->worker, &of_nobody, 1, NULL, 0, error), -EINVAL);
    assert_non_null(strstr(error, "NF 1"));
}

static void a_filter_that_libpcap_rejects_is_named(void **state) {
    struct bench *bench = *state;
    char error[MB_ERROR_SIZE];
    open_input(bench);
    const struct mb_worker_config config = {.log_slots = SLOTS, .stack.link_type = 1};
    bench->worker = mb_worker_create(&config, bench->source, NULL, error);
    make_reader(&bench->nf[0], 0);
    const int area = mb_reader_area_fd(bench->nf[0].reader);
    assert_int_equal(mb_worker_attach(bench->worker, 0, area, &passive, false), 0);
    const struct mb_subscription wrong = {.filter = "tcp prot 80"};
    assert_int_equal(mb_worker_subscribe(bench->worker, &wrong, 1, NULL, 0, error), -EINVAL);
    assert_non_null(strstr(error, "tcp prot 80"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define WORKER_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
        WORKER_TEST(all_packets_reach_the_nf_and_the_output),
        WORKER_TEST(a_worker_without_nfs_copies_its_input),
        WORKER_TEST(the_worker_does_not_run_far_ahead_of_who_gives_commands),
        WORKER_TEST(a_dead_nf_with_commands_holds_nothing_up),
        WORKER_TEST(unsubscribing_saves_the_rest_of_a_flow),
        WORKER_TEST(commands_of_the_last_packets_are_too_late),
        WORKER_TEST(the_packet_limit_ends_the_input),
        WORKER_TEST(a_worker_goes_on_behind_packets_that_it_leaves_out),
        WORKER_TEST(packets_come_at_the_pace_that_is_asked_for),
        WORKER_TEST(a_high_pace_is_soon_over),
        WORKER_TEST(a_capture_that_ends_inside_a_packet_is_a_warning),
        WORKER_TEST(an_nf_that_stands_still_holds_the_input_back),
        WORKER_TEST(verdicts_decide_what_comes_out),
        WORKER_TEST(packets_wait_for_the_inline_nf),
        WORKER_TEST(what_a_dead_nf_held_is_free_and_its_packets_pass),
        WORKER_TEST(an_nf_that_dies_before_the_input_begins_is_told_of),
        WORKER_TEST(packets_of_a_dead_nf_that_fails_closed_are_dropped),
        WORKER_TEST(stop_ends_the_run_in_order),
        WORKER_TEST(a_worker_is_not_run_before_it_is_connected),
        WORKER_TEST(unsound_configuration_is_refused_in_words),
        WORKER_TEST(a_filter_that_libpcap_rejects_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
