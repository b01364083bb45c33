/*
 * What the runner needs of a poll's deliveries, in arrays that Python reads at once: a call for
 * each event would cost more than the event.
 */
#ifndef MICROBOX_FFI_GATHER_H
#define MICROBOX_FFI_GATHER_H

#include "microbox/bus/reader.h"

/* The index of the first delivery of this type, or `count`. */
uint32_t mb_find_type(const struct mb_delivery *deliveries, uint32_t count, uint16_t type);

/* Indexes of the deliveries that match one of `bits` and whose type is in `types` (512 bits).
 * Returns how many; *from_nfs says whether an NF's event is among them. */
uint32_t mb_select(const struct mb_delivery *deliveries, uint32_t count, uint32_t bits,
                   const uint64_t *types, uint32_t *indexes, bool *from_nfs);

/* The slots in the worker's log that these deliveries lie in; none may be an NF's event. Returns
 * the first slot of the log. */
const struct mb_entry *mb_gather_slots(const struct mb_delivery *deliveries,
                                       const uint32_t *indexes, uint32_t count, uint64_t log_slots,
                                       uint32_t *slots);

/* Copies the entries of these deliveries. */
void mb_gather_copies(const struct mb_delivery *deliveries, const uint32_t *indexes, uint32_t count,
                      struct mb_entry *copies);

/* What payloads of one type take over from their causes: the first `size` bytes; where
 * `is_turned`, and the cause came from the responder, with source and destination exchanged, since
 * a packet's five-tuple is as sent and a flow's as opened. */
struct mb_inheritance {
    uint16_t size;
    bool is_turned;
};

/* Begins `count` payloads of `stride` bytes each with what they take over, by number of the cause's
 * type. `causes`: indexes of deliveries. */
void mb_inherit(const struct mb_delivery *deliveries, const uint32_t *causes, uint32_t count,
                const struct mb_inheritance *of_type, uint8_t *payloads, uint32_t stride);

#endif
