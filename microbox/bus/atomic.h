/*
 * Shared words, by name of the ordering they need. Only these functions touch words that another
 * process writes or reads; so an audit of the protocol is a search for their names.
 *
 * No stand-alone fences: ThreadSanitizer does not understand them, and a sequentially consistent
 * store costs the same on the machines we run on.
 */
#ifndef MICROBOX_BUS_ATOMIC_H
#define MICROBOX_BUS_ATOMIC_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t mb_load_acquire(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline uint64_t mb_load_relaxed(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline uint32_t mb_load_half_relaxed(const uint32_t *word) {
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/* A verdict: ordered by the cursor that was read before. */
static inline uint8_t mb_load_byte_relaxed(const uint8_t *byte) {
    return __atomic_load_n(byte, __ATOMIC_RELAXED);
}

static inline uint8_t mb_load_byte_acquire(const uint8_t *byte) {
    return __atomic_load_n(byte, __ATOMIC_ACQUIRE);
}

static inline void mb_store_half_relaxed(uint32_t *word, uint32_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline void mb_store_byte_relaxed(uint8_t *byte, uint8_t value) {
    __atomic_store_n(byte, value, __ATOMIC_RELAXED);
}

static inline void mb_store_release(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline void mb_store_relaxed(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

/* The two below order a store before a later load of another word: the sleeper stores `asleep`
 * then loads the word; the mover stores the word then loads `asleep`. */
static inline void mb_store_sequential(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

/* A warning to who copies what is overwritten next: no later store, of whatever kind, is seen
 * before this one. (A release would only order what comes before it. Loading the word again orders
 * what comes after: on x86 the store is an exchange; on ARM it is STLR, LDAR, and no store passes
 * LDAR.)
 */
static inline void mb_announce(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
    (void)__atomic_load_n(word, __ATOMIC_SEQ_CST);
}

/* Copies words that their owner may be writing. What was copied may be used only where a floor that
 * is loaded afterwards says that nothing of it was overwritten: each load is an acquire, so that
 * load comes last. The writer's stores are plain ones, which ThreadSanitizer would report. */
__attribute__((no_sanitize("thread"))) static inline void
mb_copy_unstable(uint64_t *to, const uint64_t *from, size_t words) {
    for (size_t i = 0; i < words; i++)
        to[i] = __atomic_load_n(&from[i], __ATOMIC_ACQUIRE);
}

__attribute__((no_sanitize("thread"))) static inline uint8_t
mb_load_byte_unstable(const uint8_t *byte) {
    return __atomic_load_n(byte, __ATOMIC_ACQUIRE);
}

static inline uint64_t mb_load_sequential(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static inline void mb_store_flag_sequential(uint32_t *flag, uint32_t value) {
    __atomic_store_n(flag, value, __ATOMIC_SEQ_CST);
}

static inline uint32_t mb_load_flag_sequential(const uint32_t *flag) {
    return __atomic_load_n(flag, __ATOMIC_SEQ_CST);
}

#endif
