/*
 * Several stacks that share out a capture publish together what one publishes, in an order that can
 * be told from the entries (bus/moment.h); and count together what it counts.
 *
 *     workers FOLDER...
 *
 * Each runs as in one process, one behind the other: they have nothing in common.
 */
#include "microbox/bus/frame_pool.h"
#include "microbox/bus/moment.h"
#include "microbox/stack/counters.h"
#include "microbox/stack/fragments/assembled_frames.h"
#include "microbox/stack/stack.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOG_SLOTS = 1 << 14, DATAGRAMS = 64, WORKERS_MAX = 3, TYPES = 1 << 9 };

static const uint64_t TIMER = UINT64_C(7000000000);

/* An entry as it was published, with what its bytes were then. */
struct record {
    struct mb_entry entry;
    uint64_t data; /* a hash of the event's bytes, and of the earlier copy where there is one */
    uint32_t worker;
};

struct history {
    struct record *records;
    size_t count;
    size_t capacity;
};

static void fail(const char *what, const char *why) {
    fprintf(stderr, "workers: %s: %s\n", what, why);
    exit(2);
}

/* --- one worker's stack --- */

struct run {
    struct mb_log log;
    struct mb_stack *stack;
    struct mb_frame_pool pool;
    uint64_t seen;
    uint32_t worker;
    struct history *history;
};

/* FNV-1a. */
static uint64_t hash_bytes(uint64_t hash, const uint8_t *bytes, uint32_t length) {
    for (uint32_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t hash_of_data(const struct run *run, const struct mb_entry *entry) {
    const uint64_t begin = UINT64_C(0xcbf29ce484222325);
    const uint8_t *bytes = run->pool.bytes;
    uint64_t hash =
        hash_bytes(begin, bytes + entry->frame + entry->data_offset, entry->data_length);
    if (entry->type == MB_TYPE_TCP_OVERLAP_INCONSISTENT)
        hash = hash_bytes(hash, bytes + entry->payload.tcp_inconsistency.previous_position,
                          entry->data_length);
    return hash;
}

/* Where datagrams that were put together lie is each worker's own business; so is the log, and
 * whether what comes ahead of a packet has the packet's own entries behind it. */
static void forget_places(const struct run *run, struct mb_entry *entry) {
    entry->sequence = 0;
    if ((entry->flags & MB_WHEN) == MB_AHEAD)
        entry->flags &= (uint8_t)~MB_LAST;
    if (entry->frame >= run->pool.assembled)
        entry->frame = 0;
    if (entry->type == MB_TYPE_TCP_OVERLAP_INCONSISTENT)
        entry->payload.tcp_inconsistency.previous_position = 0;
}

static void keep(struct run *run, const struct mb_entry *entry) {
    struct history *history = run->history;
    if (history->count == history->capacity) {
        history->capacity = history->capacity != 0 ? 2 * history->capacity : 1024;
        history->records =
            reallocarray(history->records, history->capacity, sizeof *history->records);
        if (history->records == NULL)
            fail("history", "no memory");
    }
    struct record *record = &history->records[history->count++];
    record->entry = *entry;
    record->data = hash_of_data(run, entry);
    record->worker = run->worker;
    forget_places(run, &record->entry);
}

static void keep_new(struct run *run) {
    for (; run->seen < run->log.next; run->seen++)
        keep(run, &run->log.slots[run->seen & run->log.slot_mask]);
    mb_log_commit(&run->log);
}

static void handle(struct run *run, struct mb_source *source) {
    struct mb_frame frames[MB_BATCH];
    struct mb_handled handled[MB_BATCH];
    size_t count;
    while ((count = mb_source_read(source, frames, MB_BATCH)) != 0) {
        for (size_t done = 0; done < count;) {
            done +=
                mb_stack_handle(run->stack, run->pool.bytes, frames + done, count - done, handled);
            keep_new(run);
        }
    }
    bool is_finished;
    do {
        is_finished = mb_stack_finish(run->stack, MB_REASON_END_SHUTDOWN);
        keep_new(run);
    } while (!is_finished);
}

static struct mb_source *open_source(const char *name) {
    char error[MB_ERROR_SIZE];
    const int fd = open(name, O_RDONLY | O_CLOEXEC);
    struct mb_source *source = mb_source_open(fd, name, error);
    close(fd);
    return source;
}

static void open_stack(struct run *run, struct mb_source *source, const struct mb_area *assembled,
                       uint32_t workers) {
    char error[MB_ERROR_SIZE];
    const struct mb_stack_config config = {
        .assembled_datagrams_max = DATAGRAMS,
        .assembled_bytes = assembled->base,
        .assembled_offset = run->pool.assembled,
        .link_type = mb_source_link_type(source),
        .workers = workers,
        .worker = run->worker,
    };
    struct mb_subscription everything = {0};
    memset(everything.types, 0xff, sizeof everything.types);
    const struct mb_timer_subscription timer = {.period = TIMER, .mask = {1}};
    if (mb_log_create(&run->log, LOG_SLOTS) != 0)
        fail("log", "cannot be made");
    run->stack = mb_stack_create(&config, &run->log, &everything, 1, &timer, 1, error);
    if (run->stack == NULL)
        fail("stack", error);
}

static void add_counters(struct mb_stack_counters *sum, const struct mb_stack_counters *more) {
    uint64_t *words = (uint64_t *)sum;
    const uint64_t *others = (const uint64_t *)more;
    for (size_t i = 0; i < sizeof *sum / sizeof *words; i++)
        words[i] += others[i];
}

static bool run_worker(const char *capture, uint32_t worker, uint32_t workers,
                       struct history *history, struct mb_stack_counters *counters) {
    struct run run = {.worker = worker, .history = history};
    struct mb_source *source = open_source(capture);
    struct mb_area assembled;
    if (source == NULL)
        return false;
    if (mb_area_create(&assembled, "datagrams", mb_assembled_size(DATAGRAMS)) != 0 ||
        mb_frame_pool_map(&run.pool,
                          (struct mb_pool_part){.fd = mb_source_pool_fd(source),
                                                .size = mb_source_pool_size(source)},
                          (struct mb_pool_part){.fd = assembled.fd, .size = assembled.size},
                          (struct mb_pool_part){.size = 0}) != 0)
        fail("frames", "cannot be mapped");
    open_stack(&run, source, &assembled, workers);
    handle(&run, source);
    add_counters(counters, mb_stack_counters(run.stack));
    mb_stack_destroy(run.stack);
    mb_log_destroy(&run.log);
    mb_frame_pool_unmap(&run.pool);
    mb_area_destroy(&assembled);
    mb_source_close(source);
    return true;
}

/* --- putting them together --- */

/* What every worker publishes by itself. */
static bool is_everybodys(const struct mb_entry *entry) {
    return (entry->flags & MB_WHEN) == MB_AHEAD || entry->type == MB_TYPE_SYSTEM_END_OF_INPUT;
}

/* Takes the next entry in the order of moments; of several at one moment, the first worker's. */
static const struct record *take_next(struct history *histories, size_t *at, uint32_t workers) {
    uint32_t first = workers;
    for (uint32_t i = 0; i < workers; i++) {
        if (at[i] == histories[i].count)
            continue;
        const struct mb_moment moment = mb_moment_of(&histories[i].records[at[i]].entry);
        if (first == workers ||
            mb_moment_is_before(moment, mb_moment_of(&histories[first].records[at[first]].entry)))
            first = i;
    }
    return first != workers ? &histories[first].records[at[first]++] : NULL;
}

static bool goes_back(const struct history *history) {
    for (size_t i = 1; i < history->count; i++)
        if (mb_moment_is_before(mb_moment_of(&history->records[i].entry),
                                mb_moment_of(&history->records[i - 1].entry)))
            return true;
    return false;
}

static bool is_same(const struct record *one, const struct record *other) {
    return one->data == other->data && memcmp(&one->entry, &other->entry, sizeof one->entry) == 0;
}

static void print(const char *who, const struct record *record) {
    if (record == NULL) {
        fprintf(stderr, "  %s: nothing\n", who);
        return;
    }
    const struct mb_entry *entry = &record->entry;
    fprintf(stderr, "  %s (worker %u): %s packet %" PRIu64 " flow %" PRIu64 " %s flags %u\n", who,
            record->worker, mb_event_type_name(entry->type), entry->packet, entry->flow,
            mb_reason_name(entry->reason), entry->flags);
}

/* The entries of worker 0 stand for those that all have. */
static bool are_same_entries(const struct history *alone, struct history *histories,
                             uint32_t workers) {
    size_t at[WORKERS_MAX] = {0};
    size_t next = 0;
    const struct record *one;
    while ((one = take_next(histories, at, workers)) != NULL) {
        if (is_everybodys(&one->entry) && one->worker != 0)
            continue;
        const struct record *expected = next < alone->count ? &alone->records[next++] : NULL;
        if (expected != NULL && is_same(expected, one))
            continue;
        print("one worker", expected);
        print("several", one);
        return false;
    }
    if (next != alone->count)
        print("one worker has more", &alone->records[next]);
    return next == alone->count;
}

static uint64_t count_everybodys(const struct history *history, uint16_t type) {
    uint64_t count = 0;
    for (size_t i = 0; i < history->count; i++)
        count +=
            is_everybodys(&history->records[i].entry) && history->records[i].entry.type == type;
    return count;
}

/* Takes off what each worker but one counted besides of what all have. */
static void correct(struct mb_stack_counters *sum, const struct history *one, uint32_t workers) {
    for (uint16_t type = 0; type < MB_TYPES_BUILT_IN; type++) {
        const uint64_t others = (workers - 1) * count_everybodys(one, type);
        sum->published_by_type[type] -= others;
        sum->entries -= others;
    }
}

static bool are_same_counters(const struct mb_stack_counters *alone,
                              const struct mb_stack_counters *sum, uint32_t workers) {
    bool same = sum->packets + sum->packets_foreign == workers * alone->packets;
#define COUNTER(field, sentence)                                                                   \
    if (alone->field != sum->field && strcmp(#field, "chain_longest") != 0 &&                      \
        strstr(#field, "_peak") == NULL && strcmp(#field, "time") != 0 &&                          \
        strcmp(#field, "packets_foreign") != 0) {                                                  \
        fprintf(stderr, "  %s: %" PRIu64 ", several %" PRIu64 "\n", #field, alone->field,          \
                sum->field);                                                                       \
        same = false;                                                                              \
    }
#include "microbox/stack/counters.def"
#undef COUNTER
    return same &&
           memcmp(alone->published_by_type, sum->published_by_type,
                  sizeof alone->published_by_type) == 0 &&
           memcmp(alone->by_reason, sum->by_reason, sizeof alone->by_reason) == 0;
}

/* --- a capture --- */

static bool is_same_with(const char *capture, uint32_t workers, const struct history *alone,
                         const struct mb_stack_counters *counters) {
    struct history histories[WORKERS_MAX] = {0};
    struct mb_stack_counters sum = {0};
    bool same = true;
    for (uint32_t worker = 0; worker < workers; worker++) {
        run_worker(capture, worker, workers, &histories[worker], &sum);
        if (goes_back(&histories[worker])) {
            fprintf(stderr, "  moments go back in worker %u\n", worker);
            same = false;
        }
    }
    correct(&sum, &histories[0], workers);
    same = are_same_entries(alone, histories, workers) && same;
    same = are_same_counters(counters, &sum, workers) && same;
    if (!same)
        fprintf(stderr, "%s: %u workers\n", capture, workers);
    for (uint32_t worker = 0; worker < workers; worker++)
        free(histories[worker].records);
    return same;
}

/* How many numbers of workers come out otherwise. */
static unsigned compare(const char *capture) {
    struct history alone = {0};
    struct mb_stack_counters counters = {0};
    unsigned otherwise = 0;
    if (!run_worker(capture, 0, 1, &alone, &counters))
        fail(capture, "cannot be read");
    for (uint32_t workers = 2; workers <= WORKERS_MAX; workers++)
        otherwise += !is_same_with(capture, workers, &alone, &counters);
    free(alone.records);
    return otherwise;
}

struct tally {
    unsigned captures;
    unsigned otherwise;
};

static void compare_all(const char *folder, struct tally *tally) {
    DIR *directory = opendir(folder);
    const struct dirent *file;
    char capture[4096];
    while (directory != NULL && (file = readdir(directory)) != NULL) {
        if (strstr(file->d_name, ".pcap") == NULL) /* or .pcapng */
            continue;
        snprintf(capture, sizeof capture, "%s/%s", folder, file->d_name);
        tally->otherwise += compare(capture);
        tally->captures++;
    }
    if (directory != NULL)
        closedir(directory);
}

int main(int count, char **arguments) {
    struct tally tally = {0};
    for (int i = 1; i < count; i++)
        compare_all(arguments[i], &tally);
    printf("%u captures, %u otherwise\n", tally.captures, tally.otherwise);
    return tally.captures == 0 || tally.otherwise != 0;
}
