/*
 * What processes share: entries, the log's head page, an NF's page.
 *
 * Plain C, read by Python as events/payloads.h is. A process writes only areas of its own; all
 * other areas are mapped read-only. Whoever reads a foreign word reads it once, into a local,
 * through an operation of atomic.h, and checks its range before use.
 *
 * THE PROTOCOL
 *
 * Positions. An entry's sequence number counts from 0 and never wraps; its slot is the sequence
 * number modulo the count of slots (a power of two). `head` is one past the last entry that may
 * be read. Heads and cursors rest only between packets: all entries published while one packet
 * was handled become readable together, the last of them bears MB_LAST.
 *
 * Due. Before the worker moves `head` it stores due[i] = the new head for each NF i that some
 * entry of the batch names in its mask, and for each NF behind an inline one that is named, since
 * the verdict may be on a flow that both read (but not where the two are instances of one NF, which
 * read no flow in common). An NF whose cursor is at or past its due has nothing
 * to read: it counts as standing at the head, is not woken, and need not move its cursor.
 *
 * Passed. NF i's position, for anybody who waits for it (a later NF, the gate):
 *     read head, then due[i], then cursor[i];   cursor >= due ? head : cursor
 * It never says more than is true, but may fall back from the head to an old cursor.
 *
 * From. The worker may overwrite what an idle NF never was to read. Each time it counts NF i as
 * standing at the head for reclamation it stores from[i] = head first. An NF that finds
 * due > cursor reads from[] after due[], and starts at max(cursor, from). While due > cursor,
 * from[i] does not change, and the worker keeps every slot from there on.
 *
 * NF logs. An NF's own log has entries of struct mb_nf_entry; `at` is the position in the worker's
 * log that it was published from. A reader whose barrier is b may read those with at < b. The
 * mask of the worker's entry `at` names every reader of that NF that the entry concerns (the plan
 * sees to it), so an entry of an NF's log is free when all its readers have passed `at`. A reader
 * merges by `at`, then NF, then sequence number; the worker's entry `at` itself comes first. A
 * reader that is one of several instances is concerned by its share of the flows alone: what is
 * published for the others may be overwritten before it looks. So the publisher stores log_tail
 * before it overwrites, and an instance that has copied an entry believes it only if log_tail, read
 * after that, is not past it. A publisher whose log
 * is full moves its cursor up to the packet in hand and waits; so that this always helps, what one
 * packet makes it publish may fill half of its log and of its data ring, no more.
 *
 * Verdicts. verdict[sequence modulo slots] of an inline NF is valid where the entry's mask names
 * that NF and its position has passed the entry. Readers behind pass over what was dropped: where
 * an entry is judged MB_DROP, MB_DROP_FLOW or MB_RESET, all entries of its packet, and after the
 * latter two all later ones of its flow. Entries with MB_APART neither drop the packet nor are
 * dropped with it. Events that an NF published are passed over likewise where a later NF dropped;
 * not where the publisher itself did, and alerts never are. The verdicts of an NF in shadow are
 * written alike, and read by who counts them alone.
 *
 * Rewrites. An NF that declares edits of headers has a struct mb_rewrite a slot of the worker's
 * log, beside its verdicts. MB_LEFT_REWRITE in the verdict on an entry says that rewrite[sequence
 * modulo slots] is to be taken: it is valid where, when, and as long as the verdict is. So the NF
 * needs no ring of them and can neither run out of slots nor overtake who takes them.
 *
 * Edits. An NF that edits packets, an editor, has a struct mb_edit a slot of the worker's log as
 * well, with MB_LEFT_EDIT in the verdict in the same sense, and a ring of its own for the bytes
 * that it replaces. The worker takes what an editor left with a packet once, when the editor has
 * passed all of the packet's entries, and makes a version of the frame (version.h): a published
 * frame never changes. applied[i] says up to where it has done so; it stands for editor i's
 * position with all who wait for it, and rests between packets, as cursors do. It is never past an
 * editor's position, nor past the head; an editor that is not named, or gone, does not keep it from
 * following the head. Editors are applied in the order of the chain, and none is ahead of one
 * before it. What lies in the ring with entries before applied[i] is taken.
 *
 * Commands. An NF that declares commands has a ring of struct mb_command. A command that the packet
 * p caused takes effect in the worker just before packet p + delay, in every replay: before it
 * handles packet n the worker has seen all such NFs pass packet n - delay, and an NF writes a
 * command before its cursor passes the entry that caused it. Until then the NF itself leaves out
 * what it unsubscribed from. Nobody tells the NF what was taken: where it reads an entry of packet
 * p, all commands caused by p - delay or earlier have taken effect, and their slots are free.
 * A verdict on a flow is a command too, so that it costs the NF nothing more from then on.
 *
 * Sleep. A sleeper stores `asleep` (what it waits for) in its own page, sequentially
 * consistent, looks again, then waits by futex on the low 32 bits of that word with the value it
 * saw. Who moves a word stores it sequentially consistent, then reads the `asleep` fields of those
 * who may wait for it, and wakes those once (wait.h).
 *
 * Floor. An NF that skips holds nothing: the worker overwrites entries that it has not read. Before
 * it does, it stores `floor`, the first entry that it will keep; then named_before[i], how many
 * entries before the floor were for NF i; then `counted` = the floor. Such an NF copies entries
 * first and then reads the floor: what is at or past it was copied whole, and so were the verdicts
 * on it, since those who judge see a new entry in the slot later than the floor. What lies before
 * the floor is lost; how much of it was for this NF is the difference between named_before[i],
 * which is right where floor = counted was seen before and after it was read, and what the NF
 * itself counted up to there. Frames in memory that is used again have a floor of their own,
 * `frames_floor`: entries before it may name frames that are not theirs any more.
 *
 * Death. When NF i is gone, the worker stores due[i] = 0 for good, so that it has passed everything
 * for everybody; entries at or past gone_at[i] were not judged by it. It stores gone_at first. A
 * death moves no word, so nobody sleeps on an NF's cursor for long without looking again.
 *
 * When the worker is gone, nothing that it writes moves any more, and the log ends at the head: who
 * is told so reads up to there (log_end.c). Words that the worker stores one after the other may
 * stand as it left them in between, which is sound for who looks from outside: a due past the head
 * means the head, and of two floors the one in `counted` is in force.
 */
#ifndef MICROBOX_BUS_LAYOUT_H
#define MICROBOX_BUS_LAYOUT_H

#include "microbox/events/payloads.h"

#include <stdint.h>

#define MB_LOG_MAGIC     UINT64_C(0x30474f4c584f424d) /* "MBOXLOG0" */
#define MB_NF_PAGE_MAGIC UINT64_C(0x305f464e584f424d) /* "MBOXNF_0" */

enum {
    MB_CACHE_LINE = 64,
    MB_PAGE_SIZE = 4096,
    MB_ENTRY_SIZE = 192,
    MB_NF_ENTRY_SIZE = 256,
    MB_SUBSCRIPTIONS_MAX = 128, /* bits of a mask: an NF instance with one filter each */
    MB_NFS_MAX = 64,
    MB_TYPES_MAX = 512,
    MB_REASONS_MAX = 256,
    MB_ENTRIES_PER_PACKET = 1024, /* most entries published while one packet is handled */
    MB_LOG_SLOTS_MIN = 4096,
    MB_LAYOUT_VERSION = 1
};

/* Bits of mb_entry.flags. */
enum mb_entry_flag {
    MB_FROM_RESPONDER = 1, /* direction: clear, sent by the flow's originator */
    MB_LAST = 2,           /* last entry of its packet */
    MB_HAS_FLOW = 4,       /* `flow`, snapshot and a flow's payload are filled */
    MB_IN_DATA_RING = 8,   /* the whole payload lies in the publisher's data ring */
    MB_ENDS_BATCH = 16,    /* batches of NFs that take batches end with this entry's packet */
    MB_APART = 32,         /* not about the packet that it was published with: the end of another
                              flow, a timer */
    /* When it was published, where not as a part of the packet (moment.h): one of these three. */
    MB_AHEAD = 64,    /* before all of the packet, by every worker: a timer, a checkpoint */
    MB_OVERDUE = 128, /* behind the packet, whose time ended what it is about */
    MB_AT_END = 192,  /* when the input was over */
    MB_WHEN = 192
};

/* One event. Three cache lines: header and mask; payload; snapshot. */
struct mb_entry {
    uint64_t sequence;
    uint64_t time;   /* nanoseconds since the epoch, of the packet that caused it */
    uint64_t packet; /* number of the input packet, from 1 */
    uint64_t flow;   /* number of the flow's first packet: the flow's identity; 0: none */
    uint64_t frame;  /* where the frame begins in the frame pool */
    uint16_t type;   /* enum mb_event_type */
    uint8_t reason;  /* enum mb_reason */
    uint8_t flags;
    uint32_t data_length;
    uint64_t mask[2];

    uint32_t frame_length; /* bytes captured */
    uint32_t data_offset;  /* of the event's bytes, from the frame's first byte */
    union mb_payload payload;

    struct mb_snapshot snapshot;
};

/* Where an NF's event came from. */
struct mb_provenance {
    uint64_t at;          /* position in the worker's log */
    uint64_t cause;       /* sequence number of the entry that caused it, in log `cause_log` */
    uint64_t blob;        /* position in the data ring, counted like sequences: of the payload where
                             it lies there, else of the next one that will */
    uint32_t blob_length; /* of the payload, wherever it lies */
    uint16_t cause_log;   /* 0: the worker's; 1 + i: NF i's */
    uint16_t publisher;   /* NF index */
    uint8_t ends_part;    /* 1: this entry completes a quarter of its log or of its data ring */
    uint8_t from_batch;   /* 1: published about a batch, so `at` need not be the frame's packet */
    uint8_t is_shadow;    /* as a reader gets it: its publisher is in shadow. The reader sets it,
                             whatever the publisher wrote */
    uint8_t reserved[29];
};

struct mb_nf_entry {
    struct mb_entry entry;
    struct mb_provenance provenance;
};

/* What an NF says to the stack about a flow. */
enum mb_command_kind {
    MB_COMMAND_UNSUBSCRIBE = 1, /* the flow's events are no longer wanted on these subscriptions */
    MB_COMMAND_SUBSCRIBE = 2,   /* they are wanted again */
    MB_COMMAND_DROP_FLOW = 3, /* inline NFs: the flow's packets do not go out, so that neither this
                                 NF nor those that wait for it are to be told of them */
    MB_COMMAND_KINDS
};

/* One command: a record in its NF's ring, by sequence number modulo slots. */
struct mb_command {
    uint64_t flow;          /* the flow's number */
    uint64_t packet;        /* the packet that caused it, as mb_entry.packet at the NF's position */
    uint64_t seen;          /* a packet of the flow: says where in the flow table it is */
    uint32_t subscriptions; /* bit k: the NF's k-th one, as in mb_delivery.bits */
    uint16_t kind;          /* enum mb_command_kind */
    uint16_t sides;         /* bit d: for events of direction d */
};

/* What a flow's packets are to bear from the packet of an entry on: both directions, so `source` is
 * what the originator is called from then on, wherever its name stands. */
struct mb_rewrite {
    uint64_t flow;           /* the flow's number */
    uint8_t source[16];      /* as in struct mb_five_tuple */
    uint8_t destination[16]; /* likewise */
    uint16_t source_port;    /* of ICMP echo the identifier */
    uint16_t destination_port;
    uint32_t fields; /* set of enum mb_rewrite_field: which of them count */
    uint8_t reserved[16];
};

enum mb_rewrite_field {
    MB_REWRITE_SOURCE = 1,
    MB_REWRITE_DESTINATION = 2,
    MB_REWRITE_SOURCE_PORT = 4,
    MB_REWRITE_DESTINATION_PORT = 8,
    MB_REWRITE_FIELDS = 15
};

enum { MB_EDIT_TAGS_MAX = 2, MB_EDIT_POPPED_MAX = 8 };

/* A VLAN tag (IEEE 802.1Q). */
struct mb_vlan_tag {
    uint16_t ether_type; /* that announces it: 0x8100, 0x88a8, ... */
    uint16_t control;    /* priority (3 bits), drop eligible (1), VLAN (12) */
};

enum mb_edit_field {
    MB_EDIT_ETH_SOURCE = 1,
    MB_EDIT_ETH_DESTINATION = 2,
    MB_EDIT_IP_TTL = 4,
    MB_EDIT_IP_DSCP = 8,
    MB_EDIT_IP_ECN = 16,
    MB_EDIT_IP_IDENTIFICATION = 32,
    MB_EDIT_IP_SOURCE = 64,
    MB_EDIT_IP_DESTINATION = 128,
    MB_EDIT_SOURCE_PORT = 256,
    MB_EDIT_DESTINATION_PORT = 512,
    MB_EDIT_TCP_FLAGS = 1024,
    MB_EDIT_TCP_WINDOW = 2048,
    MB_EDIT_TCP_URGENT_POINTER = 4096,
    MB_EDIT_FIELDS = 8191
};

/* Bytes of the packet's payload that others take the place of. In the ring; the bytes follow, up to
 * a multiple of 8. */
struct mb_replacement {
    uint32_t at; /* from the first byte of the frame as the NF sees it */
    uint32_t length;
};

/* What one packet is to bear from the NF on that left this: the innermost packet's headers, and the
 * frame's own link header. Numbers in host byte order. */
struct mb_edit {
    uint64_t packet;            /* mb_entry.packet */
    uint64_t replacements;      /* where in the ring they begin, counted like sequences */
    uint32_t replacements_size; /* bytes that they take there, without a break; 0: none */
    uint32_t fields;            /* set of enum mb_edit_field: which of those below count */
    uint8_t eth_source[6];
    uint8_t eth_destination[6];
    uint16_t ip_identification;
    uint8_t ip_ttl; /* or hop limit */
    uint8_t ip_dscp;
    uint8_t ip_ecn;
    uint8_t tcp_flags;
    uint16_t source_port; /* of TCP and UDP */
    uint16_t destination_port;
    uint16_t tcp_window;
    uint16_t tcp_urgent_pointer;
    uint8_t tags_popped;        /* so many, from the outside in */
    uint8_t tags_pushed;        /* then so many are put in their place */
    struct mb_vlan_tag tags[2]; /* from the outside in */
    uint8_t ip_source[16];      /* as in struct mb_five_tuple */
    uint8_t ip_destination[16];
    uint32_t replacement_count;
    uint8_t reserved[32];
};

/* First page of the worker's log area; the slots follow it. Written by the worker alone. */
struct mb_log_page {
    uint64_t magic;
    uint32_t version;
    uint32_t slot_size;
    uint64_t slots;
    uint8_t line0[40];

    uint64_t head;
    uint8_t line1[56];

    uint32_t asleep; /* 0: awake; 1 + i: until NF i's cursor moves */
    uint8_t line2[60];

    uint64_t floor;        /* entries before this one may be overwritten, though NFs that skip have
                              not read them */
    uint64_t counted;      /* the floor that named_before[] belongs to */
    uint64_t frames_floor; /* frames of entries before this one may be, where their memory is used
                              again */
    uint8_t line3[40];

    uint64_t due[64];
    uint64_t from[64];
    uint64_t gone_at[64];      /* UINT64_MAX while the NF lives */
    uint64_t named_before[64]; /* entries before `counted` that were for NF i, which skips */
    uint8_t fails_closed[64];
    uint64_t applied[64]; /* of editors: what they left with entries before this one is taken */
};

/* What an NF counts. Written by that NF alone. */
struct mb_nf_counters {
    uint64_t matched; /* events that it subscribed to: delivered, judged_dropped or settled; its
                         runtime takes off what only it reads */
    uint64_t handled; /* calls of its own handlers that returned */
    uint64_t raised;  /* handler calls that raised, the event being skipped */
    uint64_t judged_dropped; /* entries not delivered since an earlier NF dropped them */
    uint64_t published;
    uint64_t published_bytes;
    uint64_t alerts;
    uint64_t records; /* lines written to its log file */
    uint64_t verdicts[8];
    uint64_t sleeps;
    uint64_t polls;
    uint64_t waits_full;      /* times it waited for readers of its own log */
    uint64_t settled;         /* matched, but not delivered since it had judged the flow itself, or
                                 unsubscribed from it */
    uint64_t flows_forgotten; /* verdicts on flows that were too old to be remembered */
    uint64_t commands;
    uint64_t rewrites;        /* of flows, that it left with entries */
    uint64_t verdicts_untold; /* verdicts on flows that there was no room to tell the stack of */
    uint64_t lost; /* events that it would have got, were it faster: overwritten before it read them
                      (on_lag: skip) */
    uint64_t edits; /* packets that it left edits of */
    uint64_t reserved[38];
    uint64_t published_by_type[512];
};

/* What an NF sleeps for. */
enum mb_asleep {
    MB_AWAKE = 0,
    MB_ASLEEP_NAMED = 1,  /* until the worker's head moves past an entry that it must look at */
    MB_ASLEEP_UNTIL = 2,  /* likewise, or until the worker's head is at or past `until` */
    MB_ASLEEP_CURSOR = 3, /* this + i: until NF i's cursor moves */
    MB_ASLEEP_APPLIED = 3 + 64 /* this + i: until the worker's applied[i] does */
};

/* First page of an NF's area. Then its counters (two pages), its verdicts (a byte a slot of the
 * worker's log; inline NFs only), its rewrites and its edits (one each a slot of the worker's log;
 * where it declares them), its own log's slots, its data ring, its commands, its ring of
 * replacements. */
struct mb_nf_page {
    uint64_t magic;
    uint32_t version;
    uint32_t nf;
    uint8_t line0[48];

    uint64_t cursor; /* next entry of the worker's log that it will look at */
    uint32_t asleep; /* enum mb_asleep */
    uint32_t until;  /* low half of a position, for MB_ASLEEP_UNTIL */
    uint8_t line1[48];

    uint64_t log_head;     /* of its own log */
    uint64_t command_head; /* sequence number of the next command */
    uint64_t log_tail;     /* entries of its own log before this one may be overwritten */
    uint8_t line2[40];
};

/* Verdicts, one byte an entry: one of these, and bits of enum mb_verdict_mark. */
enum mb_verdict {
    MB_PASS = 0,
    MB_DROP = 1,      /* this packet; on an event of a stream MB_DROP_FLOW is meant (reader.h) */
    MB_DROP_FLOW = 2, /* this packet and all later ones of its flow */
    MB_PASS_FLOW = 3, /* this NF wants nothing more of the flow */
    MB_RESET = 4,     /* MB_DROP_FLOW, and the gate resets the connection at both ends */
    MB_VERDICTS
};

enum mb_verdict_mark {
    MB_LEFT_REWRITE = 0x80, /* the NF has left a rewrite of the flow with the entry */
    MB_LEFT_EDIT = 0x40,    /* an edit of the entry's packet */
    MB_VERDICT_MARKS = MB_LEFT_REWRITE | MB_LEFT_EDIT
};

#endif
