/*
 * Payloads of events, declared once.
 *
 * Plain C: Python reads this file too (lines that begin with '#' are dropped, the rest goes to
 * cffi), and makes its struct views, numpy dtypes and documentation from it. So: fixed-width
 * fields, no macros, no attributes, explicit padding.
 *
 * A child's payload begins with its parent's (the parent is its first member). A payload of at
 * most MB_PAYLOAD_SIZE bytes lies in the entry itself. A longer one lies whole in the publisher's
 * data ring, and its first MB_PAYLOAD_SIZE bytes lie in the entry as well, so that a reader who
 * knows only the parent need not follow the reference.
 *
 * A field's name is an attribute of the event in Python, beside those that every event has (`type`,
 * `name`, `time`, `data`, ...): the catalog refuses a field that would hide one of them.
 *
 * Integers are in host byte order; addresses are in network byte order.
 */
#ifndef MICROBOX_EVENTS_PAYLOADS_H
#define MICROBOX_EVENTS_PAYLOADS_H

#include <stdint.h>

enum { MB_PAYLOAD_SIZE = 56 };

/* Bytes of variable length: where they begin, counted from the start of the payload that this
 * is a field of, and how many they are. Only payloads in a data ring have such fields. */
struct mb_text {
    uint32_t offset;
    uint32_t length;
};

/* Addresses are 16 bytes; an IPv4 address is written ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2).
 * Ports are 0 where the protocol has none; ICMP echo carries its identifier in both. */
struct mb_five_tuple {
    uint8_t source[16];        /* who sent the packet; of an event of a flow, who began the flow */
    uint8_t destination[16];   /* the other end */
    uint16_t source_port;      /* 0: the protocol has none */
    uint16_t destination_port; /* 0: the protocol has none */
    uint8_t protocol;          /* that IP bears: 6 TCP, 17 UDP, 1 ICMP, 58 ICMPv6 */
    uint8_t ip_version;        /* 4 or 6; 0: the frame carries no IP */
    uint16_t vlan;             /* outermost VLAN identifier, 0: untagged */
};

/* What a packet travelled in. */
enum mb_tunnel {
    MB_TUNNEL_NONE,
    MB_TUNNEL_MPLS,
    MB_TUNNEL_PPPOE,
    MB_TUNNEL_IP_IN_IP,
    MB_TUNNEL_GRE,
    MB_TUNNEL_PPTP,
    MB_TUNNEL_ERSPAN,
    MB_TUNNEL_VXLAN,
    MB_TUNNEL_GENEVE,
    MB_TUNNEL_GTP,
    MB_TUNNELS
};

/* A frame as received. The five-tuple is as sent: `source` is who sent this packet. All zero
 * where the frame carries no IP. Offsets count from the frame's first byte; 0: no such layer. */
struct mb_packet {
    struct mb_five_tuple tuple;
    uint32_t wire_length;    /* bytes on the wire; more than captured where a snap length cut it */
    uint16_t ether_type;     /* of what the frame carries behind all tags */
    uint16_t network_offset; /* of the IP header in the frame; 0: none */
    uint16_t transport_offset; /* of the TCP, UDP or ICMP header; 0: none */
    uint16_t payload_offset;   /* of what that one carries; 0: none */
    uint8_t tcp_flags;         /* as in the header: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32 */
    uint8_t ttl;               /* time to live, or hop limit */
    uint8_t tunnel;            /* enum mb_tunnel: the innermost one around this packet */
    uint8_t fragments; /* that the packet was made of, stays at 255; 0: the frame is as received */
};

/* Fragments that were waited for in vain. Ports are 0. */
struct mb_incomplete_datagram {
    struct mb_five_tuple tuple;
    uint32_t identification; /* that its fragments have in common */
    uint32_t received;       /* bytes of the datagram's payload that came */
    uint16_t fragments;      /* that came, stays at 65535 */
    uint8_t has_first;       /* 1: the one at offset 0 came */
    uint8_t has_last;        /* 1: the one came that nothing follows */
    uint32_t age;            /* packets of the input since its first fragment came; modulo 2^32 */
};

/* A flow. `source` is the originator: who sent the flow's first packet (for TCP, where a
 * SYN/ACK came first, the one it was addressed to). */
struct mb_flow {
    struct mb_five_tuple tuple;
};

/* The tunnel is the innermost one around the flow's first packet. */
struct mb_flow_start {
    struct mb_flow flow;
    uint32_t tunnel_identifier; /* VNI, key, label, session or endpoint; 0: it has none */
    uint8_t tunnel;             /* enum mb_tunnel */
    uint8_t reserved[3];
};

/* A flow that began before the NF was attached; the entry's snapshot is its state as of now. */
struct mb_flow_present {
    struct mb_flow flow;
    uint64_t started;           /* nanoseconds since the epoch: time of the flow's first packet */
    uint32_t tunnel_identifier; /* as at its start */
    uint8_t tunnel;             /* enum mb_tunnel */
    uint8_t reserved;
    uint16_t idle; /* seconds since its last packet, on the stack's clock; stays at 65535 */
};

/* The entry's `reason` says why the flow ended (MB_REASON_END_...). */
struct mb_flow_end {
    struct mb_flow flow;
    uint64_t started;           /* nanoseconds since the epoch: time of the flow's first packet */
    uint32_t tunnel_identifier; /* as at its start */
    uint8_t tunnel;             /* enum mb_tunnel */
    uint8_t reserved[3];
};

/* One side (the entry's direction) changed its state. */
struct mb_tcp_state_change {
    struct mb_flow flow;
    uint8_t before; /* enum mb_tcp_state */
    uint8_t after;  /* enum mb_tcp_state */
    uint8_t reserved[14];
};

/* The next in-order bytes of one side: the entry's data range. */
struct mb_tcp_data {
    struct mb_flow flow;
    uint64_t offset; /* of the first byte in this side's stream; the first byte after SYN is 0 */
    uint8_t reserved[8];
};

/* Bytes of one side that will never come. */
struct mb_tcp_gap {
    struct mb_flow flow;
    uint64_t offset; /* of the first missing byte in this side's stream */
    uint64_t length; /* how many bytes are missing */
};

/* Something unusual; the entry's `reason` says what (MB_REASON_TCP_...). */
struct mb_tcp_anomaly {
    struct mb_flow flow;
    uint32_t sequence_number; /* as in the segment */
    uint32_t acknowledged;    /* acknowledgement number that the side has sent */
};

struct mb_tcp_segment_anomaly {
    struct mb_tcp_anomaly anomaly;
    uint32_t length; /* bytes of payload in the segment */
    uint32_t reserved;
};

/* Bytes that differ from an earlier copy: from the first one that does to the last. The entry's
 * data range is the new copy, `sequence_number` is that of its first byte. */
struct mb_tcp_inconsistency {
    struct mb_tcp_anomaly anomaly;
    uint64_t previous_position; /* of the earlier copy, as long as the new one, in the frame pool */
};

struct mb_icmp_message {
    struct mb_flow flow;
    uint8_t message_type;     /* as in the message */
    uint8_t code;             /* as in the message */
    uint16_t identifier;      /* of an echo; 0: none */
    uint16_t sequence_number; /* of an echo; 0: none */
    uint8_t reserved[10];
};

/* An ICMP error about the flow: anybody may have sent it. The entry's direction is that of the
 * packet that it quotes, which is the entry's data. */
struct mb_icmp_error {
    struct mb_flow flow;
    uint8_t message_type; /* of the error */
    uint8_t code;         /* of the error */
    uint8_t reserved[2];
    uint32_t mtu;             /* what would have fit, where the packet was too big; 0: not said */
    uint32_t sequence_number; /* of the quoted segment; TCP */
};

struct mb_timer {
    uint64_t period; /* nanoseconds */
    uint64_t missed; /* firings left out since the last one */
};

struct mb_end_of_input {
    uint64_t packets; /* of the whole input */
    uint64_t bytes;   /* in them, as captured */
};

struct mb_nf_attached {
    uint32_t nf;    /* its number in the chain */
    uint32_t flows; /* that it is told of next, each by a flow.present */
};

struct mb_nf_exited {
    uint32_t nf;    /* its number in the chain */
    int32_t status; /* exit status, or the negative number of the signal; 256: not known */
};

struct mb_lost {
    uint64_t events; /* how many */
};

union mb_payload {
    struct mb_packet packet;
    struct mb_incomplete_datagram incomplete_datagram;
    struct mb_flow flow;
    struct mb_flow_start flow_start;
    struct mb_flow_present flow_present;
    struct mb_flow_end flow_end;
    struct mb_tcp_state_change tcp_state_change;
    struct mb_tcp_data tcp_data;
    struct mb_tcp_gap tcp_gap;
    struct mb_tcp_anomaly tcp_anomaly;
    struct mb_tcp_segment_anomaly tcp_segment_anomaly;
    struct mb_tcp_inconsistency tcp_inconsistency;
    struct mb_icmp_message icmp_message;
    struct mb_icmp_error icmp_error;
    struct mb_timer timer;
    struct mb_end_of_input end_of_input;
    struct mb_nf_attached nf_attached;
    struct mb_nf_exited nf_exited;
    struct mb_lost lost;
    uint8_t bytes[56];
};

/* --- published by NFs: longer than an entry's payload, kept in the NF's data ring --- */

struct mb_http_request {
    struct mb_tcp_data data;
    struct mb_text method;     /* GET, POST, ... */
    struct mb_text target;     /* as the request line says it */
    struct mb_text host;       /* of the Host field */
    struct mb_text user_agent; /* of the field of that name */
    struct mb_text version;    /* 1.0 or 1.1 */
    uint32_t number;           /* of this request on its connection, from 1 */
    uint32_t reserved;
};

struct mb_http_response {
    struct mb_tcp_data data;
    struct mb_text reason_phrase; /* as the status line says it */
    struct mb_text content_type;  /* of the field of that name */
    struct mb_text version;       /* 1.0 or 1.1 */
    uint64_t body_length;         /* bytes of body seen, after chunked coding was taken off */
    uint16_t status;              /* 200, 404, ... */
    uint8_t is_complete; /* 0: the connection ended, or bytes are missing, before the body's end */
    uint8_t reserved;
    uint32_t number; /* of the request that this answers, from 1; 0: not known */
};

/* The last event of a connection with HTTP on it. */
struct mb_http_end {
    struct mb_tcp_data data;
    uint32_t requests;  /* that there were on the connection */
    uint32_t responses; /* that there were on the connection */
};

struct mb_tls_client_hello {
    struct mb_tcp_data data;
    struct mb_text server_name;           /* that the client asks for (SNI) */
    struct mb_text application_protocols; /* comma-separated, as offered */
    uint16_t version;                     /* the highest offered */
    uint16_t cipher_suites;               /* how many were offered */
    uint32_t reserved;
};

/* A DNS message, over UDP or TCP. */
struct mb_dns_message {
    struct mb_flow flow;
    struct mb_text question; /* name that the first question asks about */
    uint16_t identifier;     /* that question and answer have in common */
    uint16_t question_type;  /* of the first question */
    uint16_t response_code;  /* 0: no error; 3: no such name */
    uint16_t answers;        /* how many the message has */
    uint32_t questions;      /* how many the message has */
    uint32_t length;         /* bytes of the message */
};

struct mb_dns_response {
    struct mb_dns_message message;
    struct mb_text addresses; /* of A and AAAA answers, comma-separated */
};

/* What an NF reports to people. `severity`: 1 information, 2 notice, 3 warning, 4 critical. */
struct mb_alert {
    struct mb_flow flow;
    struct mb_text message;   /* a sentence */
    struct mb_text signature; /* short stable name of what was found */
    struct mb_text nf;        /* the name of who reports */
    uint32_t severity;        /* 1 information, 2 notice, 3 warning, 4 critical */
    uint32_t reserved;
};

/* --- the connection as of an event --- */

/* States of one side (RFC 9293 section 3.3.2), as seen from the middle. */
enum mb_tcp_state {
    MB_TCP_CLOSED,
    MB_TCP_LISTEN,
    MB_TCP_SYN_SENT,
    MB_TCP_SYN_RECEIVED,
    MB_TCP_ESTABLISHED,
    MB_TCP_FIN_WAIT_1,
    MB_TCP_FIN_WAIT_2,
    MB_TCP_CLOSE_WAIT,
    MB_TCP_CLOSING,
    MB_TCP_LAST_ACK,
    MB_TCP_TIME_WAIT,
    MB_TCP_STATES
};

/* What one side has sent so far. Flows other than TCP fill `packets` and `bytes` only. */
struct mb_side {
    uint64_t bytes; /* payload bytes received from this side, repeats included */
    uint32_t packets;
    uint32_t next;            /* sequence number that follows the highest one sent */
    uint32_t acknowledged;    /* highest acknowledgement number sent */
    uint32_t window;          /* offered, in bytes, scaled */
    uint32_t round_trip;      /* microseconds from this side's segment to its acknowledgement
                                 passing by; 0: not measured yet */
    uint16_t retransmissions; /* stays at 65535 */
    uint8_t state;            /* enum mb_tcp_state */
    uint8_t window_scale;     /* shift count (RFC 7323), 255: not offered */
};

struct mb_snapshot {
    struct mb_side side[2]; /* 0: originator, 1: responder */
};

#endif
