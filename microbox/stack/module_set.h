/*
 * The modules of one stack: the built-in ones and the users', which types each publishes, and what
 * users' modules keep of each flow.
 */
#ifndef MICROBOX_STACK_MODULE_SET_H
#define MICROBOX_STACK_MODULE_SET_H

#include "microbox/stack/module.h"
#include "microbox/stack/module_load.h"

#include <stddef.h>

/* A module's `packet`. */
typedef void (*mb_packet_hook)(struct mb_stack *stack, struct mb_flow_entry *flow,
                               const struct mb_decoded *packet, unsigned direction);

struct mb_module_set {
    uint32_t count;
    const struct mb_module *module[MB_MODULES_MAX]; /* by number of their bit */
    mb_packet_hook packet[MB_MODULES_MAX];          /* what runs for a packet of a flow */
    uint16_t of_type[MB_TYPES_MAX]; /* bits of the modules that a type comes from, with all that
                                       they build on; 0: from no module */
    /* Of users' modules: the number of each of their types, and [flow slots] states. */
    uint16_t type_number[MB_MODULES_MAX][MB_MODULE_TYPES_MAX];
    uint8_t *flow_state[MB_MODULES_MAX];
    size_t flow_slots;
};

/* What a module that keeps `flow_state_size` bytes of a flow keeps of all. */
size_t mb_module_state_bytes(size_t flow_state_size, size_t flow_slots);

/* `loaded`: users' modules, in the order in which they are to run; they must outlive the set.
 * Returns 0, or -errno with a sentence in `error`; what was made is released by destroy. */
int mb_module_set_create(struct mb_module_set *set, struct mb_loaded_module *const *loaded,
                         uint32_t count, size_t flow_slots, char error[MB_ERROR_SIZE]);
void mb_module_set_destroy(struct mb_module_set *set);

/* A flow starts in `slot`: what users' modules kept of the one before is gone. */
void mb_module_set_start_flow(struct mb_module_set *set, size_t slot);

/* The number of the module's bit; `set->count` where the set does not have it. */
uint32_t mb_module_set_find(const struct mb_module_set *set, const struct mb_module *module);

static inline bool mb_module_set_has_users(const struct mb_module_set *set) {
    return set->count > MB_MODULES_BUILT_IN;
}

#endif
