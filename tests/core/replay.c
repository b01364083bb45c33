/*
 * Runs a capture through a whole worker (source, stack, log, gate, sink) with one NF in a thread,
 * which subscribes to everything and passes everything. Prints what the NF saw.
 *
 *     replay [-e] [-b] [-n BATCH] [-l LOG_SLOTS] [-f FLOWS_MAX] [-c PACKETS] [-o OUTPUT] [-s
 * WINDOW] FILE
 *
 *     (nothing)  one JSON object: events by type, the worker's counters, its warning
 *     -e         before that a JSON line for each event, in the order of the log
 *     -b         with the bytes of the event's data range, in hexadecimal
 *     -o OUTPUT  what passed the gate, as a capture
 *     -s WINDOW  as a stream from a pipe, through a window of so many bytes; exits with 77 where
 * the file is of a format that cannot be read so
 *
 * What it prints depends on the capture and FLOWS_MAX alone, never on batches or the log's size;
 * nor on the window, unless all of it is needed for what waits.
 */
#include "microbox/bus/frame_pool.h"
#include "microbox/bus/reader.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/counters.h"
#include "microbox/stack/worker.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CAPACITY = 2 * MB_ENTRIES_PER_PACKET, SLICE = 10000000, NO_STREAM = 77 };

struct options {
    const char *input;
    const char *output;
    bool prints_events;
    bool prints_bytes;
    uint64_t window; /* 0: the file is mapped */
    struct mb_worker_config worker;
};

/* The NF's thread. */
struct reading {
    const struct options *options;
    const uint8_t *pool;
    struct mb_reader *reader;
    atomic_bool cancelled;
    bool saw_end;
    uint64_t by_type[MB_TYPES_BUILT_IN];
};

static void fail(const char *what, const char *why) {
    fprintf(stderr, "replay: %s: %s\n", what, why);
    exit(1);
}

/* --- the NF --- */

static void print_event(const struct reading *reading, const struct mb_entry *entry) {
    printf("{\"type\": \"%s\", \"time\": %" PRIu64 ", \"packet\": %" PRIu64 ", \"flow\": %" PRIu64
           ", \"direction\": %d, \"reason\": \"%s\", \"length\": %u",
           mb_event_type_name(entry->type), entry->time, entry->packet, entry->flow,
           entry->flags & MB_FROM_RESPONDER, mb_reason_name(entry->reason), entry->data_length);
    if (reading->options->prints_bytes) {
        const uint8_t *bytes = reading->pool + entry->frame + entry->data_offset;
        printf(", \"data\": \"");
        for (uint32_t i = 0; i < entry->data_length; i++)
            printf("%02x", bytes[i]);
        putchar('"');
    }
    puts("}");
}

static void see(struct reading *reading, const struct mb_entry *entry) {
    if (entry->type >= MB_TYPES_BUILT_IN)
        fail("event", "of a type that is not built in");
    reading->by_type[entry->type]++;
    reading->saw_end |= entry->type == MB_TYPE_SYSTEM_END_OF_INPUT;
    if (reading->options->prints_events)
        print_event(reading, entry);
}

static void *read_events(void *argument) {
    struct reading *reading = argument;
    struct mb_delivery *deliveries = calloc(CAPACITY, sizeof *deliveries);
    uint32_t broken;
    while (!reading->saw_end && !reading->cancelled) {
        const int count = mb_reader_poll(reading->reader, deliveries, CAPACITY, SLICE, &broken);
        if (count < 0)
            fail("poll", strerror(-count));
        for (int i = 0; i < count; i++)
            see(reading, deliveries[i].entry);
        mb_reader_advance(reading->reader);
    }
    free(deliveries);
    return NULL;
}

static struct mb_nf_geometry shape_of_reader(const struct options *options) {
    return (struct mb_nf_geometry){.log_slots = options->worker.log_slots, .is_inline = true};
}

static struct mb_reader *make_reader(const struct options *options) {
    struct mb_reader_config config = {
        .log_slots = options->worker.log_slots,
        .geometry = shape_of_reader(options),
        .subscriptions = 1,
        .wait_policy = mb_wait_policy_default(),
    };
    memset(config.types[0], 0xff, sizeof config.types[0]);
    int error = 0;
    struct mb_reader *reader = mb_reader_create(&config, &error);
    if (!reader)
        fail("reader", strerror(-error));
    return reader;
}

/* --- the worker --- */

static int open_file(const char *name) {
    const int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail(name, "cannot be opened");
    return fd;
}

static struct mb_source *open_source(const char *name) {
    char error[MB_ERROR_SIZE];
    const int fd = open_file(name);
    struct mb_source *source = mb_source_open(fd, name, error);
    if (!source)
        fail("input", error);
    close(fd);
    return source;
}

/* --- the stream --- */

/* The thread that writes a pipe. */
struct writing {
    int fd;
    int pipe;
    off_t from;
};

static void *write_stream(void *argument) {
    struct writing *writing = argument;
    char bytes[4000]; /* records lie across reads */
    ssize_t count;
    while ((count = pread(writing->fd, bytes, sizeof bytes, writing->from)) > 0) {
        if (write(writing->pipe, bytes, (size_t)count) != count)
            break;
        writing->from += count;
    }
    close(writing->pipe);
    close(writing->fd);
    free(writing);
    return NULL;
}

static void begin_to_write(int fd, int pipe, off_t from) {
    struct writing *writing = calloc(1, sizeof *writing);
    pthread_t thread;
    if (!writing)
        fail("thread", "no memory");
    *writing = (struct writing){fd, pipe, from};
    if (pthread_create(&thread, NULL, write_stream, writing) != 0)
        fail("thread", "cannot be started");
    pthread_detach(thread);
}

/* A file with the fewest bytes that say what the stream is; the length of them into `length`. */
static int read_head(int fd, off_t *length) {
    enum { HEAD_MAX = 4096 };
    uint8_t bytes[HEAD_MAX];
    const ssize_t there = pread(fd, bytes, sizeof bytes, 0);
    ssize_t size = 0;
    while (size < there && mb_source_judge_head(bytes, (uint64_t)size) == MB_HEAD_TOO_SHORT)
        size++;
    if (mb_source_judge_head(bytes, (uint64_t)size) != MB_HEAD_WHOLE)
        exit(NO_STREAM);
    const int head = memfd_create("head", MFD_CLOEXEC);
    if (write(head, bytes, (size_t)size) != size)
        fail("head", "cannot be written");
    *length = size;
    return head;
}

static struct mb_source *open_stream(const char *name, uint64_t window) {
    char error[MB_ERROR_SIZE];
    int ends[2];
    off_t length = 0;
    const int fd = open_file(name);
    const int head = read_head(fd, &length);
    if (pipe2(ends, O_CLOEXEC) != 0)
        fail("pipe", "cannot be made");
    struct mb_source *source = mb_source_open_live(ends[0], head, window, name, error);
    if (!source)
        fail("input", error);
    close(ends[0]);
    close(head);
    begin_to_write(fd, ends[1], length);
    return source;
}

/* --- the gate's output --- */

static struct mb_sink *open_sink(const char *name, uint32_t link_type) {
    char error[MB_ERROR_SIZE];
    if (!name)
        return NULL;
    const int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        fail(name, "cannot be created");
    struct mb_sink *sink = mb_sink_open(fd, link_type, error);
    if (!sink)
        fail("output", error);
    return sink;
}

static void connect(const struct options *options, struct mb_worker *worker,
                    struct mb_reader *reader) {
    char error[MB_ERROR_SIZE];
    struct mb_subscription subscription = {.nf = 0, .bit = 0, .filter = ""};
    memset(subscription.types, 0xff, sizeof subscription.types);
    const struct mb_nf_geometry shape = shape_of_reader(options);
    int status = mb_worker_attach(worker, 0, mb_reader_area_fd(reader), &shape, true);
    if (status != 0)
        fail("attach", strerror(-status));
    if (mb_worker_subscribe(worker, &subscription, 1, NULL, 0, error) != 0)
        fail("subscribe", error);
    status = mb_reader_map_log(reader, mb_worker_log_fd(worker));
    if (status != 0)
        fail("log", strerror(-status));
}

static void print_counters(const struct mb_worker *worker) {
    struct mb_area area = {0};
    if (mb_area_map(&area, mb_worker_counters_fd(worker), mb_worker_counters_size()) != 0)
        fail("counters", "cannot be mapped");
    const struct mb_counter_page *page = area.base;
    const struct mb_stack_counters *counters = &page->copies[page->current];
    const char *separator = "";
    printf("\"counters\": {");
/* Times that the log or the window was full depend on who runs when; chains on the hash's key, a
 * random one. */
#define COUNTER(field, sentence)                                                                   \
    if (strcmp(#field, "log_waits") != 0 && strcmp(#field, "chain_longest") != 0 &&                \
        strcmp(#field, "window_waits") != 0) {                                                     \
        printf("%s\"%s\": %" PRIu64, separator, #field, counters->field);                          \
        separator = ", ";                                                                          \
    }
#include "microbox/stack/counters.def"
#undef COUNTER
    printf("}");
    mb_area_destroy(&area);
}

static void print_summary(const struct reading *reading, const struct mb_worker *worker) {
    const char *separator = "";
    printf("{\"events\": {");
    for (uint16_t type = 0; type < MB_TYPES_BUILT_IN; type++) {
        if (!reading->by_type[type])
            continue;
        printf("%s\"%s\": %" PRIu64, separator, mb_event_type_name(type), reading->by_type[type]);
        separator = ", ";
    }
    printf("}, ");
    print_counters(worker);
    printf(", \"warning\": \"%s\", \"complaint\": \"%s\"}\n", mb_worker_warning(worker),
           mb_worker_complaint(worker));
}

static bool replay(const struct options *options) {
    char error[MB_ERROR_SIZE];
    struct mb_source *source = options->window ? open_stream(options->input, options->window)
                                               : open_source(options->input);
    struct mb_sink *sink = open_sink(options->output, mb_source_link_type(source));
    struct mb_worker_config config = options->worker;
    config.stack.link_type = mb_source_link_type(source);
    struct mb_worker *worker = mb_worker_create(&config, source, sink, error);
    if (!worker)
        fail("worker", error);
    struct mb_frame_pool pool;
    const struct mb_pool_part capture = {.fd = mb_source_pool_fd(source),
                                         .size = mb_source_pool_size(source),
                                         .is_window = mb_source_is_live(source)};
    const struct mb_pool_part assembled = {.fd = mb_worker_assembled_fd(worker),
                                           .size = mb_worker_assembled_size(worker)};
    if (mb_frame_pool_map(&pool, capture, assembled, (struct mb_pool_part){.size = 0}) != 0)
        fail("frames", "cannot be mapped");
    struct reading reading = {
        .options = options,
        .pool = pool.bytes,
        .reader = make_reader(options),
    };
    connect(options, worker, reading.reader);

    pthread_t thread;
    if (pthread_create(&thread, NULL, read_events, &reading) != 0)
        fail("thread", "cannot be started");
    enum mb_worker_status status;
    while ((status = mb_worker_run(worker, SLICE)) == MB_WORKER_RUNNING)
        continue;
    reading.cancelled = status == MB_WORKER_FAILED;
    pthread_join(thread, NULL);
    print_summary(&reading, worker);

    mb_worker_destroy(worker);
    mb_reader_destroy(reading.reader);
    mb_frame_pool_unmap(&pool);
    if (sink && mb_sink_close(sink) != 0)
        fail("output", "could not be written");
    mb_source_close(source);
    return status == MB_WORKER_DONE;
}

static struct options parse(int count, char **arguments) {
    /* Longer than any of these takes: what a test prints must not depend on the time. */
    struct options options = {.worker = {.log_slots = 1 << 16, .silence = UINT64_C(3600000000000)}};
    int option;
    while ((option = getopt(count, arguments, "ebn:l:f:c:o:s:")) != -1) {
        switch (option) {
        case 'e':
            options.prints_events = true;
            break;
        case 'b':
            options.prints_bytes = true;
            break;
        case 'n':
            options.worker.batch = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'l':
            options.worker.log_slots = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            options.worker.stack.flows_max = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'c':
            options.worker.packet_limit = strtoull(optarg, NULL, 10);
            break;
        case 'o':
            options.output = optarg;
            break;
        case 's':
            options.window = strtoull(optarg, NULL, 10);
            break;
        default:
            exit(2);
        }
    }
    if (optind + 1 != count) {
        fprintf(stderr, "usage: replay [-e] [-b] [-n BATCH] [-l LOG_SLOTS] [-f FLOWS_MAX] "
                        "[-c PACKETS] [-o OUTPUT] [-s WINDOW] FILE\n");
        exit(2);
    }
    options.input = arguments[optind];
    return options;
}

int main(int count, char **arguments) {
    const struct options options = parse(count, arguments);
    return replay(&options) ? 0 : 1;
}
