/*
 * What NFs say of a packet: their verdicts on its entries, and which of them counts.
 */
#include "microbox/stack/gate_private.h"

#include "microbox/bus/atomic.h"

/* What NF `index` says of an entry: the reason to drop its packet, or none. */
static enum mb_reason verdict_on(struct mb_gate *gate, unsigned index, uint64_t sequence) {
    struct mb_judge *judge = &gate->judge[index];
    const uint8_t byte = mb_load_byte_relaxed(&judge->verdicts[sequence & gate->slot_mask]);
    const unsigned verdict = byte & ~MB_VERDICT_MARKS;
    if (verdict >= MB_VERDICTS && judge->unknown_verdict == 0)
        judge->unknown_verdict = byte;
    switch (verdict) {
    case MB_DROP:
        return MB_REASON_VERDICT_DROP;
    case MB_DROP_FLOW:
        return MB_REASON_VERDICT_DROP_FLOW;
    case MB_RESET:
        return MB_REASON_VERDICT_RESET;
    default:
        return MB_REASON_NONE;
    }
}

unsigned mb_gate_judgement_strength(enum mb_reason reason) {
    switch (reason) {
    case MB_REASON_VERDICT_RESET:
        return 4;
    case MB_REASON_VERDICT_DROP_FLOW:
        return 3;
    case MB_REASON_VERDICT_DROP:
        return 2;
    case MB_REASON_NF_FAILED_CLOSED:
        return 1;
    default:
        return 0;
    }
}

struct mb_gate_judgement mb_gate_stronger_judgement(struct mb_gate_judgement one,
                                                    struct mb_gate_judgement other) {
    const unsigned first = mb_gate_judgement_strength(one.reason);
    const unsigned second = mb_gate_judgement_strength(other.reason);
    if (first == second)
        return one.by <= other.by ? one : other;
    return first > second ? one : other;
}

struct mb_gate_judgement mb_gate_judge_range(struct mb_gate *gate, const uint64_t *named,
                                             uint64_t first, uint64_t end, uint64_t *unjudged) {
    struct mb_gate_judgement judgement = {MB_REASON_NONE, MB_GATE_NOBODY};
    for (uint64_t sequence = first; sequence < end; sequence++) {
        for (uint64_t rest = named[sequence & gate->slot_mask]; rest; rest &= rest - 1) {
            const unsigned index = (unsigned)__builtin_ctzll(rest);
            const bool is_gone = sequence >= gate->config.log->page->gone_at[index];
            struct mb_gate_judgement one = {MB_REASON_NONE, index};
            if (!is_gone)
                one.reason = verdict_on(gate, index, sequence);
            else if (gate->judge[index].fails_closed)
                one.reason = MB_REASON_NF_FAILED_CLOSED;
            if (unjudged != NULL)
                *unjudged |= is_gone ? UINT64_C(1) << index : 0;
            if (one.reason != MB_REASON_NONE)
                judgement = mb_gate_stronger_judgement(judgement, one);
        }
    }
    return judgement;
}
