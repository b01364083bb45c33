/*
 * Event types that users derive from the stack's own. Their entries follow the one that they are
 * derived from, where its condition holds and somebody wants them.
 *
 * An entry can be judged only when its publisher has filled it. So it stays pending until the next
 * one is claimed or its packet ends; nobody can read it before that, and nothing is claimed between
 * the two. What is wanted only for the sake of derived types is not written to the log: it is
 * filled and judged in a place of its own.
 *
 * The log has room for MB_ENTRIES_PER_PACKET entries of one packet, and derived ones take none from
 * the stack's own: one that would is not published, and counted (limit.derived). That takes a
 * packet that closes a hole before hundreds of held segments which several types are derived from,
 * each; or, since fragments come before the flow that they may end, many types derived from
 * fragments while hundreds of segments are held.
 *
 * Counters of conditions are kept by flow slot. A slot that has changed hands begins at 0.
 */
#ifndef MICROBOX_STACK_CONDITIONS_DERIVED_H
#define MICROBOX_STACK_CONDITIONS_DERIVED_H

#include "microbox/stack/flows/flow.h"
#include "microbox/stack/stack.h"

enum { MB_DERIVED_COUNTERS_MAX = 32 /* of all types together, for each flow */ };

struct mb_derived;
struct mb_stack;

/* What so many counters take, of all types together. */
size_t mb_derived_bytes(uint32_t counters, uint32_t flows_max);

/* Checks all types and programs of the configuration; its limits are filled in. NULL is made of
 * none. Returns 0, or -errno with a sentence in `error`. */
int mb_derived_create(struct mb_derived **derived, const struct mb_stack_config *config,
                      char error[MB_ERROR_SIZE]);
/* `derived` may be NULL. */
void mb_derived_destroy(struct mb_derived *derived);

/* True where a condition counts, or asks something of the flow, so that flows have to be told
 * apart. `derived` may be NULL. */
bool mb_derived_needs_flows(const struct mb_derived *derived);

/* An entry for an event that the bits of a mask, `low` and `high`, want or want something derived
 * from, to be filled by the caller: in the log, or not. `flow` may be NULL. By value: an array
 * would have to be in memory wherever something is published, whether types are derived or not. */
struct mb_entry *mb_derived_claim(struct mb_stack *stack, const struct mb_flow_entry *flow,
                                  uint64_t low, uint64_t high, uint16_t type);

/* Publishes what is derived from the last entry, if that was not done yet. */
void mb_derived_publish(struct mb_stack *stack);

/* Likewise; the packet is done. */
void mb_derived_end_packet(struct mb_stack *stack);

#endif
