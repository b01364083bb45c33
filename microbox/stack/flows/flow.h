/*
 * One flow, as the stack keeps it: six cache lines. Finding it touches the first three, tracking
 * the fourth, streams the fifth; the last one is for what is rare.
 *
 * Written by the stack core, and by the module that the part is named after.
 */
#ifndef MICROBOX_STACK_FLOWS_FLOW_H
#define MICROBOX_STACK_FLOWS_FLOW_H

#include "microbox/events/payloads.h"
#include "microbox/stack/flows/hosts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which timeout applies, and so which list the flow is in. */
enum mb_timeout_class {
    MB_TIMEOUT_CLOSED,  /* TCP after its end: kept so that late segments start no flow */
    MB_TIMEOUT_RESET,   /* TCP after a RST, while it may show that it goes on */
    MB_TIMEOUT_OPENING, /* TCP, handshake not complete */
    /* Packets of one direction only, so far. Anybody can send such from any source address, and
     * who does must not push out a flow whose both ends are there. */
    MB_TIMEOUT_TCP_UNANSWERED, /* open: picked up, or a capture of one side */
    MB_TIMEOUT_UDP_UNANSWERED, /* UDP and other protocols */
    MB_TIMEOUT_ICMP_UNANSWERED,
    MB_TIMEOUT_OPEN, /* TCP */
    MB_TIMEOUT_UDP,  /* UDP and other protocols */
    MB_TIMEOUT_ICMP,
    MB_TIMEOUT_CLASSES
};

/* Bits of mb_flow_entry.marks. */
enum mb_flow_mark {
    MB_FLOW_SEEN = 1 << 0, /* << direction: a packet went this way, so its mask is known */
    MB_FLOW_STARTED = 1 << 2,
    MB_FLOW_ENDED = 1 << 3,       /* its end was published */
    MB_FLOW_ESTABLISHED = 1 << 4, /* both sides are open, or were; TCP */
    MB_FLOW_DROPPED = 1 << 5,     /* by the policy of a cap: its packets do not go out */
    MB_FLOW_BYPASSED = 1 << 6,    /* by the policy of a cap: nobody is shown its packets */
    MB_FLOW_START_TOLD = 1 << 7,  /* flow.start was published */
};

/* Bits of mb_tcp_side.marks. */
enum mb_tcp_mark {
    MB_TCP_SEEN = 1 << 0, /* `initial` and the snapshot's `next` are known */
    MB_TCP_SYN_SEEN = 1 << 1,
    MB_TCP_FIN_SEEN = 1 << 2,
    MB_TCP_FIN_ACKNOWLEDGED = 1 << 3,
    MB_TCP_ACK_SEEN = 1 << 4,    /* the snapshot's `acknowledged` is known */
    MB_TCP_TIMED = 1 << 5,       /* a segment's round trip is being measured */
    MB_TCP_RST_SEEN = 1 << 6,    /* one that was believed */
    MB_TCP_URGENT = 1 << 7,      /* `urgent` is known */
    MB_TCP_TIMESTAMPED = 1 << 8, /* `timestamp` is known */
    MB_TCP_FIN_AHEAD = 1 << 9,   /* a FIN behind a hole: `fin` is known, and not believed yet */
    MB_TCP_FIN_DUE = 1 << 10,    /* the segment in hand bears the side's FIN */
    MB_TCP_SYN_MOVED = 1 << 11,  /* several SYN/ACKs, and nobody has answered one yet */
    MB_TCP_CLAIMED = 1 << 12,    /* has acknowledged what was not sent: the flow's `claimed` */
    MB_TCP_HOPS_KNOWN = 1 << 13, /* how far its packets go on from here: the flow's `receiver` */
    MB_TCP_SYN_BYTES = 1 << 14,  /* its SYN bore bytes, and nobody knows whether they were taken */
};

/* What tcp.monitor knows of one side beyond the snapshot. */
struct mb_tcp_side {
    uint32_t initial;       /* sequence number of the first byte of the stream: the one after SYN */
    uint32_t fin;           /* sequence number of FIN */
    uint32_t timed;         /* sequence number whose acknowledgement ends the measurement */
    uint32_t timed_at;      /* packet time in microseconds, low 32 bits */
    uint16_t marks;         /* enum mb_tcp_mark */
    uint16_t timestamp_age; /* when `timestamp` was taken, in 2^37 ns of packet time */
    uint32_t timestamp;     /* TS.Recent of the receiver (RFC 7323) */
    uint32_t urgent;        /* sequence number of the last urgent byte */
    uint16_t window_max;    /* largest one offered but in SYN, unscaled */
    uint8_t ttl_least;      /* a lower one stands out */
    uint8_t options;        /* of its SYN: enum mb_tcp_option_seen */
};

/* A SYN inside an open connection. When the other side answers it, the next flow begins with it. */
struct mb_tcp_pending_syn {
    uint32_t sequence_number;
    uint32_t end; /* behind the data that it bears */
    uint16_t window;
    uint8_t window_scale;
    uint8_t options; /* enum mb_tcp_option_seen */
    uint8_t from;    /* 1 + direction; 0: none */
    uint8_t reserved[3];
};

/* Where tcp.stream begins with a side. */
enum mb_stream_beginning {
    MB_STREAM_FROM_FIRST,  /* at the stream's first byte */
    MB_STREAM_FROM_MIDDLE, /* at the side's next byte, whatever was left out */
    MB_STREAM_IN_SYN,      /* `next` is the SYN: the bytes that it bore are held until it shows
                              whether they were taken */
    MB_STREAM_BEGUN        /* `next` and `offset` are set */
};

/* What tcp.stream knows of one side. */
struct mb_stream_side {
    uint64_t offset;     /* in the stream, of the byte `next` */
    uint32_t next;       /* sequence number of the next byte to give out */
    uint32_t list;       /* of held pieces (reassembly.h), 0: nothing is held */
    uint32_t held_bytes; /* in it */
    uint32_t delivered;  /* the last segment that is not acknowledged (delivered.h), 0: none kept */
    uint16_t held;       /* pieces in it */
    uint8_t beginning;   /* enum mb_stream_beginning */
    uint8_t policy;      /* enum mb_overlap_policy, of who receives */
    uint8_t acknowledged; /* packets that acknowledged all of the hole that the stream waits at */
    uint8_t delivered_count;
    uint8_t reserved[2];
};

struct mb_flow_entry {
    struct mb_five_tuple tuple; /* source: the originator */
    uint64_t number;            /* of the first packet: the flow's identity; 0: slot is free */
    uint32_t chain;             /* next flow in the bucket */
    uint32_t hash;              /* low half of the tuple's hash */
    uint32_t domain;            /* low half of what names the VLANs and tunnels around (domain.h) */
    uint8_t transport;          /* enum mb_transport */
    uint8_t timeout_class;      /* enum mb_timeout_class */
    uint8_t marks;              /* enum mb_flow_mark */
    uint8_t dropped_by;         /* as in mb_handled */

    uint64_t mask[2][2]; /* by direction: who wants its packets, by filters */
    uint64_t last_seen;  /* on the stack's clock */
    uint64_t queued;     /* on the stack's clock: when it was put at the list's end */
    uint32_t older;      /* neighbours in the list of its timeout class */
    uint32_t newer;
    uint32_t epoch;       /* of the subscriptions that `modules` was worked out from */
    uint16_t modules;     /* enum mb_module_bit */
    uint8_t stream_sides; /* bit d: somebody reads the bytes of direction d */
    uint8_t ending;       /* reason to end the flow with when the packet is done; 0: none */

    struct mb_snapshot snapshot;

    struct mb_tcp_side tcp[2];

    struct mb_stream_side stream[2];

    uint64_t started;                   /* packet time of the first packet */
    struct mb_host_profile receiver[2]; /* by direction: of the host that its packets go to */
    struct mb_tcp_pending_syn pending_syn;
    uint32_t claimed[2]; /* by direction: acknowledged, but not seen to be sent by the other */
    uint32_t tunnel_identifier; /* of the innermost tunnel around the first packet; 0: none */
    uint8_t tunnel;             /* enum mb_tunnel */
    uint8_t reserved[19];
};

/* A RST was believed: the end comes, unless the flow goes on. */
static inline bool mb_flow_is_reset(const struct mb_flow_entry *flow) {
    return (flow->tcp[0].marks | flow->tcp[1].marks) & MB_TCP_RST_SEEN;
}

_Static_assert(sizeof(struct mb_tcp_side) == 32 && sizeof(struct mb_stream_side) == 32,
               "both sides of a module share a cache line");
_Static_assert(offsetof(struct mb_flow_entry, mask) == 64 &&
                   offsetof(struct mb_flow_entry, snapshot) == 128 &&
                   offsetof(struct mb_flow_entry, tcp) == 192 &&
                   offsetof(struct mb_flow_entry, stream) == 256 &&
                   offsetof(struct mb_flow_entry, started) == 320,
               "each part begins a cache line");
_Static_assert(sizeof(struct mb_flow_entry) == 6 * 64, "a flow is six cache lines");

#endif
