/*
 * FDDI (ISO 9314): frame control and two addresses, then LLC.
 */
#ifndef MICROBOX_STACK_WIRE_FDDI_H
#define MICROBOX_STACK_WIRE_FDDI_H

#include "microbox/events/event_types.h"

#include <stdint.h>

enum { MB_FDDI_SIZE = 13 };

static inline uint8_t mb_fddi_check(const uint8_t *frame, uint32_t length) {
    (void)frame;
    return length < MB_FDDI_SIZE ? MB_REASON_FRAME_TRUNCATED : MB_REASON_NONE;
}

#endif
