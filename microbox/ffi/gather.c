#include "microbox/ffi/gather.h"

#include <string.h>

static bool is_in_set(const uint64_t *types, uint16_t type) {
    return type < MB_TYPES_MAX && (types[type / 64] >> (type % 64) & 1) != 0;
}

uint32_t mb_find_type(const struct mb_delivery *deliveries, uint32_t count, uint16_t type) {
    uint32_t index = 0;
    while (index < count && deliveries[index].entry->type != type)
        index++;
    return index;
}

uint32_t mb_select(const struct mb_delivery *deliveries, uint32_t count, uint32_t bits,
                   const uint64_t *types, uint32_t *indexes, bool *from_nfs) {
    uint32_t selected = 0;
    *from_nfs = false;
    for (uint32_t i = 0; i < count; i++) {
        if ((deliveries[i].bits & bits) == 0 || !is_in_set(types, deliveries[i].entry->type))
            continue;
        indexes[selected++] = i;
        *from_nfs |= deliveries[i].nf_entry != NULL;
    }
    return selected;
}

const struct mb_entry *mb_gather_slots(const struct mb_delivery *deliveries,
                                       const uint32_t *indexes, uint32_t count, uint64_t log_slots,
                                       uint32_t *slots) {
    const uint64_t slot_mask = log_slots - 1;
    for (uint32_t i = 0; i < count; i++)
        slots[i] = (uint32_t)(deliveries[indexes[i]].entry->sequence & slot_mask);
    return deliveries[indexes[0]].entry - slots[0];
}

void mb_gather_copies(const struct mb_delivery *deliveries, const uint32_t *indexes, uint32_t count,
                      struct mb_entry *copies) {
    for (uint32_t i = 0; i < count; i++)
        memcpy(&copies[i], deliveries[indexes[i]].entry, sizeof copies[i]);
}

static void turn_round(uint8_t *payload) {
    struct mb_five_tuple tuple;
    memcpy(&tuple, payload, sizeof tuple);
    struct mb_five_tuple turned = tuple;
    memcpy(turned.source, tuple.destination, sizeof turned.source);
    memcpy(turned.destination, tuple.source, sizeof turned.destination);
    turned.source_port = tuple.destination_port;
    turned.destination_port = tuple.source_port;
    memcpy(payload, &turned, sizeof turned);
}

void mb_inherit(const struct mb_delivery *deliveries, const uint32_t *causes, uint32_t count,
                const struct mb_inheritance *of_type, uint8_t *payloads, uint32_t stride) {
    for (uint32_t i = 0; i < count; i++) {
        const struct mb_delivery *cause = &deliveries[causes[i]];
        const struct mb_inheritance *taken = &of_type[cause->entry->type];
        uint8_t *payload = &payloads[(size_t)i * stride];
        uint32_t size = taken->size;
        if (size > cause->payload_length)
            size = cause->payload_length;
        if (size > stride)
            size = stride;
        memcpy(payload, cause->payload, size);
        if (taken->is_turned && size >= sizeof(struct mb_five_tuple) &&
            (cause->entry->flags & MB_FROM_RESPONDER) != 0)
            turn_round(payload);
    }
}
