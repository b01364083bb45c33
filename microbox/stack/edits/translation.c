#include "microbox/stack/edits/translation.h"

#include "microbox/bus/atomic.h"
#include "microbox/stack/decode/layers.h"
#include "microbox/stack/edits/edited_frame.h"
#include "microbox/stack/edits/plain_names.h"
#include "microbox/stack/icmp_error.h"
#include "microbox/stack/lazy_memory.h"
#include "microbox/stack/wire/icmp.h"
#include "microbox/stack/wire/ipv4.h"
#include "microbox/stack/wire/ipv6.h"

#include <stdlib.h>
#include <string.h>

enum { ORIGINATOR, RESPONDER, ENDS };

/* What one end of a flow is called. */
struct end_name {
    uint8_t address[16];
    uint16_t port;
    bool has_address;
    bool has_port;
    uint8_t address_by; /* the NF that said it */
    uint8_t port_by;
};

struct translation {
    uint64_t flow; /* 0: none. A flow that is gone leaves its number behind; it never comes again */
    struct mb_plain_names plain[ENDS]; /* by direction: what `ends` came to */
    struct end_name ends[ENDS];
};

struct mb_translations {
    uint32_t flow_slots;
    struct mb_decoder decoder;
    struct translation *of; /* by flow slot */
};

size_t mb_translations_bytes(uint32_t flow_slots) {
    return flow_slots * sizeof(struct translation);
}

struct mb_translations *mb_translations_create(uint32_t flow_slots,
                                               const struct mb_decoder *decoder) {
    struct mb_translations *translations = calloc(1, sizeof *translations);
    if (translations == NULL)
        return NULL;
    translations->flow_slots = flow_slots;
    translations->decoder = *decoder;
    translations->decoder.verifies = true;
    translations->of = mb_lazy_map(mb_translations_bytes(flow_slots));
    if (translations->of != NULL)
        return translations;
    free(translations);
    return NULL;
}

void mb_translations_destroy(struct mb_translations *translations) {
    if (translations == NULL)
        return;
    mb_lazy_unmap(translations->of, mb_translations_bytes(translations->flow_slots));
    free(translations);
}

static void decode(const struct mb_translations *translations, const struct mb_leaving *packet,
                   struct mb_decoded *decoded, struct mb_checksum_trail *trail) {
    struct mb_decoder decoder = translations->decoder;
    decoder.trail = trail;
    trail->count = 0;
    mb_decode(&decoder, decoded, packet->frame, packet->bytes, 0);
}

/* --- taking --- */

static bool is_of_version(const uint8_t address[16], uint8_t ip_version) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    return (memcmp(address, mapped, sizeof mapped) == 0) == (ip_version == 4);
}

static bool is_sound(const struct mb_translations *translations, const struct mb_leaving *packet,
                     const struct mb_rewrite *rewrite) {
    const uint32_t fields = rewrite->fields;
    if (packet->flow == 0 || rewrite->flow != packet->flow || fields == 0 ||
        (fields & ~(uint32_t)MB_REWRITE_FIELDS))
        return false;
    struct mb_decoded decoded;
    struct mb_checksum_trail trail;
    decode(translations, packet, &decoded, &trail);
    const uint8_t ip_version = decoded.tuple.ip_version;
    if (fields & MB_REWRITE_SOURCE && !is_of_version(rewrite->source, ip_version))
        return false;
    return !(fields & MB_REWRITE_DESTINATION) || is_of_version(rewrite->destination, ip_version);
}

static void name_end(struct end_name *end, uint32_t nf, const uint8_t *address,
                     const uint16_t *port) {
    if (address != NULL && (!end->has_address || nf >= end->address_by)) {
        memcpy(end->address, address, sizeof end->address);
        end->has_address = true;
        end->address_by = (uint8_t)nf;
    }
    if (port != NULL && (!end->has_port || nf >= end->port_by)) {
        end->port = *port;
        end->has_port = true;
        end->port_by = (uint8_t)nf;
    }
}

/* Each foreign word is read once. */
static struct mb_rewrite copy_of(const struct mb_rewrite *foreign) {
    enum { WORDS = sizeof *foreign / sizeof(uint64_t) };
    uint64_t words[WORDS];
    for (unsigned i = 0; i < WORDS; i++)
        words[i] = mb_load_relaxed((const uint64_t *)foreign + i);
    struct mb_rewrite copy;
    memcpy(&copy, words, sizeof copy);
    return copy;
}

bool mb_translations_take(struct mb_translations *translations, const struct mb_leaving *packet,
                          uint32_t nf, const struct mb_rewrite *foreign) {
    const struct mb_rewrite copy = copy_of(foreign);
    const struct mb_rewrite *rewrite = &copy;
    if (packet->flow_slot >= translations->flow_slots || !is_sound(translations, packet, rewrite))
        return false;
    struct translation *of = &translations->of[packet->flow_slot];
    if (of->flow != packet->flow)
        *of = (struct translation){.flow = packet->flow};
    of->plain[ORIGINATOR].is_known = of->plain[RESPONDER].is_known = false;
    const uint32_t fields = rewrite->fields;
    name_end(&of->ends[ORIGINATOR], nf, fields & MB_REWRITE_SOURCE ? rewrite->source : NULL,
             fields & MB_REWRITE_SOURCE_PORT ? &rewrite->source_port : NULL);
    name_end(&of->ends[RESPONDER], nf,
             fields & MB_REWRITE_DESTINATION ? rewrite->destination : NULL,
             fields & MB_REWRITE_DESTINATION_PORT ? &rewrite->destination_port : NULL);
    return true;
}

bool mb_translations_know(const struct mb_translations *translations, uint64_t flow,
                          uint32_t flow_slot) {
    return flow != 0 && flow_slot < translations->flow_slots &&
           translations->of[flow_slot].flow == flow;
}

/* --- applying --- */

/* Headers of a packet, or of one that is quoted; from the frame's first byte. */
struct headers {
    uint32_t network;
    uint32_t transport; /* 0: not there */
    uint32_t end;       /* of what is captured */
    uint8_t ip_version;
    uint8_t protocol;
};

static void write_address(struct mb_edited_frame *frame, const struct headers *headers,
                          bool is_source, const struct end_name *end) {
    if (!end->has_address)
        return;
    if (headers->ip_version == 4)
        mb_edit_bytes(frame, headers->network + (is_source ? MB_IPV4_SOURCE : MB_IPV4_DESTINATION),
                      end->address + 12, 4);
    else
        mb_edit_bytes(frame, headers->network + (is_source ? MB_IPV6_SOURCE : MB_IPV6_DESTINATION),
                      end->address, 16);
}

static void write_port(struct mb_edited_frame *frame, const struct headers *headers, uint32_t at,
                       uint16_t port) {
    uint8_t bytes[2];
    mb_write_16(bytes, port);
    if (headers->transport + at + sizeof bytes <= headers->end)
        mb_edit_bytes(frame, headers->transport + at, bytes, sizeof bytes);
}

/* An echo's identifier is the originator's, in requests and replies (RFC 5508 section 3.1). */
static void write_identifier(struct mb_edited_frame *frame, const struct headers *headers,
                             const struct end_name *originator) {
    const uint8_t *message = frame->before + headers->transport;
    if (originator->has_port && headers->transport + MB_ICMP_ECHO_SIZE <= headers->end &&
        mb_icmp_is_echo(message, headers->ip_version))
        write_port(frame, headers, MB_ICMP_IDENTIFIER, originator->port);
}

/* Of SCTP and others only addresses: ports are not for a middlebox to change where a checksum
 * covers more than sums tell (RFC 9260 section 6.8). */
static void write_ports(struct mb_edited_frame *frame, const struct headers *headers,
                        const struct end_name *source, const struct end_name *destination) {
    enum { SOURCE_PORT = 0, DESTINATION_PORT = 2 };
    if (headers->protocol != MB_PROTOCOL_TCP && headers->protocol != MB_PROTOCOL_UDP)
        return;
    if (source->has_port)
        write_port(frame, headers, SOURCE_PORT, source->port);
    if (destination->has_port)
        write_port(frame, headers, DESTINATION_PORT, destination->port);
}

/* A packet of `direction` of the flow. */
static void write_names(struct mb_edited_frame *frame, const struct headers *headers,
                        const struct translation *of, unsigned direction) {
    const struct end_name *source = &of->ends[direction];
    const struct end_name *destination = &of->ends[1 - direction];
    write_address(frame, headers, true, source);
    write_address(frame, headers, false, destination);
    if (headers->transport == 0)
        return;
    if (headers->protocol == MB_PROTOCOL_ICMP || headers->protocol == MB_PROTOCOL_ICMPV6)
        write_identifier(frame, headers, &of->ends[ORIGINATOR]);
    else
        write_ports(frame, headers, source, destination);
}

static struct headers headers_of(const struct mb_decoded *decoded) {
    return (struct headers){
        .network = decoded->network_offset,
        .transport = decoded->transport_offset,
        .end = decoded->network_offset + decoded->network_length,
        .ip_version = decoded->tuple.ip_version,
        .protocol = decoded->tuple.protocol,
    };
}

static struct headers headers_quoted(const struct mb_decoded *decoded,
                                     const struct mb_icmp_quote *quote) {
    return (struct headers){
        .network = decoded->payload_offset,
        .transport = quote->transport_offset,
        .end = decoded->payload_offset + decoded->payload_captured,
        .ip_version = quote->tuple.ip_version,
        .protocol = quote->tuple.protocol,
    };
}

/* Checksums inside of a quote, which may end before them. */
static void note_quoted_checksums(struct mb_checksum_trail *trail, const struct headers *quoted,
                                  const uint8_t *bytes) {
    if (quoted->ip_version == 4)
        mb_checksum_trail_add(
            trail, &(struct mb_checksum){
                       .field = quoted->network + MB_IPV4_CHECKSUM,
                       .from = quoted->network,
                       .end = quoted->network + mb_ipv4_header_length(bytes + quoted->network),
                   });
    const uint32_t field = mb_transport_checksum(quoted->protocol);
    if (field == 0 || quoted->transport + field + sizeof(uint16_t) > quoted->end)
        return;
    const bool is_4 = quoted->ip_version == 4;
    const bool has_addresses = quoted->protocol != MB_PROTOCOL_ICMP;
    mb_checksum_trail_add(
        trail,
        &(struct mb_checksum){
            .field = quoted->transport + field,
            .from = quoted->transport,
            .end = quoted->end,
            .source =
                has_addresses ? quoted->network + (is_4 ? MB_IPV4_SOURCE : MB_IPV6_SOURCE) : 0,
            .destination =
                has_addresses ? quoted->network + (is_4 ? MB_IPV4_DESTINATION : MB_IPV6_DESTINATION)
                              : 0,
            .address_length = is_4 ? 4 : 16,
            .zero_is_none = quoted->protocol == MB_PROTOCOL_UDP,
        });
}

/* The error goes to who sent what it quotes. Where the other end sent the error, it bears that
 * one's name; else a router's, which stays (RFC 5508 section 4.2). */
static void write_error(struct mb_edited_frame *frame, const struct mb_decoded *decoded,
                        struct mb_checksum_trail *trail, const struct translation *of,
                        unsigned direction) {
    struct mb_icmp_quote quote;
    if (!mb_icmp_quote_read(decoded, &quote))
        return;
    const unsigned quoted_direction = 1 - direction;
    const struct headers around = headers_of(decoded);
    const struct headers quoted = headers_quoted(decoded, &quote);
    write_address(frame, &around, false, &of->ends[quoted_direction]);
    if (memcmp(decoded->tuple.source, quote.tuple.destination, 16) == 0)
        write_address(frame, &around, true, &of->ends[direction]);
    write_names(frame, &quoted, of, quoted_direction);
    note_quoted_checksums(trail, &quoted, frame->before);
}

static void write_translation(const struct mb_translations *translations,
                              const struct translation *of, const struct mb_leaving *packet,
                              uint8_t *copy) {
    struct mb_decoded decoded;
    struct mb_checksum_trail trail;
    decode(translations, packet, &decoded, &trail);
    struct mb_edited_frame frame;
    mb_edit_begin(&frame, packet->bytes, copy);
    const struct headers headers = headers_of(&decoded);
    if (headers.ip_version == 0)
        return;
    if (decoded.is_icmp_error)
        write_error(&frame, &decoded, &trail, of, packet->direction);
    else
        write_names(&frame, &headers, of, packet->direction);
    mb_repair_checksums(&frame, &trail);
}

void mb_translations_apply(struct mb_translations *translations, const struct mb_leaving *packet,
                           uint8_t *copy) {
    struct translation *of = &translations->of[packet->flow_slot];
    struct mb_plain_names *plain = &of->plain[packet->direction];
    if (mb_plain_names_write(plain, packet->frame, packet->bytes, copy))
        return;
    write_translation(translations, of, packet, copy);
    mb_plain_names_learn(plain, packet->frame, packet->bytes, copy);
}
