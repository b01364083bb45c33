/*
 * A log and its readers for the benchmarks: `count` NFs in processes of their own, beside each
 * other or one behind the other.
 */
#ifndef MICROBOX_BENCHMARKS_SUPPORT_BUS_CHAIN_H
#define MICROBOX_BENCHMARKS_SUPPORT_BUS_CHAIN_H

#include "bus_events.h"
#include "measure.h"

#include "microbox/bus/reader.h"

#include <string.h>
#include <unistd.h>

enum { BENCH_SLOTS = 16384, BENCH_CAPACITY = 2 * MB_ENTRIES_PER_PACKET, BENCH_NFS_MAX = 4 };

enum bench_order {
    BENCH_PARALLEL, /* each reads as soon as the worker has published */
    BENCH_CHAINED   /* each waits for the one before it */
};

struct bench_bus {
    struct mb_log log;
    uint32_t count;
    uint64_t mask[2]; /* names all */
    struct mb_reader *reader[BENCH_NFS_MAX];
    struct mb_area area[BENCH_NFS_MAX];
};

static const struct mb_nf_geometry bench_shape = {.log_slots = BENCH_SLOTS};

static inline void bench_add_nf(struct bench_bus *bus, uint32_t index, struct mb_wait_policy wait) {
    struct mb_reader_config config = {.nf = index,
                                      .log_slots = BENCH_SLOTS,
                                      .geometry = bench_shape,
                                      .subscriptions = 1,
                                      .bit = {(uint8_t)index},
                                      .wait_policy = wait};
    memset(config.types[0], 0xff, sizeof config.types[0]);
    int error;
    struct mb_reader *reader = mb_reader_create(&config, &error);
    must(reader != NULL, "mb_reader_create");
    int fd = mb_reader_area_fd(reader);
    must(mb_area_map(&bus->area[index], fd, mb_nf_area_size(&bench_shape)) == 0, "mb_area_map");
    struct mb_consumer consumer = {.page = bus->area[index].base,
                                   .mask = {UINT64_C(1) << index, 0}};
    must(mb_log_attach(&bus->log, index, &consumer) == 0, "mb_log_attach");
    must(mb_reader_map_log(reader, bus->log.area.fd) == 0, "mb_reader_map_log");
    bus->reader[index] = reader;
    bus->mask[0] |= consumer.mask[0];
}

static inline void bench_introduce(struct bench_bus *bus, uint32_t index, uint32_t other) {
    const struct mb_neighbour neighbour = {.index = other,
                                           .fd = mb_reader_area_fd(bus->reader[other]),
                                           .geometry = bench_shape,
                                           .mask = {UINT64_C(1) << other, 0},
                                           .barrier = other < index};
    must(mb_reader_map_neighbour(bus->reader[index], &neighbour) == 0, "mb_reader_map_neighbour");
}

static inline void bench_create_waiting(struct bench_bus *bus, uint32_t count,
                                        enum bench_order order, struct mb_wait_policy wait) {
    memset(bus, 0, sizeof *bus);
    bus->count = count;
    must(mb_log_create(&bus->log, BENCH_SLOTS) == 0, "mb_log_create");
    for (uint32_t index = 0; index < count; index++)
        bench_add_nf(bus, index, wait);
    for (uint32_t index = 1; index < count && order == BENCH_CHAINED; index++) {
        bench_introduce(bus, index, index - 1);
        bench_introduce(bus, index - 1, index);
    }
}

static inline void bench_create(struct bench_bus *bus, uint32_t count, enum bench_order order) {
    bench_create_waiting(bus, count, order, mb_wait_policy_default());
}

static inline void bench_destroy(struct bench_bus *bus) {
    for (uint32_t index = 0; index < bus->count; index++) {
        mb_reader_destroy(bus->reader[index]);
        mb_area_destroy(&bus->area[index]);
    }
    mb_log_destroy(&bus->log);
}

/* Reads all lines of all events until the input is over. */
static inline int bench_consume(struct mb_reader *reader) {
    static struct mb_delivery deliveries[BENCH_CAPACITY];
    uint64_t sum = 0;
    for (bool ended = false; !ended;) {
        uint32_t broken;
        int count = mb_reader_poll(reader, deliveries, BENCH_CAPACITY, BUS_WAIT, &broken);
        if (count < 0)
            return EXIT_FAILURE;
        for (int i = 0; i < count; i++)
            sum += bus_read(deliveries[i].entry);
        ended = count > 0 && deliveries[count - 1].entry->type == MB_TYPE_SYSTEM_END_OF_INPUT;
        mb_reader_advance(reader);
    }
    return sum != 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* NF `index` as a process. */
static inline pid_t bench_fork(struct bench_bus *bus, uint32_t index) {
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0)
        _exit(bench_consume(bus->reader[index]));
    return child;
}

static inline void bench_drain(struct bench_bus *bus) {
    while (!mb_log_drained(&bus->log))
        mb_log_wait_for_room(&bus->log, BUS_WAIT);
}

#endif
