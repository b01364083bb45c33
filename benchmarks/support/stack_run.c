#include "benchmarks/support/stack_run.h"

#include "benchmarks/support/measure.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/decode/decode.h"
#include "microbox/stack/flows/flow_table.h"
#include "microbox/stack/fragments/assembled_frames.h"

#include <inttypes.h>

enum { LOG_SLOTS = 1 << 14, TYPES_OF_LEVEL = 3, FRAMES_AHEAD = 8 };

const char *const level_names[LEVELS] = {
    [LEVEL_DECODE] = "decode",   [LEVEL_FLOW] = "flow",    [LEVEL_TRACKING] = "tracking",
    [LEVEL_ONE_SIDE] = "stream", [LEVEL_BOTH] = "streams", [LEVEL_CONTENT] = "content",
};

const char *const level_sentences[LEVELS] = {
    [LEVEL_DECODE] = "decoding alone",
    [LEVEL_FLOW] = "start and end of each flow",
    [LEVEL_TRACKING] = "TCP start, established and end",
    [LEVEL_ONE_SIDE] = "in-order bytes of one side",
    [LEVEL_BOTH] = "in-order bytes of both sides",
    [LEVEL_CONTENT] = "in-order bytes of both sides, and datagrams",
};

static const struct level_types {
    uint16_t types[TYPES_OF_LEVEL];
    unsigned count;
    const char *filter;
} levels[LEVELS] = {
    [LEVEL_DECODE] = {{MB_TYPE_PACKET_MALFORMED}, 1, ""},
    [LEVEL_FLOW] = {{MB_TYPE_FLOW_START, MB_TYPE_FLOW_END}, 2, ""},
    [LEVEL_TRACKING] = {{MB_TYPE_TCP_START, MB_TYPE_TCP_ESTABLISHED, MB_TYPE_TCP_END}, 3, ""},
    [LEVEL_ONE_SIDE] = {{MB_TYPE_TCP_DATA}, 1, "tcp src port 443"},
    [LEVEL_BOTH] = {{MB_TYPE_TCP_DATA}, 1, ""},
    [LEVEL_CONTENT] = {{MB_TYPE_TCP_DATA, MB_TYPE_UDP_DATAGRAM}, 2, ""},
};

static double processor_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

struct stack_run *stack_run_create(enum level level, const struct mb_stack_config *config,
                                   const struct workload *workload) {
    struct stack_run *run = malloc(sizeof *run);
    struct mb_subscription subscription = {.filter = levels[level].filter};
    struct mb_stack_config chosen = *config;
    char error[MB_ERROR_SIZE];
    chosen.link_type = 1;
    chosen.assembled_bytes = workload->pool + workload->assembled_offset;
    chosen.assembled_offset = workload->assembled_offset;
    chosen.assembled_datagrams_max = MB_ASSEMBLED_DATAGRAMS_USUALLY;
    for (unsigned i = 0; i < levels[level].count; i++)
        subscription.types[levels[level].types[i] / 64] |= UINT64_C(1)
                                                           << levels[level].types[i] % 64;
    must(run != NULL && mb_log_create(&run->log, LOG_SLOTS) == 0, "making a log");
    run->stack = mb_stack_create(&chosen, &run->log, &subscription, 1, NULL, 0, error);
    must(run->stack != NULL, "making a stack");
    return run;
}

void stack_run_destroy(struct stack_run *run) {
    mb_stack_destroy(run->stack);
    mb_log_destroy(&run->log);
    free(run);
}

double stack_run_handle(struct stack_run *run, const struct workload *workload) {
    struct mb_handled handled[MB_BATCH];
    const size_t count = workload->frame_count;
    const double begin = processor_seconds();
    for (size_t done = 0; done < count;) {
        const size_t batch = count - done < MB_BATCH ? count - done : MB_BATCH;
        done +=
            mb_stack_handle(run->stack, workload->pool, workload->frames + done, batch, handled);
        mb_log_commit(&run->log);
    }
    return processor_seconds() - begin;
}

static void must_be(uint64_t value, uint64_t expected, const char *what) {
    if (value == expected)
        return;
    fprintf(stderr, "benchmark: %s: %" PRIu64 ", expected %" PRIu64 "\n", what, value, expected);
    exit(EXIT_FAILURE);
}

void stack_run_check(const struct stack_run *run, enum level level,
                     const struct workload *workload) {
    const struct mb_stack_counters *counters = mb_stack_counters(run->stack);
    const uint64_t flows = workload->plan.flows;
    must_be(counters->packets, workload->packets, "packets");
    must_be(counters->gap_bytes, 0, "bytes missing");
    if (level == LEVEL_DECODE)
        return must_be(counters->entries, 0, "entries");
    must_be(counters->flows_tcp, flows, "flows");
    if (level == LEVEL_FLOW)
        must_be(counters->published_by_type[MB_TYPE_FLOW_START], flows, "starts");
    if (level == LEVEL_TRACKING)
        must_be(counters->published_by_type[MB_TYPE_TCP_END], flows, "ends");
    if (level == LEVEL_BOTH || level == LEVEL_CONTENT)
        must_be(counters->stream_bytes, workload->stream_bytes, "bytes");
}

double stack_rate(const struct workload *workload, enum level level, enum mb_checksums checksums) {
    struct stack_run *run =
        stack_run_create(level, &(struct mb_stack_config){.checksums = checksums}, workload);
    const double taken = stack_run_handle(run, workload);
    stack_run_check(run, level, workload);
    stack_run_destroy(run);
    return workload->frame_count / taken / 1e6;
}

double bare_rate(const struct workload *workload) {
    static const struct mb_decoder decoder = {.key = {1, 2}, .tunnels_max = 4};
    struct mb_decoded decoded;
    uint64_t sum = 0;
    const uint32_t count = workload->frame_count;
    const double begin = processor_seconds();
    for (uint32_t i = 0; i < count; i++) {
        const struct mb_frame *frame = &workload->frames[i];
        const uint32_t ahead = i + FRAMES_AHEAD < count ? i + FRAMES_AHEAD : i;
        __builtin_prefetch(workload->pool + workload->frames[ahead].offset);
        mb_decode(&decoder, &decoded, frame, workload->pool + frame->offset, i + 1);
        sum += mb_flow_hash(decoder.key, &decoded.tuple, decoded.domain);
    }
    const double rate = count / (processor_seconds() - begin) / 1e6;
    must(sum != 0, "parsing");
    return rate;
}
