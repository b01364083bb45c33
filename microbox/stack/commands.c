#include "microbox/stack/commands.h"

#include "microbox/bus/atomic.h"
#include "microbox/stack/core.h"
#include "microbox/stack/flows/flow_lifecycle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t NEVER = UINT64_MAX;

enum { BOTH_SIDES = 3, WORDS_OF_COMMAND = sizeof(struct mb_command) / sizeof(uint64_t) };

_Static_assert(sizeof(struct mb_command) % sizeof(uint64_t) == 0, "a command is copied by words");

/* --- making --- */

static struct mb_command_reader *reader_of(struct mb_commands *commands, uint32_t nf) {
    for (uint32_t i = 0; i < commands->readers; i++)
        if (commands->reader[i].ring.nf == nf)
            return &commands->reader[i];
    return NULL;
}

static bool take_switch(struct mb_commands *commands, const struct mb_switch *one) {
    struct mb_command_reader *reader = reader_of(commands, one->nf);
    if (reader == NULL || one->subscription >= MB_SWITCHES_PER_NF)
        return false;
    reader->may_switch |= UINT32_C(1) << one->subscription;
    for (unsigned half = 0; half < 2; half++) {
        reader->mask[one->subscription][half] = one->mask[half];
        reader->drops[half] |= one->drops[half];
        if (one->is_off_at_first)
            commands->off_at_first[half] |= one->mask[half];
    }
    return true;
}

/* As it was before, where that ring was read before. */
static struct mb_command_reader reader_for(struct mb_commands *before,
                                           const struct mb_command_ring *ring, uint64_t handled) {
    struct mb_command_reader reader = {.ring = *ring, .passed = handled, .due = NEVER};
    struct mb_command_reader *old = before != NULL ? reader_of(before, ring->nf) : NULL;
    if (old == NULL || old->ring.page != ring->page)
        return reader;
    reader = *old;
    reader.ring = *ring;
    reader.may_switch = 0;
    reader.drops[0] = 0;
    reader.drops[1] = 0;
    return reader;
}

static bool take_all(struct mb_commands *commands, struct mb_commands *before, uint64_t handled,
                     const struct mb_switch *switches, uint32_t count,
                     const struct mb_command_ring *rings, uint32_t ring_count) {
    if (ring_count > MB_NFS_MAX)
        return false;
    for (uint32_t i = 0; i < ring_count; i++)
        commands->reader[i] = reader_for(before, &rings[i], handled);
    commands->readers = ring_count;
    for (uint32_t i = 0; i < count; i++)
        if (!take_switch(commands, &switches[i]))
            return false;
    return true;
}

/* Twice the delay: a command may be about the flow of a packet before the one that caused it. */
static uint64_t recent_size(uint64_t delay) {
    uint64_t size = 1;
    while (size < 2 * delay)
        size *= 2;
    return size;
}

size_t mb_commands_recent_bytes(uint64_t delay) {
    return recent_size(delay) * sizeof(struct mb_handled_packet);
}

size_t mb_commands_switched_bytes(uint32_t flow_slots) {
    return flow_slots * sizeof(struct mb_switched);
}

static bool make_tables(struct mb_commands *commands, uint32_t flow_slots) {
    commands->recent_mask = recent_size(commands->delay) - 1;
    commands->recent = calloc(1, mb_commands_recent_bytes(commands->delay));
    /* Not cleared: its pages are touched as flows come. */
    commands->switched = aligned_alloc(MB_CACHE_LINE, mb_commands_switched_bytes(flow_slots));
    return commands->recent != NULL && commands->switched != NULL;
}

struct mb_commands *mb_commands_create(uint64_t delay, uint64_t handled, uint32_t flow_slots,
                                       const struct mb_switch *switches, uint32_t count,
                                       const struct mb_command_ring *rings, uint32_t ring_count,
                                       int *error) {
    *error = -ENOMEM;
    struct mb_commands *commands = calloc(1, sizeof *commands);
    if (commands == NULL)
        return NULL;
    commands->delay = delay;
    commands->allowed = handled + delay;
    commands->due = NEVER;
    if (!take_all(commands, NULL, handled, switches, count, rings, ring_count))
        *error = -EINVAL;
    else if (make_tables(commands, flow_slots))
        return commands;
    mb_commands_destroy(commands);
    return NULL;
}

int mb_commands_renew(struct mb_commands *commands, uint64_t handled,
                      const struct mb_switch *switches, uint32_t count,
                      const struct mb_command_ring *rings, uint32_t ring_count) {
    struct mb_commands before = *commands;
    commands->off_at_first[0] = 0;
    commands->off_at_first[1] = 0;
    if (take_all(commands, &before, handled, switches, count, rings, ring_count))
        return 0;
    *commands = before;
    return -EINVAL;
}

void mb_commands_destroy(struct mb_commands *commands) {
    if (commands == NULL)
        return;
    free(commands->recent);
    free(commands->switched);
    free(commands);
}

/* --- what may be handled --- */

static void learn_passed(const struct mb_commands *commands, struct mb_command_reader *reader,
                         const struct mb_log *log, uint64_t handled) {
    const uint64_t position = mb_log_passed(log, reader->ring.nf);
    while (reader->passed < handled &&
           commands->recent[(reader->passed + 1) & commands->recent_mask].end <= position)
        reader->passed++;
}

static void close_reader(struct mb_command_reader *reader) {
    reader->taken = reader->visible;
    reader->due = NEVER;
    reader->is_closed = true;
}

static void refuse(struct mb_stack *stack, struct mb_command_reader *reader) {
    stack->counters.commands_refused += reader->visible - reader->taken;
    close_reader(reader);
}

/* When the next command takes effect. One that the packet after `handled` comes too late for, or
 * that a packet caused which nobody has seen, is looked at with that packet, and refused. */
static void look_at_next(const struct mb_commands *commands, struct mb_command_reader *reader) {
    reader->due = NEVER;
    if (reader->is_closed || reader->taken == reader->visible)
        return;
    const struct mb_command *next = &reader->ring.slots[reader->taken & (reader->ring.count - 1)];
    const uint64_t packet = mb_load_relaxed(&next->packet);
    reader->due = packet < NEVER - commands->delay ? packet + commands->delay : 0;
}

/* The head goes only forward, and never leaves behind what was not taken yet. */
static void learn_head(struct mb_commands *commands, struct mb_command_reader *reader) {
    if (reader->is_closed)
        return;
    const uint64_t head = mb_load_acquire(&reader->ring.page->command_head);
    if (head == reader->visible)
        return;
    reader->is_unsound |= head < reader->visible || head - reader->taken > reader->ring.count;
    if (!reader->is_unsound)
        reader->visible = head;
    look_at_next(commands, reader);
    if (reader->is_unsound)
        reader->due = 0;
    if (reader->due < commands->due)
        commands->due = reader->due;
}

/* The position comes before the head: an NF says what it has to say of a packet before it passes
 * it. */
const struct mb_command_reader *mb_commands_learn(struct mb_commands *commands,
                                                  const struct mb_log *log, uint64_t handled) {
    const struct mb_command_reader *slowest = NULL;
    uint64_t passed = handled;
    for (uint32_t i = 0; i < commands->readers; i++) {
        struct mb_command_reader *reader = &commands->reader[i];
        learn_passed(commands, reader, log, handled);
        learn_head(commands, reader);
        if (reader->passed >= passed)
            continue;
        passed = reader->passed;
        slowest = reader;
    }
    commands->allowed = passed + commands->delay;
    return slowest;
}

/* --- obeying --- */

void mb_commands_begin_direction(struct mb_commands *commands, uint32_t flow_slot, bool is_first,
                                 unsigned direction, uint64_t mask[2]) {
    struct mb_switched *switched = &commands->switched[flow_slot];
    for (unsigned half = 0; half < 2; half++) {
        if (is_first) {
            switched->off[0][half] = commands->off_at_first[half];
            switched->off[1][half] = commands->off_at_first[half];
        }
        switched->matched[direction][half] = mask[half];
        mask[half] &= ~switched->off[direction][half];
    }
}

void mb_commands_add_switched(const struct mb_commands *commands, uint32_t nf, uint64_t bits[2]) {
    for (uint32_t i = 0; i < commands->readers; i++) {
        const struct mb_command_reader *reader = &commands->reader[i];
        if (reader->ring.nf != nf)
            continue;
        for (uint32_t left = reader->may_switch; left != 0; left &= left - 1) {
            const uint64_t *mask = reader->mask[__builtin_ctz(left)];
            bits[0] |= mask[0];
            bits[1] |= mask[1];
        }
    }
}

void mb_commands_renew_flow(struct mb_commands *commands, uint32_t flow_slot,
                            const uint64_t joined[2], uint8_t dropped_by) {
    static const uint64_t nothing[2] = {0, 0};
    struct mb_switched *switched = &commands->switched[flow_slot];
    const struct mb_command_reader *dropper =
        dropped_by != 0 ? reader_of(commands, dropped_by - 1u) : NULL;
    const uint64_t *drops = dropper != NULL ? dropper->drops : nothing;
    for (unsigned direction = 0; direction < 2; direction++) {
        for (unsigned half = 0; half < 2; half++) {
            uint64_t *off = &switched->off[direction][half];
            *off = (*off & ~joined[half]) | (commands->off_at_first[half] & joined[half]) |
                   drops[half];
        }
    }
}

static void copy_command(struct mb_command *copy, const struct mb_command *slot) {
    uint64_t words[WORDS_OF_COMMAND];
    for (unsigned i = 0; i < WORDS_OF_COMMAND; i++)
        words[i] = mb_load_relaxed((const uint64_t *)slot + i);
    memcpy(copy, words, sizeof *copy);
}

static bool is_sound(const struct mb_commands *commands, const struct mb_command_reader *reader,
                     const struct mb_command *command, uint64_t packet) {
    return !reader->is_unsound && command->packet == packet - commands->delay &&
           command->flow != 0 && command->kind > 0 && command->kind < MB_COMMAND_KINDS &&
           (command->kind != MB_COMMAND_DROP_FLOW || reader->ring.may_drop) && command->sides > 0 &&
           command->sides <= BOTH_SIDES && command->subscriptions != 0 &&
           (command->subscriptions & ~reader->may_switch) == 0;
}

/* The flow, where it is still there and has not ended. */
static struct mb_flow_entry *flow_of(const struct mb_stack *stack, const struct mb_command *command,
                                     uint64_t packet) {
    const struct mb_commands *commands = stack->commands;
    if (command->seen >= packet || packet - command->seen > commands->recent_mask)
        return NULL;
    const uint32_t slot = commands->recent[command->seen & commands->recent_mask].flow_slot;
    struct mb_flow_entry *flow = &stack->table.flows[slot];
    return flow->number == command->flow && !(flow->marks & MB_FLOW_ENDED) ? flow : NULL;
}

static void mask_of(const struct mb_command_reader *reader, uint32_t subscriptions,
                    uint64_t mask[2]) {
    mask[0] = 0;
    mask[1] = 0;
    for (; subscriptions != 0; subscriptions &= subscriptions - 1) {
        const uint64_t *more = reader->mask[__builtin_ctz(subscriptions)];
        mask[0] |= more[0];
        mask[1] |= more[1];
    }
}

static void switch_side(struct mb_switched *switched, struct mb_flow_entry *flow, unsigned side,
                        const uint64_t mask[2], bool is_on) {
    for (unsigned half = 0; half < 2; half++) {
        uint64_t *off = &switched->off[side][half];
        *off = is_on ? *off & ~mask[half] : *off | mask[half];
        if (flow->marks & MB_FLOW_SEEN << side)
            flow->mask[side][half] = switched->matched[side][half] & ~*off;
    }
}

static void obey(struct mb_stack *stack, const struct mb_command_reader *reader,
                 const struct mb_command *command, struct mb_flow_entry *flow) {
    uint64_t mask[2];
    mask_of(reader, command->subscriptions, mask);
    if (command->kind == MB_COMMAND_DROP_FLOW && !reader->ring.is_shadow) {
        mask[0] |= reader->drops[0];
        mask[1] |= reader->drops[1];
        flow->dropped_by = (uint8_t)(1 + reader->ring.nf);
    }
    struct mb_switched *switched = &stack->commands->switched[flow - stack->table.flows];
    for (unsigned side = 0; side < 2; side++)
        if (command->sides >> side & 1)
            switch_side(switched, flow, side, mask, command->kind == MB_COMMAND_SUBSCRIBE);
    stack->counters.module_changes += mb_flow_work_out_modules(stack, flow);
}

/* Takes the next command of one NF. */
static void take(struct mb_stack *stack, struct mb_command_reader *reader, uint64_t packet) {
    struct mb_command command;
    copy_command(&command, &reader->ring.slots[reader->taken & (reader->ring.count - 1)]);
    if (!is_sound(stack->commands, reader, &command, packet)) {
        refuse(stack, reader);
        return;
    }
    reader->taken++;
    look_at_next(stack->commands, reader);
    struct mb_flow_entry *flow = flow_of(stack, &command, packet);
    if (flow == NULL) {
        stack->counters.commands_late++;
        return;
    }
    stack->counters.commands_obeyed++;
    obey(stack, reader, &command, flow);
}

void mb_commands_obey(struct mb_stack *stack, uint64_t packet) {
    struct mb_commands *commands = stack->commands;
    uint64_t due = NEVER;
    for (uint32_t i = 0; i < commands->readers; i++) {
        struct mb_command_reader *reader = &commands->reader[i];
        while (reader->due <= packet)
            take(stack, reader, packet);
        if (reader->due < due)
            due = reader->due;
    }
    commands->due = due;
}

void mb_commands_close(struct mb_stack *stack, uint32_t nf) {
    if (stack->commands == NULL)
        return;
    struct mb_command_reader *reader = reader_of(stack->commands, nf);
    if (reader == NULL || reader->is_closed)
        return;
    learn_head(stack->commands, reader);
    stack->counters.commands_late += reader->visible - reader->taken;
    close_reader(reader);
}
