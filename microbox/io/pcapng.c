/*
 * The pcapng format (draft-ietf-opsawg-pcapng): sections of blocks, each in its writer's byte
 * order. A section's Interface Description Blocks say what link types and clocks its packets
 * have. Blocks that hold no packet are passed over.
 */
#include "microbox/io/capture.h"

#include <stdlib.h>

enum {
    BLOCK_SECTION_HEADER = 0x0a0d0d0a, /* the same in both byte orders */
    BLOCK_INTERFACE = 1,
    BLOCK_PACKET_OBSOLETE = 2,
    BLOCK_PACKET_SIMPLE = 3,
    BLOCK_PACKET_ENHANCED = 6,

    BLOCK_HEADER = 8,  /* type, total length */
    BLOCK_TRAILER = 4, /* total length again */
    BLOCK_MINIMUM = 12,
    BLOCK_MAXIMUM = 512 << 20, /* longer ones make no sense */

    SECTION_BODY = 16, /* byte-order magic, version, section length */
    INTERFACE_BODY = 8,
    ENHANCED_BODY = 20,
    SIMPLE_BODY = 4,

    OPTION_END = 0,
    OPTION_TIME_RESOLUTION = 9,
    OPTION_TIME_OFFSET = 14,

    INTERFACES_MAXIMUM = 1 << 16,
};

static const uint32_t BYTE_ORDER_MAGIC = 0x1a2b3c4d;

/* A block whose length was checked: `body` is between header and trailer. */
struct block {
    uint32_t type;
    uint32_t body_length;
    uint64_t position; /* of the block's first byte */
    uint64_t length;   /* of the whole block */
    const uint8_t *body;
};

/* Of the block at `position` so many bytes are needed, and not there. */
static bool lacks(struct mb_source *source, uint64_t position, uint64_t needed) {
    if (mb_source_awaits(source, needed))
        return false;
    mb_source_end(source, MB_SOURCE_TRUNCATED,
                  "the file ends at byte %llu, inside the block that begins at byte %llu",
                  mb_source_byte(source, source->size), mb_source_byte(source, position));
    return false;
}

static bool broken(struct mb_source *source, uint64_t position, const char *what) {
    mb_source_end(source, MB_SOURCE_BROKEN, "the block at byte %llu %s",
                  mb_source_byte(source, position), what);
    return false;
}

/* A section header's byte-order magic says how its own length is to be read. */
static bool section_byte_order(struct mb_source *source, uint64_t position) {
    if (source->size - position < BLOCK_HEADER + 4)
        return lacks(source, position, BLOCK_HEADER + 4);
    const uint32_t magic = mb_field32(source->pool + position + BLOCK_HEADER, false);
    source->pcapng.swapped = magic == __builtin_bswap32(BYTE_ORDER_MAGIC);
    if (magic != BYTE_ORDER_MAGIC && !source->pcapng.swapped)
        return broken(source, position, "begins a section without a byte-order magic");
    return true;
}

/* The block at the source's position. Returns false where there is none, with the status set. */
static bool next_block(struct mb_source *source, struct block *block) {
    const uint64_t position = source->position;
    const uint64_t left = source->size - position;
    if (left == 0 && !mb_source_awaits(source, BLOCK_HEADER))
        source->status = source->status_at_end;
    if (left == 0)
        return false;
    if (left < BLOCK_HEADER)
        return lacks(source, position, BLOCK_HEADER);
    const uint8_t *start = source->pool + position;
    if (mb_field32(start, false) == BLOCK_SECTION_HEADER && !section_byte_order(source, position))
        return false;

    const bool swapped = source->pcapng.swapped;
    const uint32_t written = mb_field32(start + 4, swapped);
    if (written < BLOCK_MINIMUM || written > BLOCK_MAXIMUM)
        return broken(source, position, "has a length that makes no sense");
    /* Some writers give the length without the padding to 32 bits. */
    const uint64_t length = ((uint64_t)written + 3) & ~(uint64_t)3;
    if (left < length)
        return lacks(source, position, length);
    if (mb_field32(start + length - BLOCK_TRAILER, swapped) != written)
        return broken(source, position, "has two lengths that differ");
    mb_prefetch_records(start + length, length);
    *block = (struct block){
        .type = mb_field32(start, swapped),
        .body_length = (uint32_t)(length - BLOCK_HEADER - BLOCK_TRAILER),
        .position = position,
        .length = length,
        .body = start + BLOCK_HEADER,
    };
    return true;
}

static bool begin_section(struct mb_source *source, const struct block *block) {
    if (block->body_length < SECTION_BODY)
        return broken(source, block->position, "is too short for a section header");
    if (mb_field16(block->body + 4, source->pcapng.swapped) != 1)
        return broken(source, block->position, "begins a section of a version that is not 1");
    source->pcapng.interface_count = 0;
    return true;
}

/* if_tsresol: a negative power of 10, or of 2 where the highest bit is set. */
static void set_time_resolution(struct mb_capture_interface *interface, uint8_t resolution) {
    const uint8_t exponent = resolution & 0x7f;
    interface->multiplier = 1;
    interface->divisor = 1;
    interface->shift = 0;
    if (resolution & 0x80) {
        interface->multiplier = 1000000000;
        interface->shift = exponent;
        return;
    }
    for (uint8_t digit = exponent; digit < 9; digit++)
        interface->multiplier *= 10;
    /* Past 10^-28 all times that fit into 64 bits are zero. */
    for (uint8_t digit = 9; digit < exponent && digit < 28; digit++)
        interface->divisor *= 10;
    if (exponent > 28)
        interface->multiplier = 0;
}

static void read_interface_options(struct mb_capture_interface *interface, const uint8_t *options,
                                   uint32_t length, bool swapped) {
    while (length >= 4) {
        const uint16_t code = mb_field16(options, swapped);
        const uint16_t size = mb_field16(options + 2, swapped);
        const uint32_t padded = 4 + ((size + 3U) & ~3U);
        if (code == OPTION_END || padded > length)
            return;
        if (code == OPTION_TIME_RESOLUTION && size == 1)
            set_time_resolution(interface, options[4]);
        if (code == OPTION_TIME_OFFSET && size == 8)
            interface->offset = (int64_t)mb_field64(options + 4, swapped);
        options += padded;
        length -= padded;
    }
}

static bool reserve_interface(struct mb_pcapng_state *state) {
    if (state->interface_count < state->interface_capacity)
        return true;
    if (state->interface_capacity == INTERFACES_MAXIMUM)
        return false;
    const uint32_t capacity = state->interface_capacity ? state->interface_capacity * 2 : 8;
    void *interfaces = realloc(state->interfaces, capacity * sizeof *state->interfaces);
    if (!interfaces)
        return false;
    state->interfaces = interfaces;
    state->interface_capacity = capacity;
    return true;
}

static bool add_interface(struct mb_source *source, const struct block *block) {
    struct mb_pcapng_state *state = &source->pcapng;
    if (block->body_length < INTERFACE_BODY)
        return broken(source, block->position, "is too short for an interface description");
    if (!reserve_interface(state))
        return broken(source, block->position, "describes more interfaces than can be kept");
    const bool swapped = state->swapped;
    struct mb_capture_interface *interface = &state->interfaces[state->interface_count++];
    *interface = (struct mb_capture_interface){
        .link_type = mb_link_type_of_file(mb_field16(block->body, swapped)),
        .snap_length = mb_field32(block->body + 4, swapped),
    };
    interface->captured_maximum = mb_captured_maximum(interface->link_type);
    set_time_resolution(interface, 6);
    read_interface_options(interface, block->body + INTERFACE_BODY,
                           block->body_length - INTERFACE_BODY, swapped);
    return true;
}

/* Nanoseconds since the epoch; clamped where the file's number is outside 1970 to 2554. */
static uint64_t nanoseconds(const struct mb_capture_interface *interface, uint64_t units) {
    unsigned __int128 scaled = (unsigned __int128)units * interface->multiplier;
    if (interface->divisor != 1)
        scaled /= interface->divisor;
    scaled >>= interface->shift;
    const __int128 time = (__int128)scaled + (__int128)interface->offset * 1000000000;
    if (time < 0)
        return 0;
    return time > (__int128)UINT64_MAX ? UINT64_MAX : (uint64_t)time;
}

/* The fields of a packet block that vary in place between the kinds. */
struct packet_block {
    uint32_t interface;
    uint32_t header; /* bytes of the body before the frame */
    uint32_t captured;
    uint32_t wire_length;
    bool has_time;
    uint64_t time_units;
};

static uint64_t time_units(const uint8_t *high_then_low, bool swapped) {
    return (uint64_t)mb_field32(high_then_low, swapped) << 32 |
           mb_field32(high_then_low + 4, swapped);
}

static bool parse_packet(const struct mb_source *source, const struct block *block,
                         struct packet_block *packet) {
    const bool swapped = source->pcapng.swapped;
    const uint8_t *body = block->body;
    if (block->type == BLOCK_PACKET_SIMPLE) {
        if (block->body_length < SIMPLE_BODY)
            return false;
        const uint32_t wire_length = mb_field32(body, swapped);
        const uint32_t room = block->body_length - SIMPLE_BODY;
        *packet = (struct packet_block){
            .header = SIMPLE_BODY,
            .captured = wire_length < room ? wire_length : room,
            .wire_length = wire_length,
        };
        return true;
    }
    if (block->body_length < ENHANCED_BODY)
        return false;
    *packet = (struct packet_block){
        /* The obsolete block has 16 bits of interface, then 16 bits of a drop count. */
        .interface = block->type == BLOCK_PACKET_OBSOLETE ? mb_field16(body, swapped)
                                                          : mb_field32(body, swapped),
        .header = ENHANCED_BODY,
        .captured = mb_field32(body + 12, swapped),
        .wire_length = mb_field32(body + 16, swapped),
        .has_time = true,
        .time_units = time_units(body + 4, swapped),
    };
    return true;
}

static bool read_packet(struct mb_source *source, const struct block *block,
                        struct mb_frame *frame) {
    struct mb_pcapng_state *state = &source->pcapng;
    struct packet_block packet;
    if (!parse_packet(source, block, &packet))
        return broken(source, block->position, "is too short for a packet");
    if (packet.interface >= state->interface_count)
        return broken(source, block->position, "is of an interface that was not described");
    const struct mb_capture_interface *interface = &state->interfaces[packet.interface];
    /* A simple block does not say how much was captured; the interface's limit does. */
    if (!packet.has_time && interface->snap_length && packet.captured > interface->snap_length)
        packet.captured = interface->snap_length;
    if (packet.captured > interface->captured_maximum)
        return broken(source, block->position, "holds more bytes than make sense for a frame");
    if (packet.captured > block->body_length - packet.header)
        return broken(source, block->position, "says that it holds more bytes than it does");
    if (packet.has_time)
        state->last_time = nanoseconds(interface, packet.time_units);
    *frame = (struct mb_frame){
        .offset = block->position + BLOCK_HEADER + packet.header,
        .time = state->last_time,
        .length = packet.captured,
        .wire_length = packet.wire_length > packet.captured ? packet.wire_length : packet.captured,
        .link_type = interface->link_type,
    };
    return true;
}

/* Reads a block that is no packet. */
static bool read_description(struct mb_source *source, const struct block *block) {
    if (block->type == BLOCK_SECTION_HEADER)
        return begin_section(source, block);
    if (block->type == BLOCK_INTERFACE)
        return add_interface(source, block);
    return true;
}

static bool is_packet(const struct block *block) {
    return block->type == BLOCK_PACKET_ENHANCED || block->type == BLOCK_PACKET_SIMPLE ||
           block->type == BLOCK_PACKET_OBSOLETE;
}

static size_t read_pcapng(struct mb_source *source, struct mb_frame *frames, size_t capacity) {
    size_t count = 0;
    struct block block;
    while (count < capacity && next_block(source, &block)) {
        if (is_packet(&block)) {
            if (!read_packet(source, &block, &frames[count]))
                break;
            count++;
        } else if (!read_description(source, &block)) {
            break;
        }
        source->position += block.length;
    }
    return count;
}

static bool recognises(const uint8_t *bytes, uint64_t size) {
    return size >= 4 && mb_field32(bytes, false) == BLOCK_SECTION_HEADER;
}

/* Reads up to the first interface, since its link type is asked for before the first packet. */
static bool open_pcapng(struct mb_source *source) {
    struct block block;
    while (!source->pcapng.interface_count && next_block(source, &block)) {
        if (is_packet(&block))
            return true;
        if (!read_description(source, &block))
            break;
        source->position += block.length;
    }
    if (source->pcapng.interface_count)
        source->link_type = source->pcapng.interfaces[0].link_type;
    return source->position > 0;
}

static void close_pcapng(struct mb_source *source) {
    free(source->pcapng.interfaces);
}

const struct mb_capture_format mb_pcapng_format = {
    .name = "pcapng",
    .recognises = recognises,
    .open = open_pcapng,
    .read = read_pcapng,
    .close = close_pcapng,
};
