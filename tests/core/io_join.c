/* Several captures become one, in the order in which they are given. */
#include "microbox/io/join.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ETHERNET = 1, RAW = 101, LENGTH = 60, PACKETS = 1000 };

/* Packets of these link types, a microsecond apart from `begin` on. */
static int capture(uint64_t begin, unsigned packets, uint32_t link_type) {
    char error[MB_ERROR_SIZE];
    const int fd = memfd_create("capture", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct mb_sink *sink = mb_sink_open(dup(fd), link_type, error);
    assert_non_null(sink);
    for (unsigned i = 0; i < packets; i++) {
        uint8_t bytes[LENGTH];
        memset(bytes, (int)i, sizeof bytes);
        const struct mb_frame frame = {.time = begin + 1000 * i,
                                       .length = LENGTH,
                                       .wire_length = LENGTH + 7,
                                       .link_type = link_type};
        assert_int_equal(mb_sink_write(sink, &frame, bytes), 0);
    }
    assert_int_equal(mb_sink_close(sink), 0);
    return fd;
}

/* Takes `fd`. */
static int join(struct mb_sink *sink, int fd, struct mb_joined *joined) {
    char error[MB_ERROR_SIZE];
    struct mb_source *source = mb_source_open(fd, "capture", error);
    assert_non_null(source);
    const int result = mb_join(sink, source, joined);
    mb_source_close(source);
    close(fd);
    return result;
}

static struct mb_sink *memory_sink(int *fd) {
    char error[MB_ERROR_SIZE];
    *fd = memfd_create("joined", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct mb_sink *sink = mb_sink_open(dup(*fd), ETHERNET, error);
    assert_non_null(sink);
    return sink;
}

static void all_packets_of_both_are_there(void **state) {
    (void)state;
    struct mb_joined joined;
    int fd;
    struct mb_sink *sink = memory_sink(&fd);
    assert_int_equal(join(sink, capture(5000, PACKETS, ETHERNET), &joined), 0);
    assert_int_equal(joined.packets, PACKETS);
    assert_int_equal(joined.first_time, 5000);
    assert_int_equal(joined.last_time, 5000 + 1000 * (PACKETS - 1));
    assert_int_equal(join(sink, capture(UINT64_C(1) << 40, 3, ETHERNET), &joined), 0);
    assert_int_equal(joined.packets, 3);
    assert_int_equal(mb_sink_close(sink), 0);

    char error[MB_ERROR_SIZE];
    struct mb_source *source = mb_source_open(fd, "joined", error);
    assert_non_null(source);
    const uint8_t *pool = mb_source_pool(source);
    struct mb_frame frame;
    unsigned packets = 0;
    while (mb_source_read(source, &frame, 1) == 1) {
        const unsigned number = packets < PACKETS ? packets : packets - PACKETS;
        const uint64_t begin = packets < PACKETS ? 5000 : UINT64_C(1) << 40;
        assert_int_equal(frame.time, begin + 1000 * number);
        assert_int_equal(frame.wire_length, LENGTH + 7);
        assert_int_equal(pool[frame.offset], number & 0xff);
        packets++;
    }
    assert_int_equal(packets, PACKETS + 3);
    assert_int_equal(mb_source_status(source), MB_SOURCE_END);
    mb_source_close(source);
    close(fd);
}

static void another_link_type_is_named(void **state) {
    (void)state;
    struct mb_joined joined;
    int fd;
    struct mb_sink *sink = memory_sink(&fd);
    assert_int_equal(join(sink, capture(1, 2, RAW), &joined), -EPROTOTYPE);
    assert_int_equal(joined.link_type, RAW);
    assert_int_equal(joined.packets, 0);
    assert_int_equal(mb_sink_close(sink), 0);
    close(fd);
}

static void an_empty_capture_has_no_times(void **state) {
    (void)state;
    struct mb_joined joined;
    int fd;
    struct mb_sink *sink = memory_sink(&fd);
    assert_int_equal(join(sink, capture(1, 0, ETHERNET), &joined), 0);
    assert_int_equal(joined.packets, 0);
    assert_int_equal(joined.first_time, 0);
    assert_int_equal(mb_sink_close(sink), 0);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_packets_of_both_are_there),
        cmocka_unit_test(another_link_type_is_named),
        cmocka_unit_test(an_empty_capture_has_no_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
