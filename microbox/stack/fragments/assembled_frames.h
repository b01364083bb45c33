/*
 * Where whole datagrams lie: an area that the worker writes and all others read, behind the capture
 * in the address space of frames (io/frame_pool.h). It is cut into slots of two sizes, made at
 * start; a slot holds one datagram.
 *
 * A slot is taken while a packet is handled and stays as it is until nobody can read it any more:
 * until all readers of the log have passed the entries of every packet that named it, and nothing
 * that the stack holds back for later (a segment out of order, a fragment inside a tunnel) lies in
 * it. The first is a position in the log, as reclamation of the log itself is; the second a count
 * of pins, private to the worker.
 *
 * Whether a slot can be had must not depend on how fast readers are, or replays would differ. So a
 * packet is handled only when `mb_assembled_has_room`: then a take fails exactly where pinned slots
 * leave none, which depends on packets alone.
 *
 * A reader that takes batches passes nothing before its batch is complete. So batches end before
 * what was put down in one leaves no room for another packet: `mb_assembled_ends_batch` says when,
 * and counts packets' slots alone.
 */
#ifndef MICROBOX_STACK_FRAGMENTS_ASSEMBLED_FRAMES_H
#define MICROBOX_STACK_FRAGMENTS_ASSEMBLED_FRAMES_H

#include "microbox/bus/log.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    MB_ASSEMBLED_HEADERS_MAX = 4096,   /* link header and tunnels before the datagram */
    MB_ASSEMBLED_DATAGRAM_MAX = 65575, /* an IPv6 header, and 65,535 bytes of payload */
    MB_ASSEMBLED_SMALL = 4096,
    MB_ASSEMBLED_LARGE = 69632 + 4096,    /* whole pages for both of the above */
    MB_ASSEMBLED_DATAGRAMS_USUALLY = 256, /* large slots */
    MB_ASSEMBLED_SMALL_PER_LARGE = 8,     /* slots */
    MB_ASSEMBLED_PER_PACKET = 2,          /* slots that one packet may take */
    MB_ASSEMBLED_SIZES = 2
};
_Static_assert((int)MB_ASSEMBLED_HEADERS_MAX + (int)MB_ASSEMBLED_DATAGRAM_MAX <=
                   (int)MB_ASSEMBLED_LARGE,
               "any datagram fits into a large slot");

struct mb_assembled_slot {
    uint64_t position; /* waiting: free when all readers have passed it */
    uint32_t next;     /* in the list that it is in; 0: the last */
    uint32_t pins;
    bool is_in_hand; /* named by the packet that is being handled */
};

/* Slots of one size; indices count from 1. */
struct mb_assembled_class {
    uint64_t base; /* of the first slot, in the area */
    uint32_t size; /* bytes of a slot */
    uint32_t count;
    uint32_t free; /* list, and how many */
    uint32_t free_count;
    uint32_t waiting; /* list in order of position */
    uint32_t waiting_last;
    uint32_t in_hand; /* list */
    uint32_t pinned;  /* slots that are, at least once */
    uint32_t unended; /* put down since a batch ended for their sake */
    struct mb_assembled_slot *slots;
};

struct mb_assembled_frames {
    uint8_t *bytes;  /* the worker's writable mapping; NULL: there is no area */
    uint64_t offset; /* of the area, in the address space of frames */
    uint64_t size;
    struct mb_log *log;
    bool ends_batch;                                       /* the packet in hand does */
    struct mb_assembled_class classes[MB_ASSEMBLED_SIZES]; /* small, large */
};

/* Bytes of an area with `datagrams` large slots. A multiple of the page size. */
uint64_t mb_assembled_size(uint32_t datagrams);

/* What is kept of its slots, beside the area. */
uint64_t mb_assembled_slots_bytes(uint32_t datagrams);

/* `bytes`: mb_assembled_size(datagrams) of them, at `offset` in the address space of frames; they
 * and `log` must outlive this. Returns 0 or -ENOMEM. */
int mb_assembled_create(struct mb_assembled_frames *frames, uint8_t *bytes, uint64_t offset,
                        uint32_t datagrams, struct mb_log *log);
void mb_assembled_destroy(struct mb_assembled_frames *frames);

/* True when one more packet may be handled; else readers hold slots that it may need. */
bool mb_assembled_has_room(struct mb_assembled_frames *frames);

/* A slot of at least `length` bytes (at most MB_ASSEMBLED_LARGE). False: all are pinned. */
bool mb_assembled_take(struct mb_assembled_frames *frames, uint32_t length, uint64_t *frame);

/* Where the worker writes what other processes read at `frame`. */
static inline uint8_t *mb_assembled_bytes(const struct mb_assembled_frames *frames,
                                          uint64_t frame) {
    return frames->bytes + (frame - frames->offset);
}

static inline bool mb_assembled_holds(const struct mb_assembled_frames *frames, uint64_t at) {
    return at - frames->offset < frames->size;
}

void mb_assembled_pin_slot(struct mb_assembled_frames *frames, uint64_t at);
void mb_assembled_unpin_slot(struct mb_assembled_frames *frames, uint64_t at);

/* Something of which a byte lies `at` is held back; nothing happens where that is no slot's. */
static inline void mb_assembled_pin(struct mb_assembled_frames *frames, uint64_t at) {
    if (mb_assembled_holds(frames, at))
        mb_assembled_pin_slot(frames, at);
}

/* It is held back no more: it was given out with the packet in hand, or is given up. */
static inline void mb_assembled_unpin(struct mb_assembled_frames *frames, uint64_t at) {
    if (mb_assembled_holds(frames, at))
        mb_assembled_unpin_slot(frames, at);
}

bool mb_assembled_leaves_too_few(struct mb_assembled_frames *frames);
void mb_assembled_put_down(struct mb_assembled_frames *frames);

static inline bool mb_assembled_has_some_in_hand(const struct mb_assembled_frames *frames) {
    return (frames->classes[0].in_hand | frames->classes[1].in_hand) != 0;
}

/* True: the packet in hand must have an entry that ends batches. Call when all that it holds back
 * is held back; at most once a packet. */
static inline bool mb_assembled_ends_batch(struct mb_assembled_frames *frames) {
    return mb_assembled_has_some_in_hand(frames) && mb_assembled_leaves_too_few(frames);
}

/* All entries of the packet in hand are in the log. */
static inline void mb_assembled_end_packet(struct mb_assembled_frames *frames) {
    if (mb_assembled_has_some_in_hand(frames))
        mb_assembled_put_down(frames);
}

#endif
