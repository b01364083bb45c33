/*
 * The reassembler against a slow model that is obviously right: an array that remembers for each
 * byte of the stream which segment it is of.
 *
 * Segments carry bytes that name the segment, not the position, so that a byte from the wrong copy
 * shows.
 */
#include "tests/core/stack_fixture.h"

#include "microbox/stack/sequence_number.h"
#include "microbox/stack/streams/reassembly.h"

enum {
    STREAM = 160,
    SEGMENTS = 40,
    PIECES_MAX = 256,
    PORT = 1000,       /* of the first stream */
    FIRST = 0xffffffb0 /* so that streams cross the wrap */
};

struct piece {
    uint32_t start; /* in the stream */
    uint32_t length;
};

static uint64_t random_state;

static uint32_t random_below(uint32_t bound) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * UINT64_C(2685821657736338717)) >> 32) % bound;
}

static struct piece random_piece(uint32_t from, uint32_t span, uint32_t longest) {
    uint32_t start = from + random_below(span);
    if (start >= STREAM)
        start = STREAM - 1;
    uint32_t left = STREAM - start;
    return (struct piece){start, 1 + random_below(left < longest ? left : longest)};
}

/* --- the model --- */

/* owner[i] is the number of the segment, from 1, whose byte is at i; 0: none came. Bytes below
 * `given` were given out and change no more. */
struct model {
    enum mb_overlap_policy policy;
    uint32_t count; /* segments so far */
    uint32_t given;
    uint32_t end; /* behind the last byte that came */
    struct piece came[SEGMENTS + 1];
    uint8_t owner[STREAM];
};

/* What a policy sees of a segment: as it came, or what is left of it. */
static struct piece extent_of(const struct model *model, unsigned number) {
    if (model->policy == MB_OVERLAP_LINUX)
        return model->came[number];
    uint32_t begin = 0;
    while (model->owner[begin] != number)
        begin++;
    uint32_t end = model->end;
    while (model->owner[end - 1] != number)
        end--;
    return (struct piece){begin, end - begin};
}

static bool new_wins(const struct model *model, struct piece new, unsigned number) {
    struct piece old = extent_of(model, number);
    uint32_t new_end = new.start + new.length;
    uint32_t old_end = old.start + old.length;
    switch (model->policy) {
    case MB_OVERLAP_LAST:
        return true;
    case MB_OVERLAP_BSD:
    case MB_OVERLAP_WINDOWS:
        return new.start < old.start;
    case MB_OVERLAP_LINUX:
        return new.start < old.start || (new.start == old.start &&new_end > old_end);
    case MB_OVERLAP_SOLARIS:
        return new_end > old_end || (new_end == old_end && new.start <= old.start);
    default:
        return false;
    }
}

static void model_take(struct model *model, struct piece piece) {
    bool wins[SEGMENTS + 1] = {true};
    for (uint32_t at = 0; at < model->end; at++)
        if (model->owner[at] != 0 && (at == 0 || model->owner[at] != model->owner[at - 1]))
            wins[model->owner[at]] = new_wins(model, piece, model->owner[at]);
    model->came[++model->count] = piece;
    if (model->end < piece.start + piece.length)
        model->end = piece.start + piece.length;
    for (uint32_t at = piece.start; at < piece.start + piece.length; at++)
        if (at >= model->given && wins[model->owner[at]])
            model->owner[at] = (uint8_t)model->count;
}

static void model_give_out(struct model *model) {
    while (model->given < STREAM && model->owner[model->given] != 0)
        model->given++;
}

/* --- the list alone --- */

static const struct mb_held_wait wait = {.since = 1};

static void check_levels(const struct mb_held_pool *pool, const struct mb_stream_side *side) {
    for (unsigned level = 1; level < MB_HELD_LEVELS; level++) {
        uint32_t below = side->list;
        for (uint32_t node = pool->records[side->list].next[level]; node != 0;
             node = pool->records[node].next[level]) {
            while (below != node && below != 0)
                below = pool->records[below].next[level - 1];
            assert_int_equal(below, node);
        }
    }
}

/* Fills in who owns what is held: a piece's `frame` says whose it is, its `data_offset` which of
 * its bytes. */
static void walk(const struct mb_held_pool *pool, const struct mb_stream_side *side,
                 const struct model *model, uint8_t held_by[STREAM]) {
    uint32_t count = 0;
    uint32_t bytes = 0;
    uint32_t end = side->next;
    memset(held_by, 0, STREAM);
    for (uint32_t node = side->list == 0 ? 0 : pool->records[side->list].next[0]; node != 0;
         node = pool->records[node].next[0]) {
        uint32_t last = 0;
        for (uint32_t index = node; index != 0; index = pool->records[index].behind) {
            const struct mb_segment *held = &pool->records[index].segment;
            uint32_t start = held->sequence - FIRST;
            assert_true(mb_sequence_at_or_before(end, held->sequence));
            assert_true(last == 0 || end == held->sequence);
            assert_true(held->length > 0 && held->captured <= held->length);
            assert_int_equal(start, model->came[held->frame].start + held->data_offset);
            memset(held_by + start, (int)held->frame, held->length);
            end = held->sequence + held->length;
            bytes += held->length;
            last = index;
            count++;
        }
        assert_int_equal(pool->records[node].last, last);
        assert_int_equal(pool->records[node].end, end);
    }
    assert_int_equal(side->held, count);
    assert_int_equal(side->held_bytes, bytes);
    assert_int_equal(pool->used, count);
    assert_int_equal(pool->bytes, bytes);
}

static void check_list(const struct mb_held_pool *pool, const struct mb_stream_side *side,
                       const struct model *model) {
    uint8_t held_by[STREAM];
    check_levels(pool, side);
    walk(pool, side, model, held_by);
    assert_memory_equal(held_by, model->owner, STREAM);
}

static void hold_all(struct mb_held_pool *pool, struct mb_stream_side *side,
                     struct mb_segment segment) {
    while (segment.length != 0) {
        struct mb_held_place place;
        struct mb_segment piece = segment;
        if (side->list == 0)
            segment.length = 0;
        else if (mb_held_settle(pool, side, &segment, PIECES_MAX, &piece, &place) !=
                 MB_SETTLED_PIECE)
            return;
        assert_true(mb_held_link(pool, side, &piece, &place, &wait));
    }
}

static struct mb_segment segment_of(struct piece piece, uint32_t number) {
    uint32_t sequence = FIRST + piece.start;
    return (struct mb_segment){.frame = number,
                               .sequence = sequence,
                               .length = piece.length,
                               .captured = piece.length,
                               .came = {sequence, sequence + piece.length}};
}

static void hold_random_pieces(enum mb_overlap_policy policy, bool apart, uint64_t seed) {
    struct mb_held_pool pool;
    struct mb_stream_side side = {.next = FIRST, .policy = (uint8_t)policy};
    struct model model = {.policy = policy};
    random_state = seed;
    assert_int_equal(mb_held_pool_create(&pool, PIECES_MAX, STREAM, seed), 0);
    pool.keeps_pieces_apart = apart;
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        struct piece piece = random_piece(0, STREAM, 24);
        hold_all(&pool, &side, segment_of(piece, i + 1));
        model_take(&model, piece);
        check_list(&pool, &side, &model);
    }
    mb_held_release(&pool, &side);
    assert_int_equal(side.list, 0);
    assert_int_equal(pool.used, 0);
    assert_int_equal(pool.bytes, 0);
    assert_null(mb_held_longest_wait(&pool));
    mb_held_pool_destroy(&pool);
}

static void each_policy_keeps_the_copies_that_the_model_keeps(void **state) {
    (void)state;
    for (unsigned policy = 0; policy < MB_OVERLAP_POLICIES; policy++)
        for (uint64_t seed = 1; seed <= 500; seed++)
            hold_random_pieces((enum mb_overlap_policy)policy, seed % 2 == 0, seed * 7919);
}

/* --- all sequences of small segments --- */

enum { SMALL = 4, INTERVALS = SMALL * (SMALL + 1) / 2, SMALL_RECORDS = 32, DEPTH = 6 };

static const struct piece intervals[INTERVALS] = {
    {1, 1}, {2, 1}, {3, 1}, {4, 1}, {1, 2}, {2, 2}, {3, 2}, {1, 3}, {2, 3}, {1, 4},
};

/* What a list is made of, so that it can be gone on from twice. */
struct small_list {
    struct mb_held_pool pool;
    struct mb_stream_side side;
    struct mb_held_record records[SMALL_RECORDS];
};

static void check_small_list(struct small_list *list, const struct model *model) {
    struct mb_held_pool *pool = &list->pool;
    uint8_t held_by[1 + SMALL] = {0};
    for (uint32_t node = list->records[list->side.list].next[0]; node != 0;
         node = list->records[node].next[0])
        for (uint32_t index = node; index != 0; index = list->records[index].behind) {
            const struct mb_segment *held = &pool->records[index].segment;
            for (uint32_t i = 0; i < held->length; i++)
                held_by[held->sequence - FIRST + i] = (uint8_t)held->frame;
        }
    assert_memory_equal(held_by, model->owner, sizeof held_by);
}

static uint64_t go_on(const struct small_list *before, const struct model *model, unsigned depth) {
    uint64_t sequences = 0;
    if (depth == DEPTH)
        return 1;
    for (unsigned i = 0; i < INTERVALS; i++) {
        struct small_list list = *before;
        struct model after = *model;
        list.pool.records = list.records;
        model_take(&after, intervals[i]);
        hold_all(&list.pool, &list.side, segment_of(intervals[i], after.count));
        check_small_list(&list, &after);
        sequences += go_on(&list, &after, depth + 1);
    }
    return sequences;
}

static void all_sequences_of_six_small_segments(void **state) {
    (void)state;
    for (unsigned policy = 0; policy < MB_OVERLAP_POLICIES; policy++) {
        struct small_list list = {
            .pool = {.capacity = SMALL_RECORDS / 2, .unused = 1, .bytes_max = STREAM, .random = 1},
            .side = {.next = FIRST, .policy = (uint8_t)policy},
        };
        struct model model = {.policy = (enum mb_overlap_policy)policy};
        assert_int_equal(go_on(&list, &model, 0), 1000000);
    }
}

/* --- limits of the list --- */

static void a_full_pool_leaves_the_rest(void **state) {
    (void)state;
    struct mb_held_pool pool;
    struct mb_held_place place;
    struct mb_stream_side side = {.next = FIRST};
    struct mb_segment piece;
    assert_int_equal(mb_held_pool_create(&pool, 2, 100, 1), 0);
    hold_all(&pool, &side, segment_of((struct piece){10, 5}, 1));
    struct mb_segment segment = segment_of((struct piece){5, 20}, 2);
    assert_int_equal(mb_held_settle(&pool, &side, &segment, 9, &piece, &place), MB_SETTLED_PIECE);
    assert_true(mb_held_link(&pool, &side, &piece, &place, &wait));
    assert_int_equal(mb_held_settle(&pool, &side, &segment, 9, &piece, &place), MB_SETTLED_PIECE);
    assert_false(mb_held_link(&pool, &side, &piece, &place, &wait));
    assert_int_equal(piece.sequence, (uint32_t)(FIRST + 15));
    assert_int_equal(piece.length, 10);
    assert_int_equal(piece.data_offset, 10);
    assert_int_equal(pool.peak, 2);
    mb_held_release(&pool, &side);
    mb_held_pool_destroy(&pool);
}

static void bytes_are_limited_in_all(void **state) {
    (void)state;
    struct mb_held_pool pool;
    struct mb_held_place place;
    struct mb_stream_side side = {.next = FIRST};
    assert_int_equal(mb_held_pool_create(&pool, 16, 5, 1), 0);
    struct mb_segment six = segment_of((struct piece){10, 6}, 1);
    assert_false(mb_held_link(&pool, &side, &six, &place, &wait));
    struct mb_segment five = segment_of((struct piece){10, 5}, 1);
    assert_true(mb_held_link(&pool, &side, &five, &place, &wait));
    assert_int_equal(pool.bytes, 5);
    mb_held_release(&pool, &side);
    mb_held_pool_destroy(&pool);
}

static void a_segment_is_split_only_where_there_is_room_for_both_ends(void **state) {
    (void)state;
    struct mb_held_pool pool;
    struct mb_held_place place;
    struct mb_stream_side side = {.next = FIRST, .policy = MB_OVERLAP_LAST};
    struct mb_segment piece;
    assert_int_equal(mb_held_pool_create(&pool, 16, 100, 1), 0);
    hold_all(&pool, &side, segment_of((struct piece){10, 9}, 1));
    struct mb_segment segment = segment_of((struct piece){12, 3}, 2);
    assert_int_equal(mb_held_settle(&pool, &side, &segment, 1, &piece, &place), MB_SETTLED_NO_ROOM);
    assert_int_equal(side.held_bytes, 9);
    assert_int_equal(mb_held_settle(&pool, &side, &segment, 2, &piece, &place), MB_SETTLED_PIECE);
    assert_true(mb_held_link(&pool, &side, &piece, &place, &wait));
    assert_int_equal(side.held, 3);
    assert_int_equal(side.held_bytes, 9);
    mb_held_release(&pool, &side);
    mb_held_pool_destroy(&pool);
}

static void who_came_on_waits_behind_the_others(void **state) {
    (void)state;
    struct mb_held_pool pool;
    struct mb_held_place place;
    struct mb_stream_side sides[3] = {{.next = FIRST}, {.next = FIRST}, {.next = FIRST}};
    assert_int_equal(mb_held_pool_create(&pool, 16, 100, 1), 0);
    for (uint32_t i = 0; i < 3; i++) {
        struct mb_segment segment = segment_of((struct piece){10, 1}, 1);
        const struct mb_held_wait since = {.since = 10 + i, .flow = i};
        assert_true(mb_held_link(&pool, &sides[i], &segment, &place, &since));
    }
    assert_int_equal(mb_held_longest_wait(&pool)->flow, 0);
    mb_held_come_on(&pool, &sides[0], 20);
    assert_int_equal(mb_held_longest_wait(&pool)->flow, 1);
    mb_held_release(&pool, &sides[2]);
    mb_held_release(&pool, &sides[1]);
    assert_int_equal(mb_held_longest_wait(&pool)->flow, 0);
    assert_int_equal(mb_held_longest_wait(&pool)->since, 20);
    mb_held_release(&pool, &sides[0]);
    assert_null(mb_held_longest_wait(&pool));
    mb_held_pool_destroy(&pool);
}

static void what_the_capture_cut_is_cut_from_the_end(void **state) {
    (void)state;
    struct mb_segment segment = {.sequence = 10, .length = 8, .captured = 3, .data_offset = 100};
    mb_segment_trim(&segment, 2);
    assert_int_equal(segment.captured, 1);
    assert_int_equal(segment.data_offset, 102);
    struct mb_segment front = mb_segment_split(&segment, 4);
    assert_int_equal(front.sequence, 12);
    assert_int_equal(front.length, 4);
    assert_int_equal(front.captured, 1);
    assert_int_equal(segment.sequence, 16);
    assert_int_equal(segment.length, 2);
    assert_int_equal(segment.captured, 0);
    assert_int_equal(segment.data_offset, 103);
}

/* --- the whole stack --- */

static const char *const names = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop";

static void open_with(struct stack_fixture *stack, enum mb_overlap_policy policy) {
    struct mb_subscription bytes = {.filter = ""};
    stack_want(&bytes, MB_TYPE_TCP_DATA);
    stack_want(&bytes, MB_TYPE_TCP_GAP);
    const struct mb_host_network all = {.address = {[10] = 0xff, [11] = 0xff},
                                        .prefix_length = 96,
                                        .profile = {.segments = (uint8_t)policy}};
    stack_open_with(stack, &(struct mb_stack_config){.hosts = &all, .host_count = 1}, &bytes, 1,
                    NULL, 0);
}

/* A stream of its own for each port. */
static void begin_stream(struct stack_fixture *stack, uint16_t port) {
    stack->told = stack->log.next;
    stack_tcp(stack, (struct tcp){.flags = SYN, .sequence = FIRST - 1, .port = port});
}

static void send_piece(struct stack_fixture *stack, uint16_t port, struct piece piece, char name) {
    char payload[STREAM + 1];
    memset(payload, name, piece.length);
    payload[piece.length] = '\0';
    stack_tcp(stack, (struct tcp){.flags = ACK,
                                  .sequence = FIRST + piece.start,
                                  .acknowledgment = 301,
                                  .payload = payload,
                                  .port = port});
}

static void expect_model(const struct stack_fixture *stack, const struct model *model) {
    char given[STREAM + 1];
    for (uint32_t i = 0; i < model->given; i++)
        given[i] = names[model->owner[i] - 1];
    given[model->given] = '\0';
    assert_string_equal(stack_text(stack, 0), given);
}

static void send_random_pieces(enum mb_overlap_policy policy, uint64_t seed) {
    struct stack_fixture stack;
    struct model model = {.policy = policy};
    random_state = seed;
    open_with(&stack, policy);
    begin_stream(&stack, PORT);
    while (model.count < SEGMENTS) {
        /* Mostly near the front, so that streams get on. */
        uint32_t from = model.given > 8 ? model.given - 8 : 0;
        struct piece piece = random_piece(from, 1 + random_below(3) * 24, 20);
        /* One byte just before the next one is a keep-alive, not data. */
        if (piece.length == 1)
            piece.length = piece.start + 2 <= STREAM ? 2 : 1;
        if (piece.length == 1)
            piece = (struct piece){STREAM - 2, 2};
        send_piece(&stack, PORT, piece, names[model.count]);
        model_take(&model, piece);
        model_give_out(&model);
        expect_model(&stack, &model);
    }
    stack_close(&stack);
}

static void random_segments_give_what_the_model_gives(void **state) {
    (void)state;
    for (unsigned policy = 0; policy < MB_OVERLAP_POLICIES; policy++)
        for (uint64_t seed = 1; seed <= 60; seed++)
            send_random_pieces((enum mb_overlap_policy)policy, seed * 7919);
}

static void send_in_order(struct stack_fixture *stack, uint16_t port, const unsigned order[6],
                          const struct piece pieces[6], enum mb_overlap_policy policy) {
    struct model model = {.policy = policy};
    begin_stream(stack, port);
    for (unsigned i = 0; i < 6; i++) {
        send_piece(stack, port, pieces[order[i]], names[i]);
        model_take(&model, pieces[order[i]]);
        model_give_out(&model);
        expect_model(stack, &model);
    }
    assert_int_equal(model.given, 18);
    assert_int_equal(mb_stack_counters(stack->stack)->held_segments, 0);
}

/* Heap's algorithm. */
static void permute(struct stack_fixture *stack, unsigned order[6], unsigned count,
                    const struct piece pieces[6], enum mb_overlap_policy policy, uint16_t *port) {
    if (count == 1)
        return send_in_order(stack, (*port)++, order, pieces, policy);
    for (unsigned i = 0; i < count; i++) {
        permute(stack, order, count - 1, pieces, policy, port);
        unsigned other = count % 2 == 0 ? i : 0;
        unsigned swap = order[other];
        order[other] = order[count - 1];
        order[count - 1] = swap;
    }
}

static void send_in_all_orders(const struct piece pieces[6], enum mb_overlap_policy policy) {
    struct stack_fixture stack;
    uint16_t port = PORT;
    open_with(&stack, policy);
    permute(&stack, (unsigned[]){0, 1, 2, 3, 4, 5}, 6, pieces, policy, &port);
    assert_int_equal(port - PORT, 720);
    stack.told = stack.log.next;
    stack_finish(&stack);
    assert_string_equal(stack_text(&stack, 0), "");
    stack_close(&stack);
}

static void all_orders_of_six_segments(void **state) {
    (void)state;
    static const struct piece apart[6] = {{0, 3}, {3, 3}, {6, 3}, {9, 3}, {12, 3}, {15, 3}};
    static const struct piece overlapping[6] = {{0, 5}, {2, 5}, {6, 6}, {4, 9}, {9, 4}, {11, 7}};
    send_in_all_orders(apart, MB_OVERLAP_FIRST);
    for (unsigned policy = 0; policy < MB_OVERLAP_POLICIES; policy++)
        send_in_all_orders(overlapping, (enum mb_overlap_policy)policy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_policy_keeps_the_copies_that_the_model_keeps),
        cmocka_unit_test(all_sequences_of_six_small_segments),
        cmocka_unit_test(a_full_pool_leaves_the_rest),
        cmocka_unit_test(bytes_are_limited_in_all),
        cmocka_unit_test(a_segment_is_split_only_where_there_is_room_for_both_ends),
        cmocka_unit_test(who_came_on_waits_behind_the_others),
        cmocka_unit_test(what_the_capture_cut_is_cut_from_the_end),
        cmocka_unit_test(random_segments_give_what_the_model_gives),
        cmocka_unit_test(all_orders_of_six_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
