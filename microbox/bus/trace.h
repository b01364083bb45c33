/*
 * A packet's way through the NFs, watched from outside: when its entries are there to be read, and
 * when each NF that they name has passed them; and what the worker says of the time before that.
 *
 * Who watches has no place in the chain. It reads log and cursors, holds up nobody, and may miss
 * packets: while it follows one, others go by. It knows of no moment but those at which it looks:
 * where it was kept from looking, since processors were short, when a packet came, that packet is
 * passed over; where it was so when an NF passed, it says so. Entries may be overwritten while they
 * are looked at; what was read is then wrong, or belongs to another packet, but is never used to
 * reach memory.
 */
#ifndef MICROBOX_BUS_TRACE_H
#define MICROBOX_BUS_TRACE_H

#include "microbox/bus/layout.h"
#include "microbox/bus/sojourn.h"

#include <stdbool.h>

/* Mapped for reading, and valid as long as the trace is used. */
struct mb_trace_nf {
    const struct mb_nf_page *page;
    uint32_t index;
    uint32_t reserved;
    uint64_t bits[2]; /* of its subscriptions */
};

struct mb_trace {
    const struct mb_log_page *log;     /* its slots follow it */
    const struct mb_sojourn *sojourns; /* MB_SOJOURNS of the worker's; NULL: nobody asks for them */
    uint64_t slots;                    /* a power of two */
    uint64_t flow;                     /* number of the flow that is watched */
    uint64_t position;                 /* entries before this one have been looked at */
    uint64_t gap_max;                  /* nanoseconds between two looks that still count as exact */
    uint64_t looked;                   /* when its last look began */
    uint32_t nfs;
    uint32_t reserved;
    struct mb_trace_nf nf[64];
};

/* One packet. Times are of CLOCK_MONOTONIC, in nanoseconds. */
struct mb_traced {
    uint64_t packet;
    uint32_t entries; /* of the flow, that were published with it */
    uint8_t from_responder;
    uint8_t reserved[3];
    uint64_t seen;             /* when they were seen to be there */
    uint64_t named;            /* bit k: trace.nf[k] is named by one of them */
    uint64_t passed[64];       /* by k: when it was seen to have passed them; 0: not in time */
    uint64_t late;             /* bit k: it may have done so well before that */
    struct mb_sojourn sojourn; /* all 0 where the worker did not measure it */
};

/* From here on: what is in the log already is not looked at. */
void mb_trace_begin(struct mb_trace *trace);

/* Waits for the next packet of the flow, and follows it until all NFs that it names have passed it,
 * for `patience` nanoseconds at most. False where none came before `until`. Looks as often as it
 * can: for a thread of low priority. */
bool mb_trace_next(struct mb_trace *trace, uint64_t until, uint64_t patience,
                   struct mb_traced *traced);

/* The time on the same clock. */
uint64_t mb_trace_now(void);

#endif
