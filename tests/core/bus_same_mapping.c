/*
 * Areas without descriptors: who maps one gets the owner's own memory. ThreadSanitizer knows memory
 * by its address; with a mapping each, it would take one word for several.
 */
#include "microbox/bus/area.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { AREAS_MAX = 64, ALIGNMENT = 4096 };

static struct {
    void *base;
    size_t size;
} areas[AREAS_MAX];

int mb_area_create(struct mb_area *area, const char *name, size_t size) {
    (void)name;
    for (int number = 0; number < AREAS_MAX; number++) {
        if (areas[number].base != NULL)
            continue;
        areas[number].base = aligned_alloc(ALIGNMENT, size);
        areas[number].size = size;
        if (areas[number].base == NULL)
            return -ENOMEM;
        memset(areas[number].base, 0, size);
        *area = (struct mb_area){areas[number].base, size, number, true};
        return 0;
    }
    return -ENFILE;
}

int mb_area_map(struct mb_area *area, int number, size_t size) {
    if (number < 0 || number >= AREAS_MAX || areas[number].size != size)
        return -EINVAL;
    *area = (struct mb_area){areas[number].base, size, -1, false};
    return 0;
}

void mb_area_destroy(struct mb_area *area) {
    if (area->base != NULL && area->writable) {
        free(areas[area->fd].base);
        areas[area->fd].base = NULL;
        areas[area->fd].size = 0;
    }
    *area = (struct mb_area){.fd = -1};
}
