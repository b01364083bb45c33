#include "microbox/stack/decode/checksums.h"
#include "microbox/stack/decode/layers.h"
#include "microbox/stack/wire/icmp.h"
#include "microbox/stack/wire/tcp.h"
#include "microbox/stack/wire/udp.h"

static void decode_tcp(struct mb_decoded *decoded, struct mb_rest *rest) {
    const uint8_t *header = mb_rest_next(rest);
    decoded->type = MB_TYPE_PACKET_IP_TCP;
    decoded->transport_offset = (uint16_t)rest->at;
    uint8_t reason = mb_tcp_check(header, mb_rest_captured(rest), mb_rest_on_wire(rest));
    if (reason != MB_REASON_NONE)
        return mb_malformed(decoded, reason);
    decoded->tuple.source_port = mb_tcp_source_port(header);
    decoded->tuple.destination_port = mb_tcp_destination_port(header);
    decoded->sequence_number = mb_tcp_sequence(header);
    decoded->acknowledgment_number = mb_tcp_acknowledgment(header);
    decoded->tcp_flags = mb_tcp_flags(header);
    decoded->window = mb_tcp_window(header);
    decoded->urgent_pointer = mb_tcp_urgent_pointer(header);
    reason = mb_tcp_flags_check(decoded->tcp_flags);
    if (reason != MB_REASON_NONE)
        return mb_malformed(decoded, reason);

    mb_verify_tcp(decoded, rest);

    uint32_t header_length = mb_tcp_header_length(header);
    uint32_t header_captured =
        header_length < mb_rest_captured(rest) ? header_length : mb_rest_captured(rest);
    if (header_captured > MB_TCP_SIZE_MIN) {
        /* Receivers take segments with broken options (they stop at the broken one), so the flow
         * gets the segment all the same. */
        struct mb_tcp_options options;
        reason = mb_tcp_options_read(header + MB_TCP_SIZE_MIN, header_captured - MB_TCP_SIZE_MIN,
                                     &options);
        decoded->window_scale = options.window_scale;
        decoded->tcp_options = options.seen;
        decoded->timestamp_value = options.timestamp_value;
        decoded->timestamp_echo = options.timestamp_echo;
        if (header_captured < header_length)
            mb_malformed(decoded, MB_REASON_TCP_TRUNCATED);
        else if (reason != MB_REASON_NONE)
            mb_malformed(decoded, reason);
    }
    decoded->transport = MB_TRANSPORT_TCP;
    rest->at += header_captured;
    rest->wire_end -= header_length - header_captured;
    mb_take_payload(decoded, rest);
}

static void decode_icmp(struct mb_decoded *decoded, struct mb_rest *rest) {
    const uint8_t *message = mb_rest_next(rest);
    decoded->type = MB_TYPE_PACKET_IP_ICMP;
    decoded->transport_offset = (uint16_t)rest->at;
    uint8_t reason = mb_icmp_check(message, mb_rest_captured(rest));
    if (reason != MB_REASON_NONE)
        return mb_malformed(decoded, reason);
    decoded->icmp_type = message[MB_ICMP_TYPE];
    decoded->icmp_code = message[MB_ICMP_CODE];
    uint32_t header_length = MB_ICMP_SIZE_MIN;
    if (mb_icmp_is_echo(message, decoded->tuple.ip_version)) {
        reason = mb_icmp_echo_check(message, mb_rest_captured(rest));
        if (reason != MB_REASON_NONE)
            return mb_malformed(decoded, reason);
        decoded->icmp_identifier = mb_icmp_identifier(message);
        decoded->icmp_sequence_number = mb_icmp_sequence(message);
        decoded->tuple.source_port = decoded->icmp_identifier;
        decoded->tuple.destination_port = decoded->icmp_identifier;
        header_length = MB_ICMP_ECHO_SIZE;
    } else if (mb_icmp_is_error(message, decoded->tuple.ip_version)) {
        reason = mb_icmp_error_check(message, mb_rest_captured(rest));
        if (reason != MB_REASON_NONE)
            return mb_malformed(decoded, reason);
        decoded->is_icmp_error = true;
        header_length = MB_ICMP_ERROR_SIZE;
    }
    mb_verify_icmp(decoded, rest);
    decoded->transport = MB_TRANSPORT_ICMP;
    rest->at += header_length;
    mb_take_payload(decoded, rest);
}

void mb_decode_other(struct mb_decoded *decoded, struct mb_rest *rest) {
    decoded->type = MB_TYPE_PACKET_IP;
    decoded->transport = MB_TRANSPORT_OTHER;
    decoded->transport_offset = (uint16_t)rest->at;
    mb_note_transport(decoded, rest, decoded->tuple.protocol);
    mb_take_payload(decoded, rest);
}

/* SCTP (RFC 9260) has its ports where TCP has them; filters tell its flows apart by them. */
static void decode_sctp(struct mb_decoded *decoded, struct mb_rest *rest) {
    if (mb_rest_captured(rest) >= 4) {
        decoded->tuple.source_port = mb_read_16(mb_rest_next(rest));
        decoded->tuple.destination_port = mb_read_16(mb_rest_next(rest) + 2);
    }
    mb_decode_other(decoded, rest);
}

static void decode_udp(struct mb_decoded *decoded, struct mb_rest *rest) {
    const uint8_t *header = mb_rest_next(rest);
    decoded->type = MB_TYPE_PACKET_IP_UDP;
    decoded->transport_offset = (uint16_t)rest->at;
    uint8_t reason = mb_udp_check(header, mb_rest_captured(rest), mb_rest_on_wire(rest));
    if (reason == MB_REASON_UDP_TRUNCATED)
        return mb_malformed(decoded, reason);
    decoded->tuple.source_port = mb_udp_source_port(header);
    decoded->tuple.destination_port = mb_udp_destination_port(header);
    if (reason != MB_REASON_NONE)
        return mb_malformed(decoded, reason);
    decoded->transport = MB_TRANSPORT_UDP;
    uint32_t length = mb_udp_length(header);
    if (length != 0 && length < mb_rest_on_wire(rest))
        mb_rest_end_after(rest, length);
    mb_verify_udp(decoded, rest);
    rest->at += MB_UDP_SIZE;
    if (mb_decode_udp_tunnel(decoded, rest))
        return;
    mb_take_payload(decoded, rest);
}

void mb_decode_transport(struct mb_decoded *decoded, struct mb_rest *rest, uint8_t protocol) {
    decoded->tuple.protocol = protocol;
    switch (protocol) {
    case MB_PROTOCOL_TCP:
        return decode_tcp(decoded, rest);
    case MB_PROTOCOL_UDP:
        return decode_udp(decoded, rest);
    case MB_PROTOCOL_ICMP:
    case MB_PROTOCOL_ICMPV6:
        return decode_icmp(decoded, rest);
    case MB_PROTOCOL_IPV4:
    case MB_PROTOCOL_IPV6:
        return mb_decode_inner_ip(decoded, rest, protocol);
    case MB_PROTOCOL_GRE:
        return mb_decode_gre(decoded, rest);
    case MB_PROTOCOL_SCTP:
        return decode_sctp(decoded, rest);
    default:
        return mb_decode_other(decoded, rest);
    }
}
