/*
 * Commands of NFs about flows: read from their rings, checked, obeyed at a packet that does not
 * depend on timing (bus/layout.h, "Commands").
 *
 * An NF's ring is not to be trusted: each word is read once, each record is checked, and from the
 * first one that is unsound nothing more is taken of that NF.
 */
#ifndef MICROBOX_STACK_COMMANDS_H
#define MICROBOX_STACK_COMMANDS_H

#include "microbox/bus/log.h"
#include "microbox/stack/flows/flow.h"
#include "microbox/stack/stack.h"

enum { MB_SWITCHES_PER_NF = 32 };

/* What commands have to do with one flow; one for each slot of the flow table. Written at each
 * direction's first packet, so that what a flow before it left behind is never read. */
struct mb_switched {
    uint64_t matched[2][2]; /* by direction: whose filters its packets match */
    uint64_t off[2][2];     /* by direction: what is switched off */
};

_Static_assert(sizeof(struct mb_switched) == MB_CACHE_LINE, "one line a flow");

/* One NF's ring as the stack knows it. */
struct mb_command_reader {
    struct mb_command_ring ring;
    uint32_t may_switch;                  /* bit k: its k-th subscription */
    uint64_t mask[MB_SWITCHES_PER_NF][2]; /* what goes with the k-th */
    uint64_t drops[2];                    /* what goes with a dropped flow */
    uint64_t passed;                      /* last packet whose entries it is known to have passed */
    uint64_t visible;                     /* commands before this one may be read */
    uint64_t taken;                       /* commands before this one were */
    uint64_t due;                         /* packet at which the next one takes effect; UINT64_MAX:
                                             none is visible */
    bool is_unsound;                      /* its head is not what it can be: to be refused */
    bool is_closed;                       /* nothing more is taken: unsound, or its NF is gone */
};

/* Where a packet's entries end in the log, and where its flow is. */
struct mb_handled_packet {
    uint64_t end;
    uint32_t flow_slot; /* 0: none */
    uint32_t reserved;
};

struct mb_commands {
    uint64_t delay;   /* packets */
    uint64_t allowed; /* packets up to this one may be handled */
    uint64_t due;     /* the smallest of the readers' */
    uint64_t off_at_first[2];
    struct mb_switched *switched; /* by slot of the flow table */
    uint64_t recent_mask;
    struct mb_handled_packet *recent; /* by packet number modulo size, which is over `delay` */
    uint32_t readers;
    struct mb_command_reader reader[MB_NFS_MAX];
};

/* What is kept of packets that commands may be about, and of all flows. */
size_t mb_commands_recent_bytes(uint64_t delay);
size_t mb_commands_switched_bytes(uint32_t flow_slots);

/* `handled`: the last packet that the stack handled. NULL: *error is -ENOMEM, or -EINVAL for a
 * switch of an NF without a ring or out of range. */
struct mb_commands *mb_commands_create(uint64_t delay, uint64_t handled, uint32_t flow_slots,
                                       const struct mb_switch *switches, uint32_t count,
                                       const struct mb_command_ring *rings, uint32_t ring_count,
                                       int *error);

/* Replaces switches and rings while nothing is in flight. A ring that was there is read on from
 * where it was. Returns 0, or -EINVAL with everything as it was. */
int mb_commands_renew(struct mb_commands *commands, uint64_t handled,
                      const struct mb_switch *switches, uint32_t count,
                      const struct mb_command_ring *rings, uint32_t ring_count);

/* Adds to `bits` all that NF `nf` switches. */
void mb_commands_add_switched(const struct mb_commands *commands, uint32_t nf, uint64_t bits[2]);

/* A flow that was there before `mb_commands_renew`: what is off stays off, except for bits of
 * `joined`, which are as in a new flow. What a drop by NF `dropped_by` - 1 switches off is off. */
void mb_commands_renew_flow(struct mb_commands *commands, uint32_t flow_slot,
                            const uint64_t joined[2], uint8_t dropped_by);
void mb_commands_destroy(struct mb_commands *commands);

/* Looks at how far the NFs are, and what they have said. `handled`: the last packet of which all
 * entries are in the log. Sets `allowed`. Returns the reader that holds it back most; NULL where
 * nobody does. */
const struct mb_command_reader *mb_commands_learn(struct mb_commands *commands,
                                                  const struct mb_log *log, uint64_t handled);

/* A packet was handled. */
static inline void mb_commands_note(struct mb_commands *commands,
                                    const struct mb_handled *handled) {
    commands->recent[handled->packet & commands->recent_mask] = (struct mb_handled_packet){
        .end = handled->end, .flow_slot = handled->flow != 0 ? handled->flow_slot : 0};
}

/* More entries of packet `packet` have come, up to `end`. */
static inline void mb_commands_extend(struct mb_commands *commands, uint64_t packet, uint64_t end) {
    commands->recent[packet & commands->recent_mask].end = end;
}

/* A direction's first packet: `mask` is whose filters it matches; leaves in it who wants it. */
void mb_commands_begin_direction(struct mb_commands *commands, uint32_t flow_slot, bool is_first,
                                 unsigned direction, uint64_t mask[2]);

/* Obeys what takes effect before packet `packet`, which is the next one. */
void mb_commands_obey(struct mb_stack *stack, uint64_t packet);

/* Nothing more is taken of NF `nf`; what it said and was not obeyed yet is too late. */
void mb_commands_close(struct mb_stack *stack, uint32_t nf);

#endif
