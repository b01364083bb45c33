#include "microbox/stack/stack.h"

#include "microbox/stack/core.h"
#include "microbox/stack/defaults.h"
#include "microbox/stack/flows/flow_lifecycle.h"
#include "microbox/stack/flows/flow_renewal.h"
#include "microbox/stack/module_services.h"
#include "microbox/stack/subscribing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* --- making one --- */

static int choose_key(struct mb_stack_config *config) {
    if ((config->hash_key[0] | config->hash_key[1]) != 0)
        return 0;
    ssize_t got = getrandom(config->hash_key, sizeof config->hash_key, 0);
    return got == (ssize_t)sizeof config->hash_key ? 0 : -errno;
}

static void set_timeouts(struct mb_stack *stack) {
    const struct mb_stack_config *config = &stack->config;
    const uint64_t timeouts[MB_TIMEOUT_CLASSES] = {
        [MB_TIMEOUT_CLOSED] = config->tcp_closed_timeout,
        [MB_TIMEOUT_RESET] = config->tcp_reset_timeout,
        [MB_TIMEOUT_OPENING] = config->tcp_opening_timeout,
        [MB_TIMEOUT_TCP_UNANSWERED] = config->tcp_unanswered_timeout,
        [MB_TIMEOUT_UDP_UNANSWERED] = config->udp_unanswered_timeout,
        [MB_TIMEOUT_ICMP_UNANSWERED] = config->icmp_unanswered_timeout,
        [MB_TIMEOUT_OPEN] = config->tcp_timeout,
        [MB_TIMEOUT_UDP] = config->udp_timeout,
        [MB_TIMEOUT_ICMP] = config->icmp_timeout,
    };
    for (unsigned each = 0; each < MB_TIMEOUT_CLASSES; each++)
        mb_flow_table_set_timeout(&stack->table, (enum mb_timeout_class)each, timeouts[each]);
}

static int take_caps(struct mb_stack *stack, char error[MB_ERROR_SIZE]) {
    const struct mb_stack_config *config = &stack->config;
    const uint32_t policies[MB_CAPS] = {
        [MB_CAP_FLOWS] = config->flows_at_cap,
        [MB_CAP_HELD] = config->held_at_cap,
        [MB_CAP_FRAGMENTS] = config->fragments_at_cap,
    };
    const uint32_t forced[MB_CAPS] = {
        [MB_CAP_FLOWS] = config->force_flows,
        [MB_CAP_HELD] = config->force_held,
        [MB_CAP_FRAGMENTS] = config->force_fragments,
    };
    for (unsigned cap = 0; cap < MB_CAPS; cap++) {
        if (policies[cap] >= MB_CAP_POLICIES) {
            snprintf(error, MB_ERROR_SIZE, "cap %u: there is no policy %u", cap, policies[cap]);
            return -EINVAL;
        }
        stack->caps[cap] = (struct mb_cap_setting){(enum mb_cap_policy)policies[cap], forced[cap]};
    }
    return 0;
}

static int take_share(struct mb_stack *stack, char error[MB_ERROR_SIZE]) {
    const struct mb_stack_config *config = &stack->config;
    if (config->worker < config->workers && config->workers <= MB_WORKERS_MAX)
        return 0;
    snprintf(error, MB_ERROR_SIZE, "worker %u of %u: there may be %d, counted from 0",
             config->worker, config->workers, MB_WORKERS_MAX);
    return -EINVAL;
}

static struct mb_decoder decoder_of(const struct mb_stack_config *config) {
    return (struct mb_decoder){.key = {config->hash_key[0], config->hash_key[1]},
                               .tunnels_max = (uint8_t)config->tunnels_max,
                               .flow_key_ignores = (uint8_t)config->flow_key_ignores,
                               .verifies = config->checksums != MB_CHECKSUMS_OFF};
}

static int create_tables(struct mb_stack *stack) {
    const struct mb_stack_config *config = &stack->config;
    int error = mb_flow_table_create(&stack->table, config->flows_max, config->hash_key);
    if (error != 0)
        return error;
    set_timeouts(stack);
    if (stack->caps[MB_CAP_FLOWS].policy == MB_AT_CAP_DROP_FLOW) {
        error = mb_refused_flows_create(&stack->refused, config->flows_max);
        if (error != 0)
            return error;
    }
    error = mb_expiry_create(stack);
    if (error == 0)
        error = mb_endings_create(&stack->present, config->flows_max);
    if (error != 0)
        return error;
    error = mb_held_pool_create(&stack->held, config->held_segments_max, config->held_bytes_max,
                                config->hash_key[0]);
    stack->held.assembled = &stack->assembled;
    if (error == 0)
        error = mb_keep_history_if_wanted(stack, &stack->subscriptions);
    return error != 0 ? error : mb_defrag_create(stack);
}

static int take_hosts(struct mb_stack *stack, char error[MB_ERROR_SIZE]) {
    const struct mb_stack_config *config = &stack->config;
    int status = mb_hosts_create(&stack->hosts, config->hosts, config->host_count);
    if (status != 0)
        snprintf(error, MB_ERROR_SIZE, "%u networks of hosts: %s", config->host_count,
                 strerror(-status));
    return status;
}

struct mb_stack *mb_stack_create(const struct mb_stack_config *config, struct mb_log *log,
                                 const struct mb_subscription *subscriptions, uint32_t count,
                                 const struct mb_timer_subscription *timers, uint32_t timer_count,
                                 char error[MB_ERROR_SIZE]) {
    struct mb_stack *stack = calloc(1, sizeof *stack);
    if (stack == NULL) {
        snprintf(error, MB_ERROR_SIZE, "no memory for the stack");
        return NULL;
    }
    stack->config = *config;
    stack->log = log;
    stack->packets = config->packets_before;
    mb_set_checkpoint(stack, MB_CHECKPOINT_PACKETS);
    mb_stack_fill_defaults(&stack->config);
    stack->services = mb_module_services;
    if (mb_module_set_create(&stack->modules, config->modules, config->module_count,
                             (size_t)stack->config.flows_max + 1, error) != 0 ||
        mb_derived_create(&stack->derived, &stack->config, error) != 0 ||
        mb_subscriptions_create(&stack->subscriptions, &stack->modules, subscriptions, count,
                                config->derived, config->derived_count, stack->config.link_type,
                                error) != 0 ||
        mb_take_timers(stack, timers, timer_count, error) != 0 || take_hosts(stack, error) != 0 ||
        take_caps(stack, error) != 0 || take_share(stack, error) != 0) {
        mb_stack_destroy(stack);
        return NULL;
    }
    int status = choose_key(&stack->config);
    if (status == 0)
        status = create_tables(stack);
    if (status != 0) {
        snprintf(error, MB_ERROR_SIZE, "no memory for %u flows: %s", stack->config.flows_max,
                 strerror(-status));
        mb_stack_destroy(stack);
        return NULL;
    }
    stack->decoder = decoder_of(&stack->config);
    mb_decide_what_to_track(stack);
    return stack;
}

void mb_stack_destroy(struct mb_stack *stack) {
    if (stack == NULL)
        return;
    mb_derived_destroy(stack->derived);
    mb_commands_destroy(stack->commands);
    mb_subscriptions_destroy(&stack->subscriptions);
    mb_module_set_destroy(&stack->modules);
    mb_flow_table_destroy(&stack->table);
    mb_held_pool_destroy(&stack->held);
    mb_delivered_pool_destroy(&stack->delivered);
    mb_hosts_destroy(&stack->hosts);
    mb_refused_flows_destroy(&stack->refused);
    mb_defrag_destroy(stack);
    free(stack->timers);
    mb_expiry_destroy(stack);
    mb_endings_destroy(&stack->present);
    free(stack);
}

/* --- the end --- */

static void publish_end_of_input(struct mb_stack *stack) {
    uint64_t first = stack->log->next;
    mb_set_apart(stack, MB_AT_END);
    struct mb_entry *entry =
        mb_publish_plain(stack, stack->subscriptions.type_mask[MB_TYPE_SYSTEM_END_OF_INPUT],
                         MB_TYPE_SYSTEM_END_OF_INPUT);
    if (entry != NULL) {
        entry->flags |= MB_ENDS_BATCH;
        entry->payload.end_of_input.packets =
            stack->counters.packets + stack->counters.packets_foreign;
        entry->payload.end_of_input.bytes = stack->counters.bytes + stack->foreign_bytes;
    }
    mb_end_packet(stack, first);
}

bool mb_stack_settle(struct mb_stack *stack) {
    return mb_expiry_settle(stack);
}

bool mb_stack_finish(struct mb_stack *stack, uint8_t reason) {
    if (stack->is_finished)
        return true;
    if (!mb_expiry_settle(stack))
        return false;
    if (!stack->is_finishing)
        mb_expire_all(stack, reason);
    stack->is_finishing = true;
    if (!mb_expiry_settle(stack) || !mb_log_has_room(stack->log, MB_ENTRIES_PER_PACKET))
        return false;
    mb_stack_update_gauges(stack);
    publish_end_of_input(stack);
    stack->is_finished = true;
    return true;
}

/* --- NFs come and go --- */

/* In the order of their first packets. */
static void gather_present(struct mb_stack *stack, const uint64_t who[2]) {
    struct mb_flow_table *table = &stack->table;
    for (uint32_t index = 1; index < table->unused; index++)
        if (table->flows[index].number != 0 &&
            mb_flow_present_is_wanted(stack, &table->flows[index], who))
            mb_endings_add(&stack->present,
                           (struct mb_ending){table->flows[index].number, index, MB_ENDING_FLOW});
}

void mb_stack_welcome(struct mb_stack *stack, uint32_t nf, bool catches_up) {
    stack->present.count = 0;
    if (catches_up)
        gather_present(stack, stack->subscriptions.nf_mask[nf]);
    const uint64_t first = stack->log->next;
    mb_set_apart(stack, 0);
    struct mb_entry *entry =
        mb_publish_plain(stack, stack->subscriptions.type_mask[MB_TYPE_SYSTEM_NF_ATTACHED],
                         MB_TYPE_SYSTEM_NF_ATTACHED);
    if (entry != NULL) {
        entry->payload.nf_attached.nf = nf;
        entry->payload.nf_attached.flows = stack->present.count;
    }
    mb_end_packet(stack, first);
}

bool mb_stack_tell_flows(struct mb_stack *stack, uint32_t nf) {
    const uint64_t *who = stack->subscriptions.nf_mask[nf];
    mb_set_apart(stack, 0);
    while (stack->present.count != 0) {
        if (!mb_log_has_room(stack->log, MB_ENTRIES_PER_PACKET))
            return false;
        const uint64_t first = stack->log->next;
        const struct mb_ending flow = mb_endings_take(&stack->present);
        mb_flow_present(stack, &stack->table.flows[flow.index], who);
        mb_end_packet(stack, first);
    }
    return true;
}

static void forget_subscriptions(struct mb_stack *stack, uint32_t nf) {
    const uint64_t *gone = stack->subscriptions.nf_mask[nf];
    for (uint32_t i = 0; i < stack->timer_count; i++) {
        stack->timers[i].mask[0] &= ~gone[0];
        stack->timers[i].mask[1] &= ~gone[1];
    }
    mb_subscriptions_remove(&stack->subscriptions, nf);
}

void mb_stack_detach(struct mb_stack *stack, uint32_t nf, int32_t status, bool keeps_bits) {
    if (nf >= MB_NFS_MAX)
        return;
    mb_commands_close(stack, nf);
    if (!keeps_bits)
        forget_subscriptions(stack, nf);
    mb_set_apart(stack, 0);
    uint64_t first = stack->log->next;
    struct mb_entry *entry = mb_publish_plain(
        stack, stack->subscriptions.type_mask[MB_TYPE_SYSTEM_NF_EXITED], MB_TYPE_SYSTEM_NF_EXITED);
    if (entry == NULL)
        return;
    entry->payload.nf_exited.nf = nf;
    entry->payload.nf_exited.status = status;
    mb_end_packet(stack, first);
}

uint64_t mb_stack_room(struct mb_stack *stack, uint32_t *nf, uint64_t *position) {
    struct mb_commands *commands = stack->commands;
    if (commands == NULL)
        return UINT64_MAX;
    if (commands->allowed >= stack->packets + MB_BATCH)
        return commands->allowed - stack->packets;
    const bool is_settled = mb_expiry_is_settled(&stack->expiry);
    const struct mb_command_reader *slowest =
        mb_commands_learn(commands, stack->log, stack->packets - !is_settled);
    if (slowest != NULL) {
        *nf = slowest->ring.nf;
        *position = commands->recent[(slowest->passed + 1) & commands->recent_mask].end;
    }
    return commands->allowed - stack->packets;
}

void mb_stack_end_commands(struct mb_stack *stack) {
    for (uint32_t nf = 0; nf < MB_NFS_MAX; nf++)
        mb_commands_close(stack, nf);
}

const struct mb_decoder *mb_stack_decoder(const struct mb_stack *stack) {
    return &stack->decoder;
}

uint32_t mb_stack_datagram_slots(const struct mb_stack *stack) {
    return stack->defrag.table.capacity + 1;
}

void mb_stack_note_sequences(struct mb_stack *stack) {
    stack->notes_sequences = true;
}

bool mb_stack_streams_are_read(const struct mb_stack *stack, const uint64_t bits[2]) {
    const uint64_t *readers = stack->subscriptions.module_mask[1];
    return ((readers[0] & bits[0]) | (readers[1] & bits[1])) != 0;
}

struct mb_stream_guard mb_stack_stream_guard(const struct mb_stack *stack) {
    return (struct mb_stream_guard){
        .judged_bytes_max = stack->config.judged_bytes_max,
        .held_max = stack->config.held_segments_max,
        .held_per_flow = stack->config.held_segments_per_flow,
        .lets_unseen_out = stack->caps[MB_CAP_HELD].policy == MB_AT_CAP_PASS,
    };
}

void mb_stack_guard_streams(struct mb_stack *stack, struct mb_stream_steps *steps,
                            const uint64_t judges[2]) {
    stack->steps = steps;
    stack->stream_judges[0] = judges[0];
    stack->stream_judges[1] = judges[1];
}

uint32_t mb_stack_flow_slots(const struct mb_stack *stack) {
    return stack->table.capacity + 1;
}

const struct mb_stack_counters *mb_stack_counters(const struct mb_stack *stack) {
    return &stack->counters;
}
