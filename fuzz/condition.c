/*
 * Conditions: the input is how many steps and counters a program has, an entry, its data, and the
 * program. No program may break anything: what the check lets through runs within the entry, its
 * data and its counters, whatever they hold, and answers the same when asked again.
 */
#include "microbox/stack/conditions/condition.h"

#include <stdlib.h>
#include <string.h>

enum { DATA_MAXIMUM = 255 };

struct head {
    uint16_t steps;
    uint8_t counters;
    uint8_t data_length;
    uint64_t started;
    struct mb_entry entry;
};

static void require(bool holds) {
    if (!holds)
        abort();
}

/* Data and counters end where their allocation does, as far as the sanitizers see. */
static enum mb_condition_result run(const struct mb_condition *condition, const struct head *head,
                                    const uint8_t *data) {
    int64_t *counters = calloc(condition->counters + 1, sizeof *counters);
    uint8_t *copy = malloc(head->data_length + 1);
    require(counters != NULL && copy != NULL);
    memcpy(copy + 1, data, head->data_length);
    const struct mb_condition_input input = {.entry = &head->entry,
                                             .data = copy + 1,
                                             .started = head->started,
                                             .counters = counters + 1};
    const enum mb_condition_result result = mb_condition_run(condition, &input);
    free(copy);
    free(counters);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct head head;
    char error[MB_ERROR_SIZE];
    static struct mb_condition condition;
    if (size < sizeof head + DATA_MAXIMUM)
        return 0;
    memcpy(&head, bytes, sizeof head);
    head.entry.data_length = head.data_length;
    const uint8_t *program = bytes + sizeof head + DATA_MAXIMUM;
    const size_t program_size = size - sizeof head - DATA_MAXIMUM;
    if (mb_condition_load(&condition, program, (uint32_t)program_size, head.steps, head.counters,
                          error) != 0)
        return 0;
    const enum mb_condition_result result = run(&condition, &head, bytes + sizeof head);
    require(result <= MB_CONDITION_FAILED);
    require(result == run(&condition, &head, bytes + sizeof head));
    return 0;
}
