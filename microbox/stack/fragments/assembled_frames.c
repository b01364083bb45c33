#include "microbox/stack/fragments/assembled_frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint64_t mb_assembled_size(uint32_t datagrams) {
    return (uint64_t)datagrams *
           (MB_ASSEMBLED_LARGE + (uint64_t)MB_ASSEMBLED_SMALL_PER_LARGE * MB_ASSEMBLED_SMALL);
}

static uint32_t small_ones(uint32_t datagrams) {
    return datagrams * MB_ASSEMBLED_SMALL_PER_LARGE;
}

static size_t slots_size(uint32_t count) {
    return ((size_t)count + 1) * sizeof(struct mb_assembled_slot);
}

uint64_t mb_assembled_slots_bytes(uint32_t datagrams) {
    return slots_size(datagrams) + slots_size(small_ones(datagrams));
}

/* --- lists of slots --- */

static void push(struct mb_assembled_class *slots, uint32_t *list, uint32_t index) {
    slots->slots[index].next = *list;
    *list = index;
}

static uint32_t pop(struct mb_assembled_class *slots, uint32_t *list) {
    uint32_t index = *list;
    *list = slots->slots[index].next;
    return index;
}

static void wait_at(struct mb_assembled_class *slots, uint32_t index, uint64_t position) {
    struct mb_assembled_slot *slot = &slots->slots[index];
    slot->position = position;
    slot->next = 0;
    if (slots->waiting == 0)
        slots->waiting = index;
    else
        slots->slots[slots->waiting_last].next = index;
    slots->waiting_last = index;
}

static void set_free(struct mb_assembled_class *slots, uint32_t index) {
    push(slots, &slots->free, index);
    slots->free_count++;
}

static void take_in_hand(struct mb_assembled_class *slots, uint32_t index) {
    slots->slots[index].is_in_hand = true;
    push(slots, &slots->in_hand, index);
}

/* --- making one --- */

static int create_class(struct mb_assembled_class *slots, uint64_t base, uint32_t size,
                        uint32_t count) {
    *slots = (struct mb_assembled_class){.base = base, .size = size, .count = count};
    slots->slots = calloc(1, slots_size(count));
    if (slots->slots == NULL)
        return -ENOMEM;
    for (uint32_t index = count; index > 0; index--)
        set_free(slots, index);
    return 0;
}

int mb_assembled_create(struct mb_assembled_frames *frames, uint8_t *bytes, uint64_t offset,
                        uint32_t datagrams, struct mb_log *log) {
    memset(frames, 0, sizeof *frames);
    uint32_t small = small_ones(datagrams);
    if (create_class(&frames->classes[0], 0, MB_ASSEMBLED_SMALL, small) != 0 ||
        create_class(&frames->classes[1], (uint64_t)small * MB_ASSEMBLED_SMALL, MB_ASSEMBLED_LARGE,
                     datagrams) != 0) {
        mb_assembled_destroy(frames);
        return -ENOMEM;
    }
    frames->bytes = bytes;
    frames->offset = offset;
    frames->size = mb_assembled_size(datagrams);
    frames->log = log;
    return 0;
}

void mb_assembled_destroy(struct mb_assembled_frames *frames) {
    for (unsigned size = 0; size < MB_ASSEMBLED_SIZES; size++)
        free(frames->classes[size].slots);
    memset(frames, 0, sizeof *frames);
}

/* --- taking --- */

static void reclaim(struct mb_assembled_frames *frames, struct mb_assembled_class *slots) {
    mb_log_learn_limit(frames->log);
    mb_log_give_up_frames(frames->log);
    uint64_t passed = frames->log->passed_by_all;
    while (slots->waiting != 0 && slots->slots[slots->waiting].position <= passed)
        set_free(slots, pop(slots, &slots->waiting));
}

static bool class_has_room(struct mb_assembled_frames *frames, struct mb_assembled_class *slots) {
    if (slots->free_count >= MB_ASSEMBLED_PER_PACKET)
        return true;
    reclaim(frames, slots);
    return slots->free_count >= MB_ASSEMBLED_PER_PACKET || slots->waiting == 0;
}

bool mb_assembled_has_room(struct mb_assembled_frames *frames) {
    for (unsigned size = 0; size < MB_ASSEMBLED_SIZES; size++)
        if (!class_has_room(frames, &frames->classes[size]))
            return false;
    return true;
}

bool mb_assembled_take(struct mb_assembled_frames *frames, uint32_t length, uint64_t *frame) {
    struct mb_assembled_class *slots = &frames->classes[length > MB_ASSEMBLED_SMALL];
    if (slots->free == 0)
        return false;
    uint32_t index = pop(slots, &slots->free);
    slots->free_count--;
    take_in_hand(slots, index);
    *frame = frames->offset + slots->base + (uint64_t)(index - 1) * slots->size;
    return true;
}

/* --- pins --- */

static struct mb_assembled_class *class_of(struct mb_assembled_frames *frames, uint64_t at,
                                           uint32_t *index) {
    uint64_t offset = at - frames->offset;
    struct mb_assembled_class *slots = &frames->classes[offset >= frames->classes[1].base];
    *index = (uint32_t)((offset - slots->base) / slots->size) + 1;
    return slots;
}

void mb_assembled_pin_slot(struct mb_assembled_frames *frames, uint64_t at) {
    uint32_t index;
    struct mb_assembled_class *slots = class_of(frames, at, &index);
    if (slots->slots[index].pins++ == 0)
        slots->pinned++;
}

void mb_assembled_unpin_slot(struct mb_assembled_frames *frames, uint64_t at) {
    uint32_t index;
    struct mb_assembled_class *slots = class_of(frames, at, &index);
    struct mb_assembled_slot *slot = &slots->slots[index];
    if (--slot->pins != 0)
        return;
    slots->pinned--;
    if (!slot->is_in_hand)
        take_in_hand(slots, index);
}

/* --- the end of a packet --- */

/* Whether the class has too few slots for another packet, until readers pass some that were put
 * down since the last batch ended, those in hand among them. */
static bool leaves_too_few(const struct mb_assembled_class *slots) {
    uint32_t unended = slots->unended;
    for (uint32_t index = slots->in_hand; index != 0; index = slots->slots[index].next)
        unended += slots->slots[index].pins == 0;
    return unended != 0 && slots->pinned + unended + MB_ASSEMBLED_PER_PACKET > slots->count;
}

bool mb_assembled_leaves_too_few(struct mb_assembled_frames *frames) {
    for (unsigned size = 0; size < MB_ASSEMBLED_SIZES; size++)
        frames->ends_batch |= leaves_too_few(&frames->classes[size]);
    return frames->ends_batch;
}

static void put_down(struct mb_assembled_class *slots, uint64_t position) {
    while (slots->in_hand != 0) {
        uint32_t index = pop(slots, &slots->in_hand);
        slots->slots[index].is_in_hand = false;
        if (slots->slots[index].pins != 0)
            continue;
        wait_at(slots, index, position);
        slots->unended++;
    }
}

void mb_assembled_put_down(struct mb_assembled_frames *frames) {
    for (unsigned size = 0; size < MB_ASSEMBLED_SIZES; size++) {
        put_down(&frames->classes[size], frames->log->next);
        if (frames->ends_batch)
            frames->classes[size].unended = 0;
    }
    frames->ends_batch = false;
}
