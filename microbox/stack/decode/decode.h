/*
 * From a frame to what the stack wants to know of it, once per packet.
 */
#ifndef MICROBOX_STACK_DECODE_DECODE_H
#define MICROBOX_STACK_DECODE_DECODE_H

#include "microbox/events/payloads.h"
#include "microbox/io/source.h"

#include <stdbool.h>
#include <stdint.h>

/* What the packet carries, as the flow table sees it. */
enum mb_transport {
    MB_TRANSPORT_NONE, /* belongs to no flow: no IP, malformed, a fragment */
    MB_TRANSPORT_TCP,
    MB_TRANSPORT_UDP,
    MB_TRANSPORT_ICMP,
    MB_TRANSPORT_OTHER,
    MB_TRANSPORTS
};

/* What is around a packet that counts as nothing for its flow's identity. */
enum mb_flow_key_ignores { MB_IGNORE_VLAN = 1 << 0, MB_IGNORE_TUNNEL = 1 << 1 };

enum { MB_TUNNELS_DEPTH_MAX = 16 };

struct mb_checksum_trail;

/* What decoding depends on. Made once by the stack. */
struct mb_decoder {
    uint64_t key[2];                 /* of the hash that names domains */
    uint8_t tunnels_max;             /* packets in packets that are followed */
    uint8_t flow_key_ignores;        /* enum mb_flow_key_ignores */
    bool verifies;                   /* checksums are looked at */
    struct mb_checksum_trail *trail; /* where it is not NULL they are noted here, not verified */
};

/* What says which bytes of which datagram a fragment carries: those from `start` on. */
struct mb_fragment_header {
    uint32_t identification;
    uint16_t start;       /* a multiple of 8 */
    uint16_t next_header; /* IPv6: offset in the frame of the byte that announces this header */
    bool has_more;        /* it is not the last one */
};

/* Offsets count from the frame's first byte, 0: no such layer. Integers are in host byte order. */
struct mb_decoded {
    uint64_t hash;        /* of tuple and domain, the same for both directions; set by the stack */
    const uint8_t *bytes; /* the frame */
    uint64_t frame;       /* its offset in the frame pool */
    uint64_t time;        /* nanoseconds since the epoch */
    uint64_t number;      /* of the input packet, from 1 */
    uint32_t length;      /* bytes captured */
    uint32_t wire_length;
    struct mb_fragment_header fragment; /* meaningful where `is_fragment` */

    /* From here on: what the bytes say; 0 where they do not. */
    struct mb_five_tuple tuple; /* as sent */
    uint64_t domain;         /* names the VLANs and tunnels around, for flows (domain.h); 0: none */
    uint32_t network_length; /* captured bytes of the IP packet, without padding */
    uint32_t payload_length; /* bytes above the transport header, as the headers say */
    uint32_t payload_captured; /* of these, what the frame has: fewer where it was cut */
    uint32_t sequence_number;  /* TCP */
    uint32_t acknowledgment_number;
    uint32_t timestamp_value; /* TCP option, where MB_TCP_HAS_TIMESTAMP */
    uint32_t timestamp_echo;
    uint32_t tunnel_identifier; /* of the innermost tunnel: VNI, key, label, session; 0: none */
    uint16_t window;            /* as in the header, unscaled */
    uint16_t urgent_pointer;    /* meaningful where URG is set */
    uint16_t network_offset;
    uint16_t transport_offset;
    uint16_t payload_offset;
    uint16_t ether_type;
    uint16_t type;     /* enum mb_event_type: which packet event this is */
    uint8_t reason;    /* enum mb_reason */
    uint8_t transport; /* enum mb_transport */
    uint8_t tcp_flags;
    uint8_t window_scale; /* MB_TCP_WINDOW_SCALE_NONE: not offered */
    uint8_t tcp_options;  /* enum mb_tcp_option_seen */
    uint8_t ttl;
    uint8_t icmp_type;
    uint8_t icmp_code;
    bool is_fragment;     /* and `fragment` is set */
    uint8_t fragments;    /* that the packet was made of, stays at 255; 0: it is as received */
    bool is_icmp_error;   /* the payload is what it quotes */
    uint8_t bad_checksum; /* enum mb_reason: the outermost that is wrong, where they are verified */
    bool checksum_is_partial; /* left to the network card of the machine that captured */
    uint8_t tunnel;           /* enum mb_tunnel: the innermost one */
    uint8_t depth; /* packets around the innermost one, which is the one described here */
    uint16_t icmp_identifier;
    uint16_t icmp_sequence_number;
};

/* Fills all of `decoded` but `hash`. `bytes`: the frame, `frame->length` of them. Never fails: what
 * makes no sense is a packet.malformed with its reason.
 *
 * Where the decoder verifies checksums: those of all IPv4 headers, of GRE, and of TCP, UDP and ICMP
 * around and inside of tunnels. What is cut, or a fragment, is let pass. */
void mb_decode(const struct mb_decoder *decoder, struct mb_decoded *decoded,
               const struct mb_frame *frame, const uint8_t *bytes, uint64_t number);

/* Decodes a datagram that was put together from fragments, of which `fragment` is one: time and
 * number, and what is around the IP packet, which begins at `network_offset` of the frame, are the
 * same. `frame` needs offset, length and wire length. */
void mb_decode_datagram(const struct mb_decoder *decoder, struct mb_decoded *decoded,
                        const struct mb_decoded *fragment, const struct mb_frame *frame,
                        const uint8_t *bytes, uint16_t network_offset);

#endif
