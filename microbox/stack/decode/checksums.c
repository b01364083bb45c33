#include "microbox/stack/decode/checksums.h"

#include "microbox/stack/decode/checksum_trail.h"
#include "microbox/stack/wire/checksum.h"
#include "microbox/stack/wire/gre.h"
#include "microbox/stack/wire/ipv4.h"
#include "microbox/stack/wire/ipv6.h"
#include "microbox/stack/wire/tcp.h"
#include "microbox/stack/wire/udp.h"

/* The sum of data with their right checksum in place. */
enum { RIGHT = 0xffff };

static void wrong(struct mb_decoded *decoded, uint8_t reason) {
    if (decoded->bad_checksum == MB_REASON_NONE)
        decoded->bad_checksum = reason;
}

/* All that the checksum covers is there. */
static bool is_whole(const struct mb_rest *rest) {
    return mb_rest_captured(rest) == mb_rest_on_wire(rest) && !rest->has_unknown_destination;
}

static uint16_t sum_of(uint64_t sum, const struct mb_rest *rest) {
    return mb_checksum_fold(mb_checksum_add(sum, mb_rest_next(rest), mb_rest_captured(rest)));
}

/* RFC 9293 section 3.1, RFC 8200 section 8.1: addresses and protocol; the length comes apart. */
static uint64_t pseudo_header(const struct mb_decoded *decoded, const struct mb_rest *rest,
                              uint8_t protocol) {
    const struct mb_five_tuple *tuple = &decoded->tuple;
    uint64_t sum = mb_checksum_add_number(0, protocol);
    if (tuple->ip_version == 4) {
        sum = mb_checksum_add(sum, tuple->source + 12, 4);
        return mb_checksum_add(sum, tuple->destination + 12, 4);
    }
    const uint8_t *source = rest->home_address != NULL ? rest->home_address : tuple->source;
    const uint8_t *destination =
        rest->final_destination != NULL ? rest->final_destination : tuple->destination;
    sum = mb_checksum_add(sum, source, 16);
    return mb_checksum_add(sum, destination, 16);
}

/* The card adds the length itself where it cuts a large segment into pieces, so some systems leave
 * it out. */
static bool is_partial(uint64_t pseudo, uint32_t length, const uint8_t *field) {
    uint16_t said;
    memcpy(&said, field, sizeof said);
    return said == mb_checksum_fold(mb_checksum_add_number(pseudo, length)) ||
           said == mb_checksum_fold(pseudo);
}

static uint32_t offset_of(const struct mb_rest *rest, const uint8_t *bytes) {
    return (uint32_t)(bytes - rest->bytes);
}

/* What a pseudo header covers, as pseudo_header() adds it up. */
static void note_addresses(struct mb_checksum *checksum, const struct mb_decoded *decoded,
                           const struct mb_rest *rest) {
    const uint32_t network = decoded->network_offset;
    if (decoded->tuple.ip_version == 4) {
        checksum->address_length = 4;
        checksum->source = network + MB_IPV4_SOURCE;
        checksum->destination = network + MB_IPV4_DESTINATION;
        return;
    }
    checksum->address_length = 16;
    checksum->source =
        rest->home_address != NULL ? offset_of(rest, rest->home_address) : network + MB_IPV6_SOURCE;
    if (!rest->has_unknown_destination)
        checksum->destination = rest->final_destination != NULL
                                    ? offset_of(rest, rest->final_destination)
                                    : network + MB_IPV6_DESTINATION;
}

/* A right checksum may look like a partial one by chance, where all of it is there to tell. */
static bool is_left_to_card(const struct mb_decoded *decoded, const struct mb_rest *rest,
                            uint8_t protocol, uint32_t field) {
    const uint32_t length = mb_rest_on_wire(rest);
    const uint64_t pseudo = pseudo_header(decoded, rest, protocol);
    if (decoded->is_fragment || !is_partial(pseudo, length, mb_rest_next(rest) + field))
        return false;
    return !is_whole(rest) || sum_of(mb_checksum_add_number(pseudo, length), rest) != RIGHT;
}

/* In place, since a copy would wait for what was just written by halves. */
static void note(struct mb_decoded *decoded, const struct mb_rest *rest, uint8_t protocol) {
    const uint32_t field = mb_transport_checksum(protocol);
    if (field == 0 || mb_rest_captured(rest) < field + sizeof(uint16_t))
        return;
    struct mb_checksum *checksum = mb_checksum_trail_next(rest->decoder->trail);
    if (checksum == NULL)
        return;
    checksum->field = rest->at + field;
    checksum->from = rest->at;
    checksum->end = rest->end;
    checksum->source = 0;
    checksum->destination = 0;
    checksum->address_length = 0;
    checksum->zero_is_none = protocol == MB_PROTOCOL_UDP;
    checksum->is_partial = false;
    if (protocol == MB_PROTOCOL_ICMP)
        return;
    note_addresses(checksum, decoded, rest);
    checksum->is_partial = is_left_to_card(decoded, rest, protocol, field);
}

static void note_header(const struct mb_rest *rest, uint32_t field, uint32_t length) {
    mb_checksum_trail_add(rest->decoder->trail, &(struct mb_checksum){.field = rest->at + field,
                                                                      .from = rest->at,
                                                                      .end = rest->at + length});
}

void mb_note_transport(struct mb_decoded *decoded, const struct mb_rest *rest, uint8_t protocol) {
    if (rest->decoder->trail != NULL)
        note(decoded, rest, protocol);
}

static void verify_transport(struct mb_decoded *decoded, const struct mb_rest *rest,
                             uint8_t protocol, uint32_t field, uint8_t reason) {
    uint32_t length = mb_rest_captured(rest);
    uint64_t pseudo = pseudo_header(decoded, rest, protocol);
    if (sum_of(mb_checksum_add_number(pseudo, length), rest) == RIGHT)
        return;
    if (is_partial(pseudo, length, mb_rest_next(rest) + field))
        decoded->checksum_is_partial = true;
    else
        wrong(decoded, reason);
}

void mb_verify_ipv4_header(struct mb_decoded *decoded, const struct mb_rest *rest) {
    const uint8_t *header = mb_rest_next(rest);
    const uint32_t length = mb_ipv4_header_length(header);
    if (rest->decoder->trail != NULL)
        return note_header(rest, MB_IPV4_CHECKSUM, length);
    if (mb_checksum_fold(mb_checksum_add(0, header, length)) != RIGHT)
        wrong(decoded, MB_REASON_IPV4_CHECKSUM);
}

/* RFC 2784 section 2.4: over header and payload, without a pseudo header. */
void mb_verify_gre_packet(struct mb_decoded *decoded, const struct mb_rest *rest) {
    if (mb_rest_captured(rest) < MB_GRE_SIZE_MIN || !mb_gre_has_checksum(mb_rest_next(rest)))
        return;
    if (rest->decoder->trail != NULL) {
        if (mb_rest_captured(rest) >= MB_GRE_CHECKSUM_AT + sizeof(uint16_t))
            note_header(rest, MB_GRE_CHECKSUM_AT, mb_rest_captured(rest));
        return;
    }
    if (is_whole(rest) && sum_of(0, rest) != RIGHT)
        wrong(decoded, MB_REASON_GRE_CHECKSUM);
}

void mb_verify_tcp_segment(struct mb_decoded *decoded, const struct mb_rest *rest) {
    if (rest->decoder->trail != NULL)
        return note(decoded, rest, MB_PROTOCOL_TCP);
    if (is_whole(rest))
        verify_transport(decoded, rest, MB_PROTOCOL_TCP, MB_TCP_CHECKSUM,
                         MB_REASON_TCP_BAD_CHECKSUM);
}

/* 0 says that there is none: not allowed over IPv6 (RFC 8200 section 8.1) but for tunnels (RFC
 * 6935). */
void mb_verify_udp_datagram(struct mb_decoded *decoded, const struct mb_rest *rest) {
    const uint8_t *header = mb_rest_next(rest);
    if (rest->decoder->trail != NULL)
        return note(decoded, rest, MB_PROTOCOL_UDP);
    if (mb_read_16(header + MB_UDP_CHECKSUM) == 0) {
        if (decoded->tuple.ip_version == 6 &&
            !mb_is_udp_tunnel_port(mb_udp_destination_port(header)))
            wrong(decoded, MB_REASON_UDP_CHECKSUM);
        return;
    }
    if (is_whole(rest))
        verify_transport(decoded, rest, MB_PROTOCOL_UDP, MB_UDP_CHECKSUM, MB_REASON_UDP_CHECKSUM);
}

/* ICMP has no pseudo header, ICMPv6 has (RFC 4443 section 2.3). */
void mb_verify_icmp_message(struct mb_decoded *decoded, const struct mb_rest *rest) {
    if (rest->decoder->trail != NULL)
        return note(decoded, rest, decoded->tuple.protocol);
    if (!is_whole(rest))
        return;
    uint64_t pseudo = 0;
    if (decoded->tuple.protocol == MB_PROTOCOL_ICMPV6) {
        pseudo = pseudo_header(decoded, rest, MB_PROTOCOL_ICMPV6);
        pseudo = mb_checksum_add_number(pseudo, mb_rest_captured(rest));
    }
    if (sum_of(pseudo, rest) != RIGHT)
        wrong(decoded, MB_REASON_ICMP_CHECKSUM);
}
