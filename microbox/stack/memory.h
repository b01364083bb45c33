/*
 * What the tables of a worker take when they are full, by the limit of the chain file that they
 * grow with. Each table says its part by the function that also makes it; worker_memory.h adds them
 * up.
 *
 * Tables are reserved whole at the start, and take memory page by page, as they are used.
 */
#ifndef MICROBOX_STACK_MEMORY_H
#define MICROBOX_STACK_MEMORY_H

#include <stdint.h>

/* Bytes. */
struct mb_memory {
    uint64_t log;
    uint64_t flows;
    uint64_t held_segments;
    uint64_t compared_segments;
    uint64_t judged_bytes;
    uint64_t fragments;
    uint64_t datagrams;       /* whole ones: the area that they lie in, too */
    uint64_t commands;        /* packets that one may be about */
    uint64_t waiting_packets; /* for verdicts */
    uint64_t edited_frames;
};

#endif
