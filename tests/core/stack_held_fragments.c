/* Fragments that wait for their datagram: in order, and no more than there is room for. */
#include "microbox/stack/edits/held_fragments.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { SLOTS = 5, ONE = 1, OTHER = 2 };

static int set_up(void **state) {
    *state = mb_held_fragments_create(SLOTS);
    return *state == NULL;
}

static int tear_down(void **state) {
    mb_held_fragments_destroy(*state);
    return 0;
}

static void add(struct mb_held_fragments *fragments, uint32_t slot, uint64_t offset) {
    mb_held_fragments_add(fragments, slot, &(struct mb_frame){.offset = offset});
}

static void expect(struct mb_held_fragments *fragments, uint32_t slot, uint64_t offset) {
    struct mb_frame frame;
    assert_true(mb_held_fragments_take(fragments, slot, &frame));
    assert_int_equal(frame.offset, offset);
}

static void expect_none(struct mb_held_fragments *fragments, uint32_t slot) {
    struct mb_frame frame;
    assert_false(mb_held_fragments_take(fragments, slot, &frame));
}

static void they_come_out_in_order_each_datagram_by_itself(void **state) {
    add(*state, ONE, 10);
    add(*state, OTHER, 20);
    add(*state, ONE, 11);
    expect(*state, ONE, 10);
    expect(*state, ONE, 11);
    expect_none(*state, ONE);
    expect(*state, OTHER, 20);
    expect_none(*state, OTHER);
}

static void what_is_forgotten_does_not_come(void **state) {
    add(*state, ONE, 10);
    mb_held_fragments_forget(*state, ONE);
    expect_none(*state, ONE);
    add(*state, ONE, 11);
    expect(*state, ONE, 11);
    expect_none(*state, ONE);
}

static void those_of_a_fragment_wait_for_what_it_is_a_fragment_of(void **state) {
    add(*state, ONE, 10);
    add(*state, OTHER, 20);
    mb_held_fragments_move(*state, ONE, OTHER);
    expect_none(*state, ONE);
    expect(*state, OTHER, 20);
    expect(*state, OTHER, 10);
    expect_none(*state, OTHER);
}

static void where_there_is_no_room_who_waited_longest_goes_whole(void **state) {
    add(*state, ONE, 10);
    add(*state, ONE, 11);
    for (uint64_t i = 0; i < MB_HELD_FRAGMENTS_MAX - 2; i++)
        add(*state, OTHER, i);
    add(*state, 3, 30); /* in the place of ONE's first */
    expect_none(*state, ONE);
    expect(*state, 3, 30);
    for (uint64_t i = 0; i < MB_HELD_FRAGMENTS_MAX - 2; i++)
        expect(*state, OTHER, i);
    expect_none(*state, OTHER);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define HELD_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
        HELD_TEST(they_come_out_in_order_each_datagram_by_itself),
        HELD_TEST(what_is_forgotten_does_not_come),
        HELD_TEST(those_of_a_fragment_wait_for_what_it_is_a_fragment_of),
        HELD_TEST(where_there_is_no_room_who_waited_longest_goes_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
