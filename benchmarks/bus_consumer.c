/*
 * The log to one C consumer in another process, every line of every slot read; beside it a bare
 * ring of slots of the same size, filled by memcpy, which knows no masks, cursors of others,
 * packets or verdicts.
 */
#include "support/bus_chain.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Rounds are short and take turns, so that what else the machine does meets both alike. */
enum { EVENTS = 1 << 20, ROUNDS = 9, SPINS = 1000 };

/* --- the log --- */

/* As the ring is filled: a copy of one event, all but its number. */
static void fill_log(struct bench_bus *bus) {
    struct mb_entry event = {.mask = {bus->mask[0], bus->mask[1]}};
    bus_fill(&event, 1);
    for (uint64_t number = 0; number < EVENTS; number += BUS_BATCH) {
        bus_wait_for_room(&bus->log, BUS_BATCH);
        for (uint64_t i = number; i < number + BUS_BATCH; i++) {
            struct mb_entry *entry = mb_log_claim(&bus->log, bus->mask);
            event.sequence = i;
            memcpy(entry, &event, sizeof event);
        }
        mb_log_commit(&bus->log);
    }
}

static double log_rate(void) {
    static struct bench_bus bus;
    bench_create(&bus, 1, BENCH_PARALLEL);
    pid_t child = bench_fork(&bus, 0);
    double start = seconds();
    fill_log(&bus);
    bench_drain(&bus);
    double rate = EVENTS / (seconds() - start);
    bus_publish(&bus.log, 0, bus.mask); /* the end of the input */
    must_succeed(child);
    bench_destroy(&bus);
    return rate;
}

/* --- the bare ring --- */

struct ring {
    _Alignas(MB_CACHE_LINE) _Atomic uint64_t head;
    _Alignas(MB_CACHE_LINE) _Atomic uint64_t tail;
    _Alignas(MB_CACHE_LINE) struct mb_entry slots[BENCH_SLOTS];
};

/* Spins, but leaves a busy machine to who has something to do. */
static void relax(unsigned *spins) {
    if (++*spins % SPINS == 0)
        sched_yield();
    else
        mb_spin_pause();
}

static void fill_ring(struct ring *ring) {
    struct mb_entry entry;
    memset(&entry, 0, sizeof entry);
    bus_fill(&entry, 1);
    uint64_t tail = 0;
    unsigned spins = 0;
    for (uint64_t head = 0; head < EVENTS; head += BUS_BATCH) {
        while (head + BUS_BATCH - tail > BENCH_SLOTS) {
            relax(&spins);
            tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
        }
        for (uint64_t i = head; i < head + BUS_BATCH; i++) {
            entry.sequence = i;
            memcpy(&ring->slots[i % BENCH_SLOTS], &entry, sizeof entry);
        }
        atomic_store_explicit(&ring->head, head + BUS_BATCH, memory_order_release);
    }
}

static int drain_ring(struct ring *ring) {
    uint64_t sum = 0;
    unsigned spins = 0;
    for (uint64_t tail = 0; tail < EVENTS;) {
        uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (head == tail)
            relax(&spins);
        if (head - tail > BENCH_CAPACITY)
            head = tail + BENCH_CAPACITY;
        for (; tail < head; tail++)
            sum += bus_read(&ring->slots[tail % BENCH_SLOTS]);
        atomic_store_explicit(&ring->tail, tail, memory_order_release);
    }
    return sum != 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static double ring_rate(void) {
    struct ring *ring =
        mmap(NULL, sizeof *ring, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(ring != MAP_FAILED, "ring");
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0)
        _exit(drain_ring(ring));
    double start = seconds();
    fill_ring(ring);
    for (unsigned spins = 0; atomic_load(&ring->tail) != EVENTS;)
        relax(&spins);
    double rate = EVENTS / (seconds() - start);
    must_succeed(child);
    munmap(ring, sizeof *ring);
    return rate;
}

int main(void) {
    double log[ROUNDS];
    double ring[ROUNDS];
    for (unsigned round = 0; round < ROUNDS; round++) {
        ring[round] = ring_rate() / 1e6;
        log[round] = log_rate() / 1e6;
    }
    printf("{\"measure\": \"bus.consumer.c\", "
           "\"what\": \"192-byte slots, every line read, to C in another process\", "
           "\"value\": %.2f, \"unit\": \"M events/s\", \"goal\": 15.0, "
           "\"reference\": %.2f, \"reference_name\": \"bare copy ring\", \"goal_ratio\": 0.5}\n",
           median(log, ROUNDS), median(ring, ROUNDS));
    return 0;
}
