/*
 * Packet filters in libpcap's syntax.
 *
 * A filter that looks only at what all packets of a flow's direction have in common (addresses,
 * protocol, ports) is evaluated once per flow and direction; any other one per packet.
 */
#ifndef MICROBOX_IO_FILTER_H
#define MICROBOX_IO_FILTER_H

#include "microbox/io/source.h"

struct mb_filter;

/* Returns NULL with libpcap's words in `error`. */
struct mb_filter *mb_filter_compile(const char *expression, uint32_t link_type,
                                    char error[MB_ERROR_SIZE]);
void mb_filter_destroy(struct mb_filter *filter);

/* True where one answer holds for all packets of a flow in one direction. */
bool mb_filter_is_per_flow(const struct mb_filter *filter);

/* `network`: first byte of the innermost IP header, or NULL; `frame`: the whole frame. A per-flow
 * filter looks at the IP packet only. */
bool mb_filter_match(const struct mb_filter *filter, const uint8_t *frame, uint32_t frame_length,
                     uint32_t wire_length, const uint8_t *network, uint32_t network_length);

#endif
