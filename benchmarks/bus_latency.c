/*
 * From publishing an event to its handler in another process: one event at a time, the reader
 * having nothing else to do. A reader that spins costs a core; one that sleeps is woken by the
 * kernel.
 */
#include "support/bus_chain.h"

#include <sys/mman.h>

enum { PINGS = 4000, SPINNING = 1 << 30, SLEEPING = 0, PAUSE_NS = 100000 };

struct pings {
    double microseconds[PINGS];
};

/* The handler: how long it is since the event was published. */
static int time_events(struct mb_reader *reader, struct pings *pings) {
    static struct mb_delivery deliveries[BENCH_CAPACITY];
    for (unsigned done = 0; done <= PINGS;) {
        uint32_t broken;
        int count = mb_reader_poll(reader, deliveries, BENCH_CAPACITY, BUS_WAIT, &broken);
        if (count < 0)
            return EXIT_FAILURE;
        for (int i = 0; i < count; i++, done++)
            if (done < PINGS)
                pings->microseconds[done] =
                    (double)(mb_monotonic_time() - deliveries[i].entry->time) / 1e3;
        mb_reader_advance(reader);
    }
    return EXIT_SUCCESS;
}

/* Long enough that the reader has gone to sleep, where it does. */
static void pause_for(uint64_t nanoseconds) {
    const struct timespec time = {.tv_nsec = (long)nanoseconds};
    nanosleep(&time, NULL);
}

static void measure(const char *name, const char *what, uint32_t spins) {
    static struct bench_bus bus;
    struct pings *pings =
        mmap(NULL, sizeof *pings, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(pings != MAP_FAILED, "memory");
    bench_create_waiting(&bus, 1, BENCH_PARALLEL, (struct mb_wait_policy){.spins = spins});
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0)
        _exit(time_events(bus.reader[0], pings));
    for (unsigned ping = 0; ping < PINGS; ping++) {
        pause_for(PAUSE_NS);
        struct mb_entry *entry = mb_log_claim(&bus.log, bus.mask);
        bus_fill(entry, ping);
        entry->time = mb_monotonic_time();
        mb_log_commit(&bus.log);
    }
    bus_publish(&bus.log, 0, bus.mask);
    must_succeed(child);
    bench_destroy(&bus);
    qsort(pings->microseconds, PINGS, sizeof *pings->microseconds, compare_numbers);
    printf("{\"measure\": \"bus.latency.%s.p50\", \"what\": \"publish to handler, C, %s: median\", "
           "\"value\": %.2f, \"unit\": \"us\"}\n",
           name, what, pings->microseconds[PINGS / 2]);
    printf("{\"measure\": \"bus.latency.%s.p99\", \"what\": \"the same, 99 of 100\", "
           "\"value\": %.2f, \"unit\": \"us\"}\n",
           name, pings->microseconds[PINGS / 100 * 99]);
    munmap(pings, sizeof *pings);
}

int main(void) {
    measure("spinning", "spinning", SPINNING);
    measure("sleeping", "sleeping", SLEEPING);
    return 0;
}
