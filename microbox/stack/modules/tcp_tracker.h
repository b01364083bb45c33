/*
 * What the files of tcp.monitor share.
 *
 * Everywhere `direction` is the side that sent the segment in hand, and `1 - direction` the side
 * that is presumed to receive it. What a receiver expects next (RCV.NXT) is not seen; it lies from
 * the highest number that it acknowledged up to the highest one that was sent to it.
 */
#ifndef MICROBOX_STACK_MODULES_TCP_TRACKER_H
#define MICROBOX_STACK_MODULES_TCP_TRACKER_H

#include "microbox/stack/core.h"
#include "microbox/stack/sequence_number.h"
#include "microbox/stack/wire/tcp.h"

/* What happens to one side, for the table of states. */
enum mb_tcp_input {
    SENDS_SYN,
    SENDS_SYN_ACK,
    SENDS_FIN,
    WITHDRAWS_FIN, /* sends bytes in its place: the FIN was another one's */
    RECEIVES_SYN,
    RECEIVES_SYN_ACK,
    RECEIVES_ACK_OF_SYN,
    RECEIVES_FIN,
    RECEIVES_ACK_OF_FIN,
    TAKES_PART, /* sends or gets a segment of an open connection */
    RESET,
    MB_TCP_INPUTS
};

enum {
    /* Numbers further apart than this cannot be compared with certainty. */
    MB_TCP_DISTANCE_MAX = 1 << 30,
    /* How far numbers may lie apart that belong to the same gap of a capture. */
    MB_TCP_WINDOW_SLACK = 1 << 20,
    /* mb_tcp_side.timestamp_age counts in units of 2^37 nanoseconds, 137 seconds. */
    MB_TCP_AGE_SHIFT = 37
};

/* --- tcp_states.c --- */

void mb_tcp_input(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                  enum mb_tcp_input input);
void mb_tcp_follow_states(struct mb_stack *stack, struct mb_flow_entry *flow,
                          const struct mb_decoded *segment, unsigned direction);
void mb_tcp_withdraw_fin(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction);

/* After a segment: has the connection ended? */
void mb_tcp_decide_end(struct mb_stack *stack, struct mb_flow_entry *flow);

/* --- tcp_monitor.c --- */

/* Counts what is unusual about a segment, and publishes it where somebody wants it. `type`: a
 * descendant of tcp.anomaly. */
void mb_tcp_anomaly(struct mb_stack *stack, struct mb_flow_entry *flow,
                    const struct mb_decoded *segment, unsigned direction, uint16_t type);

/* --- tcp_suspicion.c --- */

/* Judges what the receiver may not see, and tells it. True where the policy refuses the segment. */
bool mb_tcp_is_refused(struct mb_stack *stack, struct mb_flow_entry *flow,
                       const struct mb_decoded *segment, unsigned direction);

/* Of a segment that is not refused: its TTL and its timestamp are what is usual of the side. */
void mb_tcp_learn_what_is_usual(const struct mb_stack *stack, struct mb_flow_entry *flow,
                                const struct mb_decoded *segment, unsigned direction);

/* The receiver has acknowledged what was refused: what is usual of the side is learned anew. */
void mb_tcp_forget_what_is_usual(struct mb_flow_entry *flow, unsigned direction);

/* --- tcp_opening.c --- */

void mb_tcp_follow_syn(struct mb_stack *stack, struct mb_flow_entry *flow,
                       const struct mb_decoded *segment, unsigned direction);

/* A flow that an answer to a SYN of the flow before it began takes that SYN for its own. */
void mb_tcp_take_pending_syn(struct mb_stack *stack, struct mb_flow_entry *flow);

/* Who completes a handshake says which of several SYN/ACKs it answers. */
void mb_tcp_settle_handshake(struct mb_flow_entry *flow, const struct mb_decoded *segment,
                             unsigned direction);

/* What became of the bytes in a SYN (RFC 7413 section 4.2). */
enum mb_syn_bytes { MB_SYN_BYTES_WAIT, MB_SYN_BYTES_TAKEN, MB_SYN_BYTES_LEFT };

/* What a segment of `direction` says of the bytes in the other side's SYN: the receiver's first
 * acknowledgement decides. */
enum mb_syn_bytes mb_tcp_syn_bytes(const struct mb_flow_entry *flow,
                                   const struct mb_decoded *segment, unsigned direction);

/* Where the bytes in the other side's SYN were not taken, that is set back to its first one. */
void mb_tcp_settle_syn_bytes(struct mb_flow_entry *flow, const struct mb_decoded *segment,
                             unsigned direction);

/* --- tcp_sequence.c --- */

/* Bytes and FIN of a segment without SYN. Sets stack->segment_refused where they count for nothing;
 * false where the whole segment does. */
bool mb_tcp_follow_sequence(struct mb_stack *stack, struct mb_flow_entry *flow,
                            const struct mb_decoded *segment, unsigned direction);

/* --- tcp_acknowledgment.c --- */

void mb_tcp_follow_acknowledgment(struct mb_stack *stack, struct mb_flow_entry *flow,
                                  const struct mb_decoded *segment, unsigned direction);

/* Of bytes past all that the other side was seen to send. */
bool mb_tcp_acknowledges_unsent(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                                unsigned direction);

/* Of bytes that were acknowledged more than a window ago (RFC 5961 section 5), or of more unsent
 * ones than a window holds. */
bool mb_tcp_acknowledges_out_of_window(const struct mb_flow_entry *flow,
                                       const struct mb_decoded *segment, unsigned direction);

/* Keeps the number in mind, if it is of bytes that were not seen: should the other side go on from
 * there, the capture has missed them. */
void mb_tcp_claim(struct mb_flow_entry *flow, const struct mb_decoded *segment, unsigned direction);

/* --- tcp_reset.c --- */

void mb_tcp_follow_reset(struct mb_stack *stack, struct mb_flow_entry *flow,
                         const struct mb_decoded *segment, unsigned direction);

/* A side that resets a connection has forgotten it: when it sends more, or acknowledges more, the
 * RST was not its own, or was not meant. */
bool mb_tcp_goes_on_after_reset(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                                unsigned direction);
void mb_tcp_ignore_reset(struct mb_stack *stack, struct mb_flow_entry *flow,
                         const struct mb_decoded *segment, unsigned direction);

/* --- what all ask --- */

static inline bool mb_tcp_is_established(const struct mb_flow_entry *flow) {
    return flow->marks & MB_FLOW_ESTABLISHED;
}

static inline bool mb_tcp_is_marked(const struct mb_flow_entry *flow, unsigned direction,
                                    uint16_t marks) {
    return (flow->tcp[direction].marks & marks) == marks;
}

static inline void mb_tcp_mark(struct mb_flow_entry *flow, unsigned direction, uint16_t marks) {
    flow->tcp[direction].marks |= marks;
}

static inline void mb_tcp_unmark(struct mb_flow_entry *flow, unsigned direction, uint16_t marks) {
    flow->tcp[direction].marks &= (uint16_t)~marks;
}

static inline uint32_t mb_tcp_microseconds(const struct mb_stack *stack) {
    return (uint32_t)(stack->clock.now / 1000);
}

/* What a pick-up in the middle does not know: how windows are scaled. */
static inline bool mb_tcp_scaling_is_known(const struct mb_flow_entry *flow) {
    return flow->tcp[0].marks & flow->tcp[1].marks & MB_TCP_SYN_SEEN;
}

/* RFC 7323 section 2.2: windows are scaled only where both offered it; an offer that was not seen
 * is presumed. */
static inline uint8_t mb_tcp_window_shift(const struct mb_flow_entry *flow, unsigned direction) {
    const struct mb_side *own = &flow->snapshot.side[direction];
    const struct mb_side *other = &flow->snapshot.side[1 - direction];
    if (own->window_scale == MB_TCP_WINDOW_SCALE_NONE)
        return 0;
    if (other->window_scale == MB_TCP_WINDOW_SCALE_NONE &&
        mb_tcp_is_marked(flow, 1 - direction, MB_TCP_SYN_SEEN))
        return 0;
    return own->window_scale;
}

/* The largest window that the side ever offered: MAX.SND.WND of the other one (RFC 5961 section 5).
 */
static inline uint32_t mb_tcp_window_max(const struct mb_flow_entry *flow, unsigned direction) {
    if (!mb_tcp_scaling_is_known(flow))
        return MB_TCP_DISTANCE_MAX;
    uint32_t offered = (uint32_t)flow->tcp[direction].window_max
                       << mb_tcp_window_shift(flow, direction);
    return offered < UINT16_MAX ? UINT16_MAX : offered; /* a SYN's is not in it */
}

/* One round trip at a time is measured, from a segment that was sent once (RFC 6298 section 3). */
static inline void mb_tcp_begin_measuring(const struct mb_stack *stack, struct mb_tcp_side *tcp,
                                          uint32_t end) {
    if (tcp->marks & MB_TCP_TIMED)
        return;
    tcp->marks |= MB_TCP_TIMED;
    tcp->timed = end;
    tcp->timed_at = mb_tcp_microseconds(stack);
}

static inline void mb_tcp_end_measuring(const struct mb_stack *stack, struct mb_flow_entry *flow,
                                        unsigned direction, uint32_t acknowledged) {
    struct mb_tcp_side *tcp = &flow->tcp[direction];
    if (!(tcp->marks & MB_TCP_TIMED) || !mb_sequence_at_or_before(tcp->timed, acknowledged))
        return;
    tcp->marks &= (uint16_t)~MB_TCP_TIMED;
    uint32_t taken = mb_tcp_microseconds(stack) - tcp->timed_at;
    flow->snapshot.side[direction].round_trip = taken == 0 ? 1 : taken;
}

#endif
