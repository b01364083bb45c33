/*
 * Input that comes as it likes. Memory of frames that nobody reads any more is given back, so that
 * a stream without end is read into memory of fixed size. While nothing comes, time goes on.
 *
 * Giving back takes a while. At its beginning all entries so far, and all packets at the gate, may
 * name frames before the new front; when all readers of the log have passed the former, and the
 * latter have left, nobody reads them but who holds them back: the stack as of the beginning, what
 * it held then and gave out since being named by later entries; and the gate, which may have begun
 * to hold some of those that waited. These are kept, and looked at again the next time.
 */
#include "microbox/bus/atomic.h"
#include "microbox/stack/counters.h"
#include "microbox/stack/kept_frames.h"
#include "microbox/stack/worker_private.h"

#include <time.h>

enum { MILLISECOND = 1000000, PAUSES_IN_SILENCE = 10 };

/* --- memory --- */

static uint64_t window_size(const struct mb_worker *worker) {
    return mb_source_pool_size(worker->source);
}

static uint64_t used(const struct mb_worker *worker) {
    return mb_source_read_up_to(worker->source) - mb_source_front(worker->source);
}

static const struct mb_frame *next_frame(const struct mb_worker *worker) {
    return worker->next_frame < worker->frame_count ? &worker->frames[worker->next_frame] : NULL;
}

/* A part at a time, from half of it on: so what was seen last can be compared with what comes. */
static uint64_t next_front(const struct mb_worker *worker) {
    const uint64_t most = mb_source_front(worker->source) + window_size(worker) / 4;
    const uint64_t unhandled = mb_source_unhandled(worker->source, next_frame(worker));
    return unhandled < most ? unhandled : most;
}

static void begin_to_give_back(struct mb_worker *worker) {
    struct mb_giving_back *giving = &worker->giving_back;
    giving->is_on = true;
    giving->front = next_front(worker);
    giving->sequence = worker->log.next;
    giving->packets = worker->gate ? mb_gate_added(worker->gate) : 0;
    mb_stack_kept_frames(worker->stack, &giving->kept);
    mb_stack_forget_copies(worker->stack, window_size(worker), giving->front,
                           mb_source_read_up_to(worker->source) - giving->front);
}

static bool gates_are_done(const struct mb_worker *worker) {
    const uint64_t packets = worker->giving_back.packets;
    for (uint64_t rest = worker->shadows; rest; rest &= rest - 1)
        if (mb_gate_done(worker->shadow[__builtin_ctzll(rest)]) < packets)
            return false;
    return !worker->gate || mb_gate_done(worker->gate) >= packets;
}

static bool readers_are_done(struct mb_worker *worker) {
    mb_log_learn_limit(&worker->log);
    return worker->log.passed_by_all >= worker->giving_back.sequence;
}

static void keep_what_gates_hold(struct mb_worker *worker) {
    struct mb_ranges *kept = &worker->giving_back.kept;
    for (uint64_t rest = worker->shadows; rest; rest &= rest - 1)
        mb_gate_kept_frames(worker->shadow[__builtin_ctzll(rest)], kept);
    if (worker->gate)
        mb_gate_kept_frames(worker->gate, kept);
}

static void give_back(struct mb_worker *worker) {
    struct mb_giving_back *giving = &worker->giving_back;
    giving->is_on = false;
    keep_what_gates_hold(worker);
    if (giving->kept.is_short) { /* no memory to say what is kept: tried again */
        mb_ranges_free(&giving->kept);
        return;
    }
    const bool is_stuck =
        mb_source_is_full(worker->source) && giving->front <= mb_source_front(worker->source);
    mb_log_give_up_frames(&worker->log);
    mb_source_give_back(worker->source, giving->front, &giving->kept);
    worker->relieves = is_stuck || mb_source_kept(worker->source) > window_size(worker) / 2;
    worker->window_relieved += worker->relieves;
}

void mb_worker_relieve(struct mb_worker *worker) {
    if (!worker->relieves || worker->pause != PAUSE_NONE || mb_worker_gates_room(worker, 1) == 0 ||
        !mb_stack_give_up_waiting(worker->stack))
        return;
    worker->relieves = false;
    for (uint64_t rest = worker->shadows; rest; rest &= rest - 1)
        mb_gate_forget_fragments(worker->shadow[__builtin_ctzll(rest)]);
    if (worker->gate)
        mb_gate_forget_fragments(worker->gate);
}

static bool wants_memory(const struct mb_worker *worker) {
    if (mb_source_is_full(worker->source))
        return true;
    return used(worker) > window_size(worker) / 2 &&
           next_front(worker) > mb_source_front(worker->source);
}

bool mb_worker_give_back(struct mb_worker *worker) {
    if (!mb_source_is_live(worker->source) || worker->phase != PHASE_READING)
        return false;
    if (!worker->giving_back.is_on && !worker->relieves && wants_memory(worker))
        begin_to_give_back(worker);
    if (!worker->giving_back.is_on || !gates_are_done(worker) || !readers_are_done(worker))
        return false;
    give_back(worker);
    return true;
}

/* --- time --- */

/* Packets have come: the time is theirs again. Those that were in flight in a silence, longer than
 * it is believed, come with a time that has passed. */
static void note_late(struct mb_worker *worker) {
    worker->may_be_late |= worker->silent != 0;
    worker->silent = 0;
    for (size_t i = 0; worker->may_be_late && i < worker->frame_count; i++) {
        worker->may_be_late = worker->frames[i].time < mb_stack_time(worker->stack);
        worker->packets_late += worker->may_be_late;
    }
}

void mb_worker_note_arrival(struct mb_worker *worker) {
    if (worker->frame_count) {
        note_late(worker);
        worker->window_is_full = false;
    } else if (!worker->is_quiet) {
        worker->quiet_since = worker->now;
    }
    worker->is_quiet = !worker->frame_count;
}

/* Memory is waited for, and all batches that have ended are read: readers of batches may be waiting
 * for more of the one behind, which no packet has room to end. */
static bool batch_fills_window(struct mb_worker *worker) {
    if (!mb_source_is_full(worker->source) || readers_are_done(worker))
        return false;
    return worker->log.passed_by_all >= mb_stack_batch_begin(worker->stack);
}

/* Its readers have waited for so long, and just now nothing comes. */
static bool batch_waits(struct mb_worker *worker) {
    if (worker->batch_since == 0)
        worker->batch_since = worker->now;
    const uint64_t silence = worker->config.silence;
    return worker->now - worker->batch_since >= silence &&
           worker->now - worker->quiet_since >= silence / PAUSES_IN_SILENCE;
}

static bool end_batches(struct mb_worker *worker) {
    if (worker->log.next == worker->batches_ended ||
        !(batch_waits(worker) || batch_fills_window(worker)) || !mb_log_has_room(&worker->log, 1))
        return false;
    mb_stack_end_batches(worker->stack);
    worker->batches_ended = worker->log.next;
    worker->batch_since = 0;
    return true;
}

/* Nothing is read while the window is full, so that nobody knows whether anything comes. */
static bool pass_time(struct mb_worker *worker) {
    if (mb_source_is_full(worker->source))
        worker->quiet_since = worker->now - worker->silent;
    const uint64_t passed = worker->now - worker->quiet_since;
    if (passed < worker->config.silence + worker->silent)
        return false;
    const uint64_t before = worker->log.next;
    const uint64_t step = passed - worker->config.silence - worker->silent;
    if (mb_stack_pass_time(worker->stack, step))
        worker->silent += step;
    return worker->log.next != before;
}

bool mb_worker_be_silent(struct mb_worker *worker) {
    if (!worker->awaits_input || mb_worker_gates_room(worker, 1) == 0)
        return false;
    const bool told = pass_time(worker);
    return end_batches(worker) || told;
}

static bool is_all_done(const struct mb_worker *worker) {
    return mb_worker_is_drained(worker) && !worker->giving_back.is_on;
}

void mb_worker_await_input(struct mb_worker *worker, uint64_t timeout_ns) {
    if (!mb_source_is_full(worker->source)) {
        const bool is_idle = is_all_done(worker);
        mb_source_wait(worker->source,
                       is_idle || timeout_ns < MILLISECOND ? timeout_ns : MILLISECOND);
        return;
    }
    worker->window_waits += !worker->window_is_full;
    worker->window_is_full = true;
    const uint64_t time = timeout_ns < MILLISECOND ? timeout_ns : MILLISECOND;
    nanosleep(&(struct timespec){.tv_nsec = (long)time}, NULL);
}
