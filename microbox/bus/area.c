#include "microbox/bus/area.h"

#include "microbox/bus/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL };

int mb_area_create(struct mb_area *area, const char *name, size_t size) {
    *area = (struct mb_area){.fd = -1};
    if (size == 0 || size % MB_PAGE_SIZE != 0)
        return -EINVAL;
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    void *base = MAP_FAILED;
    if (ftruncate(fd, (off_t)size) == 0)
        base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED || fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
        int error = -errno;
        if (base != MAP_FAILED)
            munmap(base, size);
        close(fd);
        return error;
    }
    *area = (struct mb_area){.base = base, .size = size, .fd = fd, .writable = true};
    return 0;
}

int mb_area_check(int fd, size_t size) {
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0)
        return errno == EINVAL ? -EPERM : -errno; /* EINVAL: not a memfd, so it has no seals */
    if ((seals & SEALS) != SEALS)
        return -EPERM;
    struct stat status;
    if (fstat(fd, &status) != 0)
        return -errno;
    if (size == 0 || status.st_size < 0 || (size_t)status.st_size != size)
        return -EINVAL;
    return 0;
}

int mb_area_map(struct mb_area *area, int fd, size_t size) {
    *area = (struct mb_area){.fd = -1};
    int error = mb_area_check(fd, size);
    if (error != 0)
        return error;
    void *base = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return -errno;
    *area = (struct mb_area){.base = base, .size = size, .fd = -1, .writable = false};
    return 0;
}

void mb_area_destroy(struct mb_area *area) {
    if (area->base == NULL)
        return;
    munmap(area->base, area->size);
    if (area->fd >= 0)
        close(area->fd);
    *area = (struct mb_area){.fd = -1};
}
