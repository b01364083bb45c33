/*
 * Every call of the core that can fail, made to fail.
 *
 * The linker sends the core's calls through wrappers (--wrap, see meson.build: `fallible`). While
 * they are armed they count, and the n-th fails as the system would let it.
 */
#ifndef TESTS_CORE_FAILING_CALLS_H
#define TESTS_CORE_FAILING_CALLS_H

#include <stdbool.h>
#include <stdint.h>

enum failing_calls_mode {
    FAIL_ONCE,   /* the n-th call alone */
    FAIL_FOREVER /* the n-th and all later ones */
};

/* From now on calls count; the n-th (from 1; 0: none) fails. */
void failing_calls_arm(uint64_t n, enum failing_calls_mode mode);

/* Ends that. Returns how many calls were counted. */
uint64_t failing_calls_disarm(void);

/* The call that failed first since arming, "" for none. */
const char *failing_calls_failed(void);

/* True where the caller may go on without: advice, waiting, tidying up. */
bool failing_calls_is_advice(void);

/* Allocations that were not freed, and mappings that were not unmapped, since arming. */
int64_t failing_calls_allocations(void);
int64_t failing_calls_mappings(void);

#endif
