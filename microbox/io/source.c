/*
 * Opens captures: maps the file, finds its format, says in words what it is where it is none.
 */
#include "microbox/io/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct mb_capture_format *const formats[] = {&mb_pcap_format, &mb_pcapng_format};

/* Link types whose frames may be longer than libpcap's general limit. */
enum {
    LINK_TYPE_USB_LINUX = 189,
    LINK_TYPE_USB_LINUX_MMAPPED = 220,
    LINK_TYPE_DBUS = 231,
    LINK_TYPE_USBPCAP = 249,
    CAPTURED_MAXIMUM = 262144,
    CAPTURED_MAXIMUM_LARGE = 128 << 20,
};

uint32_t mb_captured_maximum(uint32_t link_type) {
    switch (link_type) {
    case LINK_TYPE_USB_LINUX:
    case LINK_TYPE_USB_LINUX_MMAPPED:
    case LINK_TYPE_DBUS:
    case LINK_TYPE_USBPCAP:
        return CAPTURED_MAXIMUM_LARGE;
    default:
        return CAPTURED_MAXIMUM;
    }
}

uint32_t mb_link_type_of_file(uint32_t written) {
    /* DLT_RAW of most systems, and of OpenBSD. */
    return written == 12 || written == 14 ? MB_LINK_TYPE_RAW : written;
}

void mb_source_end(struct mb_source *source, enum mb_source_status status, const char *format,
                   ...) {
    source->status = status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(source->complaint, sizeof source->complaint, format, arguments);
    va_end(arguments);
}

/* --- what a file is that is no capture --- */

struct known_magic {
    uint8_t length;
    uint8_t bytes[8];
    const char *sentence;
};

static const struct known_magic known_magics[] = {
    {2, {0x1f, 0x8b}, "gzip data: unpack it first (gunzip)"},
    {4, {0x28, 0xb5, 0x2f, 0xfd}, "zstd data: unpack it first (unzstd)"},
    {4, {0x04, 0x22, 0x4d, 0x18}, "lz4 data: unpack it first (unlz4)"},
    {6, {0xfd, '7', 'z', 'X', 'Z', 0x00}, "xz data: unpack it first (unxz)"},
    {3, {'B', 'Z', 'h'}, "bzip2 data: unpack it first (bunzip2)"},
    {4, {'P', 'K', 3, 4}, "a zip archive: unpack it first (unzip)"},
    {8, {'s', 'n', 'o', 'o', 'p', 0, 0, 0}, "a snoop capture: convert it first (editcap)"},
    {4, {'X', 'C', 'P', 0}, "a Network Associates Sniffer capture: convert it first (editcap)"},
    {4, {0x7f, 'E', 'L', 'F'}, "a program"},
};

static bool looks_like_text(const uint8_t *bytes, uint64_t size) {
    for (uint64_t i = 0; i < size && i < 512; i++) {
        const bool control = bytes[i] < 0x20 && !strchr("\t\n\r\f", bytes[i]);
        if (control || bytes[i] == 0x7f || bytes[i] == 0)
            return false;
    }
    return true;
}

static void describe_contents(const uint8_t *bytes, uint64_t size, const char *name,
                              char error[MB_ERROR_SIZE]) {
    const char *what = NULL;
    for (size_t i = 0; !what && i < sizeof known_magics / sizeof *known_magics; i++) {
        const struct known_magic *magic = &known_magics[i];
        if (size >= magic->length && memcmp(bytes, magic->bytes, magic->length) == 0)
            what = magic->sentence;
    }
    if (!what && looks_like_text(bytes, size))
        what = "text";
    if (what) {
        snprintf(error, MB_ERROR_SIZE, "%s: expected a pcap or pcapng capture, found %s", name,
                 what);
        return;
    }
    char first[3 * 4 + 1] = "";
    for (uint64_t i = 0; i < size && i < 4; i++)
        snprintf(first + 3 * i, 4, " %02x", bytes[i]);
    snprintf(error, MB_ERROR_SIZE,
             "%s: expected a pcap or pcapng capture, found a file that begins with the bytes%s",
             name, first);
}

/* Says why `mode` cannot be mapped; NULL where it can. */
static const char *unfit_kind(mode_t mode) {
    if (S_ISREG(mode))
        return NULL;
    if (S_ISDIR(mode))
        return "a directory";
    if (S_ISFIFO(mode))
        return "a pipe, which cannot be mapped: write the capture to a file first";
    if (S_ISSOCK(mode))
        return "a socket";
    return "a device";
}

/* --- opening --- */

static bool map_pool(struct mb_source *source, int fd, uint64_t size) {
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return false;
    /* Advice: what the kernel makes of it changes no result. */
    madvise(map, size, MADV_SEQUENTIAL);
    madvise(map, size < 64 << 20 ? size : 64 << 20, MADV_WILLNEED);
    source->pool = map;
    source->size = size;
    return true;
}

static void unmap_pool(struct mb_source *source) {
    if (source->pool)
        munmap((void *)(uintptr_t)source->pool, source->size);
    source->pool = NULL;
}

static bool map_file(struct mb_source *source, int fd, const char *name,
                     char error[MB_ERROR_SIZE]) {
    struct stat status;
    const char *unfit = NULL;
    if (fstat(fd, &status) != 0) {
        snprintf(error, MB_ERROR_SIZE, "%s: %s", name, strerror(errno));
        return false;
    }
    if ((unfit = unfit_kind(status.st_mode)) || status.st_size == 0) {
        snprintf(error, MB_ERROR_SIZE, "%s: expected a pcap or pcapng capture, found %s", name,
                 unfit ? unfit : "an empty file");
        return false;
    }
    source->pool_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (source->pool_fd >= 0 && map_pool(source, source->pool_fd, (uint64_t)status.st_size))
        return true;
    snprintf(error, MB_ERROR_SIZE, "%s: cannot be mapped: %s", name, strerror(errno));
    return false;
}

bool mb_source_find_format(struct mb_source *source) {
    source->format = NULL;
    for (size_t i = 0; !source->format && i < sizeof formats / sizeof *formats; i++)
        if (formats[i]->recognises(source->pool, source->size))
            source->format = formats[i];
    return source->format;
}

/* Puts libpcap's copy in the file's place. */
static bool convert(struct mb_source *source, const char *name, char error[MB_ERROR_SIZE]) {
    char words[MB_ERROR_SIZE];
    struct stat status;
    const int copy = mb_libpcap_copy(source->pool, source->size, &source->status_at_end, words);
    if (copy < 0 && words[0] == '\0')
        describe_contents(source->pool, source->size, name, error);
    else if (copy < 0)
        snprintf(error, MB_ERROR_SIZE, "%.100s: %.150s", name, words);
    if (copy < 0)
        return false;
    unmap_pool(source);
    close(source->pool_fd);
    source->pool_fd = copy;
    if (fstat(copy, &status) != 0 || !map_pool(source, copy, (uint64_t)status.st_size)) {
        snprintf(error, MB_ERROR_SIZE, "%.100s: libpcap's copy cannot be mapped: %s", name,
                 strerror(errno));
        return false;
    }
    memcpy(source->complaint, words, sizeof words);
    return mb_source_find_format(source);
}

static bool open_source(struct mb_source *source, int fd, const char *name,
                        char error[MB_ERROR_SIZE]) {
    if (!map_file(source, fd, name, error))
        return false;
    if (!mb_source_find_format(source) && !convert(source, name, error))
        return false;
    if (source->format->open(source))
        return true;
    snprintf(error, MB_ERROR_SIZE, "%.100s: %.150s", name, source->complaint);
    return false;
}

struct mb_source *mb_source_open(int fd, const char *name, char error[MB_ERROR_SIZE]) {
    struct mb_source *source = calloc(1, sizeof *source);
    if (!source) {
        snprintf(error, MB_ERROR_SIZE, "%s: no memory", name);
        return NULL;
    }
    source->pool_fd = -1;
    source->link_type = MB_LINK_TYPE_ETHERNET;
    source->status_at_end = MB_SOURCE_END;
    if (open_source(source, fd, name, error))
        return source;
    mb_source_close(source);
    return NULL;
}

void mb_source_close(struct mb_source *source) {
    if (!source)
        return;
    if (source->format && source->format->close)
        source->format->close(source);
    if (!source->live)
        unmap_pool(source);
    if (!source->live && source->pool_fd >= 0)
        close(source->pool_fd);
    mb_live_close(source->live);
    free(source);
}

size_t mb_source_read(struct mb_source *source, struct mb_frame *frames, size_t capacity) {
    if (source->status != MB_SOURCE_OPEN)
        return 0;
    size_t count = source->format->read(source, frames, capacity);
    while (source->live && count < capacity && source->status == MB_SOURCE_OPEN &&
           mb_live_fill(source))
        count += source->format->read(source, frames + count, capacity - count);
    return count;
}

uint64_t mb_source_skip(struct mb_source *source, uint64_t count) {
    enum { AT_ONCE = 256 };
    struct mb_frame frames[AT_ONCE];
    uint64_t skipped = 0;
    while (skipped < count) {
        const uint64_t left = count - skipped;
        const size_t read = mb_source_read(source, frames, left < AT_ONCE ? left : AT_ONCE);
        if (read == 0)
            break;
        skipped += read;
    }
    return skipped;
}

enum mb_source_status mb_source_status(const struct mb_source *source) {
    return source->status;
}

const char *mb_source_complaint(const struct mb_source *source) {
    const bool complains =
        source->status == MB_SOURCE_TRUNCATED || source->status == MB_SOURCE_BROKEN;
    return complains ? source->complaint : "";
}

const uint8_t *mb_source_pool(const struct mb_source *source) {
    return source->pool;
}

uint64_t mb_source_pool_size(const struct mb_source *source) {
    return source->live ? source->live->window.size : source->size;
}

int mb_source_pool_fd(const struct mb_source *source) {
    return source->pool_fd;
}

const char *mb_source_format(const struct mb_source *source) {
    return source->format->name;
}

uint32_t mb_source_link_type(const struct mb_source *source) {
    return source->link_type;
}

uint64_t mb_source_bytes_read(const struct mb_source *source) {
    return source->before + source->position;
}
