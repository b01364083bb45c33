/*
 * What the C benchmarks share: a clock, a median, and giving up with a reason.
 */
#ifndef MICROBOX_BENCHMARKS_SUPPORT_MEASURE_H
#define MICROBOX_BENCHMARKS_SUPPORT_MEASURE_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

static inline double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static inline void must(bool holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "benchmark: %s failed\n", what);
    exit(EXIT_FAILURE);
}

static inline void must_succeed(pid_t child) {
    int status;
    must(waitpid(child, &status, 0) == child && status == 0, "the other process");
}

static inline int compare_numbers(const void *one, const void *other) {
    double first = *(const double *)one;
    double second = *(const double *)other;
    return (first > second) - (first < second);
}

/* Sorts `values`. */
static inline double median(double *values, unsigned count) {
    qsort(values, count, sizeof *values, compare_numbers);
    return values[count / 2];
}

#endif
