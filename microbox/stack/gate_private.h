/*
 * What the files of the gate share. Nobody else includes this.
 *
 * gate.c           making, packets that come, and what becomes of each
 * gate_verdicts.c  what NFs say of a packet    gate_output.c  what goes out: under its names, whole
 * gate_edits.c     packets that NFs edit
 * gate_streams.c   what streams say, and what carries other bytes    gate_held.c  what waits for
 * them gate_stream_edits.c  streams that NFs edit
 */
#ifndef MICROBOX_STACK_GATE_PRIVATE_H
#define MICROBOX_STACK_GATE_PRIVATE_H

#include "microbox/bus/edit.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/edits/held_fragments.h"
#include "microbox/stack/edits/judged_bytes.h"
#include "microbox/stack/edits/packet_edit.h"
#include "microbox/stack/edits/translation.h"
#include "microbox/stack/edits/versions.h"
#include "microbox/stack/gate.h"

/* Who decided, where it was no NF. */
enum { MB_GATE_NOBODY = MB_NFS_MAX };

/* A packet that has not left yet. */
struct mb_pending {
    struct mb_frame frame;
    uint64_t first; /* its entries: [first, end) */
    uint64_t end;
    uint64_t until; /* where its judges have to have passed the log: at `end`, or behind */
    uint64_t flow;
    uint64_t judges; /* set of NFs that some entry names */
    uint64_t number;
    const struct mb_version *version; /* the last one of its frame; NULL: it is as received */
    struct mb_handled_datagram datagrams[MB_DEFRAG_NESTED_MAX];
    uint32_t flow_slot;
    uint32_t sequence_end; /* as in mb_handled */
    bool has_sequence;
    uint8_t direction;
    uint8_t dropped;    /* enum mb_reason: by the stack, whatever the judges say */
    uint8_t dropped_by; /* as in mb_handled */
    bool has_left;      /* decided: it went out, or waits for bytes before it */
    bool is_no_packet;  /* steps of streams alone */
};

/* What the gate knows of the flow in a slot of the flow table. A flow that is gone leaves its
 * number behind; it never comes again. */
struct mb_gate_flow {
    uint64_t number : 52;    /* 0: none */
    uint64_t has_losses : 1; /* a packet of it was dropped */
    uint64_t is_dropped : 1;
    uint64_t is_reset : 1; /* RST segments were made */
    uint64_t reset_was_tried : 1;
    uint64_t dropped_by : 6; /* NF, where it is dropped */
    uint64_t has_sent : 2;   /* bit d: `sent[d]` is set */
    uint32_t sent[2];        /* by direction: one past the highest sequence number let out */
};

_Static_assert(sizeof(struct mb_gate_flow) == 16 && MB_NFS_MAX <= 64, "a look-up reads one line");

/* What leaves with a packet, in this order: what other flows held until then, by flow; the packet,
 * and what its flow held; behind the last one what was held to the end, by flow. */
enum { MB_DEPARTURE_RANK_SHIFT = 62 };
#define MB_DEPARTS_WITH_OTHERS UINT64_C(0)
#define MB_DEPARTS_ITSELF      (UINT64_C(1) << MB_DEPARTURE_RANK_SHIFT)
#define MB_DEPARTS_AT_END      (UINT64_C(2) << MB_DEPARTURE_RANK_SHIFT)

/* What becomes of a packet. */
struct mb_gate_judgement {
    enum mb_reason reason; /* to drop it; none: it leaves */
    unsigned by;           /* the NF that says so, or MB_GATE_NOBODY */
};

/* The packet that completed the last datagram in a slot of the table of datagrams, where it was
 * dropped, and so did not reach the receiver, which waits for it. */
struct mb_dropped_completion {
    uint64_t packet; /* its number, 0: none */
    unsigned by;
};

struct mb_judge {
    const uint8_t *verdicts;
    const struct mb_rewrite *rewrites; /* NULL: it leaves none */
    uint64_t mask[2];
    bool fails_closed;
    uint8_t unknown_verdict; /* the first that it gave; 0: none */
    uint64_t unsound_rewrites;

    /* Of an editor. */
    uint32_t editor; /* its number, 0: it is none */
    const struct mb_edit *edits;
    const uint8_t *replacements;
    uint64_t replacements_size; /* of the ring */
    uint64_t passed;            /* read once a run */
    uint64_t next;              /* of the waiting packets: those before are applied */
    uint64_t unsound_edits;
};

/* Bytes that a packet leaves with in the place of its own. */
struct mb_gate_carried {
    const struct mb_judged_side *side;
    struct mb_judged_range range; /* length 0: none */
    uint32_t at;                  /* of the first one, in the frame */
};

struct mb_gate_streams;

/* Whose frame an entry shows. */
enum mb_frame_owner {
    MB_FRAME_OF_OTHERS,
    MB_FRAME_OF_PACKET, /* the packet's own */
    MB_FRAME_OF_STREAM  /* bytes of a stream that came with other packets, by a step */
};

struct mb_gate {
    struct mb_gate_config config;
    uint64_t slot_mask; /* of the log */

    uint64_t judges;    /* set of watched NFs */
    uint64_t rewriters; /* of these, who may leave rewrites */
    struct mb_judge judge[MB_NFS_MAX];
    uint64_t editors;              /* likewise, who may edit packets */
    uint64_t position[MB_NFS_MAX]; /* what each watched NF has passed, read once a run; of editors,
                                      what is applied */

    /* Waiting packets: [oldest, newest), counted from 0. */
    uint64_t oldest;
    uint64_t newest;
    struct mb_pending *pending;

    /* By sequence modulo slots, of the entries of waiting packets. Copies, since the entries
     * themselves may have been claimed anew when their verdicts are read. */
    uint64_t *named; /* set of watched NFs */

    /* Likewise: whose the entry's frame is (enum mb_frame_owner); NULL: there is no editor. */
    uint8_t *owns_frame;

    struct mb_departure departure; /* of what leaves now */

    struct mb_gate_flow *flows;                        /* by flow slot */
    struct mb_dropped_completion *dropped_completions; /* by datagram slot */

    /* NULL where there is no rewriter. */
    struct mb_translations *translations;
    struct mb_held_fragments *fragments;

    struct mb_gate_streams *prepared_streams;
    struct mb_gate_streams *streams; /* the same; NULL where no inline NF has read one */

    /* NULL where there is no editor. */
    struct mb_versions *versions;
    struct mb_version *remade; /* room for the version of one packet */
    struct mb_decoder decoder; /* of edits */
    bool is_held_up;           /* there was no room for a version in this run */
    uint64_t edit_reasons[MB_REASONS_MAX];

    struct mb_gate_counters counters;
    struct mb_judge_counters by_nf[MB_NFS_MAX + 1]; /* the last one of MB_GATE_NOBODY */
};

/* gate.c */

/* Watched NFs that a mask names. */
uint64_t mb_gate_watched(const struct mb_gate *gate, const uint64_t mask[2]);

/* The judgement on packets that are no part of a flow's turn. Only one on the flow drops it. */
void mb_gate_drop_flow_apart(struct mb_gate *gate, uint64_t flow, uint32_t flow_slot,
                             struct mb_gate_judgement judgement);

void mb_gate_count_drop(struct mb_gate *gate, const struct mb_pending *packet,
                        struct mb_gate_judgement judgement);
void mb_gate_count_unseen(struct mb_gate *gate);

/* `carried`: as mb_gate_send. */
void mb_gate_let_out(struct mb_gate *gate, const struct mb_pending *packet,
                     const struct mb_gate_carried *carried);

/* By direction; NULL: nothing was let out. */
static inline const uint32_t *mb_gate_sent_by(const struct mb_gate_flow *flow, unsigned direction) {
    return flow->has_sent >> direction & 1 ? &flow->sent[direction] : NULL;
}

/* gate_verdicts.c */

/* The flow goes before the packet, and what an NF said before what it could not say. */
unsigned mb_gate_judgement_strength(enum mb_reason reason);

/* What is left of two judgements: the stronger one, and of equal ones that of the first NF. */
struct mb_gate_judgement mb_gate_stronger_judgement(struct mb_gate_judgement one,
                                                    struct mb_gate_judgement other);

/* What the NFs that entries [first, end) name say of them. `*unjudged`, unless NULL: the set of NFs
 * that were gone before they could say something. */
struct mb_gate_judgement mb_gate_judge_range(struct mb_gate *gate, const uint64_t *named,
                                             uint64_t first, uint64_t end, uint64_t *unjudged);

/* gate_edits.c */

enum {
    MB_GATHERED_REPLACEMENTS_MAX = 4 * MB_REPLACEMENTS_PER_ENTRY, /* of one packet */
    /* Likewise: what an NF says must not buy time. */
    MB_GATHERED_BYTES_MAX = 4 * MB_VERSION_FRAME_MAX
};

/* All that one NF left with one packet, or with bytes of a stream. */
struct mb_gathered_edits {
    struct mb_edit headers;
    struct mb_new_bytes payload[MB_GATHERED_REPLACEMENTS_MAX];
    uint32_t payload_count;
    uint64_t payload_bytes;
    uint64_t others;       /* records with entries of other frames */
    bool is_any;           /* record of the packet's own frame */
    enum mb_reason reason; /* to refuse all of it */
};

/* Leaves `payload` as it is, which is large. */
static inline void mb_gate_gather_nothing(struct mb_gathered_edits *gathered) {
    gathered->headers = (struct mb_edit){0};
    gathered->payload_count = 0;
    gathered->payload_bytes = 0;
    gathered->others = 0;
    gathered->is_any = false;
    gathered->reason = MB_REASON_NONE;
}

/* NF `index`, which `named` says of entry `sequence`, was there for it, and left an edit. */
bool mb_gate_left_edit(const struct mb_gate *gate, const uint64_t *named, unsigned index,
                       uint64_t sequence);

/* Adds what it left, said of packet `packet`. */
void mb_gate_gather_edits(const struct mb_gate *gate, unsigned index, uint64_t packet,
                          uint64_t sequence, struct mb_gathered_edits *gathered);

void mb_gate_refuse_edit(struct mb_gate *gate, unsigned index, enum mb_reason reason);

/* Applies what editors left with packets that they have passed, in the order of the chain, as far
 * as there is room, and says so in the log. */
void mb_gate_apply_edits(struct mb_gate *gate);

/* A new version of the packet for NFs behind editor `index`, made of the last one: what there is of
 * the frame, changed as `edit` says (packet_edit.h). `number`: of the packet among those that wait.
 * A refusal is counted. False: there is no room now, try again later. */
bool mb_gate_make_version(struct mb_gate *gate, unsigned index, struct mb_pending *packet,
                          uint64_t number, const struct mb_packet_edit *edit);

/* The version of a frame whose headers `said` says; NULL: none can be made. Until the next call. */
const struct mb_version *mb_gate_remake_version(struct mb_gate *gate, const struct mb_frame *frame,
                                                const struct mb_edit *said);

/* gate_streams.c */

/* The packet, of those that wait, is a segment that will be held for bytes before it. */
bool mb_gate_segment_waits(const struct mb_gate *gate, uint64_t number);

/* gate_output.c */

/* What NFs left with the packet holds for itself already. */
void mb_gate_take_rewrites(struct mb_gate *gate, const struct mb_pending *packet);

/* The packet's last version, or the frame as received. */
struct mb_frame mb_gate_frame_as_edited(const struct mb_pending *packet);
const uint8_t *mb_gate_bytes_as_edited(const struct mb_gate *gate, const struct mb_pending *packet);

/* Lets the packet out, with the fragments that waited for it; or keeps it, where it is one.
 * `carried`: bytes that it leaves with. */
void mb_gate_send(struct mb_gate *gate, const struct mb_pending *packet,
                  const struct mb_gate_carried *carried);

/* Sends RST segments in the packet's place. To the receiver, then to the sender, but where that has
 * reset the connection itself (RFC 9293 section 3.5.2). Returns false where no RST can be made from
 * the packet. */
bool mb_gate_send_resets(struct mb_gate *gate, const struct mb_pending *packet,
                         const struct mb_gate_flow *flow);

#endif
