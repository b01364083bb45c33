/*
 * Several captures that are one input: the frames of each, behind those of the one before.
 */
#ifndef MICROBOX_IO_JOIN_H
#define MICROBOX_IO_JOIN_H

#include "microbox/io/sink.h"

/* What was taken of one capture. */
struct mb_joined {
    uint64_t packets;
    uint64_t first_time; /* of its first packet, nanoseconds since the epoch; 0: it has none */
    uint64_t last_time;  /* the latest one */
    uint32_t link_type;  /* of the packet that was taken last, or could not be */
};

/* Appends all frames that the source has left to the sink. Returns 0 or what mb_sink_write
 * returned, with the packets before that taken. */
int mb_join(struct mb_sink *sink, struct mb_source *source, struct mb_joined *joined);

#endif
