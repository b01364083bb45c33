#include "microbox/stack/expiry.h"

#include "microbox/stack/core.h"
#include "microbox/stack/flows/flow_lifecycle.h"
#include "microbox/stack/modules/modules.h"

#include <errno.h>

/* Endings between two looks at whatever else there is to do. */
enum { ENDINGS_AT_ONCE = 4096 };

/* A flow that ends may have waited at a hole in each direction. */
struct mb_expiry_most mb_expiry_most(const struct mb_stack_config *config) {
    const uint64_t holes = 2 * (uint64_t)config->flows_max;
    return (struct mb_expiry_most){
        .flows = config->flows_max,
        .holes = holes < config->held_segments_max ? (uint32_t)holes : config->held_segments_max,
        .datagrams = config->fragmented_datagrams_max,
    };
}

int mb_expiry_create(struct mb_stack *stack) {
    const struct mb_expiry_most most = mb_expiry_most(&stack->config);
    const uint64_t capacity = (uint64_t)most.flows + most.holes + most.datagrams;
    return capacity <= UINT32_MAX ? mb_endings_create(&stack->expiry.endings, (uint32_t)capacity)
                                  : -ENOMEM;
}

void mb_expiry_destroy(struct mb_stack *stack) {
    mb_endings_destroy(&stack->expiry.endings);
}

/* --- what is overdue --- */

static void add_flow(struct mb_stack *stack, const struct mb_flow_entry *flow) {
    mb_endings_add(&stack->expiry.endings, (struct mb_ending){.number = flow->number,
                                                              .index = mb_flow_slot(stack, flow),
                                                              .kind = MB_ENDING_FLOW});
}

static void gather_flows(struct mb_stack *stack) {
    struct mb_flow_table *table = &stack->table;
    for (unsigned each = 0; each < MB_TIMEOUT_CLASSES; each++) {
        uint32_t at = table->lists[each].oldest;
        const struct mb_flow_entry *flow;
        while ((flow = mb_flow_next_overdue(table, (enum mb_timeout_class)each, &at)) != NULL)
            add_flow(stack, flow);
    }
}

static void gather(struct mb_stack *stack) {
    mb_defrag_gather_overdue(stack);
    mb_tcp_stream_gather_overdue(stack);
    if (mb_flow_some_may_be_overdue(&stack->table))
        gather_flows(stack);
}

/* --- ending it --- */

static void end_flow(struct mb_stack *stack, struct mb_flow_entry *flow) {
    if (stack->expiry.reason == MB_REASON_NONE)
        mb_flow_expire(stack, flow);
    else
        mb_flow_give_up(stack, flow, stack->expiry.reason);
}

static void end_datagram(struct mb_stack *stack, struct mb_datagram *datagram) {
    const uint8_t reason = stack->expiry.reason;
    mb_defrag_remove(stack, datagram,
                     reason != MB_REASON_NONE ? reason : MB_REASON_FRAGMENT_TIMEOUT);
}

static void end(struct mb_stack *stack, const struct mb_ending *ending) {
    struct mb_flow_entry *flow = &stack->table.flows[ending->index];
    switch (ending->kind) {
    case MB_ENDING_DATAGRAM:
        end_datagram(stack, &stack->defrag.table.datagrams[ending->index]);
        return;
    case MB_ENDING_FLOW:
        end_flow(stack, flow);
        return;
    default:
        if (flow->number == ending->number) /* else it has just ended */
            mb_tcp_stream_give_up_overdue(stack, flow, ending->kind - MB_ENDING_HOLE_OF_ORIGINATOR);
    }
}

bool mb_expiry_settle(struct mb_stack *stack) {
    struct mb_endings *endings = &stack->expiry.endings;
    if (endings->count == 0)
        return true;
    mb_set_apart(stack, stack->expiry.flags);
    for (unsigned i = 0; i < ENDINGS_AT_ONCE && endings->count != 0; i++) {
        if (!mb_has_room_for_packet(stack))
            break;
        const uint64_t first = stack->log->next;
        const struct mb_ending ending = mb_endings_take(endings);
        end(stack, &ending);
        mb_end_packet(stack, first);
    }
    if (stack->commands != NULL)
        mb_commands_extend(stack->commands, stack->packets, stack->log->next);
    if (endings->count != 0)
        return false;
    mb_flow_table_is_quiet(&stack->table);
    return true;
}

bool mb_expire(struct mb_stack *stack) {
    stack->expiry.reason = MB_REASON_NONE;
    stack->expiry.flags = MB_OVERDUE;
    gather(stack);
    if (mb_expiry_is_settled(&stack->expiry)) /* some flows were looked at too early */
        mb_flow_table_is_quiet(&stack->table);
    return mb_expiry_settle(stack);
}

void mb_expire_all(struct mb_stack *stack, uint8_t reason) {
    stack->expiry.reason = reason;
    stack->expiry.flags = MB_AT_END;
    for (uint32_t index = 1; index < stack->table.unused; index++)
        if (stack->table.flows[index].number != 0)
            add_flow(stack, &stack->table.flows[index]);
    mb_defrag_gather_all(stack);
}
