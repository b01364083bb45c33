/*
 * Any bytes as frames. The input: settings, a byte for the link type, then frames, each of two
 * bytes of length, a byte of time (tens of seconds since the last one), and its bytes.
 */
#include "fuzz/checked_stack.h"
#include "fuzz/link_types.h"

enum { FRAMES_MAX = 512, SETTINGS = sizeof(struct stack_settings), HEADER = 3 };

static const uint64_t TEN_SECONDS = UINT64_C(10000000000);

static size_t cut_into_frames(const uint8_t *data, size_t size, uint32_t link_type,
                              struct mb_frame *frames) {
    size_t count = 0;
    uint64_t time = 0;
    for (size_t at = SETTINGS + 1; at + HEADER <= size && count < FRAMES_MAX;) {
        size_t wanted = (size_t)data[at] << 8 | data[at + 1];
        size_t rest = size - at - HEADER;
        size_t length = wanted < rest ? wanted : rest;
        time += data[at + 2] * TEN_SECONDS;
        frames[count++] = (struct mb_frame){.offset = at + HEADER,
                                            .time = time,
                                            .length = (uint32_t)length,
                                            .wire_length = (uint32_t)wanted,
                                            .link_type = link_type};
        at += HEADER + length;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct mb_frame frames[FRAMES_MAX];
    struct checked_stack checked;

    struct stack_settings settings;

    if (size <= sizeof settings)
        return 0;
    memcpy(&settings, data, sizeof settings);
    uint32_t link_type = chosen_link_type(data[sizeof settings]);
    size_t count = cut_into_frames(data, size, link_type, frames);
    checked_stack_create(&checked, data, size, link_type, &settings);
    checked_stack_handle(&checked, frames, count);
    checked_stack_destroy(&checked);
    return 0;
}
