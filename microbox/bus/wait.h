/*
 * Waiting for a shared word to move: spin, then futex.
 */
#ifndef MICROBOX_BUS_WAIT_H
#define MICROBOX_BUS_WAIT_H

#include <stdbool.h>
#include <stdint.h>

/* How often to look before sleeping. 0 with one processor. */
struct mb_wait_policy {
    uint32_t spins;
};

struct mb_wait_policy mb_wait_policy_default(void);

/* Tells the processor that this is a spin loop. */
void mb_spin_pause(void);

/* Sleeps while the low 32 bits of `*word` equal those of `seen`, at most `timeout_ns`.
 * The word may lie in a read-only mapping. Returns false on timeout. */
bool mb_futex_wait(const uint64_t *word, uint64_t seen, uint64_t timeout_ns);

/* Wakes all who sleep on `word`. */
void mb_futex_wake(const uint64_t *word);

#endif
