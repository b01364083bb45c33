/*
 * How an NF's area is laid out: page, counters, verdicts, rewrites, edits, own log, data ring,
 * commands, replacements, each from a page boundary on.
 */
#include "microbox/bus/reader.h"

#include <stddef.h>

enum { COUNTER_PAGES = 2, OWN_SLOTS_MIN = 16, COMMAND_SLOTS_MIN = 4096 };

static const uint64_t LOG_SLOTS_MAX = UINT64_C(1) << 32;
static const uint64_t OWN_SLOTS_MAX = UINT64_C(1) << 24;
static const uint64_t RING_BYTES_MAX = UINT64_C(1) << 32;
static const uint64_t COMMAND_SLOTS_MAX = UINT64_C(1) << 24;

static bool is_power_of_two_within(uint64_t value, uint64_t least, uint64_t most) {
    return value >= least && value <= most && (value & (value - 1)) == 0;
}

static bool is_sound(const struct mb_nf_geometry *geometry) {
    if (!is_power_of_two_within(geometry->log_slots, MB_LOG_SLOTS_MIN, LOG_SLOTS_MAX))
        return false;
    if ((geometry->rewrites || geometry->editor != 0) && !geometry->is_inline)
        return false;
    if (geometry->editor > MB_NFS_MAX || (geometry->edit_bytes != 0 && geometry->editor == 0))
        return false;
    if (geometry->edit_bytes != 0 &&
        !is_power_of_two_within(geometry->edit_bytes, MB_PAGE_SIZE, RING_BYTES_MAX))
        return false;
    if (geometry->command_slots != 0 &&
        !is_power_of_two_within(geometry->command_slots, COMMAND_SLOTS_MIN, COMMAND_SLOTS_MAX))
        return false;
    if (geometry->own_slots == 0)
        return geometry->ring_bytes == 0;
    return is_power_of_two_within(geometry->own_slots, OWN_SLOTS_MIN, OWN_SLOTS_MAX) &&
           is_power_of_two_within(geometry->ring_bytes, MB_PAGE_SIZE, RING_BYTES_MAX);
}

/* Where the parts begin, from the area's first byte. */
struct offsets {
    size_t counters, verdicts, rewrites, edits, slots, ring, commands, replacements, end;
};

static struct offsets offsets_of(const struct mb_nf_geometry *geometry) {
    struct offsets offsets;
    offsets.counters = MB_PAGE_SIZE;
    offsets.verdicts = offsets.counters + COUNTER_PAGES * MB_PAGE_SIZE;
    offsets.rewrites = offsets.verdicts + (geometry->is_inline ? geometry->log_slots : 0);
    offsets.edits = offsets.rewrites +
                    (geometry->rewrites ? geometry->log_slots * sizeof(struct mb_rewrite) : 0);
    offsets.slots =
        offsets.edits + (geometry->editor != 0 ? geometry->log_slots * sizeof(struct mb_edit) : 0);
    offsets.ring = offsets.slots + geometry->own_slots * sizeof(struct mb_nf_entry);
    offsets.commands = offsets.ring + geometry->ring_bytes;
    offsets.replacements = offsets.commands + geometry->command_slots * sizeof(struct mb_command);
    offsets.end = offsets.replacements + geometry->edit_bytes;
    return offsets;
}

size_t mb_nf_area_size(const struct mb_nf_geometry *geometry) {
    return is_sound(geometry) ? offsets_of(geometry).end : 0;
}

struct mb_nf_area mb_nf_area_parts(void *base, const struct mb_nf_geometry *geometry) {
    struct offsets offsets = offsets_of(geometry);
    uint8_t *first = base;
    bool publishes = geometry->own_slots != 0;
    return (struct mb_nf_area){
        .page = base,
        .counters = (struct mb_nf_counters *)(first + offsets.counters),
        .verdicts = geometry->is_inline ? first + offsets.verdicts : NULL,
        .rewrites = geometry->rewrites ? (struct mb_rewrite *)(first + offsets.rewrites) : NULL,
        .slots = publishes ? (struct mb_nf_entry *)(first + offsets.slots) : NULL,
        .ring = publishes ? first + offsets.ring : NULL,
        .commands =
            geometry->command_slots != 0 ? (struct mb_command *)(first + offsets.commands) : NULL,
        .edits = geometry->editor != 0 ? (struct mb_edit *)(first + offsets.edits) : NULL,
        .replacements = geometry->edit_bytes != 0 ? first + offsets.replacements : NULL,
    };
}
