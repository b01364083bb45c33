/*
 * A worker: source → stack → log → gate → sink, in one loop. One process runs one worker.
 */
#ifndef MICROBOX_STACK_WORKER_H
#define MICROBOX_STACK_WORKER_H

#include "microbox/bus/area.h"
#include "microbox/bus/reader.h"
#include "microbox/io/sink.h"
#include "microbox/io/source.h"
#include "microbox/stack/flows/flow_inquiry.h"
#include "microbox/stack/stack.h"

struct mb_worker_config {
    struct mb_stack_config
        stack; /* with packets_before, so many packets of the input are left out */
    uint64_t log_slots;
    uint64_t packet_limit; /* stop after so many, those left out included; 0: all */
    uint32_t pace;    /* thousandths of the speed at which the packets were captured; 0: as fast
                         as can be */
    uint64_t silence; /* nanoseconds without input before the stack's clock goes on without it: what
                         was captured may be so long on its way */
    uint32_t batch;   /* packets a batch, 1 to MB_BATCH; 0: MB_BATCH */
    uint32_t editors; /* NFs that edit packets: numbers mb_nf_geometry.editor up to this one */
};

struct mb_worker;

/* Makes log and counter areas. `source` and `sink` (may be NULL) stay the caller's and must outlive
 * the worker. Returns NULL with a sentence in `error`. */
struct mb_worker *mb_worker_create(const struct mb_worker_config *config, struct mb_source *source,
                                   struct mb_sink *sink, char error[MB_ERROR_SIZE]);
void mb_worker_destroy(struct mb_worker *worker);

/* The areas' descriptors, to be sent to NFs and controller; the worker's. The counter page is a
 * struct mb_counter_page (counters.h). */
int mb_worker_log_fd(const struct mb_worker *worker);
int mb_worker_counters_fd(const struct mb_worker *worker);
size_t mb_worker_counters_size(void);

/* Datagrams that were put together: what readers map behind the source's pool (frame_pool.h). */
int mb_worker_assembled_fd(const struct mb_worker *worker);
uint64_t mb_worker_assembled_size(const struct mb_worker *worker);

/* Versions of edited frames: what readers map behind that, and its shape; no bytes where no NF
 * edits. */
int mb_worker_versions_fd(const struct mb_worker *worker);
struct mb_versions_shape mb_worker_versions_shape(const struct mb_worker *worker);

/* Maps NF `index`'s area (its size checked against the geometry, which is the plan's), which is to
 * hold the log from subscribe on. NFs are numbered from 0, in the order of the chain. While the
 * worker is paused the next number may be attached, or one whose NF is gone. Does not take
 * `area_fd`. Returns 0 or -errno. */
int mb_worker_attach(struct mb_worker *worker, uint32_t index, int area_fd,
                     const struct mb_nf_geometry *geometry, bool fails_closed);

/* NF `index`, just attached, skips: it holds nothing, and its losses are counted by what subscribe
 * says of them. Call before subscribe. Returns 0 or -errno. */
int mb_worker_let_skip(struct mb_worker *worker, uint32_t index);

/* NF `index`, just attached and inline, is in shadow: what its verdicts and rewrites would do, had
 * it alone a say, is counted (mb_shadow_counters), and nothing comes of them. It does not fail
 * closed. Call before subscribe. Returns 0 or -errno. */
int mb_worker_shadow(struct mb_worker *worker, uint32_t index);

/* The subscriptions and timers of all NFs; while the worker is paused, those of all that are there
 * from now on. Returns 0, or -errno with a sentence in `error`: then those that were there stay as
 * they were, and who was attached in this pause is gone again. */
int mb_worker_subscribe(struct mb_worker *worker, const struct mb_subscription *subscriptions,
                        uint32_t count, const struct mb_timer_subscription *timers,
                        uint32_t timer_count, char error[MB_ERROR_SIZE]);

/* What NFs may switch on and off for a flow; all of them have command slots. Call after subscribe,
 * before the next run. Returns 0, or -errno with a sentence in `error`. */
int mb_worker_accept_commands(struct mb_worker *worker, const struct mb_switch *switches,
                              uint32_t count, char error[MB_ERROR_SIZE]);

/* NF `index` is dead (its process was seen to be gone). It holds nothing any more; what it should
 * have judged passes, or is dropped where it fails closed. `status`: exit status, or the negative
 * number of the signal. */
void mb_worker_detach(struct mb_worker *worker, uint32_t index, int32_t status);

/* Handles no further packet, ends the batches of NFs, lets all of them come to the head and all
 * packets leave: then run returns MB_WORKER_PAUSED. Nothing is in flight then, so that NFs may come
 * and go without that others lose an event or see one twice. False, with no effect, once the input
 * is over. */
bool mb_worker_pause(struct mb_worker *worker);

/* Where all NFs stand while the worker is paused: the log's head. */
uint64_t mb_worker_head(const struct mb_worker *worker);

/* While the worker is paused: NF `index` leaves in order. It holds nothing, and nothing waits for
 * it, whether or not it fails closed. Its process may still live. */
void mb_worker_leave(struct mb_worker *worker, uint32_t index);

/* While the worker is paused: who was attached in this pause is gone again, and nobody is told. To
 * be followed by mb_worker_subscribe, with what was there before. */
void mb_worker_send_away(struct mb_worker *worker);

/* While the worker is paused: NF `index`, which was attached in this pause, is to be told of the
 * flows that there are, each by a flow.present, before its first packet. */
void mb_worker_catch_up(struct mb_worker *worker, uint32_t index);

/* While the worker is paused: NF `index`, which is in shadow and lives, is so no more: its verdicts
 * and rewrites count from the next packet on. Flows that it would have dropped are dropped from
 * there on, without a RST; those that it would have rewritten stay as they are. To be followed by
 * mb_worker_subscribe. Returns 0 or -errno, and then nothing has changed. */
int mb_worker_promote(struct mb_worker *worker, uint32_t index);

/* While the worker is paused: what NF `index`, which is inline and lives, misses once it is gone is
 * dropped from now on. Returns 0 or -EINVAL. */
int mb_worker_fail_closed(struct mb_worker *worker, uint32_t index);

/* Goes on, also where the pause has not been reached yet. Each NF that was attached since the pause
 * gets system.nf_attached first. */
void mb_worker_resume(struct mb_worker *worker);

/* As mb_stack_ask. Call between two runs. */
uint32_t mb_worker_ask(const struct mb_worker *worker, const struct mb_flow_question *question,
                       struct mb_flow_answer *answers, uint32_t most);

/* As mb_stack_trace, for `time_ns`: what is measured of packets is in the counter page, before
 * their entries can be read. Call between two runs. */
bool mb_worker_trace(struct mb_worker *worker, uint32_t slot, uint64_t flow, uint64_t time_ns);

enum mb_worker_status {
    MB_WORKER_RUNNING, /* the slice is over; call again */
    MB_WORKER_PAUSED,  /* nothing happens before mb_worker_resume */
    MB_WORKER_DONE,    /* all input handled, all NFs have passed end_of_input, output written */
    MB_WORKER_FAILED   /* mb_worker_complaint says why */
};

/* Works for about `slice_ns`, at least a batch, then returns so that the caller can look for
 * messages. Reads the clock at most once a batch; sleeps within the slice when NFs hold everything
 * up. Call after subscribe. */
enum mb_worker_status mb_worker_run(struct mb_worker *worker, uint64_t slice_ns);

/* No more input is read; flows end with reason shutdown; run goes on to MB_WORKER_DONE. */
void mb_worker_stop(struct mb_worker *worker);

/* Tells of the next NF that does not keep to the protocol, of each once: its index, and in `words`
 * what it did, as a part of a sentence. It should be ended; nothing that it says is believed beyond
 * its range. Returns false where there is none. Call after each run. */
bool mb_worker_accuse(struct mb_worker *worker, uint32_t *nf, char words[MB_ERROR_SIZE]);

/* Why the worker failed. Also set where it is done but the output lacks packets: why. Else "". */
const char *mb_worker_complaint(const struct mb_worker *worker);
/* A warning about the input (it ends inside a packet, ...), "" for none. */
const char *mb_worker_warning(const struct mb_worker *worker);

#endif
