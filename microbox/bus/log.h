/*
 * The worker's side of the log: claim slots, commit batches, learn what may be overwritten.
 *
 * One thread of one process uses this. See layout.h for the protocol.
 */
#ifndef MICROBOX_BUS_LOG_H
#define MICROBOX_BUS_LOG_H

#include "microbox/bus/area.h"
#include "microbox/bus/layout.h"
#include "microbox/bus/wait.h"

/* One NF as the worker knows it. */
struct mb_consumer {
    const struct mb_nf_page *page; /* NULL: not attached, or gone */
    const uint8_t *verdicts;       /* NULL: not inline */
    bool edits;                    /* it is waited for by what is applied of it, but in shadow */
    uint64_t mask[2];              /* all its bits */
    bool fails_closed;
    bool is_shadow;    /* inline, but nobody behind it looks at its verdicts */
    uint64_t siblings; /* set of NFs: instances of the same NF, itself included; 0: it is alone */
    const uint64_t (*delivers)[2]; /* NULL: it holds the log until it has read it. Else it skips: by
                                      type (MB_TYPES_MAX), the bits on which its handlers get the
                                      type, by which its losses are counted; to outlive it */
};

/* Private to the worker. */
struct mb_log {
    struct mb_log_page *page;
    struct mb_entry *slots;
    uint64_t slot_mask;     /* slots - 1 */
    uint64_t next;          /* sequence number of the next entry to be claimed */
    uint64_t head;          /* what `page->head` says */
    uint64_t limit;         /* first position that may not be claimed, as last worked out */
    uint64_t batch_mask[2]; /* who is named since the last commit */
    struct mb_wait_policy wait_policy;
    uint32_t consumers;
    struct mb_consumer consumer[MB_NFS_MAX];
    uint64_t concerns[MB_NFS_MAX][2]; /* bits that make an entry NF i's concern: its own and those
                                         of the inline NFs before it, siblings left out */
    uint64_t due[MB_NFS_MAX];         /* private copy of what the page says */
    uint64_t from[MB_NFS_MAX];
    uint64_t passed[MB_NFS_MAX];  /* what NF i was counted to have passed: slots before it may be
                                     claimed anew, so it is not asked again */
    uint64_t editors;             /* set of NFs whose edits are applied */
    uint64_t applied[MB_NFS_MAX]; /* of those, as the page says */
    uint64_t passed_by_all;       /* all that hold the log have passed it; never goes back */
    uint64_t skipping;            /* set of NFs that hold nothing */
    uint64_t floor;               /* as the page says */
    uint64_t frames_floor;
    uint64_t since[MB_NFS_MAX]; /* of NFs that skip: the first entry that they are to read */
    uint64_t named[MB_NFS_MAX]; /* entries from there to the floor that were for them */
    uint64_t waits;             /* times that the worker found the log full */
    uint64_t slept;             /* how often it went to sleep over that */
    struct mb_area area;
};

/* Bytes of an area for `slots` slots (a power of two, at least MB_LOG_SLOTS_MIN). */
size_t mb_log_size(uint64_t slots);

/* Makes the area and an empty log without consumers. Returns 0, or -errno (-EINVAL: slots). */
int mb_log_create(struct mb_log *log, uint64_t slots);
void mb_log_destroy(struct mb_log *log);

/* Adds NF `index` (= log->consumers, or one that is gone). It is to read from the head on. Indexes
 * are the order of the chain. `mask` holds its bits, disjoint from all others'. Page and verdicts
 * stay the caller's, mapped until detach. Returns 0 or -EINVAL. */
int mb_log_attach(struct mb_log *log, uint32_t index, const struct mb_consumer *consumer);

/* NF `index`, which lives, is in shadow no more, while all stand at the head. */
void mb_log_leave_shadow(struct mb_log *log, uint32_t index);

/* What NF `index` misses once it is gone is dropped from now on. */
void mb_log_fail_closed(struct mb_log *log, uint32_t index);

/* NF `index` is dead: it holds nothing any more. Its cursor is read one last time into gone_at.
 * Its page must still be mapped. */
void mb_log_detach(struct mb_log *log, uint32_t index);

/* Looks at all cursors and works out the limit anew: MB_ENTRIES_PER_PACKET entries on, where nobody
 * but NFs that skip stands in the way. */
void mb_log_learn_limit(struct mb_log *log);

/* True when `count` entries can be claimed now. Looks at cursors only when the remembered limit
 * says no. */
static inline bool mb_log_has_room(struct mb_log *log, uint64_t count) {
    if (log->next + count <= log->limit)
        return true;
    mb_log_learn_limit(log);
    return log->next + count <= log->limit;
}

/* floor.c. Raises the floor so far that MB_ENTRIES_PER_PACKET entries have room, but not past
 * `passed`, which all that hold the log have passed. There are NFs that skip. */
void mb_log_raise_floor(struct mb_log *log, uint64_t passed);

/* floor.c. Frames that only entries before `passed_by_all` name are about to be used again. */
void mb_log_give_up_frames(struct mb_log *log);

/* Waits up to `timeout_ns` for the slowest NF to move. Commit first: what is not readable cannot
 * be passed. */
void mb_log_wait_for_room(struct mb_log *log, uint64_t timeout_ns);

/* Waits up to `timeout_ns` for NF `index` to pass `position`, which must be readable. */
void mb_log_wait_for(struct mb_log *log, uint32_t index, uint64_t position, uint64_t timeout_ns);

/* Asks for a line of its own to write. GCC's builtin asks for a copy to read where the processor's
 * baseline lacks the instruction. Processors without PREFETCHW pass over it. */
static inline void mb_prefetch_to_write(const void *line) {
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
    __builtin_prefetch(line, 1);
#endif
}

/* The slots of entries to come are asked for some entries ahead, all their lines: readers have
 * them, or they have left the cache since the log went round. Past the log's end there is nothing
 * to be had, and asking does no harm.
 *
 * Several readers are far apart, and a line that one of them still has costs a way between the
 * caches, which is to be gone once: lines to write. A single reader is close behind, and its
 * processor fetches ahead of it: a line taken for writing early is taken back. So a copy is asked
 * for (59 M events/s to one consumer instead of 43; 17 M to four instead of 8 the other way). */
static inline void mb_log_prefetch(const struct mb_log *log, const struct mb_entry *claimed) {
    enum { ENTRIES_AHEAD = 4 };
    const char *ahead = (const char *)(claimed + ENTRIES_AHEAD);
    for (unsigned line = 0; line < sizeof *claimed; line += MB_CACHE_LINE)
        if (log->consumers > 1)
            mb_prefetch_to_write(ahead + line);
        else
            __builtin_prefetch(ahead + line);
}

/* The next slot, for the caller to fill, with `sequence` and `mask` set. There must be room. */
static inline struct mb_entry *mb_log_claim(struct mb_log *log, const uint64_t mask[2]) {
    struct mb_entry *entry = &log->slots[log->next & log->slot_mask];
    mb_log_prefetch(log, entry);
    entry->sequence = log->next++;
    entry->mask[0] = mask[0];
    entry->mask[1] = mask[1];
    log->batch_mask[0] |= mask[0];
    log->batch_mask[1] |= mask[1];
    return entry;
}

/* Marks the last claimed entry as its packet's last, if any was claimed since `first`. */
static inline void mb_log_end_packet(struct mb_log *log, uint64_t first) {
    if (log->next != first)
        log->slots[(log->next - 1) & log->slot_mask].flags |= MB_LAST;
}

/* Makes all claimed entries readable: due, then head, then wake. */
void mb_log_commit(struct mb_log *log);

/* The position that NF `index` has passed (layout.h, "Passed"); the head where it is gone. */
uint64_t mb_log_passed(const struct mb_log *log, uint32_t index);

/* What editor `index` left with entries before `position` is applied: at most what it has passed,
 * and at most what those before it in the chain are applied to. Wakes who waits for that. */
void mb_log_set_applied(struct mb_log *log, uint32_t index, uint64_t position);

/* The editor that all wait for who have passed all that they may read; MB_NFS_MAX: there is none.
 * `*has_passed`: it has passed entries that are not applied, so that it is not its turn. Ask after
 * mb_log_learn_limit. */
uint32_t mb_log_awaited_editor(const struct mb_log *log, bool *has_passed);

/* True when every NF has passed the head. */
bool mb_log_drained(const struct mb_log *log);

#endif
