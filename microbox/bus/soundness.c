#include "microbox/bus/soundness.h"

#include <string.h>

_Static_assert(sizeof(struct mb_payload_shape) == MB_CACHE_LINE, "a shape is one line");

static bool lies_within(uint64_t offset, uint64_t length, uint64_t size) {
    return offset <= size && length <= size - offset;
}

static bool has_shape(const struct mb_delivery *delivery, const struct mb_payload_shape *shape) {
    if (delivery->payload_length < shape->size)
        return false;
    for (uint32_t i = 0; i < shape->texts; i++) {
        struct mb_text text;
        memcpy(&text, delivery->payload + shape->text[i], sizeof text);
        if (!lies_within(text.offset, text.length, delivery->payload_length))
            return false;
    }
    return true;
}

bool mb_lies_in_pool(const struct mb_entry *entry, uint64_t pool_size) {
    if (!lies_within(entry->frame, entry->frame_length, pool_size))
        return false;
    return lies_within(entry->data_offset, entry->data_length, pool_size - entry->frame);
}

void mb_take_back_unsound(struct mb_delivery *deliveries, uint32_t count,
                          const struct mb_payload_shape *shapes, uint64_t pool_size,
                          uint64_t *unsound) {
    for (uint32_t i = 0; i < count; i++) {
        struct mb_delivery *delivery = &deliveries[i];
        if (delivery->nf_entry == NULL)
            continue;
        if (has_shape(delivery, &shapes[delivery->entry->type]) &&
            mb_lies_in_pool(delivery->entry, pool_size))
            continue;
        delivery->bits = 0;
        unsound[delivery->nf_entry->provenance.publisher % MB_NFS_MAX]++;
    }
}
