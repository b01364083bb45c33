/*
 * The reassembler against a slow model that is obviously right: an array that remembers for each
 * byte of the stream which segment brought it first.
 *
 * Segments carry bytes that name the segment, not the position, so that a byte from the wrong copy
 * shows.
 */
#include "tests/core/stack_fixture.h"

#include "microbox/stack/reassembly.h"
#include "microbox/stack/sequence_number.h"

enum { STREAM = 160, SEGMENTS = 40, FIRST = 0xffffffb0 /* so that streams cross the wrap */ };

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

/* --- the list alone --- */

static void check_invariants(const struct mb_held_pool *pool, const struct mb_stream_side *side) {
    uint32_t count = 0;
    uint32_t bytes = 0;
    uint32_t end = side->next;
    uint32_t last = 0;
    for (uint32_t index = side->first; index != 0; index = pool->records[index].next) {
        const struct mb_segment *held = &pool->records[index];
        assert_true(mb_sequence_at_or_before(end, held->sequence));
        assert_true(held->length > 0 && held->captured <= held->length);
        end = held->sequence + held->length;
        bytes += held->length;
        last = index;
        count++;
    }
    assert_int_equal(side->last, last);
    assert_int_equal(side->held, count);
    assert_int_equal(side->held_bytes, bytes);
    assert_int_equal(pool->used, count);
}

/* Who owns each byte: `owner[i]` is the number of the segment that is held there, 0: nobody. A
 * held segment's `frame` says whose it is, its `data_offset` which of its bytes. */
static void check_owners(const struct mb_held_pool *pool, const struct mb_stream_side *side,
                         const uint8_t owner[STREAM], const struct piece *pieces) {
    uint8_t held_by[STREAM] = {0};
    for (uint32_t index = side->first; index != 0; index = pool->records[index].next) {
        const struct mb_segment *held = &pool->records[index];
        uint32_t start = held->sequence - FIRST;
        assert_int_equal(start, pieces[held->frame - 1].start + held->data_offset);
        for (uint32_t i = 0; i < held->length; i++)
            held_by[start + i] = (uint8_t)held->frame;
    }
    assert_memory_equal(held_by, owner, STREAM);
}

static void the_first_copy_of_each_byte_is_held(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        struct mb_held_pool pool;
        struct mb_stream_side side = {.next = FIRST};
        struct piece pieces[SEGMENTS];
        uint8_t owner[STREAM] = {0};
        random_state = seed;
        assert_int_equal(mb_held_pool_create(&pool, 256), 0);
        for (uint32_t i = 0; i < SEGMENTS; i++) {
            struct piece *piece = &pieces[i];
            piece->start = random_below(STREAM);
            piece->length =
                1 + random_below(STREAM - piece->start < 24 ? STREAM - piece->start : 24);
            struct mb_segment segment = {.frame = i + 1,
                                         .sequence = FIRST + piece->start,
                                         .length = piece->length,
                                         .captured = piece->length};
            assert_true(mb_held_insert(&pool, &side, &segment, 256, STREAM));
            for (uint32_t at = piece->start; at < piece->start + piece->length; at++)
                if (owner[at] == 0)
                    owner[at] = (uint8_t)(i + 1);
            check_invariants(&pool, &side);
            check_owners(&pool, &side, owner, pieces);
        }
        while (side.held != 0)
            mb_held_take(&pool, &side);
        check_invariants(&pool, &side);
        mb_held_pool_destroy(&pool);
    }
}

static void a_full_pool_leaves_the_rest(void **state) {
    (void)state;
    struct mb_held_pool pool;
    struct mb_stream_side side = {.next = 0};
    assert_int_equal(mb_held_pool_create(&pool, 2), 0);
    struct mb_segment segment = {.frame = 1, .sequence = 10, .length = 5, .captured = 5};
    assert_true(mb_held_insert(&pool, &side, &segment, 8, 100));
    segment = (struct mb_segment){.frame = 2, .sequence = 5, .length = 20, .captured = 20};
    assert_false(mb_held_insert(&pool, &side, &segment, 8, 100));
    assert_int_equal(segment.sequence, 15);
    assert_int_equal(segment.length, 10);
    assert_int_equal(segment.data_offset, 10);
    assert_int_equal(pool.peak, 2);
    check_invariants(&pool, &side);
    mb_held_take(&pool, &side);
    mb_held_take(&pool, &side);
    assert_int_equal(pool.used, 0);
    mb_held_pool_destroy(&pool);
}

static void limits_leave_the_rest(void **state) {
    (void)state;
    struct mb_held_pool pool;
    struct mb_stream_side side = {.next = 0};
    assert_int_equal(mb_held_pool_create(&pool, 16), 0);
    struct mb_segment segment = {.frame = 1, .sequence = 10, .length = 5, .captured = 5};
    assert_false(mb_held_insert(&pool, &side, &segment, 0, 100));
    assert_false(mb_held_insert(&pool, &side, &segment, 1, 4));
    assert_true(mb_held_insert(&pool, &side, &segment, 1, 5));
    check_invariants(&pool, &side);
    mb_held_pool_destroy(&pool);
}

static void what_the_capture_cut_is_cut_from_the_end(void **state) {
    (void)state;
    struct mb_segment segment = {.sequence = 10, .length = 8, .captured = 3, .data_offset = 100};
    mb_segment_trim(&segment, 2);
    assert_int_equal(segment.captured, 1);
    assert_int_equal(segment.data_offset, 102);
    mb_segment_trim(&segment, 4);
    assert_int_equal(segment.sequence, 16);
    assert_int_equal(segment.length, 2);
    assert_int_equal(segment.captured, 0);
    assert_int_equal(segment.data_offset, 103);
}

/* --- the whole stack --- */

/* What the first copy of each byte says, in order, as far as there is no hole. Bytes that come when
 * their place was given out already change nothing. */
struct model {
    char byte[STREAM + 1];
    uint32_t given; /* bytes given out */
};

static void model_take(struct model *model, const struct piece *piece, char name) {
    for (uint32_t at = piece->start; at < piece->start + piece->length; at++)
        if (model->byte[at] == '\0')
            model->byte[at] = name;
    while (model->byte[model->given] != '\0')
        model->given++;
}

static void send_piece(struct stack_fixture *stack, const struct piece *piece, char name) {
    char payload[STREAM + 1];
    memset(payload, name, piece->length);
    payload[piece->length] = '\0';
    stack_send(stack, 0, ACK, FIRST + piece->start, 301, payload);
}

static void open_stream(struct stack_fixture *stack) {
    stack_open(stack);
    stack_send(stack, 0, SYN, FIRST - 1, 0, NULL);
}

static void expect_model(const struct stack_fixture *stack, const struct model *model) {
    char given[STREAM + 1];
    memcpy(given, model->byte, model->given);
    given[model->given] = '\0';
    assert_string_equal(stack_text(stack, 0), given);
}

static void random_segments_give_what_the_model_gives(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct stack_fixture stack;
        struct model model = {0};
        random_state = seed * 7919;
        open_stream(&stack);
        for (uint32_t i = 0; i < SEGMENTS; i++) {
            /* Mostly near the front, so that streams get on. */
            uint32_t span = 1 + random_below(3) * 24;
            uint32_t start = model.given > 8 ? model.given - 8 : 0;
            start += random_below(span);
            if (start >= STREAM)
                continue;
            uint32_t length = 1 + random_below(STREAM - start < 20 ? STREAM - start : 20);
            /* One byte just before the next one is a keep-alive, not data. */
            if (length == 1)
                continue;
            struct piece piece = {start, length};
            char name = (char)('A' + i);
            send_piece(&stack, &piece, name);
            model_take(&model, &piece, name);
            expect_model(&stack, &model);
        }
        stack_close(&stack);
    }
}

static void send_in_order(const unsigned order[6], const struct piece pieces[6]) {
    struct stack_fixture stack;
    struct model model = {0};
    open_stream(&stack);
    for (unsigned i = 0; i < 6; i++) {
        char name = (char)('a' + order[i]);
        send_piece(&stack, &pieces[order[i]], name);
        model_take(&model, &pieces[order[i]], name);
        expect_model(&stack, &model);
    }
    assert_int_equal(model.given, 18);
    stack_finish(&stack);
    expect_model(&stack, &model);
    assert_int_equal(mb_stack_counters(stack.stack)->held_segments, 0);
    stack_close(&stack);
}

/* Heap's algorithm. */
static void permute(unsigned order[6], unsigned count, const struct piece pieces[6],
                    unsigned *orders) {
    if (count == 1) {
        send_in_order(order, pieces);
        ++*orders;
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        permute(order, count - 1, pieces, orders);
        unsigned other = count % 2 == 0 ? i : 0;
        unsigned swap = order[other];
        order[other] = order[count - 1];
        order[count - 1] = swap;
    }
}

static void all_orders_of_six_segments(void **state) {
    (void)state;
    static const struct piece apart[6] = {{0, 3}, {3, 3}, {6, 3}, {9, 3}, {12, 3}, {15, 3}};
    static const struct piece overlapping[6] = {{0, 5}, {2, 5}, {6, 6}, {4, 9}, {9, 4}, {11, 7}};
    unsigned orders = 0;
    permute((unsigned[]){0, 1, 2, 3, 4, 5}, 6, apart, &orders);
    permute((unsigned[]){0, 1, 2, 3, 4, 5}, 6, overlapping, &orders);
    assert_int_equal(orders, 2 * 720);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_copy_of_each_byte_is_held),
        cmocka_unit_test(a_full_pool_leaves_the_rest),
        cmocka_unit_test(limits_leave_the_rest),
        cmocka_unit_test(what_the_capture_cut_is_cut_from_the_end),
        cmocka_unit_test(random_segments_give_what_the_model_gives),
        cmocka_unit_test(all_orders_of_six_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
