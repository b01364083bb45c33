/*
 * Each allocation, mapping and system call of the core fails once, and then from there on: the
 * caller is told in a sentence, and nothing is leaked.
 *
 * A scenario does all from making to freeing. It is run again and again, with the first, the
 * second, ... of its calls failing, until one run meets no failure any more: so whatever the core
 * comes to allocate is tried as well.
 */
#include "capture_bytes.h"
#include "failing_calls.h"
#include "microbox/bus/log.h"
#include "microbox/bus/reader.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/module_load.h"
#include "microbox/stack/worker.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

enum { SLOTS = MB_LOG_SLOTS_MIN, CALLS_MAX = 1000, TURNS = 100, SLICE = 100000 };

static const char *sample_path; /* a capture */
static const char *module_path; /* a user's module */

/* Returns whether all went well; if not, `error` says why. */
typedef bool scenario(char error[MB_ERROR_SIZE]);

static bool explain(int result, char error[MB_ERROR_SIZE]) {
    if (result != 0)
        snprintf(error, MB_ERROR_SIZE, "%s", strerror(-result));
    return result == 0;
}

/* --- what is done --- */

static bool read_all(int fd, char error[MB_ERROR_SIZE]) {
    struct mb_source *source = mb_source_open(fd, "capture", error);
    if (source == NULL)
        return false;
    struct mb_frame frames[4];
    while (mb_source_read(source, frames, 4) != 0)
        continue;
    snprintf(error, MB_ERROR_SIZE, "%s", mb_source_complaint(source));
    const bool is_whole = mb_source_status(source) == MB_SOURCE_END;
    mb_source_close(source);
    return is_whole;
}

static struct capture_bytes capture;

static bool reads_pcap(char error[MB_ERROR_SIZE]) {
    static int fd = -1;
    if (fd < 0)
        fd = open(sample_path, O_RDONLY | O_CLOEXEC);
    return read_all(fd, error);
}

static int pcapng_fd = -1;

static bool reads_pcapng(char error[MB_ERROR_SIZE]) {
    return read_all(pcapng_fd, error);
}

static int old_pcap_fd = -1;

static bool reads_by_libpcap(char error[MB_ERROR_SIZE]) {
    return read_all(old_pcap_fd, error);
}

static bool writes_captures(char error[MB_ERROR_SIZE]) {
    static const uint8_t bytes[60];
    const int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct mb_sink *sink = mb_sink_open(fd, 1, error);
    if (sink == NULL)
        return false;
    const struct mb_frame frame = {
        .length = sizeof bytes, .wire_length = sizeof bytes, .link_type = 1};
    int result = 0;
    for (unsigned i = 0; i < 30000 && result == 0; i++)
        result = mb_sink_write(sink, &frame, bytes);
    const int closed = mb_sink_close(sink);
    return explain(result != 0 ? result : closed, error);
}

static bool shares_areas(char error[MB_ERROR_SIZE]) {
    struct mb_log log;
    int result = mb_log_create(&log, SLOTS);
    if (result != 0)
        return explain(result, error);
    struct mb_area area = {0};
    result = mb_area_map(&area, log.area.fd, mb_log_size(SLOTS));
    mb_area_destroy(&area);
    mb_log_destroy(&log);
    return explain(result, error);
}

static struct mb_subscription everything(const char *filter, uint8_t bit) {
    struct mb_subscription subscription = {.filter = filter, .bit = bit};
    memset(subscription.types, 0xff, sizeof subscription.types);
    return subscription;
}

static const struct mb_timer_subscription timers[] = {{.period = 1000000, .mask = {1, 0}},
                                                      {.period = 3000000, .mask = {2, 0}}};

/* Filters of every kind: of a flow, of a packet, of the link layer, two alike. */
static uint32_t subscribe(struct mb_subscription subscriptions[5]) {
    static const char *const filters[5] = {"", "tcp port 80", "tcp[13] & 2 != 0",
                                           "ether host 1:2:3:4:5:6", "tcp port 80"};
    for (uint8_t i = 0; i < 5; i++)
        subscriptions[i] = everything(filters[i], i);
    return 5;
}

static bool handle_all(struct mb_stack *stack, struct mb_log *log, struct mb_source *source) {
    struct mb_frame frames[MB_BATCH];
    struct mb_handled handled[MB_BATCH];
    size_t count;
    while ((count = mb_source_read(source, frames, MB_BATCH)) != 0) {
        for (size_t done = 0; done < count;) {
            done += mb_stack_handle(stack, mb_source_pool(source), frames + done, count - done,
                                    handled);
            mb_log_commit(log);
        }
    }
    while (!mb_stack_finish(stack, MB_REASON_END_SHUTDOWN))
        mb_log_commit(log);
    return true;
}

static bool makes_stacks(char error[MB_ERROR_SIZE]) {
    struct mb_log log;
    int result = mb_log_create(&log, SLOTS);
    if (result != 0)
        return explain(result, error);
    struct mb_subscription subscriptions[5];
    const uint32_t count = subscribe(subscriptions);
    const struct mb_stack_config config = {
        .flows_max = 64, .held_segments_max = 64, .link_type = 1};
    struct mb_stack *stack = mb_stack_create(&config, &log, subscriptions, count, timers, 2, error);
    mb_stack_destroy(stack);
    mb_log_destroy(&log);
    return stack != NULL;
}

static bool loads_modules(char error[MB_ERROR_SIZE]) {
    struct mb_loaded_module *module = mb_module_open(module_path, error);
    mb_module_close(module);
    return module != NULL;
}

/* --- a whole worker with one NF, moved by one thread --- */

struct run {
    struct mb_source *source;
    struct mb_sink *sink;
    struct mb_worker *worker;
    struct mb_reader *reader;
};

static bool open_files(struct run *run, char error[MB_ERROR_SIZE]) {
    const int input = open(sample_path, O_RDONLY | O_CLOEXEC);
    run->source = mb_source_open(input, "sample", error);
    close(input);
    if (run->source == NULL)
        return false;
    run->sink = mb_sink_open(open("/dev/null", O_WRONLY | O_CLOEXEC), 1, error);
    return run->sink != NULL;
}

static bool make_reader(struct run *run, char error[MB_ERROR_SIZE]) {
    struct mb_reader_config config = {
        .log_slots = SLOTS,
        .geometry = {.log_slots = SLOTS, .own_slots = 16, .ring_bytes = 4096, .is_inline = true},
        .subscriptions = 5,
        .bit = {0, 1, 2, 3, 4},
    };
    memset(config.types, 0xff, sizeof config.types);
    int result = 0;
    run->reader = mb_reader_create(&config, &result);
    return explain(run->reader != NULL ? 0 : result, error);
}

static bool connect_both(struct run *run, char error[MB_ERROR_SIZE]) {
    int result =
        mb_worker_attach(run->worker, 0, mb_reader_area_fd(run->reader), true, false, 16, 4096, 0);
    if (result == 0)
        result = mb_reader_map_log(run->reader, mb_worker_log_fd(run->worker));
    if (result != 0)
        return explain(result, error);
    struct mb_subscription subscriptions[5];
    const uint32_t count = subscribe(subscriptions);
    return mb_worker_subscribe(run->worker, subscriptions, count, timers, 2, error) == 0;
}

static int read_events(struct run *run) {
    static struct mb_delivery deliveries[2 * MB_ENTRIES_PER_PACKET];
    uint32_t broken;
    const int count =
        mb_reader_poll(run->reader, deliveries, 2 * MB_ENTRIES_PER_PACKET, 0, &broken);
    mb_reader_advance(run->reader);
    return count < 0 ? count : 0;
}

static bool run_to_the_end(struct run *run, char error[MB_ERROR_SIZE]) {
    enum mb_worker_status status = MB_WORKER_RUNNING;
    for (unsigned turn = 0; turn < TURNS && status == MB_WORKER_RUNNING; turn++) {
        status = mb_worker_run(run->worker, SLICE);
        const int result = read_events(run);
        if (result != 0)
            return explain(result, error);
    }
    snprintf(error, MB_ERROR_SIZE, "%s", mb_worker_complaint(run->worker));
    return status == MB_WORKER_DONE && error[0] == '\0';
}

static bool run_worker(struct run *run, char error[MB_ERROR_SIZE]) {
    if (!open_files(run, error) || !make_reader(run, error))
        return false;
    const struct mb_worker_config config = {
        .stack = {.flows_max = 64, .held_segments_max = 64, .link_type = 1},
        .log_slots = SLOTS,
    };
    run->worker = mb_worker_create(&config, run->source, run->sink, error);
    return run->worker != NULL && connect_both(run, error) && run_to_the_end(run, error);
}

static bool runs_workers(char error[MB_ERROR_SIZE]) {
    struct run run = {0};
    bool is_well = run_worker(&run, error);
    mb_worker_destroy(run.worker);
    mb_reader_destroy(run.reader);
    const int closed = run.sink != NULL ? mb_sink_close(run.sink) : 0;
    if (run.source != NULL)
        mb_source_close(run.source);
    return (closed == 0 || explain(closed, error)) && is_well;
}

/* --- with the n-th call failing --- */

static unsigned open_descriptors(void) {
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

/* Returns whether a call failed at all. */
static bool fails_cleanly(scenario *run, uint64_t n, enum failing_calls_mode mode) {
    char error[MB_ERROR_SIZE] = "";
    const unsigned descriptors = open_descriptors();
    failing_calls_arm(n, mode);
    const bool is_well = run(error);
    const uint64_t calls = failing_calls_disarm();
    const char *failed = failing_calls_failed();
    if (calls < n && !is_well)
        fail_msg("nothing failed, and yet: %s", error);
    if (calls >= n && is_well && !failing_calls_is_advice())
        fail_msg("call %llu, %s, failed, and nobody was told", (unsigned long long)n, failed);
    if (!is_well && error[0] == '\0')
        fail_msg("call %llu, %s, failed without a sentence", (unsigned long long)n, failed);
    if (failing_calls_allocations() != 0 || failing_calls_mappings() != 0)
        fail_msg("call %llu, %s, failed: %lld allocations, %lld mappings left",
                 (unsigned long long)n, failed, (long long)failing_calls_allocations(),
                 (long long)failing_calls_mappings());
    if (open_descriptors() != descriptors)
        fail_msg("call %llu, %s, failed: %u descriptors before, %u after", (unsigned long long)n,
                 failed, descriptors, open_descriptors());
    return calls >= n;
}

static void every_call_fails(void **state) {
    scenario *run = *state;
    char error[MB_ERROR_SIZE] = "";
    run(error); /* what is made once in a process is made now */
    for (unsigned mode = FAIL_ONCE; mode <= FAIL_FOREVER; mode++) {
        uint64_t n = 1;
        while (fails_cleanly(run, n, (enum failing_calls_mode)mode))
            assert_true(n++ < CALLS_MAX);
        assert_true(n > 1);
    }
}

/* Handling packets makes no call at all that could fail: no allocation, no system call. */
static void packets_cost_no_calls(void **state) {
    (void)state;
    char error[MB_ERROR_SIZE] = "";
    struct mb_log log;
    assert_int_equal(mb_log_create(&log, 1 << 14), 0);
    struct mb_subscription subscriptions[5];
    const uint32_t count = subscribe(subscriptions);
    const struct mb_stack_config config = {.flows_max = 64, .link_type = 1};
    struct mb_stack *stack = mb_stack_create(&config, &log, subscriptions, count, timers, 2, error);
    assert_string_equal(error, "");
    const int fd = open(sample_path, O_RDONLY | O_CLOEXEC);
    struct mb_source *source = mb_source_open(fd, "sample", error);
    assert_non_null(source);
    failing_calls_arm(0, FAIL_ONCE);
    handle_all(stack, &log, source);
    assert_int_equal(failing_calls_disarm(), 0);
    assert_true(log.next > 0);
    mb_source_close(source);
    close(fd);
    mb_stack_destroy(stack);
    mb_log_destroy(&log);
}

static void make_captures(void) {
    append_section(&capture);
    append_interface(&capture, 1, 0);
    append_enhanced_packet(&capture, 0, 1, 60, 60);
    pcapng_fd = capture_file(&capture);
    capture.length = 0;
    append32(&capture, 0xa1b2c3d4);
    append16(&capture, 2);
    append16(&capture, 3); /* before 2.4: libpcap's */
    append64(&capture, 0);
    append32(&capture, 65535);
    append32(&capture, 1);
    append_pcap_record(&capture, 1, 0, 60, 60);
    append_pattern(&capture, 0, 60);
    old_pcap_fd = capture_file(&capture);
}

int main(int count, char **arguments) {
    if (count != 3)
        return 2;
    sample_path = arguments[1];
    module_path = arguments[2];
    make_captures();
#define EVERY_CALL_OF(scenario)                                                                    \
    { #scenario, every_call_fails, NULL, NULL, (void *)scenario }
    const struct CMUnitTest tests[] = {
        EVERY_CALL_OF(reads_pcap),
        EVERY_CALL_OF(reads_pcapng),
        EVERY_CALL_OF(reads_by_libpcap),
        EVERY_CALL_OF(writes_captures),
        EVERY_CALL_OF(shares_areas),
        EVERY_CALL_OF(makes_stacks),
        EVERY_CALL_OF(loads_modules),
        EVERY_CALL_OF(runs_workers),
        cmocka_unit_test(packets_cost_no_calls),
    };
    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
