#include "microbox/bus/log.h"

#include "microbox/bus/atomic.h"

#include <errno.h>
#include <string.h>

enum { NOBODY = MB_NFS_MAX };

static bool is_power_of_two(uint64_t value) {
    return value != 0 && (value & (value - 1)) == 0;
}

size_t mb_log_size(uint64_t slots) {
    return MB_PAGE_SIZE + slots * sizeof(struct mb_entry);
}

int mb_log_create(struct mb_log *log, uint64_t slots) {
    if (!is_power_of_two(slots) || slots < MB_LOG_SLOTS_MIN || slots > UINT64_C(1) << 32)
        return -EINVAL;
    memset(log, 0, sizeof *log);
    int error = mb_area_create(&log->area, "microbox log", mb_log_size(slots));
    if (error != 0)
        return error;
    log->page = log->area.base;
    log->slots = (struct mb_entry *)((uint8_t *)log->area.base + MB_PAGE_SIZE);
    log->slot_mask = slots - 1;
    log->limit = slots;
    log->wait_policy = mb_wait_policy_default();
    log->page->magic = MB_LOG_MAGIC;
    log->page->version = MB_LAYOUT_VERSION;
    log->page->slot_size = sizeof(struct mb_entry);
    log->page->slots = slots;
    for (uint32_t index = 0; index < MB_NFS_MAX; index++)
        log->page->gone_at[index] = UINT64_MAX;
    return 0;
}

void mb_log_destroy(struct mb_log *log) {
    mb_area_destroy(&log->area);
    log->page = NULL;
    log->slots = NULL;
}

static bool is_attached(const struct mb_log *log, uint32_t index) {
    return log->consumer[index].page != NULL;
}

static bool shares_bits(const struct mb_log *log, const uint64_t mask[2]) {
    for (uint32_t index = 0; index < log->consumers; index++) {
        const uint64_t *theirs = log->consumer[index].mask;
        if (is_attached(log, index) && ((theirs[0] & mask[0]) | (theirs[1] & mask[1])) != 0)
            return true;
    }
    return false;
}

static void learn_concerns_of(struct mb_log *log, uint32_t index) {
    const struct mb_consumer *consumer = &log->consumer[index];
    uint64_t *concerns = log->concerns[index];
    concerns[0] = consumer->mask[0];
    concerns[1] = consumer->mask[1];
    for (uint32_t before = 0; before < index; before++) {
        const struct mb_consumer *judge = &log->consumer[before];
        if (judge->verdicts == NULL || judge->is_shadow || (consumer->siblings >> before & 1))
            continue;
        concerns[0] |= judge->mask[0];
        concerns[1] |= judge->mask[1];
    }
}

static void learn_concerns(struct mb_log *log) {
    for (uint32_t index = 0; index < log->consumers; index++)
        learn_concerns_of(log, index);
}

/* What was overwritten while nobody skipped lies before the floor. */
static void begin_to_skip(struct mb_log *log, uint32_t index) {
    const uint64_t kept = log->limit - (log->slot_mask + 1);
    log->skipping |= UINT64_C(1) << index;
    if (kept <= log->floor)
        return;
    log->floor = kept;
    mb_store_sequential(&log->page->floor, kept);
    mb_store_release(&log->page->counted, kept);
}

static void begin_applied(struct mb_log *log, uint32_t index) {
    log->applied[index] = log->head;
    mb_store_release(&log->page->applied[index], log->head);
}

static void begin_to_edit(struct mb_log *log, uint32_t index) {
    log->editors |= UINT64_C(1) << index;
    begin_applied(log, index);
}

int mb_log_attach(struct mb_log *log, uint32_t index, const struct mb_consumer *consumer) {
    if (index >= MB_NFS_MAX || index > log->consumers || consumer->page == NULL)
        return -EINVAL;
    if ((index < log->consumers && is_attached(log, index)) || shares_bits(log, consumer->mask))
        return -EINVAL;
    log->consumer[index] = *consumer;
    if (index == log->consumers)
        log->consumers++;
    learn_concerns(log);
    log->due[index] = 0;
    log->from[index] = log->head;
    log->passed[index] = log->head;
    log->since[index] = log->head;
    log->named[index] = 0;
    mb_store_relaxed(&log->page->named_before[index], 0);
    if (consumer->delivers != NULL)
        begin_to_skip(log, index);
    log->editors &= ~(UINT64_C(1) << index);
    begin_applied(log, index);
    if (consumer->edits && !consumer->is_shadow)
        begin_to_edit(log, index);
    log->page->fails_closed[index] = consumer->fails_closed;
    mb_store_release(&log->page->from[index], log->head);
    mb_store_release(&log->page->due[index], 0);
    mb_store_release(&log->page->gone_at[index], UINT64_MAX);
    return 0;
}

void mb_log_leave_shadow(struct mb_log *log, uint32_t index) {
    log->consumer[index].is_shadow = false;
    if (log->consumer[index].edits)
        begin_to_edit(log, index);
    learn_concerns(log);
}

void mb_log_fail_closed(struct mb_log *log, uint32_t index) {
    log->consumer[index].fails_closed = true;
    log->page->fails_closed[index] = true;
}

uint64_t mb_log_passed(const struct mb_log *log, uint32_t index) {
    if (!is_attached(log, index))
        return log->head;
    uint64_t cursor = mb_load_sequential(&log->consumer[index].page->cursor);
    if (cursor >= log->due[index])
        return log->head;
    return cursor > log->passed[index] ? cursor : log->passed[index];
}

void mb_log_detach(struct mb_log *log, uint32_t index) {
    if (index >= log->consumers || !is_attached(log, index))
        return;
    const struct mb_nf_page *page = log->consumer[index].page;
    mb_store_release(&log->page->gone_at[index], mb_log_passed(log, index));
    log->due[index] = 0;
    log->skipping &= ~(UINT64_C(1) << index);
    mb_store_sequential(&log->page->due[index], 0);
    log->consumer[index].page = NULL;
    log->consumer[index].verdicts = NULL;
    mb_futex_wake(&page->cursor, MB_WAITERS_ALL);
}

static bool skips(const struct mb_log *log, uint32_t index) {
    return log->skipping >> index & 1;
}

static void learn_from(struct mb_log *log, uint64_t passed) {
    uint64_t kept = passed;
    if (passed > log->passed_by_all)
        log->passed_by_all = passed;
    if (log->skipping != 0) {
        mb_log_raise_floor(log, passed);
        kept = log->floor;
    }
    uint64_t limit = kept + log->slot_mask + 1;
    if (limit > log->limit) /* a cursor that runs backwards gives nothing back */
        log->limit = limit;
}

/* `intact` in docs/bus-protocol.md.
 *
 * Positions of all NFs that hold the log → limit. An NF with nothing to read is counted at the
 * head, which `from` tells it before anything is overwritten. Returns the slowest, or where none of
 * those is behind one that skips, or NOBODY. */
static uint32_t learn_slowest(struct mb_log *log) {
    uint64_t smallest = log->head;
    uint32_t slowest = NOBODY;
    uint32_t behind = NOBODY;
    for (uint32_t index = 0; index < log->consumers; index++) {
        if (!is_attached(log, index))
            continue;
        uint64_t position = mb_log_passed(log, index);
        if (skips(log, index)) {
            behind = position < log->head ? index : behind;
            continue;
        }
        log->passed[index] = position;
        if (position == log->head && log->from[index] != log->head) {
            log->from[index] = log->head;
            mb_store_release(&log->page->from[index], log->head);
        }
        if (position < smallest) {
            smallest = position;
            slowest = index;
        }
    }
    learn_from(log, smallest);
    return slowest != NOBODY ? slowest : behind;
}

void mb_log_learn_limit(struct mb_log *log) {
    learn_slowest(log);
}

void mb_log_wait_for_room(struct mb_log *log, uint64_t timeout_ns) {
    uint64_t before = log->limit;
    uint32_t slowest = learn_slowest(log);
    if (log->limit != before)
        return;
    log->waits++;
    for (uint32_t spin = 0; spin < log->wait_policy.spins; spin++) {
        mb_spin_pause();
        slowest = learn_slowest(log);
        if (log->limit != before)
            return;
    }
    if (slowest == NOBODY || timeout_ns == 0)
        return;
    const uint64_t *cursor = &log->consumer[slowest].page->cursor;
    mb_store_flag_sequential(&log->page->asleep, 1 + slowest);
    uint64_t seen = mb_load_sequential(cursor);
    /* Another one may be the slowest by now, and it would not know that it is waited for. */
    const bool is_still_slowest = learn_slowest(log) == slowest;
    if (is_still_slowest && log->limit == before) {
        log->slept++;
        mb_futex_wait(cursor, seen, timeout_ns, MB_WAITER_WORKER);
        learn_slowest(log);
    }
    mb_store_flag_sequential(&log->page->asleep, 0);
}

void mb_log_wait_for(struct mb_log *log, uint32_t index, uint64_t position, uint64_t timeout_ns) {
    for (uint32_t spin = 0; spin <= log->wait_policy.spins; spin++) {
        if (mb_log_passed(log, index) >= position)
            return;
        mb_spin_pause();
    }
    if (timeout_ns == 0)
        return;
    const uint64_t *cursor = &log->consumer[index].page->cursor;
    mb_store_flag_sequential(&log->page->asleep, 1 + index);
    const uint64_t seen = mb_load_sequential(cursor);
    if (mb_log_passed(log, index) < position) {
        log->slept++;
        mb_futex_wait(cursor, seen, timeout_ns, MB_WAITER_WORKER);
    }
    mb_store_flag_sequential(&log->page->asleep, 0);
}

static bool is_concerned(const struct mb_log *log, uint32_t index) {
    const uint64_t *concerns = log->concerns[index];
    return ((log->batch_mask[0] & concerns[0]) | (log->batch_mask[1] & concerns[1])) != 0;
}

/* Before the head (`judged` in docs/bus-protocol.md): who sees the head sees who has work below it.
 */
static void store_dues(struct mb_log *log) {
    for (uint32_t index = 0; index < log->consumers; index++) {
        if (!is_attached(log, index) || !is_concerned(log, index))
            continue;
        log->due[index] = log->next;
        mb_store_release(&log->page->due[index], log->next);
    }
}

/* An editor that all is applied of, and that is not named, goes with the head; nobody sleeps on it,
 * since it stood at the head. */
static void move_idle_editors(struct mb_log *log) {
    for (uint64_t rest = log->editors; rest != 0; rest &= rest - 1) {
        const uint32_t index = (uint32_t)__builtin_ctzll(rest);
        if (log->applied[index] != log->head ||
            (is_attached(log, index) && is_concerned(log, index)))
            return;
        log->applied[index] = log->next;
        mb_store_sequential(&log->page->applied[index], log->next);
    }
}

static void wake_sleepers_on_applied(const struct mb_log *log, uint32_t editor) {
    uint32_t waiters = 0;
    for (uint32_t index = 0; index < log->consumers; index++)
        if (is_attached(log, index) &&
            mb_load_flag_sequential(&log->consumer[index].page->asleep) ==
                MB_ASLEEP_APPLIED + editor)
            waiters |= mb_waiter(index);
    if (waiters != 0)
        mb_futex_wake(&log->page->applied[editor], waiters);
}

void mb_log_set_applied(struct mb_log *log, uint32_t index, uint64_t position) {
    if (position <= log->applied[index])
        return;
    log->applied[index] = position;
    mb_store_sequential(&log->page->applied[index], position);
    wake_sleepers_on_applied(log, index);
}

uint32_t mb_log_awaited_editor(const struct mb_log *log, bool *has_passed) {
    *has_passed = false;
    for (uint64_t rest = log->editors; rest != 0; rest &= rest - 1) {
        const uint32_t index = (uint32_t)__builtin_ctzll(rest);
        if (!is_attached(log, index) || log->applied[index] == log->head)
            continue;
        *has_passed = mb_log_passed(log, index) > log->applied[index];
        if (*has_passed || log->applied[index] <= log->passed_by_all)
            return index;
    }
    return NOBODY;
}

static bool wants_waking(const struct mb_log *log, uint32_t index) {
    const struct mb_nf_page *page = log->consumer[index].page;
    uint32_t asleep = mb_load_flag_sequential(&page->asleep);
    if (asleep != MB_ASLEEP_NAMED && asleep != MB_ASLEEP_UNTIL)
        return false;
    if (is_concerned(log, index))
        return true;
    if (asleep == MB_ASLEEP_NAMED)
        return false;
    uint32_t until = mb_load_half_relaxed(&page->until);
    return (int32_t)((uint32_t)log->head - until) >= 0;
}

static void wake_readers(const struct mb_log *log) {
    uint32_t waiters = 0;
    for (uint32_t index = 0; index < log->consumers; index++)
        if (is_attached(log, index) && wants_waking(log, index))
            waiters |= mb_waiter(index);
    if (waiters != 0)
        mb_futex_wake(&log->page->head, waiters);
}

void mb_log_commit(struct mb_log *log) {
    if (log->next == log->head)
        return;
    store_dues(log);
    move_idle_editors(log);
    log->head = log->next;
    mb_store_sequential(&log->page->head, log->next);
    wake_readers(log);
    log->batch_mask[0] = 0;
    log->batch_mask[1] = 0;
}

bool mb_log_drained(const struct mb_log *log) {
    for (uint32_t index = 0; index < log->consumers; index++)
        if (mb_log_passed(log, index) != log->head)
            return false;
    return true;
}
