/*
 * The loop: inhale frames, handle them, let judged packets out, commit, count; wait when the NFs
 * hold everything up. Read `breathe` first.
 */
#include "microbox/stack/worker_private.h"

#include "microbox/bus/atomic.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/counters.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    /* The worker sleeps until the slowest NF moves; verdicts may come from another one. */
    WAIT_AT_MOST = 1000000,
};

void mb_worker_stop(struct mb_worker *worker) {
    worker->stopped = true;
}

const char *mb_worker_complaint(const struct mb_worker *worker) {
    return worker->complaint;
}

const char *mb_worker_warning(const struct mb_worker *worker) {
    return worker->warning;
}

/* --- the parts of a breath --- */

static void warn(struct mb_worker *worker, const char *sentence) {
    const size_t used = strlen(worker->warning);
    snprintf(worker->warning + used, sizeof worker->warning - used, "%s%s", used ? "; " : "",
             sentence);
}

static size_t frames_wanted(const struct mb_worker *worker) {
    const uint64_t limit = worker->config.packet_limit;
    if (worker->stopped || (limit && worker->packets_read >= limit))
        return 0;
    const uint64_t left = limit ? limit - worker->packets_read : UINT64_MAX;
    return left < worker->config.batch ? (size_t)left : worker->config.batch;
}

/* Reads a batch when the last one is handled; begins the end when there is none. */
static void inhale(struct mb_worker *worker) {
    worker->awaits_input = false;
    if (worker->stopped)
        worker->next_frame = worker->frame_count;
    if (worker->phase != PHASE_READING || worker->next_frame < worker->frame_count ||
        worker->pause != PAUSE_NONE)
        return;
    const size_t wanted = frames_wanted(worker);
    worker->next_frame = 0;
    worker->frame_count = wanted ? mb_source_read(worker->source, worker->frames, wanted) : 0;
    worker->packets_read += worker->frame_count;
    worker->awaits_input =
        wanted && !worker->frame_count && mb_source_status(worker->source) == MB_SOURCE_OPEN;
    if (mb_source_is_live(worker->source))
        mb_worker_note_arrival(worker);
    if (worker->frame_count || worker->awaits_input)
        return;
    if (wanted && *mb_source_complaint(worker->source))
        warn(worker, mb_source_complaint(worker->source));
    worker->phase = PHASE_ENDING;
}

/* How many of the next `count` packets are due, where they come at a pace. */
static size_t frames_due(struct mb_worker *worker, size_t count) {
    const uint32_t pace = worker->config.pace;
    const struct mb_frame *frames = &worker->frames[worker->next_frame];
    if (pace == 0 || count == 0)
        return count;
    if (worker->pace_began == 0) {
        worker->pace_began = worker->now;
        worker->pace_origin = frames[0].time;
    }
    const uint64_t passed = (worker->now - worker->pace_began) / 1000 * pace;
    size_t due = 0;
    while (due < count && frames[due].time <= worker->pace_origin + passed)
        due++;
    worker->is_early = due == 0;
    return due;
}

/* How many packets of the batch may be handled: those that the gate can keep, and that are not too
 * far ahead of NFs that give commands. */
static size_t frames_allowed(struct mb_worker *worker) {
    size_t count = frames_due(worker, worker->frame_count - worker->next_frame);
    const bool waited = worker->awaited != MB_NO_NF;
    worker->awaited = MB_NO_NF;
    count = mb_worker_gates_room(worker, count);
    uint32_t nf = MB_NO_NF;
    const uint64_t room = mb_stack_room(worker->stack, &nf, &worker->awaited_position);
    if (room >= count)
        return count;
    if (room == 0) {
        worker->awaited = nf;
        worker->command_waits += !waited;
    }
    return room;
}

static size_t handle(struct mb_worker *worker) {
    const size_t count = worker->pause == PAUSE_NONE ? frames_allowed(worker) : 0;
    if (count == 0)
        return 0;
    const struct mb_frame *frames = &worker->frames[worker->next_frame];
    const size_t handled =
        mb_stack_handle(worker->stack, worker->pool.bytes, frames, count, worker->handled);
    if (handled)
        worker->last_time = frames[handled - 1].time;
    const bool log_is_full = handled < count;
    worker->log_waits += log_is_full && !worker->log_is_full;
    worker->log_is_full = log_is_full;
    return handled;
}

/* Ends flows, and tells of the end. Returns whether something was published. */
static bool end_flows(struct mb_worker *worker) {
    if (worker->phase != PHASE_ENDING || mb_worker_gates_room(worker, 1) == 0)
        return false;
    const uint64_t before = worker->log.next;
    if (mb_stack_finish(worker->stack, MB_REASON_END_SHUTDOWN))
        worker->phase = PHASE_DRAINING;
    return worker->log.next != before;
}

static void count_gate(const struct mb_worker *worker, struct mb_stack_counters *counters) {
    if (!worker->gate)
        return;
    const struct mb_gate_counters gate = mb_gate_counters(worker->gate);
    counters->gate_dropped = gate.dropped;
    counters->gate_refused = gate.refused;
    counters->gate_waiting = gate.waiting;
    counters->gate_rewrites = gate.rewrites;
    counters->gate_rewrites_refused = gate.rewrites_refused;
    counters->gate_translated = gate.translated;
    counters->gate_fragments_kept = gate.fragments_kept;
    counters->gate_held = gate.held;
    counters->judged_bytes_peak = gate.judged_peak;
    counters->gate_unseen = gate.unseen + gate.held_no_room;
    counters->gate_carried = gate.carried;
    counters->by_reason[MB_REASON_STREAM_UNSEEN] += gate.unseen;
    counters->by_reason[MB_REASON_LIMIT_HELD_PACKETS] += gate.held_no_room;
    counters->by_reason[MB_REASON_LIMIT_JUDGED_BYTES] += gate.judged_forgotten;
    counters->by_reason[MB_REASON_VERDICT_DROP] += gate.verdict_drop;
    counters->by_reason[MB_REASON_VERDICT_DROP_FLOW] += gate.verdict_drop_flow;
    counters->by_reason[MB_REASON_VERDICT_RESET] += gate.verdict_reset;
    counters->by_reason[MB_REASON_NF_FAILED_CLOSED] += gate.failed_closed;
    counters->gate_edits = gate.edits;
    counters->gate_edits_refused = gate.edits_refused;
    counters->gate_edit_waits = gate.edit_waits;
    for (unsigned reason = 0; gate.edits_refused != 0 && reason < MB_REASONS_MAX; reason++)
        counters->by_reason[reason] += mb_gate_edit_reasons(worker->gate)[reason];
    counters->resets_made = gate.resets_made;
    counters->resets_not_made = gate.resets_not_made;
    for (uint32_t index = 0; index < worker->nfs; index++)
        counters->judges[index] = *mb_gate_judge(worker->gate, index);
}

static void publish_counters(struct mb_worker *worker) {
    struct mb_stack_counters counters = *mb_stack_counters(worker->stack);
    counters.log_waits = worker->log_waits;
    counters.command_waits = worker->command_waits;
    counters.input_bytes = mb_source_bytes_read(worker->source);
    counters.packets_late = worker->packets_late;
    counters.window_waits = worker->window_waits;
    counters.window_relieved = worker->window_relieved;
    if (worker->sink) {
        counters.output_packets = mb_sink_written(worker->sink);
        counters.output_bytes = mb_sink_written_bytes(worker->sink);
        counters.output_lost = mb_sink_lost(worker->sink);
    }
    count_gate(worker, &counters);
    counters.time = worker->last_time;
    counters.finished = worker->phase == PHASE_DONE;

    _Static_assert(sizeof counters % sizeof(uint64_t) == 0, "counters are 64-bit words");
    struct mb_counter_page *page = worker->counters.base;
    const uint64_t next = 1 - page->current;
    const uint64_t *words = (const uint64_t *)&counters;
    uint64_t *copy = (uint64_t *)&page->copies[next];
    for (size_t i = 0; i < sizeof counters / sizeof *words; i++)
        mb_store_relaxed(&copy[i], words[i]);
    mb_store_release(&page->current, next);
    mb_worker_publish_shadows(worker);
}

static void write_out(struct mb_worker *worker) {
    if (!worker->sink)
        return;
    const int result = mb_sink_flush(worker->sink);
    const uint64_t lost = mb_sink_lost(worker->sink);
    if (result != 0) {
        snprintf(worker->complaint, sizeof worker->complaint, "the output lacks %llu packets: %s",
                 (unsigned long long)lost, strerror(-result));
    } else if (lost) {
        char sentence[MB_ERROR_SIZE];
        snprintf(sentence, sizeof sentence,
                 "the output lacks %llu packets, of a link type other than the first",
                 (unsigned long long)lost);
        warn(worker, sentence);
    }
}

static void finish_when_drained(struct mb_worker *worker) {
    if (worker->phase != PHASE_DRAINING || !mb_worker_is_drained(worker))
        return;
    mb_stack_end_commands(worker->stack);
    write_out(worker);
    worker->phase = PHASE_DONE;
}

/* One turn of the loop. Returns whether anything moved: if not, only the NFs can help. */
static bool breathe(struct mb_worker *worker) {
    const enum mb_worker_phase phase = worker->phase;
    const enum mb_worker_pause pause = worker->pause;
    worker->is_early = false;
    mb_worker_welcome(worker);
    inhale(worker);
    if (worker->pause == PAUSE_NONE)
        mb_worker_tell_exits(worker);
    const size_t handled = handle(worker);
    const bool ended = end_flows(worker) | mb_worker_be_silent(worker);
    mb_worker_relieve(worker);
    const bool left = mb_worker_pass_through_gates(worker, handled);
    worker->next_frame += handled;
    mb_worker_drain(worker);
    if (worker->traces_until != 0)
        mb_worker_note_sojourn(worker);
    mb_log_commit(&worker->log);
    const bool gave_back = mb_worker_give_back(worker);
    finish_when_drained(worker);
    publish_counters(worker);
    return handled || ended || left || gave_back || worker->phase != phase ||
           worker->pause != pause;
}

/* Where all have passed what they may read, the editor that they wait for is the slowest. If it has
 * passed something since the gate looked, that is to be applied; or it was for want of room, which
 * the slowest of all makes. */
static void wait_for_slowest(struct mb_worker *worker, uint64_t timeout_ns) {
    struct mb_log *log = &worker->log;
    if (log->editors == 0)
        return mb_log_wait_for_room(log, timeout_ns);
    bool has_passed;
    mb_log_learn_limit(log);
    const uint32_t editor = mb_log_awaited_editor(log, &has_passed);
    if (has_passed && !mb_gate_lacks_room(worker->gate))
        return;
    if (editor == MB_NO_NF || has_passed)
        mb_log_wait_for_room(log, timeout_ns);
    else
        mb_log_wait_for(log, editor, log->applied[editor] + 1, timeout_ns);
}

/* Nothing moved: waits for the NF that has to, or for input. */
static void wait_for_nfs(struct mb_worker *worker, uint64_t timeout_ns) {
    const uint64_t time = timeout_ns < WAIT_AT_MOST ? timeout_ns : WAIT_AT_MOST;
    if (worker->is_early)
        nanosleep(&(struct timespec){.tv_nsec = (long)time}, NULL);
    else if (worker->awaits_input)
        mb_worker_await_input(worker, timeout_ns);
    else if (worker->awaited != MB_NO_NF)
        mb_log_wait_for(&worker->log, worker->awaited, worker->awaited_position, time);
    else
        wait_for_slowest(worker, time);
}

enum mb_worker_status mb_worker_run(struct mb_worker *worker, uint64_t slice_ns) {
    if (worker->phase == PHASE_CONNECTING) {
        snprintf(worker->complaint, sizeof worker->complaint,
                 "the worker was started before it had its subscriptions");
        return MB_WORKER_FAILED;
    }
    if (worker->phase == PHASE_DONE)
        return MB_WORKER_DONE;
    if (mb_worker_is_paused(worker))
        return MB_WORKER_PAUSED;
    uint64_t now = mb_monotonic_time();
    const uint64_t end = now + slice_ns;
    do {
        worker->now = now;
        if (!breathe(worker))
            wait_for_nfs(worker, end > now ? end - now : 0);
        now = mb_monotonic_time();
    } while (worker->phase != PHASE_DONE && !mb_worker_is_paused(worker) && now < end);
    mb_worker_look_at_conduct(worker);
    if (mb_worker_is_paused(worker))
        return MB_WORKER_PAUSED;
    return worker->phase == PHASE_DONE ? MB_WORKER_DONE : MB_WORKER_RUNNING;
}
