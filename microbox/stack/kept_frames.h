/*
 * What the stack still reads of frames whose packets were handled long ago, for who would use their
 * memory again: segments and fragments that wait for others, and copies that are compared with.
 */
#ifndef MICROBOX_STACK_KEPT_FRAMES_H
#define MICROBOX_STACK_KEPT_FRAMES_H

#include "microbox/io/window.h"

struct mb_stack;

/* Adds the frames of segments and fragments that wait, as ranges of the frame pool. */
void mb_stack_kept_frames(const struct mb_stack *stack, struct mb_ranges *kept);

/* Of what has been given out, copies are compared with what lies in `length` bytes from `first` on
 * of a ring of `size` bytes, and with nothing else from now on: what would have been counts as
 * limit.compared. */
void mb_stack_forget_copies(struct mb_stack *stack, uint64_t size, uint64_t first, uint64_t length);

/* All that waits for bytes before it is given up, as if it had waited for its time. Call until
 * true; commit between calls. */
bool mb_stack_give_up_waiting(struct mb_stack *stack);

#endif
