#include "microbox/bus/trace.h"

#include "microbox/bus/atomic.h"

#include <sched.h>
#include <string.h>
#include <time.h>

enum { SECOND = 1000000000, WORDS = MB_ENTRY_SIZE / sizeof(uint64_t) };
enum { SPIN = 1000000, LOOK_EVERY = 20000 }; /* nanoseconds */

uint64_t mb_trace_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

/* --- entries --- */

/* False where another one is, or was while it was copied, in its slot. */
static bool copied(const struct mb_trace *trace, uint64_t sequence, struct mb_entry *entry) {
    const uint8_t *slots = (const uint8_t *)trace->log + MB_PAGE_SIZE;
    const uint64_t *shared =
        (const uint64_t *)(const void *)(slots + (sequence & (trace->slots - 1)) * MB_ENTRY_SIZE);
    uint64_t words[WORDS];
    for (unsigned i = 0; i < WORDS; i++)
        words[i] = mb_load_acquire(shared + i);
    memcpy(entry, words, sizeof *entry);
    return entry->sequence == sequence && mb_load_relaxed(shared) == sequence;
}

static bool is_meant(const struct mb_trace *trace, const struct mb_entry *entry) {
    return entry->flow == trace->flow && !(entry->flags & MB_APART);
}

static void add(const struct mb_trace *trace, const struct mb_entry *entry,
                struct mb_traced *traced) {
    traced->packet = entry->packet;
    traced->from_responder = entry->flags & MB_FROM_RESPONDER;
    traced->entries++;
    for (uint32_t k = 0; k < trace->nfs; k++)
        if ((entry->mask[0] & trace->nf[k].bits[0]) | (entry->mask[1] & trace->nf[k].bits[1]))
            traced->named |= UINT64_C(1) << k;
}

/* The next packet below `head` that has entries of the flow; `position` is then behind it. */
static bool found(struct mb_trace *trace, uint64_t head, struct mb_traced *traced) {
    if (head - trace->position > trace->slots)
        trace->position = head;
    while (trace->position < head) {
        struct mb_entry entry;
        if (!copied(trace, trace->position++, &entry))
            continue;
        if (is_meant(trace, &entry))
            add(trace, &entry, traced);
        if (traced->entries != 0 && entry.flags & MB_LAST)
            return true;
    }
    return traced->entries != 0;
}

/* --- NFs --- */

/* As layout.h says under "Passed". */
static bool has_passed(const struct mb_trace *trace, const struct mb_trace_nf *nf) {
    const uint64_t head = mb_load_acquire(&trace->log->head);
    const uint64_t due = mb_load_acquire(&trace->log->due[nf->index]);
    const uint64_t cursor = mb_load_acquire(&nf->page->cursor);
    return (cursor >= due ? head : cursor) >= trace->position;
}

/* True where the last look, before which nothing of what is seen now had happened, was so short ago
 * that it has happened now. The thread may lose its processor in the middle of a look: what counts
 * is when that began. */
static bool look_is_exact(struct mb_trace *trace, uint64_t began, uint64_t now) {
    const uint64_t gap = now - trace->looked;
    trace->looked = began;
    return gap <= trace->gap_max;
}

/* Of those that the packet names; true when all have passed. */
static bool look(struct mb_trace *trace, struct mb_traced *traced) {
    const uint64_t began = mb_trace_now();
    bool is_done = true;
    uint64_t passed = 0;
    for (uint32_t k = 0; k < trace->nfs; k++) {
        if (!(traced->named >> k & 1) || traced->passed[k] != 0)
            continue;
        if (has_passed(trace, &trace->nf[k]))
            passed |= UINT64_C(1) << k;
        else
            is_done = false;
    }
    const uint64_t now = mb_trace_now();
    const bool is_exact = look_is_exact(trace, began, now);
    for (uint32_t k = 0; k < trace->nfs; k++)
        if (passed >> k & 1)
            traced->passed[k] = now;
    traced->late |= is_exact ? 0 : passed;
    return is_done;
}

/* --- following --- */

void mb_trace_begin(struct mb_trace *trace) {
    trace->looked = mb_trace_now();
    trace->position = mb_load_acquire(&trace->log->head);
}

/* Those that came while it could not look are passed over. */
static bool await(struct mb_trace *trace, uint64_t until, struct mb_traced *traced) {
    for (;;) {
        const uint64_t began = mb_trace_now();
        *traced = (struct mb_traced){0};
        const uint64_t head = mb_load_acquire(&trace->log->head);
        const bool has_come = found(trace, head, traced);
        traced->seen = mb_trace_now();
        const bool is_exact = look_is_exact(trace, began, traced->seen);
        if (has_come && is_exact)
            return true;
        trace->position = head;
        if (traced->seen >= until)
            return false;
        sched_yield();
    }
}

/* The worker has written it before the packet's entries could be seen. */
static void take_sojourn(const struct mb_trace *trace, struct mb_traced *traced) {
    struct mb_sojourn *sojourn = &traced->sojourn;
    if (trace->sojourns != NULL && mb_sojourn_read(trace->sojourns, traced->packet, sojourn) &&
        sojourn->flow == trace->flow)
        return;
    *sojourn = (struct mb_sojourn){0};
}

/* Who takes long is not looked at all the time. */
static void follow(struct mb_trace *trace, uint64_t patience, struct mb_traced *traced) {
    while (!look(trace, traced) && trace->looked - traced->seen <= patience) {
        if (trace->looked - traced->seen < SPIN)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = LOOK_EVERY}, NULL);
    }
}

bool mb_trace_next(struct mb_trace *trace, uint64_t until, uint64_t patience,
                   struct mb_traced *traced) {
    if (!await(trace, until, traced))
        return false;
    take_sojourn(trace, traced);
    follow(trace, patience, traced);
    mb_trace_begin(trace); /* what came meanwhile went by */
    return true;
}
