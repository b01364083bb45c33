/*
 * Streams: any bytes come through a pipe, cut into any pieces, into a small window whose memory is
 * used again. The frames are those of a file with the same bytes.
 */
#include "microbox/io/source.h"
#include "microbox/io/window.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BATCH = 8, WINDOW = 1 << 14, PIECES = 8, PIPE_SURELY = 4096, RECORD_SURELY = WINDOW / 4 };

struct stream {
    struct mb_source *source;
    const uint8_t *bytes;
    size_t size;
    size_t sent;
    int writer;                 /* -1: ended */
    uint8_t pieces[PIECES + 1]; /* how long they are, one after the other, again and again */
    unsigned next_piece;
};

static void require(bool holds) {
    if (!holds)
        abort();
}

static int file_of(const uint8_t *bytes, size_t size) {
    const int fd = memfd_create("capture", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    return fd;
}

/* The fewest bytes that say what it is; 0: it is no stream. */
static size_t head_of(const uint8_t *bytes, size_t size) {
    for (size_t length = 0; length <= size; length++) {
        const enum mb_head head = mb_source_judge_head(bytes, length);
        if (head != MB_HEAD_TOO_SHORT)
            return head == MB_HEAD_WHOLE && length < RECORD_SURELY ? length : 0;
    }
    return 0;
}

static void send_piece(struct stream *stream) {
    const size_t left = stream->size - stream->sent;
    size_t length = 1 + 16 * (size_t)stream->pieces[stream->next_piece++ % PIECES];
    length = length < left ? length : left;
    require(write(stream->writer, stream->bytes + stream->sent, length) == (ssize_t)length);
    stream->sent += length;
    if (stream->sent < stream->size)
        return;
    close(stream->writer);
    stream->writer = -1;
}

/* One frame of the stream; false: it is over. Memory before it is used again. */
static bool next_frame(struct stream *stream, struct mb_frame *frame) {
    struct mb_ranges none = {0};
    for (;;) {
        mb_source_give_back(stream->source, mb_source_unhandled(stream->source, NULL), &none);
        if (mb_source_read(stream->source, frame, 1) == 1)
            return true;
        if (mb_source_status(stream->source) != MB_SOURCE_OPEN)
            return false;
        require(!mb_source_is_full(stream->source));
        if (stream->writer >= 0)
            send_piece(stream);
    }
}

static bool is_of_no_window(const struct mb_source *stream) {
    return strstr(mb_source_complaint(stream), "make input_window") != NULL;
}

static void compare(struct stream *stream, struct mb_source *file) {
    struct mb_frame ours;
    struct mb_frame theirs;
    while (next_frame(stream, &ours)) {
        require(mb_source_read(file, &theirs, 1) == 1);
        require(ours.time == theirs.time && ours.length == theirs.length &&
                ours.wire_length == theirs.wire_length && ours.link_type == theirs.link_type);
        require(ours.offset + ours.length <= mb_source_pool_size(stream->source));
        require(memcmp(mb_source_pool(stream->source) + ours.offset,
                       mb_source_pool(file) + theirs.offset, ours.length) == 0);
    }
    if (is_of_no_window(stream->source))
        return;
    require(mb_source_read(file, &theirs, 1) == 0);
    require(mb_source_status(stream->source) == mb_source_status(file));
    require(strcmp(mb_source_complaint(stream->source), mb_source_complaint(file)) == 0);
    require(mb_source_bytes_read(stream->source) == mb_source_bytes_read(file));
}

static void open_stream(struct stream *stream, size_t head) {
    char error[MB_ERROR_SIZE] = "";
    int ends[2];
    require(pipe2(ends, O_CLOEXEC) == 0);
    const int fd = file_of(stream->bytes, head);
    stream->source = mb_source_open_live(ends[0], fd, WINDOW, "fuzz", error);
    require(stream->source || *error);
    close(fd);
    close(ends[0]);
    stream->writer = ends[1];
    stream->sent = head;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct stream stream = {.writer = -1};
    char error[MB_ERROR_SIZE] = "";
    if (size < PIECES)
        return 0;
    memcpy(stream.pieces, bytes + size - PIECES, PIECES);
    stream.bytes = bytes;
    stream.size = size - PIECES;
    const size_t head = head_of(stream.bytes, stream.size);
    if (head == 0)
        return 0;
    const int fd = file_of(stream.bytes, stream.size);
    struct mb_source *file = mb_source_open(fd, "fuzz", error);
    close(fd);
    open_stream(&stream, head);
    require(!file == !stream.source);
    if (file)
        compare(&stream, file);
    if (stream.writer >= 0)
        close(stream.writer);
    mb_source_close(stream.source);
    mb_source_close(file);
    return 0;
}
