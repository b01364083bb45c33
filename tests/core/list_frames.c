/*
 * Prints what the source reads from a capture: a line a frame (time in nanoseconds, bytes captured,
 * bytes on the wire, link type), then what ended the reading.
 *
 *     list_frames FILE
 */
#include "microbox/io/source.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { BATCH = 64 };

static const char *const status_names[] = {
    [MB_SOURCE_OPEN] = "open",
    [MB_SOURCE_END] = "end",
    [MB_SOURCE_TRUNCATED] = "truncated",
    [MB_SOURCE_BROKEN] = "broken",
};

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: list_frames FILE\n");
        return 2;
    }
    char error[MB_ERROR_SIZE];
    const int fd = open(arguments[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        perror(arguments[1]);
        return 2;
    }
    struct mb_source *source = mb_source_open(fd, arguments[1], error);
    close(fd);
    if (!source) {
        fprintf(stderr, "%s\n", error);
        return 2;
    }
    struct mb_frame frames[BATCH];
    size_t read;
    while ((read = mb_source_read(source, frames, BATCH)) != 0)
        for (size_t i = 0; i < read; i++)
            printf("%" PRIu64 " %u %u %u\n", frames[i].time, frames[i].length,
                   frames[i].wire_length, frames[i].link_type);
    printf("%s %s\n", status_names[mb_source_status(source)], mb_source_complaint(source));
    mb_source_close(source);
    return 0;
}
