/*
 * The datagrams that fragments are collected for, found by what makes fragments belong together:
 * addresses, identification, for IPv4 the protocol (RFC 791 section 3.2; RFC 8200 section 4.5), and
 * the VLANs and tunnels around.
 *
 * All memory is made at start. The hash is keyed. Datagrams stand in a list by when they began, so
 * the oldest is found at once: it is the first to time out and the first to be given up.
 */
#ifndef MICROBOX_STACK_FRAGMENTS_FRAGMENT_TABLE_H
#define MICROBOX_STACK_FRAGMENTS_FRAGMENT_TABLE_H

#include "microbox/stack/decode/decode.h"
#include "microbox/stack/fragments/fragment_list.h"
#include "microbox/stack/prefetch.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

/* Addresses as in mb_five_tuple. */
struct mb_datagram_key {
    uint8_t source[16];
    uint8_t destination[16];
    uint64_t domain; /* what of VLANs and tunnels tells flows apart; the rest of it does so here */
    uint32_t identification;
    uint32_t tunnel_identifier;
    uint16_t vlan;
    uint8_t tunnel; /* enum mb_tunnel */
    uint8_t depth;
    uint8_t protocol; /* IPv4 only: fragments of IPv6 may name different ones */
    uint8_t ip_version;
};
_Static_assert(sizeof(struct mb_datagram_key) == 56, "a key and its place are a cache line");

/* Pieces that lie in the datagram itself: most datagrams never have more. */
enum { MB_FEW_FRAGMENTS = 3 };

enum mb_datagram_state {
    MB_DATAGRAM_COLLECTING,
    MB_DATAGRAM_REFUSED, /* its fragments are let go until it times out (RFC 5722) */
    MB_DATAGRAM_WHOLE    /* was made; a further fragment begins another one */
};

/* Three cache lines: what finds it, what a fragment changes, what few fragments leave. */
struct mb_datagram {
    alignas(64) struct mb_datagram_key key;
    uint32_t hash;
    uint32_t chain; /* next in the bucket; indices count from 1, 0: none */

    uint64_t began; /* on the stack's clock */
    struct mb_fragment_list list;
    uint32_t older; /* neighbours in the list by age */
    uint32_t newer;
    uint32_t held;           /* bytes captured of the fragments in the list, as they came */
    uint32_t covered;        /* bytes of payload that the list holds */
    uint32_t length;         /* of the whole payload, where `has_end`; else of what came */
    uint16_t network_offset; /* in the header's frame: of the IP header, */
    uint16_t payload_offset; /* of what follows the fragment's headers, */
    uint16_t next_header;    /* of the byte that announces the IPv6 fragment header */
    uint16_t fragments;      /* that came; stays at 65535 */
    uint16_t overlapped;     /* pieces that fragments came to lie over, each time counted */
    uint8_t protocol;        /* what the header's fragment says that follows */
    uint8_t state;           /* enum mb_datagram_state */
    uint8_t at_cap;          /* refused at a cap: enum mb_cap_policy, for its later fragments */
    bool has_header;
    bool has_end;
    uint32_t began_with; /* low half of the number of the packet that it began with */

    uint64_t completed; /* number of the packet that completed the last one of this key; 0: none */
    uint64_t header;    /* frame of the fragment with offset 0, where `has_header` */
    struct mb_fragment_piece few[MB_FEW_FRAGMENTS];
};
_Static_assert(sizeof(struct mb_datagram) == 192, "a datagram is three cache lines");

struct mb_fragment_table {
    struct mb_datagram *datagrams;    /* [1, capacity] */
    struct mb_fragment_piece *pieces; /* `fragments_max` for each datagram that has not few */
    uint32_t *buckets;
    uint32_t capacity;
    uint32_t fragments_max; /* a datagram */
    uint32_t bucket_mask;
    uint32_t free;
    uint32_t unused; /* from here on none was ever taken */
    uint32_t used;
    uint32_t oldest;
    uint32_t newest;
    uint64_t key[2];
};

/* What one takes when it is full. */
size_t mb_fragment_table_bytes(uint32_t capacity, uint32_t fragments_max);

/* The most datagrams that were ever in it. */
static inline uint32_t mb_fragment_table_peak(const struct mb_fragment_table *table) {
    return table->unused - 1;
}

/* Returns 0 or -ENOMEM. */
int mb_fragment_table_create(struct mb_fragment_table *table, uint32_t capacity,
                             uint32_t fragments_max, const uint64_t key[2]);
void mb_fragment_table_destroy(struct mb_fragment_table *table);

/* What a fragment's `hash` must be. */
uint64_t mb_datagram_hash(const struct mb_fragment_table *table, const struct mb_decoded *fragment);

/* The datagram that the fragment is of; NULL: there is none. */
struct mb_datagram *mb_datagram_find(struct mb_fragment_table *table,
                                     const struct mb_decoded *fragment);

/* A new one, all zero but key and an empty list; there must be room. */
struct mb_datagram *mb_datagram_insert(struct mb_fragment_table *table,
                                       const struct mb_decoded *fragment, uint64_t now);

/* Sees to it that the list has room for `pieces`, at most the table's fragments_max. */
void mb_datagram_make_room(struct mb_fragment_table *table, struct mb_datagram *datagram,
                           uint32_t pieces);
void mb_datagram_remove(struct mb_fragment_table *table, struct mb_datagram *datagram);

/* It begins now: moves it to the list's end. */
void mb_datagram_renew(struct mb_fragment_table *table, struct mb_datagram *datagram, uint64_t now);

/* Two steps that fetch what finding a fragment's datagram will read. */
MB_PREFETCHES void mb_datagram_prefetch_bucket(const struct mb_fragment_table *table,
                                               uint64_t hash) {
    __builtin_prefetch(&table->buckets[hash & table->bucket_mask]);
}

MB_PREFETCHES void mb_datagram_prefetch(const struct mb_fragment_table *table, uint64_t hash) {
    const struct mb_datagram *datagram =
        &table->datagrams[table->buckets[hash & table->bucket_mask]];
    __builtin_prefetch(&datagram->key);
    __builtin_prefetch(&datagram->began, 1);
}

/* The number of the packet that it began with, seen from packet `now`. */
static inline uint64_t mb_datagram_number(const struct mb_datagram *datagram, uint64_t now) {
    return now - (uint32_t)((uint32_t)now - datagram->began_with);
}

/* NULL: the table is empty. */
static inline struct mb_datagram *mb_datagram_oldest(const struct mb_fragment_table *table) {
    return table->oldest != 0 ? &table->datagrams[table->oldest] : NULL;
}

#endif
