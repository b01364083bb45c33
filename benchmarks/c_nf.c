/*
 * Events to the handler of an NF in C, through its loop, in another process; beside a consumer that
 * polls the reader itself. Both read a word of every line of each slot.
 */
#include "microbox/c_nf/runner.h"
#include "microbox/include/microbox_nf.h"
#include "support/bus_chain.h"

#include <sys/mman.h>

/* Rounds are short and take turns, so that what else the machine does meets both alike. */
enum { EVENTS = 1 << 20, ROUNDS = 9, POLL = 50000000 };

static enum mb_verdict see(struct mb_nf *nf, const struct mb_event *event) {
    uint64_t *sum = nf->state;
    *sum += bus_read(event->entry);
    return MB_PASS;
}

static const struct mb_nf_descriptor adder = {
    .abi = MB_NF_ABI,
    .name = "adder",
    .handlers = {{.name = "see", .types = {"tcp.data"}, .call = see}},
    .state_size = sizeof(uint64_t),
};

/* Where frames would be: nobody reads them. */
static const uint8_t *reserve(uint64_t size) {
    void *memory = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must(memory != MAP_FAILED, "mmap");
    return memory;
}

static int run_nf(struct mb_reader *reader) {
    static struct mb_delivery deliveries[BENCH_CAPACITY];
    static const struct mb_payload_shape shapes[MB_TYPES_MAX];
    static const uint8_t tuple_kinds[MB_TYPES_MAX];
    static const struct mb_c_nf_route route = {.type = MB_TYPE_TCP_DATA, .bits = 1};
    uint64_t sum = 0;
    const uint64_t pool_size = (EVENTS + UINT64_C(1)) * 1514;
    const struct mb_c_nf_config config = {
        .descriptor = &adder,
        .name = adder.name,
        .state = &sum,
        .reader = reader,
        .deliveries = deliveries,
        .capacity = BENCH_CAPACITY,
        .pool = reserve(pool_size),
        .pool_size = pool_size,
        .shapes = shapes,
        .routes = &route,
        .route_count = 1,
        .end_of_input = MB_TYPE_SYSTEM_END_OF_INPUT,
        .tuple_kind = tuple_kinds,
        .log_fd = -1,
        .stops = true,
    };
    struct mb_c_nf_runner *runner = mb_c_nf_create(&config);
    must(runner != NULL, "mb_c_nf_create");
    enum mb_c_nf_outcome outcome = MB_C_NF_GOES_ON;
    while (outcome == MB_C_NF_GOES_ON)
        outcome = mb_c_nf_run(runner, POLL);
    mb_reader_advance(reader);
    return outcome == MB_C_NF_ENDED && sum != 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static double rate(int (*consume)(struct mb_reader *reader)) {
    static struct bench_bus bus;
    bench_create(&bus, 1, BENCH_PARALLEL);
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0)
        _exit(consume(bus.reader[0]));
    double start = seconds();
    bus_publish(&bus.log, EVENTS, bus.mask);
    bench_drain(&bus);
    double events = EVENTS / (seconds() - start);
    must_succeed(child);
    bench_destroy(&bus);
    return events;
}

int main(void) {
    double handler[ROUNDS];
    double bare[ROUNDS];
    for (unsigned round = 0; round < ROUNDS; round++) {
        bare[round] = rate(bench_consume) / 1e6;
        handler[round] = rate(run_nf) / 1e6;
    }
    printf("{\"measure\": \"nf.c\", "
           "\"what\": \"192-byte slots, every line read, to the handler of an NF in C\", "
           "\"value\": %.2f, \"unit\": \"M events/s\", \"goal\": 25.0, "
           "\"reference\": %.2f, \"reference_name\": \"a consumer without handlers\"}\n",
           median(handler, ROUNDS), median(bare, ROUNDS));
    return 0;
}
