#include "microbox/stack/streams/reassembly.h"

#include "microbox/stack/lazy_memory.h"
#include "microbox/stack/sequence_number.h"

#include <errno.h>
#include <string.h>

/* --- the pool --- */

size_t mb_held_pool_bytes(uint32_t capacity) {
    return (2 * (size_t)capacity + 1) * sizeof(struct mb_held_record);
}

int mb_held_pool_create(struct mb_held_pool *pool, uint32_t capacity, uint64_t bytes_max,
                        uint64_t key) {
    memset(pool, 0, sizeof *pool);
    pool->records = mb_lazy_map(mb_held_pool_bytes(capacity));
    if (pool->records == NULL)
        return -ENOMEM;
    pool->capacity = capacity;
    pool->bytes_max = bytes_max;
    pool->random = key | 1; /* the generator stands still at 0 */
    pool->unused = 1;
    return 0;
}

void mb_held_pool_destroy(struct mb_held_pool *pool) {
    mb_lazy_unmap(pool->records, mb_held_pool_bytes(pool->capacity));
    pool->records = NULL;
}

/* There is always one: a list has a piece, and there are two records for each. */
static uint32_t take_record(struct mb_held_pool *pool) {
    pool->changes++;
    uint32_t index = pool->free;
    if (index == 0)
        return pool->unused++;
    pool->free = pool->records[index].next[0];
    return index;
}

static void give_record(struct mb_held_pool *pool, uint32_t index) {
    pool->changes++;
    pool->records[index].next[0] = pool->free;
    pool->free = index;
}

static void count_bytes(struct mb_held_pool *pool, struct mb_stream_side *side, uint32_t count) {
    side->held_bytes += count;
    pool->bytes += count;
}

static void discount_bytes(struct mb_held_pool *pool, struct mb_stream_side *side, uint32_t count) {
    side->held_bytes -= count;
    pool->bytes -= count;
}

/* A record for a piece, on no level yet. The pool must have room. */
static uint32_t take_piece(struct mb_held_pool *pool, struct mb_stream_side *side,
                           const struct mb_segment *segment) {
    uint32_t index = take_record(pool);
    pool->records[index] = (struct mb_held_record){
        .end = segment->sequence + segment->length,
        .segment = *segment,
        .last = index,
    };
    if (pool->assembled != NULL)
        mb_assembled_pin(pool->assembled, segment->frame);
    if (++pool->used > pool->peak)
        pool->peak = pool->used;
    side->held++;
    count_bytes(pool, side, segment->length);
    return index;
}

static void give_piece(struct mb_held_pool *pool, struct mb_stream_side *side, uint32_t index) {
    const struct mb_segment *segment = &pool->records[index].segment;
    if (pool->assembled != NULL)
        mb_assembled_unpin(pool->assembled, segment->frame);
    discount_bytes(pool, side, segment->length);
    side->held--;
    pool->used--;
    give_record(pool, index);
}

/* --- segments --- */

static uint32_t smaller(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

static uint32_t end_of(const struct mb_segment *segment) {
    return segment->sequence + segment->length;
}

void mb_segment_trim(struct mb_segment *segment, uint32_t count) {
    uint32_t captured = smaller(count, segment->captured);
    segment->sequence += count;
    segment->length -= count;
    segment->captured -= captured;
    segment->data_offset += captured;
}

static void shorten(struct mb_segment *segment, uint32_t length) {
    segment->length = length;
    segment->captured = smaller(segment->captured, length);
}

struct mb_segment mb_segment_split(struct mb_segment *segment, uint32_t count) {
    struct mb_segment front = *segment;
    shorten(&front, count);
    mb_segment_trim(segment, count);
    return front;
}

/* --- nodes --- */

/* One node in eight is on the second level, one of these in eight on the third: 5 of 320. */
static unsigned draw_levels(struct mb_held_pool *pool) {
    pool->random ^= pool->random << 13;
    pool->random ^= pool->random >> 7;
    pool->random ^= pool->random << 17;
    uint32_t drawn = (uint32_t)(pool->random >> 32);
    if (drawn % 8 != 0)
        return 1;
    return drawn / 8 % 8 != 0 ? 2 : MB_HELD_LEVELS;
}

static void search(const struct mb_held_pool *pool, uint32_t list, uint32_t sequence,
                   struct mb_held_place *place) {
    uint32_t at = list;
    for (unsigned level = MB_HELD_LEVELS; level-- > 0;) {
        uint32_t next = pool->records[at].next[level];
        while (next != 0 && mb_sequence_before(pool->records[next].segment.sequence, sequence)) {
            at = next;
            next = pool->records[at].next[level];
        }
        place->before[level] = at;
    }
}

static void find_place(struct mb_held_pool *pool, const struct mb_stream_side *side,
                       uint32_t sequence, struct mb_held_place *place) {
    struct mb_held_found *found = &pool->found;
    if (found->list != side->list || found->sequence != sequence ||
        found->changes != pool->changes) {
        search(pool, side->list, sequence, &found->place);
        found->list = side->list;
        found->sequence = sequence;
        found->changes = pool->changes;
    }
    *place = found->place;
}

static uint32_t node_behind(const struct mb_held_pool *pool, const struct mb_held_place *place) {
    return pool->records[place->before[0]].next[0];
}

/* Moves the place behind the node that follows it. */
static void pass_node(const struct mb_held_pool *pool, struct mb_held_place *place, uint32_t node) {
    for (unsigned level = 0; level < MB_HELD_LEVELS; level++)
        if (pool->records[place->before[level]].next[level] == node)
            place->before[level] = node;
}

static void link_node(struct mb_held_pool *pool, const struct mb_held_place *place, uint32_t node) {
    pool->changes++;
    unsigned levels = draw_levels(pool);
    for (unsigned level = 0; level < levels; level++) {
        uint32_t *next = &pool->records[place->before[level]].next[level];
        pool->records[node].next[level] = *next;
        *next = node;
    }
}

/* Takes the node that follows the place off all levels. */
static void unlink_node(struct mb_held_pool *pool, const struct mb_held_place *place,
                        uint32_t node) {
    pool->changes++;
    for (unsigned level = 0; level < MB_HELD_LEVELS; level++) {
        uint32_t *next = &pool->records[place->before[level]].next[level];
        if (*next == node)
            *next = pool->records[node].next[level];
    }
}

/* --- overlaps --- */

static bool loses(const struct mb_stream_side *side, const struct mb_held_record *node,
                  const struct mb_segment *segment) {
    enum mb_overlap_policy policy = (enum mb_overlap_policy)side->policy;
    struct mb_extent held = {node->segment.sequence, node->end};
    if (mb_overlap_holds_whole(policy))
        held = node->segment.came;
    return mb_overlap_keeps_new(policy, held, segment->came);
}

/* The node begins before the segment, overlaps it and loses. False: it would have to be split, and
 * there is no room for another piece beside the segment. */
static bool cut_node_before(struct mb_held_pool *pool, struct mb_stream_side *side, uint32_t node,
                            const struct mb_segment *segment, uint32_t room,
                            const struct mb_held_place *place) {
    struct mb_held_record *record = &pool->records[node];
    uint32_t end = end_of(segment);
    if (mb_sequence_before(end, record->end)) {
        if (room < 2)
            return false;
        struct mb_segment tail = record->segment;
        mb_segment_trim(&tail, end - tail.sequence);
        link_node(pool, place, take_piece(pool, side, &tail));
    }
    uint32_t left = segment->sequence - record->segment.sequence;
    discount_bytes(pool, side, record->segment.length - left);
    shorten(&record->segment, left);
    record->end = segment->sequence;
    return true;
}

/* The node begins at or behind the segment's first byte, overlaps it and loses. */
static void cut_node_behind(struct mb_held_pool *pool, struct mb_stream_side *side, uint32_t node,
                            const struct mb_segment *segment, const struct mb_held_place *place) {
    struct mb_held_record *record = &pool->records[node];
    uint32_t end = end_of(segment);
    if (mb_sequence_at_or_before(record->end, end)) {
        unlink_node(pool, place, node);
        give_piece(pool, side, node);
        return;
    }
    uint32_t lost = end - record->segment.sequence;
    discount_bytes(pool, side, lost);
    mb_segment_trim(&record->segment, lost);
    pool->changes++;
}

enum mb_settled mb_held_settle(struct mb_held_pool *pool, struct mb_stream_side *side,
                               struct mb_segment *segment, uint32_t room, struct mb_segment *piece,
                               struct mb_held_place *place) {
    find_place(pool, side, segment->sequence, place);
    uint32_t node = place->before[0];
    struct mb_held_record *record = &pool->records[node];
    if (node != side->list && mb_sequence_before(segment->sequence, record->end)) {
        if (!loses(side, record, segment))
            mb_segment_trim(segment, smaller(record->end - segment->sequence, segment->length));
        else if (!cut_node_before(pool, side, node, segment, room, place))
            return MB_SETTLED_NO_ROOM;
    }
    while (segment->length != 0) {
        node = node_behind(pool, place);
        record = &pool->records[node];
        if (node == 0 || mb_sequence_at_or_before(end_of(segment), record->segment.sequence)) {
            *piece = mb_segment_split(segment, segment->length);
            return MB_SETTLED_PIECE;
        }
        if (loses(side, record, segment)) {
            cut_node_behind(pool, side, node, segment, place);
            continue;
        }
        uint32_t hole = record->segment.sequence - segment->sequence;
        if (hole != 0) {
            *piece = mb_segment_split(segment, hole);
            return MB_SETTLED_PIECE;
        }
        mb_segment_trim(segment, smaller(record->end - segment->sequence, segment->length));
        pass_node(pool, place, node);
    }
    return MB_SETTLED_NONE;
}

/* --- waiting --- */

static void wait_last(struct mb_held_pool *pool, uint32_t head) {
    struct mb_held_record *record = &pool->records[head];
    record->longer = pool->shortest;
    record->shorter = 0;
    if (pool->shortest != 0)
        pool->records[pool->shortest].shorter = head;
    else
        pool->longest = head;
    pool->shortest = head;
}

static void wait_no_more(struct mb_held_pool *pool, uint32_t head) {
    struct mb_held_record *record = &pool->records[head];
    if (record->longer != 0)
        pool->records[record->longer].shorter = record->shorter;
    else
        pool->longest = record->shorter;
    if (record->shorter != 0)
        pool->records[record->shorter].longer = record->longer;
    else
        pool->shortest = record->longer;
}

static void begin_list(struct mb_held_pool *pool, struct mb_stream_side *side,
                       const struct mb_held_wait *wait, struct mb_held_place *place) {
    side->list = take_record(pool);
    pool->records[side->list] = (struct mb_held_record){.wait = *wait};
    wait_last(pool, side->list);
    for (unsigned level = 0; level < MB_HELD_LEVELS; level++)
        place->before[level] = side->list;
}

void mb_held_come_on(struct mb_held_pool *pool, struct mb_stream_side *side, uint64_t now) {
    wait_no_more(pool, side->list);
    if (side->held != 0) {
        pool->records[side->list].wait.since = now;
        wait_last(pool, side->list);
        return;
    }
    give_record(pool, side->list);
    side->list = 0;
}

/* --- the list --- */

/* Nothing of what is held ever loses, so that what follows without a hole may be one node. */
static bool joins_nodes(const struct mb_held_pool *pool, const struct mb_stream_side *side) {
    return side->policy == MB_OVERLAP_FIRST && !pool->keeps_pieces_apart;
}

static void join(struct mb_held_pool *pool, uint32_t node, uint32_t behind) {
    struct mb_held_record *record = &pool->records[node];
    pool->records[record->last].behind = behind;
    record->last = pool->records[behind].last;
    record->end = pool->records[behind].end;
}

bool mb_held_link(struct mb_held_pool *pool, struct mb_stream_side *side,
                  const struct mb_segment *piece, struct mb_held_place *place,
                  const struct mb_held_wait *wait) {
    if (pool->used == pool->capacity || piece->length > pool->bytes_max - pool->bytes)
        return false;
    if (side->list == 0)
        begin_list(pool, side, wait, place);
    uint32_t node = place->before[0];
    uint32_t behind = node_behind(pool, place);
    uint32_t index = take_piece(pool, side, piece);
    bool joins = joins_nodes(pool, side);
    if (joins && node != side->list && pool->records[node].end == piece->sequence) {
        join(pool, node, index);
    } else {
        link_node(pool, place, index);
        pass_node(pool, place, index);
        node = index;
    }
    if (joins && behind != 0 && pool->records[behind].segment.sequence == pool->records[node].end) {
        unlink_node(pool, place, behind);
        join(pool, node, behind);
    }
    return true;
}

/* A record that was given back says where it began until it is taken again. */
void mb_held_renew_place(const struct mb_held_pool *pool, const struct mb_stream_side *side,
                         struct mb_held_place *place) {
    for (unsigned level = 0; level < MB_HELD_LEVELS; level++) {
        uint32_t *before = &place->before[level];
        if (*before != side->list &&
            mb_sequence_before(pool->records[*before].segment.sequence, side->next))
            *before = side->list;
    }
}

uint32_t mb_held_around(struct mb_held_pool *pool, const struct mb_stream_side *side,
                        uint32_t sequence) {
    struct mb_held_place place;
    find_place(pool, side, sequence, &place);
    uint32_t node = place.before[0];
    if (node != side->list && mb_sequence_before(sequence, pool->records[node].end))
        return node;
    return node_behind(pool, &place);
}

/* The piece behind the first node's first takes the node's place. */
static void promote(struct mb_held_pool *pool, struct mb_held_record *head, uint32_t node) {
    const struct mb_held_record *first = &pool->records[node];
    struct mb_held_record *second = &pool->records[first->behind];
    second->last = first->last;
    second->end = first->end;
    for (unsigned level = 0; level < MB_HELD_LEVELS; level++) {
        second->next[level] = first->next[level];
        if (head->next[level] == node)
            head->next[level] = first->behind;
    }
}

struct mb_segment mb_held_take(struct mb_held_pool *pool, struct mb_stream_side *side) {
    struct mb_held_record *head = &pool->records[side->list];
    uint32_t node = head->next[0];
    struct mb_segment segment = pool->records[node].segment;
    if (pool->records[node].behind != 0)
        promote(pool, head, node);
    else
        for (unsigned level = 0; level < MB_HELD_LEVELS; level++)
            if (head->next[level] == node)
                head->next[level] = pool->records[node].next[level];
    give_piece(pool, side, node);
    return segment;
}

void mb_held_release(struct mb_held_pool *pool, struct mb_stream_side *side) {
    if (side->list == 0)
        return;
    while (side->held != 0)
        mb_held_take(pool, side);
    mb_held_come_on(pool, side, 0);
}
