/*
 * What the stack tells the gate of streams that inline NFs read: step by step, in the order of the
 * log, what was given out and what is over; and of each packet where its bytes are.
 *
 * Two rings between the two, which run in the same thread: the stack adds, the gate takes when the
 * packet leaves. The stack handles no packet for whose steps there might be no room. What is in the
 * rings came with packets that NFs have to pass, and with nothing else; so they empty whatever else
 * waits.
 */
#ifndef MICROBOX_STACK_STREAMS_STREAM_STEPS_H
#define MICROBOX_STACK_STREAMS_STREAM_STEPS_H

#include <stdbool.h>
#include <stdint.h>

enum mb_stream_step_kind {
    MB_STEP_BYTES, /* were given out: all before their end is behind the stream */
    MB_STEP_LEFT,  /* what is held of the direction is not given out, and let go: it comes again */
    MB_STEP_END    /* of the flow, of both directions */
};

struct mb_version;

struct mb_stream_step {
    uint64_t flow;     /* its number */
    uint64_t packet;   /* number of the packet with which it came */
    uint64_t frame;    /* that has the bytes, in the frame pool */
    uint64_t position; /* of the first byte, likewise */
    uint64_t first;    /* entries that show the bytes: [first, end) */
    uint64_t end;
    uint32_t flow_slot;
    uint32_t sequence; /* number of the first byte */
    uint32_t length;
    uint32_t captured;
    uint32_t frame_length;
    uint8_t kind; /* enum mb_stream_step_kind */
    uint8_t direction;
    bool is_apart;   /* its entries are no packet's */
    bool is_at_end;  /* it came behind the last packet */
    bool is_passing; /* the bytes will not lie there when the packet leaves */
    bool is_guarded; /* an inline NF reads the stream, as of now; of an end: one of both */

    /* The gate's. */
    uint64_t edited_by;               /* set of NFs */
    const struct mb_version *version; /* the last one of the frame; NULL: it is as received */
};

enum mb_segment_kind {
    MB_SEGMENT_NONE,  /* no TCP segment of a flow */
    MB_SEGMENT_FREE,  /* no inline NF reads this direction of the flow */
    MB_SEGMENT_SEEN,  /* all that it bears was given out, if it bears anything */
    MB_SEGMENT_WAITS, /* something of it waits for bytes before it */
    MB_SEGMENT_UNSEEN /* something of it was not given out, and will not be */
};

/* Of each packet. */
struct mb_segment_note {
    uint64_t position;        /* of its bytes, in the frame pool */
    uint64_t steps_end;       /* steps that came with it and before */
    uint32_t sequence;        /* number of its first byte */
    uint32_t length;          /* bytes */
    uint32_t captured;        /* of these */
    uint32_t acknowledged[2]; /* by each side, of what the other sent */
    bool has_acknowledged[2]; /* else it is not known */
    uint8_t kind;             /* enum mb_segment_kind */
};

/* Counted from 0; `mask` is the capacity - 1. */
struct mb_stream_steps {
    struct mb_stream_step *ring;
    uint64_t mask;
    uint64_t oldest;
    uint64_t newest; /* one past */

    /* As many as packets are handled and have not left. */
    struct mb_segment_note *notes;
    uint64_t note_mask;
    uint64_t notes_newest;
};

/* Steps that one packet may cause are as many as its entries, and as many again without any. */
enum { MB_STREAM_STEPS_PER_PACKET = 2048 };

static inline bool mb_stream_steps_have_room(const struct mb_stream_steps *steps) {
    return steps->mask + 1 - (steps->newest - steps->oldest) >= MB_STREAM_STEPS_PER_PACKET;
}

/* The next one. There must be room. */
static inline struct mb_stream_step *mb_stream_steps_add(struct mb_stream_steps *steps) {
    return &steps->ring[steps->newest++ & steps->mask];
}

/* The note of the next packet, which is handled now. */
static inline struct mb_segment_note *mb_stream_steps_note(struct mb_stream_steps *steps) {
    return &steps->notes[steps->notes_newest & steps->note_mask];
}

/* It is handled. */
static inline void mb_stream_steps_end_packet(struct mb_stream_steps *steps) {
    mb_stream_steps_note(steps)->steps_end = steps->newest;
    steps->notes_newest++;
}

static inline struct mb_stream_step *mb_stream_steps_at(const struct mb_stream_steps *steps,
                                                        uint64_t index) {
    return &steps->ring[index & steps->mask];
}

#endif
