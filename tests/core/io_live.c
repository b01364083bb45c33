/* Reading captures that come through a pipe, into a window whose memory is used again. */
#include "microbox/io/source.h"
#include "microbox/io/window.h"

#include "capture_bytes.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

enum { MICROSECONDS = 0xa1b2c3d4, NANOSECONDS = 0xa1b23c4d, MODIFIED = 0xa1b2cd34, ETHERNET = 1 };
enum { PCAP_HEADER = 24, FRAMES_MAX = 4096, LARGE = 1 << 20, SMALL = 8192, FRAME_MAX = 1500 };

struct stream {
    struct mb_source *source;
    int writer;
    const struct capture_bytes *capture;
    size_t sent;
    struct mb_frame frames[FRAMES_MAX];
    size_t count;
};

/* The first `head` bytes were read before. */
static struct stream *open_stream(const struct capture_bytes *capture, size_t head,
                                  uint64_t window) {
    struct stream *stream = calloc(1, sizeof *stream);
    struct capture_bytes beginning = {.length = head};
    char error[MB_ERROR_SIZE];
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    memcpy(beginning.bytes, capture->bytes, head);
    const int fd = capture_file(&beginning);
    stream->source = mb_source_open_live(ends[0], fd, window, "test", error);
    if (!stream->source)
        fail_msg("%s", error);
    close(fd);
    close(ends[0]);
    stream->writer = ends[1];
    stream->capture = capture;
    stream->sent = head;
    return stream;
}

static void send_up_to(struct stream *stream, size_t end) {
    const size_t length = end - stream->sent;
    assert_int_equal(write(stream->writer, stream->capture->bytes + stream->sent, length), length);
    stream->sent = end;
}

static void end_stream(struct stream *stream) {
    close(stream->writer);
    stream->writer = -1;
}

/* What there is. */
static void read_on(struct stream *stream) {
    stream->count +=
        mb_source_read(stream->source, stream->frames + stream->count, FRAMES_MAX - stream->count);
}

static void close_stream(struct stream *stream) {
    if (stream->writer >= 0)
        close(stream->writer);
    mb_source_close(stream->source);
    free(stream);
}

/* --- captures --- */

static struct capture_bytes packets(uint32_t magic, bool swapped) {
    struct capture_bytes capture = {.swapped = swapped};
    append_pcap_header(&capture, magic, 65535, ETHERNET);
    for (uint8_t i = 0; i < 3; i++) {
        const uint32_t length = 20 - 10 * i; /* the last: 0 */
        append_pcap_record(&capture, 1700000000 + i, 5, length, 60);
        append_zeros(&capture, magic == MODIFIED ? 8 : 0);
        append_pattern(&capture, i, length);
    }
    return capture;
}

static struct capture_bytes blocks(void) {
    struct capture_bytes capture = {0};
    append_section(&capture);
    append_interface_with_clock(&capture, ETHERNET, 9, 3600);
    append_enhanced_packet(&capture, 0, 5, 20, 60);
    append_interface(&capture, ETHERNET, 0);
    append_enhanced_packet(&capture, 1, 7, 9, 60);
    append_section(&capture);
    append_interface(&capture, ETHERNET, 0);
    append_enhanced_packet(&capture, 0, 9, 4, 4);
    return capture;
}

enum { VARIANTS = 7 };

static struct capture_bytes variant(unsigned index) {
    static const uint32_t magics[] = {MICROSECONDS, NANOSECONDS, MODIFIED};
    return index < 6 ? packets(magics[index / 2], index % 2) : blocks();
}

/* The fewest bytes that say what it is. */
static size_t head_of(const struct capture_bytes *capture) {
    size_t size = 0;
    while (size < capture->length &&
           mb_source_judge_head(capture->bytes, size) == MB_HEAD_TOO_SHORT)
        size++;
    assert_int_equal(mb_source_judge_head(capture->bytes, size), MB_HEAD_WHOLE);
    return size;
}

static void assert_same_frames(const struct stream *stream, struct mb_source *file) {
    struct mb_frame frames[FRAMES_MAX];
    const size_t count = mb_source_read(file, frames, FRAMES_MAX);
    assert_int_equal(stream->count, count);
    for (size_t i = 0; i < count; i++) {
        const struct mb_frame *one = &stream->frames[i];
        assert_int_equal(one->time, frames[i].time);
        assert_int_equal(one->length, frames[i].length);
        assert_int_equal(one->wire_length, frames[i].wire_length);
        assert_int_equal(one->link_type, frames[i].link_type);
        assert_memory_equal(mb_source_pool(stream->source) + one->offset,
                            mb_source_pool(file) + frames[i].offset, one->length);
    }
    assert_int_equal(mb_source_status(stream->source), mb_source_status(file));
    assert_string_equal(mb_source_complaint(stream->source), mb_source_complaint(file));
    assert_int_equal(mb_source_bytes_read(stream->source), mb_source_bytes_read(file));
    assert_string_equal(mb_source_format(stream->source), mb_source_format(file));
    assert_int_equal(mb_source_link_type(stream->source), mb_source_link_type(file));
}

static struct mb_source *open_file(const struct capture_bytes *capture) {
    char error[MB_ERROR_SIZE];
    const int fd = capture_file(capture);
    struct mb_source *source = mb_source_open(fd, "test", error);
    if (!source)
        fail_msg("%s", error);
    close(fd);
    return source;
}

/* --- what comes --- */

static void a_stream_is_its_file_wherever_it_is_cut_into_pieces(void **state) {
    (void)state;
    for (unsigned index = 0; index < VARIANTS; index++) {
        const struct capture_bytes capture = variant(index);
        const size_t head = head_of(&capture);
        for (size_t cut = head; cut <= capture.length; cut++) {
            struct stream *stream = open_stream(&capture, head, LARGE);
            send_up_to(stream, cut);
            read_on(stream);
            assert_int_equal(mb_source_status(stream->source), MB_SOURCE_OPEN);
            send_up_to(stream, capture.length);
            end_stream(stream);
            read_on(stream);
            struct mb_source *file = open_file(&capture);
            assert_same_frames(stream, file);
            mb_source_close(file);
            close_stream(stream);
        }
    }
}

static void whatever_was_read_of_it_first(void **state) {
    (void)state;
    for (unsigned index = 0; index < VARIANTS; index++) {
        const struct capture_bytes capture = variant(index);
        for (size_t head = head_of(&capture); head <= capture.length; head++) {
            struct stream *stream = open_stream(&capture, head, LARGE);
            send_up_to(stream, capture.length);
            end_stream(stream);
            read_on(stream);
            struct mb_source *file = open_file(&capture);
            assert_same_frames(stream, file);
            mb_source_close(file);
            close_stream(stream);
        }
    }
}

static void a_packet_is_there_with_its_last_byte(void **state) {
    (void)state;
    const struct capture_bytes capture = packets(MICROSECONDS, false);
    static const size_t ends[] = {PCAP_HEADER + 36, PCAP_HEADER + 62, PCAP_HEADER + 78};
    struct stream *stream = open_stream(&capture, PCAP_HEADER, LARGE);
    size_t expected = 0;
    while (stream->sent < capture.length) {
        send_up_to(stream, stream->sent + 1);
        read_on(stream);
        expected += stream->sent == ends[expected];
        assert_int_equal(stream->count, expected);
    }
    assert_int_equal(expected, 3);
    close_stream(stream);
}

static void a_stream_that_ends_inside_a_record_is_what_its_file_is(void **state) {
    (void)state;
    for (unsigned index = 0; index < VARIANTS; index++) {
        const struct capture_bytes whole = variant(index);
        const size_t head = head_of(&whole);
        for (size_t length = head; length < whole.length; length++) {
            struct capture_bytes capture = whole;
            capture.length = length;
            struct stream *stream = open_stream(&capture, head, LARGE);
            send_up_to(stream, length);
            end_stream(stream);
            read_on(stream);
            struct mb_source *file = open_file(&capture);
            assert_same_frames(stream, file);
            mb_source_close(file);
            close_stream(stream);
        }
    }
}

static void a_record_that_makes_no_sense_ends_a_stream(void **state) {
    (void)state;
    struct capture_bytes capture = packets(MICROSECONDS, false);
    append_pcap_record(&capture, 1, 0, 1 << 30, 60);
    struct stream *stream = open_stream(&capture, PCAP_HEADER, LARGE);
    send_up_to(stream, capture.length);
    read_on(stream);
    struct mb_source *file = open_file(&capture);
    assert_same_frames(stream, file);
    assert_int_equal(mb_source_status(stream->source), MB_SOURCE_BROKEN);
    mb_source_close(file);
    close_stream(stream);
}

static void what_is_no_capture_is_known_by_its_first_bytes(void **state) {
    (void)state;
    const uint8_t text[32] = "GET / HTTP/1.1";
    const uint8_t gzip[32] = {0x1f, 0x8b, 8};
    assert_int_equal(mb_source_judge_head(text, 0), MB_HEAD_TOO_SHORT);
    assert_int_equal(mb_source_judge_head(text, 3), MB_HEAD_TOO_SHORT);
    assert_int_equal(mb_source_judge_head(text, 4), MB_HEAD_UNKNOWN);
    assert_int_equal(mb_source_judge_head(gzip, sizeof gzip), MB_HEAD_UNKNOWN);
}

/* --- the window --- */

/* Records of all kinds of lengths, frame i beginning with i; a power of two less one bytes at most,
 * so that some end where the window does. */
static struct capture_bytes *many_packets(unsigned count) {
    struct capture_bytes *capture = calloc(1, sizeof *capture);
    uint32_t random = 1;
    append_pcap_header(capture, NANOSECONDS, 65535, ETHERNET);
    for (unsigned i = 0; i < count; i++) {
        random = random * 1664525 + 1013904223;
        const uint32_t length = (random >> 16) % (i % 8 == 0 ? FRAME_MAX : 120);
        append_pcap_record(capture, i, 0, length, length);
        append_pattern(capture, (uint8_t)i, length);
    }
    return capture;
}

static void assert_pattern(const struct mb_source *source, const struct mb_frame *frame) {
    const uint8_t *bytes = mb_source_pool(source) + frame->offset;
    const uint64_t number = frame->time / 1000000000;
    assert_true(frame->offset + frame->length <= mb_source_pool_size(source));
    for (uint32_t i = 0; i < frame->length; i++)
        assert_int_equal(bytes[i], (uint8_t)(number + i));
}

/* Sends as much as the pipe is sure to take. */
static void send_some(struct stream *stream) {
    enum { PIPE_SURELY = 4096 };
    const size_t left = stream->capture->length - stream->sent;
    send_up_to(stream, stream->sent + (left < PIPE_SURELY ? left : PIPE_SURELY));
}

static void a_stream_is_longer_than_its_window(void **state) {
    (void)state;
    enum { COUNT = 1000 };
    struct capture_bytes *capture = many_packets(COUNT);
    assert_true(capture->length > 15 * SMALL);
    struct stream *stream = open_stream(capture, PCAP_HEADER, SMALL);
    while (mb_source_status(stream->source) == MB_SOURCE_OPEN) {
        struct mb_ranges none = {0};
        const size_t before = stream->count;
        if (stream->sent == capture->length && stream->writer >= 0)
            end_stream(stream);
        if (stream->sent < capture->length && !mb_source_wait(stream->source, 0))
            send_some(stream);
        read_on(stream);
        for (size_t i = before; i < stream->count; i++) {
            assert_int_equal(stream->frames[i].time, i * 1000000000);
            assert_pattern(stream->source, &stream->frames[i]);
        }
        mb_source_give_back(stream->source, mb_source_unhandled(stream->source, NULL), &none);
    }
    assert_int_equal(mb_source_status(stream->source), MB_SOURCE_END);
    assert_int_equal(stream->count, COUNT);
    assert_int_equal(mb_source_bytes_read(stream->source), capture->length);
    close_stream(stream);
    free(capture);
}

static void what_is_not_given_back_is_not_written_over(void **state) {
    (void)state;
    struct capture_bytes *capture = many_packets(1000);
    struct stream *stream = open_stream(capture, PCAP_HEADER, SMALL);
    while (!mb_source_is_full(stream->source)) {
        send_some(stream);
        read_on(stream);
    }
    const size_t first = stream->count;
    assert_true(first > 10 && first < 1000);
    read_on(stream);
    assert_int_equal(stream->count, first);
    for (size_t i = 0; i < first; i++)
        assert_pattern(stream->source, &stream->frames[i]);
    struct mb_ranges none = {0};
    const uint64_t half = mb_source_unhandled(stream->source, &stream->frames[first / 2]);
    mb_source_give_back(stream->source, half, &none);
    send_some(stream);
    read_on(stream);
    assert_true(stream->count > first);
    for (size_t i = first / 2; i < stream->count; i++)
        assert_pattern(stream->source, &stream->frames[i]);
    close_stream(stream);
    free(capture);
}

/* Some frames are read long after those around them. The capture's records come again and again. */
static void what_is_kept_is_not_written_over_either(void **state) {
    (void)state;
    enum { KEPT = 4, LAPS = 30 };
    struct capture_bytes *capture = many_packets(1000);
    struct stream *stream = open_stream(capture, PCAP_HEADER, LARGE);
    struct mb_frame kept[KEPT];
    uint32_t kept_count = 0;
    for (unsigned lap = 0; lap < LAPS;) {
        struct mb_ranges ranges = {0};
        if (!mb_source_wait(stream->source, 0))
            send_some(stream);
        stream->count = 0;
        read_on(stream);
        assert_false(mb_source_is_full(stream->source));
        if (stream->count > 0)
            kept[kept_count++ % KEPT] = stream->frames[stream->sent % stream->count];
        for (size_t i = 0; i < KEPT && i < kept_count; i++) {
            assert_pattern(stream->source, &kept[i]);
            mb_ranges_add(&ranges, kept[i].offset, kept[i].length);
        }
        mb_source_give_back(stream->source, mb_source_unhandled(stream->source, NULL), &ranges);
        assert_int_equal(ranges.count, 0);
        if (stream->sent == capture->length) {
            stream->sent = PCAP_HEADER;
            lap++;
        }
    }
    assert_true(mb_source_bytes_read(stream->source) > 4 * LARGE);
    close_stream(stream);
    free(capture);
}

static void a_record_that_no_window_has_room_for_is_said(void **state) {
    (void)state;
    struct capture_bytes capture = packets(MICROSECONDS, false);
    append_pcap_record(&capture, 1, 0, SMALL, SMALL);
    append_zeros(&capture, SMALL);
    struct stream *stream = open_stream(&capture, PCAP_HEADER, SMALL);
    send_up_to(stream, capture.length);
    read_on(stream);
    assert_int_equal(stream->count, 3);
    assert_int_equal(mb_source_status(stream->source), MB_SOURCE_BROKEN);
    assert_string_equal(mb_source_complaint(stream->source),
                        "the record at byte 102 is 8208 bytes long; 2048 have room in the window: "
                        "make input_window in the chain file four times as large as the longest "
                        "record");
    close_stream(stream);
}

static void runs_lie_between_what_is_kept(void **state) {
    (void)state;
    enum { SIZE = 1 << 20, KEPT = 200000 };
    struct mb_frame_window window;
    struct mb_run run;
    struct mb_ranges kept = {0};
    assert_int_equal(mb_window_create(&window, SIZE), 0);
    assert_true(mb_window_find_run(&window, 0, 1, &run));
    assert_int_equal(run.position, 0);
    assert_int_equal(run.length, SIZE - 1);
    mb_ranges_add(&kept, KEPT, 100);
    mb_window_give_back(&window, SIZE - 8, &kept);
    assert_int_equal(mb_window_kept(&window), 104); /* whole words */
    assert_true(mb_window_find_run(&window, SIZE, 1, &run));
    assert_int_equal(run.position, SIZE);
    assert_int_equal(run.length, KEPT);
    assert_true(mb_window_find_run(&window, SIZE, KEPT + 1, &run));
    assert_int_equal(run.position, SIZE + KEPT + 104);
    assert_int_equal(run.length, SIZE - KEPT - 104 - 9); /* up to the front, less one */
    assert_false(mb_window_find_run(&window, SIZE, SIZE - KEPT, &run));
    mb_window_destroy(&window);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_its_file_wherever_it_is_cut_into_pieces),
        cmocka_unit_test(whatever_was_read_of_it_first),
        cmocka_unit_test(a_packet_is_there_with_its_last_byte),
        cmocka_unit_test(a_stream_that_ends_inside_a_record_is_what_its_file_is),
        cmocka_unit_test(a_record_that_makes_no_sense_ends_a_stream),
        cmocka_unit_test(what_is_no_capture_is_known_by_its_first_bytes),
        cmocka_unit_test(a_stream_is_longer_than_its_window),
        cmocka_unit_test(what_is_not_given_back_is_not_written_over),
        cmocka_unit_test(what_is_kept_is_not_written_over_either),
        cmocka_unit_test(a_record_that_no_window_has_room_for_is_said),
        cmocka_unit_test(runs_lie_between_what_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
