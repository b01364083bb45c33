/*
 * Translations of whole flows: what their packets bear in the place of their addresses and ports
 * when they leave, in both directions, from the packet on that an NF said it at.
 *
 * A translation is of the flow's two ends: wherever the originator's name stands, as source of what
 * it sends, as destination of what it gets, or in a packet that an ICMP error quotes (RFC 5508),
 * the new one does. So the output is what a capture behind the translating box would show.
 *
 * NFs of a chain may each write another part; where two write the same, the later one of the chain
 * has the last word, whichever said it first.
 */
#ifndef MICROBOX_STACK_EDITS_TRANSLATION_H
#define MICROBOX_STACK_EDITS_TRANSLATION_H

#include "microbox/bus/layout.h"
#include "microbox/stack/decode/decode.h"

struct mb_translations;

/* What so many take. */
size_t mb_translations_bytes(uint32_t flow_slots);

/* One a slot of the flow table; what is not used takes no memory. `decoder` is the stack's. NULL
 * where there is no memory. */
struct mb_translations *mb_translations_create(uint32_t flow_slots,
                                               const struct mb_decoder *decoder);
void mb_translations_destroy(struct mb_translations *translations);

/* A packet as it leaves. */
struct mb_leaving {
    const struct mb_frame *frame;
    const uint8_t *bytes;
    uint64_t flow; /* 0: none */
    uint32_t flow_slot;
    uint8_t direction; /* of the packet in its flow */
};

/* Takes what NF `nf` left with the packet, in memory of its own: each word is read once. False
 * where it is not sound: of another flow, without a field, or with an address of another version
 * than the packet's. */
bool mb_translations_take(struct mb_translations *translations, const struct mb_leaving *packet,
                          uint32_t nf, const struct mb_rewrite *foreign);

/* True where the packet's flow is translated. */
bool mb_translations_know(const struct mb_translations *translations, uint64_t flow,
                          uint32_t flow_slot);

/* Writes into `copy`, which holds the packet's bytes, what the translation of its flow says. */
void mb_translations_apply(struct mb_translations *translations, const struct mb_leaving *packet,
                           uint8_t *copy);

#endif
