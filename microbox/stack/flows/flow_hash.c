#include "microbox/stack/flows/flow_hash.h"

#include "microbox/stack/siphash.h"

#include <string.h>

/* What is hashed last says the version and whether there is a domain, so the forms of input, which
 * differ in length, cannot be taken for one another. */
static inline uint64_t last_word(uint64_t ports, const struct mb_five_tuple *tuple,
                                 uint64_t domain) {
    return ports | (uint64_t)(domain != 0) << 16 | (uint64_t)tuple->ip_version << 8 |
           tuple->protocol;
}

/* --- IPv4: both endpoints in two words, since an address and a port are 48 bits --- */

struct ipv4_words {
    uint64_t addresses;
    uint64_t ports;
};

static inline struct ipv4_words ipv4_words(const struct mb_five_tuple *tuple) {
    uint32_t source;
    uint32_t destination;
    memcpy(&source, tuple->source + 12, sizeof source);
    memcpy(&destination, tuple->destination + 12, sizeof destination);
    const uint64_t one = (uint64_t)source << 16 | tuple->source_port;
    const uint64_t other = (uint64_t)destination << 16 | tuple->destination_port;
    const uint64_t first = one < other ? one : other;
    const uint64_t second = one < other ? other : one;
    return (struct ipv4_words){
        .addresses = first >> 16 << 32 | second >> 16,
        .ports = (first & 0xffff) << 48 | (second & 0xffff) << 32,
    };
}

static uint64_t absorb_ipv4(struct mb_siphash *sip, const struct mb_five_tuple *tuple) {
    const struct ipv4_words words = ipv4_words(tuple);
    mb_siphash_absorb(sip, words.addresses);
    return words.ports;
}

/* --- IPv6 --- */

struct endpoint {
    uint64_t high;
    uint64_t low;
    uint16_t port;
};

static inline struct endpoint endpoint(const uint8_t address[16], uint16_t port) {
    struct endpoint it = {.port = port};
    memcpy(&it.high, address, 8);
    memcpy(&it.low, address + 8, 8);
    return it;
}

static inline bool endpoint_less(const struct endpoint *a, const struct endpoint *b) {
    if (a->high != b->high)
        return a->high < b->high;
    if (a->low != b->low)
        return a->low < b->low;
    return a->port < b->port;
}

static uint64_t absorb_ipv6(struct mb_siphash *sip, const struct mb_five_tuple *tuple) {
    struct endpoint a = endpoint(tuple->source, tuple->source_port);
    struct endpoint b = endpoint(tuple->destination, tuple->destination_port);
    if (endpoint_less(&b, &a)) {
        struct endpoint swap = a;
        a = b;
        b = swap;
    }
    mb_siphash_absorb(sip, a.high);
    mb_siphash_absorb(sip, a.low);
    mb_siphash_absorb(sip, b.high);
    mb_siphash_absorb(sip, b.low);
    return (uint64_t)a.port << 48 | (uint64_t)b.port << 32;
}

/* --- one --- */

uint64_t mb_flow_hash(const uint64_t key[2], const struct mb_five_tuple *tuple, uint64_t domain) {
    struct mb_siphash sip = mb_siphash_begin(key);
    if (domain != 0)
        mb_siphash_absorb(&sip, domain);
    const uint64_t ports =
        tuple->ip_version == 4 ? absorb_ipv4(&sip, tuple) : absorb_ipv6(&sip, tuple);
    mb_siphash_absorb(&sip, last_word(ports, tuple, domain));
    return mb_siphash_end(&sip);
}

/* --- four --- */

#ifdef __x86_64__
typedef uint64_t lanes __attribute__((vector_size(8 * MB_FLOW_HASHES)));

struct siphash_lanes {
    lanes v0, v1, v2, v3;
};

__attribute__((target("avx2"))) static void
hash_in_lanes(const uint64_t key[2], const struct mb_five_tuple *const tuples[MB_FLOW_HASHES],
              uint64_t hashes[MB_FLOW_HASHES]) {
    const lanes zero = {0};
    lanes addresses = zero;
    lanes last = zero;
    for (unsigned i = 0; i < MB_FLOW_HASHES; i++) {
        const struct ipv4_words words = ipv4_words(tuples[i]);
        addresses[i] = words.addresses;
        last[i] = last_word(words.ports, tuples[i], 0);
    }
    const struct mb_siphash begin = mb_siphash_begin(key);
    struct siphash_lanes sip = {begin.v0 + zero, begin.v1 + zero, begin.v2 + zero, begin.v3 + zero};
    MB_SIPHASH_ABSORB(&sip, addresses);
    MB_SIPHASH_ABSORB(&sip, last);
    MB_SIPHASH_END(&sip);
    const lanes all = sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3;
    memcpy(hashes, &all, sizeof all);
}
#endif

void mb_flow_hashes(const uint64_t key[2], const struct mb_five_tuple *const tuples[MB_FLOW_HASHES],
                    uint64_t hashes[MB_FLOW_HASHES]) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2"))
        return hash_in_lanes(key, tuples, hashes);
#endif
    for (unsigned i = 0; i < MB_FLOW_HASHES; i++)
        hashes[i] = mb_flow_hash(key, tuples[i], 0);
}
