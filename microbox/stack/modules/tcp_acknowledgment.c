/*
 * Acknowledgements and windows: what one side says that it has, and how much more it takes.
 *
 * An acknowledgement of what was not sent is never believed (RFC 9293 section 3.10.7.4, fifth), nor
 * one that is older than a window (RFC 5961 section 5). But the capture may have missed what was
 * sent: the number is kept as a claim, which the sender confirms when it goes on there.
 */
#include "microbox/stack/modules/tcp_tracker.h"

/* As many numbers as can be before another one. */
#define NUMBERS_BEFORE (UINT32_C(1) << 31)

/* The first that was heard of the other side was a keep-alive without a byte: its numbers begin one
 * later. */
static bool picked_up_on_keep_alive(const struct mb_flow_entry *flow, unsigned direction,
                                    uint32_t acknowledged) {
    const struct mb_tcp_side *tcp = &flow->tcp[direction];
    const struct mb_side *side = &flow->snapshot.side[direction];
    return !(tcp->marks & MB_TCP_SYN_SEEN) && side->next == tcp->initial &&
           acknowledged == side->next + 1;
}

static void begin_one_later(struct mb_flow_entry *flow, unsigned direction) {
    flow->tcp[direction].initial++;
    flow->snapshot.side[direction].next++;
    flow->stream[direction].beginning = MB_STREAM_FROM_FIRST;
}

bool mb_tcp_acknowledges_unsent(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                                unsigned direction) {
    if (!(segment->tcp_flags & MB_TCP_ACK) || !mb_tcp_is_marked(flow, 1 - direction, MB_TCP_SEEN))
        return false;
    uint32_t next = flow->snapshot.side[1 - direction].next;
    return mb_sequence_before(next, segment->acknowledgment_number) &&
           !picked_up_on_keep_alive(flow, 1 - direction, segment->acknowledgment_number);
}

/* Where the capture misses what one side sends, the acknowledgements of the other one go on from
 * where they were. */
static bool goes_on_from_claim(const struct mb_flow_entry *flow, unsigned direction,
                               uint32_t acknowledged) {
    int32_t past = mb_sequence_distance(flow->claimed[direction], acknowledged);
    return mb_tcp_is_marked(flow, direction, MB_TCP_CLAIMED) && past > 0 &&
           (uint32_t)past <= mb_tcp_window_max(flow, direction);
}

bool mb_tcp_acknowledges_out_of_window(const struct mb_flow_entry *flow,
                                       const struct mb_decoded *segment, unsigned direction) {
    uint32_t acknowledged = segment->acknowledgment_number;
    uint32_t most = mb_tcp_window_max(flow, direction);
    if (!(segment->tcp_flags & MB_TCP_ACK))
        return false;
    /* Unsigned, as half the number space away is neither before nor behind. */
    uint32_t older = flow->snapshot.side[direction].acknowledged - acknowledged;
    if (mb_tcp_is_marked(flow, direction, MB_TCP_ACK_SEEN) && older > most &&
        older <= NUMBERS_BEFORE)
        return true;
    int32_t unsent = mb_sequence_distance(flow->snapshot.side[1 - direction].next, acknowledged);
    return mb_tcp_is_marked(flow, 1 - direction, MB_TCP_SEEN) && unsent > 0 &&
           (uint32_t)unsent > most && !goes_on_from_claim(flow, direction, acknowledged);
}

void mb_tcp_claim(struct mb_flow_entry *flow, const struct mb_decoded *segment,
                  unsigned direction) {
    if (!mb_tcp_acknowledges_unsent(flow, segment, direction))
        return;
    flow->claimed[direction] = segment->acknowledgment_number;
    mb_tcp_mark(flow, direction, MB_TCP_CLAIMED);
}

static void acknowledge(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                        uint32_t acknowledged) {
    struct mb_side *side = &flow->snapshot.side[direction];
    mb_tcp_unmark(flow, direction, MB_TCP_CLAIMED);
    if (mb_tcp_is_marked(flow, 1 - direction, MB_TCP_SEEN) &&
        picked_up_on_keep_alive(flow, 1 - direction, acknowledged))
        begin_one_later(flow, 1 - direction);
    if (mb_tcp_is_marked(flow, direction, MB_TCP_ACK_SEEN))
        acknowledged = mb_sequence_later(side->acknowledged, acknowledged);
    mb_tcp_mark(flow, direction, MB_TCP_ACK_SEEN);
    side->acknowledged = acknowledged;
    mb_tcp_end_measuring(stack, flow, 1 - direction, acknowledged);
}

/* A SYN's window is never scaled (RFC 7323 section 2.2). */
static void offer_in_syn(struct mb_side *side, const struct mb_decoded *segment) {
    side->window_scale = segment->window_scale;
    side->window = segment->window;
}

/* `edge`: up to where the side offered to take bytes before this segment. */
static void offer(struct mb_stack *stack, struct mb_flow_entry *flow,
                  const struct mb_decoded *segment, unsigned direction, uint32_t edge) {
    struct mb_side *side = &flow->snapshot.side[direction];
    struct mb_tcp_side *tcp = &flow->tcp[direction];
    uint8_t shift = mb_tcp_window_shift(flow, direction);
    bool is_closing = segment->window == 0 && side->window != 0;
    bool is_first = tcp->window_max == 0;
    side->window = (uint32_t)segment->window << shift;
    if (tcp->window_max < segment->window)
        tcp->window_max = segment->window;
    if (is_closing)
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_ZERO_WINDOW);
    /* RFC 9293 section 3.8.6: what was offered is not to be taken back. Scaling rounds it down. */
    int32_t taken_back = mb_sequence_distance(side->acknowledged + side->window, edge);
    if (!is_first && taken_back >= 1 << shift && mb_tcp_scaling_is_known(flow))
        mb_tcp_anomaly(stack, flow, segment, direction, MB_TYPE_TCP_WINDOW_SHRUNK);
}

void mb_tcp_follow_acknowledgment(struct mb_stack *stack, struct mb_flow_entry *flow,
                                  const struct mb_decoded *segment, unsigned direction) {
    struct mb_side *side = &flow->snapshot.side[direction];
    uint32_t edge = side->acknowledged + side->window;
    if (segment->tcp_flags & MB_TCP_SYN)
        offer_in_syn(side, segment);
    if (!(segment->tcp_flags & MB_TCP_ACK) ||
        mb_tcp_acknowledges_out_of_window(flow, segment, direction))
        return;
    if (mb_tcp_acknowledges_unsent(flow, segment, direction)) {
        mb_tcp_claim(flow, segment, direction);
        mb_tcp_forget_what_is_usual(flow, 1 - direction);
        return;
    }
    acknowledge(stack, flow, direction, segment->acknowledgment_number);
    /* An older segment says nothing of the window (RFC 9293 section 3.10.7.4: SND.WL2). */
    if (!(segment->tcp_flags & MB_TCP_SYN) && side->acknowledged == segment->acknowledgment_number)
        offer(stack, flow, segment, direction, edge);
}
