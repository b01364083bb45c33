/*
 * The link types that inputs choose from by a byte, modulo their count. tools/fuzz_seeds.py reads
 * this list too.
 */
#ifndef MICROBOX_FUZZ_LINK_TYPES_H
#define MICROBOX_FUZZ_LINK_TYPES_H

#include <stdint.h>

static const uint32_t link_types[] = {1, 101, 113, 0, 276, 228, 229, 9, 10, 127, 239, 9999};

static inline uint32_t chosen_link_type(uint8_t byte) {
    return link_types[byte % (sizeof link_types / sizeof *link_types)];
}

#endif
