/*
 * Each allocation, mapping and system call of the core fails once, and then from there on: the
 * caller is told in a sentence, and nothing is leaked.
 *
 * A scenario is run again and again, with the first, the second, ... of its calls failing, until
 * one run meets no failure any more: so whatever the core comes to allocate is tried as well.
 */
#include "capture_bytes.h"
#include "failing_calls.h"
#include "microbox/bus/log.h"
#include "microbox/stack/stack.h"
#include "scenarios.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

enum { CALLS_MAX = 1000 };

static const char *sample;     /* a capture, pcap */
static const char *module;     /* a user's module */
static char pcapng[64];        /* a capture */
static char only_libpcaps[64]; /* a capture in a format that only libpcap reads */

static unsigned open_descriptors(void) {
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

/* Runs it with the n-th call failing. Returns whether there was an n-th call. */
static bool fails_cleanly(const struct scenario *scenario, const char *file, uint64_t n,
                          enum failing_calls_mode mode) {
    char error[MB_ERROR_SIZE] = "";
    const unsigned descriptors = open_descriptors();
    failing_calls_arm(n, mode);
    const bool is_well = scenario->run(file, error);
    const uint64_t calls = failing_calls_disarm();
    const char *failed = failing_calls_failed();
    if (calls < n && !is_well)
        fail_msg("%s: nothing failed, and yet: %s", scenario->name, error);
    if (calls >= n && is_well && !failing_calls_is_advice())
        fail_msg("%s: call %llu, %s, failed, and nobody was told", scenario->name,
                 (unsigned long long)n, failed);
    if (!is_well && error[0] == '\0')
        fail_msg("%s: call %llu, %s, failed without a sentence", scenario->name,
                 (unsigned long long)n, failed);
    if (failing_calls_allocations() != 0 || failing_calls_mappings() != 0)
        fail_msg("%s: call %llu, %s, failed: %lld allocations, %lld mappings left", scenario->name,
                 (unsigned long long)n, failed, (long long)failing_calls_allocations(),
                 (long long)failing_calls_mappings());
    if (open_descriptors() != descriptors)
        fail_msg("%s: call %llu, %s, failed: %u descriptors before, %u after", scenario->name,
                 (unsigned long long)n, failed, descriptors, open_descriptors());
    return calls >= n;
}

static void every_call_fails(const struct scenario *scenario, const char *file) {
    char error[MB_ERROR_SIZE] = "";
    scenario->run(file, error); /* what is made once in a process is made now */
    for (unsigned mode = FAIL_ONCE; mode <= FAIL_FOREVER; mode++) {
        uint64_t n = 1;
        while (fails_cleanly(scenario, file, n, (enum failing_calls_mode)mode))
            assert_true(n++ < CALLS_MAX);
        assert_true(n > 1);
    }
}

static void on_captures(void **state) {
    (void)state;
    for (size_t i = 0; i < capture_scenario_count; i++)
        every_call_fails(&capture_scenarios[i], sample);
}

static void reading_pcapng(void **state) {
    (void)state;
    every_call_fails(&capture_scenarios[0], pcapng);
}

static void reading_what_only_libpcap_reads(void **state) {
    (void)state;
    every_call_fails(&capture_scenarios[0], only_libpcaps);
}

static void reading_a_stream(void **state) {
    (void)state;
    every_call_fails(&(struct scenario){"stream", scenario_reads_stream}, sample);
    every_call_fails(&(struct scenario){"stream of pcapng", scenario_reads_stream}, pcapng);
}

static void sharing_areas(void **state) {
    (void)state;
    every_call_fails(&(struct scenario){"areas", scenario_shares_areas}, NULL);
}

static void writing(void **state) {
    (void)state;
    every_call_fails(&(struct scenario){"sink", scenario_writes}, NULL);
    every_call_fails(&(struct scenario){"sink that goes on", scenario_goes_on_writing}, NULL);
}

static void loading_a_module(void **state) {
    (void)state;
    every_call_fails(&(struct scenario){"module", scenario_loads_module}, module);
}

/* Handling packets makes no call at all that could fail: no allocation, no system call. */
static void packets_cost_no_calls(void **state) {
    (void)state;
    char error[MB_ERROR_SIZE] = "";
    struct mb_log log;
    assert_int_equal(mb_log_create(&log, 1 << 14), 0);
    struct mb_subscription everything = {.filter = "tcp[13] & 2 != 0 or udp"};
    memset(everything.types, 0xff, sizeof everything.types);
    const struct mb_timer_subscription timer = {.period = 1000000, .mask = {1, 0}};
    const struct mb_stack_config config = {.flows_max = 64, .link_type = 1};
    struct mb_stack *stack = mb_stack_create(&config, &log, &everything, 1, &timer, 1, error);
    assert_string_equal(error, "");
    const int fd = open(sample, O_RDONLY | O_CLOEXEC);
    struct mb_source *source = mb_source_open(fd, "sample", error);
    assert_non_null(source);

    struct mb_frame frames[MB_BATCH];
    struct mb_handled handled[MB_BATCH];
    const size_t count = mb_source_read(source, frames, MB_BATCH);
    failing_calls_arm(0, FAIL_ONCE);
    assert_int_equal(mb_stack_handle(stack, mb_source_pool(source), frames, count, handled), count);
    assert_true(mb_stack_finish(stack, 0));
    assert_int_equal(failing_calls_disarm(), 0);
    assert_true(log.next > 0);

    mb_source_close(source);
    close(fd);
    mb_stack_destroy(stack);
    mb_log_destroy(&log);
}

static void name_file(char name[64], int fd) {
    snprintf(name, 64, "/proc/self/fd/%d", fd);
}

static void make_captures(void) {
    static struct capture_bytes capture;
    append_section(&capture);
    append_interface(&capture, 1, 0);
    append_enhanced_packet(&capture, 0, 1, 60, 60);
    name_file(pcapng, capture_file(&capture));
    capture.length = 0;
    append32(&capture, 0xa1b2c3d4);
    append16(&capture, 2);
    append16(&capture, 3); /* before 2.4 */
    append64(&capture, 0);
    append32(&capture, 65535);
    append32(&capture, 1);
    append_pcap_record(&capture, 1, 0, 60, 60);
    append_pattern(&capture, 0, 60);
    name_file(only_libpcaps, capture_file(&capture));
}

int main(int count, char **arguments) {
    if (count != 3)
        return 2;
    sample = arguments[1];
    module = arguments[2];
    make_captures();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_captures),
        cmocka_unit_test(reading_pcapng),
        cmocka_unit_test(reading_what_only_libpcap_reads),
        cmocka_unit_test(reading_a_stream),
        cmocka_unit_test(sharing_areas),
        cmocka_unit_test(writing),
        cmocka_unit_test(loading_a_module),
        cmocka_unit_test(packets_cost_no_calls),
    };
    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
