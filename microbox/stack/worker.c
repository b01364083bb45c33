/*
 * The loop: inhale frames, handle them, let judged packets out, commit, count; wait when the NFs
 * hold everything up. Read `breathe` first.
 */
#include "microbox/stack/worker.h"

#include "microbox/bus/atomic.h"
#include "microbox/bus/frame_pool.h"
#include "microbox/bus/reader.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/counters.h"
#include "microbox/stack/fragments/assembled_frames.h"
#include "microbox/stack/gate.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Packets that may wait for verdicts. More wait in the input. */
    GATE_CAPACITY = 4 * MB_CHECKPOINT_PACKETS,
    /* The worker sleeps until the slowest NF moves; verdicts may come from another one. */
    WAIT_AT_MOST = 1000000,
    NOBODY = MB_NFS_MAX,
};

enum phase {
    PHASE_CONNECTING, /* NFs are attached */
    PHASE_READING,
    PHASE_ENDING,   /* no more input: flows end */
    PHASE_DRAINING, /* end_of_input is published: NFs read what is left */
    PHASE_DONE,
};

/* An NF as it was attached. */
struct attached {
    struct mb_area area; /* stays mapped when the NF is gone: its verdicts may still be read */
    struct mb_nf_area parts;
    uint64_t command_slots; /* 0: it gives no commands */
    bool is_inline;
    bool fails_closed;
    bool is_dead;
    bool exit_untold; /* system.nf_exited is still to be published */
    int32_t exit_status;
};

struct mb_worker {
    struct mb_worker_config config;
    struct mb_source *source;
    struct mb_sink *sink;
    struct mb_area assembled; /* datagrams that were put together */
    struct mb_frame_pool pool;
    struct mb_log log;
    struct mb_stack *stack; /* from subscribe on */
    struct mb_gate *gate;   /* where there is a sink or an inline NF */
    struct mb_area counters;
    enum phase phase;
    bool stopped;

    uint32_t nfs;
    struct attached nf[MB_NFS_MAX];

    /* The batch: frames [next_frame, frame_count) are read and not handled yet. */
    size_t frame_count;
    size_t next_frame;
    struct mb_frame frames[MB_BATCH];
    struct mb_handled handled[MB_BATCH];

    uint64_t packets_read;
    uint64_t log_waits;     /* times that it became full */
    bool log_is_full;       /* the stack could not handle all that it was given */
    uint64_t command_waits; /* times that an NF's commands had to be waited for */
    uint32_t awaited;       /* the NF that they come from; NOBODY: none holds the worker up */
    uint64_t awaited_position;
    uint64_t last_time;
    char complaint[MB_ERROR_SIZE];
    char warning[MB_ERROR_SIZE];
};

/* --- making and connecting --- */

static uint32_t batch_size(uint32_t wanted) {
    return wanted == 0 || wanted > MB_BATCH ? MB_BATCH : wanted;
}

size_t mb_worker_counters_size(void) {
    return (sizeof(struct mb_stack_counters) + MB_PAGE_SIZE - 1) / MB_PAGE_SIZE * MB_PAGE_SIZE;
}

static bool complain_about_log(const struct mb_worker *worker, int result,
                               char error[MB_ERROR_SIZE]) {
    if (result == -EINVAL)
        snprintf(error, MB_ERROR_SIZE,
                 "the log cannot have %llu slots: expected a power of two, at least %d",
                 (unsigned long long)worker->config.log_slots, MB_LOG_SLOTS_MIN);
    else
        snprintf(error, MB_ERROR_SIZE, "no memory for a log of %llu slots: %s",
                 (unsigned long long)worker->config.log_slots, strerror(-result));
    return false;
}

static int map_frames(struct mb_worker *worker) {
    struct mb_stack_config *stack = &worker->config.stack;
    if (stack->assembled_datagrams_max == 0)
        stack->assembled_datagrams_max = MB_ASSEMBLED_DATAGRAMS_USUALLY;
    const uint64_t size = mb_assembled_size(stack->assembled_datagrams_max);
    int result = mb_area_create(&worker->assembled, "microbox datagrams", size);
    if (result == 0)
        result = mb_frame_pool_map(&worker->pool, mb_source_pool_fd(worker->source),
                                   mb_source_pool_size(worker->source), worker->assembled.fd, size);
    stack->assembled_bytes = worker->assembled.base;
    stack->assembled_offset = worker->pool.assembled;
    return result;
}

static bool make_areas(struct mb_worker *worker, char error[MB_ERROR_SIZE]) {
    int result = mb_log_create(&worker->log, worker->config.log_slots);
    if (result == 0)
        result = mb_area_create(&worker->counters, "microbox counters", mb_worker_counters_size());
    if (result != 0)
        return complain_about_log(worker, result, error);
    result = map_frames(worker);
    if (result == 0)
        return true;
    snprintf(error, MB_ERROR_SIZE, "no memory for the frames: %s", strerror(-result));
    return false;
}

struct mb_worker *mb_worker_create(const struct mb_worker_config *config, struct mb_source *source,
                                   struct mb_sink *sink, char error[MB_ERROR_SIZE]) {
    struct mb_worker *worker = calloc(1, sizeof *worker);
    if (!worker) {
        snprintf(error, MB_ERROR_SIZE, "no memory for a worker");
        return NULL;
    }
    worker->config = *config;
    worker->config.batch = batch_size(config->batch);
    worker->source = source;
    worker->sink = sink;
    worker->awaited = NOBODY;
    if (make_areas(worker, error))
        return worker;
    mb_worker_destroy(worker);
    return NULL;
}

void mb_worker_destroy(struct mb_worker *worker) {
    if (!worker)
        return;
    mb_gate_destroy(worker->gate);
    if (worker->stack)
        mb_stack_destroy(worker->stack);
    for (uint32_t index = 0; index < worker->nfs; index++)
        mb_area_destroy(&worker->nf[index].area);
    mb_area_destroy(&worker->counters);
    mb_log_destroy(&worker->log);
    mb_frame_pool_unmap(&worker->pool);
    mb_area_destroy(&worker->assembled);
    free(worker);
}

int mb_worker_log_fd(const struct mb_worker *worker) {
    return worker->log.area.fd;
}

int mb_worker_counters_fd(const struct mb_worker *worker) {
    return worker->counters.fd;
}

int mb_worker_assembled_fd(const struct mb_worker *worker) {
    return worker->assembled.fd;
}

uint64_t mb_worker_assembled_size(const struct mb_worker *worker) {
    return worker->assembled.size;
}

int mb_worker_attach(struct mb_worker *worker, uint32_t index, int area_fd, bool is_inline,
                     bool fails_closed, uint64_t own_slots, uint64_t ring_bytes,
                     uint64_t command_slots) {
    if (worker->phase != PHASE_CONNECTING || index >= MB_NFS_MAX || index != worker->nfs)
        return -EINVAL;
    const struct mb_nf_geometry geometry = {
        .log_slots = worker->config.log_slots,
        .own_slots = own_slots,
        .ring_bytes = ring_bytes,
        .command_slots = command_slots,
        .is_inline = is_inline,
    };
    struct attached *nf = &worker->nf[index];
    const int result = mb_area_map(&nf->area, area_fd, mb_nf_area_size(&geometry));
    if (result != 0)
        return result;
    nf->parts = mb_nf_area_parts(nf->area.base, &geometry);
    nf->command_slots = command_slots;
    nf->is_inline = is_inline;
    nf->fails_closed = fails_closed;
    worker->nfs++;
    return 0;
}

static void collect_mask(uint64_t mask[2], const struct mb_subscription *subscriptions,
                         uint32_t count, uint32_t nf) {
    for (uint32_t i = 0; i < count; i++)
        if (subscriptions[i].nf == nf)
            mask[subscriptions[i].bit / 64] |= UINT64_C(1) << subscriptions[i].bit % 64;
}

static bool are_sound(const struct mb_worker *worker, const struct mb_subscription *subscriptions,
                      uint32_t count, char error[MB_ERROR_SIZE]) {
    for (uint32_t i = 0; i < count; i++) {
        if (subscriptions[i].nf < worker->nfs && subscriptions[i].bit < MB_SUBSCRIPTIONS_MAX)
            continue;
        snprintf(error, MB_ERROR_SIZE, "a subscription of NF %u, bit %u: there are %u NFs, %d bits",
                 subscriptions[i].nf, subscriptions[i].bit, worker->nfs, MB_SUBSCRIPTIONS_MAX);
        return false;
    }
    return true;
}

/* Lets each NF hold the log, by the bits that name it. */
static bool connect_to_log(struct mb_worker *worker, const struct mb_subscription *subscriptions,
                           uint32_t count, char error[MB_ERROR_SIZE]) {
    for (uint32_t index = 0; index < worker->nfs; index++) {
        const struct attached *nf = &worker->nf[index];
        struct mb_consumer consumer = {
            .page = nf->parts.page,
            .verdicts = nf->is_inline ? nf->parts.verdicts : NULL,
            .fails_closed = nf->fails_closed,
        };
        collect_mask(consumer.mask, subscriptions, count, index);
        if (mb_log_attach(&worker->log, index, &consumer) != 0) {
            snprintf(error, MB_ERROR_SIZE, "NF %u cannot be attached: it shares bits with another",
                     index);
            return false;
        }
        if (nf->is_dead)
            mb_log_detach(&worker->log, index);
    }
    return true;
}

static bool has_inline(const struct mb_worker *worker) {
    for (uint32_t index = 0; index < worker->nfs; index++)
        if (worker->nf[index].is_inline)
            return true;
    return false;
}

static bool make_gate(struct mb_worker *worker) {
    if (!worker->sink && !has_inline(worker))
        return true;
    const struct mb_gate_config config = {
        .log = &worker->log,
        .sink = worker->sink,
        .pool = worker->pool.bytes,
        .capacity = GATE_CAPACITY,
        .flow_slots = mb_stack_flow_slots(worker->stack),
        .datagram_slots = mb_stack_datagram_slots(worker->stack),
    };
    worker->gate = mb_gate_create(&config);
    if (!worker->gate)
        return false;
    for (uint32_t index = 0; index < worker->nfs; index++) {
        const struct attached *nf = &worker->nf[index];
        if (nf->is_inline)
            mb_gate_watch(worker->gate, index, nf->parts.verdicts, worker->log.consumer[index].mask,
                          nf->fails_closed);
    }
    return true;
}

int mb_worker_subscribe(struct mb_worker *worker, const struct mb_subscription *subscriptions,
                        uint32_t count, const struct mb_timer_subscription *timers,
                        uint32_t timer_count, char error[MB_ERROR_SIZE]) {
    if (worker->phase != PHASE_CONNECTING) {
        snprintf(error, MB_ERROR_SIZE, "the worker has its subscriptions already");
        return -EINVAL;
    }
    if (!are_sound(worker, subscriptions, count, error) ||
        !connect_to_log(worker, subscriptions, count, error))
        return -EINVAL;
    worker->stack = mb_stack_create(&worker->config.stack, &worker->log, subscriptions, count,
                                    timers, timer_count, error);
    if (!worker->stack)
        return -EINVAL;
    if (!make_gate(worker)) {
        snprintf(error, MB_ERROR_SIZE, "no memory for the gate");
        return -ENOMEM;
    }
    worker->phase = PHASE_READING;
    return 0;
}

int mb_worker_accept_commands(struct mb_worker *worker, const struct mb_switch *switches,
                              uint32_t count, char error[MB_ERROR_SIZE]) {
    if (worker->phase != PHASE_READING) {
        snprintf(error, MB_ERROR_SIZE, "the worker takes commands after its subscriptions");
        return -EINVAL;
    }
    struct mb_command_ring rings[MB_NFS_MAX];
    uint32_t ring_count = 0;
    for (uint32_t index = 0; index < worker->nfs; index++) {
        const struct attached *nf = &worker->nf[index];
        if (nf->command_slots != 0)
            rings[ring_count++] = (struct mb_command_ring){.nf = index,
                                                           .page = nf->parts.page,
                                                           .slots = nf->parts.commands,
                                                           .count = nf->command_slots};
    }
    const int result = mb_stack_accept_commands(worker->stack, switches, count, rings, ring_count);
    if (result != 0)
        snprintf(error, MB_ERROR_SIZE, "commands of NFs cannot be taken: %s", strerror(-result));
    return result;
}

void mb_worker_detach(struct mb_worker *worker, uint32_t index, int32_t status) {
    if (index >= worker->nfs || worker->nf[index].is_dead)
        return;
    struct attached *nf = &worker->nf[index];
    nf->is_dead = true;
    nf->exit_untold = true;
    nf->exit_status = status;
    if (worker->phase != PHASE_CONNECTING)
        mb_log_detach(&worker->log, index);
}

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
    if (worker->stopped)
        worker->next_frame = worker->frame_count;
    if (worker->phase != PHASE_READING || worker->next_frame < worker->frame_count)
        return;
    const size_t wanted = frames_wanted(worker);
    worker->next_frame = 0;
    worker->frame_count = wanted ? mb_source_read(worker->source, worker->frames, wanted) : 0;
    worker->packets_read += worker->frame_count;
    if (worker->frame_count)
        return;
    if (wanted && *mb_source_complaint(worker->source))
        warn(worker, mb_source_complaint(worker->source));
    worker->phase = PHASE_ENDING;
}

/* How many packets of the batch may be handled: those that the gate can keep, and that are not too
 * far ahead of NFs that give commands. */
static size_t frames_allowed(struct mb_worker *worker) {
    size_t count = worker->frame_count - worker->next_frame;
    const bool waited = worker->awaited != NOBODY;
    worker->awaited = NOBODY;
    if (worker->gate && count > mb_gate_room(worker->gate))
        count = mb_gate_room(worker->gate);
    uint32_t nf = NOBODY;
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
    const size_t count = frames_allowed(worker);
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

/* The order is the gate's (gate.h). Returns whether packets left. */
static bool pass_through_gate(struct mb_worker *worker, size_t handled) {
    if (!worker->gate)
        return false;
    const bool left = mb_gate_run(worker->gate) != 0;
    for (size_t i = 0; i < handled; i++)
        mb_gate_add(worker->gate, &worker->frames[worker->next_frame + i], &worker->handled[i]);
    return left;
}

/* Ends flows, and tells of the end. Returns whether something was published. */
static bool end_flows(struct mb_worker *worker) {
    if (worker->phase != PHASE_ENDING)
        return false;
    const uint64_t before = worker->log.next;
    if (mb_stack_finish(worker->stack, MB_REASON_END_SHUTDOWN))
        worker->phase = PHASE_DRAINING;
    return worker->log.next != before;
}

/* Tells of NFs that are gone, as room allows, and not after end_of_input. */
static void tell_exits(struct mb_worker *worker) {
    for (uint32_t index = 0; index < worker->nfs; index++) {
        struct attached *nf = &worker->nf[index];
        if (!nf->exit_untold || worker->phase == PHASE_DRAINING)
            continue;
        if (!mb_log_has_room(&worker->log, 1))
            return;
        mb_stack_detach(worker->stack, index, nf->exit_status, nf->is_inline && nf->fails_closed);
        nf->exit_untold = false;
    }
}

static void count_gate(const struct mb_worker *worker, struct mb_stack_counters *counters) {
    if (!worker->gate)
        return;
    const struct mb_gate_counters gate = mb_gate_counters(worker->gate);
    counters->gate_dropped = gate.dropped;
    counters->gate_refused = gate.refused;
    counters->gate_waiting = gate.waiting;
    counters->by_reason[MB_REASON_VERDICT_DROP] += gate.verdict_drop;
    counters->by_reason[MB_REASON_VERDICT_DROP_FLOW] += gate.verdict_drop_flow;
    counters->by_reason[MB_REASON_NF_FAILED_CLOSED] += gate.failed_closed;
}

static void publish_counters(struct mb_worker *worker) {
    struct mb_stack_counters counters = *mb_stack_counters(worker->stack);
    counters.log_waits = worker->log_waits;
    counters.command_waits = worker->command_waits;
    counters.input_bytes = mb_source_bytes_read(worker->source);
    if (worker->sink) {
        counters.output_packets = mb_sink_written(worker->sink);
        counters.output_bytes = mb_sink_written_bytes(worker->sink);
        counters.output_lost = mb_sink_lost(worker->sink);
    }
    count_gate(worker, &counters);
    counters.time = worker->last_time;
    counters.finished = worker->phase == PHASE_DONE;

    _Static_assert(sizeof counters % sizeof(uint64_t) == 0, "counters are 64-bit words");
    const uint64_t *words = (const uint64_t *)&counters;
    uint64_t *page = worker->counters.base;
    for (size_t i = 0; i < sizeof counters / sizeof *words; i++)
        mb_store_relaxed(&page[i], words[i]);
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

static bool is_drained(const struct mb_worker *worker) {
    return mb_log_drained(&worker->log) &&
           (!worker->gate || mb_gate_counters(worker->gate).waiting == 0);
}

static void finish_when_drained(struct mb_worker *worker) {
    if (worker->phase != PHASE_DRAINING || !is_drained(worker))
        return;
    mb_stack_end_commands(worker->stack);
    write_out(worker);
    worker->phase = PHASE_DONE;
}

/* One turn of the loop. Returns whether anything moved: if not, only the NFs can help. */
static bool breathe(struct mb_worker *worker) {
    const enum phase phase = worker->phase;
    inhale(worker);
    tell_exits(worker);
    const size_t handled = handle(worker);
    const bool ended = end_flows(worker);
    const bool left = pass_through_gate(worker, handled);
    worker->next_frame += handled;
    mb_log_commit(&worker->log);
    finish_when_drained(worker);
    publish_counters(worker);
    return handled || ended || left || worker->phase != phase;
}

/* Nothing moved: waits for the NF that has to. */
static void wait_for_nfs(struct mb_worker *worker, uint64_t timeout_ns) {
    const uint64_t time = timeout_ns < WAIT_AT_MOST ? timeout_ns : WAIT_AT_MOST;
    if (worker->awaited != NOBODY)
        mb_log_wait_for(&worker->log, worker->awaited, worker->awaited_position, time);
    else
        mb_log_wait_for_room(&worker->log, time);
}

enum mb_worker_status mb_worker_run(struct mb_worker *worker, uint64_t slice_ns) {
    if (worker->phase == PHASE_CONNECTING) {
        snprintf(worker->complaint, sizeof worker->complaint,
                 "the worker was started before it had its subscriptions");
        return MB_WORKER_FAILED;
    }
    if (worker->phase == PHASE_DONE)
        return MB_WORKER_DONE;
    uint64_t now = mb_monotonic_time();
    const uint64_t end = now + slice_ns;
    do {
        if (!breathe(worker))
            wait_for_nfs(worker, end > now ? end - now : 0);
        now = mb_monotonic_time();
    } while (worker->phase != PHASE_DONE && now < end);
    return worker->phase == PHASE_DONE ? MB_WORKER_DONE : MB_WORKER_RUNNING;
}
