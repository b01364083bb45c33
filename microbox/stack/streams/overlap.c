#include "microbox/stack/streams/overlap.h"

#include "microbox/stack/sequence_number.h"

enum { BEFORE, AT, BEHIND, RELATIONS };

enum copy { HELD, NEW };

/* By policy, by where the new segment begins, by where it ends, seen from the held one. */
static const uint8_t kept[MB_OVERLAP_POLICIES][RELATIONS][RELATIONS] = {
    /* clang-format off */
    /* ends:                before  at    behind     before  at    behind    before  at    behind */
    /* begins:              before                   at                      behind               */
    [MB_OVERLAP_FIRST]   = {{HELD, HELD, HELD},     {HELD, HELD, HELD},     {HELD, HELD, HELD}},
    [MB_OVERLAP_LAST]    = {{NEW,  NEW,  NEW},      {NEW,  NEW,  NEW},      {NEW,  NEW,  NEW}},
    [MB_OVERLAP_BSD]     = {{NEW,  NEW,  NEW},      {HELD, HELD, HELD},     {HELD, HELD, HELD}},
    [MB_OVERLAP_LINUX]   = {{NEW,  NEW,  NEW},      {HELD, HELD, NEW},      {HELD, HELD, HELD}},
    [MB_OVERLAP_WINDOWS] = {{NEW,  NEW,  NEW},      {HELD, HELD, HELD},     {HELD, HELD, HELD}},
    [MB_OVERLAP_SOLARIS] = {{HELD, NEW,  NEW},      {HELD, NEW,  NEW},      {HELD, HELD, NEW}},
    /* clang-format on */
};

static unsigned relation(uint32_t held, uint32_t arrived) {
    if (arrived == held)
        return AT;
    return mb_sequence_before(arrived, held) ? BEFORE : BEHIND;
}

bool mb_overlap_keeps_new(enum mb_overlap_policy policy, struct mb_extent held,
                          struct mb_extent arrived) {
    unsigned begins = relation(held.begin, arrived.begin);
    unsigned ends = relation(held.end, arrived.end);
    return kept[policy][begins][ends] == NEW;
}
