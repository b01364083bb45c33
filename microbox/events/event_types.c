#include "microbox/events/event_types.h"

#include <stddef.h>

static const char *const type_names[MB_TYPES_BUILT_IN] = {
#define EVENT(symbol, name, parent, payload, producer, sentence) [MB_TYPE_##symbol] = name,
#include "microbox/events/types.def"
#undef EVENT
};

static const uint16_t type_parents[MB_TYPES_BUILT_IN] = {
#define EVENT(symbol, name, parent, payload, producer, sentence)                                   \
    [MB_TYPE_##symbol] = MB_TYPE_##parent,
#include "microbox/events/types.def"
#undef EVENT
};

static const char *const reason_names[MB_REASONS] = {
#define REASON(symbol, name, severity, sentence) [MB_REASON_##symbol] = name,
#include "microbox/events/reasons.def"
#undef REASON
};

const char *mb_event_type_name(uint16_t type) {
    return type < MB_TYPES_BUILT_IN ? type_names[type] : NULL;
}

uint16_t mb_event_type_parent(uint16_t type) {
    return type_parents[type];
}

const char *mb_reason_name(uint8_t reason) {
    return reason < MB_REASONS ? reason_names[reason] : NULL;
}
