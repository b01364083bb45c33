/* Bytes of streams as they were judged: against a plain model that forgets nothing, with streams
 * that are cut at random, sent again, edited, acknowledged, and that wrap; and at the limit. */
#include "microbox/stack/edits/judged_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM = 40000, PLENTY = 1 << 20, SIDES = 3 };

static const uint64_t key[2] = {1, 2};

static uint32_t drawn(uint64_t *state, uint32_t below) {
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % below;
}

static struct mb_judged_bytes *plenty(void) {
    struct mb_judged_bytes *judged = mb_judged_bytes_create(PLENTY, key);
    assert_non_null(judged);
    return judged;
}

/* What a side should have: `bytes[i]` is the one at `begin + i`, where `is_known[i]`. */
struct model {
    struct mb_judged_side side;
    uint64_t begin;
    uint32_t length;       /* put so far, with gaps */
    uint32_t acknowledged; /* of these */
    uint8_t bytes[STREAM];
    bool is_known[STREAM];
};

static void put(struct mb_judged_bytes *judged, struct model *model, uint64_t *random) {
    uint32_t gap = drawn(random, 20) == 0 ? drawn(random, 5000) : 0;
    uint32_t count = 1 + drawn(random, drawn(random, 4) == 0 ? 5000 : 300);
    if (model->length + gap + count > STREAM)
        return;
    model->length += gap;
    uint8_t *bytes = &model->bytes[model->length];
    for (uint32_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(1 + drawn(random, 255));
    memset(&model->is_known[model->length], true, count);
    mb_judged_bytes_put(judged, &model->side, model->begin + model->length, bytes, count);
    model->length += count;
}

static void edit(struct mb_judged_bytes *judged, struct model *model, uint64_t *random) {
    uint8_t other[700];
    const uint32_t count = 1 + drawn(random, sizeof other);
    if (count > model->length)
        return;
    const uint32_t at = drawn(random, model->length - count + 1);
    for (uint32_t i = 0; i < count; i++) {
        other[i] = (uint8_t)(1 + drawn(random, 255));
        if (model->is_known[at + i])
            model->bytes[at + i] = other[i];
    }
    mb_judged_bytes_edit(judged, &model->side, model->begin + at, other, count);
}

/* A segment that is sent, or sent again: it carries the stream's bytes, whatever it came with. */
static void read(struct mb_judged_bytes *judged, const struct model *model, uint64_t *random) {
    uint8_t came[4000];
    uint8_t copy[sizeof came];
    uint8_t expected[sizeof came];
    const uint32_t count = 1 + drawn(random, sizeof came);
    const uint32_t at = drawn(random, STREAM - count);
    uint32_t unknown = 0;
    bool differs;
    for (uint32_t i = 0; i < count; i++) {
        const bool has_it = at + i < model->acknowledged;
        came[i] = drawn(random, 2) == 0 ? model->bytes[at + i] : (uint8_t)drawn(random, 256);
        expected[i] = model->is_known[at + i] ? model->bytes[at + i] : has_it ? 0 : came[i];
        unknown += !model->is_known[at + i] && !has_it;
    }
    const struct mb_judged_range range = {
        .position = model->begin + at,
        .length = count,
        .blank_before = model->begin + model->acknowledged,
    };
    memcpy(copy, came, count);
    assert_int_equal(mb_judged_bytes_read(judged, &model->side, &range, copy), unknown);
    assert_memory_equal(copy, expected, count);
    assert_int_equal(mb_judged_bytes_compare(judged, &model->side, &range, came, &differs),
                     unknown);
    assert_int_equal(differs, memcmp(came, expected, count) != 0);
}

static void acknowledge(struct mb_judged_bytes *judged, struct model *model, uint64_t *random) {
    const uint32_t to = drawn(random, model->length + 1);
    if (to <= model->acknowledged)
        return;
    model->acknowledged = to;
    mb_judged_bytes_acknowledge(judged, &model->side, model->begin + to);
}

static void segments_carry_what_was_judged_however_they_are_cut(void **state) {
    (void)state;
    static struct model models[SIDES];
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct mb_judged_bytes *judged = plenty();
        uint64_t random = seed;
        memset(models, 0, sizeof models);
        for (unsigned i = 0; i < SIDES; i++) {
            models[i].side.stream = i + 1;
            /* Some streams wrap: the low half of positions is a sequence number. */
            models[i].begin = (UINT64_C(1) << 32) * (1 + i) - drawn(&random, 2 * STREAM);
        }
        for (unsigned step = 0; step < 600; step++) {
            struct model *model = &models[drawn(&random, SIDES)];
            put(judged, model, &random);
            if (drawn(&random, 3) == 0)
                edit(judged, model, &random);
            if (drawn(&random, 4) == 0)
                acknowledge(judged, model, &random);
            read(judged, model, &random);
        }
        assert_int_equal(mb_judged_bytes_forgotten(judged), 0);
        mb_judged_bytes_destroy(judged);
    }
}

static uint32_t unknown_at(struct mb_judged_bytes *judged, const struct mb_judged_side *side,
                           uint64_t position, uint32_t length) {
    uint8_t copy[MB_JUDGED_BLOCK] = {0};
    return mb_judged_bytes_read(
        judged, side, &(struct mb_judged_range){.position = position, .length = length}, copy);
}

static void the_limit_takes_acknowledged_bytes_first_and_then_the_oldest(void **state) {
    (void)state;
    struct mb_judged_bytes *judged = mb_judged_bytes_create(0, key);
    static const uint8_t block[MB_JUDGED_BLOCK];
    struct mb_judged_side old = {.stream = 1};
    struct mb_judged_side acknowledged = {.stream = 2};
    struct mb_judged_side many = {.stream = 3};
    const uint64_t at = UINT64_C(1) << 32;
    mb_judged_bytes_put(judged, &old, at, block, 2);
    mb_judged_bytes_put(judged, &acknowledged, at, block, MB_JUDGED_BLOCK);
    mb_judged_bytes_acknowledge(judged, &acknowledged, at + MB_JUDGED_BLOCK);
    assert_int_equal(unknown_at(judged, &acknowledged, at, 8), 0);
    for (unsigned i = 0; i < MB_JUDGED_BLOCKS_MIN - 1; i++)
        mb_judged_bytes_put(judged, &many, at + i * sizeof block, block, sizeof block);
    assert_int_equal(unknown_at(judged, &acknowledged, at, 8), 8);
    assert_int_equal(unknown_at(judged, &old, at, 2), 0);
    assert_int_equal(mb_judged_bytes_forgotten(judged), 0);
    mb_judged_bytes_put(judged, &many, many.end, block, 1);
    assert_int_equal(unknown_at(judged, &old, at, 2), 2);
    assert_int_equal(old.first, 0);
    assert_int_equal(mb_judged_bytes_forgotten(judged), 1);
    for (unsigned i = 0; i < 3 * MB_JUDGED_BLOCKS_MIN; i++)
        mb_judged_bytes_put(judged, &many, many.end, block, sizeof block);
    assert_int_equal(unknown_at(judged, &many, many.end - 8, 8), 0);
    mb_judged_bytes_destroy(judged);
}

static void four_gigabytes_later_it_is_another_byte(void **state) {
    (void)state;
    struct mb_judged_bytes *judged = plenty();
    struct mb_judged_side side = {.stream = 1};
    const uint64_t at = UINT64_C(1) << 32;
    mb_judged_bytes_put(judged, &side, at, (const uint8_t *)"first", 5);
    mb_judged_bytes_acknowledge(judged, &side, at + 5);
    mb_judged_bytes_put(judged, &side, at + (UINT64_C(1) << 32), (const uint8_t *)"later", 5);
    uint8_t copy[5] = {0};
    const struct mb_judged_range range = {.position = at + (UINT64_C(1) << 32), .length = 5};
    assert_int_equal(mb_judged_bytes_read(judged, &side, &range, copy), 0);
    assert_memory_equal(copy, "later", 5);
    mb_judged_bytes_destroy(judged);
}

static void a_released_side_begins_anew_anywhere(void **state) {
    (void)state;
    struct mb_judged_bytes *judged = plenty();
    struct mb_judged_side side = {.stream = 1};
    mb_judged_bytes_put(judged, &side, 90000, (const uint8_t *)"abc", 3);
    mb_judged_bytes_release(judged, &side);
    side = (struct mb_judged_side){.stream = 2};
    mb_judged_bytes_put(judged, &side, 10, (const uint8_t *)"def", 3);
    assert_int_equal(unknown_at(judged, &side, 10, 3), 0);
    assert_int_equal(unknown_at(judged, &side, 90000, 3), 3);
    mb_judged_bytes_destroy(judged);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_carry_what_was_judged_however_they_are_cut),
        cmocka_unit_test(the_limit_takes_acknowledged_bytes_first_and_then_the_oldest),
        cmocka_unit_test(four_gigabytes_later_it_is_another_byte),
        cmocka_unit_test(a_released_side_begins_anew_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
