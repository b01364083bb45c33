#include "microbox/stack/edits/versions.h"

#include "microbox/bus/atomic.h"
#include "microbox/stack/edits/packet_edit.h"

#include <stdlib.h>

/* Of one editor. Positions in the ring count from 0 and never wrap. */
struct ring {
    uint64_t *table;
    uint8_t *bytes;
    uint64_t head;
    uint64_t tail;
};

struct mb_versions {
    struct mb_versions_shape shape;
    struct mb_log *log;
    struct ring rings[];
};

struct mb_versions *mb_versions_create(const struct mb_versions_shape *shape, uint8_t *area,
                                       struct mb_log *log) {
    struct mb_versions *versions =
        calloc(1, sizeof *versions + shape->editors * sizeof versions->rings[0]);
    if (versions == NULL)
        return NULL;
    versions->shape = *shape;
    versions->log = log;
    for (uint32_t editor = 1; editor <= shape->editors; editor++) {
        struct ring *ring = &versions->rings[editor - 1];
        ring->table = (uint64_t *)(area + mb_versions_table(shape, editor));
        ring->bytes = area + mb_versions_ring(shape, editor);
    }
    return versions;
}

void mb_versions_destroy(struct mb_versions *versions) {
    free(versions);
}

uint64_t mb_versions_ring_bytes(const struct mb_versions *versions) {
    return versions->shape.ring_bytes;
}

static uint64_t size_of(uint32_t length) {
    return sizeof(struct mb_version) + ((uint64_t)length + MB_VERSION_ALIGNMENT - 1) /
                                           MB_VERSION_ALIGNMENT * MB_VERSION_ALIGNMENT;
}

static struct mb_version *at(const struct mb_versions *versions, const struct ring *ring,
                             uint64_t position) {
    return (struct mb_version *)(ring->bytes + (position & (versions->shape.ring_bytes - 1)));
}

static uint64_t to_the_end(const struct mb_versions *versions, const struct ring *ring) {
    return versions->shape.ring_bytes - (ring->head & (versions->shape.ring_bytes - 1));
}

static bool is_free(const struct mb_versions *versions, const struct mb_version *version,
                    uint64_t left) {
    return version->until <= versions->log->passed_by_all && version->number < left;
}

/* The rest of the ring that is left empty is free when what lies before it is. */
static void free_passed(const struct mb_versions *versions, struct ring *ring, uint64_t left) {
    const uint64_t before = ring->tail;
    while (ring->tail != ring->head) {
        const struct mb_version *oldest = at(versions, ring, ring->tail);
        if (oldest->length == 0)
            ring->tail +=
                versions->shape.ring_bytes - (ring->tail & (versions->shape.ring_bytes - 1));
        else if (is_free(versions, oldest, left))
            ring->tail += size_of(oldest->length);
        else
            break;
    }
    if (ring->tail != before)
        mb_log_give_up_frames(versions->log);
}

static bool has_room(const struct mb_versions *versions, const struct ring *ring, uint64_t need) {
    return ring->head + need - ring->tail <= versions->shape.ring_bytes;
}

struct mb_version *mb_versions_room(struct mb_versions *versions, uint32_t editor, uint32_t length,
                                    uint64_t left) {
    struct ring *ring = &versions->rings[editor - 1];
    const uint64_t size = size_of(length);
    const uint64_t rest = to_the_end(versions, ring);
    const uint64_t need = size <= rest ? size : rest + size;
    if (!has_room(versions, ring, need)) {
        mb_log_learn_limit(versions->log);
        free_passed(versions, ring, left);
    }
    if (!has_room(versions, ring, need))
        return NULL;
    if (size > rest) {
        at(versions, ring, ring->head)->length = 0;
        ring->head += rest;
    }
    return at(versions, ring, ring->head);
}

void mb_versions_keep(struct mb_versions *versions, uint32_t editor,
                      const struct mb_version *version) {
    versions->rings[editor - 1].head += size_of(version->length);
}

void mb_versions_show(struct mb_versions *versions, uint32_t editor,
                      const struct mb_version *version, uint64_t sequence) {
    const struct ring *ring = &versions->rings[editor - 1];
    const uint64_t place = (uint64_t)((const uint8_t *)version - ring->bytes);
    mb_store_relaxed(&ring->table[sequence & (versions->shape.log_slots - 1)],
                     mb_version_word(&versions->shape, sequence, place));
}
