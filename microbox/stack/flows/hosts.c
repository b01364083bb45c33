#include "microbox/stack/flows/hosts.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    ADDRESS_SIZE = 16,
    ADDRESS_BITS = 128,
    NESTING_MAX = ADDRESS_BITS + 1 /* networks around an address, one of each prefix length */
};

/* All of IPv4, so that nothing is known of it unless a network of IPv4 says so. */
static const struct mb_host_network ipv4 = {
    .address = {[10] = 0xff, [11] = 0xff},
    .prefix_length = 96,
};
static const struct mb_host_network everything = {.prefix_length = 0};

static bool is_sound(const struct mb_host_network *network) {
    return network->prefix_length <= ADDRESS_BITS &&
           network->profile.segments < MB_OVERLAP_POLICIES &&
           network->profile.fragments < MB_OVERLAP_POLICIES;
}

static void clear_host_bits(struct mb_host_network *network) {
    for (unsigned bit = network->prefix_length; bit < ADDRESS_BITS; bit++)
        network->address[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
}

/* Larger networks first, so that those inside come after those around. */
static int by_address(const void *a, const void *b) {
    const struct mb_host_network *one = a;
    const struct mb_host_network *other = b;
    int order = memcmp(one->address, other->address, ADDRESS_SIZE);
    return order != 0 ? order : one->prefix_length - other->prefix_length;
}

/* The address after the network's last one. False: there is none. */
static bool end_of(const struct mb_host_network *network, uint8_t end[ADDRESS_SIZE]) {
    memcpy(end, network->address, ADDRESS_SIZE);
    for (unsigned bit = network->prefix_length; bit-- > 0;) {
        uint8_t value = (uint8_t)(0x80u >> bit % 8);
        end[bit / 8] ^= value;
        if (end[bit / 8] & value)
            return true;
    }
    return false;
}

static uint64_t half_of(const uint8_t address[ADDRESS_SIZE], unsigned half) {
    uint64_t bytes;
    memcpy(&bytes, address + half * sizeof bytes, sizeof bytes);
    return be64toh(bytes);
}

/* A range that begins where the last one does takes its place. */
static void begin_range(struct mb_hosts *hosts, const uint8_t first[ADDRESS_SIZE],
                        struct mb_host_profile profile) {
    const struct mb_host_range range = {{half_of(first, 0), half_of(first, 1)}, profile};
    if (hosts->count == 0 ||
        memcmp(hosts->ranges[hosts->count - 1].first, range.first, sizeof range.first) != 0)
        hosts->count++;
    hosts->ranges[hosts->count - 1] = range;
}

/* Networks nest or are apart: those around the present address are a stack. */
static void flatten(struct mb_hosts *hosts, const struct mb_host_network *networks,
                    uint32_t count) {
    const struct mb_host_network *around[NESTING_MAX];
    unsigned depth = 0;
    uint8_t end[ADDRESS_SIZE];
    for (uint32_t i = 0; i <= count; i++) {
        while (depth > 1 && end_of(around[depth - 1], end) &&
               (i == count || memcmp(end, networks[i].address, ADDRESS_SIZE) <= 0))
            begin_range(hosts, end, around[--depth - 1]->profile);
        if (i == count)
            return;
        begin_range(hosts, networks[i].address, networks[i].profile);
        around[depth++] = &networks[i];
    }
}

static bool has_equal_neighbours(const struct mb_host_network *networks, uint32_t count) {
    for (uint32_t i = 1; i < count; i++)
        if (by_address(&networks[i - 1], &networks[i]) == 0)
            return true;
    return false;
}

static bool contains(const struct mb_host_network *networks, uint32_t count,
                     const struct mb_host_network *wanted) {
    for (uint32_t i = 0; i < count; i++)
        if (by_address(&networks[i], wanted) == 0)
            return true;
    return false;
}

/* Copies the networks to `all`, which has room for two more, and adds what they leave open. Returns
 * how many there are now, 0: one is not sound. */
static uint32_t gather(struct mb_host_network *all, const struct mb_host_network *networks,
                       uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (!is_sound(&networks[i]))
            return 0;
        all[i] = networks[i];
        clear_host_bits(&all[i]);
    }
    if (!contains(all, count, &everything))
        all[count++] = everything;
    if (!contains(all, count, &ipv4))
        all[count++] = ipv4;
    qsort(all, count, sizeof *all, by_address);
    return has_equal_neighbours(all, count) ? 0 : count;
}

int mb_hosts_create(struct mb_hosts *hosts, const struct mb_host_network *networks,
                    uint32_t count) {
    memset(hosts, 0, sizeof *hosts);
    if (count > MB_HOST_NETWORKS_MAX)
        return -EINVAL;
    struct mb_host_network *all = calloc(count + 2, sizeof *all);
    hosts->ranges = calloc(2 * ((size_t)count + 2), sizeof *hosts->ranges);
    uint32_t gathered = 0;
    int error = all == NULL || hosts->ranges == NULL ? -ENOMEM : 0;
    if (error == 0) {
        gathered = gather(all, networks, count);
        error = gathered == 0 ? -EINVAL : 0;
    }
    if (error == 0)
        flatten(hosts, all, gathered);
    else
        mb_hosts_destroy(hosts);
    free(all);
    return error;
}

void mb_hosts_destroy(struct mb_hosts *hosts) {
    free(hosts->ranges);
    memset(hosts, 0, sizeof *hosts);
}

struct mb_host_profile mb_hosts_find(const struct mb_hosts *hosts, const uint8_t address[16]) {
    const uint64_t upper = half_of(address, 0);
    const uint64_t lower = half_of(address, 1);
    uint32_t low = 0;
    uint32_t high = hosts->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        const uint64_t *first = hosts->ranges[middle].first;
        if (first[0] < upper || (first[0] == upper && first[1] <= lower))
            low = middle;
        else
            high = middle;
    }
    return hosts->ranges[low].profile;
}
