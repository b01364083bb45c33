/*
 * Captures from a pipe, read while they come: straight into the window, in large pieces, and parsed
 * there. What there is of a record that is not whole stays at the end of what was read; where the
 * memory behind it ends, it moves to where there is more.
 */
#include "microbox/io/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    READ_MAX = 1 << 20,
    PIPE_SIZE = 1 << 20, /* what a user may ask for, usually */
    MILLISECOND = 1000000,
    PAGE = 4096,
};

/* --- bytes come --- */

static uint64_t unparsed(const struct mb_source *source) {
    return source->size - source->position;
}

/* A record this long would leave too little for those that are still read. */
static uint64_t record_maximum(const struct mb_live *live) {
    return live->window.size / 4;
}

/* What there is of the record in hand goes where the whole of it has room. */
static void move_record(struct mb_source *source, uint64_t position) {
    struct mb_live *live = source->live;
    const uint64_t length = unparsed(source);
    uint8_t *to = mb_window_at(&live->window, position);
    const uint64_t offset = (uint64_t)(to - live->window.bytes);
    memmove(to, source->pool + source->position, length);
    source->before += source->position - offset;
    source->position = offset;
    source->size = offset + length;
    live->next = position + length;
}

/* Room behind what was read, enough for the record in hand. False: there is none. */
static bool make_room(struct mb_source *source, struct mb_run *run) {
    struct mb_live *live = source->live;
    const uint64_t there = unparsed(source);
    const uint64_t needed = live->needed > there ? live->needed : there + 1;
    if (mb_window_find_run(&live->window, live->next, 1, run) &&
        mb_window_at(&live->window, run->position) == source->pool + source->size &&
        run->length >= needed - there)
        return true;
    if (!mb_window_find_run(&live->window, live->next, needed, run))
        return false;
    move_record(source, run->position);
    run->position += there;
    run->length -= there;
    return true;
}

static bool is_readable(int fd, int timeout) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, timeout) > 0;
}

static bool is_too_long(struct mb_source *source) {
    const uint64_t most = record_maximum(source->live);
    if (source->live->needed <= most)
        return false;
    mb_source_end(source, MB_SOURCE_BROKEN,
                  "the record at byte %llu is %llu bytes long; %llu have room in the window: make "
                  "input_window in the chain file four times as large as the longest record",
                  mb_source_byte(source, source->position),
                  (unsigned long long)source->live->needed, (unsigned long long)most);
    return true;
}

bool mb_live_fill(struct mb_source *source) {
    struct mb_live *live = source->live;
    struct mb_run run;
    live->is_full = false;
    if (live->is_over || is_too_long(source) || !is_readable(live->fd, 0))
        return false;
    live->is_full = !make_room(source, &run);
    if (live->is_full)
        return false;
    const size_t most = run.length < READ_MAX ? run.length : READ_MAX;
    const ssize_t count = read(live->fd, mb_window_at(&live->window, run.position), most);
    if (count < 0 && (errno == EINTR || errno == EAGAIN))
        return false;
    live->is_over = count <= 0;
    if (count < 0)
        mb_source_end(source, MB_SOURCE_TRUNCATED, "the input ends at byte %llu: %s",
                      mb_source_byte(source, source->size), strerror(errno));
    if (count <= 0)
        return count == 0;
    live->next = run.position + (uint64_t)count;
    source->size += (uint64_t)count;
    return true;
}

bool mb_source_wait(const struct mb_source *source, uint64_t timeout_ns) {
    return is_readable(source->live->fd, (int)((timeout_ns + MILLISECOND - 1) / MILLISECOND));
}

/* --- the window --- */

bool mb_source_is_live(const struct mb_source *source) {
    return source->live;
}

bool mb_source_is_full(const struct mb_source *source) {
    return source->live->is_full;
}

uint64_t mb_source_unhandled(const struct mb_source *source, const struct mb_frame *next) {
    const struct mb_live *live = source->live;
    const uint64_t offset = next ? next->offset : source->position;
    const uint64_t size = live->window.size;
    return live->next - (live->next % size + size - offset) % size;
}

uint64_t mb_source_front(const struct mb_source *source) {
    return source->live->window.front;
}

uint64_t mb_source_read_up_to(const struct mb_source *source) {
    return source->live->next;
}

void mb_source_give_back(struct mb_source *source, uint64_t front, struct mb_ranges *kept) {
    mb_window_give_back(&source->live->window, front, kept);
}

uint64_t mb_source_kept(const struct mb_source *source) {
    return mb_window_kept(&source->live->window);
}

/* --- opening --- */

static bool read_head(struct mb_source *source, int head, char error[MB_ERROR_SIZE]) {
    const uint64_t most = record_maximum(source->live);
    ssize_t count = -1;
    while (source->size < most && (count = pread(head, source->live->window.bytes + source->size,
                                                 most - source->size, (off_t)source->size)) > 0)
        source->size += (uint64_t)count;
    source->live->next = source->size;
    if (count == 0 && source->size != 0)
        return true;
    snprintf(error, MB_ERROR_SIZE,
             "of what was read of it first %llu bytes can be used, which makes no head",
             (unsigned long long)source->size);
    return false;
}

static bool open_live(struct mb_source *source, int fd, int head, uint64_t window,
                      char error[MB_ERROR_SIZE]) {
    struct mb_live *live = source->live;
    const uint64_t size = (window + PAGE - 1) / PAGE * PAGE;
    live->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    const int result = live->fd < 0 ? -errno : mb_window_create(&live->window, size);
    if (result != 0) {
        snprintf(error, MB_ERROR_SIZE,
                 "a window of %llu MiB cannot be made: %s; input_window in the chain file says "
                 "how large it is",
                 (unsigned long long)window >> 20, strerror(-result));
        return false;
    }
    fcntl(live->fd, F_SETPIPE_SZ, PIPE_SIZE); /* fewer calls; where it may not be, more */
    source->pool = live->window.bytes;
    source->pool_fd = live->window.fd;
    if (!read_head(source, head, error))
        return false;
    if (mb_source_find_format(source) && source->format->open(source))
        return true;
    snprintf(error, MB_ERROR_SIZE, "expected the beginning of a pcap or pcapng capture%s%.190s",
             source->complaint[0] ? ": " : "", source->complaint);
    return false;
}

struct mb_source *mb_source_open_live(int fd, int head, uint64_t window, const char *name,
                                      char error[MB_ERROR_SIZE]) {
    char words[MB_ERROR_SIZE] = "no memory";
    struct mb_source *source = calloc(1, sizeof *source);
    if (source) {
        source->pool_fd = -1;
        source->link_type = MB_LINK_TYPE_ETHERNET;
        source->status_at_end = MB_SOURCE_END;
        source->live = calloc(1, sizeof *source->live);
    }
    if (source && source->live) {
        *source->live = (struct mb_live){.fd = -1, .window = {.fd = -1}};
        if (open_live(source, fd, head, window, words))
            return source;
    }
    snprintf(error, MB_ERROR_SIZE, "%.60s: %.190s", name, words);
    mb_source_close(source);
    return NULL;
}

void mb_live_close(struct mb_live *live) {
    if (!live)
        return;
    mb_window_destroy(&live->window);
    if (live->fd >= 0)
        close(live->fd);
    free(live);
}

enum mb_head mb_source_judge_head(const uint8_t *bytes, uint64_t size) {
    struct mb_live live = {.fd = -1};
    struct mb_source source = {.pool = bytes, .size = size, .live = &live};
    if (size < 4)
        return MB_HEAD_TOO_SHORT;
    if (!mb_source_find_format(&source))
        return MB_HEAD_UNKNOWN;
    source.format->open(&source);
    if (source.format->close)
        source.format->close(&source);
    return live.needed != 0 ? MB_HEAD_TOO_SHORT : MB_HEAD_WHOLE;
}
