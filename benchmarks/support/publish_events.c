/*
 * Publishes made-up events for a consumer in another process, whatever it is written in:
 *
 *     publish_events SOCKET EVENTS SLOTS OWN_SLOTS RING_BYTES IS_INLINE
 *
 * SOCKET is the inherited descriptor of a Unix socket. The consumer sends one byte with its sealed
 * area (shape: SLOTS, OWN_SLOTS, RING_BYTES, IS_INLINE); it gets one byte with the log, maps that,
 * and sends a byte when it is ready. It is NF 0 and has bit 0. After EVENTS times flow.tcp.data
 * comes system.end_of_input; when that is passed, this prints the seconds from the first commit to
 * then, and exits.
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

int main(int count, char **arguments) {
    must(count == 7, "usage: publish_events SOCKET EVENTS SLOTS OWN_SLOTS RING_BYTES IS_INLINE");
    int socket = (int)number(arguments[1]);
    uint64_t events = number(arguments[2]);
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
    bus_publish(&log, events, consumer.mask);
    while (!mb_log_drained(&log))
        mb_log_wait_for_room(&log, BUS_WAIT);
    printf("%.6f\n", seconds() - start);
    mb_area_destroy(&area);
    mb_log_destroy(&log);
    return 0;
}
