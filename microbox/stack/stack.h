/*
 * The µStack of one worker: decode, find the flow, run its modules, publish. It does no I/O and
 * reads no clock: frames and time come in, entries go out.
 */
#ifndef MICROBOX_STACK_STACK_H
#define MICROBOX_STACK_STACK_H

#include "microbox/bus/log.h"
#include "microbox/io/filter.h"
#include "microbox/io/source.h"
#include "microbox/stack/caps.h"
#include "microbox/stack/flows/hosts.h"
#include "microbox/stack/share.h"

#include <stdbool.h>
#include <stdint.h>

/* One bit of the mask: an NF instance with one filter. */
struct mb_subscription {
    uint32_t nf;
    uint8_t bit;
    const char *filter;    /* libpcap syntax; "" or NULL: everything */
    uint64_t types[8];     /* set of types, descendants included */
    struct mb_share share; /* of flows, and of packets without one */
    bool guards_nothing;   /* where it is set for bytes of a stream, its NF does not read them */
    uint64_t lost[8];      /* of an NF that skips: those that its handlers get, by which its losses
                              are counted */
};

/* A subscription that its NF may switch on and off for one flow. */
struct mb_switch {
    uint32_t nf;
    uint32_t subscription; /* the NF's k-th, below 32 */
    uint64_t mask[2];      /* the bits that go with it: its own, and those by which other NFs follow
                              what this one publishes */
    uint64_t drops[2];     /* the bits of later NFs that pass over what this one dropped: they go
                              when it drops the flow */
    bool is_off_at_first;  /* a new flow begins without it */
};

/* Where an NF writes its commands (bus/layout.h). */
struct mb_command_ring {
    uint32_t nf;
    const struct mb_nf_page *page;
    const struct mb_command *slots;
    uint64_t count; /* of slots, a power of two */
    bool may_drop;  /* an inline NF */
    bool is_shadow; /* what it drops goes on: it wants no more of it, and that is all */
};

/* A period that NFs want to be told of. Entries go to `mask`. */
struct mb_timer_subscription {
    uint64_t period; /* nanoseconds */
    uint64_t mask[2];
};

/* Of IPv4, TCP, UDP, ICMP and GRE, around and inside of tunnels (checksums.h). */
enum mb_checksums {
    MB_CHECKSUMS_OFF,
    MB_CHECKSUMS_EVENT, /* the packet's reason, and tcp.anomaly.bad_checksum */
    MB_CHECKSUMS_DROP   /* packet.malformed: it belongs to no flow, as a receiver would drop it */
};

/* What becomes of a segment that its receiver may never see, or not take. */
enum mb_judgement {
    MB_JUDGEMENT_DEFAULT,
    MB_JUDGEMENT_IGNORE, /* neither told nor refused */
    MB_JUDGEMENT_REPORT, /* told, and taken all the same */
    MB_JUDGEMENT_REFUSE  /* told; it changes nothing and gives no bytes */
};

/* What becomes of the byte that the urgent pointer names (RFC 6093). */
enum mb_urgent_policy {
    MB_URGENT_INLINE,      /* a byte of the stream */
    MB_URGENT_OUT_OF_BAND, /* no byte of the stream, as programs see it that ask for nothing else */
    MB_URGENT_DROP
};

struct mb_loaded_module;

/* An event type that users derive from the stack's own: it is published right behind each event of
 * `bases` that its condition holds for, with the same payload and snapshot (condition.h). */
struct mb_derived_type {
    uint16_t type;     /* its number, past the built-in ones */
    uint16_t parent;   /* a derived type further up whose condition has to hold too; 0: none */
    uint32_t counters; /* that the program keeps for each flow */
    uint64_t bases[8]; /* set of types of the stack's own */
    const uint8_t *program;
    uint32_t program_size;
    uint32_t step_count;
};

/* All limits have defaults where 0. */
struct mb_stack_config {
    uint32_t flows_max;              /* default 1,000,000 */
    uint32_t held_segments_per_flow; /* out of order; default 256, at most 320 */
    uint32_t held_segments_max;      /* in all; default 262,144 */
    uint64_t held_bytes_per_flow;    /* default 1 MiB */
    uint64_t held_bytes_max;         /* in all; default 256 MiB */
    uint64_t judged_bytes_max;       /* of streams that inline NFs read, kept until they are
                                        acknowledged, in all; default 64 MiB */
    uint32_t compared_segments_max;  /* given out and kept for comparison, in all; default 65,536 */
    uint32_t gap_acknowledgments;    /* packets that acknowledge missing bytes before they are given
                                        up; default 3, at most 255 */
    uint64_t gap_timeout;            /* nanoseconds of packet time that a stream waits for missing
                                        bytes; default 30 s */
    /* Nanoseconds of packet time. Defaults are the least that RFC 5382 (REQ-5), RFC 4787 (REQ-5)
     * and RFC 5508 (REQ-2) allow a middlebox. */
    uint64_t tcp_timeout;             /* default 7440 s */
    uint64_t tcp_unanswered_timeout;  /* open, but seen from one side only; default 7440 s */
    uint64_t tcp_opening_timeout;     /* handshake not complete; default 240 s */
    uint64_t tcp_closed_timeout;      /* after FIN or RST; default 240 s */
    uint64_t tcp_reset_timeout;       /* from a RST to the end that it brings; default 2 s */
    uint64_t udp_timeout;             /* and other protocols; default 120 s */
    uint64_t udp_unanswered_timeout;  /* default 120 s */
    uint64_t icmp_timeout;            /* default 60 s */
    uint64_t icmp_unanswered_timeout; /* default 60 s */
    uint32_t command_delay;           /* packets until an NF's command takes effect; default 8192 */
    /* What is done at each cap (enum mb_cap_policy). */
    uint32_t flows_at_cap;
    uint32_t held_at_cap;
    uint32_t fragments_at_cap;
    /* For tests: the chance, in 2^32, that a packet finds the cap met. Which packets do depends on
     * the seed and their number alone. */
    uint32_t force_flows;
    uint32_t force_held;
    uint32_t force_fragments;
    uint64_t force_seed;
    enum mb_checksums checksums;
    uint32_t tunnels_max;      /* packets in packets that are followed; default 4, at most 16 */
    uint32_t flow_key_ignores; /* enum mb_flow_key_ignores: VLANs and tunnels tell flows apart where
                                  their bit is not set */
    /* Judgements of segments, by kind (modules/tcp_suspicion.c). */
    enum mb_judgement bad_checksum; /* known where checksums are looked at; default: report */
    enum mb_judgement low_ttl;      /* known where hosts say their distance; default: refuse */
    enum mb_judgement unusual_ttl;  /* default: report */
    enum mb_judgement unexpected_signature;  /* default: refuse */
    enum mb_judgement old_timestamp;         /* default: refuse */
    enum mb_judgement ack_out_of_window;     /* default: refuse */
    enum mb_judgement unsent_acknowledgment; /* default: report */
    enum mb_judgement beyond_window;         /* default: report */
    bool needs_handshake;                    /* connections are not picked up in the middle */
    enum mb_urgent_policy urgent;
    const struct mb_host_network *hosts; /* read when the stack is made, the caller's */
    uint32_t host_count;
    const struct mb_derived_type *derived; /* must outlive the stack; a parent stands above its
                                              children */
    uint32_t derived_count;                /* at most MB_DERIVED_MAX */
    uint32_t fragmented_datagrams_max;     /* waiting for fragments at once; default 8192 */
    uint32_t fragments_per_datagram;       /* default 128, at most 256 */
    uint64_t fragment_bytes_max;           /* of all that wait; default 64 MiB */
    uint64_t fragment_timeout; /* from a datagram's first fragment on; default 60 s, what
                                  RFC 8200 says and the least that RFC 1122 does */
    /* The area that datagrams are put together in (assembled_frames.h): whole ones kept at once,
     * where the worker has it mapped, where it lies in the address space of frames. The caller's;
     * NULL: fragments stay fragments. */
    uint32_t assembled_datagrams_max;
    uint8_t *assembled_bytes;
    uint64_t assembled_offset;
    uint32_t workers; /* that share flows out among them (partition.h), each with a stack of its own
                         that is given all frames; 0 or 1: this one alone; at most MB_WORKERS_MAX */
    uint32_t worker;  /* which of them this one is, from 0 */
    uint64_t packets_before;  /* of the input, that another stack has handled: the next one's number
                                 is one more */
    uint64_t version_bytes;   /* of each editor's ring of edited frames (bus/version.h), a power of
                                 two from 1 MiB on; default 16 MiB */
    uint64_t batch_bytes_max; /* batches of NFs that take batches end before versions of all their
                                 frames take more; 0: wherever they end */
    uint64_t hash_key[2];     /* 0, 0: from the system's random source */
    uint32_t link_type;       /* of the capture, for filters */
    /* Users' modules (module_load.h), in the order in which they run. Must outlive the stack. */
    struct mb_loaded_module *const *modules;
    uint32_t module_count;
};

enum { MB_DERIVED_MAX = 32, MB_WORKERS_MAX = 64, MB_VERSION_BYTES_USUALLY = 1 << 24 };

struct mb_stack;

/* `log` must outlive the stack. Returns NULL with a sentence in `error` (a filter that libpcap
 * rejects is named). */
struct mb_stack *mb_stack_create(const struct mb_stack_config *config, struct mb_log *log,
                                 const struct mb_subscription *subscriptions, uint32_t count,
                                 const struct mb_timer_subscription *timers, uint32_t timer_count,
                                 char error[MB_ERROR_SIZE]);
void mb_stack_destroy(struct mb_stack *stack);

/* These NFs may switch these subscriptions. Call before the first packet, and again after each
 * mb_stack_resubscribe where some were there before or are there now. Rings must outlive the stack
 * or the next call. Returns 0; -EINVAL: a switch of an NF without a ring, or out of range; -ENOMEM.
 */
int mb_stack_accept_commands(struct mb_stack *stack, const struct mb_switch *switches,
                             uint32_t count, const struct mb_command_ring *rings,
                             uint32_t ring_count);

/* Replaces all subscriptions and timers while packets flow. Nothing may be in flight: all NFs have
 * passed the head. Bits of NFs that stay are the same as before. Goes with accept_commands and
 * mb_stack_renew_flows before the next packet. Returns 0, or -errno with a sentence in `error` and
 * everything as it was. */
int mb_stack_resubscribe(struct mb_stack *stack, const struct mb_subscription *subscriptions,
                         uint32_t count, const struct mb_timer_subscription *timers,
                         uint32_t timer_count, char error[MB_ERROR_SIZE]);

/* Works out anew who wants each flow of the table. `joined`: bits of NFs that are new, and those by
 * which others follow them. */
void mb_stack_renew_flows(struct mb_stack *stack, const uint64_t joined[2]);

/* While nothing is in flight, before mb_stack_renew_flows: flow `number`, where it is still in slot
 * `slot` of the flow table, is dropped by NF `nf` from its next packet on, as if that had told the
 * stack so. */
void mb_stack_drop_flow(struct mb_stack *stack, uint32_t slot, uint64_t number, uint32_t nf);

/* The bits of NF `nf`, and those by which others follow what it publishes. */
void mb_stack_bits_of(const struct mb_stack *stack, uint32_t nf, uint64_t bits[2]);

/* Ends the batches of NFs that take batches: publishes system.checkpoint to them, for which there
 * must be room in the log. */
void mb_stack_end_batches(struct mb_stack *stack);

/* Position in the log behind the last end of batches; 0 where there was none. */
uint64_t mb_stack_batch_begin(const struct mb_stack *stack);

/* NF `nf` was attached while packets flow: publishes system.nf_attached, for which there must be
 * room in the log. `catches_up`: it is to be told of the flows that there are. */
void mb_stack_welcome(struct mb_stack *stack, uint32_t nf, bool catches_up);

/* Tells the NF that was welcomed last of the flows that there are, in the order of their first
 * packets, as many as the log has room for. Call until true, before the next packet; commit between
 * calls. */
bool mb_stack_tell_flows(struct mb_stack *stack, uint32_t nf);

/* How many packets may be handled now for the sake of commands: the stack is at most
 * `command_delay` packets ahead of an NF that may give some. Where it is 0, *nf is who has to move
 * and *position where the log has to be passed. Commit first: what is not readable cannot be
 * passed. */
uint64_t mb_stack_room(struct mb_stack *stack, uint32_t *nf, uint64_t *position);

/* The input is over and all NFs have passed its end: what they said since is too late. */
void mb_stack_end_commands(struct mb_stack *stack);

enum { MB_DEFRAG_NESTED_MAX = 2 }; /* fragments of a tunnel's packet inside fragments */

/* The datagram that a packet is a fragment of. */
struct mb_handled_datagram {
    uint64_t before; /* packet that completed the last datagram with the same key; 0: none did */
    uint32_t slot;   /* in the table of datagrams; 0: no datagram */
    bool begins;     /* no fragment of it came before */
    bool is_around;  /* the packet completes it, and the flow is in a tunnel inside */
    bool completes;
};

/* What a handled packet left in the log: its entries are [first, end). For the gate: the flow's
 * identity, and where in the flow table it is, so that what the gate keeps of
 * flows is an array that needs no clearing. */
struct mb_handled {
    uint64_t first;
    uint64_t end;
    uint64_t packet;    /* 0: another worker handles it, and nothing else is set */
    uint64_t flow;      /* number of the flow's first packet, as in mb_entry; 0: none */
    uint32_t flow_slot; /* index in the flow table; meaningless where `flow` is 0 */
    uint8_t dropped;    /* enum mb_reason: the stack drops it, whatever NFs say; 0: it does not */
    uint8_t direction;  /* of the flow */
    bool has_sequence;  /* a TCP segment, and they are noted: `sequence_end` is set */
    uint8_t dropped_by; /* 1 + the NF that has told the stack that it drops the flow; 0: none */
    uint32_t sequence_end; /* one past its last sequence number */
    struct mb_handled_datagram datagrams[MB_DEFRAG_NESTED_MAX]; /* from the outside in */
};

/* Handles up to `count` frames (at most MB_BATCH), stops early when the log has no room for
 * another packet, or for all that the last one's time ends. A frame that another worker handles is
 * counted, and moves the clock, as all do. Does not commit. Fills one `handled` a frame. Returns
 * how many. */
enum {
    MB_BATCH = 256,
    /* Packets from one system.checkpoint to the next, where somebody subscribes to it. An NF that
     * waits for its batch to be complete judges nothing meanwhile, so the gate must be able to keep
     * more packets than this. */
    MB_CHECKPOINT_PACKETS = 16384
};
size_t mb_stack_handle(struct mb_stack *stack, const uint8_t *pool, const struct mb_frame *frames,
                       size_t count, struct mb_handled *handled);

/* From the next packet on mb_stack_handle measures one packet of each call: the first one of flow
 * `flow` that leaves entries. `slot`: where the flow is in the flow table. Ends what was traced
 * before. Returns false where that flow is not there (any more). */
bool mb_stack_trace(struct mb_stack *stack, uint32_t slot, uint64_t flow);
void mb_stack_end_trace(struct mb_stack *stack);

/* What was measured of a packet since the last call, about to be committed. `since`: when the
 * packets that were handled with it were begun with, by mb_monotonic_time. False: none was. */
struct mb_sojourn;
bool mb_stack_take_sojourn(struct mb_stack *stack, uint64_t since, struct mb_sojourn *sojourn);

/* `step` nanoseconds have passed without a packet: moves the clock, fires timers, and ends what is
 * overdue by then. Does not commit. False, with no effect: what the time before has ended is still
 * to be told, or the log has no room. */
bool mb_stack_pass_time(struct mb_stack *stack, uint64_t step);

/* The packet time that the clock stands for; 0 before the first packet. */
uint64_t mb_stack_time(const struct mb_stack *stack);

/* Ends what the time of the last packet has made overdue, as far as that is still to be done and
 * the log has room. Call until true before a pause; commit between calls. */
bool mb_stack_settle(struct mb_stack *stack);

/* Ends flows as the input is over, at most as many as the log has room for, oldest first, then
 * publishes system.end_of_input. Call until true; commit between calls. */
bool mb_stack_finish(struct mb_stack *stack, uint8_t reason);

/* NF `nf` is gone: publishes system.nf_exited, for which there must be room in the log. From now on
 * none of its bits is set, except where `keeps_bits`: an inline NF goes on being named, since its
 * packets must not pass where it fails closed, and are counted where it fails open. */
void mb_stack_detach(struct mb_stack *stack, uint32_t nf, int32_t status, bool keeps_bits);

/* As it decodes packets. Lives as long as the stack. */
struct mb_decoder;
const struct mb_decoder *mb_stack_decoder(const struct mb_stack *stack);

/* Slots of the table of datagrams: every mb_handled.datagrams[].slot is below. */
uint32_t mb_stack_datagram_slots(const struct mb_stack *stack);

/* From now on mb_handled says where segments end. */
void mb_stack_note_sequences(struct mb_stack *stack);

/* Do NFs of these bits read bytes of TCP streams? */
bool mb_stack_streams_are_read(const struct mb_stack *stack, const uint64_t bits[2]);

/* Of streams that inline NFs read, what the gate may keep. */
struct mb_stream_guard {
    uint64_t judged_bytes_max; /* bytes as judged, until they are acknowledged */
    uint32_t held_max;         /* segments that wait for bytes before them, in all */
    uint32_t held_per_flow;
    bool lets_unseen_out; /* what is never given out leaves all the same */
};
struct mb_stream_guard mb_stack_stream_guard(const struct mb_stack *stack);

/* From now on the stack tells `steps`, the gate's, of each stream that `judges` read: bits of
 * inline NFs. Call again when these change. `steps` must outlive the stack. */
struct mb_stream_steps;
void mb_stack_guard_streams(struct mb_stack *stack, struct mb_stream_steps *steps,
                            const uint64_t judges[2]);

/* Slots of the flow table: every mb_handled.flow_slot is below. */
uint32_t mb_stack_flow_slots(const struct mb_stack *stack);

/* All that the stack counts (counters.h), as of now. Lives as long as the stack. */
struct mb_stack_counters;
const struct mb_stack_counters *mb_stack_counters(const struct mb_stack *stack);

#endif
