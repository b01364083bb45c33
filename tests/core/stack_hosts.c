/*
 * Which profile an address has, against going through all networks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "microbox/stack/flows/hosts.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static struct mb_host_network ipv4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, unsigned prefix,
                                   uint8_t hops) {
    return (struct mb_host_network){
        .address = {[10] = 0xff, [11] = 0xff, [12] = a, [13] = b, [14] = c, [15] = d},
        .prefix_length = (uint8_t)(96 + prefix),
        .profile = {.hops = hops},
    };
}

static struct mb_host_network ipv6(const char *first, uint8_t prefix_length, uint8_t hops) {
    struct mb_host_network network = {.prefix_length = prefix_length, .profile = {.hops = hops}};
    memcpy(network.address, first, strlen(first));
    return network;
}

static void create(struct mb_hosts *hosts, const struct mb_host_network *networks, uint32_t count) {
    assert_int_equal(mb_hosts_create(hosts, networks, count), 0);
}

static uint8_t hops_to(const struct mb_hosts *hosts, struct mb_host_network host) {
    return mb_hosts_find(hosts, host.address).hops;
}

static void nothing_is_known_without_networks(void **state) {
    (void)state;
    struct mb_hosts hosts;
    create(&hosts, NULL, 0);
    struct mb_host_profile profile = mb_hosts_find(&hosts, ipv4(10, 0, 0, 1, 32, 0).address);
    assert_int_equal(profile.segments, MB_OVERLAP_FIRST);
    assert_int_equal(profile.fragments, MB_OVERLAP_FIRST);
    assert_int_equal(profile.hops, 0);
    mb_hosts_destroy(&hosts);
}

static void the_longest_prefix_counts(void **state) {
    (void)state;
    const struct mb_host_network networks[] = {
        ipv4(10, 1, 2, 3, 32, 4), ipv4(10, 0, 0, 0, 8, 1),  ipv4(10, 1, 2, 0, 24, 3),
        ipv4(10, 1, 0, 0, 16, 2), ipv4(10, 1, 3, 0, 24, 5),
    };
    struct mb_hosts hosts;
    create(&hosts, networks, 5);
    assert_int_equal(hops_to(&hosts, ipv4(9, 255, 255, 255, 32, 0)), 0);
    assert_int_equal(hops_to(&hosts, ipv4(10, 0, 0, 0, 32, 0)), 1);
    assert_int_equal(hops_to(&hosts, ipv4(10, 1, 0, 0, 32, 0)), 2);
    assert_int_equal(hops_to(&hosts, ipv4(10, 1, 2, 2, 32, 0)), 3);
    assert_int_equal(hops_to(&hosts, ipv4(10, 1, 2, 3, 32, 0)), 4);
    assert_int_equal(hops_to(&hosts, ipv4(10, 1, 2, 4, 32, 0)), 3);
    assert_int_equal(hops_to(&hosts, ipv4(10, 1, 3, 0, 32, 0)), 5);
    assert_int_equal(hops_to(&hosts, ipv4(10, 1, 4, 0, 32, 0)), 2);
    assert_int_equal(hops_to(&hosts, ipv4(10, 255, 255, 255, 32, 0)), 1);
    assert_int_equal(hops_to(&hosts, ipv4(11, 0, 0, 0, 32, 0)), 0);
    mb_hosts_destroy(&hosts);
}

static void both_versions_are_apart(void **state) {
    (void)state;
    const struct mb_host_network networks[] = {ipv6("", 0, 6)};
    struct mb_hosts hosts;
    create(&hosts, networks, 1);
    assert_int_equal(hops_to(&hosts, ipv6("\x20\x01\x0d\xb8", 128, 0)), 6);
    assert_int_equal(hops_to(&hosts, ipv4(10, 0, 0, 1, 32, 0)), 0);
    mb_hosts_destroy(&hosts);
    const struct mb_host_network all_of_ipv4[] = {ipv4(0, 0, 0, 0, 0, 4)};
    create(&hosts, all_of_ipv4, 1);
    assert_int_equal(hops_to(&hosts, ipv6("\x20\x01\x0d\xb8", 128, 0)), 0);
    assert_int_equal(hops_to(&hosts, ipv4(0, 0, 0, 0, 32, 0)), 4);
    assert_int_equal(hops_to(&hosts, ipv4(255, 255, 255, 255, 32, 0)), 4);
    mb_hosts_destroy(&hosts);
}

static void networks_may_reach_the_last_address(void **state) {
    (void)state;
    const struct mb_host_network networks[] = {ipv6("\xff", 8, 1), ipv6("\xff\xff", 16, 2)};
    struct mb_hosts hosts;
    create(&hosts, networks, 2);
    assert_int_equal(hops_to(&hosts, ipv6("\xfe\xff", 128, 0)), 0);
    assert_int_equal(hops_to(&hosts, ipv6("\xff\xfe", 128, 0)), 1);
    assert_int_equal(hops_to(&hosts, ipv6("\xff\xff\xff", 128, 0)), 2);
    mb_hosts_destroy(&hosts);
}

static void bits_past_the_prefix_do_not_count(void **state) {
    (void)state;
    const struct mb_host_network networks[] = {ipv4(10, 9, 8, 7, 8, 1)};
    struct mb_hosts hosts;
    create(&hosts, networks, 1);
    assert_int_equal(hops_to(&hosts, ipv4(10, 0, 0, 1, 32, 0)), 1);
    mb_hosts_destroy(&hosts);
}

static void what_makes_no_sense_is_refused(void **state) {
    (void)state;
    struct mb_hosts hosts;
    struct mb_host_network network = ipv4(10, 0, 0, 0, 33, 0);
    assert_int_equal(mb_hosts_create(&hosts, &network, 1), -EINVAL);
    network = ipv4(10, 0, 0, 0, 8, 0);
    network.profile.segments = MB_OVERLAP_POLICIES;
    assert_int_equal(mb_hosts_create(&hosts, &network, 1), -EINVAL);
    network.profile.segments = 0;
    network.profile.fragments = MB_OVERLAP_POLICIES;
    assert_int_equal(mb_hosts_create(&hosts, &network, 1), -EINVAL);
    const struct mb_host_network twice[] = {ipv4(10, 0, 0, 0, 8, 1), ipv4(10, 0, 0, 9, 8, 2)};
    assert_int_equal(mb_hosts_create(&hosts, twice, 2), -EINVAL);
    assert_int_equal(mb_hosts_create(&hosts, twice, MB_HOST_NETWORKS_MAX + 1), -EINVAL);
}

/* --- many networks --- */

enum { NETWORKS = 60, ADDRESSES = 400 };

static uint64_t random_state;

static uint32_t random_below(uint32_t bound) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * UINT64_C(2685821657736338717)) >> 32) % bound;
}

/* Few different bits, so that networks nest. */
static struct mb_host_network random_host(void) {
    return ipv4((uint8_t)(random_below(2) << 7), (uint8_t)random_below(4),
                (uint8_t)(random_below(2) * 255), (uint8_t)random_below(8), 32, 0);
}

static bool holds(const struct mb_host_network *network, const uint8_t *address) {
    for (unsigned bit = 0; bit < network->prefix_length; bit++)
        if ((network->address[bit / 8] ^ address[bit / 8]) & 0x80u >> bit % 8)
            return false;
    return true;
}

static uint8_t hops_by_looking_at_all(const struct mb_host_network *networks, uint32_t count,
                                      const uint8_t *address) {
    const struct mb_host_network *longest = NULL;
    for (uint32_t i = 0; i < count; i++)
        if (holds(&networks[i], address) &&
            (longest == NULL || networks[i].prefix_length > longest->prefix_length))
            longest = &networks[i];
    return longest == NULL ? 0 : longest->profile.hops;
}

static bool is_there(const struct mb_host_network *networks, uint32_t count,
                     const struct mb_host_network *network) {
    for (uint32_t i = 0; i < count; i++)
        if (networks[i].prefix_length == network->prefix_length &&
            holds(network, networks[i].address))
            return true;
    return false;
}

static void many_networks_are_searched_as_if_one_by_one(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct mb_host_network networks[NETWORKS];
        uint32_t count = 0;
        random_state = seed;
        for (uint32_t i = 0; i < NETWORKS; i++) {
            struct mb_host_network network = random_host();
            network.prefix_length = (uint8_t)(96 + random_below(33));
            network.profile.hops = (uint8_t)(1 + i);
            if (!is_there(networks, count, &network))
                networks[count++] = network;
        }
        struct mb_hosts hosts;
        create(&hosts, networks, count);
        for (uint32_t i = 0; i < ADDRESSES; i++) {
            struct mb_host_network host = random_host();
            assert_int_equal(hops_to(&hosts, host),
                             hops_by_looking_at_all(networks, count, host.address));
        }
        mb_hosts_destroy(&hosts);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_known_without_networks),
        cmocka_unit_test(the_longest_prefix_counts),
        cmocka_unit_test(both_versions_are_apart),
        cmocka_unit_test(networks_may_reach_the_last_address),
        cmocka_unit_test(bits_past_the_prefix_do_not_count),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(many_networks_are_searched_as_if_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
