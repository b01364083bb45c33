/*
 * The entries of a capture are the same, byte for byte, whatever was in memory before, in the log
 * or on the stack of calls, whichever key the flow table has, and however packets are batched.
 *
 *     stack_entries CAPTURE DIRECTORY
 *
 * The captures of the directory are tried too, where there is one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "microbox/events/event_types.h"
#include "microbox/stack/fragments/assembled_frames.h"
#include "microbox/stack/stack.h"
#include "tests/core/condition_steps.h"

#include <alloca.h>
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOG_SLOTS = 1 << 13, DATAGRAMS = 8, STACK_OF_CALLS = 1 << 14, DERIVED = 2 };

static const char *own_capture;
static const char *captures;

/* What is different between two runs of a capture. */
struct circumstances {
    int before; /* what each byte of memory holds */
    size_t batch;
};

struct run {
    struct circumstances circumstances;
    uint8_t *pool; /* the capture, and the area for datagrams behind it */
    uint64_t capture_size;
    struct mb_log log;
    struct mb_stack *stack;
    struct mb_entry *entries; /* all that were published */
    size_t count;
    size_t room;
};

static void fill_stack_of_calls(int before) {
    uint8_t *bytes = alloca(STACK_OF_CALLS);
    memset(bytes, before, STACK_OF_CALLS);
    __asm__ volatile("" : : "r"(bytes) : "memory");
}

/* --- a stack that somebody wants everything of --- */

static struct mb_derived_type derive(unsigned number, unsigned base,
                                     const struct mb_condition_step *steps, size_t count) {
    struct mb_derived_type derived = {.type = (uint16_t)(MB_TYPES_BUILT_IN + number),
                                      .counters = 1,
                                      .program = (const uint8_t *)steps,
                                      .program_size = (uint32_t)(count * sizeof *steps),
                                      .step_count = (uint32_t)count};
    derived.bases[base / 64] |= UINT64_C(1) << base % 64;
    return derived;
}

static void make_stack(struct run *run, uint32_t link_type) {
    static const struct mb_condition_step seconds[] = {PUSH(1), COUNT(0), COUNTED(0),
                                                       WITH(BITS_AND, 1)};
    static const struct mb_condition_step letters[] = {
        PUSH(0), {.opcode = MB_STEP_BYTE}, WITH(AT_LEAST, 'A')};
    const struct mb_derived_type derived[DERIVED] = {
        derive(0, MB_TYPE_PACKET_IP_TCP, seconds, COUNT_OF(seconds)),
        derive(1, MB_TYPE_TCP_DATA, letters, COUNT_OF(letters)),
    };
    const struct mb_stack_config config = {.flows_max = 256,
                                           .held_segments_max = 1024,
                                           .checksums = MB_CHECKSUMS_EVENT,
                                           .derived = derived,
                                           .derived_count = DERIVED,
                                           .assembled_datagrams_max = DATAGRAMS,
                                           .assembled_bytes = run->pool + run->capture_size,
                                           .assembled_offset = run->capture_size,
                                           .link_type = link_type};
    const struct mb_timer_subscription timer = {.period = 1000000000, .mask = {1, 0}};
    struct mb_subscription everything = {.filter = ""};
    char error[MB_ERROR_SIZE] = "";

    memset(everything.types, 0xff, sizeof everything.types);
    assert_int_equal(mb_log_create(&run->log, LOG_SLOTS), 0);
    memset(run->log.slots, run->circumstances.before, LOG_SLOTS * sizeof *run->log.slots);
    run->stack = mb_stack_create(&config, &run->log, &everything, 1, &timer, 1, error);
    assert_string_equal(error, "");
}

/* --- a capture through it --- */

/* Where a whole datagram lies depends on when its slot was free; what it says does not. */
static uint64_t what_the_frame_says(const struct run *run, const struct mb_entry *entry) {
    uint64_t hash = entry->frame_length;
    for (uint32_t i = 0; i < entry->frame_length; i++)
        hash = (hash ^ run->pool[entry->frame + i]) * UINT64_C(0x100000001b3);
    return hash;
}

static void keep_entries(struct run *run) {
    for (uint64_t it = run->count; it < run->log.next; it++) {
        if (run->count == run->room) {
            run->room = run->room == 0 ? LOG_SLOTS : 2 * run->room;
            run->entries = realloc(run->entries, run->room * sizeof *run->entries);
            assert_non_null(run->entries);
        }
        struct mb_entry *entry = &run->entries[run->count++];
        *entry = run->log.slots[it & run->log.slot_mask];
        if (entry->frame >= run->capture_size)
            entry->frame = what_the_frame_says(run, entry);
    }
    mb_log_commit(&run->log);
}

static void handle(struct run *run, const struct mb_frame *frames, size_t count) {
    struct mb_handled handled[MB_BATCH];
    for (size_t done = 0; done < count;) {
        fill_stack_of_calls(run->circumstances.before);
        memset(handled, run->circumstances.before, sizeof handled);
        done += mb_stack_handle(run->stack, run->pool, frames + done, count - done, handled);
        keep_entries(run);
    }
}

static void handle_all(struct run *run, struct mb_source *source) {
    struct mb_frame frames[MB_BATCH];
    size_t count;
    run->capture_size = mb_source_pool_size(source);
    const uint64_t size = run->capture_size + mb_assembled_size(DATAGRAMS);
    run->pool = malloc(size);
    assert_non_null(run->pool);
    memset(run->pool, run->circumstances.before, size);
    memcpy(run->pool, mb_source_pool(source), run->capture_size);
    make_stack(run, mb_source_link_type(source));
    while ((count = mb_source_read(source, frames, run->circumstances.batch)) != 0)
        handle(run, frames, count);
    while (!mb_stack_finish(run->stack, MB_REASON_END_SHUTDOWN))
        keep_entries(run);
    keep_entries(run);
    mb_stack_destroy(run->stack);
    mb_log_destroy(&run->log);
    free(run->pool);
}

/* False: it is no capture. */
static bool replay(struct run *run, const char *capture) {
    char error[MB_ERROR_SIZE];
    const int fd = open(capture, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    mallopt(M_PERTURB, ~run->circumstances.before & 0xff);
    struct mb_source *source = mb_source_open(fd, capture, error);
    close(fd);
    if (source != NULL)
        handle_all(run, source);
    mb_source_close(source);
    mallopt(M_PERTURB, 0);
    return source != NULL;
}

static void require_same(const char *capture, const struct run *one, const struct run *other) {
    assert_int_equal(one->count, other->count);
    for (size_t i = 0; i < one->count; i++) {
        if (memcmp(&one->entries[i], &other->entries[i], sizeof *one->entries) == 0)
            continue;
        print_message("%s: entry %zu, %s\n", capture, i, mb_event_type_name(one->entries[i].type));
        assert_memory_equal(&one->entries[i], &other->entries[i], sizeof *one->entries);
    }
}

/* Returns how many entries there are. */
static size_t compare(const char *capture) {
    struct run one = {.circumstances = {.before = 0, .batch = MB_BATCH}};
    struct run other = {.circumstances = {.before = 0xaa, .batch = 7}};
    if (replay(&one, capture)) {
        assert_true(replay(&other, capture));
        require_same(capture, &one, &other);
    }
    free(one.entries);
    free(other.entries);
    return one.count;
}

static void entries_of_a_capture(void **state) {
    (void)state;
    assert_true(compare(own_capture) > 0);
}

static void entries_of_real_captures(void **state) {
    (void)state;
    char path[4096];
    size_t entries = 0;
    const struct dirent *file;
    DIR *directory = opendir(captures);
    if (directory == NULL)
        skip();
    while ((file = readdir(directory)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", captures, file->d_name);
        if (strstr(file->d_name, ".pcap"))
            entries += compare(path);
    }
    closedir(directory);
    print_message("compared %zu entries\n", entries);
    assert_true(entries > 0);
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: stack_entries CAPTURE DIRECTORY\n");
        return 2;
    }
    own_capture = arguments[1];
    captures = arguments[2];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_of_a_capture),
        cmocka_unit_test(entries_of_real_captures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
