/*
 * How far an NF may read: up to the smallest position of those before it; and sleeping until that
 * changes.
 */
#include "microbox/bus/atomic.h"
#include "microbox/bus/reader_private.h"

/* A death moves no word, so a sleep on an NF's cursor is never longer than this. */
enum { SLEEP_ON_CURSOR_MAX = 50000000 };

/* The head that was read first, then due, then the cursor, then from: `judged` and `complete` in
 * docs/bus-protocol.md. */
uint64_t mb_peer_passed(const struct mb_reader *reader, const struct mb_peer *peer, uint64_t head,
                        uint64_t *cursor) {
    uint64_t due = mb_load_acquire(&reader->log->due[peer->index]);
    *cursor = mb_load_sequential(&peer->page->cursor);
    if (*cursor >= due || peer->left_at != MB_NEVER)
        return head;
    /* It stood at the head when that was `from`; what came until then did not concern it. */
    uint64_t from = mb_load_acquire(&reader->log->from[peer->index]);
    uint64_t passed = *cursor > from ? *cursor : from;
    return passed < head ? passed : head;
}

/* `edited` in docs/bus-protocol.md: what the editor left with all entries before is in versions. */
uint64_t mb_peer_done(const struct mb_reader *reader, const struct mb_peer *peer, uint64_t head,
                      uint64_t *seen) {
    if (peer->editor == 0 || reader->worker_is_gone)
        return mb_peer_passed(reader, peer, head, seen);
    *seen = mb_load_sequential(&reader->log->applied[peer->index]);
    return *seen < head ? *seen : head;
}

void mb_reader_go_to(struct mb_reader *reader, uint64_t position) {
    reader->next = position;
    reader->packet_end = position;
    reader->resting = position;
}

/* Skips what the worker no longer keeps for this NF, which all was not for it. */
static void go_to_from(struct mb_reader *reader) {
    uint64_t from = mb_load_acquire(&reader->log->from[reader->nf]);
    if (from > reader->next)
        mb_reader_go_to(reader, from);
}

struct mb_window mb_reader_look(struct mb_reader *reader) {
    uint64_t head = mb_load_sequential(&reader->log->head);
    uint64_t due = mb_load_acquire(&reader->log->due[reader->nf]);
    struct mb_window window = {.end = head, .seen = head, .whole = true};
    if (due <= reader->next)
        return window;
    window.concerned = true;
    go_to_from(reader);
    for (uint32_t i = 0; i < reader->peers; i++) {
        struct mb_peer *peer = &reader->peer[i];
        if (!peer->barrier)
            continue;
        uint64_t seen;
        uint64_t passed = mb_peer_done(reader, peer, head, &seen);
        peer->gone_at = mb_load_acquire(&reader->log->gone_at[peer->index]);
        peer->cursor = peer->editor != 0 ? mb_load_sequential(&peer->page->cursor) : seen;
        if (peer->left_at < peer->gone_at)
            peer->gone_at = peer->left_at;
        if (passed < window.end) {
            window.end = passed;
            window.limiter = peer;
            window.is_applied = peer->editor != 0 && !reader->worker_is_gone;
            window.seen = seen;
            window.whole = false;
        }
        mb_nf_log_look(reader, peer);
    }
    mb_nf_log_find_next(reader);
    if (reader->skipping != NULL)
        mb_skipping_look(reader, &window);
    return window;
}

/* What was judged and published up to there was stored before: `judged` and `causal` in
 * docs/bus-protocol.md. */
void mb_reader_move_cursor(struct mb_reader *reader, uint64_t position) {
    if (position == reader->cursor)
        return;
    reader->cursor = position;
    mb_store_sequential(&reader->own.page->cursor, position);
    uint32_t waiters = 0;
    if (mb_load_flag_sequential(&reader->log->asleep) == 1 + reader->nf)
        waiters |= MB_WAITER_WORKER;
    for (uint32_t i = 0; i < reader->peers; i++) {
        const struct mb_peer *peer = &reader->peer[i];
        if (mb_load_flag_sequential(&peer->page->asleep) == MB_ASLEEP_CURSOR + reader->nf)
            waiters |= mb_waiter(peer->index);
    }
    if (waiters != 0)
        mb_futex_wake(&reader->own.page->cursor, waiters);
}

static uint32_t reason_to_sleep(const struct mb_reader *reader, const struct mb_window *window) {
    if (window->limiter != NULL && window->is_applied)
        return MB_ASLEEP_APPLIED + window->limiter->index;
    if (window->limiter != NULL)
        return MB_ASLEEP_CURSOR + window->limiter->index;
    return window->concerned && reader->cut != 0 ? MB_ASLEEP_UNTIL : MB_ASLEEP_NAMED;
}

/* The word is looked at again when the flag can be seen. */
static void sleep_on(struct mb_reader *reader, const uint64_t *word, uint64_t seen, uint32_t reason,
                     uint64_t timeout_ns) {
    struct mb_nf_page *page = reader->own.page;
    mb_store_flag_sequential(&page->asleep, reason);
    if (mb_load_sequential(word) == seen) {
        reader->own.counters->sleeps++;
        mb_futex_wait(word, seen, timeout_ns, mb_waiter(reader->nf));
    }
    mb_store_flag_sequential(&page->asleep, MB_AWAKE);
}

static const uint64_t *word_to_move(const struct mb_reader *reader,
                                    const struct mb_window *window) {
    if (window->limiter == NULL)
        return &reader->log->head;
    if (window->is_applied)
        return &reader->log->applied[window->limiter->index];
    return &window->limiter->page->cursor;
}

void mb_reader_sleep(struct mb_reader *reader, const struct mb_window *window,
                     uint64_t timeout_ns) {
    if (window->limiter != NULL && timeout_ns > SLEEP_ON_CURSOR_MAX)
        timeout_ns = SLEEP_ON_CURSOR_MAX;
    if (reader->cut != 0)
        mb_store_half_relaxed(&reader->own.page->until, (uint32_t)mb_reader_cut_after(reader));
    sleep_on(reader, word_to_move(reader, window), window->seen, reason_to_sleep(reader, window),
             timeout_ns);
}

void mb_reader_sleep_until_applied(struct mb_reader *reader, uint32_t editor, uint64_t seen,
                                   uint64_t timeout_ns) {
    sleep_on(reader, &reader->log->applied[editor], seen, MB_ASLEEP_APPLIED + editor, timeout_ns);
}
