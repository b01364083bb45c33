/*
 * What is around a packet, as a part of its flow's identity: VLANs, PPPoE sessions, tunnels. Two
 * tenants may use equal addresses, and who can send tunnelled packets past us must not be able to
 * reset or feed flows that are in another tunnel or in none.
 *
 * The name of a domain is a keyed hash (siphash.h), chained from the outside in, the same for both
 * directions: a tunnel counts with its pair of outer addresses and with its identifier where both
 * directions bear the same one. 0: nothing is around that counts.
 */
#ifndef MICROBOX_STACK_DECODE_DOMAIN_H
#define MICROBOX_STACK_DECODE_DOMAIN_H

#include "microbox/stack/siphash.h"

enum mb_domain_part {
    MB_DOMAIN_VLAN,
    MB_DOMAIN_BACKBONE, /* service identifier of IEEE 802.1ah */
    MB_DOMAIN_TUNNEL    /* this + enum mb_tunnel */
};

/* `around`: the domain outside of this part. */
static inline uint64_t mb_domain_add(const uint64_t key[2], uint64_t around, unsigned part,
                                     uint32_t identifier) {
    struct mb_siphash sip = mb_siphash_begin(key);
    mb_siphash_absorb(&sip, around);
    mb_siphash_absorb(&sip, (uint64_t)part << 32 | identifier);
    uint64_t name = mb_siphash_end(&sip);
    return name != 0 ? name : 1;
}

#endif
