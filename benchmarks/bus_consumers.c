/*
 * The log to several C consumers, each in a process of its own: beside each other, and one behind
 * the other, which the log makes as fast.
 */
#include "support/bus_chain.h"

enum { EVENTS = 1000000, ROUNDS = 3 };

static double rate(uint32_t count, enum bench_order order) {
    static struct bench_bus bus;
    pid_t children[BENCH_NFS_MAX];
    bench_create(&bus, count, order);
    for (uint32_t index = 0; index < count; index++)
        children[index] = bench_fork(&bus, index);
    double start = seconds();
    bus_publish(&bus.log, EVENTS, bus.mask);
    bench_drain(&bus);
    double events_per_second = EVENTS / (seconds() - start);
    for (uint32_t index = 0; index < count; index++)
        must_succeed(children[index]);
    bench_destroy(&bus);
    return events_per_second;
}

static void compare_orders(uint32_t count) {
    double parallel[ROUNDS];
    double chained[ROUNDS];
    for (unsigned round = 0; round < ROUNDS; round++) {
        parallel[round] = rate(count, BENCH_PARALLEL) / 1e6;
        chained[round] = rate(count, BENCH_CHAINED) / 1e6;
    }
    double beside = median(parallel, ROUNDS);
    printf(
        "{\"measure\": \"bus.parallel.%u\", \"what\": \"each event to %u C consumers beside each "
        "other\", \"value\": %.2f, \"unit\": \"M events/s\"}\n",
        count, count, beside);
    printf("{\"measure\": \"bus.chained.%u\", \"what\": \"%u C consumers, each behind the one "
           "before\", \"value\": %.2f, \"unit\": \"M events/s\", \"reference\": %.2f, "
           "\"reference_name\": \"beside each other\"}\n",
           count, count, median(chained, ROUNDS), beside);
}

int main(void) {
    for (uint32_t count = 2; count <= BENCH_NFS_MAX; count += 2)
        compare_orders(count);
    return 0;
}
