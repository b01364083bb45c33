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

/* What the first bytes of a stream are. */
enum mb_head {
    MB_HEAD_TOO_SHORT, /* to say */
    MB_HEAD_UNKNOWN,   /* no pcap or pcapng that is read as it comes */
    MB_HEAD_WHOLE      /* link type and format are known */
};
enum mb_head mb_source_judge_head(const uint8_t *bytes, uint64_t size);

/* Opens a capture that comes from `fd`, a pipe or a socket, and is read as it comes, into a sealed
 * memfd of `window` bytes, or up to a page more, which is the frame pool. A frame stays
 * where it is until mb_source_give_back. `head`: a file with the bytes that were read of it before,
 * MB_HEAD_WHOLE. Takes no descriptor. NULL: as mb_source_open. */
struct mb_source *mb_source_open_live(int fd, int head, uint64_t window, const char *name,
                                      char error[MB_ERROR_SIZE]);

/* Up to `capacity` frames in capture order. Fewer than asked for only when the status is not
 * MB_SOURCE_OPEN any more; or of a live source, when nothing more is there now, or the window has
 * no room for it. */
size_t mb_source_read(struct mb_source *source, struct mb_frame *frames, size_t capacity);

/* --- of a live source --- */

bool mb_source_is_live(const struct mb_source *source);

/* The last read ended since the window has no room: something has to be given back. */
bool mb_source_is_full(const struct mb_source *source);

/* Waits up to `timeout_ns`, rounded up to milliseconds, until there is something to read, or the
 * end. False: there is nothing. */
bool mb_source_wait(const struct mb_source *source, uint64_t timeout_ns);

/* Positions in the window (window.h): of the first frame that was not handled yet, `next`, or NULL
 * where all that were read are; up to where memory was given back, and up to where it is used. */
uint64_t mb_source_unhandled(const struct mb_source *source, const struct mb_frame *next);
uint64_t mb_source_front(const struct mb_source *source);
uint64_t mb_source_read_up_to(const struct mb_source *source);

/* Nobody reads before position `front` any more, but the ranges of the pool that are `kept`: these
 * are taken, and left empty. */
struct mb_ranges;
void mb_source_give_back(struct mb_source *source, uint64_t front, struct mb_ranges *kept);

/* Bytes that are, with what between them is too short to be used. */
uint64_t mb_source_kept(const struct mb_source *source);

/* --- of any source --- */

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
/* Bytes of the file, or stream, that the frames read so far end at. */
uint64_t mb_source_bytes_read(const struct mb_source *source);

#endif
