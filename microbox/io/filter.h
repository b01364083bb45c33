/*
 * Packet filters in libpcap's syntax.
 *
 * A filter is evaluated on the innermost IP packet, whatever is around it; `len`, `less` and
 * `greater` mean the whole frame's length on the wire. One that looks only at what all packets of a
 * flow's direction have in common (IP version, protocol, addresses, ports) is evaluated once per
 * flow and direction, any other one per packet. One that names the link layer (arp, ether, vlan,
 * mpls, ...) is evaluated per packet on the whole frame, and so is any filter where there is no IP.
 *
 * libpcap looks for ports behind an IPv6 header only where no extension header is between; so the
 * stack runs a per-flow filter on a header made from the flow's five-tuple, and "ip6 proto 0", say,
 * is true of no flow. It counts SCTP as having ports; so flows of SCTP must be told apart by port
 * for "port 80" to hold for a whole flow.
 */
#ifndef MICROBOX_IO_FILTER_H
#define MICROBOX_IO_FILTER_H

#include "microbox/io/source.h"

struct mb_filter;

/* `link_type`: of the frames, a LINKTYPE_ value. Names of hosts in the expression are resolved
 * here. Needs libpcap 1.8 or later, whose compiler keeps no state between calls. Returns NULL with
 * libpcap's words in `error`. */
struct mb_filter *mb_filter_compile(const char *expression, uint32_t link_type,
                                    char error[MB_ERROR_SIZE]);
void mb_filter_destroy(struct mb_filter *filter);

/* True where one answer holds for all packets of a flow in one direction. */
bool mb_filter_is_per_flow(const struct mb_filter *filter);

/* `network`: first byte of the innermost IP header, or NULL; `network_length`: bytes captured from
 * there on; `frame`: the whole frame. A per-flow filter looks at the IP packet only, so `frame` may
 * then be NULL. */
bool mb_filter_match(const struct mb_filter *filter, const uint8_t *frame, uint32_t frame_length,
                     uint32_t wire_length, const uint8_t *network, uint32_t network_length);

#endif
