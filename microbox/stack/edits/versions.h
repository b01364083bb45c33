/*
 * The worker's side of the versions of frames (bus/version.h): room for the next one, and learning
 * what is free.
 *
 * A version is free when the log has been passed up to the end of its packet, so that nobody reads
 * it, and its packet has left. Each editor has a ring of its own, so that one that is far ahead
 * takes no room from one behind it. Where a ring is full nothing is applied any more: the editor's
 * readers wait, and so, when the log is full, does the worker. Room comes without them: whoever
 * holds a version has still to pass what is applied already. Readers of batches are no exception,
 * since a batch ends before its frames fill a quarter of a ring (stack.h, `batch_bytes_max`).
 */
#ifndef MICROBOX_STACK_EDITS_VERSIONS_H
#define MICROBOX_STACK_EDITS_VERSIONS_H

#include "microbox/bus/log.h"
#include "microbox/bus/version.h"

struct mb_versions;

/* `area`: mb_versions_size(shape) bytes that the worker writes; it and `log` must outlive this.
 * NULL where there is no memory. */
struct mb_versions *mb_versions_create(const struct mb_versions_shape *shape, uint8_t *area,
                                       struct mb_log *log);
void mb_versions_destroy(struct mb_versions *versions);

/* Room for a version of a frame of up to `length` bytes (at most MB_VERSION_FRAME_MAX +
 * MB_EDIT_GROWS_MAX) in the ring of editor `editor`; packets before `left` have left. Its bytes
 * follow the header, for the caller to fill; nothing is taken before mb_versions_keep. NULL: there
 * is none now. */
struct mb_version *mb_versions_room(struct mb_versions *versions, uint32_t editor, uint32_t length,
                                    uint64_t left);

/* The version that mb_versions_room gave, its header filled, is kept: for entry `sequence`, whose
 * frame it is, readers find it from now on. */
void mb_versions_keep(struct mb_versions *versions, uint32_t editor,
                      const struct mb_version *version);
void mb_versions_show(struct mb_versions *versions, uint32_t editor,
                      const struct mb_version *version, uint64_t sequence);

/* Of each editor's ring. */
uint64_t mb_versions_ring_bytes(const struct mb_versions *versions);

static inline const uint8_t *mb_version_bytes(const struct mb_version *version) {
    return (const uint8_t *)(version + 1);
}

#endif
