/*
 * Where frames go: a capture file (pcap with nanoseconds), written in large blocks.
 */
#ifndef MICROBOX_IO_SINK_H
#define MICROBOX_IO_SINK_H

#include "microbox/io/source.h"

struct mb_sink;

/* Takes `fd`, open for writing, at its start. Returns NULL with a sentence in `error`. */
struct mb_sink *mb_sink_open(int fd, uint32_t link_type, char error[MB_ERROR_SIZE]);
/* Returns 0 or -errno (-ENOSPC, ...); after an error all later frames are counted as lost. */
int mb_sink_write(struct mb_sink *sink, const struct mb_frame *frame, const uint8_t *bytes);
/* Writes out what is buffered and closes. Returns 0 or -errno. */
int mb_sink_close(struct mb_sink *sink);
uint64_t mb_sink_written(const struct mb_sink *sink);
uint64_t mb_sink_lost(const struct mb_sink *sink);

#endif
