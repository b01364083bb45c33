/*
 * Versions of frames: what NFs behind an editor read in place of a frame as it was received.
 *
 * The worker writes them into an area of its own, which lies behind the assembled datagrams in the
 * address space of frames (frame_pool.h). For each editor it has a table, a word a slot of the log,
 * and a ring of versions. The word of an entry's slot says where the version of the entry's frame
 * begins; it says so of that entry alone, since it bears how often the log had gone round. So
 * nothing is ever cleared. A word is valid where, when, and as long as the verdict on the entry is,
 * but for whom the barrier is applied[] in place of the cursor (layout.h, "Edits").
 *
 * An editor's version is made of that of the last editor before it that has one. So a reader looks
 * at the editors before it from the nearest to the farthest, and takes the first that it finds.
 */
#ifndef MICROBOX_BUS_VERSION_H
#define MICROBOX_BUS_VERSION_H

#include "microbox/bus/layout.h"

/* The plan's. Editors count from 1, in the order of the chain (mb_nf_geometry.editor). */
struct mb_versions_shape {
    uint32_t editors;    /* 0: the area has no bytes */
    uint64_t log_slots;  /* of the worker's log */
    uint64_t ring_bytes; /* of each editor's ring: a power of two */
};

enum {
    MB_VERSION_ALIGNMENT = 64,
    MB_VERSION_FRAME_MAX = 1 << 18, /* bytes of a frame that a version can be made of */
    MB_VERSION_INDEX_BITS = 24,     /* of a word of the table; above it the round */
};

/* Lies before the frame's bytes, in the ring. */
struct mb_version {
    uint64_t original;    /* where the frame begins that it is a version of */
    uint64_t until;       /* the worker's: free when the log has been passed up to there */
    uint64_t number;      /* the worker's: and when this packet has left (gate.h) */
    uint32_t length;      /* bytes of the frame; 0: the rest of the ring is left empty */
    uint32_t wire_length; /* at least `length` */
    int32_t shift;        /* ranges behind the link addresses lie so much further on */
    uint32_t reserved[7];
    struct mb_edit said; /* the worker's: the headers of all edits that led to it */
};

/* Bytes of the area, a multiple of the page size; 0 where there are no editors, or the shape is not
 * sound. */
uint64_t mb_versions_size(const struct mb_versions_shape *shape);

/* Where editor `editor`'s table and ring begin, from the area's first byte. */
uint64_t mb_versions_table(const struct mb_versions_shape *shape, uint32_t editor);
uint64_t mb_versions_ring(const struct mb_versions_shape *shape, uint32_t editor);

/* The word of an entry whose version begins at `at` in the ring. */
uint64_t mb_version_word(const struct mb_versions_shape *shape, uint64_t sequence, uint64_t at);

/* Where the version of entry `sequence` begins in the ring, if `word` says so; else UINT64_MAX. */
uint64_t mb_version_at(const struct mb_versions_shape *shape, uint64_t sequence, uint64_t word);

#endif
