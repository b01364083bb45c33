#include "microbox/c_nf/flow_states.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 16 };

struct mb_flow_block {
    uint64_t flow;
    uint32_t next; /* of its bucket's chain, or of the free ones */
    uint32_t next_ending;
    bool is_ending;
};

/* Pages that nobody touches cost nothing. */
static void *reserve(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory != MAP_FAILED ? memory : NULL;
}

static void give_back(void *memory, size_t bytes) {
    if (memory != NULL)
        munmap(memory, bytes);
}

static uint32_t power_of_two(uint32_t at_least) {
    uint32_t power = 1;
    while (power < at_least)
        power <<= 1;
    return power;
}

int mb_flow_states_create(struct mb_flow_states *states, uint32_t size, uint32_t most,
                          uint32_t poll_max) {
    *states = (struct mb_flow_states){0};
    if (size == 0)
        return 0;
    states->size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    states->most = most;
    states->blocks = most + 2 * poll_max; /* ended in this poll, and in the one before */
    states->buckets = power_of_two(states->blocks);
    states->bucket = reserve(states->buckets * sizeof *states->bucket);
    states->block = reserve(((size_t)states->blocks + 1) * sizeof *states->block);
    states->bytes = reserve(((size_t)states->blocks + 1) * states->size);
    if (states->bucket != NULL && states->block != NULL && states->bytes != NULL)
        return 0;
    mb_flow_states_destroy(states);
    return -ENOMEM;
}

void mb_flow_states_destroy(struct mb_flow_states *states) {
    give_back(states->bucket, states->buckets * sizeof *states->bucket);
    give_back(states->block, ((size_t)states->blocks + 1) * sizeof *states->block);
    give_back(states->bytes, ((size_t)states->blocks + 1) * states->size);
    *states = (struct mb_flow_states){0};
}

/* Fibonacci hashing; the numbers are given out by the stack, so nobody can choose collisions. */
static uint32_t *bucket_of(const struct mb_flow_states *states, uint64_t flow) {
    return &states->bucket[(flow * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & (states->buckets - 1)];
}

static uint32_t find(const struct mb_flow_states *states, uint64_t flow) {
    uint32_t number = *bucket_of(states, flow);
    while (number != 0 && states->block[number].flow != flow)
        number = states->block[number].next;
    return number;
}

static void *bytes_of(const struct mb_flow_states *states, uint32_t number) {
    return states->bytes + (size_t)number * states->size;
}

/* There is one: as many as may be live, and as many as may have ended. */
static uint32_t take_free(struct mb_flow_states *states) {
    const uint32_t number = states->free;
    if (number != 0) {
        states->free = states->block[number].next;
        return number;
    }
    return ++states->used;
}

void *mb_flow_states_get(struct mb_flow_states *states, uint64_t flow) {
    if (states->size == 0)
        return NULL;
    uint32_t number = find(states, flow);
    if (number != 0)
        return bytes_of(states, number);
    if (states->live == states->most) {
        states->refused++;
        return NULL;
    }
    states->live++;
    number = take_free(states);
    uint32_t *bucket = bucket_of(states, flow);
    states->block[number] = (struct mb_flow_block){.flow = flow, .next = *bucket};
    *bucket = number;
    memset(bytes_of(states, number), 0, states->size);
    return bytes_of(states, number);
}

void mb_flow_states_end(struct mb_flow_states *states, uint64_t flow) {
    if (states->size == 0)
        return;
    const uint32_t number = find(states, flow);
    if (number == 0 || states->block[number].is_ending)
        return;
    states->live--;
    states->block[number].is_ending = true;
    states->block[number].next_ending = states->ending;
    states->ending = number;
}

static void put_back(struct mb_flow_states *states, uint32_t number) {
    struct mb_flow_block *block = &states->block[number];
    uint32_t *link = bucket_of(states, block->flow);
    while (*link != number)
        link = &states->block[*link].next;
    *link = block->next;
    block->next = states->free;
    states->free = number;
}

void mb_flow_states_turn(struct mb_flow_states *states) {
    for (uint32_t number = states->past; number != 0;) {
        const uint32_t next = states->block[number].next_ending;
        put_back(states, number);
        number = next;
    }
    states->past = states->ending;
    states->ending = 0;
}
