/*
 * What the readers of capture formats share: the source's inside. Private to this folder.
 *
 * A format recognises its magic number, opens (reads the file header, so that link type and
 * limits are known), then reads batches. It moves `position` over whole records only and reads
 * each field of the map once, since whoever may write the file may do so at any time.
 *
 * Where a record is not there as a whole a format asks `mb_source_awaits`: of a stream the rest may
 * still come, and then what there is of the record may lie elsewhere.
 */
#ifndef MICROBOX_IO_CAPTURE_H
#define MICROBOX_IO_CAPTURE_H

#include "microbox/io/source.h"
#include "microbox/io/window.h"

#include <string.h>

enum { MB_LINK_TYPE_ETHERNET = 1, MB_LINK_TYPE_RAW = 101 };

struct mb_pcap_state {
    bool swapped;              /* written in the other byte order */
    uint32_t record_header;    /* bytes before each frame */
    uint32_t fraction;         /* nanoseconds that one of the time's small part stands for */
    uint32_t captured_maximum; /* more makes no sense for this link type */
};

/* What a pcapng Interface Description Block says. */
struct mb_capture_interface {
    uint32_t link_type;
    uint32_t snap_length;      /* 0: no limit */
    uint32_t captured_maximum; /* more makes no sense for this link type */
    uint32_t shift;            /* nanoseconds = units * multiplier / divisor >> shift + offset */
    uint64_t multiplier;
    uint64_t divisor;
    int64_t offset; /* seconds */
};

struct mb_pcapng_state {
    struct mb_capture_interface *interfaces; /* of the section being read */
    uint32_t interface_count;
    uint32_t interface_capacity;
    bool swapped;       /* the section is written in the other byte order */
    uint64_t last_time; /* of the packet before, for blocks that bear none */
};

struct mb_capture_format {
    const char *name;
    bool (*recognises)(const uint8_t *bytes, uint64_t size);
    /* Returns false with a sentence in the source's complaint. */
    bool (*open)(struct mb_source *source);
    size_t (*read)(struct mb_source *source, struct mb_frame *frames, size_t capacity);
    void (*close)(struct mb_source *source);
};

/* A stream, and the memory that it is read into. */
struct mb_live {
    int fd;
    struct mb_frame_window window;
    uint64_t next;   /* position in the window behind what was read */
    uint64_t needed; /* bytes of the record in hand that have to be there, as far as is known */
    bool is_over;    /* nothing will come any more */
    bool is_full;    /* the window has no room for the record in hand */
};

struct mb_source {
    const uint8_t *pool;
    uint64_t size;        /* one past the last byte that is there */
    uint64_t position;    /* first byte of the next record */
    uint64_t before;      /* bytes of the file before the pool's first, modulo 2^64 */
    struct mb_live *live; /* NULL: a file, mapped */
    const struct mb_capture_format *format;
    enum mb_source_status status;
    enum mb_source_status status_at_end; /* what libpcap came to, where it made the pool */
    uint32_t link_type;
    int pool_fd;
    union {
        struct mb_pcap_state pcap;
        struct mb_pcapng_state pcapng;
    };
    char complaint[MB_ERROR_SIZE];
};

extern const struct mb_capture_format mb_pcap_format;
extern const struct mb_capture_format mb_pcapng_format;

/* Copies what libpcap reads from the bytes into a sealed memfd, as pcap with nanoseconds.
 * Returns the descriptor, or -1: with a sentence in `error` where the copy could not be made, with
 * none where libpcap does not know the format either. Where libpcap stopped before the end, *status
 * is not MB_SOURCE_END and `error` says why. */
int mb_libpcap_copy(const uint8_t *bytes, uint64_t size, enum mb_source_status *status,
                    char error[MB_ERROR_SIZE]);

/* The pool's first `needed` bytes from `position` on are not there. True: they may come. */
static inline bool mb_source_awaits(struct mb_source *source, uint64_t needed) {
    if (!source->live || source->live->is_over)
        return false;
    source->live->needed = needed;
    return true;
}

/* Where in the file a byte of the pool is, for messages. */
static inline unsigned long long mb_source_byte(const struct mb_source *source, uint64_t position) {
    return source->before + position;
}

/* The reading ends here: sets the status and the complaint. */
__attribute__((format(printf, 3, 4))) void
mb_source_end(struct mb_source *source, enum mb_source_status status, const char *format, ...);

/* live.c: reads more of the stream, where there is some and room for it. Says whether. */
bool mb_live_fill(struct mb_source *source);
void mb_live_close(struct mb_live *live);

/* source.c: by the first bytes. False: none knows them. */
bool mb_source_find_format(struct mb_source *source);

/* More captured bytes than this cannot be, whatever a record says: libpcap's own limits. */
uint32_t mb_captured_maximum(uint32_t link_type);

/* The LINKTYPE_ value that a file means: raw IP has been written under three numbers. */
uint32_t mb_link_type_of_file(uint32_t written);

static inline uint16_t mb_field16(const uint8_t *bytes, bool swapped) {
    uint16_t value;
    memcpy(&value, bytes, sizeof value);
    return swapped ? __builtin_bswap16(value) : value;
}

static inline uint32_t mb_field32(const uint8_t *bytes, bool swapped) {
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return swapped ? __builtin_bswap32(value) : value;
}

static inline uint64_t mb_field64(const uint8_t *bytes, bool swapped) {
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return swapped ? __builtin_bswap64(value) : value;
}

/* The next record's header is where this record's length says, so the walk waits for memory at
 * each record. Frames of one size follow each other often: a record some way ahead is fetched where
 * it would be then (full segments: 31 ns a record instead of 97). A prefetch of a wrong or unmapped
 * address does nothing. */
static inline void mb_prefetch_records(const uint8_t *next, uint64_t stride) {
    enum { RECORDS_AHEAD = 8 };
    __builtin_prefetch(next);
    __builtin_prefetch((const void *)((uintptr_t)next + RECORDS_AHEAD * stride));
}

#endif
