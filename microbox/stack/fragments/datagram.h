/*
 * Writes a whole datagram: the headers of the fragment with offset 0, as if it had never been cut
 * up, and behind them the bytes of all pieces.
 */
#ifndef MICROBOX_STACK_FRAGMENTS_DATAGRAM_H
#define MICROBOX_STACK_FRAGMENTS_DATAGRAM_H

#include "microbox/stack/fragments/fragment_table.h"

/* Bytes before the payload: link header, tunnels, IP headers without the IPv6 fragment header. */
uint32_t mb_datagram_headers(const struct mb_datagram *datagram);

/* Writes headers and payload to `to`, up to the first byte that the capture does not have. Returns
 * how many bytes that are. `pool`: what frames count in. The datagram must be complete. */
uint32_t mb_datagram_write(const struct mb_datagram *datagram, const uint8_t *pool, uint8_t *to);

#endif
