/*
 * What the files of the reader share. Nobody else includes this.
 *
 * reader.c    making, mapping, polling     barrier.c   how far one may read, and sleeping
 * nf_log.c    other NFs' logs, checked     verdict.c   what earlier NFs dropped; own verdicts
 * batch.c     where a batch ends           publish.c   the own log
 * command.c   own commands to the stack     rewrite.c   own rewrites of flows
 * edit.c      own edits of packets          versions_seen.c   frames as earlier editors left them
 * skip.c      reading what may be overwritten
 * kept.c      what stays although it was read
 * log_end.c   the end of a log whose worker is gone
 */
#ifndef MICROBOX_BUS_READER_PRIVATE_H
#define MICROBOX_BUS_READER_PRIVATE_H

#include "microbox/bus/flow_set.h"
#include "microbox/bus/reader.h"

enum { MB_NOBODY = -1 };

#define MB_NEVER UINT64_MAX

/* An NF whose area is mapped here. Its memory is not to be trusted. */
struct mb_peer {
    uint32_t index;
    bool barrier;
    bool publishes;  /* its events are merged in */
    bool skips;      /* it holds nothing: what it has not read may be overwritten */
    uint64_t cut;    /* of the batches that it publishes at the end of, 0: it publishes at once */
    bool is_shadow;  /* its events are marked */
    uint32_t editor; /* its number, by what is applied of it it is waited for; 0: it is none */
    bool broken;     /* its log was found broken and is not looked at any more */
    uint64_t mask[2];
    struct mb_nf_geometry geometry;
    struct mb_area area;
    const struct mb_nf_page *page;
    const uint8_t *verdicts;
    const uint8_t *shared_verdicts; /* of a reader that skips: `verdicts` is its copy of these */
    uint8_t *verdict_copies;
    const struct mb_nf_entry *slots;
    const uint8_t *ring;
    uint64_t *version_copies; /* of an editor before a reader that skips: its table, copied */

    uint64_t gone_at;      /* as read with the barrier; */
    uint64_t cursor;       /* likewise */
    uint64_t left_at;      /* how far it came, where it died and the worker cannot say so;
                              MB_NEVER */
    uint64_t visible;      /* its log's head, likewise */
    uint64_t taken;        /* its entries before this one have been merged */
    uint64_t taken_at;     /* `at` of the last one taken: none later may be smaller */
    uint64_t next_at;      /* `at` of entry `taken`, MB_NEVER where there is none yet */
    uint64_t scanned;      /* its entries before this one have been looked at for a batch's end */
    uint64_t batch_end_at; /* a batch ends with the packet of this position; MB_NEVER: not known */
};

/* How far the reader may go, and who holds it back. */
struct mb_window {
    uint64_t end;
    const struct mb_peer *limiter; /* NULL: the worker's head */
    uint64_t seen;                 /* the word that has to move, as it was */
    bool is_applied;               /* that word is applied[] of the limiter, not its cursor */
    bool concerned;                /* something before the head is for this NF */
    bool whole;                    /* `end` is known to be a packet boundary */
};

struct mb_reader {
    uint32_t nf;
    uint64_t cut;
    uint32_t instance;  /* of the NF that this is, from 0; */
    uint32_t instances; /* as many share out its flows */
    struct mb_wait_policy wait_policy;

    uint64_t bits[2];    /* own, all subscriptions */
    uint32_t switchable; /* bit k: commands may name the k-th one */
    uint32_t delivering; /* bit k: the k-th one delivers some type */
    uint8_t subscription_of_bit[MB_SUBSCRIPTIONS_MAX];
    uint32_t subscriptions_of_type[MB_TYPES_MAX]; /* which deliver it */
    uint64_t streams[MB_TYPES_MAX / 64];          /* types that carry bytes of a stream */

    struct mb_area log_area;
    const struct mb_log_page *log;
    const struct mb_entry *slots;
    uint64_t slot_mask;

    struct mb_nf_geometry geometry;
    struct mb_area own_area;
    struct mb_nf_area own;

    bool worker_is_gone; /* the log grows no more */
    uint64_t cursor;     /* what the own page says */
    uint64_t next;       /* next entry of the worker's log to be looked at */
    uint64_t resting;    /* all before it is delivered: the cursor may move there; never inside a
                            packet */
    uint64_t packet_end; /* of the packet that `next` is in; equal to `next` between packets */
    int dropped_by;      /* last NF that dropped that packet, MB_NOBODY */

    uint32_t peers; /* in the order of their indexes */
    struct mb_peer peer[MB_NFS_MAX];
    uint64_t judges[2];         /* bits of the inline NFs before this one */
    uint64_t merge_next;        /* smallest next_at */
    struct mb_nf_entry *copies; /* entries of other NFs, safe from their writers */
    uint32_t copies_used;
    int broken; /* NF whose log is broken and not reported yet, MB_NOBODY */

    struct mb_delivery *deliveries; /* of the last poll */
    uint32_t capacity;
    uint32_t delivered;

    struct mb_flow_set dropped_flows; /* by earlier NFs; value: the last such NF's index */
    struct mb_flow_set judged_flows;  /* by this NF; value: its verdict */

    uint64_t scanned; /* entries before this one, but for `mark`, do not end a batch */
    uint64_t mark;    /* position of an entry that ends a batch, MB_NEVER: not seen yet */

    uint64_t position;      /* what is published now is `at` there */
    uint64_t floor;         /* entries before this one are done for: the cursor may go here */
    bool reads_batches;     /* what others publish at the end of one (kept.c) */
    bool keeps_batch;       /* the whole poll stays valid, so the floor stays where it is */
    uint64_t own_head;      /* next entry of the own log */
    uint64_t own_tail;      /* oldest that a reader may still need */
    uint64_t own_ring_head; /* likewise in the data ring */
    uint64_t own_ring_tail;
    struct mb_command_index *commands; /* NULL: this NF gives none */
    struct mb_skipping *skipping;      /* NULL: what it has not read is kept for it */

    struct mb_versions_shape versions_shape;
    const uint8_t *versions;  /* the area, as it is read; NULL: not mapped */
    uint64_t versions_offset; /* of the area, in the frame pool */
    bool sees_edits;          /* an editor is waited for */

    uint64_t edit_head;  /* of the own ring of replacements: the next byte */
    uint64_t edit_tail;  /* what lies before is taken */
    uint64_t edit_floor; /* the floor when edit_floor_head was the head */
    uint64_t edit_floor_head;
    uint64_t edit_mark;      /* when the worker has applied all before this position, */
    uint64_t edit_mark_tail; /* this is the tail */

    mb_derive derive; /* NULL: nothing is derived from what is published */
    const void *derive_context;
    uint64_t share_slots; /* own_head and own_ring_head as of `floor` */
    uint64_t share_ring;
};

enum { MB_COPIES = 2 * MB_ENTRIES_PER_PACKET };

static inline const struct mb_entry *mb_reader_entry(const struct mb_reader *reader,
                                                     uint64_t sequence) {
    return &reader->slots[sequence & reader->slot_mask];
}

/* barrier.c */

/* Position of a peer for anybody who waits for it (layout.h, "Passed"), given the head; `*cursor`
 * is the word that it follows from. */
uint64_t mb_peer_passed(const struct mb_reader *reader, const struct mb_peer *peer, uint64_t head,
                        uint64_t *cursor);
/* The same for who stands behind a peer: of an editor, what the worker has applied. */
uint64_t mb_peer_done(const struct mb_reader *reader, const struct mb_peer *peer, uint64_t head,
                      uint64_t *seen);
struct mb_window mb_reader_look(struct mb_reader *reader);
/* What lies before `position`, the end of a packet, is not looked at any more. */
void mb_reader_go_to(struct mb_reader *reader, uint64_t position);
/* Stores the cursor and wakes who waits for it. */
void mb_reader_move_cursor(struct mb_reader *reader, uint64_t position);
/* Sleeps until what holds `window` back moves, at most `timeout_ns`. */
void mb_reader_sleep(struct mb_reader *reader, const struct mb_window *window, uint64_t timeout_ns);

/* Sleeps until the worker's applied[] of NF `editor` is not `seen` any more, at most `timeout_ns`.
 */
void mb_reader_sleep_until_applied(struct mb_reader *reader, uint32_t editor, uint64_t seen,
                                   uint64_t timeout_ns);

/* reader.c */

/* Which of the reader's subscriptions the event matches: named in its mask, and of a type that they
 * deliver. */
uint32_t mb_reader_matches(const struct mb_reader *reader, const struct mb_entry *entry);

/* nf_log.c */

/* Reads a peer's log head. Must come after the load of its cursor. */
void mb_nf_log_look(struct mb_reader *reader, struct mb_peer *peer);
/* Entries of the peer's log before this one may have been overwritten, since none of them was for
 * this instance; 0 where the reader is the only one. Ask after reading an entry: what was read of
 * an earlier one is not to be believed. */
uint64_t mb_nf_log_given_up(const struct mb_reader *reader, const struct mb_peer *peer);
/* Works out `merge_next` anew. */
void mb_nf_log_find_next(struct mb_reader *reader);
/* Copies and checks the event that comes next of all NFs' (merge_next says that there is one), and
 * goes on to the one after it. `*peer`: whose it is. Returns NULL where its log is broken, or the
 * event was none of this instance's and is gone. */
const struct mb_nf_entry *mb_nf_log_take(struct mb_reader *reader, const struct mb_peer **peer);

/* verdict.c */

/* The last earlier NF that dropped the packet [first, end), or MB_NOBODY. Remembers flows. */
int mb_reader_judged(struct mb_reader *reader, uint64_t first, uint64_t end);
/* True where an event of NF `publisher` (MB_NOBODY: of the worker) is not to be delivered, since a
 * later NF than that dropped its packet (`dropped_by`) or its flow. */
bool mb_reader_is_dropped(const struct mb_reader *reader, const struct mb_entry *entry,
                          int publisher, int dropped_by);
/* True where this NF's own verdict on the flow keeps the event from it. */
bool mb_reader_is_settled(struct mb_reader *reader, const struct mb_entry *entry, uint64_t at);

/* No later event of the flow is delivered, those of other NFs included. */
void mb_reader_leave(struct mb_reader *reader, uint64_t flow);

/* batch.c */

/* First packet boundary at or past `position`, if it is known by `end`; else MB_NEVER. */
uint64_t mb_reader_boundary(const struct mb_reader *reader, uint64_t position,
                            const struct mb_window *window);
/* Where the batch from `next` on ends, or MB_NEVER while that cannot be told. */
uint64_t mb_reader_batch_end(struct mb_reader *reader, const struct mb_window *window);
/* The next position that ends a batch whatever is in the logs. */
uint64_t mb_reader_cut_after(const struct mb_reader *reader);

/* kept.c */

/* Where the cursor may move: to `resting`, or less far where a publisher may still speak of what
 * lies before that. Never back. */
uint64_t mb_reader_not_kept(const struct mb_reader *reader);

/* command.c */

/* Returns 0 or -errno. Must come after the own area is made. */
int mb_command_index_create(struct mb_reader *reader, uint64_t delay);
void mb_command_index_destroy(struct mb_reader *reader);
/* The subscriptions among `bits` that are still wanted of the entry, which came at position `at`.
 */
uint32_t mb_reader_still_wanted(const struct mb_reader *reader, const struct mb_entry *entry,
                                uint64_t at, uint32_t bits);

/* Tells the stack of a verdict on the flow of a delivery of the last poll, where there is room. */
void mb_reader_tell_verdict(struct mb_reader *reader, const struct mb_delivery *judged,
                            enum mb_command_kind kind);

/* skip.c: of a reader that skips */

/* `loses`: as in mb_reader_config. Returns 0 or -ENOMEM. */
int mb_skipping_create(struct mb_reader *reader, const uint64_t loses[8]);
void mb_skipping_destroy(struct mb_reader *reader);
/* What it reads instead of the worker's slots. */
const struct mb_entry *mb_skipping_slots(struct mb_reader *reader, const struct mb_entry *shared);
/* Its verdicts are copied with the entries. Returns 0 or -ENOMEM. */
int mb_skipping_add_judge(struct mb_reader *reader, struct mb_peer *peer);
/* Copies what `window` allows, and narrows it to what is copied; or goes to the floor. */
void mb_skipping_look(struct mb_reader *reader, struct mb_window *window);
/* True where the next entry to be copied is lost, so that a batch will not be complete. Of any
 * reader. */
bool mb_skipping_ends_batch(const struct mb_reader *reader);
/* Whether there is a system.lost to be delivered before anything else (of any reader), and it; NULL
 * where there is none. */
bool mb_skipping_has_lost(const struct mb_reader *reader);
const struct mb_entry *mb_skipping_take_lost(struct mb_reader *reader);
/* Copies the frames of what was delivered. */
void mb_skipping_keep_frames(struct mb_reader *reader);

/* versions_seen.c */

/* The word of entry `sequence` in the table of an editor; of a reader that skips, its copy. */
uint64_t mb_version_word_of(const struct mb_reader *reader, const struct mb_peer *peer,
                            uint64_t sequence);
/* Where the nearest version of the entry at `sequence` begins in the frame pool; MB_NEVER: there is
 * none. */
uint64_t mb_reader_version(const struct mb_reader *reader, uint64_t sequence);

/* publish.c */

/* Raises `floor` to the first entry of the packet in hand. */
void mb_reader_find_floor(struct mb_reader *reader);
/* A new poll begins: what is published is counted against the share of its entries. */
void mb_reader_begin_share(struct mb_reader *reader);

#endif
