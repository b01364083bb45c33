/*
 * Bytes and FIN of one side: what a segment adds to what the side has sent.
 *
 * Where nobody reads the stream it is not known where it has holes: there a segment whose bytes lie
 * below the highest one sent is a retransmission, also where the capture missed the first copy.
 */
#include "microbox/stack/modules/tcp_tracker.h"

/* A number of the sender's that the receiver has acknowledged without our having seen it sent. What
 * was sent before the one and is acknowledged by the other was missed by the capture. */
static bool continues_at_claim(const struct mb_flow_entry *flow, unsigned direction,
                               uint32_t sequence) {
    if (!mb_tcp_is_marked(flow, 1 - direction, MB_TCP_CLAIMED))
        return false;
    int32_t past = mb_sequence_distance(flow->claimed[1 - direction], sequence);
    return past >= 0 && past <= MB_TCP_WINDOW_SLACK;
}

/* Bytes behind a hole and more than a window past what the receiver offered. Where the capture has
 * missed acknowledgements, the sender goes on without a hole. */
static bool is_far_outside_window(const struct mb_flow_entry *flow, unsigned direction,
                                  uint32_t sequence) {
    const struct mb_side *receiver = &flow->snapshot.side[1 - direction];
    int32_t ahead = mb_sequence_distance(flow->snapshot.side[direction].next, sequence);
    if (ahead > MB_TCP_DISTANCE_MAX || ahead < -MB_TCP_DISTANCE_MAX)
        return true;
    if (ahead <= 0 || !mb_tcp_is_marked(flow, 1 - direction, MB_TCP_ACK_SEEN) ||
        !mb_tcp_scaling_is_known(flow) || continues_at_claim(flow, direction, sequence))
        return false;
    int32_t past = mb_sequence_distance(receiver->acknowledged + receiver->window, sequence);
    return past > 0 && (uint32_t)past > mb_tcp_window_max(flow, 1 - direction);
}

/* RFC 9293 section 3.8.4: one byte, or none, before the next one: it only asks for an answer. */
static bool is_keep_alive(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                          unsigned direction) {
    return segment->payload_length <= 1 &&
           segment->sequence_number == flow->snapshot.side[direction].next - 1 &&
           !(segment->tcp_flags & MB_TCP_FIN) &&
           !(flow->tcp[direction].marks & (MB_TCP_FIN_SEEN | MB_TCP_FIN_AHEAD));
}

/* RFC 9293 section 3.8.6.1: the next byte, although there is no room for it. */
static bool is_window_probe(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                            unsigned direction) {
    const struct mb_side *receiver = &flow->snapshot.side[1 - direction];
    return segment->payload_length == 1 && receiver->window == 0 &&
           mb_tcp_is_marked(flow, 1 - direction, MB_TCP_ACK_SEEN) &&
           segment->sequence_number == receiver->acknowledged;
}

static void count_retransmission(struct mb_flow_entry *flow, unsigned direction) {
    struct mb_side *side = &flow->snapshot.side[direction];
    mb_tcp_unmark(flow, direction, MB_TCP_TIMED);
    if (side->retransmissions != UINT16_MAX)
        side->retransmissions++;
}

/* --- FIN --- */

/* A side that has sent FIN sends no more. Where the receiver has acknowledged the FIN it takes
 * nothing behind it; before that, who goes on in its place is believed, and not the FIN. */
static bool contradicts_fin(struct mb_stack *stack, struct mb_flow_entry *flow,
                            const struct mb_decoded *segment, unsigned direction) {
    const struct mb_tcp_side *tcp = &flow->tcp[direction];
    if (!(tcp->marks & (MB_TCP_FIN_SEEN | MB_TCP_FIN_AHEAD)))
        return false;
    uint32_t end = segment->sequence_number + segment->payload_length;
    int32_t past = mb_sequence_distance(tcp->fin, end);
    if (past > 0 && segment->payload_length != 0) {
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_DATA_AFTER_FIN);
        bool takes_its_place = mb_sequence_at_or_before(segment->sequence_number, tcp->fin);
        if (tcp->marks & MB_TCP_FIN_ACKNOWLEDGED || !takes_its_place)
            return true;
        mb_tcp_withdraw_fin(stack, flow, direction);
        return false;
    }
    if (past == 0 || !(segment->tcp_flags & MB_TCP_FIN))
        return false;
    mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_FIN_MOVED);
    return true;
}

/* A FIN behind a hole is believed when it is acknowledged (RFC 9293 section 3.10.7.4, eighth: it is
 * looked at in sequence). */
static void note_fin(struct mb_flow_entry *flow, const struct mb_decoded *segment,
                     unsigned direction, bool is_in_sequence) {
    struct mb_tcp_side *tcp = &flow->tcp[direction];
    if (!(segment->tcp_flags & MB_TCP_FIN) || tcp->marks & MB_TCP_FIN_SEEN)
        return;
    tcp->fin = segment->sequence_number + segment->payload_length;
    tcp->marks |= is_in_sequence ? MB_TCP_FIN_DUE : MB_TCP_FIN_AHEAD;
}

/* --- bytes --- */

static uint32_t end_of(const struct mb_decoded *segment) {
    bool is_fin = segment->tcp_flags & MB_TCP_FIN;
    return segment->sequence_number + segment->payload_length + is_fin;
}

/* In the middle of a connection. What the receiver has acknowledged is old; a lone byte that nobody
 * pushes is what keep-alives carry, and no byte of the stream. */
static void pick_up(struct mb_stack *stack, struct mb_flow_entry *flow,
                    const struct mb_decoded *segment, unsigned direction) {
    const struct mb_side *receiver = &flow->snapshot.side[1 - direction];
    uint32_t first = segment->sequence_number;
    uint32_t end = end_of(segment);
    bool is_probe = segment->payload_length == 1 && segment->tcp_flags == MB_TCP_ACK &&
                    flow->snapshot.side[direction].packets == 1;
    if (is_probe && !mb_tcp_is_marked(flow, 1 - direction, MB_TCP_ACK_SEEN)) {
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_KEEP_ALIVE);
        stack->segment_refused = true;
        first = end;
    }
    if (mb_tcp_is_marked(flow, 1 - direction, MB_TCP_ACK_SEEN)) {
        int32_t old = mb_sequence_distance(first, receiver->acknowledged);
        if (old > 0 && old <= MB_TCP_WINDOW_SLACK)
            first = receiver->acknowledged;
    }
    struct mb_tcp_side *tcp = &flow->tcp[direction];
    tcp->marks |= MB_TCP_SEEN;
    if (!(tcp->marks & MB_TCP_SYN_SEEN)) /* else it was followed from its beginning, for a while */
        tcp->initial = first;
    flow->snapshot.side[direction].next = mb_sequence_later(first, end);
    if (end != segment->sequence_number)
        mb_tcp_begin_measuring(stack, tcp, end);
    note_fin(flow, segment, direction, true);
}

/* The stream waits for all of the segment's bytes. */
static bool fills_hole(struct mb_stack *stack, const struct mb_flow_entry *flow,
                       const struct mb_decoded *segment, unsigned direction) {
    const struct mb_stream_side *side = &flow->stream[direction];
    if (side->beginning != MB_STREAM_BEGUN || segment->payload_length == 0 ||
        mb_sequence_before(segment->sequence_number, side->next))
        return false;
    if (side->held == 0)
        return true;
    uint32_t end = segment->sequence_number + segment->payload_length;
    uint32_t node = mb_held_around(&stack->held, side, segment->sequence_number);
    return node == 0 || mb_sequence_at_or_before(end, stack->held.records[node].segment.sequence);
}

static void take_bytes(struct mb_stack *stack, struct mb_flow_entry *flow,
                       const struct mb_decoded *segment, unsigned direction) {
    struct mb_side *side = &flow->snapshot.side[direction];
    uint32_t end = end_of(segment);
    int32_t ahead = mb_sequence_distance(side->next, segment->sequence_number);
    note_fin(flow, segment, direction, ahead <= 0);
    if (ahead == 0) {
        if (is_window_probe(flow, segment, direction))
            mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_WINDOW_PROBE);
        side->next = end;
        mb_tcp_begin_measuring(stack, &flow->tcp[direction], end);
    } else if (ahead > 0) {
        side->next = end;
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_OUT_OF_ORDER);
    } else if (fills_hole(stack, flow, segment, direction)) {
        side->next = mb_sequence_later(side->next, end);
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_OUT_OF_ORDER);
    } else if (mb_sequence_at_or_before(end, side->next)) {
        count_retransmission(flow, direction);
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_RETRANSMISSION);
    } else {
        count_retransmission(flow, direction);
        side->next = end;
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_OVERLAP);
    }
}

/* The pointer names the byte behind the last urgent one, as systems read it (RFC 6093 section 2.1).
 * One that is older than the one in mind is no news. */
static void note_urgent(struct mb_stack *stack, struct mb_flow_entry *flow,
                        const struct mb_decoded *segment, unsigned direction) {
    if (!(segment->tcp_flags & MB_TCP_URG) || segment->urgent_pointer == 0)
        return;
    mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_URGENT_POINTER);
    uint32_t urgent = segment->sequence_number + segment->urgent_pointer - 1;
    if (mb_tcp_is_marked(flow, direction, MB_TCP_URGENT) &&
        mb_sequence_at_or_before(urgent, flow->tcp[direction].urgent))
        return;
    flow->tcp[direction].urgent = urgent;
    mb_tcp_mark(flow, direction, MB_TCP_URGENT);
}

bool mb_tcp_follow_sequence(struct mb_stack *stack, struct mb_flow_entry *flow,
                            const struct mb_decoded *segment, unsigned direction) {
    if (!mb_tcp_is_marked(flow, direction, MB_TCP_SEEN)) {
        pick_up(stack, flow, segment, direction);
        note_urgent(stack, flow, segment, direction);
        return true;
    }
    if (is_keep_alive(flow, segment, direction)) {
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_KEEP_ALIVE);
        stack->segment_refused = true;
        return true;
    }
    if (is_far_outside_window(flow, direction, segment->sequence_number)) {
        stack->segment_refused = true;
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_OUT_OF_WINDOW);
        return false;
    }
    if (contradicts_fin(stack, flow, segment, direction)) {
        stack->segment_refused = true;
        return false;
    }
    if (end_of(segment) != segment->sequence_number)
        take_bytes(stack, flow, segment, direction);
    note_urgent(stack, flow, segment, direction);
    return true;
}
