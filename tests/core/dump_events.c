/*
 * Prints every event that the stack publishes for a capture, a line each:
 *
 *     type packet flow direction reason [what the type adds]
 *
 * usage: dump_events CAPTURE [FLOWS_MAX [BATCH]]
 *
 * The program is the stack's only reader, in the same thread, so it needs no process and no wait:
 * it looks at the entries right after the call that published them. With BATCH packets are handed
 * over so many at a time.
 */
#include "microbox/bus/frame_pool.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/counters.h"
#include "microbox/stack/fragments/assembled_frames.h"
#include "microbox/stack/stack.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LOG_SLOTS = 1 << 19, /* more than one call can publish */
    DATAGRAMS = 256,
};

struct dump {
    struct mb_log log;
    struct mb_stack *stack;
    const uint8_t *pool;
    uint64_t seen; /* entries printed so far */
};

static void print_address(const uint8_t address[16]) {
    char text[INET6_ADDRSTRLEN];
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(address, mapped, sizeof mapped) == 0)
        inet_ntop(AF_INET, address + 12, text, sizeof text);
    else
        inet_ntop(AF_INET6, address, text, sizeof text);
    printf(" %s", text);
}

static void print_tuple(const struct mb_five_tuple *tuple) {
    print_address(tuple->source);
    printf(" %u", tuple->source_port);
    print_address(tuple->destination);
    printf(" %u %u", tuple->destination_port, tuple->protocol);
}

static void print_bytes(const uint8_t *bytes, uint32_t length) {
    static const char digits[] = "0123456789abcdef";
    putchar(' ');
    for (uint32_t i = 0; i < length; i++) {
        putchar(digits[bytes[i] >> 4]);
        putchar(digits[bytes[i] & 15]);
    }
}

static void print_snapshot(const struct mb_snapshot *snapshot) {
    for (unsigned direction = 0; direction < 2; direction++) {
        const struct mb_side *side = &snapshot->side[direction];
        printf(" %u/%u/%" PRIu64 "/%u/%u/%u/%u/%u", side->state, side->packets, side->bytes,
               side->next, side->acknowledged, side->window, side->round_trip,
               side->retransmissions);
    }
}

static void print_entry(const struct dump *dump, const struct mb_entry *entry) {
    printf("%s %" PRIu64 " %" PRIu64 " %d %s", mb_event_type_name(entry->type), entry->packet,
           entry->flow, (entry->flags & MB_FROM_RESPONDER) != 0, mb_reason_name(entry->reason));
    switch (entry->type) {
    case MB_TYPE_TCP_DATA:
        printf(" %" PRIu64, entry->payload.tcp_data.offset);
        print_bytes(dump->pool + entry->frame + entry->data_offset, entry->data_length);
        break;
    case MB_TYPE_TCP_GAP:
        printf(" %" PRIu64 " %" PRIu64, entry->payload.tcp_gap.offset,
               entry->payload.tcp_gap.length);
        break;
    case MB_TYPE_TCP_STATE:
        printf(" %u %u", entry->payload.tcp_state_change.before,
               entry->payload.tcp_state_change.after);
        break;
    case MB_TYPE_SYSTEM_END_OF_INPUT:
        printf(" %" PRIu64 " %" PRIu64, entry->payload.end_of_input.packets,
               entry->payload.end_of_input.bytes);
        break;
    case MB_TYPE_TCP_START:
    case MB_TYPE_TCP_END:
        print_tuple(&entry->payload.flow.tuple);
        print_snapshot(&entry->snapshot);
        break;
    case MB_TYPE_UDP_START:
    case MB_TYPE_ICMP_START:
    case MB_TYPE_FLOW_START:
        print_tuple(&entry->payload.flow.tuple);
        break;
    default:
        break;
    }
    if (entry->flags & MB_LAST)
        printf(" .");
    putchar('\n');
}

static void print_new_entries(struct dump *dump) {
    for (; dump->seen < dump->log.next; dump->seen++)
        print_entry(dump, &dump->log.slots[dump->seen & dump->log.slot_mask]);
    mb_log_commit(&dump->log);
}

static void replay(struct dump *dump, struct mb_source *source, size_t batch) {
    struct mb_frame frames[MB_BATCH];
    struct mb_handled handled[MB_BATCH];
    size_t count;
    while ((count = mb_source_read(source, frames, batch)) != 0) {
        for (size_t done = 0; done < count;) {
            done += mb_stack_handle(dump->stack, dump->pool, frames + done, count - done, handled);
            print_new_entries(dump);
        }
    }
    bool is_finished;
    do {
        is_finished = mb_stack_finish(dump->stack, MB_REASON_END_SHUTDOWN);
        print_new_entries(dump);
    } while (!is_finished);
}

static int fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    return 2;
}

int main(int argc, char **argv) {
    if (argc < 2)
        return fail("usage", "dump_events CAPTURE [FLOWS_MAX [BATCH]]");
    char error[MB_ERROR_SIZE];
    int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    struct mb_source *source = mb_source_open(fd, argv[1], error);
    if (source == NULL)
        return fail(argv[1], error);
    struct mb_area assembled;
    struct mb_frame_pool pool;
    if (mb_area_create(&assembled, "datagrams", mb_assembled_size(DATAGRAMS)) != 0 ||
        mb_frame_pool_map(&pool,
                          (struct mb_pool_part){.fd = mb_source_pool_fd(source),
                                                .size = mb_source_pool_size(source)},
                          (struct mb_pool_part){.fd = assembled.fd, .size = assembled.size},
                          (struct mb_pool_part){.size = 0}) != 0)
        return fail("frames", "cannot be mapped");
    struct dump dump = {.pool = pool.bytes};
    if (mb_log_create(&dump.log, LOG_SLOTS) != 0)
        return fail("log", "cannot be made");
    struct mb_subscription everything = {0};
    memset(everything.types, 0xff, sizeof everything.types);
    struct mb_stack_config config = {
        .flows_max = argc > 2 ? (uint32_t)atoi(argv[2]) : 0,
        .assembled_datagrams_max = DATAGRAMS,
        .assembled_bytes = assembled.base,
        .assembled_offset = pool.assembled,
        .link_type = mb_source_link_type(source),
    };
    dump.stack = mb_stack_create(&config, &dump.log, &everything, 1, NULL, 0, error);
    if (dump.stack == NULL)
        return fail("stack", error);
    size_t batch = argc > 3 ? (size_t)atoi(argv[3]) : MB_BATCH;
    replay(&dump, source, batch < 1 || batch > MB_BATCH ? MB_BATCH : batch);
    mb_stack_destroy(dump.stack);
    mb_log_destroy(&dump.log);
    mb_frame_pool_unmap(&pool);
    mb_area_destroy(&assembled);
    mb_source_close(source);
    close(fd);
    return 0;
}
