#include "microbox/bus/version.h"

#include <assert.h>
#include <stdbool.h>

static const uint64_t INDEX_MASK = (UINT64_C(1) << MB_VERSION_INDEX_BITS) - 1;
static const uint64_t RING_MIN = UINT64_C(4) * MB_VERSION_FRAME_MAX;
static const uint64_t RING_MAX = UINT64_C(1) << 29; /* so that an index has bits enough */

static_assert(sizeof(struct mb_version) % MB_VERSION_ALIGNMENT == 0, "the bytes follow aligned");

static bool is_power_of_two(uint64_t value) {
    return value != 0 && (value & (value - 1)) == 0;
}

static bool is_sound(const struct mb_versions_shape *shape) {
    return shape->editors <= MB_NFS_MAX && is_power_of_two(shape->log_slots) &&
           shape->log_slots >= MB_LOG_SLOTS_MIN && is_power_of_two(shape->ring_bytes) &&
           shape->ring_bytes >= RING_MIN && shape->ring_bytes <= RING_MAX;
}

static uint64_t table_size(const struct mb_versions_shape *shape) {
    return shape->log_slots * sizeof(uint64_t);
}

uint64_t mb_versions_size(const struct mb_versions_shape *shape) {
    return is_sound(shape) ? shape->editors * (table_size(shape) + shape->ring_bytes) : 0;
}

uint64_t mb_versions_table(const struct mb_versions_shape *shape, uint32_t editor) {
    return (editor - 1) * table_size(shape);
}

uint64_t mb_versions_ring(const struct mb_versions_shape *shape, uint32_t editor) {
    return shape->editors * table_size(shape) + (editor - 1) * shape->ring_bytes;
}

/* How often the log had gone round, as far as a word has room for it: with the smallest log a word
 * would be mistaken for another one after 2^52 entries. */
static uint64_t round_of(const struct mb_versions_shape *shape, uint64_t sequence) {
    return sequence / shape->log_slots << MB_VERSION_INDEX_BITS;
}

uint64_t mb_version_word(const struct mb_versions_shape *shape, uint64_t sequence, uint64_t at) {
    return round_of(shape, sequence) | (1 + at / MB_VERSION_ALIGNMENT);
}

uint64_t mb_version_at(const struct mb_versions_shape *shape, uint64_t sequence, uint64_t word) {
    const uint64_t index = word & INDEX_MASK;
    if (index == 0 || (word & ~INDEX_MASK) != round_of(shape, sequence))
        return UINT64_MAX;
    return (index - 1) * MB_VERSION_ALIGNMENT;
}
