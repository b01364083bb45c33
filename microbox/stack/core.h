/*
 * What the files of the stack share: its state, and how they publish.
 */
#ifndef MICROBOX_STACK_CORE_H
#define MICROBOX_STACK_CORE_H

#include "microbox/bus/log.h"
#include "microbox/bus/version.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/commands.h"
#include "microbox/stack/conditions/derived.h"
#include "microbox/stack/counters.h"
#include "microbox/stack/decode/decode.h"
#include "microbox/stack/expiry.h"
#include "microbox/stack/flows/flow_table.h"
#include "microbox/stack/flows/refused_flows.h"
#include "microbox/stack/fragments/assembled_frames.h"
#include "microbox/stack/fragments/defrag.h"
#include "microbox/stack/module_set.h"
#include "microbox/stack/packet_clock.h"
#include "microbox/stack/packet_trace.h"
#include "microbox/stack/stack.h"
#include "microbox/stack/streams/delivered.h"
#include "microbox/stack/streams/reassembly.h"
#include "microbox/stack/streams/stream_steps.h"
#include "microbox/stack/subscriptions.h"

#include <string.h>

/* What a version of a frame takes beside its bytes, at most (bus/version.h). */
enum { MB_VERSION_BESIDE_FRAME = 2 * sizeof(struct mb_version) };

/*
 * Entries that one packet may cause, term by term; together at most MB_ENTRIES_PER_PACKET:
 * a held segment gives a gap before it, its bytes, and a gap for what the capture cut from it;
 * timers that fire; what users' modules publish for the packet and for the flow's end; and the
 * rest: the packet, two fragments before it and six datagrams given up, three checkpoints, the
 * flow's start and end, four state changes, the handshake, four anomalies, the packet's own bytes
 * and gaps, with room to spare. What the packet's time ends has room of its own (expiry.h).
 *
 * Where types are derived, their entries come on top. They get what is not kept for the above
 * (derived.c).
 */
enum {
    MB_HELD_PER_FLOW_MAX = 320,
    MB_ENTRIES_PER_HELD = 3,
    MB_TIMERS_PER_PACKET = 8,
    MB_ENTRIES_OTHERWISE = 39
};
_Static_assert((int)MB_HELD_PER_FLOW_MAX *(int)MB_ENTRIES_PER_HELD + (int)MB_TIMERS_PER_PACKET +
                       2 * (int)MB_MODULE_ENTRIES + (int)MB_ENTRIES_OTHERWISE <=
                   (int)MB_ENTRIES_PER_PACKET,
               "one packet must not publish more than the log keeps room for");

struct mb_cap_setting {
    enum mb_cap_policy policy;
    uint32_t forced; /* the chance, in 2^32, that a packet finds the cap met */
};

struct mb_timer_state {
    uint64_t period;
    uint64_t mask[2];
    uint64_t due; /* on the stack's clock */
};

/* What the entries that are being published have in common. */
struct mb_cause {
    uint64_t time;
    uint64_t packet;
    uint64_t frame; /* 0, and length 0, where no frame is concerned */
    uint32_t frame_length;
    uint8_t flags;    /* MB_APART, with when that was; or none */
    uint64_t bits[2]; /* per-packet filters that the packet matched */
};

struct mb_stack {
    struct mb_module_services services; /* first, where users' modules look for them */
    struct mb_log *log;
    const uint8_t *pool;        /* what frames count in; set by each mb_stack_handle */
    struct mb_derived *derived; /* NULL where no type is derived */
    struct mb_cause cause;
    struct mb_packet_clock clock;
    uint64_t packets;         /* of the input so far, whoever handles them */
    uint64_t foreign_bytes;   /* of those that other workers handle */
    uint64_t checkpoint;      /* packets from one system.checkpoint to the next */
    uint64_t next_checkpoint; /* number of the packet that it comes with */
    uint64_t batch_begin;     /* log position behind the last one that somebody reads */
    uint64_t batch_bytes; /* that versions of all frames since the last one for their sake take */
    bool segment_refused; /* tcp.monitor says that the receiver would not take the segment */
    bool notes_sequences; /* a gate wants to know where segments end */
    /* The gate's, where inline NFs read streams, and the bits of these; else NULL and none. */
    struct mb_stream_steps *steps;
    uint64_t stream_judges[2];
    bool is_bypassed;       /* by the policy of a cap: nobody is shown the packet in hand */
    bool has_given_up_flow; /* for the packet in hand, whose own flow finds room then */
    uint8_t dropped;        /* enum mb_reason: why the packet in hand does not go out; 0: it may */
    uint8_t tracked;        /* bit t: flows of transport t are followed */
    uint16_t always[MB_TRANSPORTS]; /* modules that flows of the transport run in any case */
    struct mb_flow_table table;
    struct mb_held_pool held;
    struct mb_delivered_pool delivered; /* where somebody subscribes to inconsistent overlaps */
    struct mb_assembled_frames assembled;
    struct mb_defrag defrag;
    struct mb_hosts hosts;
    struct mb_module_set modules;
    uint32_t module_entries; /* what users' modules published for this packet, or flow's end */
    struct mb_subscriptions subscriptions;
    struct mb_stack_config config;
    struct mb_refused_flows refused;
    struct mb_cap_setting caps[MB_CAPS];
    struct mb_commands *commands; /* NULL: no NF gives any */
    struct mb_decoder decoder;
    uint32_t timer_count;
    uint32_t next_timer; /* which one to look at first */
    struct mb_timer_state *timers;
    struct mb_expiry expiry;
    struct mb_endings present; /* flows that who was welcomed last is still to be told of */
    bool gives_up_waiting;     /* for bytes that did not come: there is no memory to wait longer */
    bool is_finishing;
    bool is_finished;
    struct mb_stack_counters counters;
    struct mb_packet_trace trace;
};

_Static_assert(offsetof(struct mb_stack, services) == 0, "module.h casts a stack to its services");

static inline void mb_count_reason(struct mb_stack *stack, uint8_t reason) {
    stack->counters.by_reason[reason]++;
}

static inline uint32_t mb_flow_slot(const struct mb_stack *stack,
                                    const struct mb_flow_entry *flow) {
    return (uint32_t)(flow - stack->table.flows);
}

/* --- caps --- */

/* True where a test's setting has the cap met for the packet in hand. */
bool mb_cap_is_forced(struct mb_stack *stack, enum mb_cap cap);

/* The cap is met: counts it, and says what to do. */
enum mb_cap_policy mb_cap_met(struct mb_stack *stack, enum mb_cap cap);

/* The packet in hand does not go out. */
static inline void mb_refuse_packet(struct mb_stack *stack, uint8_t reason) {
    if (stack->dropped == MB_REASON_NONE)
        stack->counters.packets_refused++;
    stack->dropped = reason;
}

/* Counters of what there is now. */
void mb_stack_update_gauges(struct mb_stack *stack);

/* --- publishing --- */

/* A slot of the log. */
static inline struct mb_entry *mb_claim(struct mb_stack *stack, const uint64_t mask[2],
                                        uint16_t type) {
    stack->counters.published_by_type[type]++;
    stack->counters.entries++;
    return mb_log_claim(stack->log, mask);
}

/* The next entry, with everything but type-dependent parts filled; NULL where nobody wants it.
 * `flow`: that it is about, NULL for none. The caller fills the rest before it publishes anything
 * else: then, or at the packet's end, types derived from it are published. */
static inline struct mb_entry *mb_publish_of(struct mb_stack *stack,
                                             const struct mb_flow_entry *flow,
                                             const uint64_t mask[2], uint16_t type, uint8_t reason,
                                             uint8_t flags) {
    if ((mask[0] | mask[1]) == 0)
        return NULL;
    struct mb_entry *entry = __builtin_expect(stack->derived != NULL, 0)
                                 ? mb_derived_claim(stack, flow, mask[0], mask[1], type)
                                 : mb_claim(stack, mask, type);
    entry->time = stack->cause.time;
    entry->packet = stack->cause.packet;
    entry->flow = 0;
    entry->frame = stack->cause.frame;
    entry->type = type;
    entry->reason = reason;
    entry->flags = flags | stack->cause.flags;
    entry->data_length = 0;
    entry->frame_length = stack->cause.frame_length;
    entry->data_offset = 0;
    return entry;
}

/* Likewise, about no flow. */
static inline struct mb_entry *mb_publish(struct mb_stack *stack, const uint64_t mask[2],
                                          uint16_t type, uint8_t reason, uint8_t flags) {
    return mb_publish_of(stack, NULL, mask, type, reason, flags);
}

/* The last entry is complete: what is derived from it follows it. */
static inline void mb_settle(struct mb_stack *stack) {
    if (stack->derived != NULL)
        mb_derived_publish(stack);
}

/* In the log, and for the gate. */
static inline bool mb_has_room_for_packet(struct mb_stack *stack) {
    return mb_log_has_room(stack->log, MB_ENTRIES_PER_PACKET) &&
           (stack->steps == NULL || mb_stream_steps_have_room(stack->steps));
}

/* The packet, or what else the log was claimed for since `first`, is done. */
static inline void mb_end_packet(struct mb_stack *stack, uint64_t first) {
    if (stack->derived != NULL)
        mb_derived_end_packet(stack);
    mb_log_end_packet(stack->log, first);
    mb_assembled_end_packet(&stack->assembled);
}

/* An entry about no flow: payload and snapshot are all zero. */
static inline struct mb_entry *mb_publish_plain(struct mb_stack *stack, const uint64_t mask[2],
                                                uint16_t type) {
    struct mb_entry *entry = mb_publish(stack, mask, type, MB_REASON_NONE, 0);
    if (entry == NULL)
        return NULL;
    memset(&entry->payload, 0, sizeof entry->payload);
    memset(&entry->snapshot, 0, sizeof entry->snapshot);
    return entry;
}

static inline struct mb_entry *mb_publish_flow_masked(struct mb_stack *stack,
                                                      const struct mb_flow_entry *flow,
                                                      uint16_t type, uint8_t reason,
                                                      unsigned direction, const uint64_t who[2]) {
    const uint64_t *wanted = stack->subscriptions.type_mask[type];
    uint64_t mask[2] = {wanted[0] & who[0], wanted[1] & who[1]};
    struct mb_entry *entry =
        mb_publish_of(stack, flow, mask, type, reason,
                      (uint8_t)(MB_HAS_FLOW | (direction != 0 ? MB_FROM_RESPONDER : 0)));
    if (entry == NULL)
        return NULL;
    entry->flow = flow->number;
    memset(&entry->payload, 0, sizeof entry->payload);
    entry->payload.flow.tuple = flow->tuple;
    entry->snapshot = flow->snapshot;
    return entry;
}

/* An event of the flow, one of its packets being the cause: who wants that direction gets it. */
static inline struct mb_entry *mb_publish_flow(struct mb_stack *stack,
                                               const struct mb_flow_entry *flow, uint16_t type,
                                               uint8_t reason, unsigned direction) {
    const uint64_t who[2] = {flow->mask[direction][0] | stack->cause.bits[0],
                             flow->mask[direction][1] | stack->cause.bits[1]};
    return mb_publish_flow_masked(stack, flow, type, reason, direction, who);
}

/* Publishes a flow's start, or its end, of `type` to `who`. */
static inline void mb_publish_start_to(struct mb_stack *stack, const struct mb_flow_entry *flow,
                                       uint16_t type, unsigned direction, const uint64_t who[2]) {
    struct mb_entry *entry =
        mb_publish_flow_masked(stack, flow, type, MB_REASON_NONE, direction, who);
    if (entry == NULL)
        return;
    entry->payload.flow_start.tunnel_identifier = flow->tunnel_identifier;
    entry->payload.flow_start.tunnel = flow->tunnel;
}

static inline void mb_publish_end_to(struct mb_stack *stack, const struct mb_flow_entry *flow,
                                     uint16_t type, uint8_t reason, const uint64_t who[2]) {
    struct mb_entry *entry = mb_publish_flow_masked(stack, flow, type, reason, 0, who);
    if (entry == NULL)
        return;
    entry->payload.flow_end.started = flow->started;
    entry->payload.flow_end.tunnel_identifier = flow->tunnel_identifier;
    entry->payload.flow_end.tunnel = flow->tunnel;
}

/* The flow's end: it has no direction, so who wants either gets it. */
static inline void mb_publish_end(struct mb_stack *stack, const struct mb_flow_entry *flow,
                                  uint16_t type, uint8_t reason) {
    const uint64_t who[2] = {flow->mask[0][0] | flow->mask[1][0] | stack->cause.bits[0],
                             flow->mask[0][1] | flow->mask[1][1] | stack->cause.bits[1]};
    mb_publish_end_to(stack, flow, type, reason, who);
}

/* The flow's start, once. */
static inline void mb_publish_start(struct mb_stack *stack, struct mb_flow_entry *flow,
                                    uint16_t type, unsigned direction) {
    if (flow->marks & MB_FLOW_STARTED)
        return;
    flow->marks |= MB_FLOW_STARTED;
    const uint64_t who[2] = {flow->mask[direction][0] | stack->cause.bits[0],
                             flow->mask[direction][1] | stack->cause.bits[1]};
    mb_publish_start_to(stack, flow, type, direction, who);
}

#endif
