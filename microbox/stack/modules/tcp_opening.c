/*
 * SYN: how connections begin, and what a SYN means where one is open already.
 *
 * A SYN inside an open connection changes nothing (RFC 5961 section 4): its receiver answers with
 * an acknowledgement and goes on. A side that has really forgotten the connection opens a new one;
 * that shows when the other side answers the SYN with one of its own, and then a new flow begins.
 * An acknowledgement alone shows nothing: whoever forges a SYN right before what the receiver
 * expects gets one with that number.
 */
#include "microbox/stack/modules/modules.h"
#include "microbox/stack/modules/tcp_tracker.h"

static bool is_syn_ack(const struct mb_decoded *segment) {
    return (segment->tcp_flags & (MB_TCP_SYN | MB_TCP_ACK)) == (MB_TCP_SYN | MB_TCP_ACK);
}

static uint32_t end_of(const struct mb_decoded *segment) {
    return segment->sequence_number + 1 + segment->payload_length;
}

static void note_syn_bytes(struct mb_flow_entry *flow, const struct mb_decoded *segment,
                           unsigned direction) {
    flow->snapshot.side[direction].next = end_of(segment);
    if (segment->payload_length != 0)
        mb_tcp_mark(flow, direction, MB_TCP_SYN_BYTES);
}

static void open_side(struct mb_stack *stack, struct mb_flow_entry *flow,
                      const struct mb_decoded *segment, unsigned direction) {
    struct mb_tcp_side *tcp = &flow->tcp[direction];
    tcp->marks |= MB_TCP_SEEN | MB_TCP_SYN_SEEN;
    tcp->initial = segment->sequence_number + 1;
    tcp->options = segment->tcp_options;
    note_syn_bytes(flow, segment, direction);
    mb_tcp_begin_measuring(stack, tcp, end_of(segment));
    /* RFC 7413 section 4.2.2: data in a SYN belongs to Fast Open. */
    if (segment->payload_length != 0 && !is_syn_ack(segment) &&
        !(segment->tcp_options & MB_TCP_HAS_FAST_OPEN))
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_DATA_IN_SYN);
    if (!is_syn_ack(segment) && mb_tcp_is_marked(flow, 1 - direction, MB_TCP_SYN_SEEN))
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_SPLIT_HANDSHAKE);
}

/* RFC 9293 section 3.10.7.3, first: who gets an answer to another SYN than its own resets. */
static bool answers_another_syn(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                                unsigned direction) {
    const struct mb_tcp_side *other = &flow->tcp[1 - direction];
    if (!is_syn_ack(segment) || !(other->marks & MB_TCP_SYN_SEEN))
        return false;
    return mb_sequence_before(segment->acknowledgment_number, other->initial) ||
           mb_sequence_before(flow->snapshot.side[1 - direction].next,
                              segment->acknowledgment_number);
}

static void refuse_syn(struct mb_stack *stack, struct mb_flow_entry *flow,
                       const struct mb_decoded *segment, unsigned direction) {
    stack->segment_refused = true;
    if (flow->snapshot.side[direction].state >= MB_TCP_ESTABLISHED || mb_tcp_is_established(flow))
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_SYN_IN_ESTABLISHED);
    if (is_syn_ack(segment))
        return;
    flow->pending_syn = (struct mb_tcp_pending_syn){
        .sequence_number = segment->sequence_number,
        .end = end_of(segment),
        .window = segment->window,
        .window_scale = segment->window_scale,
        .options = segment->tcp_options,
        .from = (uint8_t)(1 + direction),
    };
}

/* Several SYN/ACKs that answer the same SYN: the last one counts until somebody completes the
 * handshake. */
static void move_syn_ack(struct mb_stack *stack, struct mb_flow_entry *flow,
                         const struct mb_decoded *segment, unsigned direction) {
    struct mb_tcp_side *tcp = &flow->tcp[direction];
    bool has_sent_bytes = flow->snapshot.side[direction].next != tcp->initial;
    if (mb_tcp_is_established(flow) || has_sent_bytes || !is_syn_ack(segment))
        return refuse_syn(stack, flow, segment, direction);
    mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_SYN_ACK_DIFFERENT);
    mb_tcp_mark(flow, direction, MB_TCP_SYN_MOVED);
    mb_tcp_unmark(flow, direction, MB_TCP_TIMED);
    flow->stream[direction].beginning = MB_STREAM_FROM_FIRST;
    open_side(stack, flow, segment, direction);
}

static void repeat_syn(struct mb_stack *stack, struct mb_flow_entry *flow,
                       const struct mb_decoded *segment, unsigned direction) {
    struct mb_side *side = &flow->snapshot.side[direction];
    /* Captured behind the side's first data: not a repetition. */
    if (!mb_tcp_is_marked(flow, direction, MB_TCP_SYN_SEEN)) {
        side->next = mb_sequence_later(side->next, end_of(segment));
        mb_tcp_mark(flow, direction, MB_TCP_SYN_SEEN);
        flow->tcp[direction].options = segment->tcp_options;
        return;
    }
    /* Who has acknowledged a SYN takes no bytes of another copy. */
    bool may_be_taken = !mb_tcp_is_marked(flow, 1 - direction, MB_TCP_ACK_SEEN);
    if (may_be_taken && mb_sequence_before(side->next, end_of(segment)))
        note_syn_bytes(flow, segment, direction);
    mb_tcp_unmark(flow, direction, MB_TCP_TIMED);
    if (side->retransmissions != UINT16_MAX)
        side->retransmissions++;
    if (mb_tcp_is_established(flow))
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_SYN_IN_ESTABLISHED);
}

void mb_tcp_follow_syn(struct mb_stack *stack, struct mb_flow_entry *flow,
                       const struct mb_decoded *segment, unsigned direction) {
    if (answers_another_syn(flow, segment, direction)) {
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_UNSENT_ACKNOWLEDGMENT);
        stack->segment_refused = true;
        return;
    }
    if (!mb_tcp_is_marked(flow, direction, MB_TCP_SEEN))
        return open_side(stack, flow, segment, direction);
    if (segment->sequence_number + 1 == flow->tcp[direction].initial)
        return repeat_syn(stack, flow, segment, direction);
    move_syn_ack(stack, flow, segment, direction);
}

void mb_tcp_settle_handshake(struct mb_flow_entry *flow, const struct mb_decoded *segment,
                             unsigned direction) {
    unsigned other = 1 - direction;
    struct mb_tcp_side *tcp = &flow->tcp[other];
    if (!(tcp->marks & MB_TCP_SYN_MOVED) || !(segment->tcp_flags & MB_TCP_ACK))
        return;
    tcp->marks &= (uint16_t)~MB_TCP_SYN_MOVED;
    if (flow->snapshot.side[other].next != tcp->initial)
        return;
    tcp->initial = segment->acknowledgment_number;
    flow->snapshot.side[other].next = segment->acknowledgment_number;
    flow->stream[other].beginning = MB_STREAM_FROM_FIRST;
}

/* --- bytes in a SYN --- */

enum mb_syn_bytes mb_tcp_syn_bytes(const struct mb_flow_entry *flow,
                                   const struct mb_decoded *segment, unsigned direction) {
    unsigned sender = 1 - direction;
    uint32_t acknowledged = segment->acknowledgment_number;
    if (!(segment->tcp_flags & MB_TCP_ACK) ||
        !mb_sequence_at_or_before(acknowledged, flow->snapshot.side[sender].next))
        return MB_SYN_BYTES_WAIT;
    int32_t past = mb_sequence_distance(flow->tcp[sender].initial, acknowledged);
    if (past == 0)
        return MB_SYN_BYTES_LEFT;
    return past > 0 ? MB_SYN_BYTES_TAKEN : MB_SYN_BYTES_WAIT;
}

void mb_tcp_settle_syn_bytes(struct mb_flow_entry *flow, const struct mb_decoded *segment,
                             unsigned direction) {
    unsigned sender = 1 - direction;
    if (!mb_tcp_is_marked(flow, sender, MB_TCP_SYN_BYTES))
        return;
    enum mb_syn_bytes bytes = mb_tcp_syn_bytes(flow, segment, direction);
    if (bytes == MB_SYN_BYTES_WAIT)
        return;
    mb_tcp_unmark(flow, sender, MB_TCP_SYN_BYTES);
    if (bytes == MB_SYN_BYTES_TAKEN)
        return;
    flow->snapshot.side[sender].next = flow->tcp[sender].initial;
    mb_tcp_unmark(flow, sender, MB_TCP_TIMED);
}

/* --- a new connection on the same five-tuple --- */

bool mb_tcp_answers_pending_syn(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                                unsigned direction) {
    const struct mb_tcp_pending_syn *syn = &flow->pending_syn;
    return syn->from == 1 + (1 - direction) && is_syn_ack(segment) &&
           mb_sequence_before(syn->sequence_number, segment->acknowledgment_number) &&
           mb_sequence_at_or_before(segment->acknowledgment_number, syn->end);
}

/* After its end by RST a connection goes on where one side sends what it had not sent before. */
static bool goes_on_after_end(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                              unsigned direction) {
    if (!mb_flow_is_reset(flow) || segment->tcp_flags & MB_TCP_RST || segment->payload_length == 0)
        return false;
    uint32_t next = flow->snapshot.side[direction].next;
    return !mb_tcp_is_marked(flow, direction, MB_TCP_SEEN) ||
           mb_sequence_at_or_before(next, segment->sequence_number);
}

static bool syn_begins_anew(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                            unsigned direction) {
    const struct mb_tcp_side *tcp = &flow->tcp[direction];
    const struct mb_tcp_side *other = &flow->tcp[1 - direction];
    bool is_repeated = tcp->marks & MB_TCP_SEEN && segment->sequence_number + 1 == tcp->initial;
    /* Captured behind what it opened. */
    if (is_repeated && !(tcp->marks & MB_TCP_SYN_SEEN))
        return false;
    if (is_syn_ack(segment))
        return (flow->marks & MB_FLOW_ENDED && !is_repeated) ||
               mb_tcp_answers_pending_syn(flow, segment, direction);
    if (flow->marks & MB_FLOW_ENDED || tcp->marks & other->marks & MB_TCP_FIN_SEEN)
        return true;
    /* The other side has opened, or answers a SYN that the capture missed: this may be it. */
    if (!(tcp->marks & MB_TCP_SEEN))
        return other->marks & MB_TCP_SEEN && !(other->marks & MB_TCP_SYN_SEEN);
    /* Nobody answers where one side alone is seen, and nobody notices where no one follows. */
    bool can_be_answered = mb_tcp_is_established(flow) && other->marks & MB_TCP_SEEN &&
                           flow->modules & MB_MODULE_TCP_MONITOR;
    return !is_repeated && !can_be_answered;
}

bool mb_tcp_begins_anew(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                        unsigned direction) {
    if (segment->tcp_flags & MB_TCP_SYN)
        return syn_begins_anew(flow, segment, direction);
    return flow->marks & MB_FLOW_ENDED && goes_on_after_end(flow, segment, direction);
}

void mb_tcp_take_pending_syn(struct mb_stack *stack, struct mb_flow_entry *flow) {
    const struct mb_tcp_pending_syn syn = flow->pending_syn;
    struct mb_side *side = &flow->snapshot.side[0];
    flow->pending_syn.from = 0;
    if (syn.from == 0)
        return;
    mb_tcp_mark(flow, 0, MB_TCP_SEEN | MB_TCP_SYN_SEEN);
    flow->tcp[0].initial = syn.sequence_number + 1;
    flow->tcp[0].options = syn.options;
    side->next = syn.end;
    if (syn.end != flow->tcp[0].initial)
        mb_tcp_mark(flow, 0, MB_TCP_SYN_BYTES);
    side->window = syn.window;
    side->window_scale = syn.window_scale;
    mb_tcp_input(stack, flow, 0, SENDS_SYN);
    mb_tcp_input(stack, flow, 1, RECEIVES_SYN);
}
