/*
 * Which instance of an NF a flow is for, where several share out all flows.
 *
 * By a hash of the five-tuple, or of the pair of addresses alone, that is the same in both
 * directions. Its key is fixed: which flow an instance gets must not change from one replay to the
 * next. (So who sends packets may choose the instance that they keep busy, and nothing else.) A
 * packet without a flow goes by what its tuple has; one without addresses to the first instance.
 */
#ifndef MICROBOX_STACK_SHARE_H
#define MICROBOX_STACK_SHARE_H

#include "microbox/bus/layout.h"

#include <stdbool.h>

enum { MB_SHARES_MAX = MB_NFS_MAX };

/* What a flow is told apart by. */
enum mb_share_key { MB_SHARE_BY_FLOW, MB_SHARE_BY_HOSTS, MB_SHARE_KEYS };

/* One part of `count` equal ones; count 0 or 1: all flows. */
struct mb_share {
    uint32_t first; /* the NF that is the first of these instances; the others come right behind */
    uint32_t index; /* below count */
    uint32_t count; /* at most MB_SHARES_MAX */
    uint32_t key;   /* enum mb_share_key */
};

/* The shares of all bits of a mask. All zero: each bit is for all flows. */
struct mb_shares {
    uint64_t shared[2]; /* bits that are not for all flows */
    struct mb_share of_bit[MB_SUBSCRIPTIONS_MAX];
};

/* False where the share is none. */
bool mb_shares_set(struct mb_shares *shares, unsigned bit, const struct mb_share *share);

/* The set of NFs that share flows out among them; 0 where one has all. */
uint64_t mb_share_siblings(const struct mb_share *share);

/* Takes those bits out of `mask` whose share a flow (or packet) with this tuple is not in. */
void mb_shares_leave_out(const struct mb_shares *shares, const struct mb_five_tuple *tuple,
                         uint64_t mask[2]);

#endif
