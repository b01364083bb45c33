/*
 * Numbers of event types and reasons, from types.def and reasons.def.
 */
#ifndef MICROBOX_EVENTS_EVENT_TYPES_H
#define MICROBOX_EVENTS_EVENT_TYPES_H

#include <stdint.h>

enum mb_event_type {
#define EVENT(symbol, name, parent, payload, producer, sentence) MB_TYPE_##symbol,
#include "microbox/events/types.def"
#undef EVENT
    MB_TYPES_BUILT_IN
};

enum mb_reason {
#define REASON(symbol, name, severity, sentence) MB_REASON_##symbol,
#include "microbox/events/reasons.def"
#undef REASON
    MB_REASONS
};

/* "flow.tcp.data"; NULL where `type` is not built in. The string is static. */
const char *mb_event_type_name(uint16_t type);
/* The parent's number; the root is its own parent. `type` must be built in. */
uint16_t mb_event_type_parent(uint16_t type);
/* "ipv4.truncated"; NULL where there is no such reason. The string is static. */
const char *mb_reason_name(uint8_t reason);

#endif
