/*
 * The stack's clock: packet time, made monotonic and safe from packets with absurd times.
 *
 * It moves on by what packet time moves on. A packet from the past leaves it alone. A step of more
 * than a day is believed when the next packet confirms it, and then counts as a day: every timeout
 * passes, but a single broken timestamp moves nothing.
 */
#ifndef MICROBOX_STACK_PACKET_CLOCK_H
#define MICROBOX_STACK_PACKET_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define MB_CLOCK_STEP_MAX (UINT64_C(86400) * 1000000000)

struct mb_packet_clock {
    uint64_t now;       /* nanoseconds since the first packet; never goes back */
    uint64_t reference; /* latest packet time that `now` stands for */
    uint64_t suspect;   /* an absurd time seen just before */
    bool is_running;
    bool has_suspect;
};

/* The time to note for what is seen now. In a step forward that is not confirmed yet it lies where
 * the clock will be when it is, so that the step does not make old what came with it. */
static inline uint64_t mb_packet_clock_seen(const struct mb_packet_clock *clock) {
    bool may_step = clock->has_suspect && clock->suspect > clock->reference;
    return may_step ? clock->now + MB_CLOCK_STEP_MAX : clock->now;
}

static inline uint64_t mb_time_between(uint64_t a, uint64_t b) {
    return a < b ? b - a : a - b;
}

static inline void mb_packet_clock_advance(struct mb_packet_clock *clock, uint64_t time) {
    if (!clock->is_running) {
        clock->is_running = true;
        clock->reference = time;
        return;
    }
    if (mb_time_between(clock->reference, time) <= MB_CLOCK_STEP_MAX) {
        clock->has_suspect = false;
        if (time > clock->reference) {
            clock->now += time - clock->reference;
            clock->reference = time;
        }
        return;
    }
    bool is_confirmed =
        clock->has_suspect && mb_time_between(clock->suspect, time) <= MB_CLOCK_STEP_MAX;
    clock->has_suspect = !is_confirmed;
    clock->suspect = time;
    if (!is_confirmed)
        return;
    if (time > clock->reference)
        clock->now += MB_CLOCK_STEP_MAX;
    clock->reference = time;
}

#endif
