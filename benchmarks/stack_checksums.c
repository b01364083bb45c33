/*
 * What it costs to verify checksums of IPv4 and TCP: tracking with `checksums: event` beside `off`.
 */
#include "benchmarks/support/stack_run.h"

#include <stdio.h>

static void measure(const char *size, uint32_t payload) {
    struct workload workload = workload_create(&(struct workload_plan){
        .flows = 20000, .rounds = 50, .payload = payload, .has_checksums = true});
    workload_write(&workload, workload.plan.rounds);
    const double unverified = stack_rate(&workload, LEVEL_TRACKING, MB_CHECKSUMS_OFF);
    const double verified = stack_rate(&workload, LEVEL_TRACKING, MB_CHECKSUMS_EVENT);
    printf("{\"measure\": \"stack.checksums.%s\", \"what\": \"tracking, checksums verified\", "
           "\"value\": %.3f, \"unit\": \"M packets/s\", \"reference\": %.3f, "
           "\"reference_name\": \"not verified\"}\n",
           size, verified, unverified);
    workload_destroy(&workload);
}

int main(void) {
    measure("small", PAYLOAD_SMALL);
    measure("full", PAYLOAD_FULL);
    return 0;
}
