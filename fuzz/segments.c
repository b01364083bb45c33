/*
 * Well-formed TCP segments in any order, with any flags and numbers: deeper in the tracker and the
 * reassembly than any bytes get. Seven bytes of input make one segment (struct below).
 *
 * Each byte of payload is the low byte of its own sequence number. So, whatever was lost, repeated
 * or overlapped: within one side's stream, byte minus offset is a constant; and offsets grow
 * without holes, but for gaps that are told.
 */
#include "fuzz/checked_stack.h"

enum {
    SEGMENTS_MAX = 256,
    HEADERS = 54,
    PAYLOAD_MAX = 64,
    FRAME_SIZE = HEADERS + PAYLOAD_MAX,
    STREAMS_MAX = 2 * SEGMENTS_MAX + 2 /* each segment may begin a flow, of two sides */
};

/* How the input is read. */
struct recipe {
    uint8_t side_and_flow; /* bit 0: who sends; bit 1: which of two flows; 2 to 7: seconds */
    uint8_t flags;         /* as in the segment */
    uint8_t sequence;      /* added to the side's first number */
    uint8_t sequence_high; /* in units of 4096, biased so that numbers wrap and jump back */
    uint8_t acknowledged;  /* added to the other side's first number */
    uint8_t length;        /* of the payload, modulo PAYLOAD_MAX + 1 */
    uint8_t window;
};

struct stream {
    uint64_t flow;
    uint64_t next;
    uint8_t base; /* first byte minus its offset */
    bool has_base;
    unsigned direction;
};

struct streams {
    const uint8_t *pool;
    struct stream stream[STREAMS_MAX];
    size_t count;
};

static void put16(uint8_t *at, uint16_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value) {
    put16(at, (uint16_t)(value >> 16));
    put16(at + 2, (uint16_t)value);
}

static uint32_t first_number(unsigned side) {
    return side ? 0xfffffff0 : 0x1000; /* one side wraps soon */
}

static void write_frame(uint8_t *frame, const struct recipe *recipe) {
    unsigned side = recipe->side_and_flow & 1;
    uint16_t ports[2] = {(uint16_t)(1024 + (recipe->side_and_flow >> 1 & 1)), 80};
    uint32_t sequence = first_number(side) + recipe->sequence +
                        4096 * (uint32_t)(int32_t)(int8_t)recipe->sequence_high;
    size_t length = recipe->length % (PAYLOAD_MAX + 1);

    memset(frame, 0, FRAME_SIZE);
    put16(frame + 12, 0x0800);
    frame[14] = 0x45;
    put16(frame + 16, (uint16_t)(40 + length));
    frame[22] = 64;
    frame[23] = 6;
    put32(frame + 26, 0x0a000001 + side);
    put32(frame + 30, 0x0a000002 - side);
    put16(frame + 34, ports[side]);
    put16(frame + 36, ports[1 - side]);
    put32(frame + 38, sequence);
    put32(frame + 42, first_number(1 - side) + recipe->acknowledged);
    frame[46] = 5 << 4;
    frame[47] = recipe->flags;
    put16(frame + 48, (uint16_t)(recipe->window << 8));
    uint32_t first = sequence + ((recipe->flags & 2) != 0); /* SYN takes a number */
    for (size_t i = 0; i < length; i++)
        frame[HEADERS + i] = (uint8_t)(first + i);
}

static struct stream *stream_of(struct streams *streams, const struct mb_entry *entry) {
    unsigned direction = entry->flags & MB_FROM_RESPONDER;
    for (size_t i = streams->count; i-- > 0;) {
        struct stream *stream = &streams->stream[i];
        if (stream->flow == entry->flow && stream->direction == direction)
            return stream;
    }
    checked_stack_require(streams->count < STREAMS_MAX);
    struct stream *stream = &streams->stream[streams->count++];
    *stream = (struct stream){.flow = entry->flow, .direction = direction};
    return stream;
}

static void follow_data(struct streams *streams, const struct mb_entry *entry) {
    struct stream *stream = stream_of(streams, entry);
    const uint8_t *bytes = streams->pool + entry->frame + entry->data_offset;
    uint64_t offset = entry->payload.tcp_data.offset;

    checked_stack_require(offset == stream->next);
    for (uint32_t i = 0; i < entry->data_length; i++) {
        uint8_t base = (uint8_t)(bytes[i] - (uint8_t)(offset + i));
        checked_stack_require(!stream->has_base || base == stream->base);
        stream->base = base;
        stream->has_base = true;
    }
    stream->next += entry->data_length;
}

static void follow(void *context, const struct mb_entry *entry) {
    struct streams *streams = context;
    if (entry->type == MB_TYPE_TCP_DATA)
        follow_data(streams, entry);
    if (entry->type != MB_TYPE_TCP_GAP)
        return;
    struct stream *stream = stream_of(streams, entry);
    checked_stack_require(entry->payload.tcp_gap.offset == stream->next);
    stream->next += entry->payload.tcp_gap.length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t pool[SEGMENTS_MAX * FRAME_SIZE];
    static struct mb_frame frames[SEGMENTS_MAX];
    static struct streams streams;
    struct checked_stack checked;
    struct stack_settings settings;
    uint64_t time = 0;

    if (size < sizeof settings)
        return 0;
    memcpy(&settings, data, sizeof settings);
    data += sizeof settings;
    size_t count = (size - sizeof settings) / sizeof(struct recipe);

    if (count > SEGMENTS_MAX)
        count = SEGMENTS_MAX;
    for (size_t i = 0; i < count; i++) {
        struct recipe recipe;
        memcpy(&recipe, data + i * sizeof recipe, sizeof recipe);
        write_frame(pool + i * FRAME_SIZE, &recipe);
        time += (recipe.side_and_flow >> 2) * UINT64_C(1000000000);
        frames[i] = (struct mb_frame){.offset = i * FRAME_SIZE,
                                      .time = time,
                                      .length = FRAME_SIZE,
                                      .wire_length = FRAME_SIZE,
                                      .link_type = 1};
    }
    streams.pool = pool;
    streams.count = 0;
    checked_stack_create(&checked, pool, sizeof pool, 1, &settings);
    checked.look = follow;
    checked.context = &streams;
    checked_stack_handle(&checked, frames, count);
    checked_stack_destroy(&checked);
    return 0;
}
