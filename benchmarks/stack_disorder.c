/*
 * Byte streams of both sides where 1 % of the segments are sent again, 2 % come in wrong order and
 * 0.2 % overlap, beside the same connections in order.
 */
#include "benchmarks/support/stack_run.h"

#include <stdio.h>

static double rate_of(uint32_t payload, bool is_disordered) {
    struct workload workload = workload_create(&(struct workload_plan){
        .flows = 20000, .rounds = 50, .payload = payload, .is_disordered = is_disordered});
    workload_write(&workload, workload.plan.rounds);
    const double rate = stack_rate(&workload, LEVEL_BOTH, MB_CHECKSUMS_OFF);
    workload_destroy(&workload);
    return rate;
}

static void measure(const char *size, uint32_t payload) {
    const double ordered = rate_of(payload, false);
    const double disordered = rate_of(payload, true);
    printf("{\"measure\": \"stack.disorder.%s\", "
           "\"what\": \"both streams, with loss, reordering and overlaps\", \"value\": %.3f, "
           "\"unit\": \"M packets/s\", \"reference\": %.3f, \"reference_name\": \"in order\", "
           "\"goal_ratio\": 0.85}\n",
           size, disordered, ordered);
}

int main(void) {
    measure("small", PAYLOAD_SMALL);
    measure("full", PAYLOAD_FULL);
    return 0;
}
