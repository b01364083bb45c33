/*
 * Event types that users derive from what an NF publishes: the NF's own process judges each of its
 * events, and publishes the derived ones right behind it.
 *
 * There are no flows here, so such conditions keep no counters.
 */
#ifndef MICROBOX_STACK_CONDITIONS_DERIVATIONS_H
#define MICROBOX_STACK_CONDITIONS_DERIVATIONS_H

#include "microbox/bus/frame_pool.h"
#include "microbox/bus/reader.h"
#include "microbox/stack/stack.h"

struct mb_derivations;

/* Checks all programs, and copies what it needs; a parent stands above its children. `bases` are
 * types that the NF publishes. At most MB_DERIVATIONS_MAX (reader.h). Returns NULL with a sentence
 * in `error`. */
struct mb_derivations *mb_derivations_create(const struct mb_derived_type *types, uint32_t count,
                                             char error[MB_ERROR_SIZE]);
void mb_derivations_destroy(struct mb_derivations *derivations);

/* Where the bytes of events lie: `size` of them at `bytes`, the caller's. None until then. */
void mb_derivations_use_pool(struct mb_derivations *derivations, const uint8_t *bytes,
                             uint64_t size);

/* The reader derives so from now on; `derivations` must outlive it. */
void mb_derivations_attach(const struct mb_derivations *derivations, struct mb_reader *reader);

#endif
