/*
 * Whether an NF keeps to the protocol in its own page, as the worker sees it (layout.h).
 *
 * An NF that does not spoils its own results alone: nothing that is read from its page is believed
 * beyond its range. It is found out so that somebody can end it and say why.
 */
#ifndef MICROBOX_BUS_CONDUCT_H
#define MICROBOX_BUS_CONDUCT_H

#include "microbox/bus/layout.h"

#include <stddef.h>

enum mb_misconduct {
    MB_CONDUCT_FINE,
    MB_CURSOR_BEYOND_HEAD,    /* found: the cursor, expected: the head */
    MB_CURSOR_RAN_BACK,       /* ... expected: where it was before */
    MB_LOG_HEAD_RAN_BACK,     /* likewise, of its own log */
    MB_COMMAND_HEAD_RAN_BACK, /* likewise */
    MB_UNKNOWN_VERDICT,       /* found: the byte, expected: the largest verdict */
    MB_UNSOUND_REWRITE,       /* found: how many, expected: how many */
    MB_UNSOUND_EDIT,          /* likewise */
};

/* What an NF's page said when it was looked at last, and what was wrong first. */
struct mb_conduct {
    uint64_t cursor;
    uint64_t log_head;
    uint64_t command_head;
    uint64_t found;
    uint64_t expected;
    uint32_t misconduct; /* enum mb_misconduct */
};

/* Looks at the page. `head`: of the worker's log, read by its own writer. Keeps what was wrong
 * first. */
void mb_conduct_look(struct mb_conduct *conduct, const struct mb_nf_page *page, uint64_t head);

/* Something was wrong elsewhere in the NF's memory. Keeps what was wrong first. */
void mb_conduct_accuse(struct mb_conduct *conduct, enum mb_misconduct misconduct, uint64_t found,
                       uint64_t expected);

/* What was wrong, as a part of a sentence about the NF. */
void mb_conduct_in_words(const struct mb_conduct *conduct, char *text, size_t size);

#endif
