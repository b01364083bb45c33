/*
 * What the gate makes of an edit of a packet: a record as an NF may have left it, three
 * replacements, a byte for the link type, then the frame. Whatever they are, what is written lies
 * within the copy; and where the edit is taken, layers stay what they were and each checksum is as
 * right or as wrong as it was.
 */
#include "microbox/stack/edits/packet_edit.h"

#include "fuzz/link_types.h"
#include "microbox/bus/edit.h"

#include <stdlib.h>
#include <string.h>

enum { REPLACEMENTS = 3, CUTS = 2 };

static const struct mb_decoder decoder = {.key = {1, 2}, .tunnels_max = 4, .verifies = true};

/* What comes in front of the frame. */
struct said {
    struct mb_edit headers;
    struct mb_replacement replacements[REPLACEMENTS];
};

static void require(bool holds) {
    if (!holds)
        abort();
}

static struct mb_decoded decoded(const struct mb_frame *frame, const uint8_t *bytes) {
    struct mb_decoded packet;
    mb_decode(&decoder, &packet, frame, bytes, 1);
    return packet;
}

/* Where all that a checksum covers is zero, it is wrong by no amount at all (RFC 1624 section 3).
 */
static bool is_zero(const struct mb_decoded *packet) {
    const uint32_t end = packet->network_offset + packet->network_length;
    for (uint32_t at = packet->transport_offset; at < end; at++)
        if (packet->bytes[at] != 0)
            return false;
    return true;
}

/* Ports may be ones that tunnels are known by; so may tags be that take the place of others; and
 * flags may be none that TCP has. */
static bool may_look_otherwise(const struct mb_edit *headers) {
    return headers->fields & (MB_EDIT_SOURCE_PORT | MB_EDIT_DESTINATION_PORT | MB_EDIT_TCP_FLAGS) ||
           headers->tags_pushed != 0 || headers->tags_popped != 0;
}

static void compare(const struct mb_decoded *before, const struct mb_decoded *after,
                    const struct mb_edit *headers) {
    if (before->depth != after->depth || before->is_fragment || may_look_otherwise(headers))
        return;
    require(before->payload_offset == after->payload_offset);
    require(before->bad_checksum == after->bad_checksum || is_zero(before) || is_zero(after));
}

static void edit(const struct mb_frame *frame, const uint8_t *bytes, const struct said *said) {
    static const uint8_t noise[256] = {1, 2, 3, 255, 254, 253, 0, 0, 9};
    struct mb_new_bytes payload[REPLACEMENTS];
    for (unsigned i = 0; i < REPLACEMENTS; i++)
        payload[i] = (struct mb_new_bytes){
            .at = said->replacements[i].at % (frame->length + 2),
            .length = said->replacements[i].length % sizeof noise,
            .bytes = noise,
        };
    const struct mb_packet_edit edit = {
        .headers = &said->headers,
        .payload = payload,
        .payload_count = said->headers.reserved[0] % (REPLACEMENTS + 1),
    };
    uint8_t *copy = malloc(frame->length + MB_EDIT_GROWS_MAX);
    require(copy != NULL);
    struct mb_edited_packet edited;
    if (mb_packet_edit(&decoder, frame, bytes, &edit, copy, &edited) == MB_REASON_NONE) {
        require(edited.length <= frame->length + MB_EDIT_GROWS_MAX);
        require(edited.length <= edited.wire_length);
        require((int64_t)edited.length == (int64_t)frame->length + edited.shift);
        struct mb_frame after = *frame;
        after.length = edited.length;
        after.wire_length = edited.wire_length;
        const struct mb_decoded one = decoded(frame, bytes);
        const struct mb_decoded other = decoded(&after, copy);
        if (one.transport != MB_TRANSPORT_NONE)
            compare(&one, &other, &said->headers);
    }
    free(copy);
}

/* Frames end where their allocation does, as far as the sanitizers see. */
static void edit_cut(const uint8_t *bytes, uint32_t length, uint32_t wire_length,
                     uint32_t link_type, const struct said *said) {
    uint8_t *copy = malloc(length != 0 ? length : 1);
    require(copy != NULL);
    if (length != 0)
        memcpy(copy, bytes, length);
    const struct mb_frame frame = {
        .length = length, .wire_length = wire_length, .link_type = link_type};
    edit(&frame, copy, said);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct said said;
    if (size < sizeof said + 1)
        return 0;
    memcpy(&said, data, sizeof said);
    if (!mb_edit_is_sound(&said.headers)) {
        said.headers.fields &= MB_EDIT_FIELDS;
        said.headers.tags_pushed %= MB_EDIT_TAGS_MAX + 1;
        said.headers.tags_popped %= MB_EDIT_POPPED_MAX + 1;
        said.headers.ip_dscp &= 63;
        said.headers.ip_ecn &= 3;
    }
    require(mb_edit_is_sound(&said.headers));
    const uint32_t link_type = chosen_link_type(data[sizeof said]);
    const uint8_t *frame = data + sizeof said + 1;
    const uint32_t length = (uint32_t)(size - sizeof said - 1);
    for (uint32_t cut = 1; cut <= CUTS; cut++)
        edit_cut(frame, length * cut / CUTS, length, link_type, &said);
    return 0;
}
