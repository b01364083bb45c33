/* A module with a mistake: the one that the build chooses by MISTAKE. */
#include "microbox/include/microbox.h"

#include <stddef.h>

enum mistake {
    NAME = 1,
    OWN_BIT,
    NO_HOOK,
    NO_SENTENCE,
    NO_TRANSPORT,
    NEEDS_UNKNOWN,
    NEEDS_OTHER_TRANSPORT,
    KEEPS_MUCH,
    NO_TYPES,
    TYPE_NAME,
    NO_TYPE_SENTENCE,
    FIELD_NAME
};

static void packet(struct mb_stack *stack, struct mb_flow_entry *flow,
                   const struct mb_decoded *decoded, unsigned direction) {
    (void)stack;
    (void)flow;
    (void)decoded;
    (void)direction;
}

static const struct mb_module_type types[] = {
    {.name = MISTAKE == TYPE_NAME ? "odd" : "flow.udp.odd",
     .sentence = MISTAKE == NO_TYPE_SENTENCE ? NULL : "Odd.",
     .fields = {{MISTAKE == FIELD_NAME ? "Length" : "length", "u32"}}},
};

const struct mb_module microbox_module = {
    .abi = MB_MODULE_ABI,
    .name = MISTAKE == NAME ? "No word" : "mistaken",
    .bit = MISTAKE == OWN_BIT ? 1 : 0,
    .needs = MISTAKE == NEEDS_UNKNOWN           ? 1u << MB_MODULES_BUILT_IN
             : MISTAKE == NEEDS_OTHER_TRANSPORT ? MB_MODULE_TCP_MONITOR
                                                : 0u,
    .sentence = MISTAKE == NO_SENTENCE ? NULL : "Has a mistake.",
    .transport = MISTAKE == NO_TRANSPORT ? MB_TRANSPORT_NONE : MB_TRANSPORT_UDP,
    .packet = MISTAKE == NO_HOOK ? NULL : packet,
    .flow_state_size = MISTAKE == KEEPS_MUCH ? MB_MODULE_FLOW_STATE_MAX + 1 : 0,
    .types = types,
    .type_count = MISTAKE == NO_TYPES ? 0 : 1,
};
