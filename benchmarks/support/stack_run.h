/*
 * A stack alone, on one core, from memory. Entries are really written; nobody else reads them, and
 * the log's slots are reused in turn, as they are where readers keep up.
 */
#ifndef MICROBOX_BENCHMARKS_SUPPORT_STACK_RUN_H
#define MICROBOX_BENCHMARKS_SUPPORT_STACK_RUN_H

#include "benchmarks/support/stack_workload.h"
#include "microbox/stack/counters.h"
#include "microbox/stack/stack.h"

/* What the one subscriber wants, and so what the stack has to do. */
enum level {
    LEVEL_DECODE,   /* malformed packets: no flow is looked up */
    LEVEL_FLOW,     /* each flow's start and end */
    LEVEL_TRACKING, /* TCP start, established and end */
    LEVEL_ONE_SIDE, /* bytes of the responders, in order */
    LEVEL_BOTH,     /* bytes of both sides, in order */
    LEVEL_CONTENT,  /* those, and UDP's; so fragments are put together too */
    LEVELS
};

extern const char *const level_names[LEVELS];
extern const char *const level_sentences[LEVELS];

struct stack_run {
    struct mb_log log;
    struct mb_stack *stack;
};

/* `workload` is what will be handled. Exits where there is no memory. Destroy frees it. */
struct stack_run *stack_run_create(enum level level, const struct mb_stack_config *config,
                                   const struct workload *workload);
void stack_run_destroy(struct stack_run *run);

/* Handles the frames that the workload has written. Returns the processor time that it took, in
 * seconds: on a shared machine, what others take does not count. */
double stack_run_handle(struct stack_run *run, const struct workload *workload);

/* Exits where the stack did not do what the level asks for, after all of the workload's rounds. */
void stack_run_check(const struct stack_run *run, enum level level,
                     const struct workload *workload);

/* Millions of packets a second of a whole workload, in one run from an empty table. */
double stack_rate(const struct workload *workload, enum level level, enum mb_checksums checksums);

/* The same of a loop that only decodes and hashes: what no stack can do without. */
double bare_rate(const struct workload *workload);

#endif
