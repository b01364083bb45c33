/*
 * The output of several workers: parts, each in the order in which its frames left, become one
 * capture in the order of all, as one worker would have written it.
 */
#ifndef MICROBOX_IO_MERGE_H
#define MICROBOX_IO_MERGE_H

#include "microbox/io/sink.h"

#define MB_PARTS_MAX 64

/* Appends all frames of the parts (sink.h: mb_sink_open_part) to `sink`. The parts are mapped, no
 * more of them is read than is merged; their descriptors stay the caller's. Of a part whose writer
 * died what is behind its last whole record is left out. Returns 0, or -errno with a sentence in
 * `error`. */
int mb_merge_parts(const int *fds, uint32_t count, struct mb_sink *sink, char error[MB_ERROR_SIZE]);

#endif
