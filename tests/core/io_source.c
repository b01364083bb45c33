/* Reading captures: formats, byte orders, clocks, and files that are broken or no captures. */
#include "microbox/io/source.h"

#include "capture_bytes.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>

enum { MICROSECONDS = 0xa1b2c3d4, NANOSECONDS = 0xa1b23c4d, MODIFIED = 0xa1b2cd34 };
enum { ETHERNET = 1, RAW = 101 };

static const uint64_t SECOND = 1000000000;

struct result {
    struct mb_frame frames[64];
    size_t count;
    struct mb_source *source;
};

static struct result read_all(const struct capture_bytes *capture) {
    struct result result = {0};
    char error[MB_ERROR_SIZE];
    const int fd = capture_file(capture);
    result.source = mb_source_open(fd, "test", error);
    close(fd);
    if (!result.source)
        fail_msg("%s", error);
    result.count = mb_source_read(result.source, result.frames, 64);
    return result;
}

static void assert_frame(const struct result *result, size_t index, uint64_t time, uint32_t length,
                         uint32_t wire_length, uint8_t first_byte) {
    assert_true(index < result->count);
    const struct mb_frame *frame = &result->frames[index];
    assert_int_equal(frame->time, time);
    assert_int_equal(frame->length, length);
    assert_int_equal(frame->wire_length, wire_length);
    assert_true(frame->offset + length <= mb_source_pool_size(result->source));
    if (length)
        assert_int_equal(mb_source_pool(result->source)[frame->offset], first_byte);
}

static struct capture_bytes two_packets(uint32_t magic, bool swapped) {
    struct capture_bytes capture = {.swapped = swapped};
    append_pcap_header(&capture, magic, 65535, ETHERNET);
    append_pcap_record(&capture, 1700000000, 5, 60, 60);
    append_zeros(&capture, magic == MODIFIED ? 8 : 0);
    append_pattern(&capture, 1, 60);
    append_pcap_record(&capture, 1700000001, 999999, 10, 1500);
    append_zeros(&capture, magic == MODIFIED ? 8 : 0);
    append_pattern(&capture, 2, 10);
    return capture;
}

static void every_pcap_variant_is_read_in_both_byte_orders(void **state) {
    (void)state;
    static const uint32_t magics[] = {MICROSECONDS, NANOSECONDS, MODIFIED};
    for (size_t i = 0; i < 6; i++) {
        const uint32_t magic = magics[i / 2];
        const uint64_t fraction = magic == NANOSECONDS ? 1 : 1000;
        const struct capture_bytes capture = two_packets(magic, i % 2);
        struct result result = read_all(&capture);
        assert_int_equal(result.count, 2);
        assert_frame(&result, 0, 1700000000 * SECOND + 5 * fraction, 60, 60, 1);
        assert_frame(&result, 1, 1700000001 * SECOND + 999999 * fraction, 10, 1500, 2);
        assert_int_equal(result.frames[0].link_type, ETHERNET);
        assert_int_equal(mb_source_link_type(result.source), ETHERNET);
        assert_string_equal(mb_source_format(result.source), "pcap");
        assert_int_equal(mb_source_status(result.source), MB_SOURCE_END);
        assert_string_equal(mb_source_complaint(result.source), "");
        assert_int_equal(mb_source_bytes_read(result.source), capture.length);
        mb_source_close(result.source);
    }
}

static void batches_continue_where_the_last_one_ended(void **state) {
    (void)state;
    const struct capture_bytes capture = two_packets(MICROSECONDS, false);
    const int fd = capture_file(&capture);
    char error[MB_ERROR_SIZE];
    struct mb_source *source = mb_source_open(fd, "test", error);
    struct mb_frame frame;
    assert_int_equal(mb_source_read(source, &frame, 1), 1);
    assert_int_equal(mb_source_status(source), MB_SOURCE_OPEN);
    assert_int_equal(mb_source_read(source, &frame, 1), 1);
    assert_int_equal(frame.wire_length, 1500);
    assert_int_equal(mb_source_read(source, &frame, 1), 0);
    assert_int_equal(mb_source_status(source), MB_SOURCE_END);
    mb_source_close(source);
    close(fd);
}

static void frames_are_left_out(void **state) {
    (void)state;
    const struct capture_bytes capture = two_packets(MICROSECONDS, false);
    const int fd = capture_file(&capture);
    char error[MB_ERROR_SIZE];
    struct mb_source *source = mb_source_open(fd, "test", error);
    struct mb_frame frame;
    assert_int_equal(mb_source_skip(source, 1), 1);
    assert_int_equal(mb_source_read(source, &frame, 1), 1);
    assert_int_equal(frame.wire_length, 1500);
    assert_int_equal(mb_source_skip(source, 1000), 0);
    mb_source_close(source);
    source = mb_source_open(fd, "test", error);
    assert_int_equal(mb_source_skip(source, 1000), 2);
    assert_int_equal(mb_source_status(source), MB_SOURCE_END);
    mb_source_close(source);
    close(fd);
}

/* All lengths that a capture may be cut to: what is whole is read, the rest is complained about. */
static void a_file_that_ends_inside_a_record_gives_all_before_it(void **state) {
    (void)state;
    const struct capture_bytes whole = two_packets(NANOSECONDS, false);
    for (size_t length = 24; length < whole.length; length++) {
        struct capture_bytes cut = whole;
        cut.length = length;
        struct result result = read_all(&cut);
        const bool between = length == 24 || length == 24 + 16 + 60;
        assert_int_equal(result.count, length < 24 + 16 + 60 ? 0 : 1);
        assert_int_equal(mb_source_status(result.source),
                         between ? MB_SOURCE_END : MB_SOURCE_TRUNCATED);
        if (!between)
            assert_non_null(strstr(mb_source_complaint(result.source), "inside the record"));
        mb_source_close(result.source);
    }
}

static void a_record_length_that_makes_no_sense_ends_the_reading(void **state) {
    (void)state;
    struct capture_bytes capture = two_packets(MICROSECONDS, false);
    append_pcap_record(&capture, 1700000002, 0, 262145, 262145);
    append_zeros(&capture, 100);
    struct result result = read_all(&capture);
    assert_int_equal(result.count, 2);
    assert_int_equal(mb_source_status(result.source), MB_SOURCE_BROKEN);
    assert_non_null(strstr(mb_source_complaint(result.source), "byte 126 "));
    assert_non_null(strstr(mb_source_complaint(result.source), "262145"));
    assert_int_equal(mb_source_read(result.source, result.frames, 64), 0);
    mb_source_close(result.source);
}

static void frames_longer_than_the_snap_length_are_read(void **state) {
    (void)state;
    static const uint32_t snap_lengths[] = {0, 20, UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct capture_bytes capture = {0};
        append_pcap_header(&capture, MICROSECONDS, snap_lengths[i], RAW);
        append_pcap_record(&capture, 1, 0, 9000, 9000);
        append_pattern(&capture, 7, 9000);
        struct result result = read_all(&capture);
        assert_frame(&result, 0, SECOND, 9000, 9000, 7);
        mb_source_close(result.source);
    }
}

static void a_wire_length_below_the_captured_one_is_raised(void **state) {
    (void)state;
    struct capture_bytes capture = {0};
    append_pcap_header(&capture, MICROSECONDS, 100, ETHERNET);
    append_pcap_record(&capture, UINT32_MAX, UINT32_MAX, 20, 3);
    append_pattern(&capture, 7, 20);
    struct result result = read_all(&capture);
    assert_frame(&result, 0, UINT32_MAX * SECOND + UINT32_MAX * UINT64_C(1000), 20, 20, 7);
    mb_source_close(result.source);
}

static void link_type_is_read_beside_other_fields(void **state) {
    (void)state;
    static const uint32_t written[] = {12, 14, RAW, 0xf4000000 | RAW};
    for (size_t i = 0; i < 4; i++) {
        struct capture_bytes capture = {0};
        append_pcap_header(&capture, NANOSECONDS, 100, written[i]);
        struct result result = read_all(&capture);
        assert_int_equal(mb_source_link_type(result.source), RAW);
        assert_int_equal(result.count, 0);
        mb_source_close(result.source);
    }
}

static void pcap_of_an_old_version_is_read_through_libpcap(void **state) {
    (void)state;
    struct capture_bytes capture = {0};
    append32(&capture, MICROSECONDS);
    append16(&capture, 2);
    append16(&capture, 2); /* lengths stood the other way round then */
    append64(&capture, 0);
    append32(&capture, 65535);
    append32(&capture, ETHERNET);
    append_pcap_record(&capture, 1700000000, 5, 1500, 10);
    append_pattern(&capture, 9, 10);
    append_pcap_record(&capture, 1700000001, 5, 1500, 10);
    append_pattern(&capture, 9, 4);
    struct result result = read_all(&capture);
    assert_int_equal(result.count, 1);
    assert_frame(&result, 0, 1700000000 * SECOND + 5000, 10, 1500, 9);
    assert_int_equal(mb_source_status(result.source), MB_SOURCE_BROKEN);
    assert_non_null(strstr(mb_source_complaint(result.source), "libpcap"));
    mb_source_close(result.source);
}

/* --- pcapng --- */

static void pcapng_sections_in_both_byte_orders(void **state) {
    (void)state;
    struct capture_bytes capture = {0};
    for (int section = 0; section < 2; section++) {
        capture.swapped = section == 1;
        append_section(&capture);
        append_interface(&capture, section ? RAW : ETHERNET, 0);
        append_enhanced_packet(&capture, 0, 1700000000000000 + (uint64_t)section, 33, 60);
    }
    struct result result = read_all(&capture);
    assert_int_equal(result.count, 2);
    assert_frame(&result, 0, 1700000000 * SECOND, 33, 60, 0x40);
    assert_frame(&result, 1, 1700000000 * SECOND + 1000, 33, 60, 0x40);
    assert_int_equal(result.frames[0].link_type, ETHERNET);
    assert_int_equal(result.frames[1].link_type, RAW);
    assert_int_equal(mb_source_link_type(result.source), ETHERNET);
    assert_string_equal(mb_source_format(result.source), "pcapng");
    assert_int_equal(mb_source_status(result.source), MB_SOURCE_END);
    assert_int_equal(mb_source_bytes_read(result.source), capture.length);
    mb_source_close(result.source);
}

struct clock_case {
    uint8_t resolution;
    int64_t offset;
    uint64_t units;
    uint64_t expected;
};

static void pcapng_clocks_become_nanoseconds(void **state) {
    (void)state;
    const struct clock_case cases[] = {
        {0, 0, 1700000000, 1700000000 * SECOND},
        {3, 0, 1700000000123, 1700000000 * SECOND + 123000000},
        {6, 0, 1700000000123456, 1700000000 * SECOND + 123456000},
        {9, 0, 1700000000 * SECOND + 1, 1700000000 * SECOND + 1},
        {12, 0, 5000 * SECOND, 5 * SECOND},
        {28, 0, UINT64_MAX, 1},
        {29, 0, UINT64_MAX, 0},
        {127, 0, UINT64_MAX, 0},
        {0x80 | 0, 0, 17, 17 * SECOND},
        {0x80 | 1, 0, 3, SECOND + SECOND / 2},
        {0x80 | 32, 0, UINT64_C(3) << 31, SECOND + SECOND / 2},
        {0xff, 0, UINT64_MAX, 0},
        {6, 1700000000, 7, 1700000000 * SECOND + 7000},
        {6, -1, 1500000, SECOND / 2},
        {6, -2, 1500000, 0},
        {0, 0, UINT64_MAX, UINT64_MAX},
        {0, INT64_MAX, UINT64_MAX, UINT64_MAX},
        {0x80, INT64_MIN, UINT64_MAX, UINT64_MAX},
        {6, INT64_MIN, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct capture_bytes capture = {.swapped = i % 2};
        append_section(&capture);
        append_interface_with_clock(&capture, ETHERNET, cases[i].resolution, cases[i].offset);
        append_enhanced_packet(&capture, 0, cases[i].units, 1, 1);
        struct result result = read_all(&capture);
        assert_frame(&result, 0, cases[i].expected, 1, 1, 0x40);
        mb_source_close(result.source);
    }
}

static void pcapng_packets_of_all_kinds_and_unknown_blocks(void **state) {
    (void)state;
    struct capture_bytes capture = {0};
    append_section(&capture);
    append_interface(&capture, ETHERNET, 40);
    append_interface(&capture, RAW, 0);
    append_enhanced_packet(&capture, 1, 1000000, 21, 21);

    size_t block = begin_block(&capture, 0x80000bad);
    append_pattern(&capture, 0, 13);
    end_block(&capture, block);

    block = begin_block(&capture, 2); /* obsolete: interface, drops, time, lengths */
    append16(&capture, 1);
    append16(&capture, 0xffff);
    append32(&capture, 0);
    append32(&capture, 2000000);
    append32(&capture, 5);
    append32(&capture, 70);
    append_pattern(&capture, 0x50, 5);
    end_block(&capture, block);

    block = begin_block(&capture, 3); /* simple: cut by the interface's snap length */
    append32(&capture, 42);
    append_pattern(&capture, 0x60, 40);
    append_zeros(&capture, 4);
    end_block(&capture, block);

    block = begin_block(&capture, 3);
    append32(&capture, 6);
    append_pattern(&capture, 0x70, 6);
    end_block(&capture, block);

    struct result result = read_all(&capture);
    assert_int_equal(result.count, 4);
    assert_frame(&result, 0, SECOND, 21, 21, 0x40);
    assert_frame(&result, 1, 2 * SECOND, 5, 70, 0x50);
    assert_frame(&result, 2, 2 * SECOND, 40, 42, 0x60);
    assert_frame(&result, 3, 2 * SECOND, 6, 6, 0x70);
    assert_int_equal(result.frames[1].link_type, RAW);
    assert_int_equal(result.frames[2].link_type, ETHERNET);
    assert_int_equal(mb_source_status(result.source), MB_SOURCE_END);
    mb_source_close(result.source);
}

static void pcapng_cut_anywhere_gives_all_before(void **state) {
    (void)state;
    struct capture_bytes whole = {.swapped = true};
    append_section(&whole);
    append_interface(&whole, ETHERNET, 0);
    const size_t after_interface = whole.length;
    append_enhanced_packet(&whole, 0, 1, 30, 30);
    const size_t after_packet = whole.length;
    append_enhanced_packet(&whole, 0, 2, 30, 30);
    for (size_t length = 28; length < whole.length; length++) {
        struct capture_bytes cut = whole;
        cut.length = length;
        struct result result = read_all(&cut);
        const bool between = length == 28 || length == after_interface || length == after_packet;
        assert_int_equal(result.count, length < after_packet ? 0 : 1);
        assert_int_equal(mb_source_status(result.source),
                         between ? MB_SOURCE_END : MB_SOURCE_TRUNCATED);
        mb_source_close(result.source);
    }
}

/* Each breaks one field of an otherwise good capture: one packet before the broken block. */
struct damage {
    size_t offset; /* in the second packet's block */
    uint32_t value;
    const char *complaint;
};

static void pcapng_damage_is_named_and_ends_the_reading(void **state) {
    (void)state;
    static const struct damage cases[] = {
        {4, 11, "a length that makes no sense"},
        {4, UINT32_MAX, "a length that makes no sense"},
        {4, 60, "two lengths that differ"},
        {8, 1, "an interface that was not described"},
        {20, 262145, "more bytes than make sense"},
        {20, 33, "more bytes than it does"},
        {0, 1, NULL}, /* an interface: fine */
        {0, 0x0a0d0d0a, "without a byte-order magic"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct capture_bytes capture = {0};
        append_section(&capture);
        append_interface(&capture, ETHERNET, 0);
        append_enhanced_packet(&capture, 0, 1, 30, 30);
        const size_t damaged = capture.length;
        append_enhanced_packet(&capture, 0, 2, 30, 30);
        append_enhanced_packet(&capture, 0, 3, 30, 30);
        memcpy(capture.bytes + damaged + cases[i].offset, &cases[i].value, 4);
        struct result result = read_all(&capture);
        if (!cases[i].complaint) {
            assert_int_equal(mb_source_status(result.source), MB_SOURCE_END);
        } else {
            assert_int_equal(result.count, 1);
            assert_int_equal(mb_source_status(result.source), MB_SOURCE_BROKEN);
            assert_non_null(strstr(mb_source_complaint(result.source), cases[i].complaint));
        }
        mb_source_close(result.source);
    }
}

static void pcapng_blocks_too_short_for_their_kind_are_broken(void **state) {
    (void)state;
    static const uint32_t kinds[] = {1, 2, 3, 6};
    for (size_t i = 0; i < 4; i++) {
        struct capture_bytes capture = {0};
        append_section(&capture);
        append_interface(&capture, ETHERNET, 0);
        end_block(&capture, begin_block(&capture, kinds[i]));
        struct result result = read_all(&capture);
        assert_int_equal(result.count, 0);
        assert_int_equal(mb_source_status(result.source), MB_SOURCE_BROKEN);
        mb_source_close(result.source);
    }
}

static void pcapng_with_many_interfaces(void **state) {
    (void)state;
    struct capture_bytes capture = {0};
    append_section(&capture);
    for (uint16_t i = 0; i < 1000; i++)
        append_interface(&capture, i, 0);
    append_enhanced_packet(&capture, 999, 1, 1, 1);
    struct result result = read_all(&capture);
    assert_int_equal(result.frames[0].link_type, 999);
    mb_source_close(result.source);
}

/* --- what is no capture --- */

static void assert_refused(int fd, const char *expected) {
    char error[MB_ERROR_SIZE];
    assert_null(mb_source_open(fd, "web.pcap", error));
    if (!strstr(error, expected) || !strstr(error, "web.pcap"))
        fail_msg("\"%s\" does not say \"%s\"", error, expected);
    close(fd);
}

static void files_that_are_no_captures_are_named(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        const char *expected;
    } cases[] = {
        {"", 0, "an empty file"},
        {"\x1f\x8b\x08\0\0\0", 6, "gzip data: unpack it first"},
        {"\x28\xb5\x2f\xfd\x04", 5, "zstd data"},
        {"PK\x03\x04", 4, "zip archive"},
        {"snoop\0\0\0\0\0\0\2", 12, "snoop capture"},
        {"input: web.pcap\nchain: []\n", 26, "found text"},
        {"\x01\x02\x03\x04\x05", 5, "begins with the bytes 01 02 03 04"},
        {"\xd4\xc3\xb2\xa1\2\0\4\0", 8, "the pcap file header is cut short: 8 of 24 bytes"},
        {"\x0a\x0d\x0d\x0a\x1c\0\0", 7, "the file ends at byte 7"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct capture_bytes file = {0};
        append(&file, cases[i].bytes, cases[i].length);
        assert_refused(capture_file(&file), cases[i].expected);
    }
}

static void descriptors_that_are_no_files_are_named(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_refused(ends[0], "a pipe");
    close(ends[1]);
    assert_refused(open("/", O_RDONLY | O_DIRECTORY), "a directory");
    assert_refused(open("/dev/null", O_RDONLY), "a device");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pcap_variant_is_read_in_both_byte_orders),
        cmocka_unit_test(batches_continue_where_the_last_one_ended),
        cmocka_unit_test(frames_are_left_out),
        cmocka_unit_test(a_file_that_ends_inside_a_record_gives_all_before_it),
        cmocka_unit_test(a_record_length_that_makes_no_sense_ends_the_reading),
        cmocka_unit_test(frames_longer_than_the_snap_length_are_read),
        cmocka_unit_test(a_wire_length_below_the_captured_one_is_raised),
        cmocka_unit_test(link_type_is_read_beside_other_fields),
        cmocka_unit_test(pcap_of_an_old_version_is_read_through_libpcap),
        cmocka_unit_test(pcapng_sections_in_both_byte_orders),
        cmocka_unit_test(pcapng_clocks_become_nanoseconds),
        cmocka_unit_test(pcapng_packets_of_all_kinds_and_unknown_blocks),
        cmocka_unit_test(pcapng_cut_anywhere_gives_all_before),
        cmocka_unit_test(pcapng_damage_is_named_and_ends_the_reading),
        cmocka_unit_test(pcapng_blocks_too_short_for_their_kind_are_broken),
        cmocka_unit_test(pcapng_with_many_interfaces),
        cmocka_unit_test(files_that_are_no_captures_are_named),
        cmocka_unit_test(descriptors_that_are_no_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
