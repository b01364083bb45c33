/*
 * Checksums, verified layer by layer where the decoder is to look; or noted, where it has a trail
 * (checksum_trail.h). Each function is called with the
 * layer's header ahead, its fixed part captured, and `rest` ending where the layer ends. Sets
 * decoded->bad_checksum where none was wrong before.
 *
 * What is cut or a fragment cannot be verified and is let pass.
 *
 * A machine that leaves checksums to its network card captures its own packets before the card has
 * filled them in: the field holds the sum over the pseudo header alone. That is no error
 * (checksum_is_partial). A capture does not say where it was made, so the same on a wire, where a
 * receiver would drop the packet, looks no different; it is counted, and the packet bears the
 * reason.
 */
#ifndef MICROBOX_STACK_DECODE_CHECKSUMS_H
#define MICROBOX_STACK_DECODE_CHECKSUMS_H

#include "microbox/stack/decode/layers.h"

void mb_verify_ipv4_header(struct mb_decoded *decoded, const struct mb_rest *rest);
void mb_verify_gre_packet(struct mb_decoded *decoded, const struct mb_rest *rest);
void mb_verify_tcp_segment(struct mb_decoded *decoded, const struct mb_rest *rest);
void mb_verify_udp_datagram(struct mb_decoded *decoded, const struct mb_rest *rest);
void mb_verify_icmp_message(struct mb_decoded *decoded, const struct mb_rest *rest);

/* Where checksums are noted (checksum_trail.h): that of a transport header which nobody verifies,
 * in a first fragment or of a protocol that is not decoded. */
void mb_note_transport(struct mb_decoded *decoded, const struct mb_rest *rest, uint8_t protocol);

/* Where they are not looked at, that costs a branch. */
static inline void mb_verify_ipv4(struct mb_decoded *decoded, const struct mb_rest *rest) {
    if (rest->decoder->verifies)
        mb_verify_ipv4_header(decoded, rest);
}

static inline void mb_verify_gre(struct mb_decoded *decoded, const struct mb_rest *rest) {
    if (rest->decoder->verifies)
        mb_verify_gre_packet(decoded, rest);
}

static inline void mb_verify_tcp(struct mb_decoded *decoded, const struct mb_rest *rest) {
    if (rest->decoder->verifies)
        mb_verify_tcp_segment(decoded, rest);
}

static inline void mb_verify_udp(struct mb_decoded *decoded, const struct mb_rest *rest) {
    if (rest->decoder->verifies)
        mb_verify_udp_datagram(decoded, rest);
}

static inline void mb_verify_icmp(struct mb_decoded *decoded, const struct mb_rest *rest) {
    if (rest->decoder->verifies)
        mb_verify_icmp_message(decoded, rest);
}

#endif
