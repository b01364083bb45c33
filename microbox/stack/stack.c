#include "microbox/stack/stack.h"

#include "microbox/stack/core.h"
#include "microbox/stack/flows/flow_lifecycle.h"
#include "microbox/stack/module_services.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { SECOND = 1000000000 };

/* --- making one --- */

static uint64_t or_default(uint64_t value, uint64_t fallback) {
    return value != 0 ? value : fallback;
}

static void fill_fragment_defaults(struct mb_stack_config *config) {
    config->fragmented_datagrams_max = (uint32_t)or_default(config->fragmented_datagrams_max, 8192);
    config->fragments_per_datagram = (uint32_t)or_default(config->fragments_per_datagram, 128);
    if (config->fragments_per_datagram > MB_FRAGMENTS_PER_DATAGRAM_MAX)
        config->fragments_per_datagram = MB_FRAGMENTS_PER_DATAGRAM_MAX;
    config->fragment_bytes_max = or_default(config->fragment_bytes_max, 64 << 20);
    config->fragment_timeout = or_default(config->fragment_timeout, UINT64_C(60) * SECOND);
}

/* Timeouts are the least that RFC 5382, RFC 4787 and RFC 5508 allow a middlebox. */
static void fill_defaults(struct mb_stack_config *config) {
    config->flows_max = (uint32_t)or_default(config->flows_max, 1000000);
    config->held_segments_per_flow = (uint32_t)or_default(config->held_segments_per_flow, 256);
    if (config->held_segments_per_flow > MB_HELD_PER_FLOW_MAX)
        config->held_segments_per_flow = MB_HELD_PER_FLOW_MAX;
    config->held_segments_max = (uint32_t)or_default(config->held_segments_max, 262144);
    config->held_bytes_per_flow = or_default(config->held_bytes_per_flow, 1 << 20);
    config->held_bytes_max = or_default(config->held_bytes_max, 256 << 20);
    config->compared_segments_max = (uint32_t)or_default(config->compared_segments_max, 65536);
    config->gap_acknowledgments = (uint32_t)or_default(config->gap_acknowledgments, 3);
    config->gap_timeout = or_default(config->gap_timeout, UINT64_C(30) * SECOND);
    config->tcp_timeout = or_default(config->tcp_timeout, UINT64_C(7440) * SECOND);
    config->tcp_unanswered_timeout =
        or_default(config->tcp_unanswered_timeout, UINT64_C(7440) * SECOND);
    config->tcp_opening_timeout = or_default(config->tcp_opening_timeout, UINT64_C(240) * SECOND);
    config->tcp_closed_timeout = or_default(config->tcp_closed_timeout, UINT64_C(240) * SECOND);
    config->tcp_reset_timeout = or_default(config->tcp_reset_timeout, UINT64_C(2) * SECOND);
    config->udp_timeout = or_default(config->udp_timeout, UINT64_C(120) * SECOND);
    config->udp_unanswered_timeout =
        or_default(config->udp_unanswered_timeout, UINT64_C(120) * SECOND);
    config->icmp_timeout = or_default(config->icmp_timeout, UINT64_C(60) * SECOND);
    config->icmp_unanswered_timeout =
        or_default(config->icmp_unanswered_timeout, UINT64_C(60) * SECOND);
    config->command_delay = (uint32_t)or_default(config->command_delay, 8192);
    config->tunnels_max = (uint32_t)or_default(config->tunnels_max, 4);
    if (config->tunnels_max > MB_TUNNELS_DEPTH_MAX)
        config->tunnels_max = MB_TUNNELS_DEPTH_MAX;
    fill_fragment_defaults(config);
}

static void judge_by_default(enum mb_judgement *judgement, enum mb_judgement fallback) {
    if (*judgement == MB_JUDGEMENT_DEFAULT)
        *judgement = fallback;
}

/* Refused by default is what no receiver of today takes; what a lossy or lopsided capture shows of
 * good connections too is told. */
static void fill_judgements(struct mb_stack_config *config) {
    judge_by_default(&config->bad_checksum, MB_JUDGEMENT_REPORT);
    judge_by_default(&config->low_ttl, MB_JUDGEMENT_REFUSE);
    judge_by_default(&config->unusual_ttl, MB_JUDGEMENT_REPORT);
    judge_by_default(&config->unexpected_signature, MB_JUDGEMENT_REFUSE);
    judge_by_default(&config->old_timestamp, MB_JUDGEMENT_REFUSE);
    judge_by_default(&config->ack_out_of_window, MB_JUDGEMENT_REFUSE);
    judge_by_default(&config->unsent_acknowledgment, MB_JUDGEMENT_REPORT);
    judge_by_default(&config->beyond_window, MB_JUDGEMENT_REPORT);
}

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

static struct mb_decoder decoder_of(const struct mb_stack_config *config) {
    return (struct mb_decoder){.key = {config->hash_key[0], config->hash_key[1]},
                               .tunnels_max = (uint8_t)config->tunnels_max,
                               .flow_key_ignores = (uint8_t)config->flow_key_ignores,
                               .verifies = config->checksums != MB_CHECKSUMS_OFF};
}

/* Where nobody compares copies, there is nothing to keep. */
static int create_history(struct mb_stack *stack) {
    const uint64_t *wanted = stack->subscriptions.type_mask[MB_TYPE_TCP_OVERLAP_INCONSISTENT];
    if ((wanted[0] | wanted[1]) == 0)
        return 0;
    stack->held.keeps_pieces_apart = true;
    int error = mb_delivered_pool_create(&stack->delivered, stack->config.compared_segments_max);
    stack->delivered.assembled = &stack->assembled;
    return error;
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
    /* Not touched before the input ends, but made now: the end must not fail. */
    stack->ending = calloc(config->flows_max, sizeof *stack->ending);
    if (stack->ending == NULL)
        return -ENOMEM;
    error = mb_held_pool_create(&stack->held, config->held_segments_max, config->held_bytes_max,
                                config->hash_key[0]);
    stack->held.assembled = &stack->assembled;
    if (error == 0)
        error = create_history(stack);
    return error != 0 ? error : mb_defrag_create(stack);
}

static int take_timers(struct mb_stack *stack, const struct mb_timer_subscription *timers,
                       uint32_t count, char error[MB_ERROR_SIZE]) {
    stack->timers = calloc(count != 0 ? count : 1, sizeof *stack->timers);
    if (stack->timers == NULL) {
        snprintf(error, MB_ERROR_SIZE, "no memory for %u timers", count);
        return -ENOMEM;
    }
    stack->timer_count = count;
    for (uint32_t i = 0; i < count; i++) {
        if (timers[i].period == 0) {
            snprintf(error, MB_ERROR_SIZE, "a timer's period is 0");
            return -EINVAL;
        }
        stack->timers[i] = (struct mb_timer_state){
            .period = timers[i].period,
            .mask = {timers[i].mask[0], timers[i].mask[1]},
            .due = timers[i].period,
        };
    }
    return 0;
}

static int take_hosts(struct mb_stack *stack, char error[MB_ERROR_SIZE]) {
    const struct mb_stack_config *config = &stack->config;
    int status = mb_hosts_create(&stack->hosts, config->hosts, config->host_count);
    if (status != 0)
        snprintf(error, MB_ERROR_SIZE, "%u networks of hosts: %s", config->host_count,
                 strerror(-status));
    return status;
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

static void decide_what_to_track(struct mb_stack *stack) {
    bool needs_flows = somebody_judges(stack->log) || mb_derived_needs_flows(stack->derived);
    for (unsigned transport = MB_TRANSPORT_TCP; transport < MB_TRANSPORTS; transport++)
        if (needs_flows || somebody_reads_flows(stack, (enum mb_transport)transport))
            stack->tracked |= (uint8_t)(1u << transport);
    /* Without the monitor a new connection could not be told from the one before it. */
    if (needs_flows)
        stack->always[MB_TRANSPORT_TCP] = MB_MODULE_TCP_MONITOR;
    stack->defrag.is_on = stack->config.assembled_bytes != NULL && somebody_reads_datagrams(stack);
    stack->table.lines = lines_to_fetch(stack);
}

static void set_checkpoint(struct mb_stack *stack, uint64_t packets) {
    stack->checkpoint = packets;
    stack->next_checkpoint = packets;
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
    set_checkpoint(stack, MB_CHECKPOINT_PACKETS);
    fill_defaults(&stack->config);
    fill_judgements(&stack->config);
    stack->services = mb_module_services;
    if (mb_module_set_create(&stack->modules, config->modules, config->module_count,
                             (size_t)stack->config.flows_max + 1, error) != 0 ||
        mb_derived_create(&stack->derived, &stack->config, error) != 0 ||
        mb_subscriptions_create(&stack->subscriptions, &stack->modules, subscriptions, count,
                                config->derived, config->derived_count, stack->config.link_type,
                                error) != 0 ||
        take_timers(stack, timers, timer_count, error) != 0 || take_hosts(stack, error) != 0 ||
        take_caps(stack, error) != 0) {
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
    decide_what_to_track(stack);
    return stack;
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

int mb_stack_accept_commands(struct mb_stack *stack, const struct mb_switch *switches,
                             uint32_t count, const struct mb_command_ring *rings,
                             uint32_t ring_count) {
    if (stack->commands != NULL || stack->packets != 0)
        return -EINVAL;
    const uint64_t delay = stack->config.command_delay;
    int error = 0;
    stack->commands = mb_commands_create(delay, mb_stack_flow_slots(stack), switches, count, rings,
                                         ring_count, &error);
    if (stack->commands == NULL)
        return error;
    for (uint32_t i = 0; i < count; i++)
        if (switches_packets(stack, &switches[i]))
            track_everything(stack);
    /* An NF that gives commands may wait for one that takes batches, which must not wait for a
     * packet that only comes when the commands are known. */
    if (stack->checkpoint > (delay + 1) / 2)
        set_checkpoint(stack, (delay + 1) / 2);
    return 0;
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
    free(stack->ending);
    free(stack);
}

/* --- the end --- */

static int by_number(const void *a, const void *b, void *context) {
    const struct mb_flow_entry *flows = context;
    uint64_t x = flows[*(const uint32_t *)a].number;
    uint64_t y = flows[*(const uint32_t *)b].number;
    return x < y ? -1 : x > y;
}

/* Which flows are left, in order of their first packets. */
static void gather_flows(struct mb_stack *stack) {
    struct mb_flow_table *table = &stack->table;
    stack->is_finishing = true;
    for (uint32_t index = 1; index < table->unused; index++)
        if (table->flows[index].number != 0)
            stack->ending[stack->ending_count++] = index;
    qsort_r(stack->ending, stack->ending_count, sizeof *stack->ending, by_number, table->flows);
}

static void publish_end_of_input(struct mb_stack *stack) {
    uint64_t first = stack->log->next;
    struct mb_entry *entry =
        mb_publish_plain(stack, stack->subscriptions.type_mask[MB_TYPE_SYSTEM_END_OF_INPUT],
                         MB_TYPE_SYSTEM_END_OF_INPUT);
    if (entry != NULL) {
        entry->flags |= MB_ENDS_BATCH;
        entry->payload.end_of_input.packets = stack->counters.packets;
        entry->payload.end_of_input.bytes = stack->counters.bytes;
    }
    mb_end_packet(stack, first);
}

static bool give_up_datagrams(struct mb_stack *stack, uint8_t reason) {
    while (stack->defrag.table.used != 0) {
        if (!mb_log_has_room(stack->log, MB_ENTRIES_PER_PACKET))
            return false;
        uint64_t first = stack->log->next;
        mb_defrag_give_up_some(stack, reason);
        mb_end_packet(stack, first);
    }
    return true;
}

bool mb_stack_finish(struct mb_stack *stack, uint8_t reason) {
    if (stack->is_finished)
        return true;
    if (!stack->is_finishing)
        gather_flows(stack);
    mb_set_apart(stack);
    while (stack->ending_next < stack->ending_count) {
        if (!mb_log_has_room(stack->log, MB_ENTRIES_PER_PACKET))
            return false;
        struct mb_flow_entry *flow = &stack->table.flows[stack->ending[stack->ending_next++]];
        uint64_t first = stack->log->next;
        mb_flow_give_up(stack, flow, reason);
        mb_end_packet(stack, first);
    }
    if (!give_up_datagrams(stack, reason))
        return false;
    mb_stack_update_gauges(stack);
    if (!mb_log_has_room(stack->log, MB_ENTRIES_PER_PACKET))
        return false;
    publish_end_of_input(stack);
    stack->is_finished = true;
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
    mb_set_apart(stack);
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
    const struct mb_command_reader *slowest =
        mb_commands_learn(commands, stack->log, stack->packets);
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

uint32_t mb_stack_datagram_slots(const struct mb_stack *stack) {
    return stack->defrag.table.capacity + 1;
}

uint32_t mb_stack_flow_slots(const struct mb_stack *stack) {
    return stack->table.capacity + 1;
}

const struct mb_stack_counters *mb_stack_counters(const struct mb_stack *stack) {
    return &stack->counters;
}
