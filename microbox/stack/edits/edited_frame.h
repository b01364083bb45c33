/*
 * A copy of a frame, some bytes of which are other than in the frame as received; its checksums are
 * kept as right, or as wrong, as they were.
 */
#ifndef MICROBOX_STACK_EDITS_EDITED_FRAME_H
#define MICROBOX_STACK_EDITS_EDITED_FRAME_H

#include "microbox/stack/decode/checksum_trail.h"

enum {
    MB_EDITS_PER_FRAME = 16, /* changes by hand */
    MB_CHANGES_MAX = MB_EDITS_PER_FRAME + MB_CHECKSUMS_MAX
};

struct mb_changed_bytes {
    uint32_t at; /* from the frame's first byte, as is `end` */
    uint32_t end;
    uint16_t difference; /* what it adds to a sum over words that begin with its first byte */
};

struct mb_edited_frame {
    const uint8_t *before; /* the frame as received */
    uint8_t *after;        /* the copy: the same bytes, as many, until they are changed */
    uint32_t count;
    struct mb_changed_bytes changed[MB_CHANGES_MAX];
};

/* `after` holds a copy of the bytes `before`. The rest of `frame` need not be set. */
void mb_edit_begin(struct mb_edited_frame *frame, const uint8_t *before, uint8_t *after);

/* Changes bytes of the copy, an even number, which are captured and were not changed before. At
 * most MB_EDITS_PER_FRAME times a frame; more are left out. */
void mb_edit_bytes(struct mb_edited_frame *frame, uint32_t at, const uint8_t *bytes,
                   uint32_t length);

/* Bytes of the copy, any number of them, were changed already. As if by mb_edit_bytes. */
void mb_edit_changed(struct mb_edited_frame *frame, uint32_t at, uint32_t length);

/* Repairs all checksums that cover what was changed, incrementally (RFC 1624): a checksum that was
 * wrong stays wrong by as much. One that says that there is none stays so; one that was left to the
 * network card goes on holding the sum of the pseudo header. Call once, when all is changed. */
void mb_repair_checksums(struct mb_edited_frame *frame, const struct mb_checksum_trail *trail);

#endif
