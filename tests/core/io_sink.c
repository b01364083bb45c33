/* Writing captures: what is written is read back; full disks and foreign link types are counted. */
#include "microbox/io/sink.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { ETHERNET = 1, RAW = 101, FRAME_SIZE = 1000 };

static const uint64_t TIME = 1700000000123456789;

static int memory_file(void) {
    const int fd = memfd_create("output", MFD_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static struct mb_sink *open_sink(int fd) {
    char error[MB_ERROR_SIZE];
    struct mb_sink *sink = mb_sink_open(fd, ETHERNET, error);
    if (!sink)
        fail_msg("%s", error);
    return sink;
}

static int write_frame(struct mb_sink *sink, uint64_t number, uint32_t link_type) {
    uint8_t bytes[FRAME_SIZE];
    memset(bytes, (int)number, sizeof bytes);
    const struct mb_frame frame = {
        .time = TIME + number,
        .length = FRAME_SIZE,
        .wire_length = FRAME_SIZE + 7,
        .link_type = link_type,
    };
    return mb_sink_write(sink, &frame, bytes);
}

/* The frames in the file, each checked to be the next one. */
static uint64_t count_written(int fd, enum mb_source_status expected_status) {
    char error[MB_ERROR_SIZE];
    struct mb_source *source = mb_source_open(fd, "output", error);
    if (!source)
        fail_msg("%s", error);
    assert_int_equal(mb_source_link_type(source), ETHERNET);
    uint64_t count = 0;
    struct mb_frame frame;
    while (mb_source_read(source, &frame, 1)) {
        assert_int_equal(frame.time, TIME + count);
        assert_int_equal(frame.length, FRAME_SIZE);
        assert_int_equal(frame.wire_length, FRAME_SIZE + 7);
        assert_int_equal(mb_source_pool(source)[frame.offset + FRAME_SIZE - 1], (uint8_t)count);
        count++;
    }
    assert_int_equal(mb_source_status(source), expected_status);
    mb_source_close(source);
    return count;
}

/* More than one buffer, so that records are spread over writes. */
static void frames_are_read_back_as_written(void **state) {
    (void)state;
    const int fd = memory_file();
    struct mb_sink *sink = open_sink(dup(fd));
    for (uint64_t number = 0; number < 5000; number++)
        assert_int_equal(write_frame(sink, number, ETHERNET), 0);
    assert_int_equal(mb_sink_written(sink), 5000);
    assert_int_equal(mb_sink_written_bytes(sink), 5000 * FRAME_SIZE);
    assert_int_equal(mb_sink_close(sink), 0);
    assert_int_equal(count_written(fd, MB_SOURCE_END), 5000);
    close(fd);
}

/* Its writer was killed anywhere in a record; more than a buffer is there. */
static void what_another_left_is_gone_on_with_behind_its_last_whole_record(void **state) {
    (void)state;
    enum { RECORD = 16 + FRAME_SIZE };
    for (off_t cut = 1; cut <= RECORD; cut += 145) {
        char error[MB_ERROR_SIZE];
        const int fd = memory_file();
        struct mb_sink *sink = open_sink(dup(fd));
        for (uint64_t number = 0; number < 3000; number++)
            assert_int_equal(write_frame(sink, number, ETHERNET), 0);
        assert_int_equal(mb_sink_close(sink), 0);
        assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) - cut), 0);
        sink = mb_sink_continue(dup(fd), ETHERNET, error);
        assert_non_null(sink);
        assert_int_equal(mb_sink_found(sink), 2999);
        assert_int_equal(mb_sink_found_bytes(sink), 2999 * FRAME_SIZE);
        for (uint64_t number = 2999; number < 6000; number++)
            assert_int_equal(write_frame(sink, number, ETHERNET), 0);
        assert_int_equal(mb_sink_written(sink), 6000 - 2999);
        assert_int_equal(mb_sink_close(sink), 0);
        assert_int_equal(count_written(fd, MB_SOURCE_END), 6000);
        close(fd);
    }
}

static void what_no_sink_wrote_is_not_gone_on_with(void **state) {
    (void)state;
    char error[MB_ERROR_SIZE];
    const int fd = memory_file();
    assert_null(mb_sink_continue(dup(fd), ETHERNET, error));
    assert_string_equal(error, "the output cannot be continued: Protocol error");
    assert_int_equal(mb_sink_close(open_sink(dup(fd))), 0);
    assert_null(mb_sink_continue(dup(fd), RAW, error)); /* of another link type */
    close(fd);
}

static void frames_of_another_link_type_are_lost_and_counted(void **state) {
    (void)state;
    const int fd = memory_file();
    struct mb_sink *sink = open_sink(dup(fd));
    assert_int_equal(write_frame(sink, 0, ETHERNET), 0);
    assert_int_equal(write_frame(sink, 1, RAW), -EPROTOTYPE);
    assert_int_equal(write_frame(sink, 1, ETHERNET), 0);
    assert_int_equal(mb_sink_written(sink), 2);
    assert_int_equal(mb_sink_lost(sink), 1);
    assert_int_equal(mb_sink_close(sink), 0);
    assert_int_equal(count_written(fd, MB_SOURCE_END), 2);
    close(fd);
}

static void a_frame_longer_than_the_buffer_is_lost_and_counted(void **state) {
    (void)state;
    struct mb_sink *sink = open_sink(memory_file());
    const struct mb_frame frame = {.length = 2 << 20, .link_type = ETHERNET};
    assert_int_equal(mb_sink_write(sink, &frame, NULL), -EMSGSIZE);
    assert_int_equal(write_frame(sink, 0, ETHERNET), 0);
    assert_int_equal(mb_sink_lost(sink), 1);
    assert_int_equal(mb_sink_close(sink), 0);
}

static void a_time_past_2106_is_clamped(void **state) {
    (void)state;
    const int fd = memory_file();
    struct mb_sink *sink = open_sink(dup(fd));
    const struct mb_frame frame = {.time = UINT64_MAX, .link_type = ETHERNET};
    assert_int_equal(mb_sink_write(sink, &frame, (const uint8_t *)""), 0);
    assert_int_equal(mb_sink_close(sink), 0);
    char error[MB_ERROR_SIZE];
    struct mb_source *source = mb_source_open(fd, "output", error);
    struct mb_frame read;
    assert_int_equal(mb_source_read(source, &read, 1), 1);
    assert_int_equal(read.time / 1000000000, UINT32_MAX);
    mb_source_close(source);
    close(fd);
}

/* A limit on the file's size stands for a disk that fills up: the file ends with a whole record,
 * and what is written and what is lost adds up. */
static void a_full_disk_leaves_whole_records_and_counts_the_rest(void **state) {
    (void)state;
    enum { FRAMES = 5000, LIMIT = 3000000 };
    char path[] = "/tmp/microbox-sink-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    struct rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    const struct rlimit limit = {LIMIT, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);

    struct mb_sink *sink = open_sink(dup(fd));
    int result = 0;
    for (uint64_t number = 0; number < FRAMES; number++)
        result = write_frame(sink, number, ETHERNET);
    assert_int_equal(result, -EFBIG);
    const uint64_t written = mb_sink_written(sink);
    assert_int_equal(written + mb_sink_lost(sink), FRAMES);
    assert_int_equal(mb_sink_written_bytes(sink), written * FRAME_SIZE);
    assert_int_equal(mb_sink_close(sink), -EFBIG);
    setrlimit(RLIMIT_FSIZE, &before);

    assert_true(written > LIMIT / (FRAME_SIZE + 16) - 2);
    assert_int_equal(count_written(fd, MB_SOURCE_END), written);
    close(fd);
}

static void an_output_that_cannot_be_written_is_refused(void **state) {
    (void)state;
    char error[MB_ERROR_SIZE];
    assert_null(mb_sink_open(open("/dev/full", O_WRONLY), ETHERNET, error));
    assert_non_null(strstr(error, "No space left"));
    assert_null(mb_sink_open(open("/dev/null", O_RDONLY), ETHERNET, error));
    assert_non_null(strstr(error, "cannot be written"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_read_back_as_written),
        cmocka_unit_test(what_another_left_is_gone_on_with_behind_its_last_whole_record),
        cmocka_unit_test(what_no_sink_wrote_is_not_gone_on_with),
        cmocka_unit_test(frames_of_another_link_type_are_lost_and_counted),
        cmocka_unit_test(a_frame_longer_than_the_buffer_is_lost_and_counted),
        cmocka_unit_test(a_time_past_2106_is_clamped),
        cmocka_unit_test(a_full_disk_leaves_whole_records_and_counts_the_rest),
        cmocka_unit_test(an_output_that_cannot_be_written_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
