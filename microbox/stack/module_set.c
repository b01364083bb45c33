#include "microbox/stack/module_set.h"

#include "microbox/stack/lazy_memory.h"
#include "microbox/stack/module_private.h"
#include "microbox/stack/modules/modules.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct mb_module *const built_in[MB_MODULES_BUILT_IN] = {
    &mb_module_tcp_monitor, &mb_module_tcp_stream, &mb_module_udp, &mb_module_icmp, &mb_module_flow,
};

/* Producers, as types.def names them. What NFs, parsers and the core itself publish needs no
 * module: who publishes it subscribes to what it needs. */
enum {
    PRODUCER_abstract = 0,
    PRODUCER_core = 0,
    PRODUCER_worker = 0,
    PRODUCER_bus = 0,
    PRODUCER_nf = 0,
    PRODUCER_parser_http = 0,
    PRODUCER_parser_tls = 0,
    PRODUCER_parser_dns = 0,
    PRODUCER_tcp_monitor = MB_MODULE_TCP_MONITOR,
    PRODUCER_tcp_stream = MB_MODULE_TCP_STREAM | MB_MODULE_TCP_MONITOR,
    PRODUCER_udp = MB_MODULE_UDP,
    PRODUCER_icmp = MB_MODULE_ICMP,
    PRODUCER_flow = MB_MODULE_FLOW
};

static const uint16_t built_in_types[MB_TYPES_BUILT_IN] = {
#define EVENT(symbol, name, parent, payload, producer, sentence)                                   \
    [MB_TYPE_##symbol] = PRODUCER_##producer,
#include "microbox/events/types.def"
#undef EVENT
};

static bool builds_on_others_of_its_transport(const struct mb_module *module) {
    for (unsigned number = 0; number < MB_MODULES_BUILT_IN; number++)
        if (module->needs >> number & 1 && built_in[number]->transport != module->transport)
            return false;
    return true;
}

static uint32_t needs_of(const struct mb_module *module) {
    uint32_t needs = module->needs;
    for (unsigned number = 0; number < MB_MODULES_BUILT_IN; number++)
        if (needs >> number & 1)
            needs |= built_in[number]->needs;
    return needs;
}

static void put(struct mb_module_set *set, const struct mb_module *module) {
    set->packet[set->count] = module->packet;
    set->module[set->count++] = module;
}

static int add(struct mb_module_set *set, const struct mb_loaded_module *loaded,
               char error[MB_ERROR_SIZE]) {
    const struct mb_module *module = loaded->module;
    for (uint32_t number = 0; number < set->count; number++) {
        if (strcmp(set->module[number]->name, module->name) != 0)
            continue;
        snprintf(error, MB_ERROR_SIZE, "there are two modules called %.60s", module->name);
        return -EINVAL;
    }
    if (set->count == MB_MODULES_MAX) {
        snprintf(error, MB_ERROR_SIZE, "more than %d modules of users",
                 MB_MODULES_MAX - MB_MODULES_BUILT_IN);
        return -EINVAL;
    }
    if (!builds_on_others_of_its_transport(module)) {
        snprintf(error, MB_ERROR_SIZE, "module %.60s needs one that is for another transport",
                 module->name);
        return -EINVAL;
    }
    const uint32_t number = set->count;
    for (uint32_t type = 0; type < module->type_count; type++) {
        const uint16_t type_number = loaded->type_number[type];
        if (type_number < MB_TYPES_BUILT_IN || type_number >= MB_TYPES_MAX) {
            snprintf(error, MB_ERROR_SIZE, "event type %.60s of module %.60s has the number %u",
                     module->types[type].name, module->name, type_number);
            return -EINVAL;
        }
        set->type_number[number][type] = type_number;
        set->of_type[type_number] = (uint16_t)(1u << number | needs_of(module));
    }
    if (module->flow_state_size != 0) {
        set->flow_state[number] =
            mb_lazy_map(mb_module_state_bytes(module->flow_state_size, set->flow_slots));
        if (set->flow_state[number] == NULL) {
            snprintf(error, MB_ERROR_SIZE, "no memory for what module %.60s keeps of flows",
                     module->name);
            return -ENOMEM;
        }
    }
    put(set, module);
    return 0;
}

size_t mb_module_state_bytes(size_t flow_state_size, size_t flow_slots) {
    return flow_slots * flow_state_size;
}

int mb_module_set_create(struct mb_module_set *set, struct mb_loaded_module *const *loaded,
                         uint32_t count, size_t flow_slots, char error[MB_ERROR_SIZE]) {
    memset(set, 0, sizeof *set);
    memcpy(set->of_type, built_in_types, sizeof built_in_types);
    for (unsigned number = 0; number < MB_MODULES_BUILT_IN; number++)
        put(set, built_in[number]);
    set->flow_slots = flow_slots;
    for (uint32_t i = 0; i < count; i++) {
        int status = add(set, loaded[i], error);
        if (status != 0)
            return status;
    }
    return 0;
}

void mb_module_set_destroy(struct mb_module_set *set) {
    for (uint32_t number = 0; number < set->count; number++)
        mb_lazy_unmap(set->flow_state[number],
                      mb_module_state_bytes(set->module[number]->flow_state_size, set->flow_slots));
    memset(set, 0, sizeof *set);
}

void mb_module_set_start_flow(struct mb_module_set *set, size_t slot) {
    for (uint32_t number = MB_MODULES_BUILT_IN; number < set->count; number++) {
        const size_t size = set->module[number]->flow_state_size;
        if (size != 0)
            memset(set->flow_state[number] + slot * size, 0, size);
    }
}

uint32_t mb_module_set_find(const struct mb_module_set *set, const struct mb_module *module) {
    uint32_t number = MB_MODULES_BUILT_IN;
    while (number < set->count && set->module[number] != module)
        number++;
    return number;
}
