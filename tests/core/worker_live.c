/* A worker whose input comes as it likes: packets at once, memory that is used again, and time that
 * goes on while nothing comes. */
#include "worker_fixture.h"

#include <fcntl.h>
#include <time.h>

enum { HEADER = 24, RECORD = 16 + FRAME_SIZE, WINDOW = 8192, PIPE_SURELY = 4096 };

static const uint64_t MILLISECOND = 1000000;
static const uint64_t SECOND = 1000000000;

struct live {
    struct bench *bench;
    int writer; /* -1: ended */
    size_t sent;
};

/* The capture's header was read before. */
static struct live go_live(struct bench *bench, uint64_t window) {
    struct capture_bytes *head = calloc(1, sizeof *head);
    char error[MB_ERROR_SIZE];
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    append(head, bench->capture.bytes, HEADER);
    const int fd = capture_file(head);
    bench->source = mb_source_open_live(ends[0], fd, window, "test", error);
    if (!bench->source)
        fail_msg("%s", error);
    free(head);
    close(fd);
    close(ends[0]);
    return (struct live){bench, ends[1], HEADER};
}

static void send_records(struct live *live, size_t count) {
    const size_t length = count * RECORD;
    const uint8_t *bytes = live->bench->capture.bytes + live->sent;
    assert_true(live->sent + length <= live->bench->capture.length);
    assert_int_equal(write(live->writer, bytes, length), length);
    live->sent += length;
}

static void end_input(struct live *live) {
    close(live->writer);
    live->writer = -1;
}

/* Sends the rest as the pipe has room, and lets everybody move, for so many turns. */
static void stream_on(struct live *live, unsigned turns) {
    for (unsigned i = 0; i < turns && live->bench->status == MB_WORKER_RUNNING; i++) {
        const size_t left = (live->bench->capture.length - live->sent) / RECORD;
        const size_t most = PIPE_SURELY / RECORD;
        if (left != 0 && !mb_source_wait(live->bench->source, 0))
            send_records(live, left < most ? left : most);
        else if (left == 0 && live->writer >= 0)
            end_input(live);
        turn(live->bench, 1);
    }
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* The output is the capture, byte for byte behind its header. */
static void assert_same_packets(const struct bench *bench) {
    const size_t length = bench->capture.length - HEADER;
    uint8_t *output = malloc(length + 1);
    assert_int_equal(pread(bench->output, output, length + 1, HEADER), length);
    assert_memory_equal(output, bench->capture.bytes + HEADER, length);
    free(output);
}

static void packets_are_handled_as_they_come(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 7);
    struct live live = go_live(bench, WINDOW);
    start(bench, &plain, 1, false);
    send_records(&live, 3);
    turn(bench, 10);
    assert_int_equal(bench->nf[0].seen, 3);
    turn(bench, 10);
    assert_false(bench->nf[0].saw_end);
    send_records(&live, 4);
    turn(bench, 10);
    assert_int_equal(bench->nf[0].seen, 7);
    assert_int_equal(bench->status, MB_WORKER_RUNNING);
    end_input(&live);
    turn(bench, 10);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_true(bench->nf[0].saw_end);
    assert_output(bench, "1231231");
    assert_int_equal(counters(bench).input_bytes, bench->capture.length);
    assert_int_equal(counters(bench).packets_late, 0);
}

static void a_record_that_is_cut_off_is_warned_of(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 2);
    struct live live = go_live(bench, WINDOW);
    start(bench, &plain, 1, false);
    send_records(&live, 1);
    assert_int_equal(write(live.writer, bench->capture.bytes + live.sent, 20), 20);
    end_input(&live);
    turn(bench, 10);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[0].seen, 1);
    assert_string_equal(mb_worker_warning(bench->worker),
                        "the file ends at byte 106, inside the record that begins at byte 86");
}

static void the_packet_limit_ends_an_input_that_goes_on(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 7);
    struct live live = go_live(bench, WINDOW);
    start(bench, &(struct mb_worker_config){.packet_limit = 4}, 1, false);
    send_records(&live, 7);
    turn(bench, 20);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[0].seen, 4);
    end_input(&live);
}

static void a_worker_that_is_stopped_waits_for_no_input(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 3);
    struct live live = go_live(bench, WINDOW);
    start(bench, &plain, 1, false);
    send_records(&live, 3);
    turn(bench, 10);
    mb_worker_stop(bench->worker);
    turn(bench, 10);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[0].seen, 3);
    assert_true(bench->nf[0].saw_end);
    end_input(&live);
}

/* --- memory --- */

static void memory_is_used_again(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 4000);
    assert_true(bench->capture.length > 25 * WINDOW);
    struct live live = go_live(bench, WINDOW);
    start(bench, &plain, 2, false);
    stream_on(&live, 10000);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[0].seen, 4000);
    assert_int_equal(bench->nf[1].seen, 4000);
    assert_same_packets(bench);
}

/* Frames at the gate wait for a verdict, and lie where they lie. */
static void who_reads_slowly_holds_the_memory(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 1000);
    bench->nf[0].is_inline = true;
    struct live live = go_live(bench, WINDOW);
    start(bench, &plain, 2, false);
    bench->nf[0].stands = true;
    stream_on(&live, 200);
    const uint64_t seen = bench->nf[1].seen;
    assert_true(seen > WINDOW / 2 / RECORD && seen <= WINDOW / RECORD);
    assert_int_equal(counters(bench).window_waits, 1);
    assert_int_equal(counters(bench).output_packets, 0);
    bench->nf[0].stands = false;
    stream_on(&live, 10000);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[0].seen, 1000);
    assert_int_equal(bench->nf[1].seen, 1000);
    assert_same_packets(bench);
}

/* Its log has gone on meanwhile: what it has not read is not there any more, for anybody. */
static void who_dies_holds_no_memory(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 1000);
    struct live live = go_live(bench, WINDOW);
    start(bench, &plain, 2, false);
    bench->nf[0].stands = true;
    stream_on(&live, 200);
    assert_int_equal(counters(bench).window_waits, 1);
    mb_worker_detach(bench->worker, 0, -9);
    stream_on(&live, 10000);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(bench->nf[1].seen, 1000);
    assert_same_packets(bench);
}

/* --- time --- */

static const struct mb_worker_config soon_silent = {
    .silence = 20000000, .stack.udp_timeout = 50000000, .stack.udp_unanswered_timeout = 50000000};

static void turn_until_no_flow_is_left(struct bench *bench) {
    const uint64_t began = now();
    while (counters(bench).flows_active != 0 && now() - began < 20 * SECOND)
        turn(bench, 1);
}

static void flows_time_out_in_silence(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 1);
    struct live live = go_live(bench, WINDOW);
    bench->nf[0].reads_flows = true;
    start(bench, &soon_silent, 1, false);
    send_records(&live, 1);
    turn(bench, 1);
    const uint64_t began = now();
    assert_int_equal(counters(bench).flows_active, 1);
    turn_until_no_flow_is_left(bench);
    assert_int_equal(counters(bench).flows_active, 0);
    assert_true(now() - began >= 65 * MILLISECOND);
    assert_int_equal(bench->status, MB_WORKER_RUNNING);
    assert_false(bench->nf[0].saw_end);
    end_input(&live);
    turn(bench, 10);
    assert_int_equal(bench->status, MB_WORKER_DONE);
}

/* Whoever comes meanwhile does not hold the time up: no turn that began when the flow was due has
 * left it. */
static void a_pause_in_silence_costs_no_time(void **state) {
    static const uint64_t INEXACT = 100000000; /* ends of flows are looked for now and then */
    static const struct mb_worker_config config = {.silence = 20000000,
                                                   .stack.udp_timeout = 500000000,
                                                   .stack.udp_unanswered_timeout = 500000000};
    struct bench *bench = *state;
    append_datagrams(bench, 1);
    struct live live = go_live(bench, WINDOW);
    bench->nf[0].reads_flows = true;
    start(bench, &config, 1, false);
    send_records(&live, 1);
    turn(bench, 2);
    const uint64_t quiet = now();
    assert_int_equal(counters(bench).flows_active, 1);
    while (now() - quiet < 300 * MILLISECOND)
        turn(bench, 1);
    mb_worker_pause(bench->worker);
    while (bench->status == MB_WORKER_RUNNING)
        turn(bench, 1);
    assert_int_equal(bench->status, MB_WORKER_PAUSED);
    mb_worker_resume(bench->worker);
    bench->status = MB_WORKER_RUNNING;
    uint64_t began = now();
    for (turn(bench, 1); counters(bench).flows_active != 0; turn(bench, 1)) {
        assert_true(began - quiet < config.silence + config.stack.udp_timeout + INEXACT);
        began = now();
    }
    end_input(&live);
}

static void append_datagram_at(struct bench *bench, uint32_t nanoseconds) {
    const size_t before = bench->capture.length;
    append_datagram(&bench->capture, 0, 1);
    memcpy(bench->capture.bytes + before + 4, &nanoseconds, sizeof nanoseconds);
}

/* They were on their way for longer than is believed: time does not go back for them. */
static void packets_that_come_late_are_counted(void **state) {
    struct bench *bench = *state;
    append_datagram_at(bench, 0);
    append_datagram_at(bench, 10);
    append_datagram_at(bench, 20);
    append_datagram(&bench->capture, 1000, 1);
    append_datagram(&bench->capture, 1000, 1);
    struct live live = go_live(bench, WINDOW);
    bench->nf[0].reads_flows = true;
    start(bench, &soon_silent, 1, false);
    send_records(&live, 1);
    turn(bench, 1);
    turn_until_no_flow_is_left(bench);
    send_records(&live, 1);
    turn(bench, 2);
    send_records(&live, 1);
    turn(bench, 2);
    assert_int_equal(counters(bench).packets_late, 2);
    assert_int_equal(counters(bench).flows_udp, 2);
    send_records(&live, 2);
    end_input(&live);
    turn(bench, 10);
    assert_int_equal(bench->status, MB_WORKER_DONE);
    assert_int_equal(counters(bench).packets_late, 2);
    assert_int_equal(counters(bench).time, 1000 * SECOND);
    assert_int_equal(bench->nf[0].seen, 5);
}

/* A file is read as fast as can be: between two packets of it passes no time but theirs. */
static void a_file_knows_no_silence(void **state) {
    struct bench *bench = *state;
    append_datagrams(bench, 100);
    bench->nf[0].gives_commands = true;
    start(bench, &soon_silent, 1, false);
    bench->nf[0].stands = true;
    const uint64_t began = now();
    while (now() - began < 100 * MILLISECOND)
        turn(bench, 1);
    const struct mb_stack_counters page = counters(bench);
    assert_int_equal(page.packets, DELAY);
    assert_int_equal(page.time, (DELAY - 1) * SECOND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(packets_are_handled_as_they_come, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_record_that_is_cut_off_is_warned_of, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_packet_limit_ends_an_input_that_goes_on, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_worker_that_is_stopped_waits_for_no_input, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(memory_is_used_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_reads_slowly_holds_the_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_dies_holds_no_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(flows_time_out_in_silence, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pause_in_silence_costs_no_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(packets_that_come_late_are_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_knows_no_silence, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
