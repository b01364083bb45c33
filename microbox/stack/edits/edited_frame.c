#include "microbox/stack/edits/edited_frame.h"

#include "microbox/stack/wire/checksum.h"

#include <string.h>

/* What the change adds to a sum over words, in the machine's own byte order (wire/checksum.h). An
 * odd byte at the end is one of a word with a zero (RFC 1071 section 4.1). */
static uint16_t difference_of(const uint8_t *before, const uint8_t *after, uint32_t length) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < length; i += 2) {
        const size_t size = i + 1 < length ? 2 : 1;
        uint16_t old = 0;
        uint16_t new = 0;
        memcpy(&old, before + i, size);
        memcpy(&new, after + i, size);
        sum += (uint64_t) new + (uint16_t)~old;
    }
    const uint16_t folded = mb_checksum_fold(sum);
    return folded != 0xffff ? folded : 0; /* the two zeros are one */
}

void mb_edit_changed(struct mb_edited_frame *frame, uint32_t at, uint32_t length) {
    frame->changed[frame->count++] = (struct mb_changed_bytes){
        .at = at,
        .length = length,
        .difference = difference_of(frame->before + at, frame->after + at, length),
    };
}

void mb_edit_begin(struct mb_edited_frame *frame, const uint8_t *before, uint8_t *after) {
    frame->before = before;
    frame->after = after;
    frame->count = 0;
}

void mb_edit_bytes(struct mb_edited_frame *frame, uint32_t at, const uint8_t *bytes,
                   uint32_t length) {
    if (frame->count == MB_EDITS_PER_FRAME || memcmp(frame->after + at, bytes, length) == 0)
        return;
    memcpy(frame->after + at, bytes, length);
    mb_edit_changed(frame, at, length);
}

/* Of a change that a checksum covers a part of only. */
static uint16_t part_of(const struct mb_edited_frame *frame, uint32_t at, uint32_t end) {
    return difference_of(frame->before + at, frame->after + at, end - at);
}

/* What the changes within [from, end) add to a sum over these bytes. Those that begin in the middle
 * of a word count with their halves swapped (RFC 1071 section 2). */
static uint64_t difference(const struct mb_edited_frame *frame, uint32_t from, uint32_t end) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < frame->count; i++) {
        const struct mb_changed_bytes *changed = &frame->changed[i];
        const uint32_t changed_end = changed->at + changed->length;
        const uint32_t first = changed->at > from ? changed->at : from;
        const uint32_t last = changed_end < end ? changed_end : end;
        if (first >= last)
            continue;
        const bool is_whole = last - first == changed->length;
        const uint16_t added = is_whole ? changed->difference : part_of(frame, first, last);
        sum += (first - from) % 2 != 0 ? __builtin_bswap16(added) : added;
    }
    return sum;
}

static uint64_t difference_of_address(const struct mb_edited_frame *frame, uint32_t address,
                                      uint32_t length) {
    return address != 0 ? difference(frame, address, address + length) : 0;
}

static void write_checksum(struct mb_edited_frame *frame, uint32_t field, uint16_t value) {
    memcpy(frame->after + field, &value, sizeof value);
    mb_edit_changed(frame, field, sizeof value);
}

static void repair(struct mb_edited_frame *frame, const struct mb_checksum *checksum) {
    uint16_t value;
    memcpy(&value, frame->after + checksum->field, sizeof value);
    if (checksum->zero_is_none && value == 0)
        return;
    uint64_t sum = difference_of_address(frame, checksum->source, checksum->address_length);
    sum += difference_of_address(frame, checksum->destination, checksum->address_length);
    if (!checksum->is_partial)
        sum += difference(frame, checksum->from, checksum->end);
    if (sum == 0)
        return;
    if (checksum->is_partial)
        return write_checksum(frame, checksum->field, mb_checksum_fold(sum + value));
    value = (uint16_t)~mb_checksum_fold(sum + (uint16_t)~value);
    write_checksum(frame, checksum->field, checksum->zero_is_none && value == 0 ? 0xffff : value);
}

/* From the inside out: a checksum that is repaired is a change for those around it. */
void mb_repair_checksums(struct mb_edited_frame *frame, const struct mb_checksum_trail *trail) {
    for (uint32_t i = trail->count; i > 0; i--)
        repair(frame, &trail->checksums[i - 1]);
}
