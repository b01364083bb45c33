#include "microbox/stack/refused_flows.h"

#include <errno.h>
#include <stdlib.h>

int mb_refused_flows_create(struct mb_refused_flows *refused) {
    refused->slots = calloc(MB_REFUSED_FLOWS, sizeof *refused->slots);
    return refused->slots != NULL ? 0 : -ENOMEM;
}

void mb_refused_flows_destroy(struct mb_refused_flows *refused) {
    free(refused->slots);
    refused->slots = NULL;
}

static struct mb_refused_flow *slot_of(const struct mb_refused_flows *refused, uint64_t hash) {
    return &refused->slots[hash % MB_REFUSED_FLOWS];
}

void mb_refused_flows_add(struct mb_refused_flows *refused, uint64_t hash, uint64_t until) {
    *slot_of(refused, hash) = (struct mb_refused_flow){.hash = hash, .until = until};
}

bool mb_refused_flows_has(const struct mb_refused_flows *refused, uint64_t hash, uint64_t now) {
    const struct mb_refused_flow *slot = slot_of(refused, hash);
    return slot->hash == hash && slot->until > now;
}
