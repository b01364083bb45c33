/*
 * One packet with other headers, other bytes of payload, other VLAN tags: from a frame to the bytes
 * of its next version. Pure: no memory is kept, nothing is counted.
 *
 * Fields of IP and above, and the payload, are those of the innermost packet that the decoder
 * follows; addresses of Ethernet and VLAN tags are the frame's own, on the outside. All checksums
 * around what changes are repaired (edited_frame.h).
 */
#ifndef MICROBOX_STACK_EDITS_PACKET_EDIT_H
#define MICROBOX_STACK_EDITS_PACKET_EDIT_H

#include "microbox/bus/layout.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/decode/decode.h"

enum { MB_EDIT_GROWS_MAX = 4 * MB_EDIT_TAGS_MAX }; /* bytes that a frame becomes longer */

/* Bytes that take the place of as many from `at` on. They may lie in an NF's memory: they are
 * copied once, and never looked at where they lie. */
struct mb_new_bytes {
    uint32_t at; /* from the frame's first byte */
    uint32_t length;
    const uint8_t *bytes;
};

/* What is to change. `headers` is sound (mb_edit_is_sound); NULL: no header. Later ones of
 * `payload` come over earlier ones. */
struct mb_packet_edit {
    const struct mb_edit *headers;
    const struct mb_new_bytes *payload;
    uint32_t payload_count;
};

/* What came of it. */
struct mb_edited_packet {
    uint32_t length;
    uint32_t wire_length;
    int32_t shift; /* what lies behind the link addresses lies so much further on than before */
};

/* Writes the edited frame into `copy`, which has room for `frame->length` + MB_EDIT_GROWS_MAX bytes
 * and does not overlap `bytes`. Returns MB_REASON_NONE, or why all of the edit is refused: then
 * what `copy` holds is of no use. `decoder` is the stack's. */
enum mb_reason mb_packet_edit(const struct mb_decoder *decoder, const struct mb_frame *frame,
                              const uint8_t *bytes, const struct mb_packet_edit *edit,
                              uint8_t *copy, struct mb_edited_packet *edited);

#endif
