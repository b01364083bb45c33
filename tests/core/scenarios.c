#include "scenarios.h"

#include "condition_steps.h"
#include "microbox/bus/log.h"
#include "microbox/bus/reader.h"
#include "microbox/events/event_types.h"
#include "microbox/io/window.h"
#include "microbox/stack/module_load.h"
#include "microbox/stack/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SLOTS = MB_LOG_SLOTS_MIN, SLICE = 1000000, ETHERNET = 1 };

/* Turns of worker and NF that do nothing: more of them in a row and the run hangs. */
enum { IDLE_TURNS_MAX = 100 };

static bool explain(int result, char error[MB_ERROR_SIZE]) {
    if (result != 0)
        snprintf(error, MB_ERROR_SIZE, "%s", strerror(-result));
    return result == 0;
}

/* --- files --- */

static struct mb_source *open_capture(const char *file, char error[MB_ERROR_SIZE]) {
    const int fd = open(file, O_RDONLY | O_CLOEXEC);
    struct mb_source *source = mb_source_open(fd, file, error);
    close(fd);
    return source;
}

/* What ended the reading early is an error only where it was not the file. */
static bool was_read(const struct mb_source *source, char error[MB_ERROR_SIZE]) {
    snprintf(error, MB_ERROR_SIZE, "%s", mb_source_complaint(source));
    return mb_source_status(source) == MB_SOURCE_END;
}

static bool reads(const char *file, char error[MB_ERROR_SIZE]) {
    struct mb_source *source = open_capture(file, error);
    if (source == NULL)
        return false;
    struct mb_frame frames[4];
    while (mb_source_read(source, frames, 4) != 0)
        continue;
    const bool is_well = was_read(source, error);
    mb_source_close(source);
    return is_well;
}

/* A stream that was read to its end before it is opened. */
static struct mb_source *open_stream(const char *file, char error[MB_ERROR_SIZE]) {
    enum { WINDOW = 8192 };
    int ends[2];
    const int head = open(file, O_RDONLY | O_CLOEXEC);
    if (pipe2(ends, O_CLOEXEC) != 0)
        abort();
    close(ends[1]);
    struct mb_source *source = mb_source_open_live(ends[0], head, WINDOW, file, error);
    close(ends[0]);
    close(head);
    return source;
}

/* Gives back all but the frames. */
static bool gives_back(struct mb_source *source, const struct mb_frame *frames, size_t count) {
    struct mb_ranges kept = {0};
    for (size_t i = 0; i < count; i++)
        mb_ranges_add(&kept, frames[i].offset, frames[i].length);
    const bool is_well = !kept.is_short;
    mb_source_give_back(source, mb_source_unhandled(source, NULL), &kept);
    return is_well;
}

bool scenario_reads_stream(const char *file, char error[MB_ERROR_SIZE]) {
    struct mb_source *source = open_stream(file, error);
    if (source == NULL)
        return false;
    struct mb_frame frames[4];
    bool is_well = true;
    for (unsigned turns = 0; mb_source_status(source) == MB_SOURCE_OPEN; turns++) {
        if (turns == IDLE_TURNS_MAX) {
            mb_source_close(source);
            return explain(-ETIMEDOUT, error);
        }
        mb_source_wait(source, 0);
        const size_t count = mb_source_read(source, frames, 4);
        is_well &= gives_back(source, frames, count) || explain(-ENOMEM, error);
    }
    is_well = is_well && was_read(source, error);
    mb_source_close(source);
    return is_well;
}

/* More frames than the sink keeps in its buffer. Closes it. NULL: it was not made. */
static bool writes(struct mb_sink *sink, char error[MB_ERROR_SIZE]) {
    enum { FRAMES = 30000 };
    static const uint8_t bytes[60];
    if (sink == NULL)
        return false;
    const struct mb_frame frame = {
        .length = sizeof bytes, .wire_length = sizeof bytes, .link_type = ETHERNET};
    int result = 0;
    for (unsigned i = 0; i < FRAMES && result == 0; i++)
        result = mb_sink_write(sink, &frame, bytes);
    const int closed = mb_sink_close(sink);
    return explain(result != 0 ? result : closed, error);
}

bool scenario_writes(const char *file, char error[MB_ERROR_SIZE]) {
    (void)file;
    return writes(mb_sink_open(open("/dev/null", O_WRONLY | O_CLOEXEC), ETHERNET, error), error);
}

bool scenario_goes_on_writing(const char *file, char error[MB_ERROR_SIZE]) {
    (void)file;
    char path[] = "/dev/shm/microbox-scenario-XXXXXX";
    const int first = mkstemp(path);
    const int second = open(path, O_RDWR | O_CLOEXEC);
    unlink(path);
    if (!writes(mb_sink_open(first, ETHERNET, error), error)) {
        close(second);
        return false;
    }
    return writes(mb_sink_continue(second, ETHERNET, error), error);
}

bool scenario_shares_areas(const char *file, char error[MB_ERROR_SIZE]) {
    (void)file;
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

bool scenario_loads_module(const char *file, char error[MB_ERROR_SIZE]) {
    struct mb_loaded_module *module = mb_module_open(file, error);
    mb_module_close(module);
    return module != NULL;
}

/* --- what is subscribed to --- */

enum { SUBSCRIPTIONS_MAX = 5 };

struct interest {
    struct mb_subscription subscription[SUBSCRIPTIONS_MAX];
    uint32_t count;
};

static void want(struct interest *interest, const char *filter, uint16_t first, uint16_t last) {
    struct mb_subscription *one = &interest->subscription[interest->count];
    *one = (struct mb_subscription){.filter = filter, .bit = (uint8_t)interest->count++};
    for (uint16_t type = first; type <= last; type++)
        one->types[type / 64] |= UINT64_C(1) << type % 64;
}

/* Filters of every kind: of a flow, of a packet, of the link layer, two alike. */
static struct interest everything(void) {
    static const char *const filters[SUBSCRIPTIONS_MAX] = {"", "tcp port 80", "tcp[13] & 2 != 0",
                                                           "ether host 1:2:3:4:5:6", "tcp port 80"};
    struct interest interest = {0};
    for (unsigned i = 0; i < SUBSCRIPTIONS_MAX; i++)
        want(&interest, filters[i], 0, MB_TYPES_BUILT_IN); /* and a derived one */
    return interest;
}

static const struct mb_timer_subscription timers[] = {{.period = 1000000, .mask = {1, 0}},
                                                      {.period = 3000000, .mask = {2, 0}}};

/* --- the stack's configuration: something of everything that it keeps --- */

enum { FLOWS = 64, DERIVED_TYPE = MB_TYPES_BUILT_IN, COMMAND_SLOTS = 4096, COMMAND_DELAY = 512 };

static struct mb_stack_config configure(uint32_t link_type) {
    static const struct mb_host_network hosts[] = {
        {.prefix_length = 0, .profile = {.segments = MB_OVERLAP_LINUX}},
        {.prefix_length = 96, .profile = {.fragments = MB_OVERLAP_BSD, .hops = 3}},
    };
    static const struct mb_condition_step third_of_its_flow[] = {PUSH(1), COUNT(0), COUNTED(0),
                                                                 WITH(EQUAL, 3)};
    static const struct mb_derived_type derived = {
        .type = DERIVED_TYPE,
        .counters = 1,
        .bases = {UINT64_C(1) << MB_TYPE_PACKET_IP_TCP},
        .program = (const uint8_t *)third_of_its_flow,
        .program_size = sizeof third_of_its_flow,
        .step_count = COUNT_OF(third_of_its_flow),
    };
    _Static_assert((int)MB_TYPE_PACKET_IP_TCP < 64, "in the first word of a set of types");
    return (struct mb_stack_config){
        .flows_max = FLOWS,
        .held_segments_max = FLOWS,
        .command_delay = COMMAND_DELAY,
        .checksums = MB_CHECKSUMS_EVENT,
        .hosts = hosts,
        .host_count = COUNT_OF(hosts),
        .derived = &derived,
        .derived_count = 1,
        .link_type = link_type,
    };
}

/* --- the stack alone --- */

static void handle_all(struct mb_stack *stack, struct mb_log *log, struct mb_source *source) {
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
}

static bool handle_capture(struct mb_source *source, const struct interest *interest,
                           char error[MB_ERROR_SIZE]) {
    struct mb_log log;
    const int result = mb_log_create(&log, SLOTS);
    if (result != 0)
        return explain(result, error);
    const struct mb_stack_config config = configure(mb_source_link_type(source));
    struct mb_stack *stack =
        mb_stack_create(&config, &log, interest->subscription, interest->count, timers, 2, error);
    if (stack != NULL) {
        handle_all(stack, &log, source);
        mb_stack_destroy(stack);
    }
    mb_log_destroy(&log);
    return stack != NULL && was_read(source, error);
}

static bool run_stack(const char *file, const struct interest *interest,
                      char error[MB_ERROR_SIZE]) {
    struct mb_source *source = open_capture(file, error);
    if (source == NULL)
        return false;
    const bool is_well = handle_capture(source, interest, error);
    mb_source_close(source);
    return is_well;
}

static bool decodes(const char *file, char error[MB_ERROR_SIZE]) {
    struct interest packets = {0};
    want(&packets, "", MB_TYPE_PACKET, MB_TYPE_PACKET_MALFORMED);
    return run_stack(file, &packets, error);
}

static bool tracks(const char *file, char error[MB_ERROR_SIZE]) {
    struct interest ends = {0};
    want(&ends, "", MB_TYPE_TCP_START, MB_TYPE_TCP_END);
    return run_stack(file, &ends, error);
}

static bool reassembles(const char *file, char error[MB_ERROR_SIZE]) {
    const struct interest all = everything();
    return run_stack(file, &all, error);
}

/* --- a worker with one NF, both moved by one thread --- */

struct run {
    struct mb_source *source;
    struct mb_sink *sink;
    struct mb_worker *worker;
    struct mb_reader *reader;
};

static bool open_files(struct run *run, const char *file, char error[MB_ERROR_SIZE]) {
    run->source = open_capture(file, error);
    if (run->source == NULL)
        return false;
    run->sink = mb_sink_open(open("/dev/null", O_WRONLY | O_CLOEXEC),
                             mb_source_link_type(run->source), error);
    return run->sink != NULL;
}

static const struct mb_nf_geometry shape = {.log_slots = SLOTS,
                                            .own_slots = 16,
                                            .ring_bytes = 4096,
                                            .command_slots = COMMAND_SLOTS,
                                            .is_inline = true};

static bool make_reader(struct run *run, char error[MB_ERROR_SIZE]) {
    struct mb_reader_config config = {
        .log_slots = SLOTS,
        .geometry = shape,
        .subscriptions = SUBSCRIPTIONS_MAX,
        .switchable = 1,
        .command_delay = COMMAND_DELAY,
        .bit = {0, 1, 2, 3, 4},
    };
    memset(config.types, 0xff, sizeof config.types);
    int result = 0;
    run->reader = mb_reader_create(&config, &result);
    return explain(run->reader != NULL ? 0 : result, error);
}

static bool connect_both(struct run *run, char error[MB_ERROR_SIZE]) {
    int result = mb_worker_attach(run->worker, 0, mb_reader_area_fd(run->reader), &shape, false);
    if (result == 0)
        result = mb_reader_map_log(run->reader, mb_worker_log_fd(run->worker));
    if (result != 0)
        return explain(result, error);
    const struct interest all = everything();
    const struct mb_switch first = {.mask = {1, 0}};
    return mb_worker_subscribe(run->worker, all.subscription, all.count, timers, 2, error) == 0 &&
           mb_worker_accept_commands(run->worker, &first, 1, error) == 0;
}

static int read_events(struct run *run) {
    static struct mb_delivery deliveries[2 * MB_ENTRIES_PER_PACKET];
    uint32_t broken;
    const int count =
        mb_reader_poll(run->reader, deliveries, 2 * MB_ENTRIES_PER_PACKET, 0, &broken);
    for (int i = 0; i < count; i++)
        if (deliveries[i].entry->flow != 0 && mb_reader_wanted(run->reader, &deliveries[i]) & 1)
            mb_reader_command(run->reader, &deliveries[i], MB_COMMAND_UNSUBSCRIBE, 1, 3);
    mb_reader_advance(run->reader);
    return count;
}

static bool run_to_the_end(struct run *run, char error[MB_ERROR_SIZE]) {
    enum mb_worker_status status = MB_WORKER_RUNNING;
    for (unsigned idle = 0; status == MB_WORKER_RUNNING; idle++) {
        status = mb_worker_run(run->worker, SLICE);
        const int count = read_events(run);
        if (count < 0)
            return explain(count, error);
        if (count > 0)
            idle = 0;
        if (idle == IDLE_TURNS_MAX)
            return explain(-ETIMEDOUT, error);
    }
    snprintf(error, MB_ERROR_SIZE, "%s", mb_worker_complaint(run->worker));
    return status == MB_WORKER_DONE && error[0] == '\0' && was_read(run->source, error);
}

static bool run_worker(struct run *run, const char *file, char error[MB_ERROR_SIZE]) {
    if (!open_files(run, file, error) || !make_reader(run, error))
        return false;
    const struct mb_worker_config config = {
        .stack = configure(mb_source_link_type(run->source)),
        .log_slots = SLOTS,
    };
    run->worker = mb_worker_create(&config, run->source, run->sink, error);
    return run->worker != NULL && connect_both(run, error) && run_to_the_end(run, error);
}

static bool runs_worker(const char *file, char error[MB_ERROR_SIZE]) {
    struct run run = {0};
    const bool is_well = run_worker(&run, file, error);
    mb_worker_destroy(run.worker);
    mb_reader_destroy(run.reader);
    const int closed = run.sink != NULL ? mb_sink_close(run.sink) : 0;
    mb_source_close(run.source);
    return (closed == 0 || explain(closed, error)) && is_well;
}

const struct scenario capture_scenarios[] = {
    {"reads", reads},
    {"decodes", decodes},
    {"tracks", tracks},
    {"reassembles", reassembles},
    {"runs a worker", runs_worker},
};
const size_t capture_scenario_count = sizeof capture_scenarios / sizeof *capture_scenarios;
