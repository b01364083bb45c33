/*
 * SipHash-1-3 (Aumasson and Bernstein 2012) over whole 64-bit words: who does not know the key
 * cannot choose inputs whose hashes collide. 1-3 is what Rust's and Python's tables use. The number
 * of words is not hashed: each use must tell inputs of different length apart by their last word.
 */
#ifndef MICROBOX_STACK_SIPHASH_H
#define MICROBOX_STACK_SIPHASH_H

#include <stdint.h>

struct mb_siphash {
    uint64_t v0, v1, v2, v3;
};

/* Macros, since a state may also be of vectors, of which each lane is a hash (flow_hash.c). */
#define MB_SIPHASH_ROTATE(word, bits) ((word) << (bits) | (word) >> (64 - (bits)))

#define MB_SIPHASH_ROUND(sip)                                                                      \
    do {                                                                                           \
        (sip)->v0 += (sip)->v1;                                                                    \
        (sip)->v2 += (sip)->v3;                                                                    \
        (sip)->v1 = MB_SIPHASH_ROTATE((sip)->v1, 13) ^ (sip)->v0;                                  \
        (sip)->v3 = MB_SIPHASH_ROTATE((sip)->v3, 16) ^ (sip)->v2;                                  \
        (sip)->v0 = MB_SIPHASH_ROTATE((sip)->v0, 32);                                              \
        (sip)->v2 += (sip)->v1;                                                                    \
        (sip)->v0 += (sip)->v3;                                                                    \
        (sip)->v1 = MB_SIPHASH_ROTATE((sip)->v1, 17) ^ (sip)->v2;                                  \
        (sip)->v3 = MB_SIPHASH_ROTATE((sip)->v3, 21) ^ (sip)->v0;                                  \
        (sip)->v2 = MB_SIPHASH_ROTATE((sip)->v2, 32);                                              \
    } while (0)

#define MB_SIPHASH_ABSORB(sip, word)                                                               \
    do {                                                                                           \
        (sip)->v3 ^= (word);                                                                       \
        MB_SIPHASH_ROUND(sip);                                                                     \
        (sip)->v0 ^= (word);                                                                       \
    } while (0)

/* After it the hash is v0 ^ v1 ^ v2 ^ v3. */
#define MB_SIPHASH_END(sip)                                                                        \
    do {                                                                                           \
        (sip)->v2 ^= 0xff;                                                                         \
        MB_SIPHASH_ROUND(sip);                                                                     \
        MB_SIPHASH_ROUND(sip);                                                                     \
        MB_SIPHASH_ROUND(sip);                                                                     \
    } while (0)

static inline struct mb_siphash mb_siphash_begin(const uint64_t key[2]) {
    return (struct mb_siphash){key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                               key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
}

static inline void mb_siphash_absorb(struct mb_siphash *sip, uint64_t word) {
    MB_SIPHASH_ABSORB(sip, word);
}

static inline uint64_t mb_siphash_end(struct mb_siphash *sip) {
    MB_SIPHASH_END(sip);
    return sip->v0 ^ sip->v1 ^ sip->v2 ^ sip->v3;
}

#endif
