#include "microbox/stack/modules/tcp_steps.h"

#include "microbox/stack/sequence_number.h"
#include "microbox/stack/wire/tcp.h"

/* --- steps --- */

static struct mb_stream_step *add_step(struct mb_stack *stack, const struct mb_flow_entry *flow,
                                       enum mb_stream_step_kind kind) {
    struct mb_stream_step *step = mb_stream_steps_add(stack->steps);
    *step = (struct mb_stream_step){
        .flow = flow->number,
        .flow_slot = mb_flow_slot(stack, flow),
        .kind = (uint8_t)kind,
        .packet = stack->cause.packet,
        .is_apart = stack->cause.flags & MB_APART,
        .is_at_end = stack->is_finishing,
    };
    return step;
}

/* What is derived from the last entry is settled first: it counts as one that shows the bytes. */
void mb_tcp_step_bytes(struct mb_stack *stack, const struct mb_flow_entry *flow, unsigned direction,
                       const struct mb_segment *segment, uint64_t first) {
    mb_settle(stack);
    stack->batch_bytes += segment->frame_length + MB_VERSION_BESIDE_FRAME;
    struct mb_stream_step *step = add_step(stack, flow, MB_STEP_BYTES);
    step->frame = segment->frame;
    step->frame_length = segment->frame_length;
    step->position = segment->frame + segment->data_offset;
    step->first = first;
    step->end = stack->log->next;
    step->sequence = segment->sequence;
    step->length = segment->length;
    step->captured = segment->captured;
    step->direction = (uint8_t)direction;
    step->is_passing = mb_assembled_holds(&stack->assembled, segment->frame);
    step->is_guarded = true;
}

void mb_tcp_step_left(struct mb_stack *stack, const struct mb_flow_entry *flow,
                      unsigned direction) {
    if (!mb_tcp_is_guarded(stack, flow, direction))
        return;
    add_step(stack, flow, MB_STEP_LEFT)->direction = (uint8_t)direction;
}

void mb_tcp_step_end(struct mb_stack *stack, const struct mb_flow_entry *flow) {
    add_step(stack, flow, MB_STEP_END)->is_guarded =
        mb_tcp_is_guarded(stack, flow, 0) || mb_tcp_is_guarded(stack, flow, 1);
}

/* --- segments --- */

static bool is_held(struct mb_stack *stack, const struct mb_stream_side *side, uint32_t sequence) {
    if (side->held == 0)
        return false;
    const uint32_t node = mb_held_around(&stack->held, side, sequence);
    return node != 0 &&
           mb_sequence_at_or_before(stack->held.records[node].segment.sequence, sequence);
}

/* Where the stream has not begun, a lone byte that asks for an answer (RFC 9293 section 3.8.4). */
static bool is_probe(const struct mb_flow_entry *flow, const struct mb_segment_note *segment,
                     unsigned direction) {
    return flow->stream[direction].beginning == MB_STREAM_FROM_MIDDLE && segment->length == 1 &&
           segment->sequence + 1 == flow->snapshot.side[direction].next;
}

/* `segment` bears bytes. */
static enum mb_segment_kind kind_of(struct mb_stack *stack, const struct mb_flow_entry *flow,
                                    const struct mb_segment_note *segment, unsigned direction) {
    const struct mb_stream_side *side = &flow->stream[direction];
    const uint32_t end = segment->sequence + segment->length;
    if (side->beginning == MB_STREAM_BEGUN && mb_sequence_at_or_before(end, side->next))
        return MB_SEGMENT_SEEN;
    return is_held(stack, side, end - 1) ? MB_SEGMENT_WAITS : MB_SEGMENT_UNSEEN;
}

void mb_tcp_note_segment(struct mb_stack *stack, const struct mb_flow_entry *flow,
                         const struct mb_decoded *packet, unsigned direction) {
    const bool bears_bytes = packet->payload_length != 0 && !(packet->tcp_flags & MB_TCP_RST);
    const bool is_syn = packet->tcp_flags & MB_TCP_SYN;
    struct mb_segment_note *segment = mb_stream_steps_note(stack->steps);
    *segment = (struct mb_segment_note){
        .kind = MB_SEGMENT_FREE,
        .sequence = packet->sequence_number + is_syn,
        .length = bears_bytes ? packet->payload_length : 0,
        .captured = bears_bytes ? packet->payload_captured : 0,
        .position = packet->frame + packet->payload_offset,
    };
    for (unsigned side = 0; side < 2; side++) {
        segment->acknowledged[side] = flow->snapshot.side[side].acknowledged;
        segment->has_acknowledged[side] = flow->tcp[side].marks & MB_TCP_ACK_SEEN;
    }
    if (!mb_tcp_is_guarded(stack, flow, direction))
        return;
    segment->kind = MB_SEGMENT_SEEN;
    if (!bears_bytes)
        return;
    if (!is_probe(flow, segment, direction)) {
        segment->kind = (uint8_t)kind_of(stack, flow, segment, direction);
        return;
    }
    segment->acknowledged[1 - direction] = segment->sequence + 1;
    segment->has_acknowledged[1 - direction] = true;
}
