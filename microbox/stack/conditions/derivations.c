#include "microbox/stack/conditions/derivations.h"

#include "microbox/stack/conditions/condition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct derivation {
    uint16_t type;
    uint16_t parent;
    uint64_t bases[8];
    struct mb_condition condition;
};

struct mb_derivations {
    const uint8_t *pool;
    uint64_t pool_size;
    uint32_t count;
    struct derivation derivation[MB_DERIVATIONS_MAX];
};

static int learn(struct derivation *derivation, const struct mb_derived_type *type,
                 char error[MB_ERROR_SIZE]) {
    derivation->type = type->type;
    derivation->parent = type->parent;
    memcpy(derivation->bases, type->bases, sizeof derivation->bases);
    return mb_condition_load(&derivation->condition, type->program, type->program_size,
                             type->step_count, 0, error);
}

struct mb_derivations *mb_derivations_create(const struct mb_derived_type *types, uint32_t count,
                                             char error[MB_ERROR_SIZE]) {
    if (count > MB_DERIVATIONS_MAX) {
        snprintf(error, MB_ERROR_SIZE,
                 "%u types are derived from what one NF publishes: "
                 "expected at most %d",
                 count, MB_DERIVATIONS_MAX);
        return NULL;
    }
    struct mb_derivations *derivations = calloc(1, sizeof *derivations);
    if (derivations == NULL) {
        snprintf(error, MB_ERROR_SIZE, "no memory");
        return NULL;
    }
    for (; derivations->count < count; derivations->count++) {
        if (learn(&derivations->derivation[derivations->count], &types[derivations->count],
                  error) == 0)
            continue;
        mb_derivations_destroy(derivations);
        return NULL;
    }
    return derivations;
}

void mb_derivations_destroy(struct mb_derivations *derivations) {
    free(derivations);
}

void mb_derivations_use_pool(struct mb_derivations *derivations, const uint8_t *bytes,
                             uint64_t size) {
    derivations->pool = bytes;
    derivations->pool_size = size;
}

/* NULL where the range is not in the pool: it may be what another NF made of it. */
static const uint8_t *data_of(const struct mb_derivations *derivations,
                              const struct mb_entry *entry) {
    const uint64_t size = derivations->pool_size;
    if (entry->frame > size || entry->data_offset > size - entry->frame ||
        entry->data_length > size - entry->frame - entry->data_offset)
        return NULL;
    return &derivations->pool[entry->frame + entry->data_offset];
}

static bool is_among(const uint16_t *types, uint32_t count, uint16_t type) {
    for (uint32_t i = 0; i < count; i++)
        if (types[i] == type)
            return true;
    return false;
}

static uint32_t derive(const void *context, const struct mb_entry *entry, const uint8_t *payload,
                       uint32_t length, uint16_t types[MB_DERIVATIONS_MAX]) {
    const struct mb_derivations *derivations = context;
    struct mb_condition_input input = {.entry = entry,
                                       .data = data_of(derivations, entry),
                                       .payload = payload,
                                       .payload_length = length,
                                       .started = entry->time};
    if (input.data == NULL)
        return 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < derivations->count; i++) {
        const struct derivation *one = &derivations->derivation[i];
        const bool is_base = (one->bases[entry->type / 64] >> entry->type % 64 & 1) != 0;
        if (!is_base || (one->parent != 0 && !is_among(types, count, one->parent)))
            continue;
        if (mb_condition_run(&one->condition, &input) == MB_CONDITION_TRUE)
            types[count++] = one->type;
    }
    return count;
}

void mb_derivations_attach(const struct mb_derivations *derivations, struct mb_reader *reader) {
    mb_reader_derive(reader, derive, derivations);
}
