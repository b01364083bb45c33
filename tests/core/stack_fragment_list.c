/*
 * Overlapping fragments against an obvious model: a map that says of each byte which fragment it is
 * from. Runs of the map are the pieces that a new fragment is compared with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "microbox/stack/fragments/fragment_list.h"

#include <string.h>

enum { BYTES = 6, FRAGMENTS = 4, CAPACITY = 64, NOBODY = 0 };

/* Fragment f has the bytes [start, end), each of them with the value f + 1. */
struct span {
    uint16_t start;
    uint16_t end;
};

static uint8_t pool[(FRAGMENTS + 1) * BYTES];

static struct mb_fragment_piece piece_of(struct span span, unsigned fragment) {
    return (struct mb_fragment_piece){.at = (fragment + 1u) * BYTES,
                                      .start = span.start,
                                      .end = span.end,
                                      .captured = (uint16_t)(span.end - span.start)};
}

static void insert(struct mb_fragment_list *list, enum mb_overlap_policy policy, struct span span,
                   unsigned fragment) {
    static struct mb_fragment_change change;
    const struct mb_fragment_piece piece = piece_of(span, fragment);
    mb_fragment_list_plan(list, policy, &piece, &change);
    assert_true(mb_fragment_list_apply(list, &change));
}

/* What docs say of each policy, in words of their own. */
static bool new_wins(enum mb_overlap_policy policy, struct span fragment, struct span run) {
    switch (policy) {
    case MB_OVERLAP_LAST:
        return true;
    case MB_OVERLAP_BSD:
        return fragment.start < run.start;
    case MB_OVERLAP_LINUX:
        return fragment.start <= run.start;
    case MB_OVERLAP_WINDOWS:
        return fragment.start < run.start && fragment.end > run.end;
    case MB_OVERLAP_SOLARIS:
        return fragment.start < run.start && fragment.end >= run.end;
    default:
        return false;
    }
}

static struct span run_at(const uint8_t map[BYTES], uint16_t byte) {
    struct span run = {byte, (uint16_t)(byte + 1)};
    while (run.start > 0 && map[run.start - 1] == map[byte])
        run.start--;
    while (run.end < BYTES && map[run.end] == map[byte])
        run.end++;
    return run;
}

static void model_insert(uint8_t map[BYTES], enum mb_overlap_policy policy, struct span span,
                         unsigned fragment) {
    uint8_t before[BYTES];
    memcpy(before, map, BYTES);
    for (uint16_t byte = span.start; byte < span.end; byte++)
        if (before[byte] == NOBODY || new_wins(policy, span, run_at(before, byte)))
            map[byte] = (uint8_t)(fragment + 1);
}

/* Sorted, disjoint, and each byte from where the map says. */
static void expect_as_in_map(const struct mb_fragment_list *list, const uint8_t map[BYTES]) {
    uint8_t held[BYTES] = {0};
    for (uint32_t i = 0; i < list->count; i++) {
        const struct mb_fragment_piece *piece = &list->pieces[i];
        assert_true(piece->start < piece->end && piece->end <= BYTES);
        assert_true(i == 0 || list->pieces[i - 1].end <= piece->start);
        assert_int_equal(piece->captured, piece->end - piece->start);
        memcpy(held + piece->start, pool + piece->at, piece->captured);
    }
    assert_memory_equal(held, map, BYTES);
}

static unsigned list_spans(struct span spans[BYTES * BYTES]) {
    unsigned count = 0;
    for (uint16_t start = 0; start < BYTES; start++)
        for (uint16_t end = (uint16_t)(start + 1); end <= BYTES; end++)
            spans[count++] = (struct span){start, end};
    return count;
}

/* All sequences of FRAGMENTS fragments: 21 to the power of 4, for each policy. */
static void all_orders_of_all_overlaps_agree_with_the_map(void **state) {
    (void)state;
    struct span spans[BYTES * BYTES];
    struct mb_fragment_piece pieces[CAPACITY];
    unsigned count = list_spans(spans);
    for (unsigned i = 0; i < sizeof pool; i++)
        pool[i] = (uint8_t)(i / BYTES);
    for (enum mb_overlap_policy policy = 0; policy < MB_OVERLAP_POLICIES; policy++)
        for (unsigned sequence = 0; sequence < count * count * count * count; sequence++) {
            struct mb_fragment_list list = {.pieces = pieces, .capacity = CAPACITY};
            uint8_t map[BYTES] = {0};
            unsigned rest = sequence;
            for (unsigned fragment = 0; fragment < FRAGMENTS; fragment++, rest /= count) {
                insert(&list, policy, spans[rest % count], fragment);
                model_insert(map, policy, spans[rest % count], fragment);
            }
            expect_as_in_map(&list, map);
        }
}

static void a_full_list_stays_as_it_was(void **state) {
    (void)state;
    struct mb_fragment_piece pieces[2];
    struct mb_fragment_list list = {.pieces = pieces, .capacity = 2};
    static struct mb_fragment_change change;
    insert(&list, MB_OVERLAP_FIRST, (struct span){0, 1}, 0);
    insert(&list, MB_OVERLAP_FIRST, (struct span){2, 3}, 1);
    const struct mb_fragment_piece third = piece_of((struct span){4, 5}, 2);
    mb_fragment_list_plan(&list, MB_OVERLAP_FIRST, &third, &change);
    assert_false(mb_fragment_list_apply(&list, &change));
    assert_int_equal(list.count, 2);
    assert_int_equal(list.pieces[1].start, 2);
}

static void comparing_names_the_kind_of_overlap(void **state) {
    (void)state;
    static const uint8_t bytes[] = "abcdefgh#bc";
    struct mb_fragment_piece pieces[CAPACITY] = {{.at = 0, .start = 8, .end = 12, .captured = 4},
                                                 {.at = 4, .start = 16, .end = 20, .captured = 2}};
    const struct mb_fragment_list list = {.pieces = pieces, .count = 2, .capacity = CAPACITY};
    static const struct {
        struct mb_fragment_piece fragment;
        enum mb_fragment_overlap overlap;
    } cases[] = {
        {{.at = 0, .start = 0, .end = 8, .captured = 8}, MB_FRAGMENT_APART},
        {{.at = 0, .start = 12, .end = 16, .captured = 4}, MB_FRAGMENT_APART},
        {{.at = 0, .start = 8, .end = 12, .captured = 4}, MB_FRAGMENT_REPEATED},
        {{.at = 1, .start = 9, .end = 11, .captured = 2}, MB_FRAGMENT_INSIDE},
        {{.at = 0, .start = 8, .end = 11, .captured = 3}, MB_FRAGMENT_SAME},
        {{.at = 8, .start = 8, .end = 11, .captured = 3}, MB_FRAGMENT_DIFFERENT},
        {{.at = 4, .start = 16, .end = 24, .captured = 4}, MB_FRAGMENT_SAME},
        /* What the capture does not have is taken to be the same. */
        {{.at = 8, .start = 18, .end = 20, .captured = 2}, MB_FRAGMENT_SAME},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct mb_fragment_piece *fragment = &cases[i].fragment;
        const uint32_t place = mb_fragment_list_find(&list, fragment);
        const uint32_t overlapped = mb_fragment_list_overlapped(&list, fragment, place);
        assert_int_equal(mb_fragment_list_compare(&list, fragment, place, overlapped, bytes),
                         cases[i].overlap);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_orders_of_all_overlaps_agree_with_the_map),
        cmocka_unit_test(a_full_list_stays_as_it_was),
        cmocka_unit_test(comparing_names_the_kind_of_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
