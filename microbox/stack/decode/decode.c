#include "microbox/stack/decode/decode.h"

#include "microbox/stack/decode/layers.h"
#include "microbox/stack/wire/tcp.h"

#include <string.h>

/* What a capture says of a packet's length is believed up to here where IP does not say it: nothing
 * sends longer ones, and a segment must be short beside the sequence space. */
enum { WIRE_LENGTH_MAX = 1 << 20 };

static uint32_t believed_wire_length(const struct mb_decoded *decoded) {
    uint32_t most = decoded->length > WIRE_LENGTH_MAX ? decoded->length : WIRE_LENGTH_MAX;
    return decoded->wire_length < most ? decoded->wire_length : most;
}

/* Offsets have 16 bits: where headers end further on than that, nothing said of them holds. */
static void forget_headers(struct mb_decoded *decoded) {
    memset(&decoded->tuple, 0, sizeof decoded->tuple);
    decoded->network_length = 0;
    decoded->payload_length = 0;
    decoded->payload_captured = 0;
    decoded->network_offset = 0;
    decoded->transport_offset = 0;
    decoded->payload_offset = 0;
    decoded->transport = MB_TRANSPORT_NONE;
    mb_malformed(decoded, MB_REASON_HEADERS_TOO_LONG);
}

/* What is said before the first header is read. In two parts of at most 64 bytes each: the compiler
 * makes a row of stores of them, and a string instruction, slow to start, of anything longer. */
static void begin(struct mb_decoded *decoded) {
    enum {
        BEGIN = offsetof(struct mb_decoded, tuple),
        MIDDLE = BEGIN + 64,
        END = sizeof(struct mb_decoded)
    };
    _Static_assert(END - MIDDLE <= 64, "see above");
    memset((char *)decoded + BEGIN, 0, MIDDLE - BEGIN);
    memset((char *)decoded + MIDDLE, 0, END - MIDDLE);
    decoded->type = MB_TYPE_PACKET;
    decoded->window_scale = MB_TCP_WINDOW_SCALE_NONE;
}

void mb_decode(const struct mb_decoder *decoder, struct mb_decoded *decoded,
               const struct mb_frame *frame, const uint8_t *bytes, uint64_t number) {
    begin(decoded);
    decoded->bytes = bytes;
    decoded->frame = frame->offset;
    decoded->time = frame->time;
    decoded->number = number;
    decoded->length = frame->length;
    decoded->wire_length = frame->wire_length > frame->length ? frame->wire_length : frame->length;
    struct mb_rest rest = {.decoder = decoder,
                           .bytes = bytes,
                           .end = frame->length,
                           .wire_end = believed_wire_length(decoded)};
    mb_decode_link(decoded, &rest, frame->link_type);
    if (rest.at > UINT16_MAX)
        forget_headers(decoded);
}

void mb_decode_datagram(const struct mb_decoder *decoder, struct mb_decoded *decoded,
                        const struct mb_decoded *fragment, const struct mb_frame *frame,
                        const uint8_t *bytes, uint16_t network_offset) {
    begin(decoded);
    decoded->bytes = bytes;
    decoded->frame = frame->offset;
    decoded->time = fragment->time;
    decoded->number = fragment->number;
    decoded->length = frame->length;
    decoded->wire_length = frame->wire_length;
    decoded->ether_type = fragment->ether_type;
    decoded->tuple.vlan = fragment->tuple.vlan;
    decoded->domain = fragment->domain;
    decoded->tunnel = fragment->tunnel;
    decoded->tunnel_identifier = fragment->tunnel_identifier;
    decoded->depth = fragment->depth;
    struct mb_rest rest = {.decoder = decoder,
                           .bytes = bytes,
                           .at = network_offset,
                           .end = frame->length,
                           .wire_end = frame->wire_length};
    if (fragment->tuple.ip_version == 4)
        mb_decode_ipv4(decoded, &rest);
    else
        mb_decode_ipv6(decoded, &rest);
    if (rest.at > UINT16_MAX)
        forget_headers(decoded);
}
