/*
 * Which numbers make a RST good (RFC 9293 sections 3.5.2 and 3.10.7, RFC 5961 section 3):
 *
 * A connection that is synchronized believes a RST whose sequence number is just the one that it
 * waits for; one inside of the window gets a challenge. That is the end of what the other side has
 * sent, as far as it came through here. A connection that has only sent its SYN believes a RST that
 * acknowledges it, whatever the sequence number.
 */
#include "microbox/stack/reset.h"

#include "microbox/stack/wire/checksum.h"
#include "microbox/stack/wire/ipv4.h"
#include "microbox/stack/wire/ipv6.h"
#include "microbox/stack/wire/link_types.h"
#include "microbox/stack/wire/tcp.h"
#include "microbox/stack/wire/vlan.h"

#include <string.h>

enum {
    HOPS = 64, /* as hosts send them (RFC 1700) */
    ADDRESS_SIZE_ETHERNET = 6,
    ADDRESS_SIZE_IPV4 = 4,
    ADDRESS_SIZE_IPV6 = 16,
    PROTOCOL_TCP = 6,
    DO_NOT_FRAGMENT = 0x4000
};

uint32_t mb_segment_end(const struct mb_decoded *segment) {
    return segment->sequence_number + segment->payload_length +
           ((segment->tcp_flags & MB_TCP_SYN) != 0) + ((segment->tcp_flags & MB_TCP_FIN) != 0);
}

bool mb_segment_resets(const struct mb_decoded *segment) {
    return segment->tcp_flags & MB_TCP_RST;
}

/* The segment itself does not arrive. */
struct mb_reset_numbers mb_reset_onwards(const struct mb_decoded *segment, const uint32_t *sent,
                                         const uint32_t *answered) {
    const bool acknowledges = segment->tcp_flags & MB_TCP_ACK;
    struct mb_reset_numbers numbers = {
        .sequence_number = sent != NULL ? *sent : segment->sequence_number,
        .acknowledges = acknowledges || answered != NULL,
    };
    if (acknowledges)
        numbers.acknowledgment_number = segment->acknowledgment_number;
    else if (answered != NULL)
        numbers.acknowledgment_number = *answered;
    return numbers;
}

/* As one that knows no such connection answers (RFC 9293 section 3.5.2): who acknowledges something
 * waits for what follows it, who does not is told that its segment came. */
struct mb_reset_numbers mb_reset_back(const struct mb_decoded *segment, const uint32_t *answered) {
    const bool acknowledges = segment->tcp_flags & MB_TCP_ACK;
    struct mb_reset_numbers numbers = {.acknowledges = !acknowledges};
    if (answered != NULL)
        numbers.sequence_number = *answered;
    else if (acknowledges)
        numbers.sequence_number = segment->acknowledgment_number;
    if (!acknowledges)
        numbers.acknowledgment_number = mb_segment_end(segment);
    return numbers;
}

/* --- what is kept of the packet --- */

/* Nothing but VLAN tags lies between the addresses and IP. */
static bool is_plain_ethernet(const struct mb_decoded *packet) {
    uint32_t at = MB_ETHERNET_TYPE;
    for (; at + MB_VLAN_SIZE + 2 <= packet->network_offset; at += MB_VLAN_SIZE) {
        const uint16_t type = mb_read_16(packet->bytes + at);
        if (type != MB_ETHER_TYPE_VLAN && type != MB_ETHER_TYPE_QINQ &&
            type != MB_ETHER_TYPE_QINQ_OLD)
            return false;
    }
    return at + 2 == packet->network_offset;
}

static bool can_keep_link_header(const struct mb_decoded *packet, uint32_t link_type) {
    switch (link_type) {
    case MB_LINK_ETHERNET:
        return is_plain_ethernet(packet);
    case MB_LINK_NULL:
    case MB_LINK_RAW:
    case MB_LINK_LOOP:
    case MB_LINK_LINUX_COOKED:
    case MB_LINK_IPV4:
    case MB_LINK_IPV6:
    case MB_LINK_LINUX_COOKED_2:
        return true;
    default:
        return false;
    }
}

bool mb_reset_is_possible(const struct mb_decoded *packet, uint32_t link_type) {
    return packet->transport == MB_TRANSPORT_TCP && packet->depth == 0 &&
           packet->tunnel == MB_TUNNEL_NONE && packet->network_offset <= MB_RESET_LINK_MAX &&
           can_keep_link_header(packet, link_type);
}

static void copy_link_header(uint8_t *frame, const struct mb_decoded *segment, uint32_t link_type,
                             bool goes_back) {
    memcpy(frame, segment->bytes, segment->network_offset);
    if (link_type != MB_LINK_ETHERNET || !goes_back)
        return;
    memcpy(frame, segment->bytes + ADDRESS_SIZE_ETHERNET, ADDRESS_SIZE_ETHERNET);
    memcpy(frame + ADDRESS_SIZE_ETHERNET, segment->bytes, ADDRESS_SIZE_ETHERNET);
}

/* --- what is made --- */

/* Without options: an atomic datagram (RFC 6864). */
static uint32_t make_ipv4(uint8_t *header, const uint8_t *source, const uint8_t *destination) {
    memset(header, 0, MB_IPV4_SIZE_MIN);
    header[0] = 4 << 4 | MB_IPV4_SIZE_MIN / 4;
    mb_write_16(header + MB_IPV4_TOTAL_LENGTH, MB_IPV4_SIZE_MIN + MB_TCP_SIZE_MIN);
    mb_write_16(header + MB_IPV4_FRAGMENT, DO_NOT_FRAGMENT);
    header[MB_IPV4_TTL] = HOPS;
    header[MB_IPV4_PROTOCOL] = PROTOCOL_TCP;
    memcpy(header + MB_IPV4_SOURCE, source, ADDRESS_SIZE_IPV4);
    memcpy(header + MB_IPV4_DESTINATION, destination, ADDRESS_SIZE_IPV4);
    const uint16_t checksum =
        (uint16_t)~mb_checksum_fold(mb_checksum_add(0, header, MB_IPV4_SIZE_MIN));
    memcpy(header + MB_IPV4_CHECKSUM, &checksum, sizeof checksum);
    return MB_IPV4_SIZE_MIN;
}

static uint32_t make_ipv6(uint8_t *header, const uint8_t *source, const uint8_t *destination) {
    memset(header, 0, MB_IPV6_SIZE);
    header[0] = 6 << 4;
    mb_write_16(header + MB_IPV6_PAYLOAD_LENGTH, MB_TCP_SIZE_MIN);
    header[MB_IPV6_NEXT_HEADER] = PROTOCOL_TCP;
    header[MB_IPV6_HOP_LIMIT] = HOPS;
    memcpy(header + MB_IPV6_SOURCE, source, ADDRESS_SIZE_IPV6);
    memcpy(header + MB_IPV6_DESTINATION, destination, ADDRESS_SIZE_IPV6);
    return MB_IPV6_SIZE;
}

/* `pseudo`: sum over the addresses. */
static void make_tcp(uint8_t *header, uint16_t source_port, uint16_t destination_port,
                     struct mb_reset_numbers numbers, uint64_t pseudo) {
    memset(header, 0, MB_TCP_SIZE_MIN);
    mb_write_16(header + MB_TCP_SOURCE_PORT, source_port);
    mb_write_16(header + MB_TCP_DESTINATION_PORT, destination_port);
    mb_write_32(header + MB_TCP_SEQUENCE, numbers.sequence_number);
    if (numbers.acknowledges)
        mb_write_32(header + MB_TCP_ACKNOWLEDGMENT, numbers.acknowledgment_number);
    header[MB_TCP_DATA_OFFSET] = MB_TCP_SIZE_MIN / 4 << 4;
    header[MB_TCP_FLAGS] = (uint8_t)(MB_TCP_RST | (numbers.acknowledges ? MB_TCP_ACK : 0));
    pseudo = mb_checksum_add_number(pseudo, PROTOCOL_TCP);
    pseudo = mb_checksum_add_number(pseudo, MB_TCP_SIZE_MIN);
    const uint16_t checksum =
        (uint16_t)~mb_checksum_fold(mb_checksum_add(pseudo, header, MB_TCP_SIZE_MIN));
    memcpy(header + MB_TCP_CHECKSUM, &checksum, sizeof checksum);
}

uint32_t mb_reset_make(uint8_t frame[MB_RESET_FRAME_MAX], const struct mb_decoded *segment,
                       uint32_t link_type, bool goes_back, struct mb_reset_numbers numbers) {
    const uint8_t *ip = segment->bytes + segment->network_offset;
    const bool is_ipv4 = ip[0] >> 4 == 4;
    const uint32_t size = is_ipv4 ? ADDRESS_SIZE_IPV4 : ADDRESS_SIZE_IPV6;
    const uint8_t *source = ip + (is_ipv4 ? MB_IPV4_SOURCE : MB_IPV6_SOURCE);
    const uint8_t *from = goes_back ? source + size : source;
    const uint8_t *to = goes_back ? source : source + size;
    const struct mb_five_tuple *tuple = &segment->tuple;

    copy_link_header(frame, segment, link_type, goes_back);
    uint32_t length = segment->network_offset;
    length += is_ipv4 ? make_ipv4(frame + length, from, to) : make_ipv6(frame + length, from, to);
    make_tcp(frame + length, goes_back ? tuple->destination_port : tuple->source_port,
             goes_back ? tuple->source_port : tuple->destination_port, numbers,
             mb_checksum_add(0, source, 2 * size));
    return length + MB_TCP_SIZE_MIN;
}
