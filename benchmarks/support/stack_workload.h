/*
 * TCP connections from a seed: `flows` of them take turns in random order, a packet each a round.
 *
 * A connection's packets are three of the handshake, data from both sides (one segment of the
 * request for two of the answer), FIN, FIN, ACK. Frames lie in capture order with room for a
 * record's header between them, as in a file.
 */
#ifndef MICROBOX_BENCHMARKS_SUPPORT_STACK_WORKLOAD_H
#define MICROBOX_BENCHMARKS_SUPPORT_STACK_WORKLOAD_H

#include "microbox/io/source.h"

#include <stdbool.h>
#include <stdint.h>

enum { PAYLOAD_SMALL = 64, PAYLOAD_FULL = 1448, HANDSHAKE_ROUNDS = 3, CLOSE_ROUNDS = 3 };

struct workload_plan {
    uint32_t flows;
    uint32_t rounds;    /* packets of each flow */
    uint32_t payload;   /* bytes of a data segment */
    bool is_disordered; /* of the data segments 1 % sent again, 2 % in wrong order, 0.2 % overlap */
    bool has_checksums; /* right ones, in IPv4 and TCP headers; else 0 */
    uint32_t rounds_kept; /* rounds that memory has room for; 0: all */
};

struct connection;

struct workload {
    struct workload_plan plan;
    uint8_t *pool;
    uint64_t assembled_offset; /* in the pool: of the room for datagrams that are put together */
    struct mb_frame *frames;
    uint32_t frame_count;  /* of the rounds that were written last */
    uint64_t stream_bytes; /* that both sides of all flows have said so far, each counted once */
    uint64_t packets;      /* so far */
    uint64_t random;
    uint32_t *order;
    struct connection *connections;
};

/* Exits where there is no memory. */
struct workload workload_create(const struct workload_plan *plan);
void workload_destroy(struct workload *workload);

/* Writes the next `rounds` rounds, at most rounds_kept, over those before. */
void workload_write(struct workload *workload, uint32_t rounds);

#endif
