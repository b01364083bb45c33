/*
 * Own commands: what this NF says to the stack about flows, and what it leaves out itself until the
 * stack does (layout.h, "Commands").
 *
 * The ring is also the memory of what was unsubscribed from: after `delay` packets the stack names
 * this NF no more, and just then the record's slot may be used again. So nothing is ever forgotten
 * too early, and nothing has to be cleaned up. Records of flows whose numbers fall into one bucket
 * are a chain, newest first; `packet` never grows along it.
 */
#include "microbox/bus/atomic.h"
#include "microbox/bus/reader_private.h"
#include "microbox/events/event_types.h"

#include <errno.h>
#include <stdlib.h>

enum { BOTH_SIDES = 3 };

struct mb_command_index {
    uint64_t delay;
    uint64_t slot_mask;
    uint64_t head;    /* sequence number of the next command */
    uint64_t *bucket; /* 1 + sequence number of the newest command, by flow; 0: none */
    uint64_t *before; /* likewise of the next older one, by slot */
};

int mb_command_index_create(struct mb_reader *reader, uint64_t delay) {
    const uint64_t slots = reader->geometry.command_slots;
    struct mb_command_index *index = calloc(1, sizeof *index);
    if (index == NULL)
        return -ENOMEM;
    reader->commands = index;
    index->delay = delay;
    index->slot_mask = slots - 1;
    index->bucket = calloc(slots, sizeof *index->bucket);
    index->before = calloc(slots, sizeof *index->before);
    return index->bucket != NULL && index->before != NULL ? 0 : -ENOMEM;
}

void mb_command_index_destroy(struct mb_reader *reader) {
    if (reader->commands == NULL)
        return;
    free(reader->commands->bucket);
    free(reader->commands->before);
    free(reader->commands);
}

/* Fibonacci hashing; the numbers are given out by the stack, so nobody can choose collisions. */
static uint64_t bucket_of(const struct mb_command_index *index, uint64_t flow) {
    return (flow * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & index->slot_mask;
}

static const struct mb_command *command_at(const struct mb_reader *reader, uint64_t sequence) {
    return &reader->own.commands[sequence & reader->commands->slot_mask];
}

static bool has_taken_effect(const struct mb_command_index *index, const struct mb_command *command,
                             uint64_t packet) {
    return packet - command->packet >= index->delay;
}

/* What `flow` was unsubscribed from by commands that the stack has not obeyed yet when it handles
 * `packet`. */
static uint32_t switched_off(const struct mb_reader *reader, uint64_t flow, unsigned side,
                             uint64_t packet) {
    const struct mb_command_index *index = reader->commands;
    uint32_t off = 0;
    for (uint64_t link = index->bucket[bucket_of(index, flow)]; link != 0;) {
        const uint64_t sequence = link - 1;
        if (index->head - sequence > index->slot_mask + 1)
            break; /* its slot has been used again */
        const struct mb_command *command = command_at(reader, sequence);
        if (has_taken_effect(index, command, packet))
            break;
        if (command->flow == flow && command->kind != MB_COMMAND_SUBSCRIBE &&
            command->sides >> side & 1)
            off |= command->subscriptions;
        link = index->before[sequence & index->slot_mask];
    }
    return off;
}

/* Who wants either side gets the end of a flow. */
static bool has_no_direction(uint16_t type) {
    return type == MB_TYPE_TCP_END || type == MB_TYPE_UDP_END || type == MB_TYPE_ICMP_END ||
           type == MB_TYPE_FLOW_END;
}

uint32_t mb_reader_still_wanted(const struct mb_reader *reader, const struct mb_entry *entry,
                                uint64_t at, uint32_t bits) {
    if (reader->commands == NULL || reader->commands->head == 0 || entry->flow == 0)
        return bits;
    const uint64_t packet = mb_reader_entry(reader, at)->packet;
    uint32_t off = switched_off(reader, entry->flow, entry->flags & MB_FROM_RESPONDER, packet);
    if (off != 0 && has_no_direction(entry->type))
        off &= switched_off(reader, entry->flow, 1, packet);
    return bits & ~off;
}

uint32_t mb_reader_wanted(const struct mb_reader *reader, const struct mb_delivery *delivery) {
    return mb_reader_still_wanted(reader, delivery->entry, delivery->position, delivery->bits);
}

static bool is_possible(const struct mb_reader *reader, enum mb_command_kind kind,
                        uint32_t subscriptions, unsigned sides) {
    if (kind != MB_COMMAND_SUBSCRIBE && kind != MB_COMMAND_UNSUBSCRIBE)
        return false;
    return subscriptions != 0 && (subscriptions & ~reader->switchable) == 0 && sides != 0 &&
           sides <= BOTH_SIDES;
}

/* Nothing is left that could bring an event of the flow. What other NFs publish about it is not the
 * stack's to leave out. */
static bool is_farewell(const struct mb_reader *reader, enum mb_command_kind kind,
                        uint32_t subscriptions, unsigned sides) {
    return kind == MB_COMMAND_UNSUBSCRIBE && sides == BOTH_SIDES &&
           (reader->delivering & ~subscriptions) == 0;
}

static bool reads_nfs(const struct mb_reader *reader) {
    for (uint32_t i = 0; i < reader->peers; i++)
        if (reader->peer[i].publishes)
            return true;
    return false;
}

static void put(struct mb_reader *reader, const struct mb_command *command) {
    struct mb_command_index *index = reader->commands;
    const uint64_t slot = index->head & index->slot_mask;
    uint64_t *bucket = &index->bucket[bucket_of(index, command->flow)];
    reader->own.commands[slot] = *command;
    index->before[slot] = *bucket;
    *bucket = ++index->head;
    reader->own.counters->commands++;
    mb_store_release(&reader->own.page->command_head, index->head);
}

static bool has_room(const struct mb_reader *reader, uint64_t packet) {
    const struct mb_command_index *index = reader->commands;
    return index->head <= index->slot_mask ||
           has_taken_effect(index, command_at(reader, index->head), packet);
}

/* What NFs publish about the flow is kept from this NF by the verdict itself. */
void mb_reader_tell_verdict(struct mb_reader *reader, const struct mb_delivery *judged,
                            enum mb_command_kind kind) {
    if (reader->commands == NULL || reader->switchable == 0)
        return;
    const uint64_t packet = mb_reader_entry(reader, judged->position)->packet;
    if (!has_room(reader, packet)) {
        reader->own.counters->verdicts_untold++;
        return;
    }
    put(reader, &(struct mb_command){
                    .flow = judged->entry->flow,
                    .packet = packet,
                    .seen = judged->entry->packet,
                    .subscriptions = reader->switchable,
                    .kind = (uint16_t)kind,
                    .sides = BOTH_SIDES,
                });
}

int mb_reader_command(struct mb_reader *reader, const struct mb_delivery *cause,
                      enum mb_command_kind kind, uint32_t subscriptions, unsigned sides) {
    if (reader->commands == NULL)
        return -EPERM;
    if (!is_possible(reader, kind, subscriptions, sides))
        return -EINVAL;
    if (cause->entry->flow == 0)
        return -ENOENT;
    const uint64_t packet = mb_reader_entry(reader, cause->position)->packet;
    if (!has_room(reader, packet))
        return -ENOBUFS;
    put(reader, &(struct mb_command){
                    .flow = cause->entry->flow,
                    .packet = packet,
                    .seen = cause->entry->packet,
                    .subscriptions = subscriptions,
                    .kind = (uint16_t)kind,
                    .sides = (uint16_t)sides,
                });
    if (reads_nfs(reader) && is_farewell(reader, kind, subscriptions, sides))
        mb_reader_leave(reader, cause->entry->flow);
    return 0;
}
