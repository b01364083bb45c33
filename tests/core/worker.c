/*
 * The worker with real areas and readers, all moved by one thread: a slice of the worker, a poll of
 * each NF, and so on.
 */
#include "microbox/stack/worker.h"

#include "capture_bytes.h"
#include "microbox/bus/reader.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/counters.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

enum { SLOTS = MB_LOG_SLOTS_MIN, SLICE = 200000, CAPACITY = 2 * MB_ENTRIES_PER_PACKET };
enum { COMMANDS = 4096, DELAY = 10 }; /* packets until a command takes effect */
enum { NFS = 2, FRAME_SIZE = 14 + 20 + 8 + 4, NANOSECONDS = 0xa1b23c4d };

/* What an NF does when it meets a packet to this UDP port. */
struct rule {
    uint16_t port;
    enum mb_verdict verdict;
};

struct nf {
    struct mb_reader *reader;
    struct mb_delivery deliveries[CAPACITY];
    struct rule rule;
    bool is_inline;
    bool stands; /* does nothing */
    bool gives_commands;
    bool unsubscribes; /* from each flow, at its first packet */
    uint64_t seen;
    uint64_t exits_seen;
    int32_t exit_status;
    bool saw_end;
};

struct bench {
    struct capture_bytes capture;
    struct mb_source *source;
    struct mb_sink *sink;
    int output;
    struct mb_worker *worker;
    struct nf nf[NFS];
    enum mb_worker_status status;
};

/* --- traffic: UDP datagrams of 4 bytes over Ethernet, one a second --- */

static void append_datagram(struct capture_bytes *capture, uint32_t second, uint16_t port) {
    const uint8_t frame[FRAME_SIZE] = {
        [12] = 0x08,
        0x00,
        [14] = 0x45,
        [17] = FRAME_SIZE - 14,
        [22] = 64,
        17,
        [26] = 10,
        0,
        0,
        1,
        10,
        0,
        0,
        2,
        [34] = 0x30,
        0x39,
        (uint8_t)(port >> 8),
        (uint8_t)port,
        0,
        12,
    };
    append_pcap_record(capture, second, 0, FRAME_SIZE, FRAME_SIZE);
    append(capture, frame, sizeof frame);
}

static void begin_capture(struct bench *bench) {
    append_pcap_header(&bench->capture, NANOSECONDS, 65535, 1);
}

/* Datagrams to the ports 1, 2, 3, 1, 2, 3, ... */
static void append_datagrams(struct bench *bench, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        append_datagram(&bench->capture, i, (uint16_t)(1 + i % 3));
}

/* --- the chain --- */

static void make_reader(struct nf *nf, uint32_t index) {
    struct mb_reader_config config = {
        .nf = index,
        .log_slots = SLOTS,
        .geometry = {.log_slots = SLOTS, .is_inline = nf->is_inline},
        .subscriptions = 1,
        .bit = {(uint8_t)index},
        .wait_policy = {0},
    };
    memset(config.types[0], 0xff, sizeof config.types[0]);
    if (nf->gives_commands) {
        config.geometry.command_slots = COMMANDS;
        config.command_delay = DELAY;
    }
    int error = 0;
    nf->reader = mb_reader_create(&config, &error);
    assert_non_null(nf->reader);
}

static void set_type(struct mb_subscription *subscription, unsigned type) {
    subscription->types[type / 64] |= UINT64_C(1) << type % 64;
}

static void open_input(struct bench *bench) {
    char error[MB_ERROR_SIZE];
    const int fd = capture_file(&bench->capture);
    bench->source = mb_source_open(fd, "test", error);
    close(fd);
    assert_non_null(bench->source);
}

/* NFs are attached; subscriptions are to packets and to what the system says. */
static void start(struct bench *bench, const struct mb_worker_config *config, uint32_t nfs,
                  bool fails_closed) {
    char error[MB_ERROR_SIZE];
    struct mb_worker_config filled = *config;
    filled.log_slots = SLOTS;
    filled.stack.link_type = 1;
    filled.stack.flows_max = 16;
    filled.stack.command_delay = DELAY;
    open_input(bench);
    bench->output = memfd_create("output", MFD_CLOEXEC);
    bench->sink = mb_sink_open(dup(bench->output), 1, error);
    bench->worker = mb_worker_create(&filled, bench->source, bench->sink, error);
    if (!bench->worker)
        fail_msg("%s", error);
    struct mb_subscription subscriptions[NFS] = {0};
    struct mb_switch switches[NFS] = {0};
    uint32_t switch_count = 0;
    for (uint32_t i = 0; i < nfs; i++) {
        make_reader(&bench->nf[i], i);
        const int area = mb_reader_area_fd(bench->nf[i].reader);
        assert_int_equal(mb_worker_attach(bench->worker, i, area, bench->nf[i].is_inline,
                                          fails_closed, 0, 0,
                                          bench->nf[i].gives_commands ? COMMANDS : 0),
                         0);
        assert_int_equal(mb_reader_map_log(bench->nf[i].reader, mb_worker_log_fd(bench->worker)),
                         0);
        subscriptions[i].nf = i;
        subscriptions[i].bit = (uint8_t)i;
        set_type(&subscriptions[i], MB_TYPE_PACKET_IP_UDP);
        set_type(&subscriptions[i], MB_TYPE_SYSTEM_NF_EXITED);
        set_type(&subscriptions[i], MB_TYPE_SYSTEM_END_OF_INPUT);
        if (bench->nf[i].gives_commands)
            switches[switch_count++] = (struct mb_switch){.nf = i, .mask = {UINT64_C(1) << i}};
    }
    if (mb_worker_subscribe(bench->worker, subscriptions, nfs, NULL, 0, error) != 0)
        fail_msg("%s", error);
    if (switch_count != 0 &&
        mb_worker_accept_commands(bench->worker, switches, switch_count, error) != 0)
        fail_msg("%s", error);
}

static void see(struct nf *nf, const struct mb_entry *entry) {
    switch (entry->type) {
    case MB_TYPE_SYSTEM_END_OF_INPUT:
        nf->saw_end = true;
        return;
    case MB_TYPE_SYSTEM_NF_EXITED:
        nf->exits_seen++;
        nf->exit_status = entry->payload.nf_exited.status;
        return;
    default:
        nf->seen++;
        if (nf->is_inline && entry->payload.packet.tuple.destination_port == nf->rule.port)
            mb_reader_judge(nf->reader, entry->sequence, nf->rule.verdict);
    }
}

static void move_nf(struct nf *nf) {
    if (!nf->reader || nf->stands)
        return;
    uint32_t broken;
    const int count = mb_reader_poll(nf->reader, nf->deliveries, CAPACITY, 0, &broken);
    assert_true(count >= 0);
    for (int i = 0; i < count; i++) {
        const struct mb_delivery *delivery = &nf->deliveries[i];
        if (nf->gives_commands && mb_reader_wanted(nf->reader, delivery) == 0)
            continue;
        see(nf, delivery->entry);
        if (nf->unsubscribes && delivery->entry->flow != 0)
            assert_int_equal(mb_reader_command(nf->reader, delivery, MB_COMMAND_UNSUBSCRIBE, 1, 3),
                             0);
    }
    mb_reader_advance(nf->reader);
}

/* Some turns of everybody; ends early when the worker is done. */
static void turn(struct bench *bench, unsigned turns) {
    for (unsigned i = 0; i < turns && bench->status == MB_WORKER_RUNNING; i++) {
        bench->status = mb_worker_run(bench->worker, SLICE);
        for (unsigned index = 0; index < NFS; index++)
            move_nf(&bench->nf[index]);
    }
}

static struct mb_stack_counters counters(const struct bench *bench) {
    struct mb_area area = {0};
    assert_int_equal(
        mb_area_map(&area, mb_worker_counters_fd(bench->worker), mb_worker_counters_size()), 0);
    const struct mb_stack_counters copy = *(const struct mb_stack_counters *)area.base;
    mb_area_destroy(&area);
    return copy;
}

/* The destination ports of the packets that came out, as digits. */
static void assert_output(struct bench *bench, const char *expected) {
    char error[MB_ERROR_SIZE];
    char ports[1024] = "";
    size_t count = 0;
    struct mb_source *source = mb_source_open(bench->output, "output", error);
    assert_non_null(source);
    struct mb_frame frame;
    while (mb_source_read(source, &frame, 1))
        ports[count++] = (char)('0' + mb_source_pool(source)[frame.offset + 37]);
    mb_source_close(source);
    assert_string_equal(ports, expected);
}

static int set_up(void **state) {
    struct bench *bench = calloc(1, sizeof *bench);
    bench->output = -1;
    begin_capture(bench);
    *state = bench;
    return bench == NULL;
}

static int tear_down(void **state) {
    struct bench *bench = *state;
    mb_worker_destroy(bench->worker);
    for (unsigned i = 0; i < NFS; i++)
        if (bench->nf[i].reader)
            mb_reader_destroy(bench->nf[i].reader);
    if (bench->sink)
        mb_sink_close(bench->sink);
    mb_source_close(bench->source);
    if (bench->output >= 0)
        close(bench->output);
    free(bench);
    return 0;
}

/* --- tests --- */

static const struct mb_worker_config plain = {0};

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
    assert_int_equal(mb_worker_attach(bench->worker, 1, area, false, false, 0, 0, 0), -EINVAL);
    assert_int_equal(mb_worker_attach(bench->worker, 0, area, true, false, 0, 0, 0), -EINVAL);
    assert_int_equal(mb_worker_attach(bench->worker, 0, area, false, false, 0, 0, 0), 0);

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
    assert_int_equal(mb_worker_attach(bench->worker, 0, area, false, false, 0, 0, 0), 0);
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
