/*
 * Making a worker; NFs that are attached, subscribe, and leave.
 */
#include "microbox/stack/counters.h"
#include "microbox/stack/defaults.h"
#include "microbox/stack/fragments/assembled_frames.h"
#include "microbox/stack/worker_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- making --- */

void mb_worker_fill_defaults(struct mb_worker_config *config) {
    struct mb_stack_config *stack = &config->stack;
    mb_stack_fill_defaults(stack);
    if (config->batch == 0 || config->batch > MB_BATCH)
        config->batch = MB_BATCH;
    if (stack->version_bytes == 0)
        stack->version_bytes = MB_VERSION_BYTES_USUALLY;
    if (stack->assembled_datagrams_max == 0)
        stack->assembled_datagrams_max = MB_ASSEMBLED_DATAGRAMS_USUALLY;
}

size_t mb_worker_counters_size(void) {
    return (sizeof(struct mb_counter_page) + MB_PAGE_SIZE - 1) / MB_PAGE_SIZE * MB_PAGE_SIZE;
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

/* Readers of batches wait for all of a batch to be applied, so it may not fill a ring. */
static int make_versions(struct mb_worker *worker) {
    struct mb_stack_config *stack = &worker->config.stack;
    worker->versions_shape = (struct mb_versions_shape){
        .editors = worker->config.editors,
        .log_slots = worker->config.log_slots,
        .ring_bytes = stack->version_bytes,
    };
    if (worker->config.editors == 0)
        return 0;
    const uint64_t size = mb_versions_size(&worker->versions_shape);
    const uint64_t most = stack->version_bytes / 4;
    if (stack->batch_bytes_max == 0 || stack->batch_bytes_max > most)
        stack->batch_bytes_max = most;
    return size != 0 ? mb_area_create(&worker->versions, "microbox versions", size) : -EINVAL;
}

static int map_frames(struct mb_worker *worker) {
    struct mb_stack_config *stack = &worker->config.stack;
    /* A reader of batches keeps the frames of a whole one from being given back. */
    if (mb_source_is_live(worker->source))
        stack->batch_bytes_max = mb_source_pool_size(worker->source) / 4;
    const uint64_t size = mb_assembled_size(stack->assembled_datagrams_max);
    int result = mb_area_create(&worker->assembled, "microbox datagrams", size);
    if (result == 0)
        result = make_versions(worker);
    if (result == 0)
        result = mb_frame_pool_map(
            &worker->pool,
            (struct mb_pool_part){mb_source_pool_fd(worker->source),
                                  mb_source_pool_size(worker->source),
                                  mb_source_is_live(worker->source)},
            (struct mb_pool_part){worker->assembled.fd, size, false},
            (struct mb_pool_part){worker->versions.fd, worker->versions.size, false});
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
    mb_worker_fill_defaults(&worker->config);
    worker->source = source;
    worker->sink = sink;
    worker->packets_read = mb_source_skip(source, config->stack.packets_before);
    worker->awaited = MB_NO_NF;
    worker->welcomed = MB_NO_NF;
    if (make_areas(worker, error))
        return worker;
    mb_worker_destroy(worker);
    return NULL;
}

void mb_worker_destroy(struct mb_worker *worker) {
    if (!worker)
        return;
    mb_worker_destroy_gates(worker);
    if (worker->stack)
        mb_stack_destroy(worker->stack);
    for (uint32_t index = 0; index < worker->nfs; index++) {
        mb_area_destroy(&worker->nf[index].area);
        free(worker->nf[index].lost);
    }
    mb_area_destroy(&worker->counters);
    mb_log_destroy(&worker->log);
    mb_frame_pool_unmap(&worker->pool);
    mb_area_destroy(&worker->assembled);
    mb_area_destroy(&worker->versions);
    mb_ranges_free(&worker->giving_back.kept);
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

int mb_worker_versions_fd(const struct mb_worker *worker) {
    return worker->versions.base != NULL ? worker->versions.fd : -1;
}

struct mb_versions_shape mb_worker_versions_shape(const struct mb_worker *worker) {
    return worker->versions_shape;
}

/* --- NFs come --- */

static bool may_attach(const struct mb_worker *worker, uint32_t index) {
    if (index >= MB_NFS_MAX || index > worker->nfs)
        return false;
    if (index == worker->nfs)
        return worker->phase == PHASE_CONNECTING || mb_worker_is_paused(worker);
    return mb_worker_is_paused(worker) && worker->nf[index].is_dead;
}

/* The place of an NF that is gone is used again: no packet waits for its verdicts. */
static void give_back(struct mb_worker *worker, uint32_t index) {
    mb_worker_tell_exits(worker);
    struct mb_gate *gate = mb_worker_gate_of(worker, index);
    if (gate)
        mb_gate_unwatch(gate, index);
    mb_area_destroy(&worker->nf[index].area);
    free(worker->nf[index].lost);
}

int mb_worker_attach(struct mb_worker *worker, uint32_t index, int area_fd,
                     const struct mb_nf_geometry *geometry, bool fails_closed) {
    if (!may_attach(worker, index) || geometry->log_slots != worker->config.log_slots ||
        geometry->editor > worker->config.editors)
        return -EINVAL;
    struct mb_area area;
    const int result = mb_area_map(&area, area_fd, mb_nf_area_size(geometry));
    if (result != 0)
        return result;
    struct mb_attached *nf = &worker->nf[index];
    if (index == worker->nfs)
        worker->nfs++;
    else
        give_back(worker, index);
    *nf = (struct mb_attached){.area = area, .is_new = worker->phase != PHASE_CONNECTING};
    nf->parts = mb_nf_area_parts(nf->area.base, geometry);
    nf->geometry = *geometry;
    nf->command_slots = geometry->command_slots;
    nf->is_inline = geometry->is_inline;
    nf->fails_closed = fails_closed;
    return 0;
}

int mb_worker_let_skip(struct mb_worker *worker, uint32_t index) {
    if (index >= worker->nfs)
        return -EINVAL;
    struct mb_attached *nf = &worker->nf[index];
    if (!(nf->is_new || worker->phase == PHASE_CONNECTING) || nf->is_inline ||
        nf->command_slots != 0 || nf->lost != NULL)
        return -EINVAL;
    nf->lost = calloc(MB_TYPES_MAX, sizeof *nf->lost);
    return nf->lost != NULL ? 0 : -ENOMEM;
}

static void collect_mask(uint64_t mask[2], const struct mb_subscription *subscriptions,
                         uint32_t count, uint32_t nf) {
    for (uint32_t i = 0; i < count; i++)
        if (subscriptions[i].nf == nf)
            mask[subscriptions[i].bit / 64] |= UINT64_C(1) << subscriptions[i].bit % 64;
}

/* An NF's first bit has the share of all its own. */
static uint64_t siblings_of(const struct mb_subscription *subscriptions, uint32_t count,
                            uint32_t nf) {
    for (uint32_t i = 0; i < count; i++)
        if (subscriptions[i].nf == nf)
            return mb_share_siblings(&subscriptions[i].share);
    return 0;
}

static void collect_lost(uint64_t (*lost)[2], const struct mb_subscription *subscriptions,
                         uint32_t count, uint32_t nf) {
    for (uint32_t i = 0; i < count; i++) {
        const struct mb_subscription *one = &subscriptions[i];
        for (uint32_t type = 0; type < MB_TYPES_MAX && one->nf == nf; type++)
            if (one->lost[type / 64] >> type % 64 & 1)
                lost[type][one->bit / 64] |= UINT64_C(1) << one->bit % 64;
    }
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

static void note_guards(struct mb_worker *worker, const struct mb_subscription *subscriptions,
                        uint32_t count) {
    worker->no_guards[0] = 0;
    worker->no_guards[1] = 0;
    for (uint32_t i = 0; i < count; i++)
        if (subscriptions[i].guards_nothing)
            worker->no_guards[subscriptions[i].bit / 64] |= UINT64_C(1)
                                                            << subscriptions[i].bit % 64;
}

/* Lets each NF that came hold the log, by the bits that name it. */
static bool connect_to_log(struct mb_worker *worker, const struct mb_subscription *subscriptions,
                           uint32_t count, char error[MB_ERROR_SIZE]) {
    note_guards(worker, subscriptions, count);
    for (uint32_t index = 0; index < worker->nfs; index++) {
        const struct mb_attached *nf = &worker->nf[index];
        if (worker->phase != PHASE_CONNECTING && !nf->is_new)
            continue;
        struct mb_consumer consumer = {
            .page = nf->parts.page,
            .verdicts = nf->is_inline ? nf->parts.verdicts : NULL,
            .edits = nf->geometry.editor != 0,
            .fails_closed = nf->fails_closed,
            .is_shadow = nf->is_shadow,
            .siblings = siblings_of(subscriptions, count, index),
            .delivers = (const uint64_t(*)[2])nf->lost,
        };
        if (nf->lost != NULL)
            collect_lost(nf->lost, subscriptions, count, index);
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

void mb_worker_send_away(struct mb_worker *worker) {
    for (uint32_t index = 0; index < worker->nfs; index++) {
        struct mb_attached *nf = &worker->nf[index];
        if (!nf->is_new)
            continue;
        nf->is_new = false;
        nf->is_dead = true;
        mb_log_detach(&worker->log, index);
    }
}

static int connect_the_new(struct mb_worker *worker, const struct mb_subscription *subscriptions,
                           uint32_t count, const struct mb_timer_subscription *timers,
                           uint32_t timer_count, char error[MB_ERROR_SIZE]) {
    if (!are_sound(worker, subscriptions, count, error) ||
        !connect_to_log(worker, subscriptions, count, error))
        return -EINVAL;
    if (!mb_worker_make_gates(worker)) {
        snprintf(error, MB_ERROR_SIZE, "no memory for the gate");
        return -ENOMEM;
    }
    return mb_stack_resubscribe(worker->stack, subscriptions, count, timers, timer_count, error);
}

/* Exits are told to those who subscribed before. */
static int resubscribe(struct mb_worker *worker, const struct mb_subscription *subscriptions,
                       uint32_t count, const struct mb_timer_subscription *timers,
                       uint32_t timer_count, char error[MB_ERROR_SIZE]) {
    mb_worker_tell_exits(worker);
    mb_log_commit(&worker->log);
    const int status = connect_the_new(worker, subscriptions, count, timers, timer_count, error);
    if (status != 0) {
        mb_worker_send_away(worker);
        return status;
    }
    mb_worker_watch(worker, true);
    worker->is_resubscribed = true;
    return 0;
}

int mb_worker_subscribe(struct mb_worker *worker, const struct mb_subscription *subscriptions,
                        uint32_t count, const struct mb_timer_subscription *timers,
                        uint32_t timer_count, char error[MB_ERROR_SIZE]) {
    if (mb_worker_is_paused(worker))
        return resubscribe(worker, subscriptions, count, timers, timer_count, error);
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
    if (!mb_worker_make_gates(worker)) {
        snprintf(error, MB_ERROR_SIZE, "no memory for the gate");
        return -ENOMEM;
    }
    mb_worker_watch(worker, false);
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
        const struct mb_attached *nf = &worker->nf[index];
        if (nf->command_slots != 0)
            rings[ring_count++] = (struct mb_command_ring){.nf = index,
                                                           .page = nf->parts.page,
                                                           .slots = nf->parts.commands,
                                                           .count = nf->command_slots,
                                                           .may_drop = nf->is_inline,
                                                           .is_shadow = nf->is_shadow};
    }
    const int result = mb_stack_accept_commands(worker->stack, switches, count, rings, ring_count);
    if (result != 0)
        snprintf(error, MB_ERROR_SIZE, "commands of NFs cannot be taken: %s", strerror(-result));
    return result;
}

/* --- NFs go --- */

void mb_worker_tell_exits(struct mb_worker *worker) {
    for (uint32_t index = 0; index < worker->nfs; index++) {
        struct mb_attached *nf = &worker->nf[index];
        if (!nf->exit_untold || worker->phase == PHASE_DRAINING)
            continue;
        if (!mb_log_has_room(&worker->log, 1))
            return;
        mb_stack_detach(worker->stack, index, nf->exit_status, nf->is_inline);
        nf->exit_untold = false;
    }
}

void mb_worker_detach(struct mb_worker *worker, uint32_t index, int32_t status) {
    if (index >= worker->nfs || worker->nf[index].is_dead)
        return;
    struct mb_attached *nf = &worker->nf[index];
    nf->is_dead = true;
    nf->exit_untold = true;
    nf->exit_status = status;
    if (worker->phase != PHASE_CONNECTING)
        mb_log_detach(&worker->log, index);
}

void mb_worker_leave(struct mb_worker *worker, uint32_t index) {
    if (!mb_worker_is_paused(worker) || index >= worker->nfs)
        return;
    worker->nf[index].fails_closed = false;
    mb_worker_detach(worker, index, 0);
}

void mb_worker_catch_up(struct mb_worker *worker, uint32_t index) {
    if (index < worker->nfs)
        worker->nf[index].catches_up = worker->nf[index].is_new;
}
