/*
 * What the stack does for those who subscribed: which flows it tells apart, what it keeps, whose
 * timers it fires, whose commands it takes. Worked out when NFs subscribe, at the start and anew
 * while packets flow.
 */
#ifndef MICROBOX_STACK_SUBSCRIBING_H
#define MICROBOX_STACK_SUBSCRIBING_H

#include "microbox/stack/stack.h"
#include "microbox/stack/subscriptions.h"

/* Which transports' flows are tracked, whether fragments are put together, and how much of a flow
 * is fetched ahead. */
void mb_decide_what_to_track(struct mb_stack *stack);

/* Where somebody compares copies of bytes, they are kept. Returns 0 or -ENOMEM. */
int mb_keep_history_if_wanted(struct mb_stack *stack, const struct mb_subscriptions *subscriptions);

/* Replaces all timers. A period that there was goes on as it did. Returns 0, or -errno with a
 * sentence in `error` and the timers as they were. */
int mb_take_timers(struct mb_stack *stack, const struct mb_timer_subscription *timers,
                   uint32_t count, char error[MB_ERROR_SIZE]);

/* From now on a system.checkpoint comes each `packets` packets. */
void mb_set_checkpoint(struct mb_stack *stack, uint64_t packets);

#endif
