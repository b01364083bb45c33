#include "microbox/stack/module_services.h"

#include "microbox/stack/core.h"

static struct mb_entry *publish(struct mb_stack *stack, const struct mb_module *module,
                                uint32_t type, struct mb_flow_entry *flow, unsigned direction) {
    const uint32_t number = mb_module_set_find(&stack->modules, module);
    if (number == stack->modules.count || type >= module->type_count)
        return NULL;
    if (stack->module_entries == MB_MODULE_ENTRIES) {
        mb_count_reason(stack, MB_REASON_LIMIT_MODULE_ENTRIES);
        return NULL;
    }
    struct mb_entry *entry = mb_publish_flow(stack, flow, stack->modules.type_number[number][type],
                                             MB_REASON_NONE, direction != 0);
    stack->module_entries += entry != NULL;
    return entry;
}

static void *flow_state(struct mb_stack *stack, const struct mb_module *module,
                        const struct mb_flow_entry *flow) {
    const uint32_t number = mb_module_set_find(&stack->modules, module);
    if (number == stack->modules.count || module->flow_state_size == 0)
        return NULL;
    const size_t slot = (size_t)(flow - stack->table.flows);
    return stack->modules.flow_state[number] + slot * module->flow_state_size;
}

const struct mb_module_services mb_module_services = {
    .publish = publish,
    .flow_state = flow_state,
};
