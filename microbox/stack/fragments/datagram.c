#include "microbox/stack/fragments/datagram.h"

#include "microbox/stack/wire/checksum.h"
#include "microbox/stack/wire/ipv4.h"
#include "microbox/stack/wire/ipv6.h"

#include <string.h>

enum { IPV4_DO_NOT_FRAGMENT = 0x40, IPV4_RESERVED = 0x80 };

uint32_t mb_datagram_headers(const struct mb_datagram *datagram) {
    uint32_t cut = datagram->key.ip_version == 6 ? MB_IPV6_FRAGMENT_SIZE : 0;
    return datagram->payload_offset - cut;
}

/* The header checksum is made anew: that of the fragment was for another header. Sums are in the
 * machine's own byte order, and so is their place. */
static void make_ipv4_whole(uint8_t *header, uint32_t payload) {
    uint32_t header_length = mb_ipv4_header_length(header);
    mb_write_16(header + MB_IPV4_TOTAL_LENGTH, (uint16_t)(header_length + payload));
    header[MB_IPV4_FRAGMENT] &= IPV4_DO_NOT_FRAGMENT | IPV4_RESERVED;
    header[MB_IPV4_FRAGMENT + 1] = 0;
    mb_write_16(header + MB_IPV4_CHECKSUM, 0);
    uint16_t checksum = (uint16_t)~mb_checksum_fold(mb_checksum_add(0, header, header_length));
    memcpy(header + MB_IPV4_CHECKSUM, &checksum, sizeof checksum);
}

static void make_whole(const struct mb_datagram *datagram, uint8_t *frame) {
    uint8_t *network = frame + datagram->network_offset;
    if (datagram->key.ip_version == 4)
        return make_ipv4_whole(network, datagram->length);
    uint32_t extensions = mb_datagram_headers(datagram) - datagram->network_offset - MB_IPV6_SIZE;
    mb_write_16(network + MB_IPV6_PAYLOAD_LENGTH, (uint16_t)(extensions + datagram->length));
    frame[datagram->next_header] = datagram->protocol;
}

uint32_t mb_datagram_write(const struct mb_datagram *datagram, const uint8_t *pool, uint8_t *to) {
    uint32_t written = mb_datagram_headers(datagram);
    memcpy(to, pool + datagram->header, written);
    make_whole(datagram, to);
    for (uint32_t i = 0; i < datagram->list.count; i++) {
        const struct mb_fragment_piece *piece = &datagram->list.pieces[i];
        memcpy(to + written, pool + piece->at, piece->captured);
        written += piece->captured;
        if (piece->captured < piece->end - piece->start)
            break;
    }
    return written;
}
