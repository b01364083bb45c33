/*
 * Waiting for a shared word to move: spin, then futex.
 *
 * Several sleep on one word (the log's head, an NF's cursor), and most moves of it concern few of
 * them. So each sleeper says who it is, and who wakes says whom.
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

/* Sleepers as a set of bits. Two NFs may share a bit: then one is woken in vain now and then. */
#define MB_WAITER_WORKER (UINT32_C(1) << 31)
#define MB_WAITERS_ALL   UINT32_MAX
uint32_t mb_waiter(uint32_t nf);

/* Sleeps as `waiter` while the low 32 bits of `*word` equal those of `seen`, at most `timeout_ns`.
 * The word may lie in a read-only mapping. May return early. Returns false on timeout. */
bool mb_futex_wait(const uint64_t *word, uint64_t seen, uint64_t timeout_ns, uint32_t waiter);

/* Wakes those of `waiters` who sleep on `word`; it too may lie in a read-only mapping. */
void mb_futex_wake(const uint64_t *word, uint32_t waiters);

/* Nanoseconds of the monotonic clock; for deadlines of waits, never a packet's time. */
uint64_t mb_monotonic_time(void);

#endif
