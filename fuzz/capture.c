/*
 * Captures: any bytes are a file. Whatever they say, each frame lies within the pool, batches are
 * full until the end, and the end has its complaint.
 */
#include "microbox/io/source.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BATCH = 8 };

static void require(bool holds) {
    if (!holds)
        abort();
}

static void check_frames(const struct mb_source *source, const struct mb_frame *frames,
                         size_t count) {
    volatile uint8_t last;
    for (size_t i = 0; i < count; i++) {
        const struct mb_frame *frame = &frames[i];
        require(frame->offset <= mb_source_pool_size(source));
        require(frame->length <= mb_source_pool_size(source) - frame->offset);
        require(frame->wire_length >= frame->length);
        if (frame->length)
            last = mb_source_pool(source)[frame->offset + frame->length - 1];
    }
    (void)last;
}

static void read_all(struct mb_source *source) {
    struct mb_frame frames[BATCH];
    size_t count;
    do {
        count = mb_source_read(source, frames, BATCH);
        check_frames(source, frames, count);
        require(count == BATCH || mb_source_status(source) != MB_SOURCE_OPEN);
        require(mb_source_bytes_read(source) <= mb_source_pool_size(source));
    } while (mb_source_status(source) == MB_SOURCE_OPEN);
    require(mb_source_read(source, frames, BATCH) == 0);
    const bool complains = *mb_source_complaint(source);
    require(complains == (mb_source_status(source) != MB_SOURCE_END));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    const int fd = memfd_create("capture", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    char error[MB_ERROR_SIZE] = "";
    struct mb_source *source = mb_source_open(fd, "fuzz", error);
    close(fd);
    require(source || *error);
    if (source)
        read_all(source);
    mb_source_close(source);
    return 0;
}
