#include "microbox/c_nf/record_log.h"

#include "microbox/bus/moment.h"
#include "microbox/c_nf/json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FLUSH_SIZE = 1 << 18, BUFFER_SIZE = FLUSH_SIZE + MB_NF_RECORD_MAX, TEXT_SIZE = 192 };

static const uint64_t NANOSECONDS = 1000000000;

/* What every line has already. */
static const char *const header_names[] = {"timestamp", "flow_id",   "src_ip", "src_port",
                                           "dest_ip",   "dest_port", "proto"};

int mb_record_log_open(struct mb_record_log *log, const char *path, int fd, bool utc) {
    *log = (struct mb_record_log){.path = path, .utc = utc, .fd = fd};
    log->buffer = malloc(BUFFER_SIZE);
    return log->buffer != NULL ? 0 : -ENOMEM;
}

/* --- a line --- */

static const char *protocol_name(uint8_t protocol, char number[8]) {
    static const char *const names[] = {
        [1] = "ICMP", [2] = "IGMP", [4] = "IPv4",    [6] = "TCP",   [17] = "UDP",  [41] = "IPv6",
        [47] = "GRE", [50] = "ESP", [58] = "ICMPv6", [89] = "OSPF", [132] = "SCTP"};
    if (protocol < sizeof names / sizeof *names && names[protocol] != NULL)
        return names[protocol];
    snprintf(number, 8, "%u", protocol);
    return number;
}

static void address_text(const uint8_t address[16], char text[INET6_ADDRSTRLEN]) {
    static const uint8_t ipv4_mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(address, ipv4_mapped, sizeof ipv4_mapped) == 0)
        inet_ntop(AF_INET, address + sizeof ipv4_mapped, text, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, address, text, INET6_ADDRSTRLEN);
}

static void append_time(struct mb_json *line, uint64_t time, bool utc) {
    char text[TEXT_SIZE];
    const time_t seconds = (time_t)(time / NANOSECONDS);
    const uint64_t nanoseconds = time % NANOSECONDS;
    if (!utc) {
        snprintf(text, sizeof text, "{\"timestamp\": %" PRIu64 ".%09" PRIu64, (uint64_t)seconds,
                 nanoseconds);
        mb_json_raw(line, text);
        return;
    }
    struct tm parts;
    char second[32] = "";
    if (gmtime_r(&seconds, &parts) != NULL)
        strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text, sizeof text, "{\"timestamp\": \"%s.%09" PRIu64 "Z\"", second, nanoseconds);
    mb_json_raw(line, text);
}

/* A packet of a flow's responder is turned round: the line says who opened the flow. */
static void append_flow(struct mb_json *line, const struct mb_entry *entry,
                        enum mb_tuple_kind kind) {
    char text[TEXT_SIZE];
    if (entry->flow != 0) {
        snprintf(text, sizeof text, ", \"flow_id\": %" PRIu64, entry->flow);
        mb_json_raw(line, text);
    }
    const struct mb_five_tuple tuple = entry->payload.flow.tuple;
    if (tuple.ip_version == 0)
        return;
    const bool is_turned =
        kind == MB_TUPLE_OF_PACKET && entry->flow != 0 && (entry->flags & MB_FROM_RESPONDER) != 0;
    char source[INET6_ADDRSTRLEN];
    char destination[INET6_ADDRSTRLEN];
    char number[8];
    address_text(is_turned ? tuple.destination : tuple.source, source);
    address_text(is_turned ? tuple.source : tuple.destination, destination);
    snprintf(text, sizeof text,
             ", \"src_ip\": \"%s\", \"src_port\": %u, \"dest_ip\": \"%s\", \"dest_port\": %u, "
             "\"proto\": \"%s\"",
             source, is_turned ? tuple.destination_port : tuple.source_port, destination,
             is_turned ? tuple.source_port : tuple.destination_port,
             protocol_name(tuple.protocol, number));
    mb_json_raw(line, text);
}

static bool is_taken(const struct mb_field *fields, size_t count) {
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < sizeof header_names / sizeof *header_names; k++)
            if (fields[i].name != NULL && strcmp(fields[i].name, header_names[k]) == 0)
                return true;
    return false;
}

/* --- places --- */

static void append_place(struct mb_json *line, const struct mb_record_place *place) {
    char text[66];
    snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 " ",
             place->packet, place->order, place->position, place->among);
    mb_json_raw(line, text);
}

struct mb_record_place mb_record_place_of(const struct mb_reader *reader,
                                          const struct mb_delivery *delivery) {
    const struct mb_moment moment = mb_moment_of(mb_reader_origin(reader, delivery));
    struct mb_record_place place = {
        .packet = moment.packet,
        .order = moment.order,
        .position = delivery->position,
    };
    const struct mb_nf_entry *by_nf = delivery->nf_entry;
    if (by_nf != NULL)
        place.among = (1 + (uint64_t)by_nf->provenance.publisher) << MB_RECORD_SEQUENCE_BITS |
                      (by_nf->entry.sequence & MB_RECORD_SEQUENCE_MAX);
    return place;
}

static bool is_before(const struct mb_record_place *one, const struct mb_record_place *other) {
    if (one->packet != other->packet)
        return one->packet < other->packet;
    if (one->order != other->order)
        return one->order < other->order;
    if (one->position != other->position)
        return one->position < other->position;
    return one->among < other->among;
}

void mb_record_log_come_to(struct mb_record_log *log, struct mb_record_place place) {
    if (!is_before(&place, &log->place))
        log->place = place;
}

/* --- lines --- */

const char *mb_record_log_write(struct mb_record_log *log, uint64_t time,
                                const struct mb_entry *entry, enum mb_tuple_kind kind,
                                const struct mb_field *fields, size_t count) {
    if (is_taken(fields, count))
        return "has a name that every line has already; use another one";
    struct mb_json line = {.bytes = log->buffer + log->used, .capacity = MB_NF_RECORD_MAX};
    if (log->is_part)
        append_place(&line, &log->place);
    append_time(&line, time, log->utc);
    if (entry != NULL && kind != MB_TUPLE_NONE)
        append_flow(&line, entry, kind);
    const char *wrong = mb_json_fields(&line, fields, count);
    if (wrong != NULL)
        return wrong;
    mb_json_raw(&line, "}\n");
    if (line.overflowed)
        return "makes the line longer than 65,536 bytes";
    log->used += line.length;
    log->lines++;
    if (log->used >= FLUSH_SIZE)
        mb_record_log_flush(log);
    return NULL;
}

/* --- the file --- */

/* A process of the NF before has written what is there. */
static int keep(struct mb_record_log *log) {
    struct stat status;
    if (fstat(log->fd, &status) != 0)
        return -1;
    log->good_size = (uint64_t)status.st_size;
    return 0;
}

static int begin_file(struct mb_record_log *log) {
    if (log->begun)
        return 0;
    if (log->fd < 0)
        log->fd = open(log->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (log->fd < 0)
        return -errno;
    const int result = fcntl(log->fd, F_GETFL) & O_APPEND ? keep(log) : ftruncate(log->fd, 0);
    if (result != 0)
        return -errno;
    log->begun = true;
    return 0;
}

static size_t whole_lines(const char *bytes, size_t length) {
    const char *last = length > 0 ? memrchr(bytes, '\n', length) : NULL;
    return last != NULL ? (size_t)(last - bytes) + 1 : 0;
}

static uint64_t count_lines(const char *bytes, size_t length) {
    uint64_t lines = 0;
    for (size_t i = 0; i < length; i++)
        lines += bytes[i] == '\n';
    return lines;
}

/* Cuts off what is no whole line. Nothing can be done where that fails too. */
static void restore(const struct mb_record_log *log) {
    if (ftruncate(log->fd, (off_t)log->good_size) == 0)
        lseek(log->fd, 0, SEEK_END);
}

/* Bytes of whole lines that are in the file now. */
static size_t write_all(struct mb_record_log *log) {
    size_t done = 0;
    while (done < log->used) {
        const ssize_t written = write(log->fd, log->buffer + done, log->used - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            log->error = log->error != 0 ? log->error : errno;
            done = whole_lines(log->buffer, done);
            log->good_size += done;
            restore(log);
            return done;
        }
        done += (size_t)written;
    }
    log->good_size += done;
    return done;
}

void mb_record_log_flush(struct mb_record_log *log) {
    if (log->lines == 0)
        return;
    const int error = begin_file(log);
    if (error != 0 && log->error == 0)
        log->error = -error;
    const size_t done = error == 0 ? write_all(log) : 0;
    const uint64_t whole = count_lines(log->buffer, done);
    log->written += whole;
    log->lost += log->lines - whole;
    log->lines = 0;
    log->used = 0;
}

void mb_record_log_go_on_in(struct mb_record_log *log, int fd) {
    mb_record_log_flush(log);
    if (log->fd >= 0)
        close(log->fd);
    log->fd = fd;
    log->begun = false;
}

void mb_record_log_close(struct mb_record_log *log) {
    if (log->buffer == NULL)
        return;
    mb_record_log_flush(log);
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
    free(log->buffer);
    log->buffer = NULL;
}
