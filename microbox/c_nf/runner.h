/*
 * The loop of an NF in C: poll the bus, call the handlers, judge, move on, without Python for an
 * event. The order of things and the rules of verdicts are those of nf/runner.py.
 *
 * One thread uses a runner. All that it is given stays the caller's and outlives it.
 */
#ifndef MICROBOX_C_NF_RUNNER_H
#define MICROBOX_C_NF_RUNNER_H

#include "microbox/bus/reader.h"
#include "microbox/bus/soundness.h"
#include "microbox/c_nf/abi.h"
#include "microbox/c_nf/publication.h"

enum { MB_C_NF_REASON_SIZE = 256, MB_C_NF_FAILURES_MAX = 64, MB_C_NF_TOLD = 5 };

/* Which deliveries a handler is for: one type, on some of the reader's subscriptions. */
struct mb_c_nf_route {
    uint16_t type;
    uint16_t handler; /* in the descriptor; MB_NF_HANDLERS_MAX: the runtime's own, which learns
                         here that a flow has ended */
    uint32_t bits;
};

struct mb_c_nf_config {
    const struct mb_nf_descriptor *descriptor;
    const char *name; /* of the instance */
    void *state;      /* zeros and the parameters */

    struct mb_reader *reader;
    struct mb_delivery *deliveries;
    uint32_t capacity;
    const uint8_t *pool;
    uint64_t pool_size;
    const struct mb_payload_shape *shapes; /* by type */
    const volatile bool *cancelled;        /* ends a wait for readers of what was published */

    const struct mb_c_nf_route *routes; /* sorted by type; of one type, in the order of handlers */
    uint32_t route_count;
    uint32_t own_subscriptions; /* all but those that only follow other NFs */
    uint64_t asked_for[8];      /* set of types (512 bits): that handlers of its own are for */
    uint16_t end_of_input;      /* number of that type */

    const struct mb_publishable *publishable; /* in the order of the descriptor's `publishes` */
    uint32_t publishable_count;
    const uint8_t *tuple_kind; /* enum mb_tuple_kind by type */

    const char *log_path; /* of the records' file; NULL: it is made, or records are not kept */
    int log_fd;           /* of it, where it is made; taken. -1: it is not */
    bool utc;
    bool is_part_of_log; /* others write to the same (record_log.h) */
    bool stops;          /* at the first handler that fails */
};

/* What a handler could not do. */
struct mb_c_nf_failure {
    const char *handler;
    uint32_t index;   /* of the delivery; `capacity`: none */
    char reason[256]; /* MB_C_NF_REASON_SIZE */
};

enum mb_c_nf_outcome {
    MB_C_NF_GOES_ON, /* the time is over */
    MB_C_NF_FAILED,  /* handlers failed: mb_c_nf_failure; run again where it is not to stop */
    MB_C_NF_ENDED,   /* the end of the input has been handled */
    MB_C_NF_BROKEN   /* mb_c_nf_bus_error: run again where it can go on */
};

struct mb_c_nf_runner;

/* Returns NULL where there is no memory. */
struct mb_c_nf_runner *mb_c_nf_create(const struct mb_c_nf_config *config);
void mb_c_nf_destroy(struct mb_c_nf_runner *runner);

/* Call the NF's own functions; false: it failed (mb_c_nf_failure). */
bool mb_c_nf_start(struct mb_c_nf_runner *runner);
bool mb_c_nf_finish(struct mb_c_nf_runner *runner);

/* Handles what there is for about `timeout_ns`, waiting for it where there is nothing. */
enum mb_c_nf_outcome mb_c_nf_run(struct mb_c_nf_runner *runner, uint64_t timeout_ns);

/* What the last call left to be told. */
uint32_t mb_c_nf_failures(const struct mb_c_nf_runner *runner);
const struct mb_c_nf_failure *mb_c_nf_failure(const struct mb_c_nf_runner *runner, uint32_t which);
/* Of a poll: -errno; *nf: whose log is broken, after -EPROTO. */
int mb_c_nf_bus_error(const struct mb_c_nf_runner *runner, uint32_t *nf);

/* How often the descriptor's handler failed in all. */
uint64_t mb_c_nf_raised(const struct mb_c_nf_runner *runner, uint32_t handler);
/* Events of NF `nf` that were left out, being unsound; MB_NFS_MAX: of the worker. */
uint64_t mb_c_nf_unsound(const struct mb_c_nf_runner *runner, uint32_t nf);
/* First uses of a flow's state when there was none left. */
uint64_t mb_c_nf_states_refused(const struct mb_c_nf_runner *runner);
/* Fields of the summary as JSON, each behind ", ". */
const char *mb_c_nf_summary(const struct mb_c_nf_runner *runner, size_t *length);

struct mb_c_nf_records {
    uint64_t written;
    uint64_t lost;
    int error; /* the first one; 0: none */
};
/* Writes what is buffered into the file as it was, and lines from now on into the file `fd`, which
 * is open for appending. Takes `fd`. */
void mb_c_nf_go_on_in(struct mb_c_nf_runner *runner, int fd);
/* Writes what is buffered and closes the file. */
void mb_c_nf_close_records(struct mb_c_nf_runner *runner);
struct mb_c_nf_records mb_c_nf_records(const struct mb_c_nf_runner *runner);

/* Where the NF dies of a signal such as SIGSEGV, a line on standard error says which one, and in
 * which handler, before it does. Once a process. Returns 0 or -errno. */
int mb_c_nf_report_crashes(const struct mb_c_nf_runner *runner);

#endif
