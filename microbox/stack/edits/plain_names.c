#include "microbox/stack/edits/plain_names.h"

#include "microbox/stack/wire/checksum.h"
#include "microbox/stack/wire/ipv4.h"
#include "microbox/stack/wire/link_types.h"
#include "microbox/stack/wire/tcp.h"

#include <string.h>

/* From the frame's first byte. */
enum {
    ETHER_TYPE = 12,
    NETWORK = 14,
    TRANSPORT = NETWORK + MB_IPV4_SIZE_MIN,
    SEGMENT = TRANSPORT + MB_TCP_SIZE_MIN,
    NAMES = NETWORK + MB_IPV4_SOURCE
};

/* Within the names. */
enum { SOURCE = 0, DESTINATION = 4, SOURCE_PORT = 8, DESTINATION_PORT = 10 };

static const uint16_t IPV4 = 0x0800;
static const uint8_t WITHOUT_OPTIONS = 0x45; /* version 4, five words */
static const uint8_t TCP = 6;

static bool is_plain_header(const uint8_t *bytes) {
    const uint8_t *header = bytes + NETWORK;
    return mb_read_16(bytes + ETHER_TYPE) == IPV4 && header[0] == WITHOUT_OPTIONS &&
           mb_ipv4_protocol(header) == TCP && !mb_ipv4_is_fragment(header);
}

/* All of it was captured, and nothing is wrong with it that would end the decoder's way before the
 * end of the TCP header. */
static bool is_plain(const struct mb_frame *frame, const uint8_t *bytes) {
    if (frame->link_type != MB_LINK_ETHERNET || frame->length < SEGMENT ||
        frame->length != frame->wire_length || !is_plain_header(bytes))
        return false;
    const uint32_t total = mb_ipv4_total_length(bytes + NETWORK);
    if (total < SEGMENT - NETWORK || total > frame->length - NETWORK)
        return false;
    const uint8_t *segment = bytes + TRANSPORT;
    const uint32_t length = total - MB_IPV4_SIZE_MIN;
    return mb_tcp_check(segment, length, length) == MB_REASON_NONE &&
           mb_tcp_flags_check(mb_tcp_flags(segment)) == MB_REASON_NONE;
}

static uint16_t difference(const struct mb_plain_names *names, uint32_t at, uint32_t length) {
    return mb_checksum_difference(names->before + at, names->after + at, length);
}

void mb_plain_names_learn(struct mb_plain_names *names, const struct mb_frame *frame,
                          const uint8_t *before, const uint8_t *after) {
    if (!is_plain(frame, before))
        return;
    memcpy(names->before, before + NAMES, MB_PLAIN_NAMES_SIZE);
    memcpy(names->after, after + NAMES, MB_PLAIN_NAMES_SIZE);
    names->to_header = (uint32_t)difference(names, SOURCE, 4) + difference(names, DESTINATION, 4);
    names->to_segment = names->to_header + difference(names, SOURCE_PORT, 2) +
                        difference(names, DESTINATION_PORT, 2);
    names->pseudo = mb_checksum_fold(
        mb_checksum_add(mb_checksum_add_number(0, TCP), names->before, SOURCE_PORT));
    names->is_known = true;
}

/* The checksum may be left to the network card (checksums.h). */
static bool may_be_partial(const struct mb_plain_names *names, const uint8_t *bytes) {
    const uint32_t length = mb_ipv4_total_length(bytes + NETWORK) - MB_IPV4_SIZE_MIN;
    const uint16_t said = mb_checksum_word(bytes + TRANSPORT + MB_TCP_CHECKSUM);
    return said == names->pseudo ||
           said == mb_checksum_fold(mb_checksum_add_number(names->pseudo, length));
}

static void repair(uint8_t *field, uint32_t sum) {
    const uint16_t value = mb_checksum_repaired(mb_checksum_word(field), sum);
    memcpy(field, &value, sizeof value);
}

bool mb_plain_names_write(const struct mb_plain_names *names, const struct mb_frame *frame,
                          const uint8_t *bytes, uint8_t *copy) {
    if (!names->is_known || !is_plain(frame, bytes) ||
        memcmp(bytes + NAMES, names->before, MB_PLAIN_NAMES_SIZE) != 0 ||
        may_be_partial(names, bytes))
        return false;
    memcpy(copy + NAMES, names->after, MB_PLAIN_NAMES_SIZE);
    repair(copy + NETWORK + MB_IPV4_CHECKSUM, names->to_header);
    repair(copy + TRANSPORT + MB_TCP_CHECKSUM, names->to_segment);
    return true;
}
