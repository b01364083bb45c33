/*
 * What a stack does where its configuration does not say.
 */
#ifndef MICROBOX_STACK_DEFAULTS_H
#define MICROBOX_STACK_DEFAULTS_H

#include "microbox/stack/stack.h"

/* Limits, timeouts and judgements that are 0, as stack.h says of each; those that are past what a
 * table can have are cut down to it. */
void mb_stack_fill_defaults(struct mb_stack_config *config);

#endif
