/*
 * The stack alone, on one core, from memory: 1,000,000 packets of 20,000 interleaved TCP flows,
 * made from a seed, with 64-byte payloads and with full segments. Beside each measure a bare loop
 * that parses the same packets and hashes their tuples.
 *
 * Entries are really written. Nobody else reads them; the log's slots are reused in turn, as they
 * are where readers keep up.
 */
#include "microbox/stack/stack.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/counters.h"
#include "microbox/stack/decode.h"
#include "microbox/stack/flow_table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum {
    PACKETS = 1000000,
    FLOWS = 20000,
    PACKETS_PER_FLOW = PACKETS / FLOWS,
    HEADERS = 54,
    SMALL = 64,
    FULL = 1448,
    LOG_SLOTS = 1 << 14
};

struct work {
    uint8_t *pool;
    size_t pool_size;
    struct mb_frame *frames;
};

static uint64_t random_state = 20261123;

/* xorshift64* */
static uint64_t next_random(void) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(2685821657736338717);
}

static void put16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value) {
    put16(at, value >> 16);
    put16(at + 2, value);
}

/* A connection, as far as it is written. */
struct connection {
    uint32_t step;
    uint32_t next[2]; /* sequence numbers of both sides */
};

enum { FIN = 1, SYN = 2, ACK = 16 };

/* What a flow's packet `step` is: three of the handshake, data from both sides (one request segment
 * for two of the answer), FIN, FIN, ACK. */
static void plan(uint32_t step, unsigned *direction, uint8_t *flags, bool *has_payload) {
    *flags = ACK;
    *has_payload = false;
    *direction = 0;
    if (step == 0) {
        *flags = SYN;
    } else if (step == 1) {
        *flags = SYN | ACK;
        *direction = 1;
    } else if (step == PACKETS_PER_FLOW - 3) {
        *flags = FIN | ACK;
    } else if (step == PACKETS_PER_FLOW - 2) {
        *flags = FIN | ACK;
        *direction = 1;
    } else if (step != 2 && step != PACKETS_PER_FLOW - 1) {
        *has_payload = true;
        *direction = step % 3 != 0;
    }
}

static uint32_t write_packet(uint8_t *frame, uint32_t flow, struct connection *connection,
                             uint32_t payload) {
    unsigned direction;
    uint8_t flags;
    bool has_payload;
    plan(connection->step++, &direction, &flags, &has_payload);
    uint32_t length = has_payload ? payload : 0;
    uint32_t address[2] = {0x0a000000 + flow, 0xc0a80001 + flow % 251};
    uint32_t port[2] = {1024 + flow * 7 % 60000, 443};
    memset(frame, 0, HEADERS);
    put16(frame + 12, 0x0800);
    frame[14] = 0x45;
    put16(frame + 16, 40 + length);
    frame[22] = 64;
    frame[23] = 6;
    put32(frame + 26, address[direction]);
    put32(frame + 30, address[1 - direction]);
    put16(frame + 34, port[direction]);
    put16(frame + 36, port[1 - direction]);
    put32(frame + 38, connection->next[direction]);
    put32(frame + 42, flags & ACK ? connection->next[1 - direction] : 0);
    frame[46] = 5 << 4;
    frame[47] = flags;
    put16(frame + 48, 0xffff);
    memset(frame + HEADERS, 'x', length);
    connection->next[direction] += length + ((flags & (SYN | FIN)) != 0);
    return HEADERS + length;
}

static void *map(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return memory;
}

/* Flows take turns in random order, a packet each; frames lie in capture order, as in a file. */
static struct work make_work(uint32_t payload) {
    struct work work = {.pool_size = (size_t)PACKETS * (HEADERS + payload + 16)};
    work.pool = map(work.pool_size);
    work.frames = map(PACKETS * sizeof *work.frames);
    struct connection *connections = calloc(FLOWS, sizeof *connections);
    uint32_t *order = calloc(FLOWS, sizeof *order);
    for (uint32_t flow = 0; flow < FLOWS; flow++) {
        order[flow] = flow;
        connections[flow].next[0] = (uint32_t)next_random();
        connections[flow].next[1] = (uint32_t)next_random();
    }
    uint64_t at = 0;
    uint32_t packet = 0;
    for (uint32_t round = 0; round < PACKETS_PER_FLOW; round++) {
        for (uint32_t i = FLOWS - 1; i > 0; i--) {
            uint32_t j = (uint32_t)(next_random() % (i + 1));
            uint32_t swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
        for (uint32_t i = 0; i < FLOWS; i++, packet++) {
            at += 16; /* a record's header, as in a capture */
            uint32_t length =
                write_packet(work.pool + at, order[i], &connections[order[i]], payload);
            work.frames[packet] =
                (struct mb_frame){.offset = at,
                                  .time = UINT64_C(1700000000000000000) + packet * UINT64_C(1000),
                                  .length = length,
                                  .wire_length = length,
                                  .link_type = 1};
            at += length;
        }
    }
    free(connections);
    free(order);
    return work;
}

static void destroy_work(struct work *work) {
    munmap(work->pool, work->pool_size);
    munmap(work->frames, PACKETS * sizeof *work->frames);
}

/* Of processor time: on a shared machine, what others take does not count. */
static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Decodes and hashes: what no stack can do without. */
static double bare_loop(const struct work *work) {
    static const struct mb_decoder decoder = {.key = {1, 2}, .tunnels_max = 4};
    struct mb_decoded decoded;
    uint64_t sum = 0;
    double begin = seconds();
    for (uint32_t i = 0; i < PACKETS; i++) {
        const struct mb_frame *frame = &work->frames[i];
        __builtin_prefetch(work->pool + work->frames[i + 8 < PACKETS ? i + 8 : i].offset);
        mb_decode(&decoder, &decoded, frame, work->pool + frame->offset, i + 1);
        sum += mb_flow_hash(decoder.key, &decoded.tuple, decoded.domain);
    }
    double rate = PACKETS / (seconds() - begin) / 1e6;
    if (sum == 0)
        fprintf(stderr, "no packet was parsed\n");
    return rate;
}

static double run_stack(const struct work *work, const uint16_t *types, size_t type_count,
                        uint64_t entries_wanted) {
    struct mb_log log;
    struct mb_subscription subscription = {0};
    for (size_t i = 0; i < type_count; i++)
        subscription.types[types[i] / 64] |= UINT64_C(1) << types[i] % 64;
    char error[MB_ERROR_SIZE];
    struct mb_stack_config config = {.link_type = 1};
    if (mb_log_create(&log, LOG_SLOTS) != 0)
        exit(1);
    struct mb_stack *stack = mb_stack_create(&config, &log, &subscription, 1, NULL, 0, error);
    if (stack == NULL) {
        fprintf(stderr, "%s\n", error);
        exit(1);
    }
    static struct mb_handled handled[MB_BATCH];
    double begin = seconds();
    for (size_t done = 0; done < PACKETS;) {
        size_t batch = PACKETS - done < MB_BATCH ? PACKETS - done : MB_BATCH;
        done += mb_stack_handle(stack, work->pool, work->frames + done, batch, handled);
        mb_log_commit(&log);
    }
    double rate = PACKETS / (seconds() - begin) / 1e6;
    if (log.next != entries_wanted) {
        fprintf(stderr, "%" PRIu64 " entries were published, expected %" PRIu64 "\n", log.next,
                entries_wanted);
        exit(1);
    }
    mb_stack_destroy(stack);
    mb_log_destroy(&log);
    return rate;
}

static void print(const char *measure, const char *what, double value, double goal, double bare) {
    printf("{\"measure\": \"%s\", \"what\": \"%s\", \"value\": %.3f, \"unit\": \"M packets/s\", "
           "\"goal\": %.1f, \"reference\": %.3f, \"reference_name\": \"parse and hash only\"}\n",
           measure, what, value, goal, bare);
}

static void measure(const char *name, uint32_t payload) {
    static const uint16_t tracking[] = {MB_TYPE_TCP_START, MB_TYPE_TCP_ESTABLISHED,
                                        MB_TYPE_TCP_END};
    static const uint16_t streams[] = {MB_TYPE_TCP_DATA};
    struct work work = make_work(payload);
    double bare = bare_loop(&work);
    char measure_name[64];
    snprintf(measure_name, sizeof measure_name, "stack.tracking.%s", name);
    print(measure_name, "TCP start, established and end of 20,000 flows",
          run_stack(&work, tracking, 3, UINT64_C(3) * FLOWS), 4.0, bare);
    snprintf(measure_name, sizeof measure_name, "stack.streams.%s", name);
    print(measure_name, "in-order bytes of both sides of 20,000 flows",
          run_stack(&work, streams, 1, (uint64_t)(PACKETS_PER_FLOW - 6) * FLOWS), 2.5, bare);
    destroy_work(&work);
}

int main(void) {
    measure("small", SMALL);
    measure("full", FULL);
    return 0;
}
