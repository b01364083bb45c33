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
static bool map_over(uint8_t *at, int fd, uint64_t size) {
    return size == 0 || mmap(at, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED;
}

int mb_frame_pool_map(struct mb_frame_pool *pool, int capture_fd, uint64_t size, int assembled_fd,
                      uint64_t assembled_size) {
    *pool = (struct mb_frame_pool){0};
    const uint64_t most = PTRDIFF_MAX - MB_PAGE_SIZE;
    if (size > most || assembled_size > most - size)
        return -ENOMEM;
    int error = assembled_size != 0 ? mb_area_check(assembled_fd, assembled_size) : 0;
    if (error != 0)
        return error;
    const uint64_t assembled = mb_frame_pool_assembled(size);
    const uint64_t total = assembled + assembled_size;
    if (total == 0)
        return 0;
    void *reserved =
        mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED)
        return -errno;
    uint8_t *bytes = reserved;
    if (!map_over(bytes, capture_fd, size) ||
        !map_over(bytes + assembled, assembled_fd, assembled_size)) {
        error = -errno;
        munmap(reserved, total);
        return error;
    }
    *pool = (struct mb_frame_pool){.bytes = bytes, .size = total, .assembled = assembled};
    return 0;
}

void mb_frame_pool_unmap(struct mb_frame_pool *pool) {
    if (pool->bytes != NULL)
        munmap((void *)(uintptr_t)pool->bytes, pool->size);
    *pool = (struct mb_frame_pool){0};
}
