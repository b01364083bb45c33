/*
 * The pieces of one datagram that have come: sorted by where they begin, pairwise disjoint. No
 * bytes are copied; a piece says where in the frame pool they are.
 *
 * Which of two copies of a byte counts is decided piece against fragment, as the receiver's system
 * does it: Novak, "Target-Based Fragmentation Reassembly" (2005), and the two policies that Snort's
 * frag3 and Suricata's defrag.c added to it since. A new fragment wins over an older piece
 *
 *     first      never
 *     last       always
 *     bsd        where it begins before the piece (RFC 815's hole list, as 4.4BSD has it)
 *     linux      where it begins before the piece or at the same byte
 *     windows    where it begins before the piece and ends behind it
 *     solaris    where it begins before the piece and ends with it or behind it
 *
 * and else the older piece stays as it is and the fragment fills what is free around it. What is
 * left of a piece after that is compared as a piece of its own.
 *
 * The list is an array of fixed room: an insertion searches it by halving and moves at most all of
 * it, so an adversary's order of fragments costs no more than that (CVE-2018-5391, FragmentSmack).
 */
#ifndef MICROBOX_STACK_FRAGMENTS_FRAGMENT_LIST_H
#define MICROBOX_STACK_FRAGMENTS_FRAGMENT_LIST_H

#include "microbox/stack/stack.h"

#include <stdbool.h>
#include <stdint.h>

enum { MB_FRAGMENTS_PER_DATAGRAM_MAX = 256 };

/* Bytes [start, end) of the datagram's payload; start < end. Of them the frame pool has the first
 * `captured`, at `at`, which lies in the fragment's frame in any case. */
struct mb_fragment_piece {
    uint64_t at;
    uint16_t start;
    uint16_t end;
    uint16_t captured;
    uint16_t reserved;
};

struct mb_fragment_list {
    struct mb_fragment_piece *pieces;
    uint32_t count;
    uint32_t capacity; /* at most MB_FRAGMENTS_PER_DATAGRAM_MAX */
};

/* What the list holds where a new fragment lies. */
enum mb_fragment_overlap {
    MB_FRAGMENT_APART,    /* nothing */
    MB_FRAGMENT_REPEATED, /* just this piece, with the same bytes */
    MB_FRAGMENT_INSIDE,   /* one piece that begins before it and ends behind it */
    MB_FRAGMENT_SAME,     /* some of it, with the same bytes */
    MB_FRAGMENT_DIFFERENT /* some of it, with other bytes */
};

/* Where the fragment belongs: the first piece that ends behind its first byte. */
uint32_t mb_fragment_list_find(const struct mb_fragment_list *list,
                               const struct mb_fragment_piece *fragment);

/* How many pieces the fragment lies over, of which `place` would be the first. */
uint32_t mb_fragment_list_overlapped(const struct mb_fragment_list *list,
                                     const struct mb_fragment_piece *fragment, uint32_t place);

/* Of what the fragment lies over, as mb_fragment_list_find and _overlapped say. `pool`: what `at`
 * counts in. */
enum mb_fragment_overlap mb_fragment_list_compare(const struct mb_fragment_list *list,
                                                  const struct mb_fragment_piece *fragment,
                                                  uint32_t place, uint32_t overlapped,
                                                  const uint8_t *pool);

/* Inserts a fragment that lies over nothing. There must be room. */
void mb_fragment_list_insert(struct mb_fragment_list *list,
                             const struct mb_fragment_piece *fragment, uint32_t place);

/* What an insertion changes: pieces [first, first + removed) give way to `count` others. */
struct mb_fragment_change {
    uint32_t first;
    uint32_t removed;
    uint32_t count;
    struct mb_fragment_piece pieces[2 * MB_FRAGMENTS_PER_DATAGRAM_MAX + 2];
};

/* Works out what inserting `fragment` would change. */
void mb_fragment_list_plan(const struct mb_fragment_list *list, enum mb_overlap_policy policy,
                           const struct mb_fragment_piece *fragment,
                           struct mb_fragment_change *change);

/* Makes the change. False: the list has no room for it, and stays as it was. */
bool mb_fragment_list_apply(struct mb_fragment_list *list, const struct mb_fragment_change *change);

#endif
