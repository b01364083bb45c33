/*
 * tcp.monitor: the state of both sides of a connection, tracked apart.
 *
 * The monitor stands in the middle: it sees what each side sends, and presumes that the other one
 * gets it; a FIN, which may cross another one, when it is acknowledged. States come from one table
 * that is run for the sender and for the receiver of each segment (tcp_states.def). It does not
 * know about holes in a stream: a segment whose bytes lie below the highest byte sent is a
 * retransmission to it, also where the capture missed the first copy.
 */
#include "microbox/stack/core.h"
#include "microbox/stack/modules/modules.h"
#include "microbox/stack/sequence_number.h"
#include "microbox/stack/wire/tcp.h"

enum tcp_input {
    SENDS_SYN,
    SENDS_SYN_ACK,
    SENDS_FIN,
    RECEIVES_SYN,
    RECEIVES_SYN_ACK,
    RECEIVES_ACK_OF_SYN,
    RECEIVES_FIN,
    RECEIVES_ACK_OF_FIN,
    TAKES_PART, /* sends or gets a segment of an open connection */
    RESET,
    TCP_INPUTS
};

/* Next state + 1; 0: the state stays. */
static const uint8_t transitions[MB_TCP_STATES][TCP_INPUTS] = {
#define TRANSITION(state, input, next) [MB_TCP_##state][input] = MB_TCP_##next + 1,
#include "microbox/stack/modules/tcp_states.def"
#undef TRANSITION
};

enum {
    /* How far past the offered window a segment may begin before it is refused: captures miss
     * acknowledgements, so this is generous. */
    WINDOW_SLACK = 1 << 20,
    DISTANCE_MAX = 1 << 30
};

static void input(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                  enum tcp_input what) {
    struct mb_side *side = &flow->snapshot.side[direction];
    uint8_t before = side->state;
    uint8_t next = transitions[before][what];
    if (next == 0)
        return;
    side->state = next - 1;
    struct mb_entry *entry =
        mb_publish_flow(stack, flow, MB_TYPE_TCP_STATE, MB_REASON_NONE, direction);
    if (entry == NULL)
        return;
    entry->payload.tcp_state_change.before = before;
    entry->payload.tcp_state_change.after = side->state;
}

static void anomaly(struct mb_stack *stack, struct mb_flow_entry *flow,
                    const struct mb_decoded *segment, unsigned direction, uint16_t type,
                    uint8_t reason) {
    mb_count_reason(stack, reason);
    struct mb_entry *entry = mb_publish_flow(stack, flow, type, reason, direction);
    if (entry == NULL)
        return;
    entry->data_offset = segment->payload_offset;
    entry->data_length = segment->payload_captured;
    entry->payload.tcp_anomaly.sequence_number = segment->sequence_number;
    entry->payload.tcp_anomaly.acknowledged = segment->acknowledgment_number;
    entry->payload.tcp_anomaly.length = segment->payload_length;
}

static bool is_established(const struct mb_flow_entry *flow) {
    return flow->marks & MB_FLOW_ESTABLISHED;
}

static uint32_t microseconds(const struct mb_stack *stack) {
    return (uint32_t)(stack->clock.now / 1000);
}

/* --- sequence numbers --- */

static bool scaling_is_unknown(const struct mb_flow_entry *flow) {
    return !(flow->tcp[0].marks & flow->tcp[1].marks & MB_TCP_SYN_SEEN);
}

static bool is_far_outside_window(const struct mb_flow_entry *flow, unsigned direction,
                                  uint32_t sequence) {
    const struct mb_side *receiver = &flow->snapshot.side[1 - direction];
    int32_t ahead = mb_sequence_distance(flow->snapshot.side[direction].next, sequence);
    if (ahead > DISTANCE_MAX || ahead < -DISTANCE_MAX)
        return true;
    if (!(flow->tcp[1 - direction].marks & MB_TCP_ACK_SEEN) || scaling_is_unknown(flow))
        return false;
    int32_t past_acknowledged = mb_sequence_distance(receiver->acknowledged, sequence);
    return past_acknowledged > 0 &&
           (uint32_t)past_acknowledged > receiver->window + (uint32_t)WINDOW_SLACK;
}

/* RFC 9293 section 3.8.4: one byte, or none, before the next one: it only asks for an answer. */
static bool is_keep_alive(const struct mb_side *side, const struct mb_decoded *segment) {
    return segment->payload_length <= 1 && segment->sequence_number == side->next - 1 &&
           !(segment->tcp_flags & (MB_TCP_SYN | MB_TCP_FIN | MB_TCP_RST));
}

static void count_retransmission(struct mb_side *side) {
    if (side->retransmissions != UINT16_MAX)
        side->retransmissions++;
}

static void first_of_side(struct mb_stack *stack, struct mb_flow_entry *flow,
                          const struct mb_decoded *segment, unsigned direction, uint32_t end) {
    struct mb_tcp_side *tcp = &flow->tcp[direction];
    bool is_syn = segment->tcp_flags & MB_TCP_SYN;
    tcp->marks |= MB_TCP_SEEN;
    if (!(tcp->marks & MB_TCP_SYN_SEEN)) /* it was followed before, from its beginning on */
        tcp->initial = segment->sequence_number + is_syn;
    flow->snapshot.side[direction].next = end;
    if (is_syn)
        tcp->marks |= MB_TCP_SYN_SEEN;
    if (end != segment->sequence_number) {
        tcp->marks |= MB_TCP_TIMED;
        tcp->timed = end;
        tcp->timed_at = microseconds(stack);
    }
}

/* A SYN from a side whose numbers are known: it says the same again, or does not belong here. */
static void repeated_syn(struct mb_stack *stack, struct mb_flow_entry *flow,
                         const struct mb_decoded *segment, unsigned direction) {
    struct mb_tcp_side *tcp = &flow->tcp[direction];
    struct mb_side *side = &flow->snapshot.side[direction];
    if (segment->sequence_number + 1 != tcp->initial) {
        stack->segment_refused = true;
        if (side->state >= MB_TCP_ESTABLISHED)
            anomaly(stack, flow, segment, direction, MB_TYPE_TCP_SYN_IN_ESTABLISHED,
                    MB_REASON_TCP_SYN_IN_ESTABLISHED);
        return;
    }
    /* Captured behind the side's first data: not a repetition. */
    if (!(tcp->marks & MB_TCP_SYN_SEEN)) {
        tcp->marks |= MB_TCP_SYN_SEEN;
        return;
    }
    tcp->marks &= (uint16_t)~MB_TCP_TIMED;
    count_retransmission(side);
    if (is_established(flow))
        anomaly(stack, flow, segment, direction, MB_TYPE_TCP_SYN_IN_ESTABLISHED,
                MB_REASON_TCP_SYN_IN_ESTABLISHED);
}

static void follow_sequence(struct mb_stack *stack, struct mb_flow_entry *flow,
                            const struct mb_decoded *segment, unsigned direction) {
    struct mb_tcp_side *tcp = &flow->tcp[direction];
    struct mb_side *side = &flow->snapshot.side[direction];
    bool is_syn = segment->tcp_flags & MB_TCP_SYN;
    bool is_fin = segment->tcp_flags & MB_TCP_FIN;
    uint32_t start = segment->sequence_number;
    uint32_t end = start + is_syn + segment->payload_length + is_fin;
    if (!(tcp->marks & MB_TCP_SEEN))
        return first_of_side(stack, flow, segment, direction, end);
    if (is_syn) {
        repeated_syn(stack, flow, segment, direction);
        if (!stack->segment_refused)
            side->next = mb_sequence_later(side->next, end);
        return;
    }
    if (is_keep_alive(side, segment)) {
        stack->segment_refused = true;
        return;
    }
    if (start == end)
        return;
    int32_t ahead = mb_sequence_distance(side->next, start);
    if (ahead == 0) {
        side->next = end;
        if (!(tcp->marks & MB_TCP_TIMED)) {
            tcp->marks |= MB_TCP_TIMED;
            tcp->timed = end;
            tcp->timed_at = microseconds(stack);
        }
        return;
    }
    if (is_far_outside_window(flow, direction, start)) {
        stack->segment_refused = true;
        return anomaly(stack, flow, segment, direction, MB_TYPE_TCP_OUT_OF_WINDOW,
                       MB_REASON_TCP_OUT_OF_WINDOW);
    }
    if (ahead > 0) {
        side->next = end;
        return anomaly(stack, flow, segment, direction, MB_TYPE_TCP_OUT_OF_ORDER,
                       MB_REASON_TCP_OUT_OF_ORDER);
    }
    /* What was sent twice says nothing about the round trip (RFC 6298 section 3). */
    tcp->marks &= (uint16_t)~MB_TCP_TIMED;
    count_retransmission(side);
    if (mb_sequence_at_or_before(end, side->next))
        return anomaly(stack, flow, segment, direction, MB_TYPE_TCP_RETRANSMISSION,
                       MB_REASON_TCP_RETRANSMISSION);
    side->next = end;
    anomaly(stack, flow, segment, direction, MB_TYPE_TCP_OVERLAP, MB_REASON_TCP_OVERLAP);
}

/* --- acknowledgements and windows --- */

static void measure_round_trip(struct mb_stack *stack, struct mb_flow_entry *flow,
                               unsigned direction, uint32_t acknowledged) {
    struct mb_tcp_side *tcp = &flow->tcp[direction];
    if (!(tcp->marks & MB_TCP_TIMED) || !mb_sequence_at_or_before(tcp->timed, acknowledged))
        return;
    tcp->marks &= (uint16_t)~MB_TCP_TIMED;
    uint32_t taken = microseconds(stack) - tcp->timed_at;
    flow->snapshot.side[direction].round_trip = taken == 0 ? 1 : taken;
}

static void follow_acknowledgment(struct mb_stack *stack, struct mb_flow_entry *flow,
                                  const struct mb_decoded *segment, unsigned direction) {
    if (!(segment->tcp_flags & MB_TCP_ACK))
        return;
    struct mb_side *side = &flow->snapshot.side[direction];
    struct mb_tcp_side *tcp = &flow->tcp[direction];
    struct mb_tcp_side *other = &flow->tcp[1 - direction];
    uint32_t acknowledged = segment->acknowledgment_number;
    if (other->marks & MB_TCP_SEEN) {
        int32_t unsent =
            mb_sequence_distance(flow->snapshot.side[1 - direction].next, acknowledged);
        if (unsent > DISTANCE_MAX || unsent < -DISTANCE_MAX)
            return;
    }
    if (!(tcp->marks & MB_TCP_ACK_SEEN)) {
        tcp->marks |= MB_TCP_ACK_SEEN;
        side->acknowledged = acknowledged;
    } else {
        side->acknowledged = mb_sequence_later(side->acknowledged, acknowledged);
    }
    measure_round_trip(stack, flow, 1 - direction, side->acknowledged);
}

static uint8_t window_shift(const struct mb_flow_entry *flow, unsigned direction) {
    const struct mb_side *own = &flow->snapshot.side[direction];
    const struct mb_side *other = &flow->snapshot.side[1 - direction];
    if (own->window_scale == MB_TCP_WINDOW_SCALE_NONE)
        return 0;
    /* RFC 7323 section 2.2: only where both offered it; an offer that was not seen is presumed. */
    if (other->window_scale == MB_TCP_WINDOW_SCALE_NONE &&
        flow->tcp[1 - direction].marks & MB_TCP_SYN_SEEN)
        return 0;
    return own->window_scale;
}

static void follow_window(struct mb_stack *stack, struct mb_flow_entry *flow,
                          const struct mb_decoded *segment, unsigned direction) {
    struct mb_side *side = &flow->snapshot.side[direction];
    if (segment->tcp_flags & MB_TCP_SYN) {
        side->window_scale = segment->window_scale;
        side->window = segment->window;
        return;
    }
    uint32_t window = (uint32_t)segment->window << window_shift(flow, direction);
    bool is_closing = window == 0 && side->window != 0;
    side->window = window;
    if (is_closing)
        anomaly(stack, flow, segment, direction, MB_TYPE_TCP_ZERO_WINDOW,
                MB_REASON_TCP_ZERO_WINDOW);
}

/* --- states --- */

static bool is_acknowledged(const struct mb_flow_entry *flow, unsigned direction,
                            uint32_t sequence) {
    return flow->tcp[1 - direction].marks & MB_TCP_ACK_SEEN &&
           mb_sequence_at_or_before(sequence, flow->snapshot.side[1 - direction].acknowledged);
}

/* What the sender's acknowledgement means to the other side. */
static void deliver_acknowledgment(struct mb_stack *stack, struct mb_flow_entry *flow,
                                   unsigned receiver) {
    struct mb_tcp_side *tcp = &flow->tcp[receiver];
    if (tcp->marks & MB_TCP_SYN_SEEN && is_acknowledged(flow, receiver, tcp->initial))
        input(stack, flow, receiver, RECEIVES_ACK_OF_SYN);
    if (tcp->marks & MB_TCP_FIN_SEEN && !(tcp->marks & MB_TCP_FIN_ACKNOWLEDGED) &&
        is_acknowledged(flow, receiver, tcp->fin + 1)) {
        tcp->marks |= MB_TCP_FIN_ACKNOWLEDGED;
        input(stack, flow, 1 - receiver, RECEIVES_FIN);
        input(stack, flow, receiver, RECEIVES_ACK_OF_FIN);
    }
}

static void deliver_syn(struct mb_stack *stack, struct mb_flow_entry *flow,
                        const struct mb_decoded *segment, unsigned direction) {
    bool has_ack = segment->tcp_flags & MB_TCP_ACK;
    flow->tcp[direction].marks |= MB_TCP_SYN_SEEN;
    input(stack, flow, direction, has_ack ? SENDS_SYN_ACK : SENDS_SYN);
    input(stack, flow, 1 - direction, has_ack ? RECEIVES_SYN_ACK : RECEIVES_SYN);
}

static void deliver_fin(struct mb_stack *stack, struct mb_flow_entry *flow,
                        const struct mb_decoded *segment, unsigned direction) {
    struct mb_tcp_side *tcp = &flow->tcp[direction];
    if (tcp->marks & MB_TCP_FIN_SEEN)
        return;
    tcp->marks |= MB_TCP_FIN_SEEN;
    tcp->fin = segment->sequence_number + segment->payload_length;
    input(stack, flow, direction, SENDS_FIN);
}

static void publish_established(struct mb_stack *stack, struct mb_flow_entry *flow,
                                unsigned direction) {
    if (is_established(flow) || flow->snapshot.side[0].state < MB_TCP_ESTABLISHED ||
        flow->snapshot.side[1].state < MB_TCP_ESTABLISHED)
        return;
    flow->marks |= MB_FLOW_ESTABLISHED;
    mb_flow_open(&stack->table, flow);
    /* A connection that was open before the capture began has no handshake to complete. */
    if (flow->tcp[0].marks & flow->tcp[1].marks & MB_TCP_SYN_SEEN)
        mb_publish_flow(stack, flow, MB_TYPE_TCP_ESTABLISHED, MB_REASON_NONE, direction);
}

static void follow_states(struct mb_stack *stack, struct mb_flow_entry *flow,
                          const struct mb_decoded *segment, unsigned direction) {
    unsigned receiver = 1 - direction;
    if (segment->tcp_flags & MB_TCP_SYN) {
        deliver_syn(stack, flow, segment, direction);
        return;
    }
    if (!is_established(flow) && flow->snapshot.side[direction].state < MB_TCP_SYN_RECEIVED)
        input(stack, flow, direction, TAKES_PART);
    deliver_acknowledgment(stack, flow, receiver);
    if (!is_established(flow) && flow->snapshot.side[receiver].state < MB_TCP_SYN_SENT)
        input(stack, flow, receiver, TAKES_PART);
    publish_established(stack, flow, direction);
    if (segment->tcp_flags & MB_TCP_FIN)
        deliver_fin(stack, flow, segment, direction);
}

static void decide_end(struct mb_stack *stack, struct mb_flow_entry *flow) {
    uint16_t both = flow->tcp[0].marks & flow->tcp[1].marks;
    if (both & MB_TCP_FIN_ACKNOWLEDGED)
        flow->ending = MB_REASON_END_FIN;
    else if (both & MB_TCP_FIN_SEEN && flow->timeout_class != MB_TIMEOUT_CLOSED)
        mb_flow_requeue(&stack->table, flow, MB_TIMEOUT_CLOSED);
}

/* --- RST --- */

/* Would the receiver believe it? RFC 5961 section 3.2 asks for the very next sequence number; what
 * the receiver's next one is we know from its acknowledgements, or else from what was sent. */
static bool rst_is_credible(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                            unsigned direction) {
    const struct mb_side *sender = &flow->snapshot.side[direction];
    const struct mb_side *receiver = &flow->snapshot.side[1 - direction];
    /* RFC 9293 section 3.10.7.3: to be believed it has to acknowledge the SYN, and perhaps data
     * that came with it. */
    if (receiver->state == MB_TCP_SYN_SENT)
        return segment->tcp_flags & MB_TCP_ACK &&
               mb_sequence_at_or_before(flow->tcp[1 - direction].initial,
                                        segment->acknowledgment_number) &&
               mb_sequence_at_or_before(segment->acknowledgment_number, receiver->next);
    if (!(flow->tcp[direction].marks & MB_TCP_SEEN))
        return true;
    if (segment->sequence_number == sender->next)
        return true;
    if (!(flow->tcp[1 - direction].marks & MB_TCP_ACK_SEEN))
        return false;
    int32_t ahead = mb_sequence_distance(receiver->acknowledged, segment->sequence_number);
    return ahead >= -1 && (ahead <= 0 || (uint32_t)ahead <= receiver->window);
}

static void reset(struct mb_stack *stack, struct mb_flow_entry *flow,
                  const struct mb_decoded *segment, unsigned direction) {
    if (!rst_is_credible(flow, segment, direction))
        return anomaly(stack, flow, segment, direction, MB_TYPE_TCP_RST_OUT_OF_WINDOW,
                       MB_REASON_TCP_RST_OUT_OF_WINDOW);
    input(stack, flow, direction, RESET);
    input(stack, flow, 1 - direction, RESET);
    flow->ending = MB_REASON_END_RST;
}

/* --- the module --- */

static void begin(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction) {
    if (flow->marks & MB_FLOW_STARTED)
        return;
    flow->snapshot.side[0].window_scale = MB_TCP_WINDOW_SCALE_NONE;
    flow->snapshot.side[1].window_scale = MB_TCP_WINDOW_SCALE_NONE;
    mb_publish_start(stack, flow, MB_TYPE_TCP_START, direction);
}

static void packet(struct mb_stack *stack, struct mb_flow_entry *flow,
                   const struct mb_decoded *segment, unsigned direction) {
    stack->segment_refused = false;
    begin(stack, flow, direction);
    if (segment->bad_checksum == MB_REASON_TCP_BAD_CHECKSUM)
        anomaly(stack, flow, segment, direction, MB_TYPE_TCP_BAD_CHECKSUM,
                MB_REASON_TCP_BAD_CHECKSUM);
    if (segment->tcp_flags & MB_TCP_RST)
        return reset(stack, flow, segment, direction);
    follow_sequence(stack, flow, segment, direction);
    if (stack->segment_refused && segment->tcp_flags & MB_TCP_SYN)
        return;
    follow_acknowledgment(stack, flow, segment, direction);
    follow_window(stack, flow, segment, direction);
    if (stack->segment_refused)
        return;
    follow_states(stack, flow, segment, direction);
    decide_end(stack, flow);
}

static void end(struct mb_stack *stack, struct mb_flow_entry *flow, uint8_t reason) {
    mb_publish_end(stack, flow, MB_TYPE_TCP_END, reason);
}

bool mb_tcp_begins_anew(const struct mb_flow_entry *flow, const struct mb_decoded *packet,
                        unsigned direction) {
    if (!(packet->tcp_flags & MB_TCP_SYN))
        return false;
    const struct mb_tcp_side *tcp = &flow->tcp[direction];
    const struct mb_tcp_side *other = &flow->tcp[1 - direction];
    bool is_repeated = tcp->marks & MB_TCP_SEEN && packet->sequence_number + 1 == tcp->initial;
    /* Captured behind what it opened. */
    if (is_repeated && !(tcp->marks & MB_TCP_SYN_SEEN))
        return false;
    if (packet->tcp_flags & MB_TCP_ACK)
        return flow->marks & MB_FLOW_ENDED && !is_repeated;
    if (flow->marks & MB_FLOW_ENDED || (tcp->marks | other->marks) & MB_TCP_FIN_SEEN)
        return true;
    if (tcp->marks & MB_TCP_SEEN)
        return !is_repeated;
    /* The other side has opened, or answers a SYN that the capture missed: this may be it. */
    return other->marks & MB_TCP_SEEN && !(other->marks & MB_TCP_SYN_SEEN);
}

const struct mb_module mb_module_tcp_monitor = {
    .name = "tcp.monitor",
    .bit = MB_MODULE_TCP_MONITOR,
    .transport = MB_TRANSPORT_TCP,
    .packet = packet,
    .icmp_error = mb_tcp_icmp_error,
    .end = end,
};
