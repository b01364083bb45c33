#include "microbox/stack/conditions/derived.h"

#include "microbox/stack/conditions/condition.h"
#include "microbox/stack/core.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TYPE_NONE = 0 /* the root, which is nobody's child here */ };

/* One derived type. */
struct rule {
    uint16_t type;
    uint16_t first_counter; /* in a row */
    uint32_t parent;        /* bit of the derived type that has to hold too; 0: none */
    struct mb_condition condition;
};

struct mb_derived {
    uint32_t count;
    uint32_t counters;         /* of all rules, for each flow */
    uint32_t on[MB_TYPES_MAX]; /* by type of an entry: bit i, rule i judges it */

    /* The entry that is not judged yet; NULL: none. */
    const struct mb_entry *pending;
    uint64_t mask[2]; /* who wants it, or something derived from it */
    uint64_t started; /* of its flow */
    uint32_t slot;    /* of its flow; 0, which no flow has: none */

    uint64_t packet_first; /* of the log: where the entries of this packet begin */
    uint32_t entries_kept; /* that are not for derived types, from the pending entry on */

    struct mb_entry aside; /* for an entry that is judged but not written */
    /* By flow slot: number of the flow, then the counters of all rules. */
    int64_t *rows;
    struct rule rules[];
};

/* --- making it --- */

static uint32_t bit_of_parent(const struct mb_derived *derived, uint32_t before, uint16_t parent) {
    for (uint32_t i = 0; i < before; i++)
        if (derived->rules[i].type == parent)
            return 1u << i;
    return 0;
}

/* Timers and what the runtime says about itself are about no packet. Types past the built-in ones
 * are those of users' modules. */
static bool may_be_base(uint16_t type) {
    if (type >= MB_TYPES_BUILT_IN)
        return true;
    while (mb_event_type_parent(type) != MB_TYPE_EVENT)
        type = mb_event_type_parent(type);
    return type != MB_TYPE_EVENT && type != MB_TYPE_TIMER && type != MB_TYPE_SYSTEM;
}

static bool may_be_bases(const uint64_t types[8]) {
    for (uint16_t type = 0; type < MB_TYPES_MAX; type++)
        if (types[type / 64] >> type % 64 & 1 && !may_be_base(type))
            return false;
    return true;
}

static void take_bases(struct mb_derived *derived, uint32_t index, const uint64_t bases[8]) {
    for (unsigned type = 0; type < MB_TYPES_MAX; type++) {
        if (!(bases[type / 64] >> type % 64 & 1))
            continue;
        derived->on[type] |= 1u << index;
    }
}

static int take(struct mb_derived *derived, const struct mb_derived_type *wanted,
                char error[MB_ERROR_SIZE]) {
    const uint32_t index = derived->count;
    struct rule *rule = &derived->rules[index];
    char complaint[MB_ERROR_SIZE];
    if (wanted->type < MB_TYPES_BUILT_IN || wanted->type >= MB_TYPES_MAX ||
        !may_be_bases(wanted->bases)) {
        snprintf(error, MB_ERROR_SIZE, "derived type %u: a number is out of range", wanted->type);
        return -EINVAL;
    }
    rule->type = wanted->type;
    rule->parent = bit_of_parent(derived, index, wanted->parent);
    if (wanted->parent != TYPE_NONE && rule->parent == 0) {
        snprintf(error, MB_ERROR_SIZE, "derived type %u: its parent %u does not stand above it",
                 wanted->type, wanted->parent);
        return -EINVAL;
    }
    if (mb_condition_load(&rule->condition, wanted->program, wanted->program_size,
                          wanted->step_count, wanted->counters, complaint) != 0) {
        snprintf(error, MB_ERROR_SIZE, "condition of derived type %u: %.180s", wanted->type,
                 complaint);
        return -EINVAL;
    }
    take_bases(derived, index, wanted->bases);
    rule->first_counter = (uint16_t)derived->counters;
    derived->counters += wanted->counters;
    derived->count++;
    return 0;
}

static size_t row_length(uint32_t counters) {
    return 1 + (size_t)counters;
}

size_t mb_derived_bytes(uint32_t counters, uint32_t flows_max) {
    return counters != 0 ? ((size_t)flows_max + 1) * row_length(counters) * sizeof(int64_t) : 0;
}

static int make_rows(struct mb_derived *derived, uint32_t flows_max, char error[MB_ERROR_SIZE]) {
    if (derived->counters > MB_DERIVED_COUNTERS_MAX) {
        snprintf(error, MB_ERROR_SIZE, "conditions have %u counters: at most %d are possible",
                 derived->counters, MB_DERIVED_COUNTERS_MAX);
        return -EINVAL;
    }
    if (derived->counters == 0)
        return 0;
    derived->rows = calloc(1, mb_derived_bytes(derived->counters, flows_max));
    if (derived->rows != NULL)
        return 0;
    snprintf(error, MB_ERROR_SIZE, "no memory for the counters of %u flows", flows_max);
    return -ENOMEM;
}

int mb_derived_create(struct mb_derived **made, const struct mb_stack_config *config,
                      char error[MB_ERROR_SIZE]) {
    *made = NULL;
    if (config->derived_count == 0)
        return 0;
    if (config->derived_count > MB_DERIVED_MAX) {
        snprintf(error, MB_ERROR_SIZE, "%u derived types: at most %d are possible",
                 config->derived_count, MB_DERIVED_MAX);
        return -EINVAL;
    }
    struct mb_derived *derived =
        calloc(1, sizeof *derived + config->derived_count * sizeof *derived->rules);
    if (derived == NULL) {
        snprintf(error, MB_ERROR_SIZE, "no memory for %u derived types", config->derived_count);
        return -ENOMEM;
    }
    *made = derived;
    for (uint32_t i = 0; i < config->derived_count; i++)
        if (take(derived, &config->derived[i], error) != 0)
            return -EINVAL;
    return make_rows(derived, config->flows_max, error);
}

void mb_derived_destroy(struct mb_derived *derived) {
    if (derived == NULL)
        return;
    free(derived->rows);
    free(derived);
}

bool mb_derived_needs_flows(const struct mb_derived *derived) {
    if (derived == NULL)
        return false;
    for (uint32_t i = 0; i < derived->count; i++)
        if (mb_condition_reads_flow(&derived->rules[i].condition))
            return true;
    return derived->counters != 0;
}

/* --- how much it may publish --- */

/* What the stack's own entries may still need when `held` segments of the flow are held. Whatever
 * else a packet ends or starts, it finds only one flow that holds some. */
static uint32_t entries_kept(uint32_t held) {
    return held * MB_ENTRIES_PER_HELD + 2 * MB_MODULE_ENTRIES + MB_ENTRIES_OTHERWISE;
}

/* How many the flow may hold that the packet ends, or belongs to. Events of fragments come before
 * it is known which one that is. */
static uint32_t held_behind(const struct mb_stack *stack, const struct mb_flow_entry *flow,
                            uint16_t type) {
    if (flow != NULL)
        return (uint32_t)flow->stream[0].held + flow->stream[1].held;
    if (type != MB_TYPE_PACKET_IP_FRAGMENT && type != MB_TYPE_INCOMPLETE_DATAGRAM)
        return 0;
    const uint32_t of_flow = stack->config.held_segments_per_flow;
    return stack->held.used < of_flow ? stack->held.used : of_flow;
}

static bool has_room(const struct mb_stack *stack) {
    const struct mb_derived *derived = stack->derived;
    return stack->log->next - derived->packet_first + 1 + derived->entries_kept <=
           MB_ENTRIES_PER_PACKET;
}

/* --- publishing --- */

static bool intersects(const uint64_t a[2], const uint64_t b[2]) {
    return (a[0] & b[0]) | (a[1] & b[1]);
}

struct mb_entry *mb_derived_claim(struct mb_stack *stack, const struct mb_flow_entry *flow,
                                  uint64_t low, uint64_t high, uint16_t type) {
    struct mb_derived *derived = stack->derived;
    const uint64_t mask[2] = {low, high};
    mb_derived_publish(stack);
    if (derived->on[type] == 0)
        return mb_claim(stack, mask, type);
    const uint64_t *wanted = stack->subscriptions.own_mask[type];
    const uint64_t own[2] = {mask[0] & wanted[0], mask[1] & wanted[1]};
    struct mb_entry *entry = (own[0] | own[1]) != 0 ? mb_claim(stack, own, type) : &derived->aside;
    derived->pending = entry;
    derived->mask[0] = mask[0];
    derived->mask[1] = mask[1];
    derived->started = flow != NULL ? flow->started : stack->cause.time;
    derived->slot = flow != NULL ? (uint32_t)(flow - stack->table.flows) : 0;
    derived->entries_kept = entries_kept(held_behind(stack, flow, type));
    return entry;
}

/* The counters of the pending entry's flow. An event without flow finds them at 0 each time. */
static int64_t *counters_of_flow(struct mb_derived *derived) {
    if (derived->rows == NULL)
        return NULL;
    int64_t *row = derived->rows + derived->slot * row_length(derived->counters);
    const int64_t flow = (int64_t)derived->pending->flow;
    if (row[0] != flow || derived->slot == 0)
        memset(row, 0, row_length(derived->counters) * sizeof *row);
    row[0] = flow;
    return row + 1;
}

static bool holds(struct mb_stack *stack, const struct rule *rule, int64_t *counters) {
    const struct mb_derived *derived = stack->derived;
    const struct mb_entry *entry = derived->pending;
    const struct mb_condition_input input = {
        .entry = entry,
        .data = stack->pool + entry->frame + entry->data_offset,
        .started = derived->started,
        .counters = counters != NULL ? counters + rule->first_counter : NULL,
    };
    stack->counters.conditions_run++;
    const enum mb_condition_result result = mb_condition_run(&rule->condition, &input);
    if (result == MB_CONDITION_FAILED)
        stack->counters.conditions_failed++;
    return result == MB_CONDITION_TRUE;
}

/* A copy of the pending entry, for those who want this type. */
static void publish(struct mb_stack *stack, uint16_t type) {
    const struct mb_derived *derived = stack->derived;
    const uint64_t *wanted = stack->subscriptions.own_mask[type];
    const uint64_t mask[2] = {derived->mask[0] & wanted[0], derived->mask[1] & wanted[1]};
    if ((mask[0] | mask[1]) == 0)
        return;
    if (!has_room(stack)) {
        mb_count_reason(stack, MB_REASON_LIMIT_DERIVED);
        return;
    }
    struct mb_entry *entry = mb_claim(stack, mask, type);
    const uint64_t sequence = entry->sequence;
    *entry = *derived->pending;
    entry->sequence = sequence;
    entry->type = type;
    entry->mask[0] = mask[0];
    entry->mask[1] = mask[1];
}

void mb_derived_publish(struct mb_stack *stack) {
    struct mb_derived *derived = stack->derived;
    if (derived->pending == NULL)
        return;
    int64_t *counters = counters_of_flow(derived);
    uint32_t held = 0;
    for (uint32_t left = derived->on[derived->pending->type]; left != 0; left &= left - 1) {
        const uint32_t bit = left & -left;
        const struct rule *rule = &derived->rules[__builtin_ctz(left)];
        if (rule->parent & ~held ||
            !intersects(derived->mask, stack->subscriptions.type_mask[rule->type]) ||
            !holds(stack, rule, counters))
            continue;
        held |= bit;
        publish(stack, rule->type);
    }
    derived->pending = NULL;
}

void mb_derived_end_packet(struct mb_stack *stack) {
    mb_derived_publish(stack);
    stack->derived->packet_first = stack->log->next;
}
