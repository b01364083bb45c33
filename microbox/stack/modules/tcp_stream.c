/*
 * tcp.stream: the bytes of one or both sides, in order.
 *
 * Invariant between packets: what a side holds lies past its `next`, so the first held segment has
 * a hole before it. A hole is given up, as a tcp.gap, when the other side has acknowledged past it
 * in several packets while it stayed open (the capture lost it; several, since taps of the two
 * directions may lag behind each other), when a limit says so, or when the flow ends.
 */
#include "microbox/stack/core.h"
#include "microbox/stack/modules/modules.h"
#include "microbox/stack/sequence_number.h"
#include "microbox/stack/wire/tcp.h"

enum {
    ACKNOWLEDGMENTS_UNTIL_GAP = 3,
    DISTANCE_MAX = 1 << 30 /* a segment further ahead than this belongs to no stream */
};

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

/* `segment` begins at the side's `next`. */
static void give_out(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                     const struct mb_segment *segment) {
    struct mb_stream_side *side = &flow->stream[direction];
    if (segment->captured != 0) {
        struct mb_entry *entry =
            mb_publish_flow(stack, flow, MB_TYPE_TCP_DATA, MB_REASON_NONE, direction);
        if (entry != NULL) {
            entry->frame = segment->frame;
            entry->frame_length = segment->frame_length;
            entry->data_offset = segment->data_offset;
            entry->data_length = segment->captured;
            entry->payload.tcp_data.offset = side->offset;
        }
        stack->counters.stream_bytes += segment->captured;
        side->offset += segment->captured;
        side->next += segment->captured;
    }
    if (segment->captured < segment->length)
        publish_gap(stack, flow, direction, segment->length - segment->captured,
                    MB_REASON_GAP_PAYLOAD_CUT);
}

/* Gives out held segments up to the next hole. */
static void give_out_held(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction) {
    struct mb_stream_side *side = &flow->stream[direction];
    while (side->held != 0 &&
           mb_sequence_at_or_before(mb_held_first(&stack->held, side)->sequence, side->next)) {
        struct mb_segment segment = mb_held_take(&stack->held, side);
        give_out(stack, flow, direction, &segment);
    }
    side->acknowledged = 0;
}

/* Gives up the hole before the first held segment. There must be one. */
static void give_up_hole(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                         uint8_t reason) {
    struct mb_stream_side *side = &flow->stream[direction];
    uint32_t length = mb_held_first(&stack->held, side)->sequence - side->next;
    publish_gap(stack, flow, direction, length, reason);
    give_out_held(stack, flow, direction);
}

/* Cuts off what was given out before. */
static void trim_old(const struct mb_stream_side *side, struct mb_segment *segment) {
    int32_t old = mb_sequence_distance(segment->sequence, side->next);
    if (old > 0)
        mb_segment_trim(segment, (uint32_t)old < segment->length ? (uint32_t)old : segment->length);
}

/* Gives out what fits at `next`, and held segments where it closes holes. Leaves in `segment` what
 * lies past a hole. */
static void take_in_order(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                          struct mb_segment *segment) {
    struct mb_stream_side *side = &flow->stream[direction];
    trim_old(side, segment);
    while (segment->length != 0 && segment->sequence == side->next) {
        struct mb_segment piece = *segment;
        if (side->held != 0) {
            uint32_t hole = mb_held_first(&stack->held, side)->sequence - side->next;
            if (hole < piece.length) {
                piece.length = hole;
                piece.captured = piece.captured < hole ? piece.captured : hole;
            }
        }
        give_out(stack, flow, direction, &piece);
        if (side->held != 0)
            give_out_held(stack, flow, direction);
        trim_old(side, segment);
    }
}

static void hold(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction,
                 struct mb_segment *segment) {
    struct mb_stream_side *side = &flow->stream[direction];
    const struct mb_stack_config *config = &stack->config;
    while (segment->length != 0) {
        uint32_t held = (uint32_t)flow->stream[0].held + flow->stream[1].held;
        uint64_t bytes = (uint64_t)flow->stream[0].held_bytes + flow->stream[1].held_bytes;
        if (mb_held_insert(&stack->held, side, segment, config->held_segments_per_flow - held,
                           config->held_bytes_per_flow - bytes))
            return;
        mb_count_reason(stack, MB_REASON_LIMIT_HELD_SEGMENTS);
        if (side->held != 0)
            give_up_hole(stack, flow, direction, MB_REASON_GAP_LIMIT);
        else
            publish_gap(stack, flow, direction, segment->sequence - side->next,
                        MB_REASON_GAP_LIMIT);
        take_in_order(stack, flow, direction, segment);
    }
}

static void take_payload(struct mb_stack *stack, struct mb_flow_entry *flow,
                         const struct mb_decoded *packet, unsigned direction) {
    struct mb_stream_side *side = &flow->stream[direction];
    uint32_t sequence = packet->sequence_number + ((packet->tcp_flags & MB_TCP_SYN) != 0);
    if (!side->ready) {
        side->ready = 1;
        side->next = sequence;
        side->offset = sequence - flow->tcp[direction].initial;
    }
    if (packet->payload_length == 0)
        return;
    int32_t distance = mb_sequence_distance(side->next, sequence);
    if (distance > DISTANCE_MAX || distance < -DISTANCE_MAX)
        return;
    struct mb_segment segment = {
        .frame = packet->frame,
        .frame_length = packet->length,
        .data_offset = packet->payload_offset,
        .sequence = sequence,
        .length = packet->payload_length,
        .captured = packet->payload_captured,
    };
    take_in_order(stack, flow, direction, &segment);
    if (segment.length != 0)
        hold(stack, flow, direction, &segment);
}

/* The other side has sent an acknowledgement: does it cover a hole of this one? */
static void look_at_acknowledgment(struct mb_stack *stack, struct mb_flow_entry *flow,
                                   unsigned direction) {
    struct mb_stream_side *side = &flow->stream[direction];
    uint32_t acknowledged = flow->snapshot.side[1 - direction].acknowledged;
    if (!mb_sequence_at_or_before(mb_held_first(&stack->held, side)->sequence, acknowledged)) {
        side->acknowledged = 0;
        return;
    }
    if (++side->acknowledged >= ACKNOWLEDGMENTS_UNTIL_GAP)
        give_up_hole(stack, flow, direction, MB_REASON_GAP_ACKNOWLEDGED);
}

static void packet(struct mb_stack *stack, struct mb_flow_entry *flow,
                   const struct mb_decoded *segment, unsigned direction) {
    if (segment->tcp_flags & MB_TCP_RST)
        return;
    if (flow->stream_sides >> direction & 1 && !stack->segment_refused)
        take_payload(stack, flow, segment, direction);
    if (flow->stream[1 - direction].held != 0 && segment->tcp_flags & MB_TCP_ACK &&
        flow->tcp[direction].marks & MB_TCP_ACK_SEEN)
        look_at_acknowledgment(stack, flow, 1 - direction);
}

static void end_side(struct mb_stack *stack, struct mb_flow_entry *flow, unsigned direction) {
    struct mb_stream_side *side = &flow->stream[direction];
    const struct mb_tcp_side *tcp = &flow->tcp[direction];
    while (side->held != 0)
        give_up_hole(stack, flow, direction, MB_REASON_GAP_END);
    if (!side->ready || !(tcp->marks & MB_TCP_FIN_SEEN))
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
    struct mb_stream_side *side = &flow->stream[direction];
    while (side->held != 0)
        mb_held_take(&stack->held, side);
}

const struct mb_module mb_module_tcp_stream = {
    .name = "tcp.stream",
    .bit = MB_MODULE_TCP_STREAM,
    .needs = MB_MODULE_TCP_MONITOR,
    .transport = MB_TRANSPORT_TCP,
    .packet = packet,
    .end = end,
};
