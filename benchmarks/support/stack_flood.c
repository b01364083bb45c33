#include "benchmarks/support/stack_flood.h"

#include "benchmarks/support/packet_bytes.h"

#include <string.h>

enum {
    ETHERNET = 14,
    IPV4 = 20,
    TCP = 20,
    RECORD_HEADER = 16,
    TIME_STEP = 1000, /* nanoseconds between packets */
    SYN = 2,
    ACK = 16,
    WINDOW_SCALE = 14,       /* all windows are 1 GiB */
    PIECES = 120,            /* of a datagram, below what a datagram may have */
    PIECE = 8,               /* bytes */
    OVERLAPS = 1000,         /* that follow the pieces of a datagram */
    OVERLAP = 1480,          /* bytes */
    PIECES_APART = 53,       /* from one to the next that is sent */
    SEGMENTS_IN_BLOCK = 240, /* below what a flow may hold */
    SEGMENTS_APART = 101,
    SEQUENCE = 1000
};

const char *const flood_names[FLOODS] = {
    [FLOOD_NEW_DATAGRAMS] = "new_datagrams", [FLOOD_FEW_DATAGRAMS] = "few_datagrams",
    [FLOOD_OVERLAPS] = "overlaps",           [FLOOD_SEGMENTS_ONE] = "segments_one",
    [FLOOD_SEGMENTS_MANY] = "segments_many", [FLOOD_SYNS] = "syns",
};

const char *const flood_sentences[FLOODS] = {
    [FLOOD_NEW_DATAGRAMS] = "fragments, each of a new datagram",
    [FLOOD_FEW_DATAGRAMS] = "fragments with holes, in scattered order",
    [FLOOD_OVERLAPS] = "fragments over 92 others each",
    [FLOOD_SEGMENTS_ONE] = "1-byte segments with holes, in scattered order, one connection",
    [FLOOD_SEGMENTS_MANY] = "1-byte segments with holes, last first, 20,000 connections",
    [FLOOD_SYNS] = "SYN, each from a new source",
};

/* --- packets --- */

/* The frame that is written next. */
static uint8_t *begin_frame(struct workload *flood) {
    uint64_t at = RECORD_HEADER;
    if (flood->frame_count != 0) {
        const struct mb_frame *last = &flood->frames[flood->frame_count - 1];
        at += last->offset + last->length;
    }
    flood->frames[flood->frame_count] = (struct mb_frame){
        .offset = at,
        .time = UINT64_C(1700000000000000000) + flood->packets * TIME_STEP,
        .link_type = 1,
    };
    return flood->pool + at;
}

static void end_frame(struct workload *flood, uint32_t length) {
    struct mb_frame *frame = &flood->frames[flood->frame_count++];
    flood->packets++;
    frame->length = length;
    frame->wire_length = length;
}

static void write_ipv4(uint8_t *frame, uint8_t protocol, uint32_t source, uint32_t destination,
                       uint32_t payload) {
    memset(frame, 0, ETHERNET + IPV4);
    put16(frame + 12, 0x0800);
    frame[14] = 0x45;
    put16(frame + 16, IPV4 + payload);
    frame[22] = 64;
    frame[23] = protocol;
    put32(frame + 26, source);
    put32(frame + 30, destination);
}

/* Of a datagram that goes on behind it. */
static void write_fragment(struct workload *flood, uint32_t source, uint16_t identification,
                           uint32_t start, uint32_t length) {
    uint8_t *frame = begin_frame(flood);
    write_ipv4(frame, 17, source, 0xc0a80001, length);
    put16(frame + 18, identification);
    put16(frame + 20, 0x2000 | start / 8);
    memset(frame + ETHERNET + IPV4, 'x', length);
    end_frame(flood, ETHERNET + IPV4 + length);
}

struct segment {
    uint32_t connection;
    uint32_t direction;
    uint8_t flags;
    uint32_t sequence;
    uint32_t length;
};

static void write_segment(struct workload *flood, const struct segment *segment) {
    const uint32_t address[2] = {0x0a000000 + segment->connection, 0xc0a80001};
    const uint32_t port[2] = {1024 + segment->connection * 7 % 60000, 443};
    const uint32_t options = segment->flags & SYN ? 4 : 0;
    const uint32_t payload = TCP + options + segment->length;
    uint8_t *frame = begin_frame(flood);
    uint8_t *tcp = frame + ETHERNET + IPV4;
    write_ipv4(frame, 6, address[segment->direction], address[1 - segment->direction], payload);
    memset(tcp, 0, TCP);
    put16(tcp, port[segment->direction]);
    put16(tcp + 2, port[1 - segment->direction]);
    put32(tcp + 4, segment->sequence);
    put32(tcp + 8, segment->flags & ACK ? SEQUENCE + 1 : 0);
    tcp[12] = (uint8_t)((TCP + options) / 4 << 4);
    tcp[13] = segment->flags;
    put16(tcp + 14, 0xffff);
    if (options != 0)
        memcpy(tcp + TCP, (const uint8_t[]){3, 3, WINDOW_SCALE, 0}, options);
    memset(tcp + TCP + options, 'x', segment->length);
    end_frame(flood, ETHERNET + IPV4 + payload);
}

static void write_handshake(struct workload *flood, uint32_t connection, uint32_t step) {
    static const struct segment steps[3] = {
        {.flags = SYN, .sequence = SEQUENCE},
        {.direction = 1, .flags = SYN | ACK, .sequence = SEQUENCE},
        {.flags = ACK, .sequence = SEQUENCE + 1},
    };
    struct segment segment = steps[step];
    segment.connection = connection;
    write_segment(flood, &segment);
}

/* --- floods --- */

static void write_new_datagrams(struct workload *flood) {
    while (flood->frame_count < FLOOD_PACKETS) {
        const uint64_t random = next_random(&flood->random);
        write_fragment(flood, (uint32_t)random, (uint16_t)(random >> 32), random >> 60 << 3,
                       PAYLOAD_SMALL);
    }
}

/* Pieces with a hole as long as each before it. */
static void write_pieces(struct workload *flood, uint32_t source) {
    for (uint32_t i = 0; i < PIECES && flood->frame_count < FLOOD_PACKETS; i++)
        write_fragment(flood, source, 1, 2 * PIECE * (1 + i * PIECES_APART % PIECES), PIECE);
}

static void write_few_datagrams(struct workload *flood) {
    for (uint32_t source = 1; flood->frame_count < FLOOD_PACKETS; source++)
        write_pieces(flood, source);
}

static void write_overlaps(struct workload *flood) {
    for (uint32_t source = 1; flood->frame_count < FLOOD_PACKETS; source++) {
        write_pieces(flood, source);
        for (uint32_t i = 0; i < OVERLAPS && flood->frame_count < FLOOD_PACKETS; i++)
            write_fragment(flood, source, 1, PIECE, OVERLAP);
    }
}

static void write_tiny(struct workload *flood, uint32_t connection, uint32_t place) {
    write_segment(flood, &(struct segment){.connection = connection,
                                           .flags = ACK,
                                           .sequence = SEQUENCE + 2 + 2 * place,
                                           .length = 1});
}

static void write_segments_one(struct workload *flood) {
    for (uint32_t step = 0; step < HANDSHAKE_ROUNDS; step++)
        write_handshake(flood, 0, step);
    /* The window of a SYN is not scaled. */
    write_segment(flood, &(struct segment){.direction = 1, .flags = ACK, .sequence = SEQUENCE + 1});
    for (uint32_t i = 0; flood->frame_count < FLOOD_PACKETS; i++) {
        const uint32_t block = i / SEGMENTS_IN_BLOCK;
        const uint32_t inside = i * SEGMENTS_APART % SEGMENTS_IN_BLOCK;
        write_tiny(flood, 0, block * SEGMENTS_IN_BLOCK + inside);
    }
}

static void write_segments_many(struct workload *flood) {
    enum { ROUNDS = FLOOD_PACKETS / FLOOD_CONNECTIONS };
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < FLOOD_CONNECTIONS; i++) {
            const uint32_t connection = (i * 7919 + round) % FLOOD_CONNECTIONS;
            if (round < HANDSHAKE_ROUNDS)
                write_handshake(flood, connection, round);
            else
                write_tiny(flood, connection, ROUNDS - 1 - round);
        }
    }
}

static void write_syns(struct workload *flood) {
    while (flood->frame_count < FLOOD_PACKETS)
        write_handshake(flood, flood->frame_count * 7919u, 0);
}

static void (*const writers[FLOODS])(struct workload *) = {
    [FLOOD_NEW_DATAGRAMS] = write_new_datagrams, [FLOOD_FEW_DATAGRAMS] = write_few_datagrams,
    [FLOOD_OVERLAPS] = write_overlaps,           [FLOOD_SEGMENTS_ONE] = write_segments_one,
    [FLOOD_SEGMENTS_MANY] = write_segments_many, [FLOOD_SYNS] = write_syns,
};

struct workload flood_create(enum flood flood) {
    struct workload workload = workload_create(&(struct workload_plan){
        .flows = FLOOD_PACKETS,
        .rounds = 1,
        .payload = flood == FLOOD_OVERLAPS ? PAYLOAD_FULL : PAYLOAD_SMALL,
    });
    writers[flood](&workload);
    return workload;
}
