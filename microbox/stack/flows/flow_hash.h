/*
 * Where a flow lies in the table: SipHash-1-3 (siphash.h) over the pair of endpoints, the smaller
 * one first, so that both directions have the same, with a random key of 128 bits: who does not
 * know it cannot choose tuples that share a chain.
 */
#ifndef MICROBOX_STACK_FLOWS_FLOW_HASH_H
#define MICROBOX_STACK_FLOWS_FLOW_HASH_H

#include "microbox/events/payloads.h"

#include <stdbool.h>
#include <stdint.h>

enum { MB_FLOW_HASHES = 4 };

/* `domain`: what VLANs and tunnels are around (domain.h); flows with equal five-tuples in ten
 * thousand tunnels share no chain. */
uint64_t mb_flow_hash(const uint64_t key[2], const struct mb_five_tuple *tuple, uint64_t domain);

/* Those that mb_flow_hashes takes: most packets there are. */
static inline bool mb_flow_hash_is_plain(const struct mb_five_tuple *tuple, uint64_t domain) {
    return tuple->ip_version == 4 && domain == 0;
}

/* What mb_flow_hash says of four plain tuples. A hash is one long chain of instructions, each of
 * which waits for the one before; four chains beside each other take little longer than one. */
void mb_flow_hashes(const uint64_t key[2], const struct mb_five_tuple *const tuples[MB_FLOW_HASHES],
                    uint64_t hashes[MB_FLOW_HASHES]);

#endif
