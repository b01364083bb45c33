/*
 * A worker with real areas and readers, all moved by one thread: a slice of the worker, a poll of
 * each NF, and so on.
 */
#ifndef MICROBOX_TESTS_WORKER_FIXTURE_H
#define MICROBOX_TESTS_WORKER_FIXTURE_H

#include "microbox/stack/worker.h"

#include "capture_bytes.h"
#include "microbox/bus/reader.h"
#include "microbox/events/event_types.h"
#include "microbox/stack/counters.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

enum { SLOTS = MB_LOG_SLOTS_MIN, SLICE = 200000, CAPACITY = 2 * MB_ENTRIES_PER_PACKET };
enum { COMMANDS = 4096, DELAY = 10 }; /* packets until a command takes effect */
enum { NFS = 3, FRAME_SIZE = 14 + 20 + 8 + 4, NANOSECONDS = 0xa1b23c4d };

/* What an NF does when it meets a packet to this UDP port. */
struct rule {
    uint16_t port;
    enum mb_verdict verdict;
};

struct nf {
    struct mb_reader *reader;
    struct mb_delivery deliveries[CAPACITY];
    struct rule rule;
    bool is_inline;
    bool stands; /* does nothing */
    bool gives_commands;
    bool unsubscribes; /* from each flow, at its first packet */
    uint64_t seen;
    uint64_t exits_seen;
    int32_t exit_status;
    uint64_t welcomes_seen; /* of any NF */
    uint64_t first_packet;  /* that it saw */
    uint64_t flows_told;    /* by flow.present */
    uint64_t last_flow_told;
    uint64_t idle_told; /* seconds, a decimal digit a flow, in the order of being told */
    uint64_t packets_seen_before_told;
    uint64_t starts_seen;
    bool reads_flows;
    uint64_t cut; /* 0: it takes no batches */
    bool saw_end;
};

struct bench {
    struct capture_bytes capture;
    struct mb_source *source;
    struct mb_sink *sink;
    int output;
    struct mb_worker *worker;
    struct nf nf[NFS];
    enum mb_worker_status status;
};

/* --- traffic: UDP datagrams of 4 bytes over Ethernet, one a second --- */

static inline void append_datagram(struct capture_bytes *capture, uint32_t second, uint16_t port) {
    const uint8_t frame[FRAME_SIZE] = {
        [12] = 0x08,
        0x00,
        [14] = 0x45,
        [17] = FRAME_SIZE - 14,
        [22] = 64,
        17,
        [26] = 10,
        0,
        0,
        1,
        10,
        0,
        0,
        2,
        [34] = 0x30,
        0x39,
        (uint8_t)(port >> 8),
        (uint8_t)port,
        0,
        12,
    };
    append_pcap_record(capture, second, 0, FRAME_SIZE, FRAME_SIZE);
    append(capture, frame, sizeof frame);
}

static inline void begin_capture(struct bench *bench) {
    append_pcap_header(&bench->capture, NANOSECONDS, 65535, 1);
}

/* Datagrams to the ports 1, 2, 3, 1, 2, 3, ... */
static inline void append_datagrams(struct bench *bench, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        append_datagram(&bench->capture, i, (uint16_t)(1 + i % 3));
}

/* --- the chain --- */

static inline struct mb_nf_geometry shape_of(const struct nf *nf) {
    return (struct mb_nf_geometry){.log_slots = SLOTS,
                                   .command_slots = nf->gives_commands ? COMMANDS : 0,
                                   .is_inline = nf->is_inline};
}

static inline void make_reader(struct nf *nf, uint32_t index) {
    struct mb_reader_config config = {
        .nf = index,
        .log_slots = SLOTS,
        .geometry = shape_of(nf),
        .cut = nf->cut,
        .subscriptions = 1,
        .bit = {(uint8_t)index},
        .wait_policy = {0},
    };
    memset(config.types[0], 0xff, sizeof config.types[0]);
    if (nf->gives_commands) {
        config.command_delay = DELAY;
        config.switchable = 1;
    }
    int error = 0;
    nf->reader = mb_reader_create(&config, &error);
    assert_non_null(nf->reader);
}

static inline void set_type(struct mb_subscription *subscription, unsigned type) {
    subscription->types[type / 64] |= UINT64_C(1) << type % 64;
}

static inline void open_input(struct bench *bench) {
    char error[MB_ERROR_SIZE];
    const int fd = capture_file(&bench->capture);
    bench->source = mb_source_open(fd, "test", error);
    close(fd);
    assert_non_null(bench->source);
}

/* To be subscribed: all NFs below `nfs` but those that are gone. */
static inline uint32_t wishes(const struct bench *bench, uint32_t nfs,
                              struct mb_subscription subscriptions[NFS],
                              struct mb_switch switches[NFS], uint32_t *switch_count) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < nfs; i++) {
        if (!bench->nf[i].reader)
            continue;
        struct mb_subscription *one = &subscriptions[count++];
        one->nf = i;
        one->bit = (uint8_t)i;
        set_type(one, MB_TYPE_PACKET_IP_UDP);
        set_type(one, MB_TYPE_SYSTEM_NF_EXITED);
        set_type(one, MB_TYPE_SYSTEM_NF_ATTACHED);
        set_type(one, MB_TYPE_SYSTEM_END_OF_INPUT);
        if (bench->nf[i].cut != 0)
            set_type(one, MB_TYPE_SYSTEM_CHECKPOINT);
        if (bench->nf[i].reads_flows) {
            set_type(one, MB_TYPE_FLOW_START);
            set_type(one, MB_TYPE_FLOW_PRESENT);
        }
        if (bench->nf[i].gives_commands)
            switches[(*switch_count)++] = (struct mb_switch){.nf = i, .mask = {UINT64_C(1) << i}};
    }
    return count;
}

static inline int subscribe(struct bench *bench, uint32_t nfs, char error[MB_ERROR_SIZE]) {
    struct mb_subscription subscriptions[NFS] = {0};
    struct mb_switch switches[NFS] = {0};
    uint32_t switch_count = 0;
    const uint32_t count = wishes(bench, nfs, subscriptions, switches, &switch_count);
    const int status = mb_worker_subscribe(bench->worker, subscriptions, count, NULL, 0, error);
    if (status != 0)
        return status;
    return mb_worker_accept_commands(bench->worker, switches, switch_count, error);
}

static inline void attach(struct bench *bench, uint32_t index, bool fails_closed) {
    struct nf *nf = &bench->nf[index];
    make_reader(nf, index);
    const struct mb_nf_geometry shape = shape_of(nf);
    assert_int_equal(
        mb_worker_attach(bench->worker, index, mb_reader_area_fd(nf->reader), &shape, fails_closed),
        0);
    assert_int_equal(mb_reader_map_log(nf->reader, mb_worker_log_fd(bench->worker)), 0);
}

/* NFs are attached; subscriptions are to packets and to what the system says. */
static inline void start(struct bench *bench, const struct mb_worker_config *config, uint32_t nfs,
                         bool fails_closed) {
    char error[MB_ERROR_SIZE];
    struct mb_worker_config filled = *config;
    filled.log_slots = SLOTS;
    filled.stack.link_type = 1;
    filled.stack.flows_max = 16;
    filled.stack.command_delay = DELAY;
    if (!bench->source)
        open_input(bench);
    bench->output = memfd_create("output", MFD_CLOEXEC);
    bench->sink = mb_sink_open(dup(bench->output), 1, error);
    bench->worker = mb_worker_create(&filled, bench->source, bench->sink, error);
    if (!bench->worker)
        fail_msg("%s", error);
    for (uint32_t i = 0; i < nfs; i++)
        attach(bench, i, fails_closed);
    if (subscribe(bench, nfs, error) != 0)
        fail_msg("%s", error);
}

static inline void see(struct nf *nf, const struct mb_entry *entry) {
    switch (entry->type) {
    case MB_TYPE_SYSTEM_END_OF_INPUT:
        nf->saw_end = true;
        return;
    case MB_TYPE_SYSTEM_NF_EXITED:
        nf->exits_seen++;
        nf->exit_status = entry->payload.nf_exited.status;
        return;
    case MB_TYPE_SYSTEM_NF_ATTACHED:
        nf->welcomes_seen++;
        return;
    case MB_TYPE_FLOW_PRESENT:
        assert_true(entry->flow > nf->last_flow_told);
        nf->last_flow_told = entry->flow;
        nf->idle_told = 10 * nf->idle_told + entry->payload.flow_present.idle;
        nf->flows_told++;
        nf->packets_seen_before_told = nf->seen;
        return;
    case MB_TYPE_FLOW_START:
        nf->starts_seen++;
        return;
    case MB_TYPE_SYSTEM_CHECKPOINT:
        return;
    default:
        nf->first_packet = nf->seen == 0 ? entry->packet : nf->first_packet;
        nf->seen++;
        if (nf->is_inline && entry->payload.packet.tuple.destination_port == nf->rule.port)
            mb_reader_judge(nf->reader, entry->sequence, nf->rule.verdict);
    }
}

static inline void move_nf(struct nf *nf) {
    if (!nf->reader || nf->stands)
        return;
    uint32_t broken;
    const int count = mb_reader_poll(nf->reader, nf->deliveries, CAPACITY, 0, &broken);
    assert_true(count >= 0);
    for (int i = 0; i < count; i++) {
        const struct mb_delivery *delivery = &nf->deliveries[i];
        if (delivery->bits == 0 || /* settled by a verdict on one before it */
            (nf->gives_commands && mb_reader_wanted(nf->reader, delivery) == 0))
            continue;
        see(nf, delivery->entry);
        if (nf->unsubscribes && delivery->entry->flow != 0)
            assert_int_equal(mb_reader_command(nf->reader, delivery, MB_COMMAND_UNSUBSCRIBE, 1, 3),
                             0);
    }
    mb_reader_advance(nf->reader);
}

/* Some turns of everybody; ends early when the worker is done. */
static inline void turn(struct bench *bench, unsigned turns) {
    for (unsigned i = 0; i < turns && bench->status == MB_WORKER_RUNNING; i++) {
        bench->status = mb_worker_run(bench->worker, SLICE);
        for (unsigned index = 0; index < NFS; index++)
            move_nf(&bench->nf[index]);
    }
}

static inline struct mb_stack_counters counters(const struct bench *bench) {
    struct mb_area area = {0};
    assert_int_equal(
        mb_area_map(&area, mb_worker_counters_fd(bench->worker), mb_worker_counters_size()), 0);
    const struct mb_counter_page *page = area.base;
    const struct mb_stack_counters copy = page->copies[page->current];
    mb_area_destroy(&area);
    return copy;
}

/* The destination ports of the packets that came out, as digits. */
static inline void assert_output(struct bench *bench, const char *expected) {
    char error[MB_ERROR_SIZE];
    char ports[1024] = "";
    size_t count = 0;
    struct mb_source *source = mb_source_open(bench->output, "output", error);
    assert_non_null(source);
    struct mb_frame frame;
    while (mb_source_read(source, &frame, 1))
        ports[count++] = (char)('0' + mb_source_pool(source)[frame.offset + 37]);
    mb_source_close(source);
    assert_string_equal(ports, expected);
}

static inline int set_up(void **state) {
    struct bench *bench = calloc(1, sizeof *bench);
    bench->output = -1;
    begin_capture(bench);
    *state = bench;
    return bench == NULL;
}

static inline int tear_down(void **state) {
    struct bench *bench = *state;
    mb_worker_destroy(bench->worker);
    for (unsigned i = 0; i < NFS; i++)
        if (bench->nf[i].reader)
            mb_reader_destroy(bench->nf[i].reader);
    if (bench->sink)
        mb_sink_close(bench->sink);
    mb_source_close(bench->source);
    if (bench->output >= 0)
        close(bench->output);
    free(bench);
    return 0;
}

static const struct mb_worker_config plain = {0};

#endif
