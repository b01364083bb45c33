/*
 * The gate: lets packets out in input order, once the inline NFs that they concern have passed
 * them.
 *
 * A packet concerns the inline NFs that the masks of its entries name; one that names none waits
 * for nothing but those before it. A DROP among its entries' verdicts drops the packet; a DROP_FLOW
 * (or a DROP on an event of the byte stream, whose bytes a retransmission would bring back) drops
 * it and all later packets of its flow. A RESET does the same, and in the packet's place go two RST
 * segments, to its receiver and to its sender, with the time of the packet (reset.h). Where none
 * can be made from the packet, or the flow is no TCP, a RESET is a DROP_FLOW and counts as one. Of
 * several verdicts on a packet the strongest counts: RESET, DROP_FLOW, DROP, and last what a dead
 * NF could not say. Where an NF died before it judged an entry, the packet passes or, if the NF
 * fails closed, is dropped.
 *
 * Fragments leave one by one. The entries of the datagram that a fragment completes are its
 * packet's, so a drop takes away the fragment that the receiver would still need; and every
 * fragment of that datagram that comes until the stack forgets it.
 *
 * A rewrite of a flow that an NF left with an entry is taken when that entry's packet leaves, and
 * holds from that packet on (edits/translation.h): whatever the NFs' speed, at the same place.
 *
 * An edit of a packet is applied before that: as soon as its editor has passed the packet, and
 * those before it in the chain are applied to it, since later NFs wait for that. The version that
 * comes of it (bus/version.h) is what leaves, translated where the flow is. Of a RESET, the RST
 * that goes onwards is made of the version, the one that goes back of the packet as received.
 *
 * Without a sink the gate counts verdicts all the same, so that a chain's summary does not depend
 * on whether it has an output.
 *
 * An NF in shadow is watched by a gate of its own, without a sink, after the one that decides: it
 * gets the same packets, and judges those that the other one is done with, as if its NF alone had a
 * say. So what it counts is what that NF would do, and which of these packets did not leave anyhow.
 * Nobody waits for it, but for room: the gate that decides keeps what became of a packet until the
 * one after it has looked.
 *
 * Order of calls in a batch: handle, run, add, commit. A slot of the log is claimed anew when all
 * NFs have passed what was in it; before the commit that shows the new entry to them, `run` reads
 * the verdicts on the old one. So a verdict is read before its byte can mean another entry.
 */
#ifndef MICROBOX_STACK_GATE_H
#define MICROBOX_STACK_GATE_H

#include "microbox/bus/log.h"
#include "microbox/bus/reader.h"
#include "microbox/io/sink.h"
#include "microbox/io/window.h"
#include "microbox/stack/counters.h"
#include "microbox/stack/memory.h"
#include "microbox/stack/stack.h"

struct mb_gate;

struct mb_gate_config {
    struct mb_log *log;
    struct mb_sink *sink;        /* NULL: packets go nowhere */
    const struct mb_gate *after; /* NULL, or the gate that decides; to outlive this one */
    const uint8_t *pool;
    uint64_t capacity;       /* packets that may wait; a power of two, at least MB_BATCH */
    uint32_t flow_slots;     /* of the stack's flow table: past the largest mb_handled.flow_slot */
    uint32_t datagram_slots; /* past the largest mb_handled.datagrams[].slot */
};

struct mb_gate_counters {
    uint64_t waiting;          /* packets, now */
    uint64_t refused;          /* packets that the stack dropped, and no NF did */
    uint64_t dropped;          /* packets, for whatever else: the sum of the four verdicts below */
    uint64_t flows_of_dropped; /* that these are packets of */
    uint64_t dropped_already;  /* of these: what did not leave the gate before this one either */
    uint64_t verdict_drop;
    uint64_t verdict_drop_flow;
    uint64_t verdict_reset;
    uint64_t failed_closed;
    uint64_t unseen; /* packets that were not let out: bytes that no NF which judges the stream has
                        seen */
    uint64_t held_no_room;     /* likewise: no room to hold them */
    uint64_t held;             /* segments that wait for bytes before them, now */
    uint64_t carried;          /* packets that left with the bytes of the stream for their own */
    uint64_t judged_peak;      /* most bytes of streams that were kept as they were judged */
    uint64_t judged_forgotten; /* times that bytes were forgotten before they were acknowledged */
    uint64_t rewrites;         /* of flows, taken */
    uint64_t rewrites_refused; /* that were not sound */
    uint64_t fragments_kept;   /* of datagrams that are not whole, where NFs rewrite flows */
    uint64_t translated;       /* packets that left with other addresses or ports */
    uint64_t edits;            /* of packets, applied: once for each NF */
    uint64_t edits_refused;    /* that the packet cannot bear, or that were not sound */
    uint64_t edit_waits;       /* times that there was no room for a version */
    uint64_t
        resets_made; /* RST segments that were handed to the sink, or would be if there were one */
    uint64_t resets_not_made; /* flows with a RESET that were dropped instead */
};

/* Adds what such a gate takes when it is full: of `log`, only how many slots it has is looked at.
 * What is made by calls below is added by the functions that are named like them. */
void mb_gate_add_memory(const struct mb_gate_config *config, struct mb_memory *memory);

/* Log, sink and pool must outlive the gate. One that is `after` another has its capacity and gets
 * the same packets from now on, when none waits; each of its calls comes after the same one of the
 * other. Returns NULL where there is no memory. */
struct mb_gate *mb_gate_create(const struct mb_gate_config *config);
void mb_gate_destroy(struct mb_gate *gate);

/* Verdicts of NF `index` count from now on. `verdicts` (a byte a slot of the log) must outlive the
 * gate, also when the NF is gone. `mask`: all its bits. */
void mb_gate_watch(struct mb_gate *gate, uint32_t index, const uint8_t *verdicts,
                   const uint64_t mask[2], bool fails_closed);

/* What NF `index`, which is watched, misses once it is gone is dropped from now on. */
void mb_gate_fail_closed(struct mb_gate *gate, uint32_t index);

/* NF `index` left in order: its verdicts count no more. No packet may wait. */
void mb_gate_unwatch(struct mb_gate *gate, uint32_t index);

/* Makes what translations need; packets are decoded as `decoder` says. Again: nothing. False where
 * there is no memory. */
bool mb_gate_translate(struct mb_gate *gate, const struct mb_decoder *decoder);
void mb_gate_add_memory_of_translations(const struct mb_gate_config *config,
                                        struct mb_memory *memory);

/* Makes what is needed where inline NFs read streams (gate_streams.h); what is not used takes no
 * memory. Again: nothing. False where there is none. */
bool mb_gate_prepare_streams(struct mb_gate *gate, const struct mb_stream_guard *guard,
                             const struct mb_decoder *decoder);
void mb_gate_add_memory_of_streams(const struct mb_gate_config *config,
                                   const struct mb_stream_guard *guard, struct mb_memory *memory);

/* From now on they do. Returns what the stack is to tell of each packet. */
struct mb_stream_steps *mb_gate_guard_streams(struct mb_gate *gate);

/* Has the stack told of streams with no packet since the last one was added? Then these have to be
 * added before the log is committed, for which there must be room; to the gates in shadow too, so
 * that all have the same packet in the same place. */
bool mb_gate_has_steps_apart(const struct mb_gate *gate);
void mb_gate_add_steps_apart(struct mb_gate *gate);

/* What NF `index`, which is watched, leaves with its verdicts is taken too. Call mb_gate_translate
 * before. `rewrites`, one a slot of the log, must outlive the gate. */
void mb_gate_watch_rewrites(struct mb_gate *gate, uint32_t index,
                            const struct mb_rewrite *rewrites);

/* Makes what edits of packets need: versions in `area` (bus/version.h), which is the worker's; must
 * outlive the gate. Again: nothing. False where there is no memory. */
bool mb_gate_accept_edits(struct mb_gate *gate, const struct mb_decoder *decoder,
                          const struct mb_versions_shape *shape, uint8_t *area);
void mb_gate_add_memory_of_edits(const struct mb_gate_config *config, struct mb_memory *memory);

/* Where NF `index`, which is watched and edits, leaves what. Call mb_gate_accept_edits before.
 * `parts` must outlive the gate. */
void mb_gate_watch_edits(struct mb_gate *gate, uint32_t index, const struct mb_nf_area *parts,
                         const struct mb_nf_geometry *geometry);

/* Frames of packets that it holds though their turn has come, as ranges of the pool. */
void mb_gate_kept_frames(const struct mb_gate *gate, struct mb_ranges *kept);

/* No datagram whose fragments wait here will be whole. */
void mb_gate_forget_fragments(struct mb_gate *gate);

/* How many packets were added, and for how many of them their turn has come. */
uint64_t mb_gate_added(const struct mb_gate *gate);
uint64_t mb_gate_done(const struct mb_gate *gate);

/* The last run could not apply an edit: there was no room for its version. */
bool mb_gate_lacks_room(const struct mb_gate *gate);

/* How many edits of packets NF `index` left that were not sound. */
uint64_t mb_gate_unsound_edits(const struct mb_gate *gate, uint32_t index);

/* Edits of packets that were refused, by reason (MB_REASONS_MAX). Lives as long as the gate. */
const uint64_t *mb_gate_edit_reasons(const struct mb_gate *gate);

/* The first verdict of NF `index` that is none, read as MB_PASS; 0: there was none. */
uint8_t mb_gate_unknown_verdict(const struct mb_gate *gate, uint32_t index);

/* How many rewrites NF `index` left that were refused. */
uint64_t mb_gate_unsound_rewrites(const struct mb_gate *gate, uint32_t index);

/* The number of the flow in a slot, which is below `flow_slots`, where that was dropped; else 0. It
 * may have ended since. */
uint64_t mb_gate_dropped_flow(const struct mb_gate *gate, uint32_t slot);

/* How many more packets may be added. */
uint64_t mb_gate_room(const struct mb_gate *gate);

/* A handled packet, not committed yet. There must be room. */
void mb_gate_add(struct mb_gate *gate, const struct mb_frame *frame,
                 const struct mb_handled *handled);

/* Lets out all that may leave. What the sink cannot take it counts as lost. Returns how many
 * packets left or were dropped. */
uint64_t mb_gate_run(struct mb_gate *gate);

struct mb_gate_counters mb_gate_counters(const struct mb_gate *gate);

/* What NF `index` did. Lives as long as the gate. */
const struct mb_judge_counters *mb_gate_judge(const struct mb_gate *gate, uint32_t index);

#endif
