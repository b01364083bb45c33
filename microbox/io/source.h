/*
 * Where frames come from: batches of references into a frame pool. A mapped capture is its own
 * frame pool, so reading copies nothing.
 */
#ifndef MICROBOX_IO_SOURCE_H
#define MICROBOX_IO_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mb_frame {
    uint64_t offset;      /* of the first byte in the frame pool */
    uint64_t time;        /* nanoseconds since the epoch, clamped to what 64 bits hold; where the
                             file gives none, that of the frame before */
    uint32_t length;      /* bytes captured */
    uint32_t wire_length; /* at least `length` */
    uint32_t link_type;   /* LINKTYPE_ value of the capture's interface */
};

enum mb_source_status {
    MB_SOURCE_OPEN,      /* there may be more */
    MB_SOURCE_END,       /* all was read */
    MB_SOURCE_TRUNCATED, /* the file ends inside a record; all before it was read */
    MB_SOURCE_BROKEN     /* a record makes no sense (its length, say); all before it was read */
};

struct mb_source;

enum { MB_ERROR_SIZE = 256 };

/* Opens a capture: pcap (microseconds and nanoseconds, both byte orders, the "modified" one) or
 * pcapng (several sections and interfaces, their time resolutions and offsets) from a read-only
 * map of `fd`; what only libpcap reads is copied into a sealed memfd once. Does not take `fd`.
 * The file must not be made shorter while it is open: the map would end before the frames do.
 * Returns NULL with a sentence for people in `error`: what was found, what was expected. */
struct mb_source *mb_source_open(int fd, const char *name, char error[MB_ERROR_SIZE]);
void mb_source_close(struct mb_source *source);

/* Up to `capacity` frames in capture order. Fewer than asked for only when the status is not
 * MB_SOURCE_OPEN any more. */
size_t mb_source_read(struct mb_source *source, struct mb_frame *frames, size_t capacity);

/* Leaves out the next `count` frames, as far as there are so many. Returns how many. */
uint64_t mb_source_skip(struct mb_source *source, uint64_t count);

enum mb_source_status mb_source_status(const struct mb_source *source);
/* What ended the reading, as a sentence with the offset in the file; "" while open or at END. */
const char *mb_source_complaint(const struct mb_source *source);

/* The frame pool: what mb_frame.offset counts in. */
const uint8_t *mb_source_pool(const struct mb_source *source);
uint64_t mb_source_pool_size(const struct mb_source *source);
int mb_source_pool_fd(const struct mb_source *source);        /* for other processes to map */
const char *mb_source_format(const struct mb_source *source); /* "pcap", "pcapng", ... */
uint32_t mb_source_link_type(const struct mb_source *source); /* of the first interface */
/* Bytes of the file read so far, for progress. */
uint64_t mb_source_bytes_read(const struct mb_source *source);

#endif
