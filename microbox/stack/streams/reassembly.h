/*
 * Segments that wait for the bytes before them.
 *
 * What a side holds is in sequence order, pairwise disjoint, all of it past the side's `next`.
 * Where a segment overlaps what is held, the policy of its receiver decides which copy stays
 * (overlap.h), and the other one is cut. No bytes are copied: a record says where in the frame pool
 * they are.
 *
 * Work per packet. An adversary chooses the order, so a list that is walked costs what it holds
 * (SegmentSmack, CVE-2018-5390). Here a side's records are a skip list: a place is found in some
 * twenty steps among the most that a flow may hold, whatever the order; who is on which level is
 * drawn from a keyed generator, and nothing that is published depends on it. Each held segment is
 * cut off or given out once, so a segment that covers many pays what those that it covers saved.
 * Under `first` nothing covered ever goes, so there pieces that follow each other without a hole
 * are one node, which is passed in one step.
 *
 * Sequence numbers in one list lie within 2^31 of each other; the caller sees to it.
 */
#ifndef MICROBOX_STACK_STREAMS_REASSEMBLY_H
#define MICROBOX_STACK_STREAMS_REASSEMBLY_H

#include "microbox/stack/flows/flow.h"
#include "microbox/stack/fragments/assembled_frames.h"
#include "microbox/stack/streams/overlap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MB_HELD_LEVELS = 3 };

/* A run of payload bytes in a frame. Of its `length` bytes the frame has the first `captured`. */
struct mb_segment {
    uint64_t frame; /* offset in the frame pool */
    uint32_t frame_length;
    uint32_t data_offset; /* of the first byte, in the frame */
    uint32_t sequence;
    uint32_t length;
    uint32_t captured;
    struct mb_extent came; /* as in the frame, whatever was cut off since */
};

/* Whose stream waits at a hole, and since when. */
struct mb_held_wait {
    uint64_t since; /* on the stack's clock */
    uint32_t flow;  /* index in the flow table */
    uint32_t direction;
};

/* A held piece, or the head of a side's list. Pieces that follow a node in its run have no levels
 * of their own. Indices count records of the pool; 0: none. */
struct mb_held_record {
    uint32_t next[MB_HELD_LEVELS]; /* nodes; a free record: the next free one */
    uint32_t end;                  /* of a node: sequence number after its last piece */
    union {
        struct {
            struct mb_segment segment;
            uint32_t behind; /* the piece that follows in the node */
            uint32_t last;   /* of a node: its last piece */
        };
        struct {
            struct mb_held_wait wait; /* of a head */
            uint32_t longer;          /* neighbours in the list of those that wait */
            uint32_t shorter;
        };
    };
};

_Static_assert(sizeof(struct mb_held_record) == 64, "a record is a cache line");

/* Where a piece goes: at each level the last record that begins before it. Good until the next
 * change of the list. */
struct mb_held_place {
    uint32_t before[MB_HELD_LEVELS];
};

/* The last place that was looked for: the tracker and the stream ask for the same one in turn. */
struct mb_held_found {
    struct mb_held_place place;
    uint32_t list; /* 0: none */
    uint32_t sequence;
    uint64_t changes; /* the pool's, then */
};

/* Records for all flows of a worker, made once. */
struct mb_held_pool {
    struct mb_held_record *records; /* [1, 2 * capacity]: a head for each piece at most */
    /* A piece pins its frame, where that lies there. Set before the first one; NULL: there is none.
     */
    struct mb_assembled_frames *assembled;
    uint32_t capacity; /* pieces */
    uint32_t free;
    uint32_t unused; /* from here on no record was ever taken */
    uint32_t used;   /* pieces */
    uint32_t peak;
    uint32_t longest; /* heads, in the order in which they began to wait */
    uint32_t shortest;
    uint64_t bytes; /* held */
    uint64_t bytes_max;
    uint64_t random;
    uint64_t changes; /* of any list: nodes that came, went, or begin elsewhere */
    struct mb_held_found found;
    bool keeps_pieces_apart; /* no piece joins a node: who compares copies looks at each */
};

/* What the records of so many segments take. */
size_t mb_held_pool_bytes(uint32_t capacity);

/* `key` may be anything that senders cannot know. Returns 0 or -errno. */
int mb_held_pool_create(struct mb_held_pool *pool, uint32_t capacity, uint64_t bytes_max,
                        uint64_t key);
void mb_held_pool_destroy(struct mb_held_pool *pool);

/* Cuts `count` bytes (at most its length) off the segment's front. */
void mb_segment_trim(struct mb_segment *segment, uint32_t count);

/* Moves the first `count` bytes (at most its length) of the segment to the one that is returned. */
struct mb_segment mb_segment_split(struct mb_segment *segment, uint32_t count);

enum mb_settled {
    MB_SETTLED_NONE,   /* all of the segment's bytes are held already, or are not wanted */
    MB_SETTLED_PIECE,  /* a piece of it fills a hole */
    MB_SETTLED_NO_ROOM /* a held segment would have to be split, and no record is left */
};

/* Settles what `segment` and what the side holds say of the same bytes: cuts what loses off one or
 * the other. Takes off the segment its first piece that fills a hole, and says where that goes.
 * `room`: how many more pieces the side may hold. */
enum mb_settled mb_held_settle(struct mb_held_pool *pool, struct mb_stream_side *side,
                               struct mb_segment *segment, uint32_t room, struct mb_segment *piece,
                               struct mb_held_place *place);

/* Makes the place of a piece good again after the first held pieces were taken and given out, up to
 * the side's `next`; some must be left. */
void mb_held_renew_place(const struct mb_held_pool *pool, const struct mb_stream_side *side,
                         struct mb_held_place *place);

/* Holds a piece that was settled just before. Where it is the side's first one, the stream waits
 * from now on as `wait` says. False: the pool has no room. */
bool mb_held_link(struct mb_held_pool *pool, struct mb_stream_side *side,
                  const struct mb_segment *piece, struct mb_held_place *place,
                  const struct mb_held_wait *wait);

/* Sequence number of the first held byte; there must be one. */
static inline uint32_t mb_held_first(const struct mb_held_pool *pool,
                                     const struct mb_stream_side *side) {
    return pool->records[pool->records[side->list].next[0]].segment.sequence;
}

/* The node that holds the byte at `sequence`, or else the first one behind it; 0: none. Where
 * pieces are kept apart, its `next[0]` is the next piece. */
uint32_t mb_held_around(struct mb_held_pool *pool, const struct mb_stream_side *side,
                        uint32_t sequence);

/* Takes the first held piece out of the list. There must be one. */
struct mb_segment mb_held_take(struct mb_held_pool *pool, struct mb_stream_side *side);

/* The stream has come on. Where the side still holds something, it waits at another hole, since
 * `now`; else the list goes. */
void mb_held_come_on(struct mb_held_pool *pool, struct mb_stream_side *side, uint64_t now);

/* Drops all that the side holds. */
void mb_held_release(struct mb_held_pool *pool, struct mb_stream_side *side);

/* Who has waited longest, NULL: nobody waits. */
static inline const struct mb_held_wait *mb_held_longest_wait(const struct mb_held_pool *pool) {
    return pool->longest == 0 ? NULL : &pool->records[pool->longest].wait;
}

#endif
