/*
 * A million connections at once: what each takes of memory, and how much slower the packet of a
 * random one of them is than that of one of 20,000.
 */
#include "benchmarks/support/measure.h"
#include "benchmarks/support/stack_run.h"

/* The first segments of each side are more work than those that follow, so they are not measured.
 */
enum { FEW = 20000, MANY = 1000000, MEASURED = 2000000, SETTLING_ROUNDS = 4 };

static const double BYTES_MOST = 400;
static const double RATIO_LEAST = 1 / 2.5;

struct result {
    double rate;  /* M packets/s of data segments, when all are open */
    double bytes; /* of memory that each connection took */
};

/* Memory of this process that is there, in bytes. */
static double resident(void) {
    unsigned long size;
    unsigned long pages;
    FILE *file = fopen("/proc/self/statm", "r");
    must(file != NULL && fscanf(file, "%lu %lu", &size, &pages) == 2, "reading statm");
    fclose(file);
    return (double)pages * 4096;
}

static void handle_round(struct stack_run *run, struct workload *workload, double *taken) {
    workload_write(workload, 1);
    *taken += stack_run_handle(run, workload);
}

static struct result measure(uint32_t flows) {
    const uint32_t rounds = MEASURED / flows;
    struct workload workload = workload_create(&(struct workload_plan){
        .flows = flows,
        .rounds = HANDSHAKE_ROUNDS + SETTLING_ROUNDS + rounds + CLOSE_ROUNDS,
        .rounds_kept = 1,
        .payload = PAYLOAD_SMALL,
    });
    struct stack_run *run =
        stack_run_create(LEVEL_TRACKING, &(struct mb_stack_config){0}, &workload);
    double opening = 0;
    double taken = 0;
    workload_write(&workload, 1); /* all of its memory is there now */
    const double before = resident();
    opening += stack_run_handle(run, &workload);
    for (uint32_t round = 1; round < HANDSHAKE_ROUNDS; round++)
        handle_round(run, &workload, &opening);
    /* Before there is data: its frames take more memory than those of handshakes. */
    const double bytes = (resident() - before) / flows;
    for (uint32_t round = 0; round < SETTLING_ROUNDS; round++)
        handle_round(run, &workload, &opening);
    for (uint32_t round = 0; round < rounds; round++)
        handle_round(run, &workload, &taken);
    must(mb_stack_counters(run->stack)->flows_active == flows, "keeping all connections");
    stack_run_destroy(run);
    workload_destroy(&workload);
    return (struct result){MEASURED / taken / 1e6, bytes};
}

int main(void) {
    const struct result few = measure(FEW);
    const struct result many = measure(MANY);
    printf("{\"measure\": \"stack.million.rate\", "
           "\"what\": \"tracking data of 1,000,000 open connections\", \"value\": %.3f, "
           "\"unit\": \"M packets/s\", \"reference\": %.3f, \"reference_name\": \"20,000\", "
           "\"goal_ratio\": %.2f}\n",
           many.rate, few.rate, RATIO_LEAST);
    printf("{\"measure\": \"stack.million.memory\", \"what\": \"memory of each connection\", "
           "\"value\": %.1f, \"unit\": \"bytes\", \"most\": %.0f}\n",
           many.bytes, BYTES_MOST);
    return 0;
}
