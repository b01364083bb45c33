/*
 * The path of a packet: decode, count, tell the time, find its place (packet_place.c), end what is
 * overdue. Nothing here allocates, calls the system, locks or reads a clock, unless somebody traces
 * a flow (packet_trace.h). Read `mb_stack_handle` first.
 *
 * Where workers share out an input, each is given all frames, and decodes and handles those of its
 * share (partition.h).
 */
#include "microbox/stack/packet_path.h"

#include "microbox/stack/flows/flow_lifecycle.h"
#include "microbox/stack/partition.h"

/* A call for each packet is to be seen in what a packet costs. */
#define FOR_EACH_PACKET static inline __attribute__((always_inline))

/* --- counting, and the time --- */

static void count_packet(struct mb_stack *stack, const struct mb_decoded *packet) {
    struct mb_stack_counters *counters = &stack->counters;
    counters->packets++;
    counters->bytes += packet->length;
    counters->time = packet->time;
    if (packet->reason != MB_REASON_NONE)
        mb_count_reason(stack, packet->reason);
    if (packet->network_length != 0)
        counters->packets_ip++;
    if (packet->type == MB_TYPE_PACKET_IP_FRAGMENT)
        counters->fragments++;
    switch (packet->type) {
    case MB_TYPE_PACKET_IP_TCP:
        counters->packets_tcp++;
        return;
    case MB_TYPE_PACKET_IP_UDP:
        counters->packets_udp++;
        return;
    case MB_TYPE_PACKET_IP_ICMP:
        counters->packets_icmp++;
        return;
    case MB_TYPE_PACKET_MALFORMED:
        counters->packets_malformed++;
        return;
    default:
        counters->packets_other++;
    }
}

static void fire_timers(struct mb_stack *stack) {
    uint32_t fired = 0;
    for (uint32_t i = 0; i < stack->timer_count && fired < MB_TIMERS_PER_PACKET; i++) {
        struct mb_timer_state *timer = &stack->timers[stack->next_timer];
        stack->next_timer = (stack->next_timer + 1) % stack->timer_count;
        if (stack->clock.now < timer->due)
            continue;
        uint64_t missed = (stack->clock.now - timer->due) / timer->period;
        timer->due += (missed + 1) * timer->period;
        fired++;
        struct mb_entry *entry = mb_publish_plain(stack, timer->mask, MB_TYPE_TIMER);
        if (entry == NULL)
            continue;
        entry->payload.timer.period = timer->period;
        entry->payload.timer.missed = missed;
    }
}

/* Batches end here. */
static void publish_checkpoint(struct mb_stack *stack) {
    struct mb_entry *entry =
        mb_publish_plain(stack, stack->subscriptions.type_mask[MB_TYPE_SYSTEM_CHECKPOINT],
                         MB_TYPE_SYSTEM_CHECKPOINT);
    if (entry == NULL)
        return;
    entry->flags |= MB_ENDS_BATCH;
    stack->batch_begin = stack->log->next;
}

uint64_t mb_stack_batch_begin(const struct mb_stack *stack) {
    return stack->batch_begin;
}

void mb_stack_end_batches(struct mb_stack *stack) {
    const uint64_t first = stack->log->next;
    mb_set_apart(stack, 0);
    publish_checkpoint(stack);
    mb_end_packet(stack, first);
}

static void publish_due_checkpoint(struct mb_stack *stack, uint64_t packet) {
    if (packet != stack->next_checkpoint)
        return;
    stack->next_checkpoint += stack->checkpoint;
    publish_checkpoint(stack);
}

/* A reader of batches must not keep the whole datagrams that the next one needs the place of. */
static void end_batch_of_datagrams(struct mb_stack *stack) {
    if (!mb_assembled_ends_batch(&stack->assembled))
        return;
    mb_set_apart(stack, 0);
    publish_checkpoint(stack);
}

/* A reader of batches waits until all of a batch is applied, so the versions of all its frames have
 * to have room at once, each with a header and what it may grow by. */
static void end_batch_of_versions(struct mb_stack *stack, const struct mb_decoded *packet) {
    if (stack->config.batch_bytes_max == 0)
        return;
    stack->batch_bytes += packet->length + MB_VERSION_BESIDE_FRAME;
    if (stack->batch_bytes <= stack->config.batch_bytes_max)
        return;
    stack->batch_bytes = 0;
    mb_set_apart(stack, 0);
    publish_checkpoint(stack);
}

/* What a packet means to whoever counts packets and looks at the time. */
FOR_EACH_PACKET void arrive(struct mb_stack *stack, uint64_t number, uint64_t time) {
    stack->packets = number;
    stack->cause = (struct mb_cause){
        .time = time,
        .packet = number,
        .flags = MB_APART | MB_AHEAD,
    };
    mb_packet_clock_advance(&stack->clock, time);
    stack->table.now = stack->clock.now;
    stack->table.seen = mb_packet_clock_seen(&stack->clock);
    if (stack->timer_count != 0)
        fire_timers(stack);
    publish_due_checkpoint(stack, number);
    stack->cause.flags = 0;
}

static bool a_hole_may_be_overdue(const struct mb_stack *stack) {
    const struct mb_held_wait *wait = mb_held_longest_wait(&stack->held);
    return wait != NULL && stack->clock.now - wait->since >= stack->config.gap_timeout;
}

static bool a_datagram_is_overdue(const struct mb_stack *stack) {
    const struct mb_datagram *oldest = mb_datagram_oldest(&stack->defrag.table);
    return oldest != NULL && stack->clock.now - oldest->began > stack->config.fragment_timeout;
}

static bool some_may_be_overdue(const struct mb_stack *stack) {
    return mb_flow_some_may_be_overdue(&stack->table) || a_hole_may_be_overdue(stack) ||
           a_datagram_is_overdue(stack);
}

/* Of a fragment the packet's reason may change. False: what the packet's time has ended is still to
 * be told. */
FOR_EACH_PACKET bool handle(struct mb_stack *stack, struct mb_decoded *packet,
                            struct mb_handled *handled) {
    if (stack->commands != NULL && packet->number >= stack->commands->due)
        mb_commands_obey(stack, packet->number);
    *handled = (struct mb_handled){.first = stack->log->next, .packet = packet->number};
    mb_packet_note_kind(stack, MB_SEGMENT_NONE);
    stack->module_entries = 0;
    stack->dropped = MB_REASON_NONE;
    stack->is_bypassed = false;
    stack->has_given_up_flow = false;
    count_packet(stack, packet);
    arrive(stack, packet->number, packet->time);
    if (mb_packet_is_collected(stack, packet))
        mb_packet_handle_fragment(stack, packet, handled);
    else
        mb_packet_handle_alone(stack, packet, handled);
    end_batch_of_datagrams(stack);
    end_batch_of_versions(stack, packet);
    mb_end_packet(stack, handled->first);
    handled->end = stack->log->next;
    handled->dropped = stack->dropped;
    if (stack->commands != NULL)
        mb_commands_note(stack->commands, handled);
    const bool is_settled = !some_may_be_overdue(stack) || mb_expire(stack);
    handled->end = stack->log->next;
    if (stack->steps != NULL)
        mb_stream_steps_end_packet(stack->steps);
    return is_settled;
}

/* Another worker handles the packet: it counts, shows the time, and is the packet that commands
 * take effect at. False: likewise. */
static bool pass_over(struct mb_stack *stack, const struct mb_frame *frame,
                      struct mb_handled *handled) {
    const uint64_t number = stack->packets + 1;
    const uint64_t first = stack->log->next;
    if (stack->commands != NULL && number >= stack->commands->due)
        mb_commands_obey(stack, number);
    handled->packet = 0;
    stack->counters.packets_foreign++;
    stack->foreign_bytes += frame->length;
    arrive(stack, number, frame->time);
    mb_end_packet(stack, first);
    if (stack->commands != NULL)
        mb_commands_note(stack->commands,
                         &(struct mb_handled){.packet = number, .end = stack->log->next});
    return !some_may_be_overdue(stack) || mb_expire(stack);
}

/*
 * --- groups ---
 *
 * Packets go in groups through two steps: decode and hash, which asks for the flow's bucket;
 * handle, which asks for the flow of a packet that comes some packets later. Between asking and use
 * lies other work, so memory answers in the meantime. Flows are asked for one by one between
 * packets rather than all at once: a core waits when more than a dozen lines are on their way.
 *
 * The functions are made three times of the one source: where one worker has all frames, nothing is
 * asked about whose they are; where no flow is traced, nothing about which packet is measured.
 */

enum { GROUP = 32, FRAMES_AHEAD = 16, FLOWS_AHEAD = 6, HEADERS_USUALLY = 54 };
_Static_assert((int)GROUP <= 32, "the frames of a group have a bit each");

MB_PREFETCHES void prefetch_headers(const uint8_t *pool, const struct mb_frame *frame) {
    __builtin_prefetch(pool + frame->offset);
    __builtin_prefetch(pool + frame->offset + HEADERS_USUALLY - 1);
}

static bool is_own(const struct mb_stack *stack, const uint8_t *pool,
                   const struct mb_frame *frame) {
    return mb_partition_worker(stack->config.workers, frame, pool + frame->offset) ==
           stack->config.worker;
}

/* Decodes `count` frames; `readable` is how many there are from `frames` on. Where they are shared
 * out, `foreign` gets a bit for each that another worker handles. */
FOR_EACH_PACKET void decode_group(struct mb_stack *stack, const uint8_t *pool,
                                  const struct mb_frame *frames, size_t count, size_t readable,
                                  struct mb_decoded *packets, bool is_shared, uint32_t *foreign) {
    *foreign = 0;
    for (size_t i = 0; i < count; i++) {
        struct mb_decoded *packet = &packets[i];
        if (i + FRAMES_AHEAD < readable)
            prefetch_headers(pool, &frames[i + FRAMES_AHEAD]);
        if (is_shared && !is_own(stack, pool, &frames[i])) {
            *foreign |= UINT32_C(1) << i;
            continue;
        }
        mb_decode(&stack->decoder, packet, &frames[i], pool + frames[i].offset,
                  stack->packets + 1 + i);
        if (stack->config.checksums != MB_CHECKSUMS_OFF)
            mb_packet_judge_checksums(stack, packet);
    }
}

static void hash_four(const struct mb_stack *stack, struct mb_decoded *four[MB_FLOW_HASHES]) {
    const struct mb_five_tuple *tuples[MB_FLOW_HASHES];
    uint64_t hashes[MB_FLOW_HASHES];
    for (unsigned i = 0; i < MB_FLOW_HASHES; i++)
        tuples[i] = &four[i]->tuple;
    mb_flow_hashes(stack->table.key, tuples, hashes);
    for (unsigned i = 0; i < MB_FLOW_HASHES; i++) {
        four[i]->hash = hashes[i];
        mb_flow_prefetch_bucket(&stack->table, hashes[i]);
    }
}

static void hash_one(const struct mb_stack *stack, struct mb_decoded *packet) {
    packet->hash = mb_flow_hash(stack->table.key, &packet->tuple, packet->domain);
    mb_flow_prefetch_bucket(&stack->table, packet->hash);
}

/* Finds out where the packets' flows and datagrams lie, and asks for it. */
FOR_EACH_PACKET void hash_group(const struct mb_stack *stack, struct mb_decoded *packets,
                                size_t count, bool is_shared, uint32_t foreign) {
    struct mb_decoded *four[MB_FLOW_HASHES];
    unsigned waiting = 0;
    for (size_t i = 0; i < count; i++) {
        struct mb_decoded *packet = &packets[i];
        if (is_shared && foreign >> i & 1)
            continue;
        if (mb_packet_is_tracked(stack, packet)) {
            if (!mb_flow_hash_is_plain(&packet->tuple, packet->domain)) {
                hash_one(stack, packet);
                continue;
            }
            four[waiting++] = packet;
            if (waiting < MB_FLOW_HASHES)
                continue;
            hash_four(stack, four);
            waiting = 0;
        } else if (mb_packet_is_collected(stack, packet)) {
            packet->hash = mb_datagram_hash(&stack->defrag.table, packet);
            mb_datagram_prefetch_bucket(&stack->defrag.table, packet->hash);
        }
    }
    for (unsigned i = 0; i < waiting; i++)
        hash_one(stack, four[i]);
}

/* Room for its entries, and where it is a fragment for the datagram that it may complete. */
static bool has_room_for(struct mb_stack *stack, const struct mb_decoded *packet) {
    if (!mb_has_room_for_packet(stack))
        return false;
    return !mb_packet_is_collected(stack, packet) || mb_assembled_has_room(&stack->assembled);
}

MB_PREFETCHES void prefetch_place(const struct mb_stack *stack, const struct mb_decoded *packet) {
    if (mb_packet_is_tracked(stack, packet))
        mb_flow_prefetch(&stack->table, packet->hash);
    else if (mb_packet_is_collected(stack, packet))
        mb_datagram_prefetch(&stack->defrag.table, packet->hash);
}

FOR_EACH_PACKET bool handle_one(struct mb_stack *stack, const struct mb_frame *frame,
                                struct mb_decoded *packet, bool is_foreign, bool is_traced,
                                struct mb_handled *handled) {
    if (is_foreign)
        return pass_over(stack, frame, handled);
    const bool is_measured = is_traced && mb_packet_is_tracked(stack, packet) &&
                             mb_packet_trace_wants(&stack->trace, packet->hash);
    if (is_measured)
        mb_packet_trace_begin(stack);
    const bool is_settled = handle(stack, packet, handled);
    if (is_measured)
        mb_packet_trace_end(stack, frame, handled);
    return is_settled;
}

/* Handles the packets of a group, as far as there is room. Returns how many. */
FOR_EACH_PACKET size_t handle_group(struct mb_stack *stack, const struct mb_frame *frames,
                                    struct mb_decoded *packets, size_t count, bool is_shared,
                                    uint32_t foreign, bool is_traced, struct mb_handled *handled) {
    for (size_t i = 0; i < FLOWS_AHEAD && i < count; i++)
        if (!is_shared || !(foreign >> i & 1))
            prefetch_place(stack, &packets[i]);
    for (size_t i = 0; i < count; i++) {
        const size_t ahead = i + FLOWS_AHEAD;
        const bool is_foreign = is_shared && foreign >> i & 1;
        if (!(is_foreign ? mb_has_room_for_packet(stack) : has_room_for(stack, &packets[i])))
            return i;
        if (ahead < count && (!is_shared || !(foreign >> ahead & 1)))
            prefetch_place(stack, &packets[ahead]);
        if (!handle_one(stack, &frames[i], &packets[i], is_foreign, is_traced, &handled[i]))
            return i + 1;
    }
    return count;
}

/* There is nothing to tell of the packet before, and room for another one. */
static bool is_ready(struct mb_stack *stack) {
    return mb_expiry_settle(stack) && mb_has_room_for_packet(stack);
}

FOR_EACH_PACKET size_t handle_frames(struct mb_stack *stack, const uint8_t *pool,
                                     const struct mb_frame *frames, size_t count, bool is_shared,
                                     bool is_traced, struct mb_handled *handled) {
    struct mb_decoded packets[GROUP];
    uint32_t foreign;
    size_t done = 0;
    for (size_t i = 0; i < FRAMES_AHEAD && i < count; i++)
        prefetch_headers(pool, &frames[i]);
    while (done < count && is_ready(stack)) {
        size_t group = count - done < GROUP ? count - done : GROUP;
        decode_group(stack, pool, frames + done, group, count - done, packets, is_shared, &foreign);
        hash_group(stack, packets, group, is_shared, foreign);
        size_t some = handle_group(stack, frames + done, packets, group, is_shared, foreign,
                                   is_traced, handled + done);
        done += some;
        if (some < group)
            break;
    }
    return done;
}

static bool a_timer_is_due(const struct mb_stack *stack) {
    for (uint32_t i = 0; i < stack->timer_count; i++)
        if (stack->clock.now >= stack->timers[i].due)
            return true;
    return false;
}

/* What is told lies behind the last packet, and bears the time that it is now. */
static void tell_the_time(struct mb_stack *stack) {
    const uint64_t first = stack->log->next;
    mb_set_apart(stack, MB_OVERDUE);
    fire_timers(stack);
    mb_end_packet(stack, first);
    if (stack->commands != NULL)
        mb_commands_extend(stack->commands, stack->packets, stack->log->next);
}

bool mb_stack_pass_time(struct mb_stack *stack, uint64_t step) {
    if (!stack->clock.is_running || !is_ready(stack))
        return false;
    mb_packet_clock_pass(&stack->clock, step);
    stack->table.now = stack->clock.now;
    stack->table.seen = mb_packet_clock_seen(&stack->clock);
    stack->cause.time = stack->clock.reference;
    if (a_timer_is_due(stack))
        tell_the_time(stack);
    if (some_may_be_overdue(stack))
        mb_expire(stack);
    mb_stack_update_gauges(stack);
    return true;
}

uint64_t mb_stack_time(const struct mb_stack *stack) {
    return stack->clock.reference;
}

/* Here it is asked for each packet whether frames are shared out. */
__attribute__((noinline)) static size_t handle_traced(struct mb_stack *stack, const uint8_t *pool,
                                                      const struct mb_frame *frames, size_t count,
                                                      struct mb_handled *handled) {
    return handle_frames(stack, pool, frames, count, stack->config.workers != 1, true, handled);
}

static size_t handle_as_set(struct mb_stack *stack, const uint8_t *pool,
                            const struct mb_frame *frames, size_t count,
                            struct mb_handled *handled) {
    if (stack->trace.flow != 0)
        return handle_traced(stack, pool, frames, count, handled);
    if (stack->config.workers == 1)
        return handle_frames(stack, pool, frames, count, false, false, handled);
    return handle_frames(stack, pool, frames, count, true, false, handled);
}

size_t mb_stack_handle(struct mb_stack *stack, const uint8_t *pool, const struct mb_frame *frames,
                       size_t count, struct mb_handled *handled) {
    stack->pool = pool;
    const size_t done = handle_as_set(stack, pool, frames, count, handled);
    mb_stack_update_gauges(stack);
    return done;
}

void mb_stack_update_gauges(struct mb_stack *stack) {
    stack->counters.flows_active = stack->table.active;
    stack->counters.chain_longest = stack->table.longest;
    stack->counters.held_segments = stack->held.used;
    stack->counters.held_segments_peak = stack->held.peak;
    stack->counters.held_bytes = stack->held.bytes;
    stack->counters.flows_peak = mb_flow_table_peak(&stack->table);
    stack->counters.compared_segments_peak = mb_delivered_pool_peak(&stack->delivered);
    stack->counters.datagrams_waiting_peak = mb_fragment_table_peak(&stack->defrag.table);
    stack->counters.fragments_held_bytes = stack->defrag.held;
}
