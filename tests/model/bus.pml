/*
 * The bus (microbox/bus/layout.h) for spin: a worker, and NFs that read, judge, publish, skip and
 * die. docs/bus-protocol.md lists the invariants by the names that the assertions below bear, beside
 * the C functions that they are about; check.py says which shapes are explored, and which mutants
 * have to be caught.
 *
 * Each access to a word that another process writes is a step of its own, and steps interleave in
 * every possible way: memory is sequentially consistent here. What weaker machines do differently
 * is argued where the C code chooses an order (bus/atomic.h). A store that a later load could pass
 * is tried as a mutant that does the two the other way round. Packets have one entry each.
 *
 * Shape, by -D:
 *     NFS        how many
 *     SLOTS      of the log
 *     EVENTS     that are published; the last names all NFs and ends the run
 *     JUDGE      NF 0 is inline, NF 1 waits for it, and there is a gate
 *     PUBLISH    NF 0 publishes an event for each entry that it reads, NF 1 merges them in
 *     SKIP       the last NF skips
 *     DEATH      NF 0 may be killed at any moment: before any of its stores, which is all that others
 *                can tell of when it was
 *     BATCH      most entries of a commit
 */
#define OWN_SLOTS 1 /* of a publisher's log; an entry makes it publish one event */
#ifndef BATCH
#define BATCH     1 /* most entries of a commit */
#endif
#define NOBODY    255
#define TORN      254
#define PASS      0
#define DROP      1
#define AWAKE     0
#define NAMED     1
#define CURSOR(j) (2 + (j))

#define BIT(i)      (1 << (i))
#define ALL         (BIT(NFS) - 1)
#define VERDICT(s)  ((s) & 1) /* what NF 0 says of an entry */
#define SLOT(s)     ((s) % SLOTS)
#define OWN_SLOT(s) ((s) % OWN_SLOTS)
#define LARGER(a, b) ((a) > (b) -> (a) : (b))
#define SMALLER(a, b) ((a) < (b) -> (a) : (b))

#if defined(JUDGE) || defined(PUBLISH)
#define WAITS(i, j) ((i) == 1 && (j) == 0)
#else
#define WAITS(i, j) (false)
#endif
#ifdef JUDGE
#define CONCERNS(i) (BIT(i) | BIT(0))
#else
#define CONCERNS(i) BIT(i)
#endif
#ifdef SKIP
#define SKIPS(i) ((i) == NFS - 1)
#else
#define SKIPS(i) (false)
#endif

/* The log, and the words of its page. */
byte slot_sequence[SLOTS] = TORN;
byte slot_mask[SLOTS];
byte head;
byte due[NFS];
byte from[NFS];
byte gone_at[NFS] = NOBODY;
byte floor;
byte counted;
byte named_before;
byte worker_asleep; /* 1 + i: until NF i's cursor moves */

/* Pages of NFs. */
byte cursor[NFS];
byte asleep[NFS];
byte verdict[SLOTS]; /* of NF 0 */
byte log_head;       /* of NF 0's own log */
byte own_sequence[OWN_SLOTS] = TORN;
byte own_at[OWN_SLOTS];

/* The kernel: who sleeps on a futex, and who lives. */
bool waits[NFS];
bool worker_waits;
bool is_dead[NFS];

/* What is known to no process: whom each entry names, and what NFs handled and lost. */
byte mask_of[EVENTS];
byte handled[NFS];
byte lost[NFS];
bool is_over; /* the worker has drained the log */

/* How many of [first, end) name NF `i`, into `number`. */
#define COUNT_NAMED(i, first, end)                                                                 \
    d_step {                                                                                       \
        number = 0;                                                                                \
        g = first;                                                                                 \
        do                                                                                         \
        :: g < (end) -> number = number + ((mask_of[g] >> (i)) & 1); g++                           \
        :: else -> break                                                                           \
        od;                                                                                        \
        g = 0                                                                                      \
    }

/* --- the worker: log.c, floor.c, and the gate of stack/gate.c --- */

active proctype Worker() {
    byte next, limit = SLOTS, batch_mask, open, choice, i, c, g, number;
    byte my_due[NFS], my_from[NFS], my_passed[NFS], my_head, smallest, slowest, behind;
    byte my_floor, my_named, my_gone = NOBODY, oldest, newest;
    bool is_detached, is_drained, has_waited;

/* mb_log_passed: position of NF `i`, into c. One step: it reads one word. */
#define LOG_PASSED(i)                                                                              \
    atomic {                                                                                       \
        if                                                                                         \
        :: (i) == 0 && is_detached -> c = my_head                                                  \
        :: else ->                                                                                 \
            c = cursor[i];                                                                         \
            if                                                                                     \
            :: c >= my_due[i] -> c = my_head                                                       \
            :: else -> c = LARGER(c, my_passed[i])                                                 \
            fi                                                                                     \
        fi                                                                                         \
    }

/* tell (floor.c): the floor, then the count, then the floor that it belongs to. */
#define TELL_FLOOR                                                                                 \
    floor = my_floor;                                                                              \
    named_before = my_named;                                                                       \
    counted = my_floor

/* learn_slowest, mb_log_raise_floor. */
#define LEARN_LIMIT                                                                                \
    atomic { smallest = my_head; slowest = NOBODY; behind = NOBODY; is_drained = true; i = 0 }     \
    do                                                                                             \
    :: i < NFS ->                                                                                  \
        atomic {                                                                                   \
            LOG_PASSED(i);                                                                         \
            is_drained = is_drained && c == my_head;                                               \
            if                                                                                     \
            :: SKIPS(i) -> if :: c < my_head -> behind = i :: else fi                              \
            :: !SKIPS(i) && !(i == 0 && is_detached) ->                                            \
                my_passed[i] = c;                                                                  \
                if :: c < smallest -> smallest = c; slowest = i :: else fi                         \
            :: else                                                                                \
            fi                                                                                     \
        }                                                                                          \
        if                                                                                         \
        :: my_passed[i] == my_head && my_from[i] != my_head && !SKIPS(i) ->                        \
            my_from[i] = my_head;                                                                  \
            STORE_FROM(i)                                                                          \
        :: else                                                                                    \
        fi;                                                                                        \
        i++                                                                                        \
    :: else -> break                                                                               \
    od;                                                                                            \
    RAISE_FLOOR;                                                                                   \
    atomic {                                                                                       \
        slowest = (slowest == NOBODY -> behind : slowest);                                         \
        smallest = 0; behind = 0; i = 0; c = 0                                                     \
    }

#ifdef FROM_AFTER_HEAD
#define STORE_FROM(i) skip
#else
#define STORE_FROM(i) from[i] = my_head
#endif

#ifdef SKIP
#define RAISE_FLOOR                                                                                \
    if                                                                                             \
    :: smallest > my_floor && next + 1 > my_floor + SLOTS ->                                       \
        d_step {                                                                                   \
            c = SMALLER(next + 1 - SLOTS, smallest);                                               \
            do                                                                                     \
            :: my_floor < c ->                                                                     \
                my_named = my_named + ((mask_of[my_floor] >> (NFS - 1)) & 1); my_floor++           \
            :: else -> break                                                                       \
            od                                                                                     \
        }                                                                                          \
        STORE_FLOOR                                                                                \
    :: else                                                                                        \
    fi;                                                                                            \
    limit = LARGER(limit, my_floor + SLOTS)
#else
#define RAISE_FLOOR limit = LARGER(limit, smallest + SLOTS)
#endif
#ifdef FLOOR_AFTER_OVERWRITE
#define STORE_FLOOR skip
#else
#define STORE_FLOOR TELL_FLOOR
#endif

/* mb_log_claim, and what the caller fills in. What it names is any set that a plan could lead to:
 * who reads what NF 0 publishes is named with it. */
#define CLAIM                                                                                      \
    slot_sequence[SLOT(next)] = TORN;                                                              \
    atomic {                                                                                       \
        if                                                                                         \
        :: next == EVENTS - 1 -> choice = ALL                                                      \
        :: next < EVENTS - 1 && !PUBLISHES -> choice = 1                                           \
        :: next < EVENTS - 1 && NFS > 1 -> choice = 2                                              \
        :: next < EVENTS - 1 && NFS > 1 -> choice = 3                                              \
        fi;                                                                                        \
        choice = (NFS == 3 && choice == 2 -> 4 : choice);                                          \
        mask_of[next] = choice;                                                                    \
        slot_mask[SLOT(next)] = choice;                                                            \
        slot_sequence[SLOT(next)] = next;                                                          \
        batch_mask = batch_mask | choice;                                                          \
        choice = 0;                                                                                \
        next++;                                                                                    \
        open++                                                                                     \
    }                                                                                              \
    LATE_STORES
#ifdef PUBLISH
#define PUBLISHES true
#else
#define PUBLISHES false
#endif
#ifdef FLOOR_AFTER_OVERWRITE
#define LATE_STORES if :: floor != my_floor -> TELL_FLOOR :: else fi
#else
#define LATE_STORES skip
#endif

/* mb_gate_run: verdicts on what NF 0 has passed; then mb_gate_add. */
#ifdef JUDGE
#define RUN_GATE                                                                                   \
    LOG_PASSED(0);                                                                                 \
    do                                                                                             \
    :: oldest < newest && (c > oldest || !(mask_of[oldest] & 1)) ->                                \
        atomic {                                                                                   \
            if                                                                                     \
            :: (mask_of[oldest] & 1) && oldest < my_gone ->                                        \
                assert(verdict[SLOT(oldest)] == VERDICT(oldest)); /* gate_judged */                \
            :: else                                                                                \
            fi;                                                                                    \
            oldest++                                                                               \
        }                                                                                          \
    :: else -> break                                                                               \
    od;                                                                                            \
    atomic { newest = next; c = 0 }
#else
#define RUN_GATE skip
#endif

/* store_dues. */
#define STORE_DUES                                                                                 \
    i = 0;                                                                                         \
    do                                                                                             \
    :: i < NFS ->                                                                                  \
        atomic {                                                                                   \
            if                                                                                     \
            :: (batch_mask & CONCERNS(i)) && !(i == 0 && is_detached) ->                           \
                my_due[i] = next;                                                                  \
                due[i] = next                                                                      \
            :: else                                                                                \
            fi;                                                                                    \
            i++                                                                                    \
        }                                                                                          \
    :: else -> i = 0; break                                                                        \
    od
#define STORE_HEAD atomic { my_head = next; head = next }

/* wake_readers. */
#define WAKE_READERS                                                                               \
    i = 0;                                                                                         \
    do                                                                                             \
    :: i < NFS ->                                                                                  \
        if                                                                                         \
        :: asleep[i] == NAMED && (batch_mask & CONCERNS(i)) -> waits[i] = false                    \
        :: else                                                                                    \
        fi;                                                                                        \
        i++                                                                                        \
    :: else -> i = 0; break                                                                        \
    od

/* mb_log_commit, with the gate before it (gate.h). */
#ifdef HEAD_BEFORE_DUE
#define COMMIT RUN_GATE; STORE_HEAD; STORE_DUES; WAKE_READERS
#else
#ifdef FROM_AFTER_HEAD
#define COMMIT                                                                                     \
    RUN_GATE; STORE_DUES; STORE_HEAD; WAKE_READERS;                                                \
    do :: i < NFS -> from[i] = my_from[i]; i++ :: else -> i = 0; break od
#else
#ifdef WAKE_BEFORE_HEAD
#define COMMIT RUN_GATE; STORE_DUES; WAKE_READERS; STORE_HEAD
#else
#ifdef GATE_AFTER_COMMIT
#define COMMIT STORE_DUES; STORE_HEAD; WAKE_READERS; RUN_GATE
#else
#define COMMIT RUN_GATE; STORE_DUES; STORE_HEAD; WAKE_READERS
#endif
#endif
#endif
#endif

/* mb_log_wait_for_room, without an end of the time: a wake-up that is lost is a deadlock here. */
#define WAIT_FOR_ROOM                                                                              \
    worker_asleep = 1 + slowest;                                                                   \
    g = cursor[slowest];                                                                           \
    LEARN_AGAIN
#ifdef WORKER_LOOKS_ONCE
#define IS_AS_SEEN true
#else
#define IS_AS_SEEN (cursor[choice] == g)
#endif
#define LEARN_AGAIN                                                                                \
    atomic { choice = slowest; number = limit; has_waited = is_drained }                           \
    LEARN_LIMIT
#ifdef SLOWEST_FORGOTTEN
#define STILL_SLOWEST true
#else
#define STILL_SLOWEST slowest == choice
#endif
#define SLEEP                                                                                      \
    if                                                                                             \
    :: number == limit && has_waited == is_drained && (STILL_SLOWEST) ->                           \
        atomic { worker_waits = IS_AS_SEEN }                                                       \
        !worker_waits || (is_dead[choice] && !(choice == 0 && is_detached));                       \
        worker_waits = false                                                                       \
    :: else                                                                                        \
    fi;                                                                                            \
    atomic { worker_asleep = 0; g = 0; number = 0; choice = 0; has_waited = false; slowest = 0 }

/* mb_log_detach. */
#ifdef DUE_BEFORE_GONE_AT
#define DETACH LOG_PASSED(0); due[0] = 0; gone_at[0] = c
#else
#define DETACH LOG_PASSED(0); gone_at[0] = c; due[0] = 0
#endif

    do
    :: is_dead[0] && !is_detached ->
        DETACH;
        atomic { my_gone = c; c = 0; my_due[0] = 0; is_detached = true }
    :: next < EVENTS && open < BATCH && next < limit -> CLAIM
    :: open > 0 && (open == BATCH || next == EVENTS || next >= limit) ->
        COMMIT;
        atomic { batch_mask = 0; open = 0 }
    :: open == 0 && (next == EVENTS || next >= limit) ->
        LEARN_LIMIT;
        RUN_GATE;
        if
        :: next == EVENTS && is_drained -> break
        :: next < EVENTS && next < limit
        :: else ->
            if
            :: slowest == NOBODY
            :: else -> WAIT_FOR_ROOM; SLEEP
            fi
        fi
    od;
#ifdef JUDGE
    RUN_GATE;
    assert(oldest == EVENTS); /* gate_empties */
#endif
    is_over = true
}

/* --- NFs: barrier.c, reader.c, nf_log.c, publish.c, skip.c --- */

proctype NF(byte me) {
    byte next, end, limiter, seen, h, d, c, f, gone, x, m, v, g, number;
    byte taken, visible, own_head, own_tail, fl, named;

#ifdef DEATH
#define MAY_DIE                                                                                    \
    if                                                                                             \
    :: me == 0 -> atomic { is_dead[0] = true; goto dead }                                          \
    :: true                                                                                        \
    fi
#else
#define MAY_DIE skip
#endif

/* mb_reader_move_cursor: the cursor, then those who may wait for it. */
#ifdef WAKE_BEFORE_CURSOR
#define MOVE_CURSOR(to) WAKE_WAITERS; cursor[me] = to
#else
#define MOVE_CURSOR(to) MAY_DIE; cursor[me] = to; MAY_DIE; WAKE_WAITERS
#endif
#define WAKE_WAITERS                                                                               \
    if :: worker_asleep == 1 + me -> worker_waits = false :: else fi;                              \
    WAKE_PEERS
#if defined(JUDGE) || defined(PUBLISH)
#define WAKE_PEERS                                                                                 \
    g = 0;                                                                                         \
    do                                                                                             \
    :: g < NFS ->                                                                                  \
        if                                                                                         \
        :: (WAITS(g, me) || WAITS(me, g)) && asleep[g] == CURSOR(me) -> waits[g] = false           \
        :: else                                                                                    \
        fi;                                                                                        \
        g++                                                                                        \
    :: else -> g = 0; break                                                                        \
    od
#else
#define WAKE_PEERS skip /* nobody waits for anybody */
#endif

/* mb_reader_sleep on a word that was `seen`, for `why`. Nobody sleeps long on the cursor of one that
 * is dead: that end of the time is part of the protocol. */
#ifdef SLEEPER_LOOKS_FIRST
#define FALL_ASLEEP(word, why)                                                                     \
    x = word;                                                                                      \
    asleep[me] = why;                                                                              \
    waits[me] = x == seen
#else
#define FALL_ASLEEP(word, why)                                                                     \
    asleep[me] = why;                                                                              \
    atomic { waits[me] = word == seen }
#endif
#define SLEEP_ON(word, why, nf)                                                                    \
    FALL_ASLEEP(word, why);                                                                        \
    MAY_DIE;                                                                                       \
    atomic { !waits[me] || (nf != NOBODY && is_dead[nf]); waits[me] = false; asleep[me] = AWAKE }

/* mb_peer_passed: position of NF `j` given the head in h, into f; c is its cursor. */
#define PEER_PASSED(j)                                                                             \
    d = due[j];                                                                                    \
    c = cursor[j];                                                                                 \
    atomic {                                                                                       \
        if                                                                                         \
        :: c >= d -> f = h                                                                         \
        :: else -> f = from[j]; f = SMALLER(LARGER(c, f), h)                                       \
        fi;                                                                                        \
        d = 0                                                                                      \
    }

/* What was skipped named this NF nowhere. */
#define GO_TO(position)                                                                            \
    COUNT_NAMED(me, next, position);                                                               \
    assert(number == 0); /* complete */                                                            \
    next = position

/* mb_reader_publish at `next`, by NF 0, whose one reader is NF 1. */
#define PUBLISH_ONE                                                                                \
    do                                                                                             \
    :: own_head - own_tail < OWN_SLOTS -> break                                                    \
    :: else ->                                                                                     \
        if :: cursor[me] < next -> MOVE_CURSOR(next) :: else fi;                                   \
        h = head;                                                                                  \
        PEER_PASSED(1);                                                                            \
        do                                                                                         \
        :: own_tail < own_head && own_at[OWN_SLOT(own_tail)] FREED f -> own_tail++                 \
        :: else -> break                                                                           \
        od;                                                                                        \
        if                                                                                         \
        :: own_head - own_tail < OWN_SLOTS                                                         \
        :: else -> seen = c; SLEEP_ON(cursor[1], CURSOR(1), 1)                                     \
        fi                                                                                         \
    od;                                                                                            \
    own_sequence[OWN_SLOT(own_head)] = TORN;                                                       \
    own_at[OWN_SLOT(own_head)] = next;                                                             \
    own_sequence[OWN_SLOT(own_head)] = own_head;                                                   \
    own_head++;                                                                                    \
    STORE_LOG_HEAD
#ifdef FREED_TOO_EARLY
#define FREED <=
#else
#define FREED <
#endif
#ifdef CURSOR_BEFORE_LOG_HEAD
#define STORE_LOG_HEAD skip
#define LATE_LOG_HEAD log_head = own_head
#else
#define STORE_LOG_HEAD log_head = own_head
#define LATE_LOG_HEAD skip
#endif

/* mb_nf_log_take: what NF 0 published at entries before `position`. */
#define TAKE_BEFORE(position)                                                                      \
    do                                                                                             \
    :: taken < visible ->                                                                          \
        x = own_at[OWN_SLOT(taken)];                                                               \
        if                                                                                         \
        :: x >= position -> break                                                                  \
        :: else ->                                                                                 \
            x = own_sequence[OWN_SLOT(taken)];                                                     \
            assert(x == taken); /* own_intact */                                                   \
            taken++                                                                                \
        fi                                                                                         \
    :: else -> break                                                                               \
    od

/* An entry that may be read: `m` is its mask. */
#define READ_ENTRY                                                                                 \
    atomic {                                                                                       \
        m = slot_mask[SLOT(next)];                                                                 \
        assert(slot_sequence[SLOT(next)] == next && m == mask_of[next]) /* intact */               \
    }

/* verdict_of: what NF 0 said of it, where it could. */
#define READ_VERDICT                                                                               \
    if                                                                                             \
    :: (m & 1) && next < gone -> assert(verdict[SLOT(next)] == VERDICT(next)) /* judged */         \
    :: else                                                                                        \
    fi

#define JUDGE_ENTRY                                                                                \
    MAY_DIE; verdict[SLOT(next)] = PASS; /* clear_verdicts */                                      \
    MAY_DIE; if :: m & BIT(me) -> verdict[SLOT(next)] = VERDICT(next) :: else fi

    {
        do
        :: next == EVENTS -> break
        :: else ->
#ifdef DUE_BEFORE_HEAD_READ
            d = due[me];
            h = head;
#else
            h = head;
            d = due[me];
#endif
            limiter = NOBODY;
            if
            :: d <= next ->
                seen = h;
                SLEEP_ON(head, NAMED, NOBODY)
            :: else ->
#ifndef FROM_IGNORED
                f = from[me];
                if :: f > next -> GO_TO(f) :: else fi;
#endif
                end = h;
                number = 0;
                do
                :: number < me ->
                    if
                    :: WAITS(me, number) ->
#ifdef VISIBLE_BEFORE_CURSOR
                        visible = log_head;
#endif
#ifdef GONE_AT_READ_FIRST
                        gone = gone_at[number];
#endif
                        PEER_PASSED(number);
                        if :: f < end -> end = f; limiter = number; seen = c :: else fi;
#ifndef GONE_AT_READ_FIRST
                        if :: number == 0 -> gone = gone_at[number] :: else fi;
#endif
#ifndef VISIBLE_BEFORE_CURSOR
                        if :: number == 0 -> visible = log_head :: else fi
#endif
                    :: else
                    fi;
                    number++
                :: else -> break
                od;
                if
                :: end <= next && limiter == NOBODY
                :: end <= next && limiter != NOBODY ->
                    SLEEP_ON(cursor[limiter], CURSOR(limiter), limiter)
                :: end > next && !SKIPS(me) ->
#if defined(CURSOR_BEFORE_VERDICT) || defined(CURSOR_BEFORE_LOG_HEAD)
                    if :: me == 0 -> MOVE_CURSOR(end) :: else fi;
#endif
                    do
                    :: next < end ->
                        READ_ENTRY;
#ifdef JUDGE
                        if :: WAITS(me, 0) -> READ_VERDICT :: else fi;
                        if :: me == 0 -> JUDGE_ENTRY :: else fi;
#endif
                        handled[me] = handled[me] + ((m >> me) & 1);
#ifdef PUBLISH
                        if :: me == 0 && (m & 1) -> PUBLISH_ONE :: else fi;
                        if :: me == 1 -> TAKE_BEFORE(next + 1) :: else fi;
#endif
                        next++
                    :: else -> break
                    od;
#ifdef PUBLISH
                    if
                    :: me == 1 ->
                        COUNT_NAMED(0, 0, next);
                        assert(taken == number) /* causal */
                    :: else
                    fi;
#endif
                    MOVE_CURSOR(next);
                    if :: me == 0 -> LATE_LOG_HEAD :: else fi
                :: end > next && SKIPS(me) ->
                    x = slot_sequence[SLOT(next)];
                    m = slot_mask[SLOT(next)];
#ifdef JUDGE
                    v = verdict[SLOT(next)];
#endif
#ifdef FLOOR_UNCHECKED
                    fl = 0;
#else
                    fl = floor;
#endif
                    if
                    :: fl <= next ->
                        assert(x == next && m == mask_of[next]); /* copy_intact */
#ifdef JUDGE
                        assert(!(m & 1) || next >= gone || v == VERDICT(next)); /* copy_judged */
#endif
                        handled[me] = handled[me] + ((m >> me) & 1);
                        named = named + ((m >> me) & 1);
                        next++
                    :: else -> /* go_to_floor */
                        do
                        :: fl = counted;
                            x = named_before;
#ifndef COUNT_UNCHECKED
                            if :: floor != fl -> skip :: else -> break fi
#else
                            break
#endif
                        od;
                        skip; /* a break may not lead into a d_step */
                        COUNT_NAMED(me, next, LARGER(fl, next));
                        assert(fl <= next || x - named == number); /* exact_loss */
                        if
                        :: fl > next ->
                            lost[me] = lost[me] + x - named;
                            named = x;
                            next = fl
                        :: else
                        fi
                    fi;
                    MOVE_CURSOR(next)
                fi
            fi;
            atomic { h = 0; d = 0; c = 0; f = 0; x = 0; m = 0; v = 0; number = 0; fl = 0; end = 0;
                     seen = 0; gone = 0; limiter = 0 }
        od;
        skip; /* a break may not lead into a d_step */
        COUNT_NAMED(me, 0, EVENTS);
        assert(handled[me] + lost[me] == number) /* complete */
    }
dead:
    skip
}

init {
    atomic {
        byte i = 0;
        do
        :: i < NFS -> run NF(i); i++
        :: else -> break
        od
    }
}
