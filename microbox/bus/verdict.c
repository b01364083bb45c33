/*
 * Verdicts: what earlier NFs dropped is passed over; what this NF judges is written down.
 */
#include "microbox/bus/atomic.h"
#include "microbox/bus/reader_private.h"
#include "microbox/events/event_types.h"

/* A verdict replaces only weaker ones. */
static const uint8_t strength[MB_VERDICTS] = {
    [MB_PASS] = 0, [MB_PASS_FLOW] = 1, [MB_DROP] = 2, [MB_DROP_FLOW] = 3, [MB_RESET] = 4};

static bool drops_flow(int verdict) {
    return verdict == MB_DROP_FLOW || verdict == MB_RESET;
}

static bool names(const struct mb_entry *entry, const uint64_t bits[2]) {
    return ((entry->mask[0] & bits[0]) | (entry->mask[1] & bits[1])) != 0;
}

/* An entry at or past gone_at was not judged: the NF's failure mode decides. `judged` in
 * docs/bus-protocol.md. */
static uint8_t verdict_of(const struct mb_reader *reader, const struct mb_peer *peer,
                          uint64_t sequence) {
    if (sequence >= peer->gone_at)
        return reader->log->fails_closed[peer->index] ? MB_DROP : MB_PASS;
    return mb_load_byte_relaxed(&peer->verdicts[sequence & reader->slot_mask]) &
           (uint8_t)~MB_VERDICT_MARKS;
}

static void remember(struct mb_reader *reader, struct mb_flow_set *set, uint64_t flow,
                     uint8_t value) {
    if (mb_flow_set_add(set, flow, value))
        reader->own.counters->flows_forgotten++;
}

/* Later judges come later in `peer`, so the last one found is the last of the chain. */
static int judged_entry(struct mb_reader *reader, const struct mb_entry *entry, uint64_t sequence) {
    int dropped_by = MB_NOBODY;
    uint64_t flow = entry->flow;
    for (uint32_t i = 0; i < reader->peers; i++) {
        const struct mb_peer *peer = &reader->peer[i];
        if (!peer->barrier || peer->verdicts == NULL || !names(entry, peer->mask))
            continue;
        uint8_t verdict = verdict_of(reader, peer, sequence);
        if (verdict == MB_DROP || drops_flow(verdict))
            dropped_by = (int)peer->index;
        if (drops_flow(verdict) && flow != 0)
            remember(reader, &reader->dropped_flows, flow, (uint8_t)peer->index);
    }
    return entry->flags & MB_APART ? MB_NOBODY : dropped_by;
}

int mb_reader_judged(struct mb_reader *reader, uint64_t first, uint64_t end) {
    int dropped_by = MB_NOBODY;
    for (uint64_t sequence = first; sequence < end; sequence++) {
        const struct mb_entry *entry = mb_reader_entry(reader, sequence);
        if (!names(entry, reader->judges))
            continue;
        int by = judged_entry(reader, entry, sequence);
        if (by > dropped_by)
            dropped_by = by;
    }
    return dropped_by;
}

bool mb_reader_is_dropped(const struct mb_reader *reader, const struct mb_entry *entry,
                          int publisher, int dropped_by) {
    if (publisher != MB_NOBODY && entry->type == MB_TYPE_ALERT)
        return false;
    if (dropped_by > publisher && !(entry->flags & MB_APART))
        return true;
    uint64_t flow = entry->flow;
    return flow != 0 && mb_flow_set_find(&reader->dropped_flows, flow) > publisher;
}

static void write_verdict(struct mb_reader *reader, uint64_t sequence, uint8_t verdict) {
    if (reader->own.verdicts == NULL)
        return;
    uint8_t *byte = &reader->own.verdicts[sequence & reader->slot_mask];
    const uint8_t marks = *byte & MB_VERDICT_MARKS;
    if (strength[verdict] > strength[*byte ^ marks])
        mb_store_byte_relaxed(byte, verdict | marks);
}

/* The verdict on a dropped flow is repeated on its later entries, so that who did not see the first
 * one (or forgot it) sees this. What an NF published may be `at` an entry of another flow. */
static void repeat_drop(struct mb_reader *reader, uint64_t flow, uint64_t at, int verdict) {
    if (at >= reader->cursor && mb_reader_entry(reader, at)->flow == flow)
        write_verdict(reader, at, (uint8_t)verdict);
}

bool mb_reader_is_settled(struct mb_reader *reader, const struct mb_entry *entry, uint64_t at) {
    uint64_t flow = entry->flow;
    int verdict = flow != 0 ? mb_flow_set_find(&reader->judged_flows, flow) : MB_FLOW_UNKNOWN;
    if (verdict == MB_FLOW_UNKNOWN)
        return false;
    if (drops_flow(verdict))
        repeat_drop(reader, flow, at, verdict);
    return true;
}

/* First delivery of the last poll past `sequence`. They are in order. Earlier entries may have been
 * given up (publish.c), so they are not looked at. */
static uint32_t first_delivery_after(const struct mb_reader *reader, uint64_t sequence) {
    uint32_t low = 0;
    uint32_t high = reader->delivered;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (reader->deliveries[middle].position > sequence)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Takes back what the last poll delivered of the flow beyond `sequence`. */
static void settle_deliveries(struct mb_reader *reader, uint64_t flow, uint64_t sequence,
                              enum mb_verdict verdict) {
    for (uint32_t i = first_delivery_after(reader, sequence); i < reader->delivered; i++) {
        struct mb_delivery *delivery = &reader->deliveries[i];
        if (delivery->bits == 0 || delivery->entry->flow != flow)
            continue;
        delivery->bits = 0;
        reader->own.counters->settled++;
        if (drops_flow(verdict))
            repeat_drop(reader, flow, delivery->position, verdict);
    }
}

void mb_reader_leave(struct mb_reader *reader, uint64_t flow) {
    if (mb_flow_set_find(&reader->judged_flows, flow) == MB_FLOW_UNKNOWN)
        remember(reader, &reader->judged_flows, flow, MB_PASS_FLOW);
}

static bool may_judge(const struct mb_reader *reader, uint64_t sequence, enum mb_verdict verdict) {
    return (unsigned)verdict < MB_VERDICTS && sequence >= reader->cursor && sequence < reader->next;
}

/* A drop is told only where the verdict stands on an entry of the flow and its packet, so that the
 * gate and later NFs find it before the stack leaves them to it. */
static void tell_stack(struct mb_reader *reader, const struct mb_delivery *judged,
                       enum mb_verdict verdict) {
    const struct mb_entry *at = mb_reader_entry(reader, judged->position);
    if (verdict == MB_PASS_FLOW)
        mb_reader_tell_verdict(reader, judged, MB_COMMAND_UNSUBSCRIBE);
    else if (reader->own.verdicts != NULL && at->flow == judged->entry->flow &&
             !(at->flags & MB_APART))
        mb_reader_tell_verdict(reader, judged, MB_COMMAND_DROP_FLOW);
}

/* On the delivery's flow, from its entry on. */
static void judge_flow(struct mb_reader *reader, const struct mb_delivery *judged,
                       enum mb_verdict verdict) {
    const uint64_t flow = judged->entry->flow;
    if (flow == 0 || (verdict != MB_PASS_FLOW && !drops_flow(verdict)))
        return;
    const int before = mb_flow_set_find(&reader->judged_flows, flow);
    if (before != MB_FLOW_UNKNOWN && strength[before] >= strength[verdict])
        return;
    remember(reader, &reader->judged_flows, flow, (uint8_t)verdict);
    settle_deliveries(reader, flow, judged->position, verdict);
    tell_stack(reader, judged, verdict);
}

/* A retransmission would bring the bytes back. */
static enum mb_verdict on_type(const struct mb_reader *reader, uint16_t type,
                               enum mb_verdict verdict) {
    const bool is_stream = type < MB_TYPES_MAX && reader->streams[type / 64] >> type % 64 & 1;
    return verdict == MB_DROP && is_stream ? MB_DROP_FLOW : verdict;
}

enum mb_verdict mb_reader_judge(struct mb_reader *reader, uint64_t sequence,
                                enum mb_verdict verdict) {
    if (!may_judge(reader, sequence, verdict))
        return MB_PASS;
    const struct mb_entry *entry = mb_reader_entry(reader, sequence);
    verdict = on_type(reader, entry->type, verdict);
    reader->own.counters->verdicts[verdict]++;
    write_verdict(reader, sequence, (uint8_t)verdict);
    judge_flow(reader, &(struct mb_delivery){.entry = entry, .position = sequence}, verdict);
    return verdict;
}

enum mb_verdict mb_reader_judge_delivery(struct mb_reader *reader,
                                         const struct mb_delivery *delivery,
                                         enum mb_verdict verdict) {
    const uint64_t sequence = delivery->position;
    if (!may_judge(reader, sequence, verdict))
        return MB_PASS;
    const uint64_t flow = delivery->entry->flow;
    verdict = on_type(reader, delivery->entry->type, verdict);
    reader->own.counters->verdicts[verdict]++;
    if (!drops_flow(verdict) || mb_reader_entry(reader, sequence)->flow == flow)
        write_verdict(reader, sequence, (uint8_t)verdict);
    judge_flow(reader, delivery, verdict);
    return verdict;
}
