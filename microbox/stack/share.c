#include "microbox/stack/share.h"

#include "microbox/stack/flows/flow_table.h"
#include "microbox/stack/partition.h"

static const uint64_t share_key[2] = {UINT64_C(0x6d6963726f626f78), UINT64_C(0x736861726573)};

static bool is_sound(const struct mb_share *share) {
    return share->count <= MB_SHARES_MAX && share->first <= MB_NFS_MAX - share->count &&
           share->index < share->count && share->key < MB_SHARE_KEYS;
}

bool mb_shares_set(struct mb_shares *shares, unsigned bit, const struct mb_share *share) {
    if (share->count <= 1)
        return share->index == 0;
    if (!is_sound(share))
        return false;
    shares->of_bit[bit] = *share;
    shares->shared[bit / 64] |= UINT64_C(1) << bit % 64;
    return true;
}

uint64_t mb_share_siblings(const struct mb_share *share) {
    if (share->count <= 1 || !is_sound(share))
        return 0;
    return (UINT64_MAX >> (MB_NFS_MAX - share->count)) << share->first;
}

static bool is_in(const struct mb_share *share, const uint64_t hash[MB_SHARE_KEYS]) {
    return mb_partition_part(hash[share->key], share->count) == share->index;
}

void mb_shares_leave_out(const struct mb_shares *shares, const struct mb_five_tuple *tuple,
                         uint64_t mask[2]) {
    uint64_t hash[MB_SHARE_KEYS] = {0};
    if (((mask[0] & shares->shared[0]) | (mask[1] & shares->shared[1])) == 0)
        return;
    if (tuple->ip_version != 0) {
        hash[MB_SHARE_BY_FLOW] = mb_flow_hash(share_key, tuple, 0);
        hash[MB_SHARE_BY_HOSTS] = mb_partition_hash(share_key, tuple);
    }
    for (unsigned half = 0; half < 2; half++) {
        for (uint64_t rest = mask[half] & shares->shared[half]; rest != 0; rest &= rest - 1) {
            const unsigned bit = (unsigned)__builtin_ctzll(rest);
            if (!is_in(&shares->of_bit[64 * half + bit], hash))
                mask[half] &= ~(UINT64_C(1) << bit);
        }
    }
}
