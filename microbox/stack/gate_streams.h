/*
 * What the gate does where inline NFs read streams: no byte leaves that they have not passed.
 *
 * A segment that bears bytes which wait for others (MB_SEGMENT_WAITS) is held here, when its turn
 * comes, and leaves directly behind the packet with which its bytes were given out and passed, in
 * the order of sequence numbers, before the next packet. It holds nothing that others wait for: not
 * its place among the packets that wait, no entry of the log. What is never given out does not
 * leave (stream.unseen), unless the policy of the cap on held segments is `pass`.
 *
 * What leaves carries the bytes that were judged (edits/judged_bytes.h), whatever a copy of them
 * says. Of a fragmented datagram only one that is in order, and comes once, can be told to.
 *
 * All is done as packets leave, in their order, so that nothing depends on the NFs' speed.
 *
 * Only the files of the gate include this.
 */
#ifndef MICROBOX_STACK_GATE_STREAMS_H
#define MICROBOX_STACK_GATE_STREAMS_H

#include "microbox/stack/edits/judged_bytes.h"
#include "microbox/stack/gate_private.h"
#include "microbox/stack/streams/stream_steps.h"

struct mb_held_packet {
    struct mb_pending packet;
    struct mb_segment_note note;
    uint64_t position; /* of its first byte (judged_bytes.h) */
    uint32_t next;     /* of the side, in order of position; a free record: the next free one */
    uint32_t previous;
    uint32_t edited; /* where an NF edited its headers: its index among the held ones; else 0 */
};

struct mb_gate_side {
    struct mb_judged_side bytes;
    uint64_t judged; /* position behind all that was given out; 0: nothing was seen of the side */
    uint32_t first;  /* held packets; 0: none */
    uint32_t last;
};

/* By flow slot. Of another flow than the one in hand it is what was left behind. */
struct mb_gate_stream {
    uint64_t flow; /* 0: none */
    uint32_t held;
    struct mb_gate_side side[2];
};

struct mb_gate_streams {
    struct mb_stream_steps steps;
    uint64_t steps_added; /* of them, those that came with packets which wait */
    uint64_t notes_added;
    uint64_t notes_left;
    struct mb_stream_guard guard;
    struct mb_judged_bytes *judged;
    uint32_t flow_slots;
    struct mb_gate_stream *of;
    struct mb_held_packet *held; /* [1, guard.held_max] */
    struct mb_edit *said;        /* of those that were edited: what is made again as they leave */
    uint32_t held_free;
    uint32_t held_unused;
    uint64_t *named_apart; /* by slot of the log, as mb_gate.named: of steps that are no packet's */
    struct mb_decoder decoder;
    uint32_t link_type; /* of the last packet that was added */
};

/* What came with a packet for its own flow. */
struct mb_gate_news {
    bool is_given[2]; /* by direction: bytes were */
    bool is_left[2];
    bool is_whole; /* the packet's own bytes, all of them and no others, were, and passed */
    bool is_over;
    bool is_guarded; /* where it is over */
};

static inline bool mb_gate_is_fragmented(const struct mb_pending *packet) {
    return packet->datagrams[0].slot != 0;
}

/* gate_held.c */

/* Whether what is not known of a segment may leave. */
static inline bool mb_gate_takes_unseen(const struct mb_gate *gate,
                                        const struct mb_segment_note *note) {
    return gate->streams->guard.lets_unseen_out || note->kind == MB_SEGMENT_FREE;
}

enum mb_gate_admission { MB_GATE_LEAVES, MB_GATE_HELD, MB_GATE_UNSEEN, MB_GATE_NO_ROOM };

/* Holds the packet, where there is room. */
enum mb_gate_admission mb_gate_hold(struct mb_gate *gate, struct mb_gate_stream *stream,
                                    const struct mb_held_packet *packet);

/* Those whose bytes were given out leave. */
void mb_gate_release(struct mb_gate *gate, struct mb_gate_stream *stream,
                     struct mb_gate_side *side);

/* Nobody judges the direction any more: all do. */
void mb_gate_release_all(struct mb_gate *gate, struct mb_gate_stream *stream,
                         struct mb_gate_side *side);

/* Their bytes will not be given out. */
void mb_gate_drop_unseen(struct mb_gate *gate, struct mb_gate_stream *stream,
                         struct mb_gate_side *side);

/* The flow is dropped, and what is held of it. */
void mb_gate_drop_held(struct mb_gate *gate, uint64_t flow, uint32_t flow_slot,
                       struct mb_gate_judgement judgement);

/* gate_stream_edits.c */

/* Applies what editor `index` left with the bytes that came with waiting packet `number` and are no
 * part of its frame: as mb_gate_make_version, of the frames that they lie in. False: there is no
 * room now. */
bool mb_gate_edit_steps(struct mb_gate *gate, unsigned index, const struct mb_pending *packet,
                        uint64_t number);

/* gate_streams.c */

/* Steps that came with waiting packet `number`: [*first, *end). */
void mb_gate_steps_of(const struct mb_gate *gate, uint64_t number, uint64_t *first, uint64_t *end);

/* Of the packet's bytes, what was judged: in `*carried`, where it is something else. False: the
 * packet must not leave. */
bool mb_gate_look_up(struct mb_gate *gate, const struct mb_held_packet *held,
                     const struct mb_gate_side *side, bool takes_unseen,
                     struct mb_gate_carried *carried);

void mb_gate_streams_destroy(struct mb_gate_streams *streams);

/* The packet is added: NFs that judge steps which are no packet's, and where the log has to be
 * passed for their sake too. */
void mb_gate_add_steps(struct mb_gate *gate, struct mb_pending *packet);

/* The packet's turn has come: takes in what came with it. Flows that are not its own are done.
 * `*news`: zero so far. Not returned: who copies words that were just written by bytes waits for
 * all that was written before. */
void mb_gate_follow_steps(struct mb_gate *gate, const struct mb_pending *packet,
                          struct mb_gate_news *news);

/* What becomes of a packet that NFs have passed. `*carried`: what it leaves with, where that is not
 * what it came with; else its length is 0. */
enum mb_gate_admission mb_gate_admit(struct mb_gate *gate, const struct mb_pending *packet,
                                     const struct mb_gate_news *news,
                                     struct mb_gate_carried *carried);

/* The packet has left, or was dropped: what waited for it follows. */
void mb_gate_follow_packet(struct mb_gate *gate, const struct mb_pending *packet,
                           const struct mb_gate_news *news);

/* Writes what is carried into the sink's copy of a frame. */
void mb_gate_carry(const struct mb_gate_streams *streams, const struct mb_frame *frame,
                   const uint8_t *bytes, const struct mb_gate_carried *carried, uint8_t *copy);

#endif
