/* Parts of an output, one of each worker, become what one worker would have written. */
#include "microbox/io/merge.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ETHERNET = 1, WORKERS = 3, PACKETS = 5000, LONGEST = 1500, RECORD_HEADER = 16 };

static int memory_file(void) {
    const int fd = memfd_create("output", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    return fd;
}

/* Each packet leaves as a frame or, where it was reset, as two. */
static void write_packet(struct mb_sink *sink, uint64_t number) {
    uint8_t bytes[LONGEST];
    memset(bytes, (int)number, sizeof bytes);
    for (unsigned i = 0; i <= (number % 7 == 0); i++) {
        const struct mb_frame frame = {
            .time = number % 11 == 0 ? UINT64_MAX - number : number * 1000,
            .length = (uint32_t)(number * 13 % LONGEST) + i,
            .wire_length = LONGEST + 4,
            .link_type = ETHERNET,
        };
        mb_sink_depart(sink, (struct mb_departure){number / 3, number % 3});
        assert_int_equal(mb_sink_write(sink, &frame, bytes), 0);
    }
}

/* Packets are shared out in runs and one by one. */
static unsigned worker_of(uint64_t number) {
    return (unsigned)(number < PACKETS / 2 ? number / 100 : number * 7) % WORKERS;
}

static void write_parts(int fds[WORKERS], uint64_t packets) {
    char error[MB_ERROR_SIZE];
    struct mb_sink *sinks[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        fds[i] = memory_file();
        sinks[i] = mb_sink_open_part(dup(fds[i]), ETHERNET, error);
        assert_non_null(sinks[i]);
    }
    for (uint64_t number = 1; number <= packets; number++)
        write_packet(sinks[worker_of(number)], number);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(mb_sink_close(sinks[i]), 0);
}

static int write_whole(uint64_t packets) {
    char error[MB_ERROR_SIZE];
    const int fd = memory_file();
    struct mb_sink *sink = mb_sink_open(dup(fd), ETHERNET, error);
    assert_non_null(sink);
    for (uint64_t number = 1; number <= packets; number++)
        write_packet(sink, number);
    assert_int_equal(mb_sink_close(sink), 0);
    return fd;
}

static int merged(const int fds[WORKERS]) {
    char error[MB_ERROR_SIZE];
    const int fd = memory_file();
    struct mb_sink *sink = mb_sink_open(dup(fd), ETHERNET, error);
    assert_non_null(sink);
    if (mb_merge_parts(fds, WORKERS, sink, error) != 0)
        fail_msg("%s", error);
    assert_int_equal(mb_sink_close(sink), 0);
    return fd;
}

static off_t size_of(int fd) {
    struct stat file;
    assert_int_equal(fstat(fd, &file), 0);
    return file.st_size;
}

static void assert_same(int fd, int expected) {
    const size_t size = (size_t)size_of(expected);
    assert_int_equal(size_of(fd), size);
    const uint8_t *one = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    const uint8_t *other = mmap(NULL, size, PROT_READ, MAP_SHARED, expected, 0);
    assert_true(one != MAP_FAILED && other != MAP_FAILED);
    assert_memory_equal(one, other, size);
    munmap((void *)one, size);
    munmap((void *)other, size);
    close(fd);
    close(expected);
}

static void close_parts(const int fds[WORKERS]) {
    for (unsigned i = 0; i < WORKERS; i++)
        close(fds[i]);
}

static void parts_become_what_one_worker_writes(void **state) {
    (void)state;
    static const uint64_t counts[] = {0, 1, 150, PACKETS};
    for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
        int fds[WORKERS];
        write_parts(fds, counts[i]);
        assert_same(merged(fds), write_whole(counts[i]));
        close_parts(fds);
    }
}

/* Killed anywhere in its last record, or before it wrote the file's header. */
static void what_a_dead_worker_left_of_a_record_is_left_out(void **state) {
    (void)state;
    enum { PACKET = 100, RECORD = RECORD_HEADER + 16 + PACKET * 13 % LONGEST };
    for (off_t cut = 1; cut <= RECORD; cut += 49) {
        int fds[WORKERS];
        write_parts(fds, PACKET);
        const int last = fds[worker_of(PACKET)];
        assert_int_equal(ftruncate(last, size_of(last) - cut), 0);
        assert_same(merged(fds), write_whole(PACKET - 1));
        close_parts(fds);
    }
    int fds[WORKERS];
    write_parts(fds, 50);
    assert_int_equal(ftruncate(fds[1], 7), 0);
    assert_same(merged(fds), write_whole(50));
    close_parts(fds);
}

static void a_part_is_gone_on_with(void **state) {
    (void)state;
    char error[MB_ERROR_SIZE];
    int fds[WORKERS];
    write_parts(fds, 200);
    const off_t size = size_of(fds[2]);
    assert_int_equal(ftruncate(fds[2], size - 5), 0); /* packet 200 is lost, and written again */
    struct mb_sink *sink = mb_sink_continue(dup(fds[2]), ETHERNET, error);
    assert_non_null(sink);
    assert_int_equal(worker_of(200), 2);
    write_packet(sink, 200);
    assert_int_equal(mb_sink_close(sink), 0);
    assert_int_equal(size_of(fds[2]), size);
    assert_same(merged(fds), write_whole(200));
    close_parts(fds);
}

static void a_file_that_is_no_part_is_refused(void **state) {
    (void)state;
    char error[MB_ERROR_SIZE];
    int fds[WORKERS];
    write_parts(fds, 10);
    const int whole = write_whole(10);
    struct mb_sink *sink = mb_sink_open(memory_file(), ETHERNET, error);
    assert_non_null(sink);
    assert_int_not_equal(mb_merge_parts((int[]){fds[0], whole}, 2, sink, error), 0);
    assert_string_equal(error, "the parts cannot be put together: Protocol error");
    assert_int_equal(mb_sink_close(sink), 0);
    close(whole);
    close_parts(fds);
}

static void a_full_disk_is_said(void **state) {
    (void)state;
    char error[MB_ERROR_SIZE];
    int fds[WORKERS];
    write_parts(fds, PACKETS);
    const int full = memory_file();
    assert_int_equal(ftruncate(full, 1 << 20), 0);
    struct mb_sink *sink = mb_sink_open(dup(full), ETHERNET, error);
    assert_non_null(sink);
    assert_int_equal(fcntl(full, F_ADD_SEALS, F_SEAL_GROW), 0);
    assert_int_not_equal(mb_merge_parts(fds, WORKERS, sink, error), 0);
    assert_string_equal(error, "the parts cannot be put together: Operation not permitted");
    assert_int_not_equal(mb_sink_close(sink), 0);
    close(full);
    close_parts(fds);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_become_what_one_worker_writes),
        cmocka_unit_test(what_a_dead_worker_left_of_a_record_is_left_out),
        cmocka_unit_test(a_part_is_gone_on_with),
        cmocka_unit_test(a_file_that_is_no_part_is_refused),
        cmocka_unit_test(a_full_disk_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
