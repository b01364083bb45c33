/*
 * The decoder alone: a byte for the link type, then one frame. Whatever it is, what is said of it
 * lies within it, cut anywhere or not, and some worker is to get it.
 */
#include "microbox/stack/decode/decode.h"

#include "fuzz/link_types.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/partition.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 7, CUTS = 8 };

static const struct mb_decoder decoder = {.key = {1, 2}, .tunnels_max = 4, .verifies = true};

static void require(bool holds) {
    if (!holds)
        abort();
}

static void check(const struct mb_decoded *packet, uint32_t length) {
    require(packet->type < MB_TYPES_BUILT_IN && packet->reason < MB_REASONS);
    require(packet->transport < MB_TRANSPORTS);
    require(packet->depth <= decoder.tunnels_max);
    require(packet->network_offset <= length && packet->transport_offset <= length);
    require(packet->network_length <= length - packet->network_offset);
    require(packet->payload_captured <= packet->payload_length);
    require(packet->payload_offset <= length);
    require(packet->payload_captured <= length - packet->payload_offset);
}

/* Frames end where their allocation does, as far as the sanitizers see. */
static void decode(const uint8_t *bytes, uint32_t length, uint32_t wire_length,
                   uint32_t link_type) {
    uint8_t *copy = malloc(length);
    require(copy != NULL || length == 0);
    if (length != 0)
        memcpy(copy, bytes, length);
    const struct mb_frame frame = {
        .length = length, .wire_length = wire_length, .link_type = link_type};
    struct mb_decoded packet;
    mb_decode(&decoder, &packet, &frame, copy, 1);
    check(&packet, length);
    require(mb_partition_worker(WORKERS, &frame, copy) < WORKERS);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    const uint32_t link_type = chosen_link_type(data[0]);
    const uint32_t length = (uint32_t)size - 1;
    decode(data + 1, length, length, link_type);
    for (uint32_t cut = 1; cut < CUTS; cut++)
        decode(data + 1, length * cut / CUTS, length, link_type);
    return 0;
}
