/*
 * RST: is it believed, and was it right to believe it?
 *
 * A RST that its receiver would not believe changes nothing. One that it should have believed ends
 * the connection, but not at once: its receiver may never have got it, or somebody else may have
 * sent it. For a while the connection is followed on; it ends when nothing more comes, or when the
 * other side resets too.
 */
#include "microbox/stack/modules/tcp_tracker.h"

/* RFC 9293 section 3.10.7.3: to be believed it has to acknowledge the SYN, and perhaps data that
 * came with it. */
static bool refuses_syn(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                        unsigned direction) {
    return segment->tcp_flags & MB_TCP_ACK &&
           mb_sequence_at_or_before(flow->tcp[1 - direction].initial,
                                    segment->acknowledgment_number) &&
           mb_sequence_at_or_before(segment->acknowledgment_number,
                                    flow->snapshot.side[1 - direction].next);
}

/* RFC 5961 section 3.2: exactly at the next number that the receiver expects. That is between what
 * it has acknowledged and what was sent to it. A side that has sent FIN may reset at the FIN's
 * number, which receivers take since it was closed already. */
static bool is_credible(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                        unsigned direction) {
    const struct mb_tcp_side *tcp = &flow->tcp[direction];
    uint32_t sequence = segment->sequence_number;
    bool is_acknowledged = mb_tcp_is_marked(flow, 1 - direction, MB_TCP_ACK_SEEN);
    uint32_t acknowledged = flow->snapshot.side[1 - direction].acknowledged;
    if (!(tcp->marks & MB_TCP_SEEN))
        return !is_acknowledged || sequence == acknowledged;
    uint32_t next = flow->snapshot.side[direction].next;
    if (sequence == next || (tcp->marks & MB_TCP_FIN_SEEN && sequence == tcp->fin))
        return true;
    return is_acknowledged && mb_sequence_at_or_before(acknowledged, sequence) &&
           mb_sequence_at_or_before(sequence, next);
}

/* Nothing speaks for the connection any more. */
static bool is_certain(const struct mb_flow_entry *flow, unsigned direction) {
    return mb_tcp_is_marked(flow, 1 - direction, MB_TCP_RST_SEEN) ||
           (flow->tcp[0].marks & flow->tcp[1].marks & MB_TCP_FIN_SEEN);
}

void mb_tcp_follow_reset(struct mb_stack *stack, struct mb_flow_entry *flow,
                         const struct mb_decoded *segment, unsigned direction) {
    bool is_refusal = flow->snapshot.side[1 - direction].state == MB_TCP_SYN_SENT;
    bool is_believed =
        is_refusal ? refuses_syn(flow, segment, direction) : is_credible(flow, segment, direction);
    if (!is_believed) {
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_RST_OUT_OF_WINDOW);
        return;
    }
    if (segment->payload_length != 0)
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_RST_WITH_DATA);
    mb_tcp_mark(flow, direction, MB_TCP_RST_SEEN);
    if (is_refusal || is_certain(flow, direction))
        flow->ending = MB_REASON_END_RST;
    else
        mb_flow_requeue(&stack->table, flow, MB_TIMEOUT_RESET);
}

bool mb_tcp_goes_on_after_reset(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                                unsigned direction) {
    if (!mb_tcp_is_marked(flow, direction, MB_TCP_RST_SEEN))
        return false;
    const struct mb_side *side = &flow->snapshot.side[direction];
    uint32_t end = segment->sequence_number + segment->payload_length;
    bool sends_more = mb_sequence_before(side->next, end);
    bool takes_more = segment->tcp_flags & MB_TCP_ACK &&
                      mb_sequence_before(side->acknowledged, segment->acknowledgment_number) &&
                      !mb_tcp_acknowledges_unsent(flow, segment, direction);
    return sends_more || takes_more;
}

void mb_tcp_ignore_reset(struct mb_stack *stack, struct mb_flow_entry *flow,
                         const struct mb_decoded *segment, unsigned direction) {
    mb_tcp_unmark(flow, direction, MB_TCP_RST_SEEN);
    if (mb_tcp_is_established(flow))
        mb_flow_open(&stack->table, flow);
    else
        mb_flow_requeue(&stack->table, flow, MB_TIMEOUT_OPENING);
    mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_RST_IGNORED);
}
