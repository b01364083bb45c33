/*
 * Made-up events for the benchmarks of the bus: one in-order segment of a TCP flow each, every
 * byte of the slot written.
 */
#ifndef MICROBOX_BENCHMARKS_SUPPORT_BUS_EVENTS_H
#define MICROBOX_BENCHMARKS_SUPPORT_BUS_EVENTS_H

#include "microbox/bus/log.h"
#include "microbox/events/event_types.h"

#include <stdint.h>

enum {
    BUS_FLOWS = 1024,
    BUS_BATCH = 64, /* events between two commits */
    BUS_WAIT = 10000000
};

static const uint64_t BUS_TIME = UINT64_C(1700000000000000000);

/* The event `number` of the run, as the stack would write it. */
static inline void bus_fill(struct mb_entry *entry, uint64_t number) {
    entry->time = BUS_TIME + number * 1000;
    entry->packet = number + 1;
    entry->flow = number % BUS_FLOWS + 1;
    entry->frame = number * 1514;
    entry->type = MB_TYPE_TCP_DATA;
    entry->reason = MB_REASON_NONE;
    entry->flags = MB_HAS_FLOW | MB_LAST;
    entry->data_length = 1448;
    entry->frame_length = 1514;
    entry->data_offset = 66;
    entry->payload.tcp_data = (struct mb_tcp_data){
        .flow.tuple = {.source = {[10] = 255, [11] = 255, [12] = 10, [15] = (uint8_t)number},
                       .destination = {[10] = 255, [11] = 255, [12] = 10, [15] = 1},
                       .source_port = (uint16_t)(number % BUS_FLOWS + 1024),
                       .destination_port = 443,
                       .protocol = 6,
                       .ip_version = 4},
        .offset = number * 1448,
    };
    for (unsigned side = 0; side < 2; side++)
        entry->snapshot.side[side] = (struct mb_side){.bytes = number * 1448,
                                                      .packets = (uint32_t)number,
                                                      .next = (uint32_t)(number * 1448),
                                                      .acknowledged = (uint32_t)number,
                                                      .window = 65535,
                                                      .round_trip = 1000,
                                                      .state = MB_TCP_ESTABLISHED};
}

/* Waits until `count` entries can be claimed. */
static inline void bus_wait_for_room(struct mb_log *log, uint64_t count) {
    while (!mb_log_has_room(log, count)) {
        mb_log_commit(log);
        mb_log_wait_for_room(log, BUS_WAIT);
    }
}

/* Publishes `count` events for `mask`, then one that says that the input is over. */
static inline void bus_publish(struct mb_log *log, uint64_t count, const uint64_t mask[2]) {
    for (uint64_t number = 0; number < count;) {
        uint64_t batch = count - number < BUS_BATCH ? count - number : BUS_BATCH;
        bus_wait_for_room(log, batch);
        for (uint64_t i = 0; i < batch; i++)
            bus_fill(mb_log_claim(log, mask), number++);
        mb_log_commit(log);
    }
    bus_wait_for_room(log, 1);
    struct mb_entry *last = mb_log_claim(log, mask);
    bus_fill(last, count);
    last->type = MB_TYPE_SYSTEM_END_OF_INPUT;
    last->flags = MB_LAST | MB_ENDS_BATCH;
    last->payload.end_of_input = (struct mb_end_of_input){.packets = count, .bytes = count * 1514};
    mb_log_commit(log);
}

/* A word of every line of the slot, so that all of it had to come over. */
static inline uint64_t bus_read(const struct mb_entry *entry) {
    return entry->time + entry->payload.tcp_data.offset + entry->snapshot.side[0].bytes;
}

#endif
