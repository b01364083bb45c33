#include "microbox/stack/edits/packet_edit.h"

#include "microbox/stack/decode/checksum_trail.h"
#include "microbox/stack/decode/layers.h"
#include "microbox/stack/edits/edited_frame.h"
#include "microbox/stack/wire/ethernet.h"
#include "microbox/stack/wire/ipv4.h"
#include "microbox/stack/wire/ipv6.h"
#include "microbox/stack/wire/link_types.h"
#include "microbox/stack/wire/tcp.h"
#include "microbox/stack/wire/vlan.h"

enum {
    OF_ETHERNET = MB_EDIT_ETH_SOURCE | MB_EDIT_ETH_DESTINATION,
    OF_ANY_IP = MB_EDIT_IP_TTL | MB_EDIT_IP_DSCP | MB_EDIT_IP_ECN,
    /* What all fragments of a datagram have in common, or a checksum over all of it covers. */
    OF_DATAGRAM = MB_EDIT_IP_IDENTIFICATION | MB_EDIT_IP_SOURCE | MB_EDIT_IP_DESTINATION,
    OF_IP = OF_ANY_IP | OF_DATAGRAM,
    OF_PORTS = MB_EDIT_SOURCE_PORT | MB_EDIT_DESTINATION_PORT,
    OF_TCP = MB_EDIT_TCP_FLAGS | MB_EDIT_TCP_WINDOW | MB_EDIT_TCP_URGENT_POINTER,
    OF_TRANSPORT = OF_PORTS | OF_TCP,

    ETHERNET_DESTINATION = 0,
    ETHERNET_SOURCE = 6,
    ETHERNET_ADDRESS_SIZE = 6,
    UDP_PORTS_SIZE = 4,
    DSCP_SHIFT = 2,
    ECN_MASK = 3
};

/* --- what cannot be --- */

static bool is_ethernet(const struct mb_frame *frame) {
    return frame->link_type == MB_LINK_ETHERNET && frame->length >= MB_ETHERNET_SIZE;
}

static bool has_transport(const struct mb_decoded *packet, uint32_t size) {
    const uint32_t end = packet->network_offset + packet->network_length;
    return packet->transport_offset != 0 && packet->transport_offset + size <= end;
}

static bool has_tcp_fields(const struct mb_decoded *packet) {
    return packet->tuple.protocol == MB_PROTOCOL_TCP && has_transport(packet, MB_TCP_SIZE_MIN);
}

static bool has_ports(const struct mb_decoded *packet) {
    return has_tcp_fields(packet) ||
           (packet->tuple.protocol == MB_PROTOCOL_UDP && has_transport(packet, UDP_PORTS_SIZE));
}

static bool is_of_version(const uint8_t address[16], uint8_t ip_version) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    return (memcmp(address, mapped, sizeof mapped) == 0) == (ip_version == 4);
}

static bool has_fields(const struct mb_decoded *packet, const struct mb_frame *frame,
                       const struct mb_edit *edit) {
    const uint32_t fields = edit->fields;
    const uint8_t ip_version = packet->tuple.ip_version;
    if (fields & OF_ETHERNET && !is_ethernet(frame))
        return false;
    if (fields & OF_IP && ip_version == 0)
        return false;
    if (fields & MB_EDIT_IP_IDENTIFICATION && ip_version != 4)
        return false;
    if (fields & MB_EDIT_IP_SOURCE && !is_of_version(edit->ip_source, ip_version))
        return false;
    if (fields & MB_EDIT_IP_DESTINATION && !is_of_version(edit->ip_destination, ip_version))
        return false;
    if (fields & OF_TCP && !has_tcp_fields(packet))
        return false;
    return !(fields & OF_PORTS) || has_ports(packet);
}

static bool is_within_payload(const struct mb_decoded *packet, const struct mb_new_bytes *bytes) {
    const uint32_t first = packet->payload_offset;
    return first != 0 && bytes->at >= first && bytes->length <= packet->payload_captured &&
           bytes->at - first <= packet->payload_captured - bytes->length;
}

static enum mb_reason check(const struct mb_decoded *packet, const struct mb_frame *frame,
                            const struct mb_packet_edit *edit) {
    const struct mb_edit *headers = edit->headers;
    const uint32_t fields = headers != NULL ? headers->fields : 0;
    if (packet->is_fragment && (edit->payload_count != 0 || fields & (OF_DATAGRAM | OF_TRANSPORT)))
        return MB_REASON_EDIT_FRAGMENT;
    if (headers != NULL && !has_fields(packet, frame, headers))
        return MB_REASON_EDIT_FIELD_ABSENT;
    for (uint32_t i = 0; i < edit->payload_count; i++)
        if (!is_within_payload(packet, &edit->payload[i]))
            return MB_REASON_EDIT_OUTSIDE_PAYLOAD;
    if (edit->payload_count != 0 && packet->tuple.protocol == MB_PROTOCOL_SCTP)
        return MB_REASON_EDIT_CHECKSUM; /* a CRC, RFC 9260 section 6.8 */
    return MB_REASON_NONE;
}

/* --- headers: whole words, so that what covers them counts them as such --- */

static void write_16(struct mb_edited_frame *frame, uint32_t at, uint16_t value) {
    uint8_t bytes[2];
    mb_write_16(bytes, value);
    mb_edit_bytes(frame, at, bytes, sizeof bytes);
}

/* Type of service, or traffic class (RFC 2474 section 3, RFC 3168 section 5). */
static uint8_t traffic_class(uint8_t before, const struct mb_edit *edit) {
    if (edit->fields & MB_EDIT_IP_DSCP)
        before = (uint8_t)((before & ECN_MASK) | edit->ip_dscp << DSCP_SHIFT);
    if (edit->fields & MB_EDIT_IP_ECN)
        before = (uint8_t)((before & ~ECN_MASK) | (edit->ip_ecn & ECN_MASK));
    return before;
}

static void write_ipv4(struct mb_edited_frame *frame, uint32_t at, const struct mb_edit *edit) {
    const uint8_t *header = frame->before + at;
    write_16(frame, at, (uint16_t)(header[0] << 8 | traffic_class(header[1], edit)));
    if (edit->fields & MB_EDIT_IP_IDENTIFICATION)
        write_16(frame, at + MB_IPV4_IDENTIFICATION, edit->ip_identification);
    if (edit->fields & MB_EDIT_IP_TTL)
        write_16(frame, at + MB_IPV4_TTL, (uint16_t)(edit->ip_ttl << 8 | header[MB_IPV4_PROTOCOL]));
    if (edit->fields & MB_EDIT_IP_SOURCE)
        mb_edit_bytes(frame, at + MB_IPV4_SOURCE, edit->ip_source + 12, 4);
    if (edit->fields & MB_EDIT_IP_DESTINATION)
        mb_edit_bytes(frame, at + MB_IPV4_DESTINATION, edit->ip_destination + 12, 4);
}

static void write_ipv6(struct mb_edited_frame *frame, uint32_t at, const struct mb_edit *edit) {
    const uint8_t *header = frame->before + at;
    const uint16_t word = mb_read_16(header);
    const uint8_t class = traffic_class((uint8_t)(word >> 4), edit);
    write_16(frame, at, (uint16_t)((word & 0xf00f) | class << 4));
    if (edit->fields & MB_EDIT_IP_TTL)
        write_16(frame, at + MB_IPV6_NEXT_HEADER,
                 (uint16_t)(header[MB_IPV6_NEXT_HEADER] << 8 | edit->ip_ttl));
    if (edit->fields & MB_EDIT_IP_SOURCE)
        mb_edit_bytes(frame, at + MB_IPV6_SOURCE, edit->ip_source, 16);
    if (edit->fields & MB_EDIT_IP_DESTINATION)
        mb_edit_bytes(frame, at + MB_IPV6_DESTINATION, edit->ip_destination, 16);
}

static void write_transport(struct mb_edited_frame *frame, uint32_t at,
                            const struct mb_edit *edit) {
    if (edit->fields & MB_EDIT_SOURCE_PORT)
        write_16(frame, at + MB_TCP_SOURCE_PORT, edit->source_port);
    if (edit->fields & MB_EDIT_DESTINATION_PORT)
        write_16(frame, at + MB_TCP_DESTINATION_PORT, edit->destination_port);
    if (edit->fields & MB_EDIT_TCP_FLAGS)
        write_16(frame, at + MB_TCP_DATA_OFFSET,
                 (uint16_t)(frame->before[at + MB_TCP_DATA_OFFSET] << 8 | edit->tcp_flags));
    if (edit->fields & MB_EDIT_TCP_WINDOW)
        write_16(frame, at + MB_TCP_WINDOW, edit->tcp_window);
    if (edit->fields & MB_EDIT_TCP_URGENT_POINTER)
        write_16(frame, at + MB_TCP_URGENT_POINTER, edit->tcp_urgent_pointer);
}

static void write_headers(struct mb_edited_frame *frame, const struct mb_decoded *packet,
                          const struct mb_edit *edit) {
    if (edit->fields & OF_IP && packet->tuple.ip_version == 4)
        write_ipv4(frame, packet->network_offset, edit);
    else if (edit->fields & OF_IP)
        write_ipv6(frame, packet->network_offset, edit);
    if (edit->fields & OF_TRANSPORT)
        write_transport(frame, packet->transport_offset, edit);
}

/* --- payload --- */

/* What is replaced more than once changes once: as a whole, from the first byte to the last. */
static void write_payload(struct mb_edited_frame *frame, const struct mb_packet_edit *edit) {
    uint32_t first = UINT32_MAX;
    uint32_t end = 0;
    for (uint32_t i = 0; i < edit->payload_count; i++) {
        const struct mb_new_bytes *bytes = &edit->payload[i];
        if (bytes->length == 0)
            continue;
        memcpy(frame->after + bytes->at, bytes->bytes, bytes->length);
        first = bytes->at < first ? bytes->at : first;
        end = bytes->at + bytes->length > end ? bytes->at + bytes->length : end;
    }
    if (end > first)
        mb_edit_changed(frame, first, end - first);
}

/* --- the link header, which no checksum covers --- */

static bool is_tag(const uint8_t *type) {
    switch (mb_read_16(type)) {
    case MB_ETHER_TYPE_VLAN:
    case MB_ETHER_TYPE_QINQ:
    case MB_ETHER_TYPE_QINQ_OLD:
        return true;
    default:
        return false;
    }
}

static bool has_tags(const struct mb_frame *frame, const uint8_t *bytes, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        const uint32_t at = MB_ETHERNET_TYPE + i * MB_VLAN_SIZE;
        if (frame->length < at + MB_VLAN_SIZE + 2 || !is_tag(bytes + at))
            return false;
    }
    return true;
}

static void write_addresses(uint8_t *copy, const struct mb_edit *edit) {
    if (edit->fields & MB_EDIT_ETH_DESTINATION)
        memcpy(copy + ETHERNET_DESTINATION, edit->eth_destination, ETHERNET_ADDRESS_SIZE);
    if (edit->fields & MB_EDIT_ETH_SOURCE)
        memcpy(copy + ETHERNET_SOURCE, edit->eth_source, ETHERNET_ADDRESS_SIZE);
}

/* Tags come off behind the addresses, then others come in there. */
static void change_tags(uint8_t *copy, const struct mb_frame *frame, const struct mb_edit *edit,
                        struct mb_edited_packet *edited) {
    const uint32_t popped = MB_VLAN_SIZE * edit->tags_popped;
    const uint32_t pushed = MB_VLAN_SIZE * edit->tags_pushed;
    uint8_t *tags = copy + MB_ETHERNET_TYPE;
    memmove(tags + pushed, tags + popped, frame->length - MB_ETHERNET_TYPE - popped);
    for (unsigned i = 0; i < edit->tags_pushed; i++, tags += MB_VLAN_SIZE) {
        mb_write_16(tags, edit->tags[i].ether_type);
        mb_write_16(tags + 2, edit->tags[i].control);
    }
    edited->shift = (int32_t)pushed - (int32_t)popped;
    edited->length = frame->length + pushed - popped;
    edited->wire_length = frame->wire_length + pushed - popped;
}

enum mb_reason mb_packet_edit(const struct mb_decoder *decoder, const struct mb_frame *frame,
                              const uint8_t *bytes, const struct mb_packet_edit *edit,
                              uint8_t *copy, struct mb_edited_packet *edited) {
    const struct mb_edit *headers = edit->headers;
    struct mb_checksum_trail trail = {.count = 0};
    struct mb_decoder tracing = *decoder;
    struct mb_decoded packet;
    tracing.verifies = true;
    tracing.trail = &trail;
    mb_decode(&tracing, &packet, frame, bytes, 0);
    const enum mb_reason reason = check(&packet, frame, edit);
    if (reason != MB_REASON_NONE)
        return reason;
    const bool has_other_tags =
        headers != NULL && (headers->tags_popped != 0 || headers->tags_pushed != 0);
    if (has_other_tags && !(is_ethernet(frame) && has_tags(frame, bytes, headers->tags_popped)))
        return MB_REASON_EDIT_FIELD_ABSENT;

    if (frame->length != 0)
        memcpy(copy, bytes, frame->length);
    struct mb_edited_frame changes;
    mb_edit_begin(&changes, bytes, copy);
    if (headers != NULL)
        write_headers(&changes, &packet, headers);
    write_payload(&changes, edit);
    mb_repair_checksums(&changes, &trail);
    *edited = (struct mb_edited_packet){.length = frame->length, .wire_length = frame->wire_length};
    if (headers != NULL)
        write_addresses(copy, headers);
    if (has_other_tags)
        change_tags(copy, frame, headers, edited);
    return MB_REASON_NONE;
}
