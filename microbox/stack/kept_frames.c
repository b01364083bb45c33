#include "microbox/stack/kept_frames.h"

#include "microbox/stack/core.h"

/* Whole datagrams have memory of their own, with pins. */
static void add(const struct mb_stack *stack, uint64_t at, uint64_t length,
                struct mb_ranges *kept) {
    if (!mb_assembled_holds(&stack->assembled, at))
        mb_ranges_add(kept, at, length);
}

/* A node, and the pieces that follow it without a hole. */
static void add_node(const struct mb_stack *stack, uint32_t node, struct mb_ranges *kept) {
    const struct mb_held_record *records = stack->held.records;
    const uint32_t last = records[node].last;
    for (uint32_t piece = node;; piece = records[piece].behind) {
        const struct mb_segment *segment = &records[piece].segment;
        add(stack, segment->frame, segment->frame_length, kept);
        if (piece == last)
            return;
    }
}

static void add_segments(const struct mb_stack *stack, struct mb_ranges *kept) {
    const struct mb_held_record *records = stack->held.records;
    for (uint32_t head = stack->held.longest; head != 0; head = records[head].shorter)
        for (uint32_t node = records[head].next[0]; node != 0; node = records[node].next[0])
            add_node(stack, node, kept);
}

static void add_fragments(const struct mb_stack *stack, struct mb_ranges *kept) {
    const struct mb_fragment_table *table = &stack->defrag.table;
    for (uint32_t index = table->oldest; index != 0; index = table->datagrams[index].newer) {
        const struct mb_datagram *datagram = &table->datagrams[index];
        if (datagram->state != MB_DATAGRAM_COLLECTING)
            continue;
        if (datagram->has_header)
            add(stack, datagram->header, datagram->payload_offset, kept);
        for (uint32_t i = 0; i < datagram->list.count; i++)
            add(stack, datagram->list.pieces[i].at, datagram->list.pieces[i].captured, kept);
    }
}

void mb_stack_kept_frames(const struct mb_stack *stack, struct mb_ranges *kept) {
    add_segments(stack, kept);
    add_fragments(stack, kept);
}

void mb_stack_forget_copies(struct mb_stack *stack, uint64_t size, uint64_t first,
                            uint64_t length) {
    struct mb_delivered_pool *pool = &stack->delivered;
    for (uint32_t index = 1; pool->records != NULL && index < pool->unused; index++) {
        struct mb_segment *segment = &pool->records[index].segment;
        if ((segment->frame % size + size - first % size) % size >= length)
            segment->frame = MB_FRAME_GONE;
    }
}

bool mb_stack_give_up_waiting(struct mb_stack *stack) {
    if (!mb_expiry_settle(stack))
        return false;
    if (!stack->gives_up_waiting) {
        stack->gives_up_waiting = true;
        if (!mb_expire(stack))
            return false;
    }
    stack->gives_up_waiting = false;
    return true;
}
