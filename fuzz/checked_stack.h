/*
 * A stack whose one subscriber wants everything and checks what each entry says of its frame.
 * abort() on the first entry that lies: that is what a fuzz target has for a failure.
 */
#ifndef MICROBOX_FUZZ_CHECKED_STACK_H
#define MICROBOX_FUZZ_CHECKED_STACK_H

#include "fuzz/stack_settings.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/fragments/assembled_frames.h"
#include "tests/core/condition_steps.h"

#include <stdlib.h>
#include <string.h>

#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else /* not every compiler comes with it */
#define ASAN_POISON_MEMORY_REGION(address, size)   ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

enum {
    CHECKED_LOG_SLOTS = 1 << 13,
    CHECKED_DATAGRAMS = 1,
    CHECKED_GAP = 4096,
    CHECKED_DELAY = 2,  /* packets until a command takes effect */
    CHECKED_DERIVED = 3 /* types derived from the stack's own, from MB_TYPES_BUILT_IN on */
};

struct checked_stack {
    struct mb_log *log;
    struct mb_stack *stack;
    uint8_t *pool; /* a copy of the frames, a gap that nobody may touch, the area for datagrams */
    uint64_t frames_size;
    uint64_t pool_size;
    uint64_t seen; /* entries checked so far */
    size_t batch;
    /* What else the target wants of each entry. */
    void (*look)(void *context, const struct mb_entry *entry);
    void *context;
};

static inline void checked_stack_require(bool holds) {
    if (!holds)
        abort();
}

/* One for all inputs: to make it costs more than most inputs do. */
static inline struct mb_log *checked_stack_log(void) {
    static struct mb_log log;
    if (log.slots == NULL)
        checked_stack_require(mb_log_create(&log, CHECKED_LOG_SLOTS) == 0);
    return &log;
}

static inline struct mb_derived_type checked_stack_derive(unsigned number, unsigned base,
                                                          const struct mb_condition_step *steps,
                                                          uint32_t count) {
    struct mb_derived_type derived = {.type = (uint16_t)(MB_TYPES_BUILT_IN + number),
                                      .counters = 1,
                                      .program = (const uint8_t *)steps,
                                      .program_size = count * (uint32_t)sizeof *steps,
                                      .step_count = count};
    derived.bases[base / 64] |= UINT64_C(1) << base % 64;
    return derived;
}

/* Each second packet, data that begins with a letter, connections that one side ended. */
static inline void checked_stack_derive_all(struct mb_derived_type derived[CHECKED_DERIVED]) {
    static const struct mb_condition_step seconds[] = {PUSH(1), COUNT(0), COUNTED(0),
                                                       WITH(BITS_AND, 1), WITH(EQUAL, 0)};
    static const struct mb_condition_step letters[] = {
        PUSH(0), {.opcode = MB_STEP_BYTE}, WITH(AT_LEAST, 'A')};
    static const struct mb_condition_step lonely[] = {LOAD(snapshot.side[1].packets),
                                                      WITH(EQUAL, 0)};
    derived[0] = checked_stack_derive(0, MB_TYPE_PACKET_IP, seconds, COUNT_OF(seconds));
    derived[1] = checked_stack_derive(1, MB_TYPE_TCP_DATA, letters, COUNT_OF(letters));
    derived[2] = checked_stack_derive(2, MB_TYPE_TCP_END, lonely, COUNT_OF(lonely));
}

/* Few flows, held segments and fragments, so that the limits are met. */
static inline void checked_stack_create_for(struct checked_stack *checked, const uint8_t *pool,
                                            uint64_t pool_size, uint32_t link_type,
                                            const struct stack_settings *settings,
                                            const struct mb_subscription *subscriptions,
                                            uint32_t count) {
    struct mb_derived_type derived[CHECKED_DERIVED];
    struct mb_stack_config config = {.flows_max = 16,
                                     .held_segments_per_flow = 8,
                                     .held_segments_max = 32,
                                     .fragmented_datagrams_max = 4,
                                     .fragments_per_datagram = 8,
                                     .fragment_bytes_max = 1 << 12,
                                     .assembled_datagrams_max = CHECKED_DATAGRAMS,
                                     .assembled_offset = pool_size + CHECKED_GAP,
                                     .derived = derived,
                                     .derived_count = CHECKED_DERIVED,
                                     .hash_key = {1, 2},
                                     .command_delay = CHECKED_DELAY,
                                     .link_type = link_type};
    struct mb_timer_subscription timer = {.period = 1000000000, .mask = {1, 0}};
    char error[MB_ERROR_SIZE];

    stack_settings_choose(&config, settings);
    checked_stack_derive_all(derived);
    memset(checked, 0, sizeof *checked);
    checked->frames_size = pool_size;
    checked->pool_size = config.assembled_offset + mb_assembled_size(CHECKED_DATAGRAMS);
    checked->pool = malloc(checked->pool_size);
    checked_stack_require(checked->pool != NULL);
    memcpy(checked->pool, pool, pool_size);
    ASAN_POISON_MEMORY_REGION(checked->pool + pool_size, CHECKED_GAP);
    config.assembled_bytes = checked->pool + config.assembled_offset;
    checked->batch = stack_settings_batch(settings);
    checked->log = checked_stack_log();
    checked->seen = checked->log->next;
    checked->stack = mb_stack_create(&config, checked->log, subscriptions, count, &timer, 1, error);
    checked_stack_require(checked->stack != NULL);
}

/* For one who wants everything. */
static inline void checked_stack_create(struct checked_stack *checked, const uint8_t *pool,
                                        uint64_t pool_size, uint32_t link_type,
                                        const struct stack_settings *settings) {
    struct mb_subscription everything = {.filter = ""};
    memset(everything.types, 0xff, sizeof everything.types);
    checked_stack_create_for(checked, pool, pool_size, link_type, settings, &everything, 1);
}

static inline void checked_stack_look(struct checked_stack *checked) {
    for (; checked->seen < checked->log->next; checked->seen++) {
        const struct mb_entry *entry =
            &checked->log->slots[checked->seen & checked->log->slot_mask];
        checked_stack_require(entry->sequence == checked->seen);
        checked_stack_require(entry->type < MB_TYPES_BUILT_IN + CHECKED_DERIVED &&
                              entry->reason < MB_REASONS);
        checked_stack_require(entry->frame <= checked->pool_size &&
                              entry->frame_length <= checked->pool_size - entry->frame);
        checked_stack_require(entry->data_offset <= entry->frame_length &&
                              entry->data_length <= entry->frame_length - entry->data_offset);
        if (checked->look)
            checked->look(checked->context, entry);
    }
    mb_log_commit(checked->log);
}

static inline void checked_stack_handle(struct checked_stack *checked,
                                        const struct mb_frame *frames, size_t count) {
    struct mb_handled handled[MB_BATCH];
    while (count > 0) {
        size_t batch = count < checked->batch ? count : checked->batch;
        size_t done = mb_stack_handle(checked->stack, checked->pool, frames, batch, handled);
        checked_stack_look(checked);
        frames += done;
        count -= done;
    }
}

/* Ends all flows, then frees all. */
static inline void checked_stack_destroy(struct checked_stack *checked) {
    while (!mb_stack_finish(checked->stack, MB_REASON_END_SHUTDOWN))
        checked_stack_look(checked);
    checked_stack_look(checked);
    mb_stack_destroy(checked->stack);
    ASAN_UNPOISON_MEMORY_REGION(checked->pool + checked->frames_size, CHECKED_GAP);
    free(checked->pool);
}

#endif
