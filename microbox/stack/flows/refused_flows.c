#include "microbox/stack/flows/refused_flows.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t slots_for(uint32_t flows) {
    uint64_t count = 2;
    while (count < 2 * (uint64_t)flows && count < MB_REFUSED_FLOWS_MAX)
        count *= 2;
    return count;
}

size_t mb_refused_flows_bytes(uint32_t flows) {
    return slots_for(flows) * sizeof(struct mb_refused_flow);
}

int mb_refused_flows_create(struct mb_refused_flows *refused, uint32_t flows) {
    const uint64_t count = slots_for(flows);
    refused->mask = count - 1;
    refused->slots = calloc(count, sizeof *refused->slots);
    return refused->slots != NULL ? 0 : -ENOMEM;
}

void mb_refused_flows_destroy(struct mb_refused_flows *refused) {
    free(refused->slots);
    refused->slots = NULL;
}

static struct mb_refused_flow *slot_of(const struct mb_refused_flows *refused, uint64_t hash) {
    return &refused->slots[hash & refused->mask];
}

void mb_refused_flows_add(struct mb_refused_flows *refused, uint64_t hash, uint64_t until) {
    *slot_of(refused, hash) = (struct mb_refused_flow){.hash = hash, .until = until};
}

bool mb_refused_flows_has(const struct mb_refused_flows *refused, uint64_t hash, uint64_t now) {
    const struct mb_refused_flow *slot = slot_of(refused, hash);
    return slot->hash == hash && slot->until > now;
}
