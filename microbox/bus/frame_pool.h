/*
 * One address space for all frames of a worker: the capture, and behind it, from the next page on,
 * the area that the worker assembles datagrams in, and the one that it makes versions of edited
 * frames in (version.h). A frame's 64-bit offset counts in it, so whoever
 * has the pool mapped reads any frame at `bytes + offset`, wherever it came from.
 *
 * Where packets come from a stream, the window that it is read into takes the capture's place
 * (io/window.h): an area like the others, whose memory is used again.
 */
#ifndef MICROBOX_BUS_FRAME_POOL_H
#define MICROBOX_BUS_FRAME_POOL_H

#include <stdbool.h>
#include <stdint.h>

struct mb_frame_pool {
    const uint8_t *bytes; /* NULL: not mapped */
    uint64_t size;        /* of all; what no file is behind (up to the page) reads as zero */
    uint64_t unstable;    /* what lies from here on may be used again for other frames */
    uint64_t assembled;   /* where the assembled area begins */
    uint64_t versions;    /* where the versions begin; = size where there are none */
};

/* Where the assembled area begins behind a capture of `size` bytes. */
uint64_t mb_frame_pool_assembled(uint64_t size);

/* A part of the pool as its owner sends it; `size` 0: there is none. */
struct mb_pool_part {
    int fd;
    uint64_t size;
    bool is_window; /* of a capture: it is none, but the window of a stream */
};

/* Maps all read-only. Takes no descriptor. A capture must not be made shorter while it is mapped.
 * Returns 0, -errno, or what mb_area_check says of the areas. */
int mb_frame_pool_map(struct mb_frame_pool *pool, struct mb_pool_part capture,
                      struct mb_pool_part assembled, struct mb_pool_part versions);

/* Safe on a zeroed or unmapped pool. */
void mb_frame_pool_unmap(struct mb_frame_pool *pool);

#endif
