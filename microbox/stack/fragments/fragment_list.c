#include "microbox/stack/fragments/fragment_list.h"

#include <string.h>

static uint16_t larger(uint16_t a, uint16_t b) {
    return a > b ? a : b;
}

static uint16_t smaller(uint16_t a, uint16_t b) {
    return a < b ? a : b;
}

uint32_t mb_fragment_list_find(const struct mb_fragment_list *list,
                               const struct mb_fragment_piece *fragment) {
    uint32_t low = 0;
    uint32_t high = list->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (list->pieces[middle].end <= fragment->start)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct mb_fragment_piece part_of(const struct mb_fragment_piece *piece, uint16_t start,
                                        uint16_t end) {
    uint16_t skipped = (uint16_t)(start - piece->start);
    uint16_t captured = piece->captured > skipped ? (uint16_t)(piece->captured - skipped) : 0;
    return (struct mb_fragment_piece){
        .at = piece->at + (captured != 0 ? skipped : 0),
        .start = start,
        .end = end,
        .captured = smaller(captured, (uint16_t)(end - start)),
    };
}

/* --- comparing --- */

/* Whether the bytes that both have are the same, as far as both were captured. */
static bool agree(const struct mb_fragment_piece *a, const struct mb_fragment_piece *b,
                  const uint8_t *pool) {
    uint16_t start = larger(a->start, b->start);
    uint16_t end = smaller(a->end, b->end);
    struct mb_fragment_piece left = part_of(a, start, end);
    struct mb_fragment_piece right = part_of(b, start, end);
    return memcmp(pool + left.at, pool + right.at, smaller(left.captured, right.captured)) == 0;
}

uint32_t mb_fragment_list_overlapped(const struct mb_fragment_list *list,
                                     const struct mb_fragment_piece *fragment, uint32_t place) {
    uint32_t end = place;
    while (end < list->count && list->pieces[end].start < fragment->end)
        end++;
    return end - place;
}

enum mb_fragment_overlap mb_fragment_list_compare(const struct mb_fragment_list *list,
                                                  const struct mb_fragment_piece *fragment,
                                                  uint32_t place, uint32_t overlapped,
                                                  const uint8_t *pool) {
    if (overlapped == 0)
        return MB_FRAGMENT_APART;
    const struct mb_fragment_piece *piece = &list->pieces[place];
    for (uint32_t i = 0; i < overlapped; i++)
        if (!agree(&piece[i], fragment, pool))
            return MB_FRAGMENT_DIFFERENT;
    if (piece->start == fragment->start && piece->end == fragment->end)
        return MB_FRAGMENT_REPEATED;
    if (piece->start < fragment->start && piece->end > fragment->end)
        return MB_FRAGMENT_INSIDE;
    return MB_FRAGMENT_SAME;
}

/* --- policies --- */

enum begins { BEGINS_NEVER, BEGINS_BEFORE, BEGINS_NOT_AFTER, BEGINS_ANYWHERE };
enum ends { ENDS_ANYWHERE, ENDS_NOT_BEFORE, ENDS_BEHIND };

/* Where a new fragment must begin and end, beside a piece, to win over it. */
struct policy {
    enum begins begins;
    enum ends ends;
};

static const struct policy policies[MB_OVERLAP_POLICIES] = {
    [MB_OVERLAP_FIRST] = {BEGINS_NEVER, ENDS_ANYWHERE},
    [MB_OVERLAP_LAST] = {BEGINS_ANYWHERE, ENDS_ANYWHERE},
    [MB_OVERLAP_BSD] = {BEGINS_BEFORE, ENDS_ANYWHERE},
    [MB_OVERLAP_LINUX] = {BEGINS_NOT_AFTER, ENDS_ANYWHERE},
    [MB_OVERLAP_WINDOWS] = {BEGINS_BEFORE, ENDS_BEHIND},
    [MB_OVERLAP_SOLARIS] = {BEGINS_BEFORE, ENDS_NOT_BEFORE},
};

static bool begins_well(enum begins begins, uint16_t fragment, uint16_t piece) {
    switch (begins) {
    case BEGINS_BEFORE:
        return fragment < piece;
    case BEGINS_NOT_AFTER:
        return fragment <= piece;
    case BEGINS_ANYWHERE:
        return true;
    default:
        return false;
    }
}

static bool ends_well(enum ends ends, uint16_t fragment, uint16_t piece) {
    switch (ends) {
    case ENDS_NOT_BEFORE:
        return fragment >= piece;
    case ENDS_BEHIND:
        return fragment > piece;
    default:
        return true;
    }
}

static bool wins(enum mb_overlap_policy policy, const struct mb_fragment_piece *fragment,
                 const struct mb_fragment_piece *piece) {
    return begins_well(policies[policy].begins, fragment->start, piece->start) &&
           ends_well(policies[policy].ends, fragment->end, piece->end);
}

/* --- inserting --- */

/* Appends bytes [start, end) of `of`, if any. */
static void append(struct mb_fragment_change *change, const struct mb_fragment_piece *of,
                   uint16_t start, uint16_t end) {
    if (start < end)
        change->pieces[change->count++] = part_of(of, start, end);
}

void mb_fragment_list_plan(const struct mb_fragment_list *list, enum mb_overlap_policy policy,
                           const struct mb_fragment_piece *fragment,
                           struct mb_fragment_change *change) {
    change->first = mb_fragment_list_find(list, fragment);
    change->count = 0;
    uint16_t placed = fragment->start; /* up to here the fragment's bytes have their place */
    const struct mb_fragment_piece *beaten = NULL;
    uint32_t i = change->first;
    for (; i < list->count && list->pieces[i].start < fragment->end; i++) {
        const struct mb_fragment_piece *piece = &list->pieces[i];
        if (wins(policy, fragment, piece)) {
            append(change, piece, piece->start, smaller(piece->end, fragment->start));
            beaten = piece;
            continue;
        }
        append(change, fragment, placed, piece->start);
        append(change, piece, piece->start, piece->end);
        placed = piece->end;
    }
    append(change, fragment, placed, fragment->end);
    if (beaten != NULL)
        append(change, beaten, larger(beaten->start, fragment->end), beaten->end);
    change->removed = i - change->first;
}

void mb_fragment_list_insert(struct mb_fragment_list *list,
                             const struct mb_fragment_piece *fragment, uint32_t place) {
    struct mb_fragment_piece *at = &list->pieces[place];
    memmove(at + 1, at, (list->count - place) * sizeof *at);
    *at = *fragment;
    list->count++;
}

bool mb_fragment_list_apply(struct mb_fragment_list *list,
                            const struct mb_fragment_change *change) {
    uint32_t behind = list->count - change->first - change->removed;
    if (list->count - change->removed + change->count > list->capacity)
        return false;
    struct mb_fragment_piece *at = &list->pieces[change->first];
    memmove(at + change->count, at + change->removed, behind * sizeof *at);
    memcpy(at, change->pieces, change->count * sizeof *at);
    list->count += change->count - change->removed;
    return true;
}
