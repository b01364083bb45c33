/*
 * The names that a flow's plain segments leave with: TCP behind an IPv4 header without options,
 * behind Ethernet's. In all those of one direction they stand at the same place and do the same to
 * the checksums, so what one of them got is remembered for the next, and none of its layers has to
 * be looked for again.
 */
#ifndef MICROBOX_STACK_EDITS_PLAIN_NAMES_H
#define MICROBOX_STACK_EDITS_PLAIN_NAMES_H

#include "microbox/io/source.h"

#include <stdbool.h>
#include <stdint.h>

/* Both addresses and both ports, as they lie in the frame, one behind the other. */
enum { MB_PLAIN_NAMES_SIZE = 12 };

/* All zero: nothing is remembered. */
struct mb_plain_names {
    uint8_t before[MB_PLAIN_NAMES_SIZE];
    uint8_t after[MB_PLAIN_NAMES_SIZE];
    uint32_t to_header;  /* what the change adds to the sum of the IPv4 header */
    uint32_t to_segment; /* ... and of the segment, its pseudo header included */
    uint16_t pseudo;     /* sum of the pseudo header before, without the length */
    bool is_known;
};

/* Remembers what became of a frame: its bytes `before`, and `after` its flow's names were written.
 * Does nothing where the frame is none of a plain segment. */
void mb_plain_names_learn(struct mb_plain_names *names, const struct mb_frame *frame,
                          const uint8_t *before, const uint8_t *after);

/* Writes the names and repairs the checksums in `copy`, whose headers are those of `bytes`. False,
 * and nothing is written: the frame is another one than those that were remembered. */
bool mb_plain_names_write(const struct mb_plain_names *names, const struct mb_frame *frame,
                          const uint8_t *bytes, uint8_t *copy);

#endif
