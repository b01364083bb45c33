/*
 * Where frames go: a capture file (pcap with nanoseconds), written in large blocks. Where several
 * workers share out the packets of an input, each writes a part: the same, with the moment at which
 * it left in front of each frame, by which merge.h makes one capture of them.
 */
#ifndef MICROBOX_IO_SINK_H
#define MICROBOX_IO_SINK_H

#include "microbox/io/source.h"

struct mb_sink;

/* Takes `fd`, open for writing, at its start. Returns NULL with a sentence in `error`; `fd` is then
 * closed. */
struct mb_sink *mb_sink_open(int fd, uint32_t link_type, char error[MB_ERROR_SIZE]);

/* Goes on in a file that another sink did not live to finish: behind its last whole record, which
 * is looked for from the file's start; what follows that is cut off. `fd` has to be open for
 * reading too; otherwise as mb_sink_open. */
struct mb_sink *mb_sink_continue(int fd, uint32_t link_type, char error[MB_ERROR_SIZE]);

/* As mb_sink_open, for a part. */
struct mb_sink *mb_sink_open_part(int fd, uint32_t link_type, char error[MB_ERROR_SIZE]);

/* When a frame left: with which packet of the input, and in which order among what leaves with it.
 */
struct mb_departure {
    uint64_t packet;
    uint64_t order;
};

/* Frames that are appended from now on leave then; it never goes back. Only a part keeps it. */
void mb_sink_depart(struct mb_sink *sink, struct mb_departure departure);

/* Appends a frame of `frame->length` bytes. Returns 0 or -errno. -EPROTOTYPE: the frame is of
 * another link type than the file, -EMSGSIZE: it is longer than a megabyte; it is counted as lost
 * and writing goes on. After any other error (-ENOSPC, ...) all later frames are counted as lost,
 * and the same error is returned again. */
int mb_sink_write(struct mb_sink *sink, const struct mb_frame *frame, const uint8_t *bytes);

/* The sink's copy of the frame that mb_sink_write took last, to be changed in place before the next
 * call. */
uint8_t *mb_sink_last(struct mb_sink *sink);

/* Writes out what is buffered. Returns 0 or -errno. */
int mb_sink_flush(struct mb_sink *sink);

/* Writes out what is buffered, closes and frees. Returns 0 or -errno. */
int mb_sink_close(struct mb_sink *sink);

/* Frames, and their bytes, that were taken and not lost since; frames that were lost. Exact after a
 * flush. A file that could not be finished ends with its last whole record. */
uint64_t mb_sink_written(const struct mb_sink *sink);
uint64_t mb_sink_written_bytes(const struct mb_sink *sink);
uint64_t mb_sink_lost(const struct mb_sink *sink);

/* Frames, and their bytes, that mb_sink_continue found in the file. */
uint64_t mb_sink_found(const struct mb_sink *sink);
uint64_t mb_sink_found_bytes(const struct mb_sink *sink);

#endif
