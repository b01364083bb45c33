/*
 * An NF's side of the bus: wait at the barrier, take the entries that name it, merge in what
 * earlier NFs published, publish, judge, move the cursor.
 *
 * One thread of one process uses this. See layout.h for the protocol.
 */
#ifndef MICROBOX_BUS_READER_H
#define MICROBOX_BUS_READER_H

#include "microbox/bus/area.h"
#include "microbox/bus/frame_pool.h"
#include "microbox/bus/layout.h"
#include "microbox/bus/version.h"
#include "microbox/bus/wait.h"

/* The shape of an NF's area; from the plan, never from the area itself. */
struct mb_nf_geometry {
    uint64_t log_slots;     /* of the worker's log */
    uint64_t own_slots;     /* of its own log, a power of two from 16 on; 0: it publishes nothing */
    uint64_t ring_bytes;    /* of its data ring, a power of two from 4096 on; 0 likewise */
    uint64_t command_slots; /* of its commands, a power of two from 4096 on; 0: it gives none */
    bool is_inline;         /* has verdicts */
    bool rewrites;          /* has rewrites; inline only */
    uint32_t editor;        /* has edits: its number among those that do (version.h); inline only;
                               0: it has none */
    uint64_t edit_bytes;    /* of its ring of replacements, a power of two from 4096 on; 0: it
                               replaces no bytes of payloads */
};

/* Bytes of the area; 0 where a size is not a power of two or out of range. */
size_t mb_nf_area_size(const struct mb_nf_geometry *geometry);

/* Where the parts of an area mapped at `base` are; NULL for parts that it has not. The geometry
 * must be sound: mb_nf_area_size said so. */
struct mb_nf_area {
    struct mb_nf_page *page;
    struct mb_nf_counters *counters;
    uint8_t *verdicts;
    struct mb_rewrite *rewrites;
    struct mb_nf_entry *slots;
    uint8_t *ring;
    struct mb_command *commands;
    struct mb_edit *edits;
    uint8_t *replacements;
};
struct mb_nf_area mb_nf_area_parts(void *base, const struct mb_nf_geometry *geometry);

/* An event as given to the runner. Valid until the next mb_reader_poll or mb_reader_advance; what
 * lies before the packet in hand also until a publication has to wait (mb_reader_set_position).
 *
 * The worker's entry lies in shared memory. An NF's is a copy, checked against the shape of its
 * area; its frame range and its texts are what that NF says: check them before use. */
struct mb_delivery {
    const struct mb_entry *entry;
    const struct mb_nf_entry *nf_entry; /* NULL: from the worker's log */
    const uint8_t *payload;             /* payload_length bytes: in the entry, or in a data ring */
    uint32_t payload_length;            /* of a worker's entry always MB_PAYLOAD_SIZE */
    uint32_t bits; /* which of the reader's own subscriptions it matches: bit k, k-th of the plan;
                      0: not to be handled any more (mb_reader_judge) */
    uint64_t position; /* in the worker's log: the entry's sequence, or the NF's event's `at` */
};

struct mb_reader;

struct mb_reader_config {
    uint32_t nf; /* own index */
    uint64_t log_slots;
    struct mb_nf_geometry geometry; /* of the own area */
    uint32_t subscriptions;         /* at most 32 */
    uint8_t bit[32];                /* bit in the mask of the k-th subscription; the first one
                                       has no filter */
    uint64_t types[32][8];          /* set of types (512 bits) that the k-th one delivers; a
                                       subscription that only follows a publisher has none */
    uint64_t streams[8];            /* set of types that carry bytes of a stream, or say that some
                                       will never come: MB_DROP on one is MB_DROP_FLOW, since a
                                       retransmission would bring the bytes back (the bus knows no
                                       TCP) */
    uint64_t cut;                   /* a poll ends at the first packet boundary at or past a
                                       multiple of this position, and is not begun before all of
                                       it can be read: batches that do not depend on timing. A
                                       power of two, at most a quarter of the log; 0: wherever
                                       the barrier is */
    uint32_t instance;              /* where several instances share out an NF's flows: which one
                                       this is, from 0; each of its subscriptions names it for its
                                       share alone */
    uint32_t instances;             /* how many there are; 0 or 1: this one alone */
    uint32_t switchable;            /* bit k: commands may name the k-th subscription */
    uint64_t command_delay; /* packets until a command takes effect; 0 where it gives none. Not
                               together with `cut`: a batch is not begun before it is complete, and
                               the worker waits for who gives commands */
    bool skips;        /* it holds back nobody: what it is too slow for is overwritten, and it gets
                          system.lost instead (layout.h, "Floor"). Not with verdicts, nor with commands,
                          nor for who merges in events of other NFs */
    uint64_t loses[8]; /* of one that skips: set of types that count as lost, as the worker knows
                          them (mb_consumer.delivers) */
    struct mb_wait_policy wait_policy;
};

/* Makes the reader and its own sealed area. Returns NULL and sets *error to -errno (-EINVAL: the
 * configuration). */
struct mb_reader *mb_reader_create(const struct mb_reader_config *config, int *error);
void mb_reader_destroy(struct mb_reader *reader);

/* The own area's descriptor, to be sent to worker and other NFs. Stays the reader's. */
int mb_reader_area_fd(const struct mb_reader *reader);

/* Maps the worker's log. Returns 0 or -errno. */
int mb_reader_map_log(struct mb_reader *reader, int fd);

/* Maps NF `index`'s area, in place of the one that was mapped under that index before: what the
 * last poll delivered is done with (advance), and the reader goes on with what the NF publishes
 * from now on. To be called while nothing is in flight, or before the first poll. `barrier`: an
 * earlier NF that this one waits for, or (with `cut`) that one of those waits for; `mask` all its
 * bits; `publishes`: its events are merged in. A later NF is mapped to be woken, and as a reader of
 * what this one publishes. Indexes are the order of the chain. Returns 0 or -errno (-EINVAL: does
 * not fit; -EPERM: not sealed; -EPROTO: not an NF's). */
struct mb_neighbour {
    uint32_t index;
    int fd;
    struct mb_nf_geometry geometry;
    uint64_t mask[2];
    bool barrier;
    bool publishes;
    bool skips; /* a later one: what this NF published is not kept for it */
    uint64_t
        cut; /* of one that is read: what it publishes comes at the end of a batch, cut so (or
                what it reads does, and so on), and its cause lies anywhere in it. 0: at once */
    bool is_shadow; /* an earlier one: its verdicts are not looked at, its events are marked */
};
int mb_reader_map_neighbour(struct mb_reader *reader, const struct mb_neighbour *neighbour);

/* Where the versions of frames are that editors before this one made: `pool` must outlive the
 * reader, and be mapped again only into its own place. `shape` is the plan's. For a reader that
 * skips, call mb_reader_copy_frames before. Returns 0 or -EINVAL: `pool` has not that shape. */
int mb_reader_use_versions(struct mb_reader *reader, const struct mb_frame_pool *pool,
                           const struct mb_versions_shape *shape);

/* A frame, and the event's bytes in it, as this NF is to see them. */
struct mb_seen_frame {
    uint64_t frame; /* where it begins in the frame pool */
    uint32_t frame_length;
    uint32_t data_offset; /* from the frame's first byte */
    bool is_edited;
};

/* Of a delivery of the last poll: what is left of the frame when the editors before this NF are
 * done, or the frame as received. What an NF published about a batch shows frames as received. The
 * range of an edited frame lies within it; of others as for mb_delivery. */
struct mb_seen_frame mb_reader_frame(const struct mb_reader *reader,
                                     const struct mb_delivery *delivery);

/* True where editors stand before this NF: else mb_reader_frame need not be asked. */
bool mb_reader_sees_edits(const struct mb_reader *reader);

/* For a reader that skips: memory of frames that may be used again may be before it has read them,
 * so it reads them from memory of its own. `shared` and `own` are two mappings of the pool, which
 * must outlive the reader; pages of `own` are replaced, and it is to be read from then on. Returns
 * 0 or -errno. */
int mb_reader_copy_frames(struct mb_reader *reader, const struct mb_frame_pool *shared,
                          const struct mb_frame_pool *own);

/* Waits up to `timeout_ns` (0: looks once) for entries, and writes up to `capacity`
 * (>= 2 * MB_ENTRIES_PER_PACKET) deliveries in order. What an earlier NF dropped is passed over and
 * counted (layout.h, "Verdicts"), and so is what this NF wanted no more of. Ends between packets,
 * but where `capacity` runs out inside one; the next poll then goes on there. Returns how many; 0
 * also when only foreign entries were passed. What was polled before is done with (advance).
 * -EPROTO: an earlier NF's log is not what it should be; *broken_nf names it. That NF's events are
 * left out from where this was found on; nothing else changes, poll again.
 * -EINVAL: `capacity`, or no log is mapped. */
int mb_reader_poll(struct mb_reader *reader, struct mb_delivery *deliveries, uint32_t capacity,
                   uint64_t timeout_ns, uint32_t *broken_nf);

/* The worker's entry that a delivery of the last poll is, or was published from. */
const struct mb_entry *mb_reader_origin(const struct mb_reader *reader,
                                        const struct mb_delivery *delivery);

/* The NF handles delivery `sequence` of the worker's log from now on (of an NF's event: its `at`):
 * what it publishes is `at` there. Never goes back. All before that entry's packet is done for:
 * when a publication has to wait, the cursor moves up to there. */
void mb_reader_set_position(struct mb_reader *reader, uint64_t sequence);

/* The same for handlers of whole batches: all of this poll stays valid and open to verdicts, and
 * the share of one packet (mb_reader_publish) is that of the whole poll. For `sequence` take the
 * last delivery's, so that causes come before effects. Holds until the next poll. */
void mb_reader_set_batch_position(struct mb_reader *reader, uint64_t sequence);

/* The verdict on the entry `sequence`: the worker's one, or for an NF's event its `at`. It must be
 * of the last poll. A stronger verdict stays: RESET, DROP_FLOW, DROP, PASS_FLOW, PASS. Returns the
 * verdict that was taken: DROP_FLOW for DROP on an event of a stream, PASS where it cannot be
 * judged.
 *
 * After MB_DROP_FLOW, MB_RESET and MB_PASS_FLOW later events of the flow do not come any more, and
 * those that the last poll already delivered get `bits` = 0. (A drop is then repeated for the
 * others.) An NF with commands tells the stack, which names it no more for the flow `command_delay`
 * packets later. */
enum mb_verdict mb_reader_judge(struct mb_reader *reader, uint64_t sequence,
                                enum mb_verdict verdict);

/* The same for a delivery of the last poll. An NF's event may be of another flow than the entry
 * that it is `at`, where its publisher takes batches: MB_DROP_FLOW and MB_RESET then drop the
 * event's flow, from its next entry on. */
enum mb_verdict mb_reader_judge_delivery(struct mb_reader *reader,
                                         const struct mb_delivery *delivery,
                                         enum mb_verdict verdict);

/* Translates `cause`'s flow, both directions, from the packet of `cause` on: `rewrite` says what of
 * it (`flow` is set here). What was said before with the same packet stays where this says nothing.
 * `cause` is of the last poll. Returns 0; -EPERM: this NF declared no edits; -EINVAL: no field,
 * or one that there is not; -ENOENT: the event has no flow, or is not about a packet of it; -EXDEV:
 * it was published from an entry of another flow. */
int mb_reader_rewrite(struct mb_reader *reader, const struct mb_delivery *cause,
                      const struct mb_rewrite *rewrite);

/* The packet of `cause`, a delivery of the last poll, is to leave this NF with what `edit` says:
 * fields and tags; later NFs see it so. What was said before with the same event stays where this
 * says nothing. `packet` and replacements are set here. Returns 0; -EPERM: this NF declared no
 * edits; -EINVAL: a field that there is not, or a value out of range; -ENOENT: the event is not
 * about a packet, and bears no bytes that waited; -EXDEV: it was published with another packet than
 * its own; -E2BIG: more tags than one event can push, or replacements than it can have. */
int mb_reader_edit(struct mb_reader *reader, const struct mb_delivery *cause,
                   const struct mb_edit *edit);

/* The same for bytes of the event, the range of mb_reader_frame: those from `at` on, `length` of
 * them, are to be `bytes`. Waits where the ring of replacements is full. Returns as mb_reader_edit;
 * also -EPERM: it declared no edits of payloads; -ERANGE: not bytes of the event; -ENOBUFS: one
 * packet's share, or that of one batch, the ring, is used up; -EINTR: `cancelled` (NULL: never)
 * became true. */
int mb_reader_replace(struct mb_reader *reader, const struct mb_delivery *cause, uint32_t at,
                      const uint8_t *bytes, uint32_t length, const volatile bool *cancelled);

/* Publishes an event `type`. Header, mask, frame range and snapshot are those of `cause`; `payload`
 * (whole, as the type declares it) replaces the cause's. Waits where the own log is full. Returns
 * 0; -ENOBUFS: one packet's share, half of the own log and half of the data ring, is used up;
 * -EMSGSIZE: payload over a quarter of the data ring; -EPERM: this NF declared no publications;
 * -EINVAL: `type`; -EINTR: `cancelled` (NULL: never) became true. */
int mb_reader_publish(struct mb_reader *reader, const struct mb_delivery *cause, uint16_t type,
                      uint8_t reason, const uint8_t *payload, uint32_t payload_length,
                      const volatile bool *cancelled);

enum { MB_DERIVATIONS_MAX = 32 };

/* Which further types an event is published as, right behind it and caused by it: `entry` as it was
 * published, its whole `payload`. Returns how many. */
typedef uint32_t (*mb_derive)(const void *context, const struct mb_entry *entry,
                              const uint8_t *payload, uint32_t payload_length, uint16_t types[32]);

/* Asks `derive` about each event that is published from now on. It is called while one is
 * published, and publishes nothing itself. NULL: no more. */
void mb_reader_derive(struct mb_reader *reader, mb_derive derive, const void *context);

/* Several events of one type, in the order in which they are published. Nothing is owned. */
struct mb_publications {
    uint16_t type;
    uint8_t reason;
    uint32_t count;
    const uint32_t *causes;  /* of each: the index of its cause among the last poll's deliveries */
    const uint32_t *lengths; /* of each: bytes of its payload */
    const uint8_t *payloads; /* one behind the other, not aligned */
};

/* As mb_reader_publish for each of them, until one fails (-EINVAL: also a cause that is none of the
 * last poll's). *published: how many were. */
int mb_reader_publish_many(struct mb_reader *reader, const struct mb_publications *many,
                           const volatile bool *cancelled, uint32_t *published);

/* Tells the stack that this NF wants no more (MB_COMMAND_UNSUBSCRIBE), or wants again
 * (MB_COMMAND_SUBSCRIBE), the events of `cause`'s flow on these subscriptions (bit k: the k-th) and
 * sides (bit d: events of direction d). `cause` is of the last poll.
 *
 * Polls from now on deliver none of what was unsubscribed from; of what the last one delivered, ask
 * mb_reader_wanted. The stack stops, or begins, with the packet `command_delay` after that of
 * `cause`. A flow that has ended by then is left as it is.
 *
 * Returns 0; -EPERM: this NF declared no commands; -EINVAL: kind, subscriptions, sides or delay;
 * -ENOENT: the event has no flow; -ENOBUFS: more commands within `command_delay` packets than there
 * are slots. */
int mb_reader_command(struct mb_reader *reader, const struct mb_delivery *cause,
                      enum mb_command_kind kind, uint32_t subscriptions, unsigned sides);

/* `bits` of a delivery without the subscriptions that its flow was unsubscribed from meanwhile. */
uint32_t mb_reader_wanted(const struct mb_reader *reader, const struct mb_delivery *delivery);

/* All of the last poll is done, verdicts included: moves the cursor, wakes who waits for it. */
void mb_reader_advance(struct mb_reader *reader);

/* True when the last poll stopped inside a packet: the next one goes on with it. */
bool mb_reader_is_inside_packet(const struct mb_reader *reader);

/* The worker is gone without having ended the log: what is readable now is all that there will be.
 * Polls deliver it, the last batch as it is. To be called once it is known that the worker writes
 * no more. */
void mb_reader_worker_is_gone(struct mb_reader *reader);

/* Behind mb_reader_worker_is_gone: so is NF `index`. Nobody waits for it; what it did not come to
 * is not judged. */
void mb_reader_nf_is_gone(struct mb_reader *reader, uint32_t index);

/* True when the worker is gone and all that there was for this NF is done. */
bool mb_reader_is_at_end(const struct mb_reader *reader);

struct mb_nf_counters *mb_reader_counters(struct mb_reader *reader);
uint64_t mb_reader_position(const struct mb_reader *reader);

#endif
