/*
 * tcp.monitor: the state of both sides of a connection, tracked apart.
 *
 * The monitor stands in the middle: it sees what each side sends, and presumes that the other one
 * gets it, unless something speaks against it (tcp_suspicion.c). Nearly all segments are ordinary:
 * the next bytes and an acknowledgement between two open sides. They are recognised first and cost
 * little; of those whose bytes lie elsewhere, only where is looked at, so that a flood of them
 * costs little too. All others go step by step, in the order of RFC 9293 section 3.10.7.
 */
#include "microbox/stack/modules/modules.h"
#include "microbox/stack/modules/tcp_tracker.h"

static const uint8_t reason_of[MB_TYPES_BUILT_IN] = {
    [MB_TYPE_TCP_RETRANSMISSION] = MB_REASON_TCP_RETRANSMISSION,
    [MB_TYPE_TCP_OUT_OF_ORDER] = MB_REASON_TCP_OUT_OF_ORDER,
    [MB_TYPE_TCP_OVERLAP] = MB_REASON_TCP_OVERLAP,
    [MB_TYPE_TCP_ZERO_WINDOW] = MB_REASON_TCP_ZERO_WINDOW,
    [MB_TYPE_TCP_BAD_CHECKSUM] = MB_REASON_TCP_BAD_CHECKSUM,
    [MB_TYPE_TCP_RST_OUT_OF_WINDOW] = MB_REASON_TCP_RST_OUT_OF_WINDOW,
    [MB_TYPE_TCP_SYN_IN_ESTABLISHED] = MB_REASON_TCP_SYN_IN_ESTABLISHED,
    [MB_TYPE_TCP_OUT_OF_WINDOW] = MB_REASON_TCP_OUT_OF_WINDOW,
    [MB_TYPE_TCP_BEYOND_WINDOW] = MB_REASON_TCP_BEYOND_WINDOW,
    [MB_TYPE_TCP_LOW_TTL] = MB_REASON_TCP_LOW_TTL,
    [MB_TYPE_TCP_UNUSUAL_TTL] = MB_REASON_TCP_UNUSUAL_TTL,
    [MB_TYPE_TCP_UNEXPECTED_SIGNATURE] = MB_REASON_TCP_UNEXPECTED_SIGNATURE,
    [MB_TYPE_TCP_OLD_TIMESTAMP] = MB_REASON_TCP_OLD_TIMESTAMP,
    [MB_TYPE_TCP_ACK_OUT_OF_WINDOW] = MB_REASON_TCP_ACK_OUT_OF_WINDOW,
    [MB_TYPE_TCP_UNSENT_ACKNOWLEDGMENT] = MB_REASON_TCP_UNSENT_ACKNOWLEDGMENT,
    [MB_TYPE_TCP_SYN_ACK_DIFFERENT] = MB_REASON_TCP_SYN_ACK_DIFFERENT,
    [MB_TYPE_TCP_SPLIT_HANDSHAKE] = MB_REASON_TCP_SPLIT_HANDSHAKE,
    [MB_TYPE_TCP_DATA_IN_SYN] = MB_REASON_TCP_DATA_IN_SYN,
    [MB_TYPE_TCP_KEEP_ALIVE] = MB_REASON_TCP_KEEP_ALIVE,
    [MB_TYPE_TCP_WINDOW_PROBE] = MB_REASON_TCP_WINDOW_PROBE,
    [MB_TYPE_TCP_WINDOW_SHRUNK] = MB_REASON_TCP_WINDOW_SHRUNK,
    [MB_TYPE_TCP_URGENT_POINTER] = MB_REASON_TCP_URGENT_POINTER,
    [MB_TYPE_TCP_FIN_MOVED] = MB_REASON_TCP_FIN_MOVED,
    [MB_TYPE_TCP_DATA_AFTER_FIN] = MB_REASON_TCP_DATA_AFTER_FIN,
    [MB_TYPE_TCP_RST_WITH_DATA] = MB_REASON_TCP_RST_WITH_DATA,
    [MB_TYPE_TCP_RST_IGNORED] = MB_REASON_TCP_RST_IGNORED,
};

void mb_tcp_anomaly(struct mb_stack *stack, struct mb_flow_entry *flow,
                    const struct mb_decoded *segment, unsigned direction, uint16_t type) {
    uint8_t reason = reason_of[type];
    mb_count_reason(stack, reason);
    struct mb_entry *entry = mb_publish_flow(stack, flow, type, reason, direction);
    if (entry == NULL)
        return;
    entry->data_offset = segment->payload_offset;
    entry->data_length = segment->payload_captured;
    entry->payload.tcp_anomaly.sequence_number = segment->sequence_number;
    entry->payload.tcp_anomaly.acknowledged = segment->acknowledgment_number;
    entry->payload.tcp_segment_anomaly.length = segment->payload_length;
}

/* --- ordinary segments --- */

enum {
    FIN_MARKS = MB_TCP_FIN_SEEN | MB_TCP_FIN_AHEAD,
    /* What has to be known of each side, and what must not be going on. */
    SENDER_KNOWN = MB_TCP_SEEN | MB_TCP_ACK_SEEN,
    SENDER_MARKS = SENDER_KNOWN | FIN_MARKS | MB_TCP_RST_SEEN | MB_TCP_CLAIMED,
    RECEIVER_KNOWN = MB_TCP_SEEN | MB_TCP_ACK_SEEN,
    RECEIVER_MARKS = RECEIVER_KNOWN | FIN_MARKS | MB_TCP_RST_SEEN | MB_TCP_SYN_MOVED
};

/* Whatever bytes it bears. */
static inline bool is_ordinary(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                               unsigned direction) {
    const struct mb_side *side = &flow->snapshot.side[direction];
    const struct mb_side *receiver = &flow->snapshot.side[1 - direction];
    const struct mb_tcp_side *tcp = &flow->tcp[direction];
    const struct mb_tcp_side *other = &flow->tcp[1 - direction];
    uint32_t end = segment->sequence_number + segment->payload_length;
    return (segment->tcp_flags & ~MB_TCP_PSH) == MB_TCP_ACK &&
           (segment->tcp_options & ~MB_TCP_HAS_TIMESTAMP) == 0 && mb_tcp_is_established(flow) &&
           (tcp->marks & SENDER_MARKS) == SENDER_KNOWN &&
           (other->marks & RECEIVER_MARKS) == RECEIVER_KNOWN &&
           mb_sequence_at_or_before(end, receiver->acknowledged + receiver->window) &&
           mb_sequence_at_or_before(side->acknowledged, segment->acknowledgment_number) &&
           mb_sequence_at_or_before(segment->acknowledgment_number, receiver->next) &&
           (uint32_t)segment->window << mb_tcp_window_shift(flow, direction) == side->window &&
           segment->window <= tcp->window_max && tcp->ttl_least != 0 &&
           segment->ttl >= tcp->ttl_least && segment->bad_checksum == MB_REASON_NONE;
}

static inline bool timestamp_is_ordinary(const struct mb_tcp_side *tcp,
                                         const struct mb_decoded *segment) {
    return !(segment->tcp_options & MB_TCP_HAS_TIMESTAMP) ||
           (tcp->marks & MB_TCP_TIMESTAMPED &&
            mb_sequence_at_or_before(tcp->timestamp, segment->timestamp_value));
}

static inline void take_ordinary(struct mb_stack *stack, struct mb_flow_entry *flow,
                                 const struct mb_decoded *segment, unsigned direction) {
    struct mb_side *side = &flow->snapshot.side[direction];
    struct mb_tcp_side *tcp = &flow->tcp[direction];
    if (segment->tcp_options & MB_TCP_HAS_TIMESTAMP &&
        segment->sequence_number == flow->snapshot.side[1 - direction].acknowledged) {
        tcp->timestamp = segment->timestamp_value;
        tcp->timestamp_age = (uint16_t)(stack->clock.now >> MB_TCP_AGE_SHIFT);
    }
    if (segment->payload_length != 0) {
        side->next += segment->payload_length;
        mb_tcp_begin_measuring(stack, tcp, side->next);
    }
    side->acknowledged = segment->acknowledgment_number;
    mb_tcp_end_measuring(stack, flow, 1 - direction, side->acknowledged);
}

/* Its bytes are not the next ones. No other step of `examine` would do anything. */
static void take_displaced(struct mb_stack *stack, struct mb_flow_entry *flow,
                           const struct mb_decoded *segment, unsigned direction) {
    mb_tcp_learn_what_is_usual(stack, flow, segment, direction);
    if (!mb_tcp_follow_sequence(stack, flow, segment, direction))
        return;
    flow->snapshot.side[direction].acknowledged = segment->acknowledgment_number;
    mb_tcp_end_measuring(stack, flow, 1 - direction, segment->acknowledgment_number);
}

/* --- all others --- */

static void examine(struct mb_stack *stack, struct mb_flow_entry *flow,
                    const struct mb_decoded *segment, unsigned direction) {
    if (mb_tcp_is_refused(stack, flow, segment, direction)) {
        stack->segment_refused = true;
        return;
    }
    if (segment->tcp_flags & MB_TCP_RST)
        return mb_tcp_follow_reset(stack, flow, segment, direction);
    bool goes_on = mb_tcp_goes_on_after_reset(flow, segment, direction);
    if (segment->tcp_flags & MB_TCP_SYN) {
        mb_tcp_follow_syn(stack, flow, segment, direction);
        if (stack->segment_refused)
            return;
        mb_tcp_settle_syn_bytes(flow, segment, direction);
    } else {
        mb_tcp_settle_handshake(flow, segment, direction);
        mb_tcp_settle_syn_bytes(flow, segment, direction);
        if (!mb_tcp_follow_sequence(stack, flow, segment, direction))
            return;
    }
    mb_tcp_follow_acknowledgment(stack, flow, segment, direction);
    mb_tcp_follow_states(stack, flow, segment, direction);
    if (goes_on)
        mb_tcp_ignore_reset(stack, flow, segment, direction);
    mb_tcp_decide_end(stack, flow);
}

/* --- the module --- */

static void begin(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction) {
    flow->snapshot.side[0].window_scale = MB_TCP_WINDOW_SCALE_NONE;
    flow->snapshot.side[1].window_scale = MB_TCP_WINDOW_SCALE_NONE;
    mb_publish_start(stack, flow, MB_TYPE_TCP_START, direction);
    mb_tcp_take_pending_syn(stack, flow);
}

static void packet(struct mb_stack *stack, struct mb_flow_entry *flow,
                   const struct mb_decoded *segment, unsigned direction) {
    stack->segment_refused = false;
    if (is_ordinary(flow, segment, direction) &&
        timestamp_is_ordinary(&flow->tcp[direction], segment)) {
        if (segment->sequence_number == flow->snapshot.side[direction].next)
            return take_ordinary(stack, flow, segment, direction);
        return take_displaced(stack, flow, segment, direction);
    }
    if (!(flow->marks & MB_FLOW_STARTED))
        begin(stack, flow, direction);
    examine(stack, flow, segment, direction);
}

static void end(struct mb_stack *stack, struct mb_flow_entry *flow, uint8_t reason) {
    if (reason == MB_REASON_END_RST) {
        mb_tcp_input(stack, flow, 0, RESET);
        mb_tcp_input(stack, flow, 1, RESET);
    }
    mb_publish_end(stack, flow, MB_TYPE_TCP_END, reason);
}

const struct mb_module mb_module_tcp_monitor = {
    .name = "tcp.monitor",
    .bit = MB_MODULE_TCP_MONITOR,
    .transport = MB_TRANSPORT_TCP,
    .packet = packet,
    .icmp_error = mb_tcp_icmp_error,
    .end = end,
};
