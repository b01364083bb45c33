/*
 * What is known of the hosts that packets go to: how their systems put together what arrives in
 * pieces, and how far away they are. Made once, from the networks that the configuration names; of
 * those that hold an address the one with the longest prefix counts, as in routing (RFC 1812
 * section 5.2.4.3).
 */
#ifndef MICROBOX_STACK_FLOWS_HOSTS_H
#define MICROBOX_STACK_FLOWS_HOSTS_H

#include <stdint.h>

/* Which of two copies of a byte a receiver keeps, as its system decides (overlap.h). */
enum mb_overlap_policy {
    MB_OVERLAP_FIRST, /* the copy that came first, always */
    MB_OVERLAP_LAST,
    MB_OVERLAP_BSD,
    MB_OVERLAP_LINUX,
    MB_OVERLAP_WINDOWS,
    MB_OVERLAP_SOLARIS,
    MB_OVERLAP_POLICIES
};

enum { MB_HOST_NETWORKS_MAX = 1 << 20 };

/* All zero: nothing is known. */
struct mb_host_profile {
    uint8_t segments;  /* enum mb_overlap_policy: for TCP segments */
    uint8_t fragments; /* enum mb_overlap_policy: for fragments of IPv4 packets */
    uint8_t hops;      /* routers between here and the host: a packet whose TTL is not above that
                          does not arrive; 0: every one does */
    uint8_t reserved;
};

/* An IPv4 network is written as one of ::ffff:0:0/96 (RFC 4291 section 2.5.5.2): its prefix length
 * is 96 more than usual. */
struct mb_host_network {
    uint8_t address[16]; /* network byte order; bits past the prefix do not count */
    uint8_t prefix_length;
    struct mb_host_profile profile;
};

/* Addresses from `first` on, up to the next range, have this profile. */
struct mb_host_range {
    uint64_t first[2]; /* the address as a number, its upper half first */
    struct mb_host_profile profile;
};

/* The networks as disjoint ranges in order, so that how they nest costs a search nothing. The first
 * range begins at address 0. Written when made, then only read. */
struct mb_hosts {
    struct mb_host_range *ranges;
    uint32_t count;
};

/* ::/0 does not hold IPv4 addresses; 0.0.0.0/0 does. Returns 0, -ENOMEM, or -EINVAL where a prefix
 * length or a policy is out of range, a network is there twice, or there are too many. */
int mb_hosts_create(struct mb_hosts *hosts, const struct mb_host_network *networks, uint32_t count);
void mb_hosts_destroy(struct mb_hosts *hosts);

/* The profile of an address (network byte order). */
struct mb_host_profile mb_hosts_find(const struct mb_hosts *hosts, const uint8_t address[16]);

#endif
