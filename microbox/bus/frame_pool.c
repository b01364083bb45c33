#include "microbox/bus/frame_pool.h"

#include "microbox/bus/area.h"
#include "microbox/bus/layout.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

uint64_t mb_frame_pool_assembled(uint64_t size) {
    return (size + MB_PAGE_SIZE - 1) / MB_PAGE_SIZE * MB_PAGE_SIZE;
}

/* Puts the file in the place of the reserved pages at `at`. */
static bool map_over(uint8_t *at, struct mb_pool_part part) {
    return part.size == 0 ||
           mmap(at, part.size, PROT_READ, MAP_SHARED | MAP_FIXED, part.fd, 0) != MAP_FAILED;
}

static int check(struct mb_pool_part part) {
    return part.size != 0 ? mb_area_check(part.fd, part.size) : 0;
}

int mb_frame_pool_map(struct mb_frame_pool *pool, struct mb_pool_part capture,
                      struct mb_pool_part assembled, struct mb_pool_part versions) {
    *pool = (struct mb_frame_pool){0};
    const uint64_t most = (PTRDIFF_MAX - MB_PAGE_SIZE) / 3;
    if (capture.size > most || assembled.size > most || versions.size > most)
        return -ENOMEM;
    int error = capture.is_window ? check(capture) : 0;
    if (error == 0)
        error = check(assembled);
    if (error == 0)
        error = check(versions);
    if (error != 0)
        return error;
    const uint64_t assembled_at = mb_frame_pool_assembled(capture.size);
    const uint64_t versions_at = assembled_at + assembled.size;
    const uint64_t total = versions_at + versions.size;
    if (total == 0)
        return 0;
    void *reserved =
        mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED)
        return -errno;
    uint8_t *bytes = reserved;
    if (!map_over(bytes, capture) || !map_over(bytes + assembled_at, assembled) ||
        !map_over(bytes + versions_at, versions)) {
        error = -errno;
        munmap(reserved, total);
        return error;
    }
    *pool = (struct mb_frame_pool){
        .bytes = bytes,
        .size = total,
        .unstable = capture.is_window ? 0 : assembled_at,
        .assembled = assembled_at,
        .versions = versions_at,
    };
    return 0;
}

void mb_frame_pool_unmap(struct mb_frame_pool *pool) {
    if (pool->bytes != NULL)
        munmap((void *)(uintptr_t)pool->bytes, pool->size);
    *pool = (struct mb_frame_pool){0};
}
