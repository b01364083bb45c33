#include "microbox/stack/modules/tcp_copies.h"

#include "microbox/stack/sequence_number.h"

enum {
    COMPARED_PER_PACKET = 64, /* copies; so that work stays bounded */
    PUBLISHED_PER_PACKET = 4
};

struct comparison {
    struct mb_stack *stack;
    const struct mb_flow_entry *flow;
    unsigned direction;
    const struct mb_segment *segment;
    unsigned compared;
    unsigned published;
};

/* Bytes that both copies have, as positions in the frame pool. */
struct common {
    uint64_t old;
    uint64_t new;
    uint32_t length;
};

static uint32_t smaller(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

static struct common common_of(const struct mb_segment *old, const struct mb_segment *new) {
    int32_t ahead = mb_sequence_distance(old->sequence, new->sequence);
    uint32_t skip_old = ahead > 0 ? (uint32_t)ahead : 0;
    uint32_t skip_new = ahead < 0 ? 0 - (uint32_t)ahead : 0;
    if (skip_old >= old->captured || skip_new >= new->captured)
        return (struct common){0};
    return (struct common){
        .old = old->frame + old->data_offset + skip_old,
        .new = new->frame + new->data_offset + skip_new,
        .length = smaller(old->captured - skip_old, new->captured - skip_new),
    };
}

/* Leaves of `common` what lies between the first and the last byte that differ. */
static void narrow(struct common *common, const uint8_t *pool) {
    while (pool[common->old] == pool[common->new]) {
        common->old++;
        common->new ++;
        common->length--;
    }
    while (pool[common->old + common->length - 1] == pool[common->new + common->length - 1])
        common->length--;
}

static void publish(struct comparison *comparison, const struct common *differing) {
    struct mb_stack *stack = comparison->stack;
    const struct mb_segment *segment = comparison->segment;
    const struct mb_flow_entry *flow = comparison->flow;
    mb_count_reason(stack, MB_REASON_TCP_OVERLAP_INCONSISTENT);
    if (comparison->published++ >= PUBLISHED_PER_PACKET)
        return;
    struct mb_entry *entry =
        mb_publish_flow(stack, flow, MB_TYPE_TCP_OVERLAP_INCONSISTENT,
                        MB_REASON_TCP_OVERLAP_INCONSISTENT, comparison->direction);
    if (entry == NULL)
        return;
    uint64_t into_frame = differing->new - segment->frame;
    entry->data_offset = (uint32_t)into_frame;
    entry->data_length = differing->length;
    struct mb_tcp_inconsistency *payload = &entry->payload.tcp_inconsistency;
    payload->anomaly.sequence_number =
        segment->sequence + (uint32_t)(into_frame - segment->data_offset);
    payload->anomaly.acknowledged = flow->snapshot.side[comparison->direction].acknowledged;
    payload->previous_position = differing->old;
}

/* False: enough was compared for one packet. */
static bool compare(struct comparison *comparison, const struct mb_segment *old) {
    const uint8_t *pool = comparison->stack->pool;
    struct common common = common_of(old, comparison->segment);
    if (common.length == 0)
        return true;
    if (old->frame == MB_FRAME_GONE) {
        mb_count_reason(comparison->stack, MB_REASON_LIMIT_COMPARED);
        return true;
    }
    if (comparison->compared++ == COMPARED_PER_PACKET) {
        mb_count_reason(comparison->stack, MB_REASON_LIMIT_COMPARED);
        return false;
    }
    if (memcmp(pool + common.old, pool + common.new, common.length) != 0) {
        narrow(&common, pool);
        publish(comparison, &common);
    }
    return true;
}

static void compare_with_delivered(struct comparison *comparison) {
    const struct mb_delivered_pool *pool = &comparison->stack->delivered;
    const struct mb_stream_side *side = &comparison->flow->stream[comparison->direction];
    if (!mb_sequence_before(comparison->segment->sequence, side->next))
        return;
    for (uint32_t index = mb_delivered_first(pool, side); index != 0;
         index = mb_delivered_next(pool, side, index))
        if (!compare(comparison, &pool->records[index].segment))
            return;
}

static void compare_with_held(struct comparison *comparison) {
    struct mb_held_pool *pool = &comparison->stack->held;
    const struct mb_stream_side *side = &comparison->flow->stream[comparison->direction];
    const struct mb_segment *segment = comparison->segment;
    uint32_t end = segment->sequence + segment->length;
    for (uint32_t node = mb_held_around(pool, side, segment->sequence); node != 0;
         node = pool->records[node].next[0]) {
        const struct mb_segment *held = &pool->records[node].segment;
        if (!mb_sequence_before(held->sequence, end) || !compare(comparison, held))
            return;
    }
}

void mb_tcp_compare_copies(struct mb_stack *stack, const struct mb_flow_entry *flow,
                           unsigned direction, const struct mb_segment *segment) {
    struct comparison comparison = {stack, flow, direction, segment, 0, 0};
    if (flow->stream[direction].delivered != 0)
        compare_with_delivered(&comparison);
    if (flow->stream[direction].held != 0)
        compare_with_held(&comparison);
}
