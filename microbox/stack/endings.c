#include "microbox/stack/endings.h"

#include "microbox/stack/lazy_memory.h"

#include <errno.h>

size_t mb_endings_bytes(uint32_t capacity) {
    return (size_t)capacity * sizeof(struct mb_ending);
}

int mb_endings_create(struct mb_endings *endings, uint32_t capacity) {
    *endings =
        (struct mb_endings){.heap = mb_lazy_map(mb_endings_bytes(capacity)), .capacity = capacity};
    return endings->heap != NULL ? 0 : -ENOMEM;
}

void mb_endings_destroy(struct mb_endings *endings) {
    mb_lazy_unmap(endings->heap, mb_endings_bytes(endings->capacity));
    endings->heap = NULL;
}

static bool goes_before(const struct mb_ending *one, const struct mb_ending *other) {
    return one->number != other->number ? one->number < other->number : one->kind < other->kind;
}

void mb_endings_add(struct mb_endings *endings, struct mb_ending ending) {
    uint32_t place = endings->count++;
    while (place != 0) {
        const uint32_t above = (place - 1) / 2;
        if (!goes_before(&ending, &endings->heap[above]))
            break;
        endings->heap[place] = endings->heap[above];
        place = above;
    }
    endings->heap[place] = ending;
}

/* Of the two below `place`; `count` where there is none. */
static uint32_t smaller_below(const struct mb_endings *endings, uint32_t place) {
    const uint64_t left = 2 * (uint64_t)place + 1;
    if (left >= endings->count)
        return endings->count;
    const bool has_right = left + 1 < endings->count;
    return (uint32_t)left +
           (has_right && goes_before(&endings->heap[left + 1], &endings->heap[left]));
}

struct mb_ending mb_endings_take(struct mb_endings *endings) {
    const struct mb_ending first = endings->heap[0];
    const struct mb_ending last = endings->heap[--endings->count];
    uint32_t place = 0;
    for (;;) {
        const uint32_t below = smaller_below(endings, place);
        if (below == endings->count || !goes_before(&endings->heap[below], &last))
            break;
        endings->heap[place] = endings->heap[below];
        place = below;
    }
    endings->heap[place] = last;
    return first;
}
