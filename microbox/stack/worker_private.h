/*
 * What the files of the worker share. Nobody else includes this.
 *
 * worker.c             the loop             worker_connection.c  making one, NFs that come and go
 * worker_pause.c       standing still while they do
 * worker_gates.c       what becomes of packets, and would if NFs in shadow had a say
 * worker_memory.c      what all this takes when it is full
 * worker_live.c        input that comes as it likes: memory that is used again, and time
 * worker_trace.c       what packets of a flow take, for who asks
 */
#ifndef MICROBOX_STACK_WORKER_PRIVATE_H
#define MICROBOX_STACK_WORKER_PRIVATE_H

#include "microbox/bus/conduct.h"
#include "microbox/bus/frame_pool.h"
#include "microbox/bus/reader.h"
#include "microbox/io/window.h"
#include "microbox/stack/gate.h"
#include "microbox/stack/worker.h"

enum {
    MB_NO_NF = MB_NFS_MAX,
    MB_GATE_CAPACITY = 4 * MB_CHECKPOINT_PACKETS /* packets that may wait for verdicts; more wait in
                                                    the input */
};

enum mb_worker_phase {
    PHASE_CONNECTING, /* NFs are attached */
    PHASE_READING,
    PHASE_ENDING,   /* no more input: flows end */
    PHASE_DRAINING, /* end_of_input is published: NFs read what is left */
    PHASE_DONE,
};

enum mb_worker_pause {
    PAUSE_NONE,
    PAUSE_DRAINING, /* no packet is handled; the NFs come to the head */
    PAUSE_PAUSED,
    PAUSE_WELCOMING, /* it is over, but who came has first to be told so */
};

/* An NF as it was attached. */
struct mb_attached {
    struct mb_area area; /* stays mapped when the NF is gone: its verdicts may still be read */
    struct mb_nf_area parts;
    struct mb_nf_geometry geometry;
    uint64_t command_slots; /* 0: it gives no commands */
    bool is_inline;
    bool fails_closed;
    bool is_shadow;      /* inline, but what it says is counted and not done */
    uint64_t (*lost)[2]; /* of one that skips: bits by type, MB_TYPES_MAX; else NULL */
    bool is_dead;
    bool exit_untold; /* system.nf_exited is still to be published */
    int32_t exit_status;
    bool is_new;     /* attached in this pause: system.nf_attached is still to be published */
    bool catches_up; /* and then flow.present */
    struct mb_conduct conduct;
    bool is_accused; /* whoever runs the worker was told of its conduct */
};

/* Memory of frames that is about to be given back. */
struct mb_giving_back {
    bool is_on;
    uint64_t front;    /* position in the window: before it */
    uint64_t sequence; /* entries before it may name such frames */
    uint64_t packets;  /* added to the gate before them may, as they leave */
    struct mb_ranges kept;
};

struct mb_worker {
    struct mb_worker_config config;
    struct mb_source *source;
    struct mb_sink *sink;
    struct mb_area assembled; /* datagrams that were put together */
    struct mb_versions_shape versions_shape;
    struct mb_area versions; /* of edited frames; no base where there are no editors */
    struct mb_frame_pool pool;
    struct mb_log log;
    struct mb_stack *stack;             /* from subscribe on */
    struct mb_gate *gate;               /* where there is a sink or an inline NF */
    struct mb_gate *shadow[MB_NFS_MAX]; /* of each NF in shadow, after `gate` */
    uint64_t shadows;                   /* set of these NFs */
    uint64_t no_guards[2];              /* bits that guard nothing (mb_subscription) */
    struct mb_area counters;
    enum mb_worker_phase phase;
    bool stopped;
    enum mb_worker_pause pause;
    bool pauses_again;    /* when those who came have been told so */
    bool ends_batches;    /* at the pause; still to be published */
    bool is_resubscribed; /* in this pause: flows are to be looked at */
    uint32_t welcomed;    /* NF that is being told of flows; MB_NO_NF */

    uint32_t nfs;
    struct mb_attached nf[MB_NFS_MAX];

    /* The batch: frames [next_frame, frame_count) are read and not handled yet. */
    size_t frame_count;
    size_t next_frame;
    struct mb_frame frames[MB_BATCH];
    struct mb_handled handled[MB_BATCH];

    /* Where a pace is asked for. */
    uint64_t now;         /* the clock, as of this breath */
    uint64_t pace_began;  /* the clock, at the first packet */
    uint64_t pace_origin; /* packet time of the first packet */
    bool is_early;        /* the next packet is not due yet */

    /* Of live input. */
    bool awaits_input;    /* all that came is handled */
    uint64_t quiet_since; /* the clock, when nothing more came */
    uint64_t silent;      /* nanoseconds since then that the stack was told of */
    bool is_quiet;        /* nothing came at the last look */
    bool may_be_late;     /* since it was told so, no packet came whose time had not passed */
    uint64_t batch_since; /* the clock, when readers of batches were first seen to wait; 0: none */
    uint64_t batches_ended; /* log position behind the last end of batches for their sake */
    struct mb_giving_back giving_back;
    bool relieves; /* what waits for bytes before it is to be given up */
    bool window_is_full;
    uint64_t window_waits;
    uint64_t window_relieved;
    uint64_t packets_late;

    uint64_t traces_until; /* the clock; 0: no flow is traced */

    uint64_t packets_read;
    uint64_t log_waits;     /* times that it became full */
    bool log_is_full;       /* the stack could not handle all that it was given */
    uint64_t command_waits; /* times that an NF's commands had to be waited for */
    uint32_t awaited;       /* the NF that they come from; MB_NO_NF: none holds the worker up */
    uint64_t awaited_position;
    uint64_t last_time;
    char complaint[MB_ERROR_SIZE];
    char warning[MB_ERROR_SIZE];
};

/* worker_connection.c */

void mb_worker_fill_defaults(struct mb_worker_config *config);

/* Tells of NFs that are gone, as room allows, and not after end_of_input. */
void mb_worker_tell_exits(struct mb_worker *worker);

/* worker_gates.c */

/* As far as they are not there yet. False where there is no memory. */
bool mb_worker_make_gates(struct mb_worker *worker);
void mb_worker_destroy_gates(struct mb_worker *worker);

/* The gate that the NF's verdicts count at; NULL: there is none. */
struct mb_gate *mb_worker_gate_of(const struct mb_worker *worker, uint32_t index);

/* All inline NFs, or those that came in this pause, each by its gate, which is there. */
void mb_worker_watch(struct mb_worker *worker, bool only_new);

/* How many of `count` packets all gates can keep. */
size_t mb_worker_gates_room(const struct mb_worker *worker, size_t count);

/* The order is the gate's (gate.h). Returns whether packets left. */
bool mb_worker_pass_through_gates(struct mb_worker *worker, size_t handled);

/* No packet waits at any of them. */
bool mb_worker_gates_are_empty(const struct mb_worker *worker);

/* Copies what was counted of NFs in shadow into the counter page. */
void mb_worker_publish_shadows(const struct mb_worker *worker);

/* worker_conduct.c */

/* Looks at the pages of all NFs that live. */
void mb_worker_look_at_conduct(struct mb_worker *worker);

/* worker_live.c */

/* A turn of giving back memory. Returns whether some was. */
bool mb_worker_give_back(struct mb_worker *worker);

/* What waits for bytes before it is given up, where it fills the window. */
void mb_worker_relieve(struct mb_worker *worker);

/* A batch was read, or nothing. */
void mb_worker_note_arrival(struct mb_worker *worker);

/* Nothing came: time goes on, where that has lasted. Returns whether something was published. */
bool mb_worker_be_silent(struct mb_worker *worker);

/* Waits for input, or for those who hold it up. */
void mb_worker_await_input(struct mb_worker *worker, uint64_t timeout_ns);

/* worker_trace.c */

/* A flow is traced, and what was handled is about to be committed. */
void mb_worker_note_sojourn(struct mb_worker *worker);

/* worker_pause.c */

static inline bool mb_worker_is_paused(const struct mb_worker *worker) {
    return worker->pause == PAUSE_PAUSED;
}

/* All NFs have passed the head, and no packet waits. */
bool mb_worker_is_drained(const struct mb_worker *worker);

/* On the way to a pause: a turn. */
void mb_worker_drain(struct mb_worker *worker);

/* On the way out of it: tells those who came of it, as room allows. Then packets go on. */
void mb_worker_welcome(struct mb_worker *worker);

#endif
