/*
 * Publishes made-up events for a consumer in another process, whatever it is written in:
 *
 *     publish_events SOCKET EVENTS SLOTS OWN_SLOTS RING_BYTES IS_INLINE PAUSE
 *
 * SOCKET is the inherited descriptor of a Unix socket. The consumer sends one byte with its sealed
 * area (shape: SLOTS, OWN_SLOTS, RING_BYTES, IS_INLINE); it gets one byte with the log, maps that,
 * and sends a byte when it is ready. It is NF 0 and has bit 0. After EVENTS times flow.tcp.data
 * comes system.end_of_input; when that is passed, this prints the seconds from the first commit to
 * then, and exits. Where PAUSE is not 0, so many nanoseconds lie between events, each of which is
 * committed by itself and bears the monotonic clock's time.
 */
#include "bus_events.h"
#include "measure.h"

#include "microbox/bus/reader.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static int receive_fd(int socket) {
    char byte;
    struct iovec text = {&byte, 1};
    union control control;
    struct msghdr message = {.msg_iov = &text,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    must(recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 1, "receiving the area");
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    must(header != NULL && header->cmsg_type == SCM_RIGHTS, "receiving the area's descriptor");
    int fd;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

static void send_fd(int socket, int fd) {
    char byte = 0;
    struct iovec text = {&byte, 1};
    union control control = {.header = {.cmsg_len = CMSG_LEN(sizeof fd),
                                        .cmsg_level = SOL_SOCKET,
                                        .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    const struct msghdr message = {.msg_iov = &text,
                                   .msg_iovlen = 1,
                                   .msg_control = &control,
                                   .msg_controllen = sizeof control};
    must(sendmsg(socket, &message, 0) == 1, "sending the log");
}

static uint64_t number(const char *text) {
    return strtoull(text, NULL, 10);
}

/* One at a time, for who measures how long they take. */
static void publish_slowly(struct mb_log *log, uint64_t count, const uint64_t mask[2],
                           uint64_t pause) {
    const struct timespec time = {.tv_nsec = (long)pause};
    for (uint64_t i = 0; i < count; i++) {
        nanosleep(&time, NULL);
        bus_wait_for_room(log, 1);
        struct mb_entry *entry = mb_log_claim(log, mask);
        bus_fill(entry, i);
        entry->time = mb_monotonic_time();
        mb_log_commit(log);
    }
}

int main(int count, char **arguments) {
    must(count == 8, "usage: as the file says");
    int socket = (int)number(arguments[1]);
    uint64_t events = number(arguments[2]);
    const uint64_t pause = number(arguments[7]);
    struct mb_nf_geometry shape = {.log_slots = number(arguments[3]),
                                   .own_slots = number(arguments[4]),
                                   .ring_bytes = number(arguments[5]),
                                   .is_inline = number(arguments[6]) != 0};
    struct mb_log log;
    struct mb_area area;
    must(mb_log_create(&log, shape.log_slots) == 0, "mb_log_create");
    must(mb_area_map(&area, receive_fd(socket), mb_nf_area_size(&shape)) == 0, "mb_area_map");
    struct mb_nf_area parts = mb_nf_area_parts(area.base, &shape);
    struct mb_consumer consumer = {.page = parts.page, .verdicts = parts.verdicts, .mask = {1, 0}};
    must(mb_log_attach(&log, 0, &consumer) == 0, "mb_log_attach");
    send_fd(socket, log.area.fd);
    char ready;
    must(read(socket, &ready, 1) == 1, "the consumer");

    double start = seconds();
    if (pause != 0)
        publish_slowly(&log, events, consumer.mask, pause);
    bus_publish(&log, pause != 0 ? 0 : events, consumer.mask);
    while (!mb_log_drained(&log))
        mb_log_wait_for_room(&log, BUS_WAIT);
    printf("%.6f\n", seconds() - start);
    mb_area_destroy(&area);
    mb_log_destroy(&log);
    return 0;
}
