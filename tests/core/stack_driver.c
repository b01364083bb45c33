/*
 * The stack as a shared module, for tests in Python (tests/support/stack_driver): frames in, copies
 * of what was published out. One stack at a time; log and buffers are kept from one to the next, so
 * that thousands of small cases a second are feasible.
 */
#include "microbox/events/event_types.h"
#include "microbox/stack/counters.h"
#include "microbox/stack/fragments/assembled_frames.h"
#include "microbox/stack/partition.h"
#include "microbox/stack/stack.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)
#define ASAN_UNPOISON_MEMORY_REGION(address, size)
#endif

#define EXPORTED __attribute__((visibility("default")))

enum {
    LOG_SLOTS = 1 << 14,
    /* Between two frames lie bytes that the sanitizers know to belong to none. */
    BETWEEN_FRAMES = 16,
    /* Behind the pool: room for datagrams that the stack puts together. */
    DATAGRAMS_USUALLY = 64,
    DATAGRAMS_MAX = 1024,
    SHADOW_GRANULE = 8
};

/* Address space, not memory: the pool must not move while the stack lives. */
static const uint64_t pool_size = UINT64_C(2) << 30;

struct stack_driver {
    struct mb_log log;
    struct mb_stack *stack;
    uint8_t *pool;
    uint64_t pool_used;
    uint64_t seen; /* position in the log up to which entries were copied */
    struct mb_entry *entries;
    uint64_t *data_starts; /* of entry i: where in `data` its bytes begin */
    uint64_t count;
    uint64_t capacity;
    uint8_t *data;
    uint64_t data_used;
    uint64_t data_capacity;
};

/* Sizes that Python's view of the same structs must have. */
struct stack_driver_layout {
    uint64_t config;
    uint64_t subscription;
    uint64_t entry;
    uint64_t counters;
    uint64_t types;
    uint64_t reasons;
};

EXPORTED void stack_driver_layout(struct stack_driver_layout *layout);
EXPORTED struct stack_driver *stack_driver_create(void);
EXPORTED void stack_driver_destroy(struct stack_driver *driver);
EXPORTED int stack_driver_open(struct stack_driver *driver, const struct mb_stack_config *config,
                               const struct mb_subscription *subscriptions, uint32_t count,
                               const struct mb_timer_subscription *timers, uint32_t timer_count,
                               char error[MB_ERROR_SIZE]);
EXPORTED void stack_driver_close(struct stack_driver *driver);
EXPORTED int stack_driver_send(struct stack_driver *driver, const uint8_t *bytes,
                               const struct mb_frame *frames, size_t count, size_t batch);
EXPORTED void stack_driver_share_out(const uint8_t *bytes, const struct mb_frame *frames,
                                     size_t count, uint32_t workers, uint32_t *worker);
EXPORTED int stack_driver_finish(struct stack_driver *driver);
EXPORTED uint64_t stack_driver_count(const struct stack_driver *driver);
EXPORTED const struct mb_entry *stack_driver_entries(const struct stack_driver *driver);
EXPORTED const uint64_t *stack_driver_data_starts(const struct stack_driver *driver);
EXPORTED const uint8_t *stack_driver_data(const struct stack_driver *driver);
EXPORTED uint64_t stack_driver_data_size(const struct stack_driver *driver);
EXPORTED const struct mb_stack_counters *stack_driver_counters(const struct stack_driver *driver);

void stack_driver_layout(struct stack_driver_layout *layout) {
    *layout = (struct stack_driver_layout){
        .config = sizeof(struct mb_stack_config),
        .subscription = sizeof(struct mb_subscription),
        .entry = sizeof(struct mb_entry),
        .counters = sizeof(struct mb_stack_counters),
        .types = MB_TYPES_BUILT_IN,
        .reasons = MB_REASONS,
    };
}

static size_t mapped_size(void) {
    return pool_size + mb_assembled_size(DATAGRAMS_MAX);
}

/* NULL where there is no memory. */
struct stack_driver *stack_driver_create(void) {
    struct stack_driver *driver = calloc(1, sizeof *driver);
    if (driver == NULL)
        return NULL;
    driver->pool = mmap(NULL, mapped_size(), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (driver->pool == MAP_FAILED) {
        free(driver);
        return NULL;
    }
    if (mb_log_create(&driver->log, LOG_SLOTS) != 0) {
        munmap(driver->pool, mapped_size());
        free(driver);
        return NULL;
    }
    return driver;
}

void stack_driver_destroy(struct stack_driver *driver) {
    stack_driver_close(driver);
    mb_log_destroy(&driver->log);
    munmap(driver->pool, mapped_size());
    free(driver->entries);
    free(driver->data_starts);
    free(driver->data);
    free(driver);
}

/* Returns 0, or -1 with a sentence in `error`. What the last stack published is forgotten. */
int stack_driver_open(struct stack_driver *driver, const struct mb_stack_config *config,
                      const struct mb_subscription *subscriptions, uint32_t count,
                      const struct mb_timer_subscription *timers, uint32_t timer_count,
                      char error[MB_ERROR_SIZE]) {
    stack_driver_close(driver);
    driver->pool_used = 0;
    driver->count = 0;
    driver->data_used = 0;
    struct mb_stack_config chosen = *config;
    if (chosen.assembled_datagrams_max == 0)
        chosen.assembled_datagrams_max = DATAGRAMS_USUALLY;
    if (chosen.assembled_datagrams_max > DATAGRAMS_MAX)
        chosen.assembled_datagrams_max = DATAGRAMS_MAX;
    chosen.assembled_bytes = driver->pool + pool_size;
    chosen.assembled_offset = pool_size;
    driver->stack =
        mb_stack_create(&chosen, &driver->log, subscriptions, count, timers, timer_count, error);
    return driver->stack != NULL ? 0 : -1;
}

void stack_driver_close(struct stack_driver *driver) {
    mb_stack_destroy(driver->stack);
    driver->stack = NULL;
}

static uint64_t enough(uint64_t capacity, uint64_t wanted) {
    uint64_t larger = capacity != 0 ? capacity : 4096;
    while (larger < wanted)
        larger *= 2;
    return larger;
}

static int make_room(struct stack_driver *driver, uint64_t entries, uint64_t data) {
    uint64_t capacity = enough(driver->capacity, driver->count + entries);
    if (capacity != driver->capacity) {
        driver->entries = reallocarray(driver->entries, capacity, sizeof *driver->entries);
        driver->data_starts =
            reallocarray(driver->data_starts, capacity, sizeof *driver->data_starts);
        driver->capacity = capacity;
    }
    uint64_t data_capacity = enough(driver->data_capacity, driver->data_used + data);
    if (data_capacity != driver->data_capacity) {
        driver->data = realloc(driver->data, data_capacity);
        driver->data_capacity = data_capacity;
    }
    return driver->entries != NULL && driver->data_starts != NULL && driver->data != NULL ? 0 : -1;
}

static void copy_bytes(struct stack_driver *driver, uint64_t position, uint32_t length) {
    if (length != 0)
        memcpy(driver->data + driver->data_used, driver->pool + position, length);
    driver->data_used += length;
}

/* Its data; behind that, where copies of bytes differ, the earlier copy. */
static int copy_entry(struct stack_driver *driver, const struct mb_entry *entry) {
    if (make_room(driver, 1, 2 * (uint64_t)entry->data_length) != 0)
        return -1;
    driver->entries[driver->count] = *entry;
    driver->data_starts[driver->count++] = driver->data_used;
    copy_bytes(driver, entry->frame + entry->data_offset, entry->data_length);
    if (entry->type == MB_TYPE_TCP_OVERLAP_INCONSISTENT)
        copy_bytes(driver, entry->payload.tcp_inconsistency.previous_position, entry->data_length);
    return 0;
}

/* Copies what was published since, and makes room for more. */
static int take_entries(struct stack_driver *driver) {
    for (; driver->seen < driver->log.next; driver->seen++)
        if (copy_entry(driver, &driver->log.slots[driver->seen & driver->log.slot_mask]) != 0)
            return -1;
    mb_log_commit(&driver->log);
    return 0;
}

/* Into the pool, where the sanitizers know its end. */
static int place(struct stack_driver *driver, const uint8_t *bytes, struct mb_frame *frame) {
    uint64_t whole = (frame->length + SHADOW_GRANULE - 1) / SHADOW_GRANULE * SHADOW_GRANULE;
    if (whole + BETWEEN_FRAMES > pool_size - driver->pool_used)
        return -1;
    uint8_t *at = driver->pool + driver->pool_used;
    ASAN_POISON_MEMORY_REGION(at, whole + BETWEEN_FRAMES);
    ASAN_UNPOISON_MEMORY_REGION(at, frame->length);
    memcpy(at, bytes + frame->offset, frame->length);
    frame->offset = driver->pool_used;
    driver->pool_used += whole + BETWEEN_FRAMES;
    return 0;
}

static int handle(struct stack_driver *driver, const struct mb_frame *frames, size_t count) {
    struct mb_handled handled[MB_BATCH];
    for (size_t done = 0; done < count;) {
        done += mb_stack_handle(driver->stack, driver->pool, frames + done, count - done, handled);
        if (take_entries(driver) != 0)
            return -1;
    }
    return 0;
}

/* The frames' offsets count in `bytes`. They are handed over `batch` at a time. -1: no memory. */
int stack_driver_send(struct stack_driver *driver, const uint8_t *bytes,
                      const struct mb_frame *frames, size_t count, size_t batch) {
    struct mb_frame placed[MB_BATCH];
    for (size_t done = 0; done < count;) {
        size_t now = count - done < batch ? count - done : batch;
        for (size_t i = 0; i < now; i++) {
            placed[i] = frames[done + i];
            if (place(driver, bytes, &placed[i]) != 0)
                return -1;
        }
        if (handle(driver, placed, now) != 0)
            return -1;
        done += now;
    }
    return 0;
}

/* Which worker each frame is for. */
void stack_driver_share_out(const uint8_t *bytes, const struct mb_frame *frames, size_t count,
                            uint32_t workers, uint32_t *worker) {
    for (size_t i = 0; i < count; i++)
        worker[i] = mb_partition_worker(workers, &frames[i], bytes + frames[i].offset);
}

int stack_driver_finish(struct stack_driver *driver) {
    bool is_finished;
    do {
        is_finished = mb_stack_finish(driver->stack, MB_REASON_END_SHUTDOWN);
        if (take_entries(driver) != 0)
            return -1;
    } while (!is_finished);
    return 0;
}

uint64_t stack_driver_count(const struct stack_driver *driver) {
    return driver->count;
}

const struct mb_entry *stack_driver_entries(const struct stack_driver *driver) {
    return driver->entries;
}

const uint64_t *stack_driver_data_starts(const struct stack_driver *driver) {
    return driver->data_starts;
}

const uint8_t *stack_driver_data(const struct stack_driver *driver) {
    return driver->data;
}

uint64_t stack_driver_data_size(const struct stack_driver *driver) {
    return driver->data_used;
}

const struct mb_stack_counters *stack_driver_counters(const struct stack_driver *driver) {
    return mb_stack_counters(driver->stack);
}
