/*
 * tcp.stream: the bytes of one or both sides, in order.
 *
 * Invariant between packets: what a side holds lies past its `next`, so the first held byte has a
 * hole before it, at which the stream waits. A hole is given up, as a tcp.gap,
 *
 *   - when the other side has acknowledged past it in several packets while it stayed open (the
 *     capture lost it; several, since taps of the two directions may lag behind each other), of
 *     bytes that were sent,
 *   - when the stream has waited too long,
 *   - when a limit is met, or when the flow ends.
 */
#include "microbox/stack/core.h"
#include "microbox/stack/flows/flow_lifecycle.h"
#include "microbox/stack/modules/modules.h"
#include "microbox/stack/modules/tcp_copies.h"
#include "microbox/stack/modules/tcp_steps.h"
#include "microbox/stack/modules/tcp_tracker.h"
#include "microbox/stack/sequence_number.h"
#include "microbox/stack/wire/tcp.h"

enum { DISTANCE_MAX = 1 << 30 /* a segment further ahead than this belongs to no stream */ };

static void publish_gap(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                        uint32_t length, uint8_t reason) {
    struct mb_stream_side *side = &flow->stream[direction];
    struct mb_entry *entry = mb_publish_flow(stack, flow, MB_TYPE_TCP_GAP, reason, direction);
    if (entry != NULL) {
        entry->payload.tcp_gap.offset = side->offset;
        entry->payload.tcp_gap.length = length;
    }
    mb_count_reason(stack, reason);
    stack->counters.gap_bytes += length;
    side->offset += length;
    side->next += length;
}

/* What the capture has of `segment`, which begins at the side's `next`. */
static void publish_bytes(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                          uint16_t type, const struct mb_segment *segment) {
    struct mb_entry *entry = mb_publish_flow(stack, flow, type, MB_REASON_NONE, direction);
    if (entry == NULL)
        return;
    entry->frame = segment->frame;
    entry->frame_length = segment->frame_length;
    entry->data_offset = segment->data_offset;
    entry->data_length = segment->captured;
    entry->payload.tcp_data.offset = flow->stream[direction].offset;
}

static void publish_data(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                         const struct mb_segment *segment) {
    struct mb_stream_side *side = &flow->stream[direction];
    if (segment->captured == 0)
        return;
    publish_bytes(stack, flow, direction, MB_TYPE_TCP_DATA, segment);
    stack->counters.stream_bytes += segment->captured;
    side->offset += segment->captured;
    side->next += segment->captured;
}

/* The urgent byte is among those of `segment`, or lies behind and is of no interest any more. */
static bool has_urgent_byte(struct mb_flow_entry *flow, unsigned direction,
                            const struct mb_segment *segment) {
    if (!mb_tcp_is_marked(flow, direction, MB_TCP_URGENT))
        return false;
    int32_t ahead = mb_sequence_distance(segment->sequence, flow->tcp[direction].urgent);
    if (ahead >= 0 && (uint32_t)ahead >= segment->captured)
        return false;
    mb_tcp_unmark(flow, direction, MB_TCP_URGENT);
    return ahead >= 0;
}

/* Gives out the bytes before the urgent one, and that byte in the way that the policy says. Leaves
 * in `segment` those behind. */
static void give_out_urgent(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                            struct mb_segment *segment) {
    struct mb_segment front =
        mb_segment_split(segment, flow->tcp[direction].urgent - segment->sequence);
    publish_data(stack, flow, direction, &front);
    mb_count_reason(stack, MB_REASON_TCP_URGENT_BYTE);
    struct mb_segment byte = mb_segment_split(segment, 1);
    if (stack->config.urgent != MB_URGENT_DROP)
        publish_bytes(stack, flow, direction, MB_TYPE_TCP_URGENT, &byte);
    if (stack->config.urgent == MB_URGENT_INLINE)
        publish_data(stack, flow, direction, &byte);
    else
        flow->stream[direction].next++;
}

/* `segment` begins at the side's `next`. */
static void give_out_segment(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                             struct mb_segment *segment) {
    if (segment->captured != 0 && mb_tcp_compares_copies(stack, flow, direction) &&
        !mb_delivered_add(&stack->delivered, &flow->stream[direction], segment))
        mb_count_reason(stack, MB_REASON_LIMIT_COMPARED);
    if (has_urgent_byte(flow, direction, segment))
        give_out_urgent(stack, flow, direction, segment);
    publish_data(stack, flow, direction, segment);
    if (segment->captured < segment->length)
        publish_gap(stack, flow, direction, segment->length - segment->captured,
                    MB_REASON_GAP_PAYLOAD_CUT);
}

static void give_out(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                     struct mb_segment *segment) {
    if (!mb_tcp_is_guarded(stack, flow, direction))
        return give_out_segment(stack, flow, direction, segment);
    const struct mb_segment whole = *segment;
    const uint64_t first = stack->log->next;
    give_out_segment(stack, flow, direction, segment);
    mb_tcp_step_bytes(stack, flow, direction, &whole, first);
}

/* Gives out held pieces up to the next hole. */
static void give_out_held(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction) {
    struct mb_stream_side *side = &flow->stream[direction];
    while (side->held != 0 && mb_held_first(&stack->held, side) == side->next) {
        struct mb_segment segment = mb_held_take(&stack->held, side);
        give_out(stack, flow, direction, &segment);
    }
    side->acknowledged = 0;
    mb_held_come_on(&stack->held, side, stack->table.seen);
}

/* --- bytes in a SYN --- */

/* A stream whose first bytes came in the SYN waits at the SYN's own number, as at a hole. */
static void go_past_syn(struct mb_stream_side *side) {
    side->next++;
    side->beginning = MB_STREAM_BEGUN;
}

/* What is held behind them goes too: who sends on before it knows what became of them sends that
 * again. */
static void leave_syn_bytes(struct mb_stack *stack, struct mb_flow_entry *flow,
                            unsigned direction) {
    mb_count_reason(stack, MB_REASON_TCP_SYN_BYTES_LEFT);
    mb_held_release(&stack->held, &flow->stream[direction]);
    mb_tcp_step_left(stack, flow, direction);
    go_past_syn(&flow->stream[direction]);
}

/* The receiver has taken those before `end`, which may be a part of them (RFC 7413 section 4.2.2).
 */
static void give_out_syn_bytes(struct mb_stack *stack, struct mb_flow_entry *flow,
                               unsigned direction, uint32_t end) {
    struct mb_stream_side *side = &flow->stream[direction];
    go_past_syn(side);
    if (mb_held_first(&stack->held, side) == side->next) {
        struct mb_segment segment = mb_held_take(&stack->held, side);
        uint32_t taken = end - segment.sequence;
        if (taken < segment.length)
            segment = mb_segment_split(&segment, taken);
        give_out(stack, flow, direction, &segment);
    }
    give_out_held(stack, flow, direction);
}

/* `segment` may acknowledge the bytes in the SYN of `direction`, against which it is sent. */
static void settle_syn_bytes(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                             const struct mb_decoded *segment) {
    if (flow->stream[direction].beginning != MB_STREAM_IN_SYN)
        return;
    enum mb_syn_bytes bytes = mb_tcp_syn_bytes(flow, segment, 1 - direction);
    if (bytes == MB_SYN_BYTES_TAKEN)
        give_out_syn_bytes(stack, flow, direction, segment->acknowledgment_number);
    else if (bytes == MB_SYN_BYTES_LEFT)
        leave_syn_bytes(stack, flow, direction);
}

/* Nobody has acknowledged them. Where the sender has completed the handshake all the same, its
 * receiver is not seen (a capture of one side): whether that took them, or they were sent again,
 * they are the stream's first bytes. */
static void give_up_waiting(struct mb_stack *stack, struct mb_flow_entry *flow,
                            unsigned direction) {
    if (!mb_tcp_is_established(flow))
        return leave_syn_bytes(stack, flow, direction);
    go_past_syn(&flow->stream[direction]);
    give_out_held(stack, flow, direction);
}

/* --- holes --- */

/* Gives up the hole before the first held byte. There must be one. */
static void give_up_hole(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                         uint8_t reason) {
    struct mb_stream_side *side = &flow->stream[direction];
    if (side->beginning == MB_STREAM_IN_SYN)
        return give_up_waiting(stack, flow, direction);
    uint32_t length = mb_held_first(&stack->held, side) - side->next;
    publish_gap(stack, flow, direction, length, reason);
    give_out_held(stack, flow, direction);
}

/* Cuts off what was given out before. The number of a SYN has no byte. */
static void trim_old(const struct mb_stream_side *side, struct mb_segment *segment) {
    uint32_t first = side->next + (side->beginning == MB_STREAM_IN_SYN);
    int32_t old = mb_sequence_distance(segment->sequence, first);
    if (old > 0)
        mb_segment_trim(segment, (uint32_t)old < segment->length ? (uint32_t)old : segment->length);
}

/* How many more pieces the flow may hold. */
static uint32_t room_for_pieces(const struct mb_stack *stack, const struct mb_flow_entry *flow) {
    uint32_t held = (uint32_t)flow->stream[0].held + flow->stream[1].held;
    uint32_t of_flow = stack->config.held_segments_per_flow;
    uint32_t of_all = stack->held.capacity - stack->held.used;
    uint32_t left = of_flow > held ? of_flow - held : 0;
    return left < of_all ? left : of_all;
}

static bool has_room_for_bytes(const struct mb_stack *stack, const struct mb_flow_entry *flow,
                               const struct mb_segment *piece) {
    uint64_t bytes = (uint64_t)flow->stream[0].held_bytes + flow->stream[1].held_bytes;
    return bytes + piece->length <= stack->config.held_bytes_per_flow &&
           piece->length <= stack->held.bytes_max - stack->held.bytes;
}

static bool hold(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                 const struct mb_segment *piece, struct mb_held_place *place) {
    if (room_for_pieces(stack, flow) == 0 || !has_room_for_bytes(stack, flow, piece) ||
        mb_cap_is_forced(stack, MB_CAP_HELD))
        return false;
    const struct mb_held_wait wait = {
        .since = stack->table.seen,
        .flow = (uint32_t)(flow - stack->table.flows),
        .direction = direction,
    };
    return mb_held_link(&stack->held, &flow->stream[direction], piece, place, &wait);
}

/* Makes room by giving up the hole that the stream waits at, up to the first byte that has come:
 * held, or of the segment in hand. */
static void make_room(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                      const struct mb_segment *segment) {
    struct mb_stream_side *side = &flow->stream[direction];
    if (side->held != 0 &&
        mb_sequence_at_or_before(mb_held_first(&stack->held, side), segment->sequence))
        give_up_hole(stack, flow, direction, MB_REASON_GAP_LIMIT);
    else
        publish_gap(stack, flow, direction, segment->sequence - side->next, MB_REASON_GAP_LIMIT);
}

/* A limit is met: what of the segment is to be held is not, or room is made for it. True: for what
 * of it there is room now. */
static bool meet_cap(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                     const struct mb_segment *segment) {
    mb_count_reason(stack, MB_REASON_LIMIT_HELD_SEGMENTS);
    switch (mb_cap_met(stack, MB_CAP_HELD)) {
    case MB_AT_CAP_DROP_PACKET:
        mb_refuse_packet(stack, MB_REASON_LIMIT_HELD_SEGMENTS);
        return false;
    case MB_AT_CAP_DROP_FLOW:
        mb_flow_refuse(stack, flow, MB_FLOW_DROPPED, MB_REASON_LIMIT_HELD_SEGMENTS);
        return false;
    case MB_AT_CAP_BYPASS:
        mb_flow_refuse(stack, flow, MB_FLOW_BYPASSED, MB_REASON_LIMIT_HELD_SEGMENTS);
        return false;
    case MB_AT_CAP_PASS:
        return false;
    default:
        make_room(stack, flow, direction, segment);
        return true;
    }
}

/* Room was made for a piece that had its place before. False: what was before it is gone. In a
 * flood of segments with holes this saves each of them a second search. */
static bool hold_at_last(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                         const struct mb_segment *piece, struct mb_held_place *place) {
    const struct mb_stream_side *side = &flow->stream[direction];
    if (side->list == 0 || mb_sequence_at_or_before(piece->sequence, side->next))
        return false;
    mb_held_renew_place(&stack->held, side, place);
    return hold(stack, flow, direction, piece, place);
}

/* The packet may be dropped for a piece of it that finds no room, when others were held or have
 * taken the place of what was. What its receiver never gets must leave nothing behind. */
static bool would_be_kept_in_part(struct mb_stack *stack, const struct mb_flow_entry *flow,
                                  unsigned direction, const struct mb_segment *segment) {
    const struct mb_stream_side *side = &flow->stream[direction];
    if (stack->caps[MB_CAP_HELD].policy != MB_AT_CAP_DROP_PACKET || side->held == 0 ||
        mb_sequence_at_or_before(segment->sequence, side->next))
        return false;
    const uint32_t node = mb_held_around(&stack->held, side, segment->sequence);
    const bool is_one_piece =
        node == 0 || mb_sequence_at_or_before(segment->sequence + segment->length,
                                              stack->held.records[node].segment.sequence);
    if (is_one_piece)
        return false;
    return room_for_pieces(stack, flow) <= side->held ||
           !has_room_for_bytes(stack, flow, segment) || mb_cap_is_forced(stack, MB_CAP_HELD);
}

/* Gives out what fits at `next`, and held pieces where it closes holes; holds the rest. */
static void take(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                 struct mb_segment *segment) {
    struct mb_stream_side *side = &flow->stream[direction];
    for (;;) {
        trim_old(side, segment);
        if (segment->length == 0)
            return;
        if (side->list == 0 && segment->sequence == side->next) /* as nearly always */
            return give_out(stack, flow, direction, segment);
        const struct mb_segment unsettled = *segment;
        struct mb_segment piece = *segment;
        struct mb_held_place place;
        enum mb_settled settled = MB_SETTLED_PIECE;
        if (side->list != 0)
            settled = mb_held_settle(&stack->held, side, segment, room_for_pieces(stack, flow),
                                     &piece, &place);
        else
            segment->length = 0;
        if (settled == MB_SETTLED_NONE)
            return;
        if (settled == MB_SETTLED_PIECE && piece.sequence == side->next) {
            give_out(stack, flow, direction, &piece);
            if (side->list != 0)
                give_out_held(stack, flow, direction);
            continue;
        }
        if (settled == MB_SETTLED_PIECE && hold(stack, flow, direction, &piece, &place))
            continue;
        *segment = unsettled;
        if (meet_cap(stack, flow, direction, segment)) {
            if (settled == MB_SETTLED_PIECE && piece.length == unsettled.length &&
                hold_at_last(stack, flow, direction, &piece, &place))
                return;
            continue;
        }
        if (side->list != 0 && side->held == 0) /* all that was held lost to the segment */
            mb_held_come_on(&stack->held, side, stack->table.seen);
        return;
    }
}

static void begin_side(struct mb_flow_entry *flow, unsigned direction, uint32_t sequence) {
    struct mb_stream_side *side = &flow->stream[direction];
    const uint32_t first = flow->tcp[direction].initial;
    side->next = side->beginning == MB_STREAM_FROM_FIRST ? first : sequence;
    side->offset = side->next - first;
    side->beginning = MB_STREAM_BEGUN;
}

static inline struct mb_segment payload_of(const struct mb_decoded *packet, uint32_t sequence) {
    return (struct mb_segment){
        .frame = packet->frame,
        .frame_length = packet->length,
        .data_offset = packet->payload_offset,
        .sequence = sequence,
        .length = packet->payload_length,
        .captured = packet->payload_captured,
        .came = {sequence, sequence + packet->payload_length},
    };
}

/* Half of the room is for connections that are open: anybody can send SYNs that bear bytes. */
static bool has_room_for_syn(const struct mb_held_pool *pool) {
    return pool->used < pool->capacity / 2 && pool->bytes < pool->bytes_max / 2;
}

/* Receivers take the bytes of a side's first SYN or of none: a SYN that comes again lies before the
 * window (RFC 9293 section 3.10.7.4, first). */
static void take_syn_bytes(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                           const struct mb_decoded *syn) {
    struct mb_stream_side *side = &flow->stream[direction];
    if (syn->payload_length == 0 || side->beginning != MB_STREAM_FROM_FIRST)
        return;
    struct mb_segment segment = payload_of(syn, syn->sequence_number + 1);
    struct mb_held_place place;
    begin_side(flow, direction, segment.sequence);
    if (!has_room_for_syn(&stack->held) || !hold(stack, flow, direction, &segment, &place)) {
        mb_count_reason(stack, MB_REASON_LIMIT_HELD_SEGMENTS);
        return;
    }
    side->beginning = MB_STREAM_IN_SYN;
    side->next--;
}

static void take_payload(struct mb_stack *stack, struct mb_flow_entry *flow,
                         const struct mb_decoded *packet, unsigned direction) {
    struct mb_stream_side *side = &flow->stream[direction];
    bool has_bytes = packet->payload_length != 0;
    if (packet->tcp_flags & MB_TCP_SYN)
        return take_syn_bytes(stack, flow, direction, packet);
    if (side->beginning == MB_STREAM_FROM_FIRST ||
        (side->beginning == MB_STREAM_FROM_MIDDLE && has_bytes))
        begin_side(flow, direction, packet->sequence_number);
    if (!has_bytes)
        return;
    int32_t distance = mb_sequence_distance(side->next, packet->sequence_number);
    if (distance > DISTANCE_MAX || distance < -DISTANCE_MAX)
        return;
    struct mb_segment segment = payload_of(packet, packet->sequence_number);
    if (mb_tcp_compares_copies(stack, flow, direction))
        mb_tcp_compare_copies(stack, flow, direction, &segment);
    if (would_be_kept_in_part(stack, flow, direction, &segment))
        (void)meet_cap(stack, flow, direction, &segment);
    else
        take(stack, flow, direction, &segment);
}

/* A segment that acknowledges is sent against `direction`: does it cover the hole at which that
 * waits? Numbers past what was sent acknowledge nothing. */
static void look_at_acknowledgment(struct mb_stack *stack, struct mb_flow_entry *flow,
                                   unsigned direction, uint32_t acknowledged) {
    struct mb_stream_side *side = &flow->stream[direction];
    if (!mb_sequence_at_or_before(acknowledged, flow->snapshot.side[direction].next))
        return;
    if (!mb_sequence_at_or_before(mb_held_first(&stack->held, side), acknowledged))
        return;
    if (++side->acknowledged >= stack->config.gap_acknowledgments)
        give_up_hole(stack, flow, direction, MB_REASON_GAP_ACKNOWLEDGED);
}

static void packet(struct mb_stack *stack, struct mb_flow_entry *flow,
                   const struct mb_decoded *segment, unsigned direction) {
    if (segment->tcp_flags & MB_TCP_RST || stack->segment_refused)
        return;
    settle_syn_bytes(stack, flow, 1 - direction, segment);
    if (flow->stream_sides >> direction & 1)
        take_payload(stack, flow, segment, direction);
    if (flow->stream[1 - direction].delivered != 0)
        mb_delivered_forget(&stack->delivered, &flow->stream[1 - direction],
                            flow->snapshot.side[direction].acknowledged);
    if (flow->stream[1 - direction].held != 0 && segment->tcp_flags & MB_TCP_ACK)
        look_at_acknowledgment(stack, flow, 1 - direction, segment->acknowledgment_number);
}

static void end_side(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction) {
    struct mb_stream_side *side = &flow->stream[direction];
    const struct mb_tcp_side *tcp = &flow->tcp[direction];
    while (side->held != 0)
        give_up_hole(stack, flow, direction, MB_REASON_GAP_END);
    if (side->beginning != MB_STREAM_BEGUN || !(tcp->marks & (MB_TCP_FIN_SEEN | MB_TCP_FIN_AHEAD)))
        return;
    int32_t missing = mb_sequence_distance(side->next, tcp->fin);
    if (missing > 0)
        publish_gap(stack, flow, direction, (uint32_t)missing, MB_REASON_GAP_END);
}

static void end(struct mb_stack *stack, struct mb_flow_entry *flow, uint8_t reason) {
    (void)reason;
    end_side(stack, flow, 0);
    end_side(stack, flow, 1);
}

void mb_tcp_stream_release(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction) {
    mb_held_release(&stack->held, &flow->stream[direction]);
    mb_delivered_release(&stack->delivered, &flow->stream[direction]);
}

/* What began in a step in time that was not confirmed (packet_clock.h) began before it. */
static uint64_t waits_since(const struct mb_stack *stack, const struct mb_held_wait *wait) {
    return wait->since > stack->table.now ? wait->since - MB_CLOCK_STEP_MAX : wait->since;
}

static bool is_overdue(const struct mb_stack *stack, const struct mb_held_wait *wait) {
    const uint64_t since = waits_since(stack, wait);
    const uint64_t now = stack->table.now;
    return stack->gives_up_waiting || (now > since && now - since >= stack->config.gap_timeout);
}

void mb_tcp_stream_gather_overdue(struct mb_stack *stack) {
    const struct mb_held_record *records = stack->held.records;
    for (uint32_t head = stack->held.longest; head != 0; head = records[head].shorter) {
        const struct mb_held_wait *wait = &records[head].wait;
        if (!is_overdue(stack, wait))
            return;
        mb_endings_add(&stack->expiry.endings,
                       (struct mb_ending){.number = stack->table.flows[wait->flow].number,
                                          .index = wait->flow,
                                          .kind = MB_ENDING_HOLE_OF_ORIGINATOR + wait->direction});
    }
}

void mb_tcp_stream_give_up_overdue(struct mb_stack *stack, struct mb_flow_entry *flow,
                                   unsigned direction) {
    const uint32_t list = flow->stream[direction].list;
    if (list != 0 && is_overdue(stack, &stack->held.records[list].wait))
        give_up_hole(stack, flow, direction, MB_REASON_GAP_TIMEOUT);
}

const struct mb_module mb_module_tcp_stream = {
    .name = "tcp.stream",
    .bit = MB_MODULE_TCP_STREAM,
    .needs = MB_MODULE_TCP_MONITOR,
    .transport = MB_TRANSPORT_TCP,
    .packet = packet,
    .end = end,
};
