/*
 * Whole runs of a capture, again and again in one process: memory, mappings and descriptors do not
 * grow.
 *
 *     replays COUNT CAPTURE...
 */
#include "scenarios.h"

#include <dirent.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RUNS_BEFORE = 5, RESIDENT_SLACK = 1 << 20 };

/* What a process has of the system. */
struct holdings {
    size_t allocated;
    unsigned mappings;
    unsigned descriptors;
    size_t resident; /* bytes; 0 where the sanitizers keep what was freed */
};

#ifdef __SANITIZE_ADDRESS__
/* The sanitizers' own; not every compiler comes with its header. */
size_t __sanitizer_get_current_allocated_bytes(void);

static size_t allocated_bytes(void) {
    return __sanitizer_get_current_allocated_bytes();
}

static size_t resident_bytes(void) {
    return 0;
}

/* The sanitizers' allocator has anonymous ones that come and go. */
static bool counts_as_mapping(const char *line) {
    return strchr(line, '/') != NULL;
}
#else
static size_t allocated_bytes(void) {
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static size_t resident_bytes(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL || fscanf(file, "%*u %lu", &pages) != 1)
        abort();
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static bool counts_as_mapping(const char *line) {
    return line[0] != '\0';
}
#endif

static unsigned count_mappings(void) {
    unsigned count = 0;
    char line[1024];
    FILE *file = fopen("/proc/self/maps", "re");
    if (file == NULL)
        abort();
    while (fgets(line, sizeof line, file) != NULL)
        count += counts_as_mapping(line);
    fclose(file);
    return count;
}

static unsigned count_descriptors(void) {
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL)
        abort();
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static struct holdings look(void) {
    return (struct holdings){
        .mappings = count_mappings(),
        .descriptors = count_descriptors(),
        .resident = resident_bytes(),
        .allocated = allocated_bytes(),
    };
}

static bool has_grown(const struct holdings *before, const struct holdings *after) {
    return after->allocated > before->allocated || after->mappings > before->mappings ||
           after->descriptors > before->descriptors ||
           after->resident > before->resident + RESIDENT_SLACK;
}

static void repeat(const struct scenario *scenario, const char *capture, unsigned count) {
    /* A broken capture ends early with its complaint, and is as good as others here. */
    char error[MB_ERROR_SIZE];
    for (unsigned i = 0; i < count; i++)
        scenario->run(capture, error);
}

static bool stays_as_it_is(const struct scenario *scenario, const char *capture, unsigned count) {
    repeat(scenario, capture, RUNS_BEFORE);
    const struct holdings before = look();
    repeat(scenario, capture, count);
    const struct holdings after = look();
    if (!has_grown(&before, &after))
        return true;
    fprintf(stderr,
            "%s: %s %u times: allocated %zu, then %zu; mappings %u, then %u; descriptors %u, "
            "then %u; resident %zu, then %zu\n",
            capture, scenario->name, count, before.allocated, after.allocated, before.mappings,
            after.mappings, before.descriptors, after.descriptors, before.resident, after.resident);
    return false;
}

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: replays COUNT CAPTURE...\n");
        return 2;
    }
    const unsigned runs = (unsigned)strtoul(arguments[1], NULL, 10);
    unsigned grown = 0;
    for (int i = 2; i < count; i++)
        for (size_t k = 0; k < capture_scenario_count; k++)
            grown += !stays_as_it_is(&capture_scenarios[k], arguments[i], runs);
    printf("%u replays of %d captures in %zu ways: %u grew\n", runs, count - 2,
           capture_scenario_count, grown);
    return grown == 0 ? 0 : 1;
}
