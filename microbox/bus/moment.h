/*
 * When an entry was published, counted in the input: what is written by several workers is put
 * together by it, into what one would have written.
 *
 * Workers share flows out among them, and each counts all packets. What a packet causes comes in
 * this order, whoever publishes it:
 *
 *   ahead     what every worker publishes by itself: timers, checkpoints
 *   with it   the packet's own events; one worker has the packet
 *   overdue   what its time ended: by the number of the packet that the flow, or the datagram,
 *             began with
 *   at end    likewise, where it is the last packet; then the end of the input
 *
 * In the log of one worker moments never go back, but for what a pause, or an NF's end, brings.
 * Entries of one moment are of one worker and in its order, but for those that every worker has.
 */
#ifndef MICROBOX_BUS_MOMENT_H
#define MICROBOX_BUS_MOMENT_H

#include "microbox/bus/layout.h"
#include "microbox/events/event_types.h"

#include <stdbool.h>

struct mb_moment {
    uint64_t packet; /* number of the input packet */
    uint64_t order;  /* among what comes with it */
};

enum { MB_MOMENT_RANK_SHIFT = 62 };

static inline uint64_t mb_moment_rank(const struct mb_entry *entry) {
    static const uint8_t ranks[] = {
        [0] = 1,
        [MB_AHEAD / MB_AHEAD] = 0,
        [MB_OVERDUE / MB_AHEAD] = 2,
        [MB_AT_END / MB_AHEAD] = 3,
    };
    return (uint64_t)ranks[(entry->flags & MB_WHEN) / MB_AHEAD] << MB_MOMENT_RANK_SHIFT;
}

/* The number of the packet that began what the entry is about. */
static inline uint64_t mb_moment_number(const struct mb_entry *entry) {
    if (entry->type == MB_TYPE_SYSTEM_END_OF_INPUT)
        return (UINT64_C(1) << MB_MOMENT_RANK_SHIFT) - 1;
    if (entry->type == MB_TYPE_INCOMPLETE_DATAGRAM)
        return entry->packet - entry->payload.incomplete_datagram.age;
    return entry->flow;
}

static inline struct mb_moment mb_moment_of(const struct mb_entry *entry) {
    const bool is_ending = (entry->flags & MB_WHEN) >= MB_OVERDUE;
    return (struct mb_moment){
        .packet = entry->packet,
        .order = mb_moment_rank(entry) | (is_ending ? mb_moment_number(entry) : 0),
    };
}

static inline bool mb_moment_is_before(struct mb_moment one, struct mb_moment other) {
    return one.packet != other.packet ? one.packet < other.packet : one.order < other.order;
}

#endif
