/*
 * For functions that ask for cache lines ahead of time. Always in place: what has no effect but on
 * caches is without effect to GCC, and calls of it are left out.
 */
#ifndef MICROBOX_STACK_PREFETCH_H
#define MICROBOX_STACK_PREFETCH_H

#define MB_PREFETCHES __attribute__((always_inline)) static inline

#endif
