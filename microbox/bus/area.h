/*
 * Shared areas: memory that one process writes and others map read-only.
 *
 * The owner makes a memfd, maps it, then seals it against shrinking, growing, further seals and
 * future writable mappings: from then on not even /proc/self/fd/N gives anybody else a way to
 * write. Readers check seals and size before they map.
 */
#ifndef MICROBOX_BUS_AREA_H
#define MICROBOX_BUS_AREA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mb_area {
    void *base;
    size_t size;
    int fd; /* the owner's; -1 in a reader once mapped */
    bool writable;
};

/* Makes, maps and seals an area of `size` bytes (a multiple of the page size), all zero.
 * Returns 0, or -errno. `name` is for /proc/PID/maps only. */
int mb_area_create(struct mb_area *area, const char *name, size_t size);

/* Whether `fd` is an area as another process should have made it. `size` is what the plan says:
 * returns 0, -EPERM where a seal is missing, -EINVAL where the size differs. */
int mb_area_check(int fd, size_t size);

/* Checks, then maps another process's area read-only. Does not take ownership of `fd`. */
int mb_area_map(struct mb_area *area, int fd, size_t size);

/* Unmaps, and closes the owner's descriptor. Safe on a zeroed or destroyed area. */
void mb_area_destroy(struct mb_area *area);

#endif
