/*
 * Publishes made-up events to one NF of another process: the other side of nf_throughput.py.
 *
 *     bus_publisher AREA SOCKET EVENTS SLOTS
 *
 * AREA: descriptor of the NF's area, which publishes nothing and judges nothing. Sends the log's
 * descriptor over SOCKET, waits there for a byte, publishes, and prints the seconds that it took
 * until the NF had read all.
 */
#include "bus_events.h"
#include "measure.h"

#include "microbox/bus/reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void send_descriptor(int connected, int descriptor) {
    char byte = 0;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), &descriptor, sizeof descriptor);
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    must(sendmsg(connected, &message, 0) == 1, "sendmsg");
}

int main(int count, char **arguments) {
    must(count == 5, "four arguments");
    const int area_fd = atoi(arguments[1]);
    const int connected = atoi(arguments[2]);
    const uint64_t events = strtoull(arguments[3], NULL, 10);
    const uint64_t slots = strtoull(arguments[4], NULL, 10);

    static struct mb_log log;
    must(mb_log_create(&log, slots) == 0, "log");
    const struct mb_nf_geometry geometry = {.log_slots = slots};
    struct mb_area area;
    must(mb_area_map(&area, area_fd, mb_nf_area_size(&geometry)) == 0, "area");
    const struct mb_consumer consumer = {.page = area.base, .mask = {1, 0}};
    must(mb_log_attach(&log, 0, &consumer) == 0, "attach");
    send_descriptor(connected, log.area.fd);

    char go;
    must(read(connected, &go, 1) == 1, "read");
    const double start = seconds();
    bus_publish(&log, events, (uint64_t[]){1, 0});
    while (!mb_log_drained(&log))
        mb_log_wait_for_room(&log, BUS_WAIT);
    printf("%.9f\n", seconds() - start);
    return 0;
}
