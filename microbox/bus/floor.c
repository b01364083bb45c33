/*
 * The overwrite floor: what the worker says before it overwrites entries that NFs which skip have
 * not read (layout.h, "Floor"), and how many entries that were for them it took away.
 *
 * It moves in blocks, so that counting and telling cost next to nothing an entry; the counting
 * reads lines that are about to be written anyway. A floor is the end of a packet, as heads and
 * cursors are.
 */
#include "microbox/bus/atomic.h"
#include "microbox/bus/log.h"

enum { BLOCKS = 16 }; /* of a log: the floor moves by one at least */

static const struct mb_entry *entry_at(const struct mb_log *log, uint64_t sequence) {
    return &log->slots[sequence & log->slot_mask];
}

/* The first end of a packet from `wanted` on, as far as `passed`. */
static uint64_t end_of_packet(const struct mb_log *log, uint64_t wanted, uint64_t passed) {
    while (wanted < passed && !(entry_at(log, wanted - 1)->flags & MB_LAST))
        wanted++;
    return wanted;
}

static void count(struct mb_log *log, const struct mb_entry *entry) {
    for (uint64_t rest = log->skipping; rest != 0; rest &= rest - 1) {
        const unsigned index = (unsigned)__builtin_ctzll(rest);
        const uint64_t *bits = log->consumer[index].delivers[entry->type];
        if (entry->sequence >= log->since[index] &&
            ((entry->mask[0] & bits[0]) | (entry->mask[1] & bits[1])) != 0)
            log->named[index]++;
    }
}

/* Before anything is overwritten, and in this order: `copy_intact` and `exact_loss` in
 * docs/bus-protocol.md. */
static void tell(struct mb_log *log) {
    mb_announce(&log->page->floor, log->floor);
    for (uint64_t rest = log->skipping; rest != 0; rest &= rest - 1) {
        const unsigned index = (unsigned)__builtin_ctzll(rest);
        mb_store_relaxed(&log->page->named_before[index], log->named[index]);
    }
    mb_store_release(&log->page->counted, log->floor);
}

void mb_log_raise_floor(struct mb_log *log, uint64_t passed) {
    const uint64_t slots = log->slot_mask + 1;
    if (passed <= log->floor || log->next + MB_ENTRIES_PER_PACKET <= log->floor + slots)
        return;
    uint64_t floor = log->next + MB_ENTRIES_PER_PACKET + slots / BLOCKS - slots;
    floor = floor < passed ? end_of_packet(log, floor, passed) : passed;
    for (uint64_t sequence = log->floor; sequence < floor; sequence++)
        count(log, entry_at(log, sequence));
    log->floor = floor;
    tell(log);
}

void mb_log_give_up_frames(struct mb_log *log) {
    if (log->skipping == 0 || log->frames_floor == log->passed_by_all)
        return;
    log->frames_floor = log->passed_by_all;
    mb_announce(&log->page->frames_floor, log->frames_floor);
}
