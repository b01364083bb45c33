/*
 * What the files of the runner share. Nobody else includes this.
 *
 * runner.c   making, the loop     services.c   what the NF calls     crash.c   its death
 */
#ifndef MICROBOX_C_NF_RUNNER_PRIVATE_H
#define MICROBOX_C_NF_RUNNER_PRIVATE_H

#include "microbox/c_nf/flow_states.h"
#include "microbox/c_nf/json.h"
#include "microbox/c_nf/record_log.h"
#include "microbox/c_nf/runner.h"

struct mb_c_nf_runner {
    struct mb_nf nf; /* first: services find the runner by it */
    struct mb_c_nf_config config;
    struct mb_nf_counters *counters;

    const struct mb_c_nf_route *first_route[MB_TYPES_MAX + 1]; /* by type; its last ends where the
                                                                  next type's first is */
    struct mb_event event;                                     /* in hand */
    const struct mb_delivery *delivery;                        /* likewise; NULL: none */
    uint64_t time;       /* packet time of the last event; 0: there was none yet */
    const char *running; /* name of what of the NF runs, NULL: nothing */

    uint32_t count; /* deliveries of the poll in hand */
    uint32_t index; /* of the next one */
    bool commanded; /* a command was given in this poll */
    bool end_seen;
    int bus_error;
    uint32_t broken_nf;

    bool has_failed; /* what runs has */
    uint32_t failures;
    struct mb_c_nf_failure failure[MB_C_NF_FAILURES_MAX];
    uint64_t raised[MB_NF_HANDLERS_MAX];
    uint64_t unsound[MB_NFS_MAX + 1];

    struct mb_flow_states states;
    struct mb_record_log records;
    struct mb_json summary;
    uint8_t *payload; /* MB_NF_PUBLICATION_MAX bytes: what is being published */
};

extern const struct mb_nf_services mb_c_nf_services;

static inline bool mb_c_nf_is_in(const uint64_t types[8], uint16_t type) {
    return (types[type / 64 % 8] >> (type % 64) & 1) != 0;
}

/* What runs has failed: the first reason counts. */
void mb_c_nf_fail(struct mb_c_nf_runner *runner, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
