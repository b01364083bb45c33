#include "microbox/stack/flows/flow_inquiry.h"

#include "microbox/stack/core.h"
#include "microbox/stack/flows/flow_lifecycle.h"

#include <string.h>

static bool has_end(const uint8_t address[16], uint16_t port, const uint8_t other[16],
                    uint16_t other_port) {
    return port == other_port && memcmp(address, other, 16) == 0;
}

static bool has_ends(const struct mb_five_tuple *tuple, const struct mb_five_tuple *ends) {
    return has_end(tuple->source, tuple->source_port, ends->source, ends->source_port) &&
           has_end(tuple->destination, tuple->destination_port, ends->destination,
                   ends->destination_port);
}

static bool is_meant(const struct mb_flow_entry *flow, const struct mb_flow_question *question,
                     const struct mb_five_tuple *reversed) {
    if (flow->number == 0 || flow->marks & MB_FLOW_ENDED)
        return false;
    if (question->number != 0)
        return flow->number == question->number;
    const uint8_t protocol = question->tuple.protocol;
    return (protocol == 0 || protocol == flow->tuple.protocol) &&
           (has_ends(&flow->tuple, &question->tuple) || has_ends(&flow->tuple, reversed));
}

static struct mb_flow_answer answer_of(const struct mb_stack *stack,
                                       const struct mb_flow_entry *flow) {
    struct mb_flow_answer answer = {
        .number = flow->number,
        .tuple = flow->tuple,
        .snapshot = flow->snapshot,
        .modules = flow->modules,
        .streams = flow->stream_sides,
        .seen = flow->marks / MB_FLOW_SEEN & 3,
        .slot = mb_flow_slot(stack, flow),
    };
    memcpy(answer.gets, flow->mask, sizeof answer.gets);
    if (stack->commands == NULL)
        return answer;
    const struct mb_switched *switched = &stack->commands->switched[mb_flow_slot(stack, flow)];
    for (unsigned direction = 0; direction < 2; direction++)
        for (unsigned half = 0; half < 2; half++)
            answer.off[direction][half] =
                switched->matched[direction][half] & switched->off[direction][half];
    return answer;
}

uint32_t mb_stack_ask(const struct mb_stack *stack, const struct mb_flow_question *question,
                      struct mb_flow_answer *answers, uint32_t most) {
    const struct mb_five_tuple reversed = mb_reversed_tuple(&question->tuple);
    const struct mb_flow_table *table = &stack->table;
    uint32_t count = 0;
    for (uint32_t index = 1; index < table->unused && count < most; index++)
        if (is_meant(&table->flows[index], question, &reversed))
            answers[count++] = answer_of(stack, &table->flows[index]);
    return count;
}
