#include "microbox/bus/wait.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "a futex is the low half of a word, which must come first");

enum { SPINS = 256, NANOSECONDS = 1000000000 }; /* a few microseconds */

struct mb_wait_policy mb_wait_policy_default(void) {
    cpu_set_t processors;
    if (sched_getaffinity(0, sizeof processors, &processors) != 0)
        return (struct mb_wait_policy){.spins = 0};
    return (struct mb_wait_policy){.spins = CPU_COUNT(&processors) > 1 ? SPINS : 0};
}

uint32_t mb_waiter(uint32_t nf) {
    return UINT32_C(1) << (nf % 31);
}

void mb_spin_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

uint64_t mb_monotonic_time(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NANOSECONDS + (uint64_t)now.tv_nsec;
}

/* FUTEX_WAIT_BITSET takes a point in time, not a duration. The shared flavour throughout: the
 * kernel then knows the word by file and offset, whoever mapped it and how. */
bool mb_futex_wait(const uint64_t *word, uint64_t seen, uint64_t timeout_ns, uint32_t waiter) {
    uint64_t now = mb_monotonic_time();
    uint64_t end = timeout_ns > UINT64_MAX / 4 ? UINT64_MAX / 4 : now + timeout_ns;
    struct timespec until = {.tv_sec = (time_t)(end / NANOSECONDS),
                             .tv_nsec = (long)(end % NANOSECONDS)};
    long result = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, (uint32_t)seen, &until, NULL, waiter);
    return result == 0 || errno != ETIMEDOUT;
}

void mb_futex_wake(const uint64_t *word, uint32_t waiters) {
    syscall(SYS_futex, word, FUTEX_WAKE_BITSET, INT32_MAX, NULL, NULL, waiters);
}
