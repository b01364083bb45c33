/*
 * A frame of a flow that has other names: a byte for the link type, then the frame. Whatever it is,
 * what is written lies within it, its layers stay what they were, and each checksum is as right or
 * as wrong as it was.
 */
#include "microbox/stack/edits/translation.h"

#include "fuzz/link_types.h"

#include <stdlib.h>
#include <string.h>

enum { FLOW = 7, SLOT = 1, SLOTS = 2, CUTS = 4 };

static const struct mb_decoder decoder = {.key = {1, 2}, .tunnels_max = 4, .verifies = true};

static void require(bool holds) {
    if (!holds)
        abort();
}

static struct mb_decoded decoded(const struct mb_frame *frame, const uint8_t *bytes) {
    struct mb_decoded packet;
    mb_decode(&decoder, &packet, frame, bytes, 1);
    return packet;
}

static struct mb_rewrite names(uint8_t ip_version) {
    struct mb_rewrite rewrite = {
        .flow = FLOW,
        .source_port = 40000,
        .destination_port = 50000,
        .fields = MB_REWRITE_FIELDS,
        .source = {[10] = 0xff, 0xff, 192, 0, 2, 1},
        .destination = {[10] = 0xff, 0xff, 192, 0, 2, 2},
    };
    if (ip_version != 4) {
        rewrite.source[0] = 0x20;
        rewrite.destination[0] = 0x20;
    }
    return rewrite;
}

/* Where all that a checksum covers is zero, it is wrong by no amount at all (RFC 1624 section 3):
 * it should be the other zero. */
static bool is_zero(const struct mb_decoded *packet) {
    const uint32_t end = packet->network_offset + packet->network_length;
    for (uint32_t at = packet->transport_offset; at < end; at++)
        if (packet->bytes[at] != 0)
            return false;
    return true;
}

/* A UDP port may be one that tunnels are known by, so what is inside of UDP may look otherwise. */
static void compare(const struct mb_decoded *before, const struct mb_decoded *after) {
    if (before->depth != after->depth || before->is_fragment)
        return;
    require(before->type == after->type && before->transport == after->transport);
    require(before->payload_offset == after->payload_offset);
    require(before->bad_checksum == after->bad_checksum || is_zero(before));
    require(before->checksum_is_partial == after->checksum_is_partial);
}

/* What was remembered of the first time comes to the same. */
static void require_again(struct mb_translations *translations, const struct mb_leaving *packet,
                          const uint8_t *first) {
    const uint32_t length = packet->frame->length;
    if (length == 0)
        return;
    uint8_t *copy = malloc(length);
    require(copy != NULL);
    memcpy(copy, packet->bytes, length);
    mb_translations_apply(translations, packet, copy);
    require(memcmp(copy, first, length) == 0);
    free(copy);
}

static void translate(const struct mb_frame *frame, const uint8_t *bytes, unsigned direction) {
    struct mb_translations *translations = mb_translations_create(SLOTS, &decoder);
    require(translations != NULL);
    const struct mb_decoded before = decoded(frame, bytes);
    const struct mb_rewrite rewrite = names(before.tuple.ip_version);
    const struct mb_leaving packet = {.frame = frame,
                                      .bytes = bytes,
                                      .flow = FLOW,
                                      .flow_slot = SLOT,
                                      .direction = (uint8_t)direction};
    require(mb_translations_take(translations, &packet, 0, &rewrite));
    uint8_t *copy = malloc(frame->length);
    require(copy != NULL || frame->length == 0);
    if (frame->length != 0)
        memcpy(copy, bytes, frame->length);
    mb_translations_apply(translations, &packet, copy);
    require_again(translations, &packet, copy);
    const struct mb_decoded after = decoded(frame, copy);
    if (before.transport != MB_TRANSPORT_NONE)
        compare(&before, &after);
    free(copy);
    mb_translations_destroy(translations);
}

/* Frames end where their allocation does, as far as the sanitizers see. */
static void translate_cut(const uint8_t *bytes, uint32_t length, uint32_t wire_length,
                          uint32_t link_type) {
    uint8_t *copy = malloc(length);
    require(copy != NULL || length == 0);
    if (length != 0)
        memcpy(copy, bytes, length);
    const struct mb_frame frame = {
        .length = length, .wire_length = wire_length, .link_type = link_type};
    translate(&frame, copy, 0);
    translate(&frame, copy, 1);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    const uint32_t link_type = chosen_link_type(data[0]);
    const uint32_t length = (uint32_t)size - 1;
    for (uint32_t cut = 1; cut <= CUTS; cut++)
        translate_cut(data + 1, length * cut / CUTS, length, link_type);
    return 0;
}
