#include "microbox/stack/edits/edited_frame.h"

#include "microbox/stack/wire/checksum.h"

#include <string.h>

static void note(struct mb_edited_frame *frame, uint32_t at, uint32_t length, uint16_t difference) {
    frame->changed[frame->count++] = (struct mb_changed_bytes){
        .at = at,
        .end = at + length,
        .difference = difference,
    };
}

void mb_edit_changed(struct mb_edited_frame *frame, uint32_t at, uint32_t length) {
    note(frame, at, length, mb_checksum_difference(frame->before + at, frame->after + at, length));
}

void mb_edit_begin(struct mb_edited_frame *frame, const uint8_t *before, uint8_t *after) {
    frame->before = before;
    frame->after = after;
    frame->count = 0;
}

void mb_edit_bytes(struct mb_edited_frame *frame, uint32_t at, const uint8_t *bytes,
                   uint32_t length) {
    if (frame->count == MB_EDITS_PER_FRAME)
        return;
    uint8_t *changed = frame->after + at;
    const uint16_t difference = mb_checksum_difference(changed, bytes, length);
    if (difference == 0 && memcmp(changed, bytes, length) == 0)
        return;
    memcpy(changed, bytes, length);
    note(frame, at, length, difference);
}

/* What the bytes of a change that lie within [from, end) add to a sum over words from `from` on.
 * Those that begin in the middle of a word count with their halves swapped (RFC 1071 section 2). */
static uint16_t share_of(const struct mb_edited_frame *frame,
                         const struct mb_changed_bytes *changed, uint32_t from, uint32_t end) {
    const uint32_t first = changed->at > from ? changed->at : from;
    const uint32_t last = changed->end < end ? changed->end : end;
    const bool is_whole = first == changed->at && last == changed->end;
    const uint16_t added = is_whole ? changed->difference
                                    : mb_checksum_difference(frame->before + first,
                                                             frame->after + first, last - first);
    return (first - from) % 2 != 0 ? __builtin_bswap16(added) : added;
}

/* What the changes within [from, end) add to a sum over these bytes. */
static uint64_t difference(const struct mb_edited_frame *frame, uint32_t from, uint32_t end) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < frame->count; i++) {
        const struct mb_changed_bytes *changed = &frame->changed[i];
        if (changed->at < end && changed->end > from)
            sum += share_of(frame, changed, from, end);
    }
    return sum;
}

/* Addresses stand side by side, but where an extension header of IPv6 has one of them. */
static uint64_t difference_of_addresses(const struct mb_edited_frame *frame,
                                        const struct mb_checksum *checksum) {
    const uint32_t source = checksum->source;
    const uint32_t destination = checksum->destination;
    const uint32_t length = checksum->address_length;
    if (source != 0 && destination == source + length)
        return difference(frame, source, destination + length);
    uint64_t sum = source != 0 ? difference(frame, source, source + length) : 0;
    if (destination != 0)
        sum += difference(frame, destination, destination + length);
    return sum;
}

/* Against the copy: what others did to this checksum, they have repaired around it. */
static void write_checksum(struct mb_edited_frame *frame, uint32_t field, uint16_t value) {
    uint8_t *bytes = frame->after + field;
    note(frame, field, sizeof value,
         mb_checksum_difference(bytes, (const uint8_t *)&value, sizeof value));
    memcpy(bytes, &value, sizeof value);
}

static void repair(struct mb_edited_frame *frame, const struct mb_checksum *checksum) {
    uint16_t value = mb_checksum_word(frame->after + checksum->field);
    if (checksum->zero_is_none && value == 0)
        return;
    uint64_t sum = difference_of_addresses(frame, checksum);
    if (!checksum->is_partial)
        sum += difference(frame, checksum->from, checksum->end);
    if (sum == 0)
        return;
    if (checksum->is_partial)
        return write_checksum(frame, checksum->field, mb_checksum_fold(sum + value));
    value = mb_checksum_repaired(value, sum);
    write_checksum(frame, checksum->field, checksum->zero_is_none && value == 0 ? 0xffff : value);
}

/* From the inside out: a checksum that is repaired is a change for those around it. */
void mb_repair_checksums(struct mb_edited_frame *frame, const struct mb_checksum_trail *trail) {
    for (uint32_t i = trail->count; i > 0; i--)
        repair(frame, &trail->checksums[i - 1]);
}
