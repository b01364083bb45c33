/*
 * The memory that a stream is read into, and that is the frame pool of its packets: a ring of fixed
 * size, which other processes map read-only.
 *
 * A position counts all bytes of the ring ever given out, so it never goes back; the byte at a
 * position lies at its remainder by the ring's size. What lies from `front` on may still be read by
 * somebody, and of what lies before it the ranges that are kept. A record lies in one piece: where
 * it meets the ring's end, or a range that is kept, whoever reads it in begins it anew behind that.
 *
 * Private to this folder, but for the ranges.
 */
#ifndef MICROBOX_IO_WINDOW_H
#define MICROBOX_IO_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes [start, end) of a frame pool. */
struct mb_range {
    uint64_t start;
    uint64_t end;
};

/* Ranges that are collected, in any order. Zeroed: none. */
struct mb_ranges {
    struct mb_range *at;
    size_t count;
    size_t capacity;
    bool is_short; /* there was no memory for one of them */
};

/* Whole words of 8 bytes: who copies what may be used again copies such (bus/skip.c). */
void mb_ranges_add(struct mb_ranges *ranges, uint64_t start, uint64_t length);
void mb_ranges_free(struct mb_ranges *ranges);

struct mb_frame_window {
    uint8_t *bytes;
    uint64_t size; /* a multiple of the page size */
    int fd;        /* sealed: nobody else can write */
    uint64_t front;
    struct mb_ranges kept; /* in order, apart from each other */
};

enum { MB_WINDOW_SIZE_MIN = 4 << 20 };

/* Returns 0 or -errno. */
int mb_window_create(struct mb_frame_window *window, uint64_t size);
void mb_window_destroy(struct mb_frame_window *window);

static inline uint8_t *mb_window_at(const struct mb_frame_window *window, uint64_t position) {
    return window->bytes + position % window->size;
}

/* Memory in one piece that nobody reads. */
struct mb_run {
    uint64_t position;
    uint64_t length;
};

/* The first run of at least `needed` bytes (not 0) from position `from` on. False: there is none
 * before more is given back. */
bool mb_window_find_run(const struct mb_frame_window *window, uint64_t from, uint64_t needed,
                        struct mb_run *run);

/* What lies before `front` is given back, but for `kept`: ranges of the pool, which are taken and
 * left empty. */
void mb_window_give_back(struct mb_frame_window *window, uint64_t front, struct mb_ranges *kept);

/* Bytes before the front that nothing is read into. */
uint64_t mb_window_kept(const struct mb_frame_window *window);

#endif
