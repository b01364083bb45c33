/*
 * Own rewrites of flows (layout.h, "Rewrites"): each lies beside the verdict on its entry. The bus
 * knows no protocols: whether a flow can bear what is written is the worker's to say.
 */
#include "microbox/bus/atomic.h"
#include "microbox/bus/reader_private.h"

#include <errno.h>
#include <string.h>

static void merge(struct mb_rewrite *kept, const struct mb_rewrite *more) {
    if (more->fields & MB_REWRITE_SOURCE)
        memcpy(kept->source, more->source, sizeof kept->source);
    if (more->fields & MB_REWRITE_DESTINATION)
        memcpy(kept->destination, more->destination, sizeof kept->destination);
    if (more->fields & MB_REWRITE_SOURCE_PORT)
        kept->source_port = more->source_port;
    if (more->fields & MB_REWRITE_DESTINATION_PORT)
        kept->destination_port = more->destination_port;
    kept->fields |= more->fields;
}

int mb_reader_rewrite(struct mb_reader *reader, const struct mb_delivery *cause,
                      const struct mb_rewrite *rewrite) {
    if (reader->own.rewrites == NULL)
        return -EPERM;
    const struct mb_entry *at = mb_reader_entry(reader, cause->position);
    const uint64_t flow = cause->entry->flow;
    if (flow == 0 || (at->flags | cause->entry->flags) & MB_APART)
        return -ENOENT;
    if (at->flow != flow)
        return -EXDEV;
    if (rewrite->fields == 0 || (rewrite->fields & ~(uint32_t)MB_REWRITE_FIELDS) != 0 ||
        cause->position < reader->cursor || cause->position >= reader->next)
        return -EINVAL;
    const uint64_t slot = cause->position & reader->slot_mask;
    struct mb_rewrite *kept = &reader->own.rewrites[slot];
    uint8_t *verdict = &reader->own.verdicts[slot];
    if (!(*verdict & MB_LEFT_REWRITE)) {
        *kept = (struct mb_rewrite){.flow = flow};
        reader->own.counters->rewrites++;
    }
    merge(kept, rewrite);
    mb_store_byte_relaxed(verdict, *verdict | MB_LEFT_REWRITE);
    return 0;
}
