/*
 * What each level of the stack costs: 1,000,000 packets of 20,000 TCP connections, with 64-byte
 * payloads and with full segments, each level with one subscriber that needs no more. This is the
 * customization experiment of the Microboxes paper (section 5.3), where the flow level handled
 * 51 % more than both byte streams.
 */
#include "benchmarks/support/measure.h"
#include "benchmarks/support/stack_run.h"

static const double GAIN_OF_THE_PAPER = 1.51;

/* M packets/s, 0: none. */
struct goals {
    double of_level[LEVELS];
};

static void print_level(const char *size, enum level level, double rate, double goal, double bare) {
    printf("{\"measure\": \"stack.%s.%s\", \"what\": \"%s\", \"value\": %.3f, "
           "\"unit\": \"M packets/s\", \"goal\": %.1f, \"reference\": %.3f, "
           "\"reference_name\": \"decode and hash only\"}\n",
           level_names[level], size, level_sentences[level], rate, goal, bare);
    printf("{\"measure\": \"stack.cost.%s.%s\", \"what\": \"%s\", \"value\": %.1f, "
           "\"unit\": \"ns/packet\"}\n",
           level_names[level], size, level_sentences[level], 1000 / rate);
}

static void measure(const char *size, uint32_t payload, const struct goals *goals) {
    struct workload workload =
        workload_create(&(struct workload_plan){.flows = 20000, .rounds = 50, .payload = payload});
    workload_write(&workload, workload.plan.rounds);
    const double bare = bare_rate(&workload);
    double rate[LEVELS];
    for (unsigned level = 0; level < LEVELS; level++) {
        rate[level] = stack_rate(&workload, (enum level)level, MB_CHECKSUMS_OFF);
        print_level(size, (enum level)level, rate[level], goals->of_level[level], bare);
    }
    printf("{\"measure\": \"stack.gain.%s\", \"what\": \"flow level over both byte streams\", "
           "\"value\": %.3f, \"unit\": \"times\", \"goal\": %.2f}\n",
           size, rate[LEVEL_FLOW] / rate[LEVEL_BOTH], GAIN_OF_THE_PAPER);
    workload_destroy(&workload);
}

int main(void) {
    measure("small", PAYLOAD_SMALL, &(struct goals){{[LEVEL_TRACKING] = 8, [LEVEL_BOTH] = 5}});
    measure("full", PAYLOAD_FULL, &(struct goals){{[LEVEL_TRACKING] = 5, [LEVEL_BOTH] = 4}});
    return 0;
}
