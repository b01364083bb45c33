/*
 * Whether an event of another NF is what its type says: a broken NF must not make its readers fail.
 */
#ifndef MICROBOX_BUS_SOUNDNESS_H
#define MICROBOX_BUS_SOUNDNESS_H

#include "microbox/bus/reader.h"

enum { MB_TEXTS_MAX = 30 };

/* True where the entry's frame and its bytes lie within a pool of `pool_size` bytes. */
bool mb_lies_in_pool(const struct mb_entry *entry, uint64_t pool_size);

/* What a type's payload has to be: at least `size` bytes, with these struct mb_text in it. */
struct mb_payload_shape {
    uint16_t size;
    uint16_t texts;
    uint16_t text[30]; /* offsets */
};

/* Takes back (bits = 0) deliveries of other NFs' events whose payload is not of its type's shape
 * (`shapes`, by number of the type), or whose frame or data lies outside a pool of `pool_size`
 * bytes. Adds to `unsound`, by index of the NF. */
void mb_take_back_unsound(struct mb_delivery *deliveries, uint32_t count,
                          const struct mb_payload_shape *shapes, uint64_t pool_size,
                          uint64_t *unsound);

#endif
