#include "microbox/io/window.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL,
    /* Less between two ranges that are kept is not worth a call that reads into it. */
    RUN_MIN = 1 << 16,
    WORD = 8,
};

/* --- ranges --- */

void mb_ranges_add(struct mb_ranges *ranges, uint64_t start, uint64_t length) {
    if (ranges->count == ranges->capacity) {
        const size_t capacity = ranges->capacity ? 2 * ranges->capacity : 64;
        struct mb_range *at = realloc(ranges->at, capacity * sizeof *at);
        ranges->is_short |= !at;
        if (!at)
            return;
        ranges->at = at;
        ranges->capacity = capacity;
    }
    ranges->at[ranges->count++] = (struct mb_range){
        start / WORD * WORD,
        (start + length + WORD - 1) / WORD * WORD,
    };
}

void mb_ranges_free(struct mb_ranges *ranges) {
    free(ranges->at);
    *ranges = (struct mb_ranges){0};
}

static int by_start(const void *one, const void *other) {
    const struct mb_range *a = one;
    const struct mb_range *b = other;
    return (a->start > b->start) - (a->start < b->start);
}

/* In order, and one where the way between two is short. */
static void put_together(struct mb_ranges *ranges) {
    size_t count = 0;
    if (ranges->count)
        qsort(ranges->at, ranges->count, sizeof *ranges->at, by_start);
    for (size_t i = 0; i < ranges->count; i++) {
        const struct mb_range range = ranges->at[i];
        struct mb_range *last = count ? &ranges->at[count - 1] : NULL;
        if (!last || range.start >= last->end + RUN_MIN)
            ranges->at[count++] = range;
        else if (range.end > last->end)
            last->end = range.end;
    }
    ranges->count = count;
}

/* --- the window --- */

int mb_window_create(struct mb_frame_window *window, uint64_t size) {
    *window = (struct mb_frame_window){.fd = -1};
    const int fd = memfd_create("microbox window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    void *bytes = MAP_FAILED;
    if (ftruncate(fd, (off_t)size) == 0)
        bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED || fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
        const int error = -errno;
        if (bytes != MAP_FAILED)
            munmap(bytes, size);
        close(fd);
        return error;
    }
    *window = (struct mb_frame_window){.bytes = bytes, .size = size, .fd = fd};
    return 0;
}

void mb_window_destroy(struct mb_frame_window *window) {
    if (!window->bytes)
        return;
    munmap(window->bytes, window->size);
    close(window->fd);
    mb_ranges_free(&window->kept);
    *window = (struct mb_frame_window){.fd = -1};
}

/* The first range that ends behind `offset`; the count where there is none. */
static size_t next_kept(const struct mb_ranges *kept, uint64_t offset) {
    size_t low = 0;
    size_t high = kept->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (kept->at[middle].end > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* What nothing may be read into, from `from` on; the ring's end is an obstacle of no length. As
 * positions. */
static struct mb_range next_obstacle(const struct mb_frame_window *window, uint64_t from) {
    const uint64_t offset = from % window->size;
    const uint64_t lap = from - offset;
    const size_t index = next_kept(&window->kept, offset);
    if (index == window->kept.count)
        return (struct mb_range){lap + window->size, lap + window->size};
    const struct mb_range kept = window->kept.at[index];
    return (struct mb_range){lap + (kept.start > offset ? kept.start : offset), lap + kept.end};
}

bool mb_window_find_run(const struct mb_frame_window *window, uint64_t from, uint64_t needed,
                        struct mb_run *run) {
    /* Never all of it, so that where a byte lies says its position. */
    const uint64_t limit = window->front + window->size - 1;
    while (from < limit && limit - from >= needed) {
        const struct mb_range obstacle = next_obstacle(window, from);
        const uint64_t end = obstacle.start < limit ? obstacle.start : limit;
        if (end - from >= needed) {
            *run = (struct mb_run){from, end - from};
            return true;
        }
        from = obstacle.end;
    }
    return false;
}

void mb_window_give_back(struct mb_frame_window *window, uint64_t front, struct mb_ranges *kept) {
    put_together(kept);
    mb_ranges_free(&window->kept);
    window->kept = *kept;
    window->front = front / WORD * WORD;
    *kept = (struct mb_ranges){0};
}

uint64_t mb_window_kept(const struct mb_frame_window *window) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < window->kept.count; i++)
        bytes += window->kept.at[i].end - window->kept.at[i].start;
    return bytes;
}
