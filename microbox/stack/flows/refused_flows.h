/*
 * Flows that were refused when the table was full, so that what comes of them later is refused as
 * well: a fixed memory of their hashes. Where two share a slot the later one is remembered, and the
 * earlier one may try again: less is kept than was refused, never more.
 */
#ifndef MICROBOX_STACK_FLOWS_REFUSED_FLOWS_H
#define MICROBOX_STACK_FLOWS_REFUSED_FLOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MB_REFUSED_FLOWS_MAX = 1 << 16 };

struct mb_refused_flow {
    uint64_t hash;  /* of tuple and domain */
    uint64_t until; /* on the stack's clock */
};

struct mb_refused_flows {
    struct mb_refused_flow *slots; /* NULL: the policy needs no memory */
    uint64_t mask;                 /* slots less one */
};

/* Room for twice `flows`, as far as MB_REFUSED_FLOWS_MAX. Returns 0 or -errno. */
int mb_refused_flows_create(struct mb_refused_flows *refused, uint32_t flows);
size_t mb_refused_flows_bytes(uint32_t flows);
void mb_refused_flows_destroy(struct mb_refused_flows *refused);

/* Refuses the flow until `until`. */
void mb_refused_flows_add(struct mb_refused_flows *refused, uint64_t hash, uint64_t until);

bool mb_refused_flows_has(const struct mb_refused_flows *refused, uint64_t hash, uint64_t now);

#endif
