/*
 * The states of both sides: what each segment means to who sent it and to who gets it, by one table
 * that is run once per side.
 *
 * A FIN counts as received when it is acknowledged, since two may cross, and one behind a hole may
 * be nobody's.
 */
#include "microbox/stack/modules/tcp_tracker.h"

/* Next state + 1; 0: the state stays. */
static const uint8_t transitions[MB_TCP_STATES][MB_TCP_INPUTS] = {
#define TRANSITION(state, input, next) [MB_TCP_##state][input] = MB_TCP_##next + 1,
#include "microbox/stack/modules/tcp_states.def"
#undef TRANSITION
};

void mb_tcp_input(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                  enum mb_tcp_input input) {
    struct mb_side *side = &flow->snapshot.side[direction];
    uint8_t before = side->state;
    uint8_t next = transitions[before][input];
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

static bool is_acknowledged(const struct mb_flow_entry *flow, unsigned direction,
                            uint32_t sequence) {
    return mb_tcp_is_marked(flow, 1 - direction, MB_TCP_ACK_SEEN) &&
           mb_sequence_at_or_before(sequence, flow->snapshot.side[1 - direction].acknowledged);
}

static void send_fin(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction) {
    mb_tcp_unmark(flow, direction, MB_TCP_FIN_AHEAD);
    mb_tcp_mark(flow, direction, MB_TCP_FIN_SEEN);
    mb_tcp_input(stack, flow, direction, SENDS_FIN);
}

/* What the sender's acknowledgement means to the other side. */
static void deliver_acknowledgment(struct mb_stack *stack, struct mb_flow_entry *flow,
                                   unsigned receiver) {
    const struct mb_tcp_side *tcp = &flow->tcp[receiver];
    if (tcp->marks & MB_TCP_SYN_SEEN && is_acknowledged(flow, receiver, tcp->initial))
        mb_tcp_input(stack, flow, receiver, RECEIVES_ACK_OF_SYN);
    if (!(tcp->marks & (MB_TCP_FIN_SEEN | MB_TCP_FIN_AHEAD)) ||
        tcp->marks & MB_TCP_FIN_ACKNOWLEDGED || !is_acknowledged(flow, receiver, tcp->fin + 1))
        return;
    if (tcp->marks & MB_TCP_FIN_AHEAD)
        send_fin(stack, flow, receiver);
    mb_tcp_mark(flow, receiver, MB_TCP_FIN_ACKNOWLEDGED);
    mb_tcp_input(stack, flow, 1 - receiver, RECEIVES_FIN);
    mb_tcp_input(stack, flow, receiver, RECEIVES_ACK_OF_FIN);
}

static void deliver_syn(struct mb_stack *stack, struct mb_flow_entry *flow,
                        const struct mb_decoded *segment, unsigned direction) {
    bool has_ack = segment->tcp_flags & MB_TCP_ACK;
    mb_tcp_input(stack, flow, direction, has_ack ? SENDS_SYN_ACK : SENDS_SYN);
    mb_tcp_input(stack, flow, 1 - direction, has_ack ? RECEIVES_SYN_ACK : RECEIVES_SYN);
}

static void publish_established(struct mb_stack *stack, struct mb_flow_entry *flow,
                                unsigned direction) {
    if (mb_tcp_is_established(flow) || flow->snapshot.side[0].state < MB_TCP_ESTABLISHED ||
        flow->snapshot.side[1].state < MB_TCP_ESTABLISHED)
        return;
    flow->marks |= MB_FLOW_ESTABLISHED;
    if (!mb_flow_is_reset(flow))
        mb_flow_open(&stack->table, flow);
    /* A connection that was open before the capture began has no handshake to complete. */
    if (mb_tcp_scaling_is_known(flow))
        mb_publish_flow(stack, flow, MB_TYPE_TCP_ESTABLISHED, MB_REASON_NONE, direction);
}

void mb_tcp_follow_states(struct mb_stack *stack, struct mb_flow_entry *flow,
                          const struct mb_decoded *segment, unsigned direction) {
    unsigned receiver = 1 - direction;
    if (segment->tcp_flags & MB_TCP_SYN) {
        deliver_syn(stack, flow, segment, direction);
        return;
    }
    if (!mb_tcp_is_established(flow) && flow->snapshot.side[direction].state < MB_TCP_SYN_RECEIVED)
        mb_tcp_input(stack, flow, direction, TAKES_PART);
    deliver_acknowledgment(stack, flow, receiver);
    if (!mb_tcp_is_established(flow) && flow->snapshot.side[receiver].state < MB_TCP_SYN_SENT)
        mb_tcp_input(stack, flow, receiver, TAKES_PART);
    publish_established(stack, flow, direction);
    if (mb_tcp_is_marked(flow, direction, MB_TCP_FIN_DUE)) {
        mb_tcp_unmark(flow, direction, MB_TCP_FIN_DUE);
        send_fin(stack, flow, direction);
    }
}

void mb_tcp_withdraw_fin(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction) {
    struct mb_side *side = &flow->snapshot.side[direction];
    if (side->next == flow->tcp[direction].fin + 1)
        side->next--;
    mb_tcp_unmark(flow, direction, MB_TCP_FIN_SEEN | MB_TCP_FIN_AHEAD);
    mb_tcp_input(stack, flow, direction, WITHDRAWS_FIN);
    if (flow->timeout_class == MB_TIMEOUT_CLOSED)
        mb_flow_open(&stack->table, flow);
}

void mb_tcp_decide_end(struct mb_stack *stack, struct mb_flow_entry *flow) {
    uint16_t both = flow->tcp[0].marks & flow->tcp[1].marks;
    if (both & MB_TCP_FIN_ACKNOWLEDGED)
        flow->ending = MB_REASON_END_FIN;
    else if (both & MB_TCP_FIN_SEEN && flow->timeout_class != MB_TIMEOUT_CLOSED)
        mb_flow_requeue(&stack->table, flow, MB_TIMEOUT_CLOSED);
}
