#include "benchmarks/support/stack_workload.h"

#include "benchmarks/support/measure.h"
#include "benchmarks/support/packet_bytes.h"
#include "microbox/stack/fragments/assembled_frames.h"

#include <string.h>
#include <sys/mman.h>

enum {
    HEADERS = 54,
    RECORD_HEADER = 16, /* of a capture file */
    TIME_STEP = 1000,   /* nanoseconds between packets */
    REORDERED_BEFORE_END = 8,
    PAGE = 4096,
    FIN = 1,
    SYN = 2,
    ACK = 16
};

/* A connection, as far as it is written. */
struct connection {
    uint32_t step;
    uint32_t next[2];    /* sequence numbers of both sides */
    uint32_t skipped[2]; /* bytes before `next` that are still to be sent */
    uint32_t sent[2];    /* bytes of data sent so far */
};

/* One packet. */
struct segment {
    unsigned direction;
    uint8_t flags;
    uint32_t sequence;
    uint32_t length;
};

static uint64_t sum16(const uint8_t *bytes, uint32_t length) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i + 1 < length; i += 2)
        sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
    return length % 2 != 0 ? sum + ((uint32_t)bytes[length - 1] << 8) : sum;
}

static uint32_t folded(uint64_t sum) {
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint32_t)(~sum & 0xffff);
}

static void put_checksums(uint8_t *frame, uint32_t length) {
    put16(frame + 24, folded(sum16(frame + 14, 20)));
    uint64_t pseudo_header = sum16(frame + 26, 8) + 6 + 20 + length;
    put16(frame + 50, folded(pseudo_header + sum16(frame + 34, 20 + length)));
}

/* --- what a connection sends next --- */

static void say(struct workload *workload, struct connection *connection, struct segment *segment,
                uint32_t length) {
    segment->length = length;
    connection->next[segment->direction] += length;
    connection->sent[segment->direction] += length;
    workload->stream_bytes += length;
}

/* In wrong order: the segment behind the one whose turn it is; that one comes next. */
static void skip_one(struct workload *workload, struct connection *connection,
                     struct segment *segment) {
    const uint32_t length = workload->plan.payload;
    segment->sequence += length;
    segment->length = length;
    connection->skipped[segment->direction] = 2 * length;
    connection->next[segment->direction] += 2 * length;
    connection->sent[segment->direction] += 2 * length;
    workload->stream_bytes += 2 * (uint64_t)length;
}

static void choose_data(struct workload *workload, struct connection *connection,
                        struct segment *segment) {
    const uint32_t length = workload->plan.payload;
    uint32_t *skipped = &connection->skipped[segment->direction];
    const bool has_sent = connection->sent[segment->direction] >= length;
    if (!workload->plan.is_disordered)
        return say(workload, connection, segment, length);
    if (*skipped != 0) {
        segment->sequence -= *skipped;
        segment->length = length;
        *skipped = 0;
        return;
    }
    const uint64_t draw = next_random(&workload->random) % 1000;
    if (draw < 10 && has_sent) { /* again */
        segment->sequence -= length;
        segment->length = length;
        return;
    }
    if (draw < 12 && has_sent) { /* its first half was sent before */
        segment->sequence -= length / 2;
        say(workload, connection, segment, length / 2);
        segment->length = length / 2 * 2;
        return;
    }
    if (draw < 32 && connection->step + REORDERED_BEFORE_END < workload->plan.rounds)
        return skip_one(workload, connection, segment);
    say(workload, connection, segment, length);
}

static struct segment next_segment(struct workload *workload, struct connection *connection) {
    const uint32_t step = connection->step++;
    const uint32_t rounds = workload->plan.rounds;
    struct segment segment = {.flags = ACK};
    if (step == 1 || step == rounds - 2)
        segment.direction = 1;
    if (step < 2)
        segment.flags = step == 0 ? SYN : SYN | ACK;
    if (step == rounds - 3 || step == rounds - 2)
        segment.flags = FIN | ACK;
    const bool is_data = step >= HANDSHAKE_ROUNDS && step < rounds - CLOSE_ROUNDS;
    if (is_data)
        segment.direction = step % 3 != 0;
    segment.sequence = connection->next[segment.direction];
    if (is_data)
        choose_data(workload, connection, &segment);
    if (segment.flags & (SYN | FIN))
        connection->next[segment.direction]++;
    return segment;
}

/* --- frames --- */

static uint32_t write_frame(struct workload *workload, uint8_t *frame, uint32_t flow) {
    struct connection *connection = &workload->connections[flow];
    const struct segment segment = next_segment(workload, connection);
    const unsigned direction = segment.direction;
    const uint32_t address[2] = {0x0a000000 + flow, 0xc0a80001 + flow % 251};
    const uint32_t port[2] = {1024 + flow * 7 % 60000, 443};
    const uint32_t peer = connection->next[1 - direction] - connection->skipped[1 - direction];
    memset(frame, 0, HEADERS);
    put16(frame + 12, 0x0800);
    frame[14] = 0x45;
    put16(frame + 16, 40 + segment.length);
    frame[22] = 64;
    frame[23] = 6;
    put32(frame + 26, address[direction]);
    put32(frame + 30, address[1 - direction]);
    put16(frame + 34, port[direction]);
    put16(frame + 36, port[1 - direction]);
    put32(frame + 38, segment.sequence);
    put32(frame + 42, segment.flags & ACK ? peer : 0);
    frame[46] = 5 << 4;
    frame[47] = segment.flags;
    put16(frame + 48, 0xffff);
    memset(frame + HEADERS, 'x', segment.length);
    if (workload->plan.has_checksums)
        put_checksums(frame, segment.length);
    return HEADERS + segment.length;
}

static void shuffle(struct workload *workload) {
    for (uint32_t i = workload->plan.flows - 1; i > 0; i--) {
        const uint32_t j = (uint32_t)(next_random(&workload->random) % (i + 1));
        const uint32_t swap = workload->order[i];
        workload->order[i] = workload->order[j];
        workload->order[j] = swap;
    }
}

void workload_write(struct workload *workload, uint32_t rounds) {
    const uint32_t flows = workload->plan.flows;
    uint64_t at = 0;
    workload->frame_count = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        shuffle(workload);
        for (uint32_t i = 0; i < flows; i++) {
            at += RECORD_HEADER;
            const uint32_t length = write_frame(workload, workload->pool + at, workload->order[i]);
            workload->frames[workload->frame_count++] = (struct mb_frame){
                .offset = at,
                .time = UINT64_C(1700000000000000000) + workload->packets++ * TIME_STEP,
                .length = length,
                .wire_length = length,
                .link_type = 1,
            };
            at += length;
        }
    }
}

/* --- memory --- */

static size_t packets_kept(const struct workload_plan *plan) {
    const uint32_t rounds = plan->rounds_kept != 0 ? plan->rounds_kept : plan->rounds;
    return (size_t)plan->flows * rounds;
}

static size_t frames_size(const struct workload_plan *plan) {
    const size_t size = packets_kept(plan) * (RECORD_HEADER + HEADERS + plan->payload);
    return (size + PAGE - 1) / PAGE * PAGE;
}

/* Behind the frames lies the area that datagrams are put together in. */
static size_t pool_size(const struct workload_plan *plan) {
    return frames_size(plan) + mb_assembled_size(MB_ASSEMBLED_DATAGRAMS_USUALLY);
}

static void *map(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(memory != MAP_FAILED, "mapping a workload");
    return memory;
}

struct workload workload_create(const struct workload_plan *plan) {
    struct workload workload = {.plan = *plan, .random = 20261123};
    workload.pool = map(pool_size(plan));
    workload.assembled_offset = frames_size(plan);
    workload.frames = map(packets_kept(plan) * sizeof *workload.frames);
    workload.connections = calloc(plan->flows, sizeof *workload.connections);
    workload.order = calloc(plan->flows, sizeof *workload.order);
    must(workload.connections && workload.order, "making a workload");
    for (uint32_t flow = 0; flow < plan->flows; flow++) {
        workload.order[flow] = flow;
        workload.connections[flow].next[0] = (uint32_t)next_random(&workload.random);
        workload.connections[flow].next[1] = (uint32_t)next_random(&workload.random);
    }
    return workload;
}

void workload_destroy(struct workload *workload) {
    munmap(workload->pool, pool_size(&workload->plan));
    munmap(workload->frames, packets_kept(&workload->plan) * sizeof *workload->frames);
    free(workload->connections);
    free(workload->order);
}
