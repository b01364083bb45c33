#include "microbox/c_nf/runner.h"

#include "microbox/c_nf/runner_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STRETCH = 64 }; /* events between two looks that others can have at how far it is */

/* --- making --- */

static void find_routes(struct mb_c_nf_runner *runner) {
    const struct mb_c_nf_route *route = runner->config.routes;
    const struct mb_c_nf_route *end = route + runner->config.route_count;
    for (uint32_t type = 0; type <= MB_TYPES_MAX; type++) {
        while (route < end && route->type < type)
            route++;
        runner->first_route[type] = route;
    }
}

static bool keeps_records(const struct mb_c_nf_runner *runner) {
    return runner->config.log_path != NULL || runner->config.log_fd >= 0;
}

static int allocate(struct mb_c_nf_runner *runner) {
    const struct mb_c_nf_config *config = &runner->config;
    const struct mb_nf_descriptor *descriptor = config->descriptor;
    runner->payload = malloc(MB_NF_PUBLICATION_MAX);
    runner->summary.bytes = malloc(MB_NF_SUMMARY_MAX);
    runner->summary.capacity = MB_NF_SUMMARY_MAX;
    if (runner->payload == NULL || runner->summary.bytes == NULL)
        return -ENOMEM;
    if (keeps_records(runner) &&
        mb_record_log_open(&runner->records, config->log_path, config->log_fd, config->utc) != 0)
        return -ENOMEM;
    runner->records.is_part = config->is_part_of_log;
    const uint32_t most =
        descriptor->flow_states_max != 0 ? descriptor->flow_states_max : MB_NF_FLOW_STATES;
    return mb_flow_states_create(&runner->states, descriptor->flow_state_size, most,
                                 config->capacity);
}

struct mb_c_nf_runner *mb_c_nf_create(const struct mb_c_nf_config *config) {
    struct mb_c_nf_runner *runner = calloc(1, sizeof *runner);
    if (runner == NULL)
        return NULL;
    runner->config = *config;
    runner->nf = (struct mb_nf){.services = &mb_c_nf_services, .state = config->state};
    runner->counters = mb_reader_counters(config->reader);
    find_routes(runner);
    if (allocate(runner) == 0)
        return runner;
    mb_c_nf_destroy(runner);
    return NULL;
}

void mb_c_nf_destroy(struct mb_c_nf_runner *runner) {
    if (runner == NULL)
        return;
    mb_record_log_close(&runner->records);
    mb_flow_states_destroy(&runner->states);
    free(runner->summary.bytes);
    free(runner->payload);
    free(runner);
}

/* --- what goes wrong --- */

void mb_c_nf_fail(struct mb_c_nf_runner *runner, const char *format, ...) {
    if (runner->has_failed)
        return;
    runner->has_failed = true;
    if (runner->failures == MB_C_NF_FAILURES_MAX)
        return;
    struct mb_c_nf_failure *failure = &runner->failure[runner->failures];
    failure->handler = runner->running;
    failure->index = runner->delivery != NULL
                         ? (uint32_t)(runner->delivery - runner->config.deliveries)
                         : runner->config.capacity;
    va_list values;
    va_start(values, format);
    vsnprintf(failure->reason, sizeof failure->reason, format, values);
    va_end(values);
}

/* `times`: how often the handler has failed, this time included. */
static void note_failure(struct mb_c_nf_runner *runner, uint64_t times) {
    runner->counters->raised++;
    if (runner->failures < MB_C_NF_FAILURES_MAX && (runner->config.stops || times <= MB_C_NF_TOLD))
        runner->failures++;
}

/* --- one event --- */

/* All ranges are looked at, whoever says them. False: it must not be handled. */
static bool show(struct mb_c_nf_runner *runner, const struct mb_delivery *delivery) {
    const struct mb_entry *entry = delivery->entry;
    if (!mb_lies_in_pool(entry, runner->config.pool_size)) {
        runner->unsound[MB_NFS_MAX]++;
        return false;
    }
    const struct mb_seen_frame seen = mb_reader_frame(runner->config.reader, delivery);
    const uint8_t *frame = runner->config.pool + seen.frame;
    runner->delivery = delivery;
    runner->time = entry->time;
    runner->event = (struct mb_event){
        .entry = entry,
        .payload = delivery->payload,
        .payload_length = delivery->payload_length,
        .frame = frame,
        .frame_length = seen.frame_length,
        .data = frame + seen.data_offset,
        .data_length = entry->data_length,
    };
    return true;
}

static bool drops(enum mb_verdict verdict) {
    return verdict == MB_DROP || verdict == MB_DROP_FLOW || verdict == MB_RESET;
}

/* From the next event on nothing comes of the flow. The reader takes back what lies at later
 * positions; here those at the same one, which other NFs published. */
static void leave_flow(struct mb_c_nf_runner *runner) {
    const struct mb_delivery *in_hand = runner->delivery;
    const uint64_t flow = in_hand->entry->flow;
    struct mb_delivery *later = &runner->config.deliveries[runner->index + 1];
    const struct mb_delivery *end = &runner->config.deliveries[runner->count];
    for (; later < end && later->position == in_hand->position; later++)
        if (later->entry->flow == flow)
            later->bits = 0;
    mb_flow_states_end(&runner->states, flow);
}

static void judge(struct mb_c_nf_runner *runner, enum mb_verdict verdict) {
    if ((unsigned)verdict >= MB_VERDICTS) {
        mb_c_nf_fail(runner, "returned %d: expected a verdict of enum mb_verdict", (int)verdict);
        return;
    }
    if (drops(verdict) && !runner->config.descriptor->is_inline) {
        mb_c_nf_fail(runner, "returned a verdict that drops, but is not inline: write "
                             ".is_inline = true");
        return;
    }
    const enum mb_verdict taken =
        mb_reader_judge_delivery(runner->config.reader, runner->delivery, verdict);
    if (taken != MB_PASS && taken != MB_DROP && runner->event.entry->flow != 0)
        leave_flow(runner);
}

/* A flow has ended: the runtime's own route, which the NF's counters know nothing of. */
static void note_flow_end(struct mb_c_nf_runner *runner) {
    const struct mb_entry *entry = runner->event.entry;
    mb_flow_states_end(&runner->states, entry->flow);
    if (!mb_c_nf_is_in(runner->config.asked_for, entry->type))
        runner->counters->matched--;
}

static bool is_its_time(const struct mb_c_nf_runner *runner, const struct mb_nf_handler *handler) {
    return handler->every == 0 || runner->event.entry->payload.timer.period == handler->every;
}

/* Calls a handler. Returns how many calls of the NF's own handlers returned well: 1 or 0. */
static uint32_t call(struct mb_c_nf_runner *runner, const struct mb_c_nf_route *route) {
    if (route->handler == MB_NF_HANDLERS_MAX) {
        note_flow_end(runner);
        return 0;
    }
    const struct mb_nf_handler *handler = &runner->config.descriptor->handlers[route->handler];
    if (!is_its_time(runner, handler))
        return 1;
    runner->running = handler->name;
    const enum mb_verdict verdict = handler->call(&runner->nf, &runner->event);
    if (verdict != MB_PASS && !runner->has_failed)
        judge(runner, verdict);
    runner->running = NULL;
    if (!runner->has_failed)
        return 1;
    runner->has_failed = false;
    note_failure(runner, ++runner->raised[route->handler]);
    return 0;
}

/* The runtime reads the end of the input for every NF; one that did not ask for it has not seen
 * it. */
static void note_end_of_input(struct mb_c_nf_runner *runner) {
    runner->end_seen = true;
    if (!mb_c_nf_is_in(runner->config.asked_for, runner->config.end_of_input))
        runner->counters->matched--;
}

/* Returns how many calls returned well. Where the NF is to stop at a failure, it is the last. */
static uint32_t handle(struct mb_c_nf_runner *runner, const struct mb_delivery *delivery) {
    const uint32_t bits =
        runner->commanded ? mb_reader_wanted(runner->config.reader, delivery) : delivery->bits;
    const uint16_t type = delivery->entry->type % MB_TYPES_MAX;
    const struct mb_c_nf_route *end = runner->first_route[type + 1];
    const struct mb_c_nf_route *route = runner->first_route[type];
    if (type == runner->config.end_of_input)
        note_end_of_input(runner);
    if (bits == 0 || route == end || !show(runner, delivery))
        return 0;
    uint32_t handled = 0;
    for (; route < end; route++) {
        if ((route->bits & bits) == 0)
            continue;
        handled += call(runner, route);
        if (runner->config.stops && runner->failures > 0)
            break;
    }
    return handled;
}

/* --- the loop --- */

/* Handles what the poll brought, up to an event that went wrong. */
static void handle_deliveries(struct mb_c_nf_runner *runner) {
    const struct mb_delivery *deliveries = runner->config.deliveries;
    uint32_t handled = 0;
    while (runner->index < runner->count && runner->failures == 0) {
        handled += handle(runner, &deliveries[runner->index]);
        runner->index++;
        if (runner->index % STRETCH != 0)
            continue;
        runner->counters->handled += handled;
        handled = 0;
    }
    runner->counters->handled += handled;
}

/* Returns true where there is nothing to handle: the time is over, or the poll failed. */
static bool poll(struct mb_c_nf_runner *runner, uint64_t timeout_ns) {
    const struct mb_c_nf_config *config = &runner->config;
    runner->index = 0;
    runner->count = 0;
    const int count = mb_reader_poll(config->reader, config->deliveries, config->capacity,
                                     timeout_ns, &runner->broken_nf);
    runner->bus_error = count < 0 ? count : 0;
    if (count <= 0)
        return true;
    runner->count = (uint32_t)count;
    mb_flow_states_turn(&runner->states);
    mb_take_back_unsound(config->deliveries, runner->count, config->shapes, config->pool_size,
                         runner->unsound);
    return false;
}

static bool has_ended(const struct mb_c_nf_runner *runner) {
    return runner->end_seen && !mb_reader_is_inside_packet(runner->config.reader);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

enum mb_c_nf_outcome mb_c_nf_run(struct mb_c_nf_runner *runner, uint64_t timeout_ns) {
    const uint64_t begin = now();
    runner->failures = 0;
    do {
        if (runner->index == runner->count && poll(runner, timeout_ns)) {
            if (runner->bus_error != 0)
                return MB_C_NF_BROKEN;
            if (keeps_records(runner))
                mb_record_log_flush(&runner->records);
            mb_reader_advance(runner->config.reader);
            return MB_C_NF_GOES_ON;
        }
        handle_deliveries(runner);
        if (runner->failures > 0)
            return MB_C_NF_FAILED;
        runner->commanded = false;
        if (has_ended(runner))
            return MB_C_NF_ENDED;
        runner->delivery = NULL;
        mb_reader_advance(runner->config.reader);
    } while (now() - begin < timeout_ns);
    return MB_C_NF_GOES_ON;
}

/* --- the NF's own functions --- */

static bool run_own(struct mb_c_nf_runner *runner, const char *name, void (*own)(struct mb_nf *)) {
    runner->failures = 0;
    if (own == NULL)
        return true;
    runner->running = name;
    own(&runner->nf);
    runner->running = NULL;
    if (!runner->has_failed)
        return true;
    runner->has_failed = false;
    note_failure(runner, 1);
    return false;
}

bool mb_c_nf_start(struct mb_c_nf_runner *runner) {
    return run_own(runner, "start", runner->config.descriptor->start);
}

/* What it publishes is caused by the last event, where the input has ended. */
bool mb_c_nf_finish(struct mb_c_nf_runner *runner) {
    if (has_ended(runner))
        show(runner, &runner->config.deliveries[runner->count - 1]);
    return run_own(runner, "finish", runner->config.descriptor->finish);
}

/* --- looking at it --- */

uint32_t mb_c_nf_failures(const struct mb_c_nf_runner *runner) {
    return runner->failures;
}

const struct mb_c_nf_failure *mb_c_nf_failure(const struct mb_c_nf_runner *runner, uint32_t which) {
    return &runner->failure[which];
}

int mb_c_nf_bus_error(const struct mb_c_nf_runner *runner, uint32_t *nf) {
    *nf = runner->broken_nf;
    return runner->bus_error;
}

uint64_t mb_c_nf_raised(const struct mb_c_nf_runner *runner, uint32_t handler) {
    return runner->raised[handler];
}

uint64_t mb_c_nf_unsound(const struct mb_c_nf_runner *runner, uint32_t nf) {
    return runner->unsound[nf];
}

uint64_t mb_c_nf_states_refused(const struct mb_c_nf_runner *runner) {
    return runner->states.refused;
}

const char *mb_c_nf_summary(const struct mb_c_nf_runner *runner, size_t *length) {
    *length = runner->summary.length;
    return runner->summary.bytes;
}

void mb_c_nf_go_on_in(struct mb_c_nf_runner *runner, int fd) {
    mb_record_log_go_on_in(&runner->records, fd);
}

void mb_c_nf_close_records(struct mb_c_nf_runner *runner) {
    mb_record_log_close(&runner->records);
}

struct mb_c_nf_records mb_c_nf_records(const struct mb_c_nf_runner *runner) {
    return (struct mb_c_nf_records){
        .written = runner->records.written,
        .lost = runner->records.lost,
        .error = runner->records.error,
    };
}
