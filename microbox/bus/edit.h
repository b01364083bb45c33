/*
 * What can be said of one packet (struct mb_edit), and twice: by the NF with one entry, by the
 * worker of all entries of a packet.
 */
#ifndef MICROBOX_BUS_EDIT_H
#define MICROBOX_BUS_EDIT_H

#include "microbox/bus/layout.h"

#include <stdbool.h>

enum { MB_REPLACEMENTS_PER_ENTRY = 64 };

/* Fields, tags and values are ones that there are. */
bool mb_edit_is_sound(const struct mb_edit *edit);

/* `more` comes over `kept`, both sound: fields that it has take the place of those before, tags
 * that were pushed before are popped first. Replacements are the caller's. False, with `kept` as it
 * was: more tags than one edit has room for. */
bool mb_edit_merge(struct mb_edit *kept, const struct mb_edit *more);

#endif
