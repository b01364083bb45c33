/*
 * The stack's clock: packet time, made monotonic and safe from packets with absurd times.
 *
 * It moves on by what packet time moves on. A packet from the past leaves it alone. A step of more
 * than a day is believed when some packets in a row agree on it: a step forward then counts as a
 * day, which is more than any timeout; one back moves nothing. The time line that was left is
 * remembered, and going back to it is no step: so a run of packets with time 0, or from ten years
 * on, costs no flow anything when it is over.
 */
#ifndef MICROBOX_STACK_PACKET_CLOCK_H
#define MICROBOX_STACK_PACKET_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define MB_CLOCK_STEP_MAX (UINT64_C(86400) * 1000000000)

/* Packets in a row that make a step believed. */
enum { MB_CLOCK_CONFIRMATIONS = 8 };

struct mb_packet_clock {
    uint64_t now;       /* nanoseconds since the first packet; never goes back */
    uint64_t reference; /* latest packet time that `now` stands for */
    uint64_t left;      /* the same of the time line before the last step, where has_left */
    uint64_t suspect;   /* an absurd time seen just before, where there are suspects */
    uint32_t suspects;  /* packets in a row that agree on it */
    bool is_running;
    bool has_left;
};

static inline bool mb_times_are_near(uint64_t a, uint64_t b) {
    return (a < b ? b - a : a - b) <= MB_CLOCK_STEP_MAX;
}

/* The time to note for what is seen now. In a step forward that is not confirmed yet it lies where
 * the clock will be when it is, so that the step does not make old what came with it. */
static inline uint64_t mb_packet_clock_seen(const struct mb_packet_clock *clock) {
    bool may_step = clock->suspects != 0 && clock->suspect > clock->reference;
    return may_step ? clock->now + MB_CLOCK_STEP_MAX : clock->now;
}

/* `time` lies near `reference`. */
static inline void mb_packet_clock_follow(struct mb_packet_clock *clock, uint64_t time) {
    clock->suspects = 0;
    if (time <= clock->reference)
        return;
    clock->now += time - clock->reference;
    clock->reference = time;
}

/* Time has passed without a packet, which says nothing of those that are suspect. */
static inline void mb_packet_clock_pass(struct mb_packet_clock *clock, uint64_t step) {
    const uint64_t left = UINT64_MAX - clock->reference;
    clock->now += step;
    clock->reference += step < left ? step : left;
}

static inline void mb_packet_clock_return(struct mb_packet_clock *clock) {
    const uint64_t left = clock->reference;
    clock->reference = clock->left;
    clock->left = left;
}

static inline void mb_packet_clock_suspect(struct mb_packet_clock *clock, uint64_t time) {
    const bool agrees = clock->suspects != 0 && mb_times_are_near(clock->suspect, time);
    clock->suspects = agrees ? clock->suspects + 1 : 1;
    clock->suspect = time;
    if (clock->suspects < MB_CLOCK_CONFIRMATIONS)
        return;
    clock->suspects = 0;
    clock->has_left = true;
    clock->left = clock->reference;
    if (time > clock->reference)
        clock->now += MB_CLOCK_STEP_MAX;
    clock->reference = time;
}

static inline void mb_packet_clock_advance(struct mb_packet_clock *clock, uint64_t time) {
    if (!clock->is_running) {
        clock->is_running = true;
        clock->reference = time;
        return;
    }
    if (mb_times_are_near(clock->reference, time))
        return mb_packet_clock_follow(clock, time);
    if (!clock->has_left || !mb_times_are_near(clock->left, time))
        return mb_packet_clock_suspect(clock, time);
    mb_packet_clock_return(clock);
    mb_packet_clock_follow(clock, time);
}

#endif
