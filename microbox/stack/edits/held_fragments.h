/*
 * Fragments that wait at the gate until their datagram is whole: before that nobody knows what flow
 * they are of, so their addresses cannot be translated, and in no chain that translates do they
 * leave as they came.
 */
#ifndef MICROBOX_STACK_EDITS_HELD_FRAGMENTS_H
#define MICROBOX_STACK_EDITS_HELD_FRAGMENTS_H

#include "microbox/io/source.h"
#include "microbox/io/window.h"

#include <stddef.h>

enum { MB_HELD_FRAGMENTS_MAX = 16384 }; /* a power of two */

struct mb_held_fragments;

/* What one takes. */
size_t mb_held_fragments_bytes(uint32_t datagram_slots);

/* `datagram_slots`: past the largest slot. NULL where there is no memory. */
struct mb_held_fragments *mb_held_fragments_create(uint32_t datagram_slots);
void mb_held_fragments_destroy(struct mb_held_fragments *fragments);

/* One more of the datagram in `slot`. Where there is no room, the datagram that has waited longest
 * is forgotten. */
void mb_held_fragments_add(struct mb_held_fragments *fragments, uint32_t slot,
                           const struct mb_frame *frame);

/* Those of the datagram in `slot`, which is whole and a fragment itself, wait for the one in
 * `other_slot` from now on, behind what waits there. */
void mb_held_fragments_move(struct mb_held_fragments *fragments, uint32_t slot,
                            uint32_t other_slot);

/* The next one, in the order in which they came. False: there is none any more. */
bool mb_held_fragments_take(struct mb_held_fragments *fragments, uint32_t slot,
                            struct mb_frame *frame);

/* The datagram in `slot` will not be whole; or none will. */
void mb_held_fragments_forget(struct mb_held_fragments *fragments, uint32_t slot);
void mb_held_fragments_forget_all(struct mb_held_fragments *fragments);

/* Adds the frames of all that wait, as ranges of the frame pool. */
void mb_held_fragments_kept(const struct mb_held_fragments *fragments, struct mb_ranges *kept);

#endif
