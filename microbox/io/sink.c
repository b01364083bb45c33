/*
 * Writes captures: pcap with nanoseconds, in this machine's byte order, a megabyte at a time.
 */
#include "microbox/io/sink.h"

#include "microbox/io/sink_format.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_SIZE = 1 << 20, SNAP_LENGTH = 262144 };

struct mb_sink {
    int fd;
    int error; /* 0, or what ended the writing: -errno */
    uint32_t link_type;
    uint32_t front; /* bytes in front of each frame: 0 but in a part */
    struct mb_departure departure;
    size_t buffered;
    size_t last;        /* where the bytes of the frame that was taken last begin in the buffer */
    uint64_t file_size; /* bytes in the file, all of them whole records */
    uint64_t found;
    uint64_t found_bytes;
    uint64_t written;
    uint64_t written_bytes;
    uint64_t lost;
    uint8_t buffer[BUFFER_SIZE];
};

/* Writes all, or as much as goes: *done says how much. Returns 0 or -errno. */
static int write_fully(int fd, const uint8_t *bytes, size_t length, size_t *done) {
    *done = 0;
    while (*done < length) {
        const ssize_t result = write(fd, bytes + *done, length - *done);
        if (result >= 0) {
            *done += (size_t)result;
        } else if (errno == EAGAIN) {
            struct pollfd waiting = {.fd = fd, .events = POLLOUT};
            poll(&waiting, 1, -1);
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

/* Counts the buffered frames past the first `done` bytes as lost, and returns where the last whole
 * one before ends. */
static size_t give_up_after(struct mb_sink *sink, size_t done) {
    size_t whole = 0;
    for (size_t position = 0; position < sink->buffered;) {
        struct mb_record_header header;
        memcpy(&header, sink->buffer + position, sizeof header);
        position += sizeof header + header.length;
        if (position <= done) {
            whole = position;
            continue;
        }
        sink->written--;
        sink->written_bytes -= header.length - sink->front;
        sink->lost++;
    }
    return whole;
}

int mb_sink_flush(struct mb_sink *sink) {
    if (sink->error)
        return sink->error;
    size_t done;
    sink->error = write_fully(sink->fd, sink->buffer, sink->buffered, &done);
    if (sink->error)
        done = give_up_after(sink, done);
    sink->file_size += done;
    sink->buffered = 0;
    /* Only a regular file can be cut back to its last whole record. */
    if (sink->error && ftruncate(sink->fd, (off_t)sink->file_size) == 0)
        lseek(sink->fd, 0, SEEK_END);
    return sink->error;
}

static struct mb_file_header header_for(uint32_t link_type, bool is_part) {
    return (struct mb_file_header){
        .magic = is_part ? MB_MAGIC_PART : MB_MAGIC_NANOSECONDS,
        .version_major = 2,
        .version_minor = 4,
        .snap_length = SNAP_LENGTH,
        .link_type = link_type,
    };
}

/* Takes `fd`. */
static struct mb_sink *create(int fd, uint32_t link_type, char error[MB_ERROR_SIZE]) {
    struct mb_sink *sink = malloc(sizeof *sink);
    if (!sink) {
        snprintf(error, MB_ERROR_SIZE, "no memory for the output's buffer");
        close(fd);
        return NULL;
    }
    memset(sink, 0, offsetof(struct mb_sink, buffer));
    sink->fd = fd;
    sink->link_type = link_type;
    return sink;
}

static struct mb_sink *refuse(struct mb_sink *sink, const char *what, int result,
                              char error[MB_ERROR_SIZE]) {
    snprintf(error, MB_ERROR_SIZE, "the output cannot be %s: %s", what, strerror(-result));
    close(sink->fd);
    free(sink);
    return NULL;
}

static struct mb_sink *open_empty(int fd, uint32_t link_type, bool is_part,
                                  char error[MB_ERROR_SIZE]) {
    const struct mb_file_header header = header_for(link_type, is_part);
    struct mb_sink *sink = create(fd, link_type, error);
    if (!sink)
        return NULL;
    size_t done;
    const int result = write_fully(fd, (const uint8_t *)&header, sizeof header, &done);
    if (result != 0)
        return refuse(sink, "written", result, error);
    sink->file_size = sizeof header;
    sink->front = is_part ? sizeof sink->departure : 0;
    return sink;
}

struct mb_sink *mb_sink_open(int fd, uint32_t link_type, char error[MB_ERROR_SIZE]) {
    return open_empty(fd, link_type, false, error);
}

struct mb_sink *mb_sink_open_part(int fd, uint32_t link_type, char error[MB_ERROR_SIZE]) {
    return open_empty(fd, link_type, true, error);
}

/* --- going on in a file that is there --- */

/* Counts the whole records among the first `length` bytes of the buffer. Returns where the last one
 * ends. */
static size_t count_records(struct mb_sink *sink, size_t length) {
    size_t whole = 0;
    while (length - whole >= sizeof(struct mb_record_header)) {
        struct mb_record_header header;
        memcpy(&header, sink->buffer + whole, sizeof header);
        const uint64_t size = sizeof header + (uint64_t)header.length;
        if (size > length - whole || header.length < sink->front)
            break;
        whole += size;
        sink->found++;
        sink->found_bytes += header.length - sink->front;
    }
    return whole;
}

/* Returns 0 or -errno. No record is longer than the buffer. */
static int find_end(struct mb_sink *sink) {
    size_t whole;
    sink->file_size = sizeof(struct mb_file_header);
    do {
        const ssize_t length = pread(sink->fd, sink->buffer, BUFFER_SIZE, (off_t)sink->file_size);
        if (length < 0)
            return -errno;
        whole = count_records(sink, (size_t)length);
        sink->file_size += whole;
    } while (whole != 0);
    return 0;
}

/* Returns 0 or -errno. */
static int go_to_end(struct mb_sink *sink) {
    struct mb_file_header found = {0};
    if (pread(sink->fd, &found, sizeof found, 0) < 0)
        return -errno;
    const bool is_part = found.magic == MB_MAGIC_PART;
    const struct mb_file_header header = header_for(sink->link_type, is_part);
    sink->front = is_part ? sizeof sink->departure : 0;
    if (memcmp(&found, &header, sizeof header) != 0)
        return -EPROTO;
    const int result = find_end(sink);
    if (result != 0)
        return result;
    if (ftruncate(sink->fd, (off_t)sink->file_size) != 0)
        return -errno;
    return fcntl(sink->fd, F_SETFL, O_APPEND) != 0 ? -errno : 0;
}

struct mb_sink *mb_sink_continue(int fd, uint32_t link_type, char error[MB_ERROR_SIZE]) {
    struct mb_sink *sink = create(fd, link_type, error);
    if (!sink)
        return NULL;
    const int result = go_to_end(sink);
    return result == 0 ? sink : refuse(sink, "continued", result, error);
}

/* --- writing --- */

static int lose(struct mb_sink *sink, int error) {
    sink->lost++;
    return error;
}

static void buffer_record(struct mb_sink *sink, const struct mb_record_header *header,
                          const uint8_t *bytes) {
    memcpy(sink->buffer + sink->buffered, header, sizeof *header);
    sink->last = sink->buffered + sizeof *header + sink->front;
    memcpy(sink->buffer + sink->last - sink->front, &sink->departure, sink->front);
    const uint32_t length = header->length - sink->front;
    memcpy(sink->buffer + sink->last, bytes, length);
    sink->buffered += sizeof *header + header->length;
    sink->written++;
    sink->written_bytes += length;
}

void mb_sink_depart(struct mb_sink *sink, struct mb_departure departure) {
    sink->departure = departure;
}

int mb_sink_write(struct mb_sink *sink, const struct mb_frame *frame, const uint8_t *bytes) {
    if (sink->error)
        return lose(sink, sink->error);
    if (frame->link_type != sink->link_type)
        return lose(sink, -EPROTOTYPE);
    const uint64_t seconds = frame->time / 1000000000;
    const struct mb_record_header header = {
        .seconds = seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds,
        .nanoseconds = (uint32_t)(frame->time % 1000000000),
        .length = frame->length + sink->front,
        .wire_length = frame->wire_length,
    };
    const uint64_t size = sizeof header + (uint64_t)frame->length + sink->front;
    if (size > BUFFER_SIZE)
        return lose(sink, -EMSGSIZE);
    if (size > BUFFER_SIZE - sink->buffered && mb_sink_flush(sink) != 0)
        return lose(sink, sink->error);
    buffer_record(sink, &header, bytes);
    return 0;
}

uint8_t *mb_sink_last(struct mb_sink *sink) {
    return sink->buffer + sink->last;
}

int mb_sink_close(struct mb_sink *sink) {
    int result = mb_sink_flush(sink);
    if (close(sink->fd) != 0 && result == 0)
        result = -errno;
    free(sink);
    return result;
}

uint64_t mb_sink_written(const struct mb_sink *sink) {
    return sink->written;
}

uint64_t mb_sink_written_bytes(const struct mb_sink *sink) {
    return sink->written_bytes;
}

uint64_t mb_sink_lost(const struct mb_sink *sink) {
    return sink->lost;
}

uint64_t mb_sink_found(const struct mb_sink *sink) {
    return sink->found;
}

uint64_t mb_sink_found_bytes(const struct mb_sink *sink) {
    return sink->found_bytes;
}
