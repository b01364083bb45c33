/*
 * Linux cooked capture, versions 1 and 2 (LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2).
 */
#ifndef MICROBOX_STACK_WIRE_LINUX_COOKED_H
#define MICROBOX_STACK_WIRE_LINUX_COOKED_H

#include "microbox/events/event_types.h"
#include "microbox/stack/wire/bytes.h"

enum {
    MB_LINUX_COOKED_TYPE = 14,
    MB_LINUX_COOKED_SIZE = 16,
    MB_LINUX_COOKED_2_TYPE = 0,
    MB_LINUX_COOKED_2_SIZE = 20
};

static inline uint8_t mb_linux_cooked_check(const uint8_t *frame, uint32_t length) {
    (void)frame;
    return length < MB_LINUX_COOKED_SIZE ? MB_REASON_FRAME_TRUNCATED : MB_REASON_NONE;
}

static inline uint16_t mb_linux_cooked_type(const uint8_t *frame) {
    return mb_read_16(frame + MB_LINUX_COOKED_TYPE);
}

static inline uint8_t mb_linux_cooked_2_check(const uint8_t *frame, uint32_t length) {
    (void)frame;
    return length < MB_LINUX_COOKED_2_SIZE ? MB_REASON_FRAME_TRUNCATED : MB_REASON_NONE;
}

static inline uint16_t mb_linux_cooked_2_type(const uint8_t *frame) {
    return mb_read_16(frame + MB_LINUX_COOKED_2_TYPE);
}

#endif
