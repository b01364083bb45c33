/*
 * The files that sink.c writes: pcap (draft-ietf-opsawg-pcap) in this machine's byte order. In a
 * part, which only this machine reads, a struct mb_departure is in front of each frame and counts
 * in the record's `length`.
 */
#ifndef MICROBOX_IO_SINK_FORMAT_H
#define MICROBOX_IO_SINK_FORMAT_H

#include <stdint.h>

#define MB_MAGIC_NANOSECONDS 0xa1b23c4dU
#define MB_MAGIC_PART        0x6d627074U

struct mb_file_header {
    uint32_t magic;
    uint16_t version_major;
    uint16_t version_minor;
    uint32_t reserved[2];
    uint32_t snap_length;
    uint32_t link_type;
};

struct mb_record_header {
    uint32_t seconds;
    uint32_t nanoseconds;
    uint32_t length; /* of what follows */
    uint32_t wire_length;
};

_Static_assert(sizeof(struct mb_file_header) == 24, "as the format says");
_Static_assert(sizeof(struct mb_record_header) == 16, "as the format says");

#endif
