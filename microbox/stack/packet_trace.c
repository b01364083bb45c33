#include "microbox/stack/packet_trace.h"

#include "microbox/bus/wait.h"
#include "microbox/stack/core.h"

_Static_assert((int)MB_SOJOURN_PARTS == (int)MB_MODULES_MAX, "the parts are the modules");

enum { READINGS_TRIED = 32 };

/* --- the clock --- */

static uint64_t read_clock(struct mb_packet_trace *trace) {
    trace->readings++;
    return mb_monotonic_time();
}

/* Without the readings in between, of which the last one is one. */
static uint64_t without_readings(const struct mb_packet_trace *trace, uint64_t time,
                                 uint64_t readings) {
    const uint64_t taken = readings * trace->reading;
    return time > taken ? time - taken : 0;
}

static uint64_t least_reading(void) {
    uint64_t least = UINT64_MAX;
    uint64_t before = mb_monotonic_time();
    for (unsigned i = 0; i < READINGS_TRIED; i++) {
        const uint64_t now = mb_monotonic_time();
        least = now - before < least ? now - before : least;
        before = now;
    }
    return least;
}

/* --- modules --- */

static void run_timed(struct mb_stack *stack, struct mb_flow_entry *flow,
                      const struct mb_decoded *packet, unsigned direction, unsigned number) {
    struct mb_packet_trace *trace = &stack->trace;
    const uint64_t before = read_clock(trace);
    trace->hooks[number](stack, flow, packet, direction);
    const uint64_t time = read_clock(trace) - before;
    trace->sojourn.part[number] += without_readings(trace, time, 1);
    trace->sojourn.parts |= UINT64_C(1) << number;
}

/* A hook is not told whose it is, so there is one for each module. */
#define EACH(DO)                                                                                   \
    DO(0)                                                                                          \
    DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) DO(14) DO(15)
#define HOOK(number)                                                                               \
    static void timed_##number(struct mb_stack *stack, struct mb_flow_entry *flow,                 \
                               const struct mb_decoded *packet, unsigned direction) {              \
        run_timed(stack, flow, packet, direction, number);                                         \
    }
EACH(HOOK)

#define NAME(number) timed_##number,
static const mb_packet_hook timed[MB_MODULES_MAX] = {EACH(NAME)};

static uint64_t sum_of_parts(const struct mb_sojourn *sojourn) {
    uint64_t sum = 0;
    for (unsigned number = 0; number < MB_SOJOURN_PARTS; number++)
        sum += sojourn->part[number];
    return sum;
}

/* --- a packet --- */

void mb_packet_trace_begin(struct mb_stack *stack) {
    struct mb_packet_trace *trace = &stack->trace;
    trace->sojourn = (struct mb_sojourn){0};
    memcpy(trace->hooks, stack->modules.packet, sizeof trace->hooks);
    memcpy(stack->modules.packet, timed, sizeof timed);
    trace->began = read_clock(trace);
    trace->readings_before = trace->readings;
}

/* Which packet is the one is known when all of its group are decoded. So it is decoded once more,
 * when its headers have been read already. */
static uint64_t decoding_time(struct mb_stack *stack, const struct mb_frame *frame,
                              uint64_t number) {
    struct mb_packet_trace *trace = &stack->trace;
    struct mb_decoded again;
    const uint64_t before = read_clock(trace);
    mb_decode(&stack->decoder, &again, frame, stack->pool + frame->offset, number);
    return without_readings(trace, read_clock(trace) - before, 1);
}

void mb_packet_trace_end(struct mb_stack *stack, const struct mb_frame *frame,
                         const struct mb_handled *handled) {
    struct mb_packet_trace *trace = &stack->trace;
    struct mb_sojourn *sojourn = &trace->sojourn;
    const uint64_t time = read_clock(trace) - trace->began;
    memcpy(stack->modules.packet, trace->hooks, sizeof trace->hooks);
    if (handled->flow != trace->flow || handled->end == handled->first)
        return;
    sojourn->handling = without_readings(trace, time, trace->readings - trace->readings_before);
    const uint64_t parts = sum_of_parts(sojourn);
    sojourn->handling = sojourn->handling > parts ? sojourn->handling : parts;
    sojourn->decoding = decoding_time(stack, frame, handled->packet);
    sojourn->flow = handled->flow;
    sojourn->packet = handled->packet;
}

/* --- who asks --- */

bool mb_stack_trace(struct mb_stack *stack, uint32_t slot, uint64_t flow) {
    const struct mb_flow_table *table = &stack->table;
    mb_stack_end_trace(stack);
    if (flow == 0 || slot == 0 || slot >= table->unused || table->flows[slot].number != flow)
        return false;
    stack->trace.flow = flow;
    stack->trace.hash = table->flows[slot].hash;
    stack->trace.reading = least_reading();
    return true;
}

void mb_stack_end_trace(struct mb_stack *stack) {
    stack->trace = (struct mb_packet_trace){0};
}

static uint64_t whole_of(const struct mb_packet_trace *trace, uint64_t time) {
    const struct mb_sojourn *sojourn = &trace->sojourn;
    const uint64_t alone = sojourn->decoding + sojourn->handling;
    const uint64_t net = without_readings(trace, time, trace->readings);
    return net > sojourn->decoding + alone ? net - sojourn->decoding : alone;
}

bool mb_stack_take_sojourn(struct mb_stack *stack, uint64_t since, struct mb_sojourn *sojourn) {
    struct mb_packet_trace *trace = &stack->trace;
    const bool is_there = trace->sojourn.packet != 0;
    if (is_there) {
        const uint64_t time = read_clock(trace) - since;
        trace->sojourn.whole = whole_of(trace, time);
        *sojourn = trace->sojourn;
    }
    trace->sojourn.packet = 0;
    trace->readings = 0;
    return is_there;
}
