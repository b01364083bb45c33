/*
 * The same conditions as where the tables are made: stack.c, worker_connection.c, worker_gates.c.
 */
#include "microbox/stack/worker_memory.h"

#include "microbox/bus/log.h"
#include "microbox/stack/commands.h"
#include "microbox/stack/conditions/derived.h"
#include "microbox/stack/expiry.h"
#include "microbox/stack/flows/flow_table.h"
#include "microbox/stack/flows/refused_flows.h"
#include "microbox/stack/fragments/assembled_frames.h"
#include "microbox/stack/fragments/fragment_table.h"
#include "microbox/stack/module_set.h"
#include "microbox/stack/streams/delivered.h"
#include "microbox/stack/worker_private.h"

static void add_flows(const struct mb_stack_config *stack, const struct mb_memory_needs *needs,
                      struct mb_memory *memory) {
    const uint32_t slots = stack->flows_max + 1;
    memory->flows += mb_flow_table_bytes(stack->flows_max);
    memory->flows += mb_endings_bytes(stack->flows_max); /* of flows that are present */
    memory->flows += mb_derived_bytes(needs->counters, stack->flows_max);
    memory->flows += mb_module_state_bytes(needs->module_states, slots);
    if (stack->flows_at_cap == MB_AT_CAP_DROP_FLOW)
        memory->flows += mb_refused_flows_bytes(stack->flows_max);
    if (!needs->takes_commands)
        return;
    memory->flows += mb_commands_switched_bytes(slots);
    memory->commands += mb_commands_recent_bytes(stack->command_delay);
}

static void add_endings(const struct mb_stack_config *stack, struct mb_memory *memory) {
    const struct mb_expiry_most most = mb_expiry_most(stack);
    memory->flows += mb_endings_bytes(most.flows);
    memory->held_segments += mb_endings_bytes(most.holes);
    memory->fragments += mb_endings_bytes(most.datagrams);
}

static void add_streams_and_fragments(const struct mb_stack_config *stack,
                                      const struct mb_memory_needs *needs,
                                      struct mb_memory *memory) {
    memory->held_segments += mb_held_pool_bytes(stack->held_segments_max);
    if (needs->compares)
        memory->compared_segments += mb_delivered_pool_bytes(stack->compared_segments_max);
    memory->fragments +=
        mb_fragment_table_bytes(stack->fragmented_datagrams_max, stack->fragments_per_datagram);
    memory->datagrams += mb_assembled_size(stack->assembled_datagrams_max) +
                         mb_assembled_slots_bytes(stack->assembled_datagrams_max);
}

static void add_gates(const struct mb_worker_config *config, const struct mb_memory_needs *needs,
                      struct mb_memory *memory) {
    struct mb_log log = {.slot_mask = config->log_slots - 1};
    const struct mb_gate_config gate = {
        .log = &log,
        .capacity = MB_GATE_CAPACITY,
        .flow_slots = config->stack.flows_max + 1,
        .datagram_slots = config->stack.fragmented_datagrams_max + 1,
    };
    const struct mb_stream_guard guard = {
        .judged_bytes_max = config->stack.judged_bytes_max,
        .held_max = config->stack.held_segments_max,
    };
    for (uint32_t i = 0; i < needs->gates; i++)
        mb_gate_add_memory(&gate, memory);
    for (uint32_t i = 0; i < needs->translating; i++)
        mb_gate_add_memory_of_translations(&gate, memory);
    if (needs->judges)
        mb_gate_add_memory_of_streams(&gate, &guard, memory);
    if (needs->edits)
        mb_gate_add_memory_of_edits(&gate, memory);
}

static void add_areas(const struct mb_worker_config *config, struct mb_memory *memory) {
    const struct mb_versions_shape versions = {
        .editors = config->editors,
        .log_slots = config->log_slots,
        .ring_bytes = config->stack.version_bytes,
    };
    memory->log += mb_log_size(config->log_slots);
    if (config->editors != 0)
        memory->edited_frames += mb_versions_size(&versions);
}

struct mb_memory mb_worker_memory(const struct mb_worker_config *config,
                                  const struct mb_memory_needs *needs) {
    struct mb_worker_config filled = *config;
    struct mb_memory memory = {0};
    mb_worker_fill_defaults(&filled);
    add_flows(&filled.stack, needs, &memory);
    add_endings(&filled.stack, &memory);
    add_streams_and_fragments(&filled.stack, needs, &memory);
    add_gates(&filled, needs, &memory);
    add_areas(&filled, &memory);
    return memory;
}
