#include "microbox/stack/decode/checksums.h"

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
    if (mb_checksum_fold(mb_checksum_add(0, header, mb_ipv4_header_length(header))) != RIGHT)
        wrong(decoded, MB_REASON_IPV4_CHECKSUM);
}

/* RFC 2784 section 2.4: over header and payload, without a pseudo header. */
void mb_verify_gre_packet(struct mb_decoded *decoded, const struct mb_rest *rest) {
    if (mb_rest_captured(rest) < MB_GRE_SIZE_MIN || !mb_gre_has_checksum(mb_rest_next(rest)))
        return;
    if (is_whole(rest) && sum_of(0, rest) != RIGHT)
        wrong(decoded, MB_REASON_GRE_CHECKSUM);
}

void mb_verify_tcp_segment(struct mb_decoded *decoded, const struct mb_rest *rest) {
    if (is_whole(rest))
        verify_transport(decoded, rest, MB_PROTOCOL_TCP, MB_TCP_CHECKSUM,
                         MB_REASON_TCP_BAD_CHECKSUM);
}

/* 0 says that there is none: not allowed over IPv6 (RFC 8200 section 8.1) but for tunnels (RFC
 * 6935). */
void mb_verify_udp_datagram(struct mb_decoded *decoded, const struct mb_rest *rest) {
    const uint8_t *header = mb_rest_next(rest);
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
