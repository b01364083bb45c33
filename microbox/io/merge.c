/*
 * Merges parts by when their frames left. There are few, so the next one is looked for.
 */
#include "microbox/io/merge.h"

#include "microbox/io/sink_format.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct part {
    const uint8_t *bytes;
    uint64_t size;
    uint64_t position; /* of the record that comes next */
    struct mb_record_header header;
    struct mb_departure departure; /* of its frame */
    uint32_t link_type;
    bool is_over;
};

/* The record at `position`: its header and departure. A part may end inside one. */
static void look_at_record(struct part *part) {
    const uint64_t rest = part->size - part->position;
    part->is_over = true;
    if (rest < sizeof part->header + sizeof part->departure)
        return;
    memcpy(&part->header, part->bytes + part->position, sizeof part->header);
    const uint64_t length = part->header.length;
    if (length < sizeof part->departure || length > rest - sizeof part->header)
        return;
    memcpy(&part->departure, part->bytes + part->position + sizeof part->header,
           sizeof part->departure);
    part->is_over = false;
}

/* A worker that died early may have left no header. Returns 0 or -errno. */
static int open_part(struct part *part, int fd) {
    *part = (struct part){.is_over = true};
    struct stat file;
    if (fstat(fd, &file) != 0)
        return -errno;
    struct mb_file_header header;
    if ((uint64_t)file.st_size < sizeof header)
        return 0;
    void *bytes = mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED)
        return -errno;
    madvise(bytes, (size_t)file.st_size, MADV_SEQUENTIAL);
    part->bytes = bytes;
    part->size = (uint64_t)file.st_size;
    memcpy(&header, part->bytes, sizeof header);
    if (header.magic != MB_MAGIC_PART)
        return -EPROTO;
    part->link_type = header.link_type;
    part->position = sizeof header;
    look_at_record(part);
    return 0;
}

static bool is_before(const struct part *one, const struct part *other) {
    const struct mb_departure *a = &one->departure;
    const struct mb_departure *b = &other->departure;
    return a->packet != b->packet ? a->packet < b->packet : a->order < b->order;
}

static struct part *next_part(struct part *parts, uint32_t count) {
    struct part *next = NULL;
    for (uint32_t i = 0; i < count; i++)
        if (!parts[i].is_over && (!next || is_before(&parts[i], next)))
            next = &parts[i];
    return next;
}

/* Returns 0 or -errno. */
static int take_record(struct part *part, struct mb_sink *sink) {
    const struct mb_record_header *header = &part->header;
    const struct mb_frame frame = {
        .time = (uint64_t)header->seconds * 1000000000 + header->nanoseconds,
        .length = header->length - (uint32_t)sizeof part->departure,
        .wire_length = header->wire_length,
        .link_type = part->link_type,
    };
    const uint8_t *bytes = part->bytes + part->position + sizeof *header + sizeof part->departure;
    const int result = mb_sink_write(sink, &frame, bytes);
    part->position += sizeof *header + header->length;
    look_at_record(part);
    return result;
}

static int merge(struct part *parts, uint32_t count, struct mb_sink *sink) {
    int result = 0;
    for (struct part *part; result == 0 && (part = next_part(parts, count)) != NULL;)
        result = take_record(part, sink);
    return result;
}

int mb_merge_parts(const int *fds, uint32_t count, struct mb_sink *sink,
                   char error[MB_ERROR_SIZE]) {
    struct part parts[MB_PARTS_MAX];
    int result = count <= MB_PARTS_MAX ? 0 : -EINVAL;
    uint32_t opened = 0;
    while (result == 0 && opened < count) {
        result = open_part(&parts[opened], fds[opened]);
        opened++;
    }
    if (result == 0)
        result = merge(parts, count, sink);
    for (uint32_t i = 0; i < opened; i++)
        if (parts[i].bytes)
            munmap((void *)parts[i].bytes, (size_t)parts[i].size);
    if (result != 0)
        snprintf(error, MB_ERROR_SIZE, "the parts cannot be put together: %s", strerror(-result));
    return result;
}
