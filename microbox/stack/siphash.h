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

static inline uint64_t mb_siphash_rotate(uint64_t word, unsigned bits) {
    return word << bits | word >> (64 - bits);
}

static inline void mb_siphash_round(struct mb_siphash *sip) {
    sip->v0 += sip->v1;
    sip->v2 += sip->v3;
    sip->v1 = mb_siphash_rotate(sip->v1, 13) ^ sip->v0;
    sip->v3 = mb_siphash_rotate(sip->v3, 16) ^ sip->v2;
    sip->v0 = mb_siphash_rotate(sip->v0, 32);
    sip->v2 += sip->v1;
    sip->v0 += sip->v3;
    sip->v1 = mb_siphash_rotate(sip->v1, 17) ^ sip->v2;
    sip->v3 = mb_siphash_rotate(sip->v3, 21) ^ sip->v0;
    sip->v2 = mb_siphash_rotate(sip->v2, 32);
}

static inline struct mb_siphash mb_siphash_begin(const uint64_t key[2]) {
    return (struct mb_siphash){key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                               key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
}

static inline void mb_siphash_absorb(struct mb_siphash *sip, uint64_t word) {
    sip->v3 ^= word;
    mb_siphash_round(sip);
    sip->v0 ^= word;
}

static inline uint64_t mb_siphash_end(struct mb_siphash *sip) {
    sip->v2 ^= 0xff;
    mb_siphash_round(sip);
    mb_siphash_round(sip);
    mb_siphash_round(sip);
    return sip->v0 ^ sip->v1 ^ sip->v2 ^ sip->v3;
}

#endif
