/*
 * What a worker takes when all its tables are full.
 *
 * What does not grow with a limit is not counted: the worker itself, its buffers, its counters.
 */
#ifndef MICROBOX_STACK_WORKER_MEMORY_H
#define MICROBOX_STACK_WORKER_MEMORY_H

#include "microbox/stack/memory.h"
#include "microbox/stack/worker.h"

/* Which tables there are beside those that every worker has: by what NFs need, and the output. */
struct mb_memory_needs {
    uint32_t gates;         /* one where there is an output or an inline NF, and one for each inline
                               NF in shadow */
    uint32_t translating;   /* of these, those with an NF that rewrites flows */
    bool judges;            /* there is an inline NF */
    bool edits;             /* ... which edits packets, and is not in shadow */
    bool takes_commands;    /* of any NF */
    bool compares;          /* somebody reads tcp.anomaly.overlap.inconsistent */
    uint32_t counters;      /* that conditions keep of a flow */
    uint32_t module_states; /* bytes that users' modules keep of a flow */
};

/* Limits that are 0 are their defaults. Modules and derived types of the configuration are not
 * looked at. */
struct mb_memory mb_worker_memory(const struct mb_worker_config *config,
                                  const struct mb_memory_needs *needs);

#endif
