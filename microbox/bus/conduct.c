#include "microbox/bus/conduct.h"

#include "microbox/bus/atomic.h"

#include <inttypes.h>
#include <stdio.h>

void mb_conduct_accuse(struct mb_conduct *conduct, enum mb_misconduct misconduct, uint64_t found,
                       uint64_t expected) {
    if (conduct->misconduct != MB_CONDUCT_FINE)
        return;
    conduct->misconduct = misconduct;
    conduct->found = found;
    conduct->expected = expected;
}

static void expect_forwards(struct mb_conduct *conduct, uint64_t *before, const uint64_t *word,
                            enum mb_misconduct otherwise) {
    const uint64_t now = mb_load_relaxed(word);
    if (now < *before)
        mb_conduct_accuse(conduct, otherwise, now, *before);
    *before = now;
}

void mb_conduct_look(struct mb_conduct *conduct, const struct mb_nf_page *page, uint64_t head) {
    expect_forwards(conduct, &conduct->cursor, &page->cursor, MB_CURSOR_RAN_BACK);
    if (conduct->cursor > head)
        mb_conduct_accuse(conduct, MB_CURSOR_BEYOND_HEAD, conduct->cursor, head);
    expect_forwards(conduct, &conduct->log_head, &page->log_head, MB_LOG_HEAD_RAN_BACK);
    expect_forwards(conduct, &conduct->command_head, &page->command_head, MB_COMMAND_HEAD_RAN_BACK);
}

void mb_conduct_in_words(const struct mb_conduct *conduct, char *text, size_t size) {
    static const char *const words[] = {
        [MB_CONDUCT_FINE] = "nothing: %" PRIu64 " and %" PRIu64 " are as they should be",
        [MB_CURSOR_BEYOND_HEAD] =
            "its cursor is %" PRIu64 ", beyond the last event, which is before %" PRIu64,
        [MB_CURSOR_RAN_BACK] = "its cursor went back to %" PRIu64 " from %" PRIu64,
        [MB_LOG_HEAD_RAN_BACK] =
            "the count of events that it published went back to %" PRIu64 " from %" PRIu64,
        [MB_COMMAND_HEAD_RAN_BACK] =
            "the count of its commands went back to %" PRIu64 " from %" PRIu64,
        [MB_UNSOUND_REWRITE] =
            "it left %" PRIu64 " rewrites that no flow of its events can bear, not %" PRIu64,
        [MB_UNSOUND_EDIT] = "it left %" PRIu64 " edits that say what there is not, not %" PRIu64,
        [MB_UNKNOWN_VERDICT] = "it gave the verdict %" PRIu64 "; the largest is %" PRIu64,
    };
    snprintf(text, size, words[conduct->misconduct], conduct->found, conduct->expected);
}
