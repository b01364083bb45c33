/*
 * The pcap format (draft-ietf-opsawg-pcap): a file header, then records of a header and a frame.
 * Three magic numbers: microseconds, nanoseconds, and the "modified" one of old Linux systems,
 * whose record headers are eight bytes longer. Versions before 2.4 are left to libpcap.
 */
#include "microbox/io/capture.h"

enum {
    FILE_HEADER = 24,
    RECORD_HEADER = 16,
    RECORD_HEADER_MODIFIED = 24, /* + interface index, protocol, packet type */
};

struct variant {
    uint32_t magic;
    uint32_t record_header;
    uint32_t fraction;
};

static const struct variant variants[] = {
    {0xa1b2c3d4, RECORD_HEADER, 1000},
    {0xa1b23c4d, RECORD_HEADER, 1},
    {0xa1b2cd34, RECORD_HEADER_MODIFIED, 1000},
};

static const struct variant *find_variant(uint32_t magic) {
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        if (variants[i].magic == magic)
            return &variants[i];
    return NULL;
}

static const struct variant *variant_of(const uint8_t *bytes, bool *swapped) {
    const uint32_t magic = mb_field32(bytes, false);
    const struct variant *variant = find_variant(magic);
    *swapped = !variant;
    return variant ? variant : find_variant(__builtin_bswap32(magic));
}

static bool recognises(const uint8_t *bytes, uint64_t size) {
    bool swapped;
    if (size < 4 || !variant_of(bytes, &swapped))
        return false;
    if (size < FILE_HEADER)
        return true;
    return mb_field16(bytes + 4, swapped) == 2 && mb_field16(bytes + 6, swapped) >= 4;
}

static bool open_pcap(struct mb_source *source) {
    if (source->size < FILE_HEADER) {
        if (mb_source_awaits(source, FILE_HEADER))
            return false;
        mb_source_end(source, MB_SOURCE_TRUNCATED,
                      "the pcap file header is cut short: %llu of %d bytes",
                      (unsigned long long)source->size, FILE_HEADER);
        return false;
    }
    struct mb_pcap_state *state = &source->pcap;
    const struct variant *variant = variant_of(source->pool, &state->swapped);
    state->record_header = variant->record_header;
    state->fraction = variant->fraction;
    /* The upper six bits say how long the frame check sequence is. */
    const uint32_t written = mb_field32(source->pool + 20, state->swapped) & 0x03ffffff;
    source->link_type = mb_link_type_of_file(written);
    state->captured_maximum = mb_captured_maximum(source->link_type);
    source->position = FILE_HEADER;
    return true;
}

/* Of the record at `position` so many bytes are needed, and not there. */
static void lack(struct mb_source *source, uint64_t position, uint64_t needed) {
    if (mb_source_awaits(source, needed))
        return;
    if (position == source->size)
        source->status = source->status_at_end;
    else
        mb_source_end(source, MB_SOURCE_TRUNCATED,
                      "the file ends at byte %llu, inside the record that begins at byte %llu",
                      mb_source_byte(source, source->size), mb_source_byte(source, position));
}

static size_t read_pcap(struct mb_source *source, struct mb_frame *frames, size_t capacity) {
    const struct mb_pcap_state state = source->pcap;
    uint64_t position = source->position;
    size_t count = 0;
    while (count < capacity) {
        const uint8_t *record = source->pool + position;
        const uint64_t left = source->size - position;
        if (left < state.record_header) {
            lack(source, position, state.record_header);
            break;
        }
        const uint32_t captured = mb_field32(record + 8, state.swapped);
        if (captured > state.captured_maximum) {
            mb_source_end(source, MB_SOURCE_BROKEN,
                          "the record at byte %llu says that %u bytes were captured, at most %u "
                          "make sense",
                          mb_source_byte(source, position), captured, state.captured_maximum);
            break;
        }
        const uint64_t stride = (uint64_t)state.record_header + captured;
        if (left < stride) {
            lack(source, position, stride);
            break;
        }
        mb_prefetch_records(record + stride, stride);
        const uint32_t on_wire = mb_field32(record + 12, state.swapped);
        /* Two 32-bit numbers: seconds up to 2106, and a small part that may be over a second;
         * their sum fits into 64 bits. */
        const uint64_t seconds = mb_field32(record, state.swapped);
        const uint64_t fractions = mb_field32(record + 4, state.swapped);
        frames[count++] = (struct mb_frame){
            .offset = position + state.record_header,
            .time = seconds * 1000000000 + fractions * state.fraction,
            .length = captured,
            .wire_length = on_wire > captured ? on_wire : captured,
            .link_type = source->link_type,
        };
        position += stride;
    }
    source->position = position;
    return count;
}

const struct mb_capture_format mb_pcap_format = {
    .name = "pcap",
    .recognises = recognises,
    .open = open_pcap,
    .read = read_pcap,
};
