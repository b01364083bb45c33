/*
 * The worker's gates: the one that lets packets out, and behind it one for each NF in shadow, which
 * counts what would become of the same packets if that NF alone had a say.
 */
#include "microbox/bus/atomic.h"
#include "microbox/stack/counters.h"
#include "microbox/stack/worker_private.h"

#include <errno.h>

/* --- making --- */

static struct mb_gate *create(struct mb_worker *worker, struct mb_sink *sink,
                              const struct mb_gate *after) {
    const struct mb_gate_config config = {
        .log = &worker->log,
        .sink = sink,
        .after = after,
        .pool = worker->pool.bytes,
        .capacity = MB_GATE_CAPACITY,
        .flow_slots = mb_stack_flow_slots(worker->stack),
        .datagram_slots = mb_stack_datagram_slots(worker->stack),
    };
    return mb_gate_create(&config);
}

static bool has_inline(const struct mb_worker *worker) {
    for (uint32_t index = 0; index < worker->nfs; index++)
        if (worker->nf[index].is_inline)
            return true;
    return false;
}

/* In shadow it does not: what it leaves is not taken. */
static bool edits(const struct mb_attached *nf) {
    return nf->parts.edits != NULL && !nf->is_shadow;
}

/* What NF `index` needs of its gate. */
static bool make_for(struct mb_worker *worker, uint32_t index) {
    const struct mb_attached *nf = &worker->nf[index];
    struct mb_gate **gate = nf->is_shadow ? &worker->shadow[index] : &worker->gate;
    if (*gate == NULL)
        *gate = create(worker, NULL, worker->gate);
    if (*gate == NULL)
        return false;
    if (edits(nf) && !mb_gate_accept_edits(*gate, mb_stack_decoder(worker->stack),
                                           &worker->versions_shape, worker->versions.base))
        return false;
    return !nf->parts.rewrites || mb_gate_translate(*gate, mb_stack_decoder(worker->stack));
}

/* Bits by which inline NFs whose verdicts count read streams. */
static void collect_judges(const struct mb_worker *worker, uint64_t bits[2]) {
    for (uint32_t index = 0; index < worker->nfs; index++) {
        const struct mb_attached *nf = &worker->nf[index];
        const uint64_t *mask = worker->log.consumer[index].mask;
        for (unsigned half = 0; half < 2 && nf->is_inline && !nf->is_shadow; half++)
            bits[half] |= mask[half] & ~worker->no_guards[half];
    }
}

/* As the subscriptions are now. */
static void guard_streams(struct mb_worker *worker) {
    uint64_t judges[2] = {0, 0};
    collect_judges(worker, judges);
    if (worker->gate && mb_stack_streams_are_read(worker->stack, judges))
        mb_stack_guard_streams(worker->stack, mb_gate_guard_streams(worker->gate), judges);
}

static bool prepare_streams(struct mb_worker *worker) {
    const struct mb_stream_guard guard = mb_stack_stream_guard(worker->stack);
    return mb_gate_prepare_streams(worker->gate, &guard, mb_stack_decoder(worker->stack));
}

bool mb_worker_make_gates(struct mb_worker *worker) {
    if (worker->sink == NULL && !has_inline(worker))
        return true;
    if (worker->gate == NULL) {
        worker->gate = create(worker, worker->sink, NULL);
        mb_stack_note_sequences(worker->stack);
    }
    if (worker->gate == NULL || (has_inline(worker) && !prepare_streams(worker)))
        return false;
    for (uint32_t index = 0; index < worker->nfs; index++)
        if (worker->nf[index].is_inline && !make_for(worker, index))
            return false;
    return true;
}

void mb_worker_destroy_gates(struct mb_worker *worker) {
    mb_gate_destroy(worker->gate);
    for (uint32_t index = 0; index < worker->nfs; index++)
        mb_gate_destroy(worker->shadow[index]);
}

struct mb_gate *mb_worker_gate_of(const struct mb_worker *worker, uint32_t index) {
    return worker->nf[index].is_shadow ? worker->shadow[index] : worker->gate;
}

static void watch(struct mb_worker *worker, uint32_t index) {
    const struct mb_attached *nf = &worker->nf[index];
    struct mb_gate *gate = mb_worker_gate_of(worker, index);
    mb_gate_watch(gate, index, nf->parts.verdicts, worker->log.consumer[index].mask,
                  nf->fails_closed);
    if (nf->parts.rewrites)
        mb_gate_watch_rewrites(gate, index, nf->parts.rewrites);
    if (edits(nf))
        mb_gate_watch_edits(gate, index, &nf->parts, &nf->geometry);
    if (nf->is_shadow)
        worker->shadows |= UINT64_C(1) << index;
}

void mb_worker_watch(struct mb_worker *worker, bool only_new) {
    for (uint32_t index = 0; index < worker->nfs; index++)
        if (worker->nf[index].is_inline && (!only_new || worker->nf[index].is_new))
            watch(worker, index);
    guard_streams(worker);
}

/* --- packets --- */

/* A gate in shadow is behind the worker's own, so where it has room that has. */
size_t mb_worker_gates_room(const struct mb_worker *worker, size_t count) {
    if (worker->gate && count > mb_gate_room(worker->gate))
        count = mb_gate_room(worker->gate);
    for (uint64_t rest = worker->shadows; rest; rest &= rest - 1) {
        const uint64_t room = mb_gate_room(worker->shadow[__builtin_ctzll(rest)]);
        count = count > room ? room : count;
    }
    return count;
}

static bool pass_through(struct mb_worker *worker, struct mb_gate *gate, size_t handled) {
    const bool left = mb_gate_run(gate) != 0;
    for (size_t i = 0; i < handled; i++)
        if (worker->handled[i].packet != 0) /* else another worker has it */
            mb_gate_add(gate, &worker->frames[worker->next_frame + i], &worker->handled[i]);
    return left;
}

static void add_steps_apart(struct mb_worker *worker) {
    if (!mb_gate_has_steps_apart(worker->gate))
        return;
    mb_gate_add_steps_apart(worker->gate);
    for (uint64_t rest = worker->shadows; rest; rest &= rest - 1)
        mb_gate_add_steps_apart(worker->shadow[__builtin_ctzll(rest)]);
}

/* What an NF in shadow edits is not taken; what it has passed it may write over. */
static void free_edits(struct mb_worker *worker, uint32_t index) {
    if (worker->nf[index].parts.edits != NULL)
        mb_log_set_applied(&worker->log, index, mb_log_passed(&worker->log, index));
}

bool mb_worker_pass_through_gates(struct mb_worker *worker, size_t handled) {
    if (!worker->gate)
        return false;
    bool left = pass_through(worker, worker->gate, handled);
    for (uint64_t rest = worker->shadows; rest; rest &= rest - 1) {
        const uint32_t index = (uint32_t)__builtin_ctzll(rest);
        left |= pass_through(worker, worker->shadow[index], handled);
        free_edits(worker, index);
    }
    add_steps_apart(worker);
    return left;
}

bool mb_worker_gates_are_empty(const struct mb_worker *worker) {
    for (uint64_t rest = worker->shadows; rest; rest &= rest - 1)
        if (mb_gate_counters(worker->shadow[__builtin_ctzll(rest)]).waiting != 0)
            return false;
    return !worker->gate || mb_gate_counters(worker->gate).waiting == 0;
}

/* --- out of the shadow --- */

int mb_worker_shadow(struct mb_worker *worker, uint32_t index) {
    if (index >= worker->nfs)
        return -EINVAL;
    struct mb_attached *nf = &worker->nf[index];
    if (!(nf->is_new || worker->phase == PHASE_CONNECTING) || !nf->is_inline || nf->fails_closed)
        return -EINVAL;
    nf->is_shadow = true;
    return 0;
}

/* What a real verdict on these flows would have done by now. */
static void drop_flows(struct mb_worker *worker, uint32_t index) {
    const uint32_t slots = mb_stack_flow_slots(worker->stack);
    for (uint32_t slot = 0; slot < slots; slot++) {
        const uint64_t number = mb_gate_dropped_flow(worker->shadow[index], slot);
        if (number != 0)
            mb_stack_drop_flow(worker->stack, slot, number, index);
    }
}

static bool lives_inline(const struct mb_worker *worker, uint32_t index) {
    return mb_worker_is_paused(worker) && index < worker->nfs && worker->nf[index].is_inline &&
           !worker->nf[index].is_dead;
}

int mb_worker_promote(struct mb_worker *worker, uint32_t index) {
    if (!lives_inline(worker, index) || !worker->nf[index].is_shadow)
        return -EINVAL;
    struct mb_attached *nf = &worker->nf[index];
    nf->is_shadow = false;
    if (!make_for(worker, index)) {
        nf->is_shadow = true;
        return -ENOMEM;
    }
    drop_flows(worker, index);
    mb_gate_destroy(worker->shadow[index]);
    worker->shadow[index] = NULL;
    worker->shadows &= ~(UINT64_C(1) << index);
    mb_log_leave_shadow(&worker->log, index);
    watch(worker, index);
    guard_streams(worker);
    return 0;
}

int mb_worker_fail_closed(struct mb_worker *worker, uint32_t index) {
    if (!lives_inline(worker, index) || worker->nf[index].is_shadow)
        return -EINVAL;
    worker->nf[index].fails_closed = true;
    mb_log_fail_closed(&worker->log, index);
    mb_gate_fail_closed(worker->gate, index);
    return 0;
}

/* --- counting --- */

void mb_worker_publish_shadows(const struct mb_worker *worker) {
    struct mb_counter_page *page = worker->counters.base;
    for (uint64_t rest = worker->shadows; rest; rest &= rest - 1) {
        const unsigned index = (unsigned)__builtin_ctzll(rest);
        const struct mb_gate_counters gate = mb_gate_counters(worker->shadow[index]);
        const struct mb_shadow_counters counters = {
            .judge = *mb_gate_judge(worker->shadow[index], index),
            .flows = gate.flows_of_dropped,
            .dropped_already = gate.dropped_already,
        };
        const uint64_t *words = (const uint64_t *)&counters;
        uint64_t *to = (uint64_t *)&page->shadows[index];
        for (size_t i = 0; i < sizeof counters / sizeof *words; i++)
            mb_store_relaxed(&to[i], words[i]);
    }
}
