/*
 * A worker: source → stack → log → gate → sink, in one loop. One process runs one worker.
 */
#ifndef MICROBOX_STACK_WORKER_H
#define MICROBOX_STACK_WORKER_H

#include "microbox/bus/area.h"
#include "microbox/io/sink.h"
#include "microbox/io/source.h"
#include "microbox/stack/stack.h"

struct mb_worker_config {
    struct mb_stack_config stack;
    uint64_t log_slots;
    uint64_t packet_limit; /* stop after so many; 0: all */
    uint32_t batch;        /* packets a batch, 1 to MB_BATCH; 0: MB_BATCH */
};

struct mb_worker;

/* Makes log and counter areas. `source` and `sink` (may be NULL) stay the caller's and must outlive
 * the worker. Returns NULL with a sentence in `error`. */
struct mb_worker *mb_worker_create(const struct mb_worker_config *config, struct mb_source *source,
                                   struct mb_sink *sink, char error[MB_ERROR_SIZE]);
void mb_worker_destroy(struct mb_worker *worker);

int mb_worker_log_fd(const struct mb_worker *worker);
int mb_worker_counters_fd(const struct mb_worker *worker);
size_t mb_worker_counters_size(void);

/* Maps NF `index`'s area (its size checked against the geometry) and lets it hold the log.
 * All NFs are attached before subscribe. Returns 0 or -errno. */
struct mb_nf_geometry;
int mb_worker_attach(struct mb_worker *worker, uint32_t index, int area_fd, bool is_inline,
                     bool fails_closed, uint64_t own_slots, uint64_t ring_bytes);

/* The subscriptions and timers of all NFs. Returns 0, or -EINVAL with a sentence in `error`. */
int mb_worker_subscribe(struct mb_worker *worker, const struct mb_subscription *subscriptions,
                        uint32_t count, const struct mb_timer_subscription *timers,
                        uint32_t timer_count, char error[MB_ERROR_SIZE]);

/* NF `index` is dead (its process was seen to be gone). */
void mb_worker_detach(struct mb_worker *worker, uint32_t index, int32_t status);

enum mb_worker_status {
    MB_WORKER_RUNNING, /* the slice is over; call again */
    MB_WORKER_DONE,    /* all input handled, all NFs have passed end_of_input, output written */
    MB_WORKER_FAILED   /* mb_worker_complaint says why */
};

/* Works for about `slice_ns`, then returns so that the caller can look for messages. Reads the
 * clock at most once a batch; sleeps within the slice when NFs hold everything up. */
enum mb_worker_status mb_worker_run(struct mb_worker *worker, uint64_t slice_ns);

/* No more input is read; flows end with reason shutdown; run goes on to MB_WORKER_DONE. */
void mb_worker_stop(struct mb_worker *worker);

const char *mb_worker_complaint(const struct mb_worker *worker);
/* A warning about the input (it ends inside a packet, ...), "" for none. */
const char *mb_worker_warning(const struct mb_worker *worker);

#endif
