/*
 * What a packet costs that an adversary made, beside an ordinary one, in a stack that puts together
 * the byte streams of both sides and datagrams: the goal is no more. Ordinary are the packets of
 * 20,000 connections. Each flood is also set beside what tracking alone costs.
 */
#include "benchmarks/support/measure.h"
#include "benchmarks/support/stack_flood.h"
#include "benchmarks/support/stack_run.h"

enum { RUNS = 3, FLOWS_MAX = 1 << 18, WARM_UP = FLOOD_PACKETS / 3 };

static struct workload part_of(const struct workload *workload, uint32_t first, uint32_t count) {
    struct workload part = *workload;
    part.frames += first;
    part.frame_count = count;
    return part;
}

/* What a packet costs, in nanoseconds of processor time: the median of some runs. The first
 * `warm_up` packets do not count: they fill the tables to their caps. */
static double cost_of(const struct workload *workload, enum level level, uint32_t warm_up) {
    const struct mb_stack_config config = {.flows_max = FLOWS_MAX};
    const struct workload before = part_of(workload, 0, warm_up);
    const struct workload measured = part_of(workload, warm_up, workload->frame_count - warm_up);
    double costs[RUNS];
    for (unsigned i = 0; i < RUNS; i++) {
        struct stack_run *run = stack_run_create(level, &config, workload);
        stack_run_handle(run, &before);
        costs[i] = stack_run_handle(run, &measured) / measured.frame_count * 1e9;
        stack_run_destroy(run);
    }
    return median(costs, RUNS);
}

static double ordinary_cost(enum level level, uint32_t payload) {
    struct workload workload =
        workload_create(&(struct workload_plan){.flows = 20000, .rounds = 50, .payload = payload});
    workload_write(&workload, workload.plan.rounds);
    const double cost = cost_of(&workload, level, 0);
    workload_destroy(&workload);
    return cost;
}

/* A SYN begins a flow, and at the cap another one ends: no ordinary packet does as much. */
static bool may_cost_more(enum flood flood) {
    return flood == FLOOD_SYNS;
}

/* Packets a second, so that more is better, as in the other rows. */
static void print(enum flood flood, double cost, double ordinary, double tracking) {
    printf("{\"measure\": \"stack.flood.%s\", \"what\": \"%s\", \"value\": %.3f, "
           "\"unit\": \"M packets/s\", \"reference\": %.3f, "
           "\"reference_name\": \"ordinary packets\"%s}\n",
           flood_names[flood], flood_sentences[flood], 1000 / cost, 1000 / ordinary,
           may_cost_more(flood) ? "" : ", \"goal_ratio\": 1.0");
    printf("{\"measure\": \"stack.flood.%s.tracking\", \"what\": \"%s\", \"value\": %.3f, "
           "\"unit\": \"M packets/s\", \"reference\": %.3f, "
           "\"reference_name\": \"tracking alone\"}\n",
           flood_names[flood], flood_sentences[flood], 1000 / cost, 1000 / tracking);
}

int main(void) {
    const double tracking = ordinary_cost(LEVEL_TRACKING, PAYLOAD_SMALL);
    const double ordinary = ordinary_cost(LEVEL_CONTENT, PAYLOAD_SMALL);
    for (enum flood flood = 0; flood < FLOODS; flood++) {
        struct workload workload = flood_create(flood);
        print(flood, cost_of(&workload, LEVEL_CONTENT, WARM_UP), ordinary, tracking);
        workload_destroy(&workload);
    }
    return 0;
}
