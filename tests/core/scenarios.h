/*
 * Whole uses of the core, each from making to freeing, for tests that repeat them: with calls that
 * fail (faults.c), and again and again (replays.c).
 */
#ifndef TESTS_CORE_SCENARIOS_H
#define TESTS_CORE_SCENARIOS_H

#include "microbox/io/source.h"

#include <stdbool.h>
#include <stddef.h>

struct scenario {
    const char *name;
    /* `file`: the capture, or the module. Returns whether all went well; if not, `error` is why. */
    bool (*run)(const char *file, char error[MB_ERROR_SIZE]);
};

/* On a capture: reading; the stack at each level; the worker with an NF that judges. */
extern const struct scenario capture_scenarios[];
extern const size_t capture_scenario_count;

/* On a capture that comes from a pipe. */
bool scenario_reads_stream(const char *file, char error[MB_ERROR_SIZE]);

/* Areas, and the sink. The file is not read. */
bool scenario_shares_areas(const char *file, char error[MB_ERROR_SIZE]);
bool scenario_writes(const char *file, char error[MB_ERROR_SIZE]);
bool scenario_goes_on_writing(const char *file, char error[MB_ERROR_SIZE]);
/* `file`: a shared object. */
bool scenario_loads_module(const char *file, char error[MB_ERROR_SIZE]);

#endif
