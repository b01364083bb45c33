#include "microbox/stack/subscribing.h"

#include "microbox/stack/core.h"
#include "microbox/stack/flows/flow_renewal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what is kept and tracked --- */

int mb_keep_history_if_wanted(struct mb_stack *stack,
                              const struct mb_subscriptions *subscriptions) {
    const uint64_t *wanted = subscriptions->type_mask[MB_TYPE_TCP_OVERLAP_INCONSISTENT];
    if ((wanted[0] | wanted[1]) == 0 || stack->held.keeps_pieces_apart)
        return 0;
    int error = mb_delivered_pool_create(&stack->delivered, stack->config.compared_segments_max);
    stack->delivered.assembled = &stack->assembled;
    stack->held.keeps_pieces_apart = error == 0;
    return error;
}

/* A verdict of DROP_FLOW or PASS_FLOW names a flow, so an NF that judges packets needs flows told
 * apart although it reads none of their events. */
static bool somebody_judges(const struct mb_log *log) {
    for (uint32_t nf = 0; nf < log->consumers; nf++)
        if (log->consumer[nf].verdicts != NULL)
            return true;
    return false;
}

static bool somebody_reads_flows(const struct mb_stack *stack, enum mb_transport transport) {
    for (unsigned module = 0; module < stack->modules.count; module++) {
        uint64_t readers[2];
        mb_subscriptions_of_module(&stack->subscriptions, module, transport, readers);
        if ((readers[0] | readers[1]) != 0)
            return true;
    }
    return false;
}

/* Fragments are put together where somebody reads what a whole datagram brings, or what becomes of
 * fragments. So what a subscriber gets never depends on what others subscribe to. */
static bool somebody_reads_datagrams(const struct mb_stack *stack) {
    static const uint16_t types[] = {MB_TYPE_PACKET_IP,          MB_TYPE_PACKET_IP_TCP,
                                     MB_TYPE_PACKET_IP_UDP,      MB_TYPE_PACKET_IP_ICMP,
                                     MB_TYPE_PACKET_IP_FRAGMENT, MB_TYPE_PACKET_MALFORMED,
                                     MB_TYPE_INCOMPLETE_DATAGRAM};
    for (unsigned i = 0; i < sizeof types / sizeof *types; i++) {
        const uint64_t *mask = stack->subscriptions.type_mask[types[i]];
        if ((mask[0] | mask[1]) != 0)
            return true;
    }
    return stack->tracked != 0;
}

static bool somebody_needs(const struct mb_stack *stack, enum mb_module_bit module) {
    const uint64_t *readers = stack->subscriptions.module_mask[__builtin_ctz(module)];
    return (readers[0] | readers[1] | (stack->always[MB_TRANSPORT_TCP] & module)) != 0;
}

/* As flow.h lays them out. A line more than packets touch costs as much as one that they do. */
static uint32_t lines_to_fetch(const struct mb_stack *stack) {
    if (somebody_needs(stack, MB_MODULE_TCP_STREAM))
        return 5;
    if (somebody_needs(stack, MB_MODULE_TCP_MONITOR) || mb_module_set_has_users(&stack->modules))
        return 4;
    return 3;
}

void mb_decide_what_to_track(struct mb_stack *stack) {
    const bool needs_flows = somebody_judges(stack->log) || mb_derived_needs_flows(stack->derived);
    stack->tracked = 0;
    stack->always[MB_TRANSPORT_TCP] = 0;
    for (unsigned transport = MB_TRANSPORT_TCP; transport < MB_TRANSPORTS; transport++)
        if (needs_flows || somebody_reads_flows(stack, (enum mb_transport)transport))
            stack->tracked |= (uint8_t)(1u << transport);
    /* Without the monitor a new connection could not be told from the one before it. */
    if (needs_flows)
        stack->always[MB_TRANSPORT_TCP] = MB_MODULE_TCP_MONITOR;
    stack->defrag.is_on = stack->config.assembled_bytes != NULL && somebody_reads_datagrams(stack);
    stack->table.lines = lines_to_fetch(stack);
}

/* --- timers --- */

static bool are_periods(const struct mb_timer_subscription *timers, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (timers[i].period == 0)
            return false;
    return true;
}

/* When it fires next: as it would have, or as it would if it had been there from the start. */
static uint64_t due_of(const struct mb_stack *stack, uint64_t period) {
    for (uint32_t i = 0; i < stack->timer_count; i++)
        if (stack->timers[i].period == period)
            return stack->timers[i].due;
    return (stack->clock.now / period + 1) * period;
}

int mb_take_timers(struct mb_stack *stack, const struct mb_timer_subscription *timers,
                   uint32_t count, char error[MB_ERROR_SIZE]) {
    if (!are_periods(timers, count)) {
        snprintf(error, MB_ERROR_SIZE, "a timer's period is 0");
        return -EINVAL;
    }
    struct mb_timer_state *taken = calloc(count != 0 ? count : 1, sizeof *taken);
    if (taken == NULL) {
        snprintf(error, MB_ERROR_SIZE, "no memory for %u timers", count);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++)
        taken[i] = (struct mb_timer_state){
            .period = timers[i].period,
            .mask = {timers[i].mask[0], timers[i].mask[1]},
            .due = due_of(stack, timers[i].period),
        };
    free(stack->timers);
    stack->timers = taken;
    stack->timer_count = count;
    stack->next_timer = 0;
    return 0;
}

/* --- commands --- */

void mb_set_checkpoint(struct mb_stack *stack, uint64_t packets) {
    stack->checkpoint = packets;
    stack->next_checkpoint = stack->packets + packets;
}

/* Who reads packets alone speaks of flows all the same, so they have to be told apart. */
static bool switches_packets(const struct mb_stack *stack, const struct mb_switch *one) {
    uint64_t packets[2] = {0, 0};
    for (unsigned type = MB_TYPE_PACKET; type <= MB_TYPE_PACKET_MALFORMED; type++)
        for (unsigned half = 0; half < 2; half++)
            packets[half] |= stack->subscriptions.type_mask[type][half];
    return ((packets[0] & one->mask[0]) | (packets[1] & one->mask[1])) != 0;
}

static void track_everything(struct mb_stack *stack) {
    for (unsigned transport = MB_TRANSPORT_TCP; transport < MB_TRANSPORTS; transport++)
        stack->tracked |= (uint8_t)(1u << transport);
}

/* In flows that began before anybody gave commands. */
static void switch_nothing_off(struct mb_stack *stack) {
    for (uint32_t index = 1; index < stack->table.unused; index++)
        stack->commands->switched[index] = (struct mb_switched){0};
}

static int take_commands(struct mb_stack *stack, const struct mb_switch *switches, uint32_t count,
                         const struct mb_command_ring *rings, uint32_t ring_count) {
    if (stack->commands != NULL)
        return mb_commands_renew(stack->commands, stack->packets, switches, count, rings,
                                 ring_count);
    if (count == 0)
        return 0;
    int error = 0;
    stack->commands =
        mb_commands_create(stack->config.command_delay, stack->packets, mb_stack_flow_slots(stack),
                           switches, count, rings, ring_count, &error);
    if (stack->commands == NULL)
        return error;
    switch_nothing_off(stack);
    return 0;
}

int mb_stack_accept_commands(struct mb_stack *stack, const struct mb_switch *switches,
                             uint32_t count, const struct mb_command_ring *rings,
                             uint32_t ring_count) {
    const int error = take_commands(stack, switches, count, rings, ring_count);
    if (error != 0 || stack->commands == NULL)
        return error;
    const uint64_t delay = stack->commands->delay;
    for (uint32_t i = 0; i < count; i++)
        if (switches_packets(stack, &switches[i]))
            track_everything(stack);
    /* An NF that gives commands may wait for one that takes batches, which must not wait for a
     * packet that only comes when the commands are known. */
    if (stack->checkpoint > (delay + 1) / 2)
        mb_set_checkpoint(stack, (delay + 1) / 2);
    return 0;
}

/* --- while packets flow --- */

static int take_what_comes_with_it(struct mb_stack *stack, const struct mb_subscriptions *renewed,
                                   const struct mb_timer_subscription *timers, uint32_t count,
                                   char error[MB_ERROR_SIZE]) {
    const int status = mb_keep_history_if_wanted(stack, renewed);
    if (status == 0)
        return mb_take_timers(stack, timers, count, error);
    snprintf(error, MB_ERROR_SIZE, "no memory for copies of segments: %s", strerror(-status));
    return status;
}

int mb_stack_resubscribe(struct mb_stack *stack, const struct mb_subscription *subscriptions,
                         uint32_t count, const struct mb_timer_subscription *timers,
                         uint32_t timer_count, char error[MB_ERROR_SIZE]) {
    struct mb_subscriptions *renewed = malloc(sizeof *renewed);
    if (renewed == NULL) {
        snprintf(error, MB_ERROR_SIZE, "no memory for subscriptions");
        return -ENOMEM;
    }
    const struct mb_stack_config *config = &stack->config;
    int status =
        mb_subscriptions_create(renewed, &stack->modules, subscriptions, count, config->derived,
                                config->derived_count, config->link_type, error);
    if (status == 0)
        status = take_what_comes_with_it(stack, renewed, timers, timer_count, error);
    if (status != 0) {
        mb_subscriptions_destroy(renewed);
        free(renewed);
        return status;
    }
    renewed->epoch = stack->subscriptions.epoch + 1;
    mb_subscriptions_destroy(&stack->subscriptions);
    stack->subscriptions = *renewed;
    free(renewed);
    mb_decide_what_to_track(stack);
    return 0;
}

void mb_stack_bits_of(const struct mb_stack *stack, uint32_t nf, uint64_t bits[2]) {
    bits[0] = stack->subscriptions.nf_mask[nf][0];
    bits[1] = stack->subscriptions.nf_mask[nf][1];
    if (stack->commands != NULL)
        mb_commands_add_switched(stack->commands, nf, bits);
}

void mb_stack_renew_flows(struct mb_stack *stack, const uint64_t joined[2]) {
    struct mb_flow_table *table = &stack->table;
    for (uint32_t index = 1; index < table->unused; index++)
        if (table->flows[index].number != 0)
            mb_flow_renew(stack, &table->flows[index], joined);
}

void mb_stack_drop_flow(struct mb_stack *stack, uint32_t slot, uint64_t number, uint32_t nf) {
    struct mb_flow_entry *flow = &stack->table.flows[slot];
    if (slot < stack->table.unused && flow->number == number && flow->dropped_by == 0)
        flow->dropped_by = (uint8_t)(1 + nf);
}
