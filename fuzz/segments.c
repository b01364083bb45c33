/*
 * Well-formed TCP segments in any order, with any flags and numbers: deeper in the tracker and the
 * reassembly than any bytes get. Seven bytes of input make one segment (segment_recipe.h).
 *
 * Whatever was lost, repeated or overlapped: within one side's stream, byte minus offset is a
 * constant; and offsets grow without holes, but for gaps that are told.
 */
#include "fuzz/checked_stack.h"
#include "fuzz/segment_recipe.h"

enum {
    SEGMENTS_MAX = 256,
    STREAMS_MAX = 2 * SEGMENTS_MAX + 2 /* each segment may begin a flow, of two sides */
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
    size_t count = (size - sizeof settings) / sizeof(struct segment_recipe);

    if (count > SEGMENTS_MAX)
        count = SEGMENTS_MAX;
    for (size_t i = 0; i < count; i++) {
        struct segment_recipe recipe;
        memcpy(&recipe, data + i * sizeof recipe, sizeof recipe);
        write_segment(pool + i * FRAME_SIZE, &recipe);
        time += segment_recipe_wait(&recipe);
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
