/*
 * A stack, a log that nobody has to read, and a pen for frames: each packet is handled as it is
 * written. Entries stay in the log; `stack_next` walks them.
 */
#ifndef MICROBOX_TESTS_CORE_STACK_FIXTURE_H
#define MICROBOX_TESTS_CORE_STACK_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "microbox/events/event_types.h"
#include "microbox/stack/counters.h"
#include "microbox/stack/fragments/assembled_frames.h"
#include "microbox/stack/stack.h"
#include "microbox/stack/wire/tcp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STACK_LOG_SLOTS = 1 << 16,
    STACK_POOL_SIZE = 1 << 22,
    STACK_DATAGRAMS = 8, /* whole ones of the large size; their area lies behind the frames */
    STACK_TEXT_MAX = 4096
};

#define SECONDS UINT64_C(1000000000)

enum { FIN = MB_TCP_FIN, SYN = MB_TCP_SYN, RST = MB_TCP_RST, PSH = MB_TCP_PSH, ACK = MB_TCP_ACK };

struct stack_fixture {
    struct mb_log log;
    struct mb_stack *stack;
    uint8_t *pool;
    size_t used;
    uint64_t time; /* of the next packet */
    uint64_t seen; /* entries that stack_next has passed */
    uint64_t told; /* entries that stack_text leaves out */
    struct mb_handled handled;
};

/* A TCP segment; what is left out is 0. `from` 0 is 10.0.0.1:1000, 1 is 10.0.0.2:80. */
struct tcp {
    unsigned from;
    unsigned flags;
    uint32_t sequence;
    uint32_t acknowledgment;
    const char *payload;
    uint16_t window; /* default 65535 */
    uint32_t cut;    /* bytes that the capture's snap length took off the end */
    uint16_t port;   /* of side 0; default 1000 */
    uint16_t urgent; /* urgent pointer; sets URG where not 0 */
    uint8_t scale;   /* window scale option, where `has_scale` */
    bool has_scale;
    bool closes_window; /* window 0 */
};

static inline void stack_put_16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void stack_put_32(uint8_t *at, uint32_t value) {
    stack_put_16(at, value >> 16);
    stack_put_16(at + 2, value);
}

static inline struct mb_subscription stack_everything(void) {
    struct mb_subscription everything = {.filter = ""};
    memset(everything.types, 0xff, sizeof everything.types);
    return everything;
}

static inline void stack_want(struct mb_subscription *subscription, uint16_t type) {
    subscription->types[type / 64] |= UINT64_C(1) << type % 64;
}

static inline void stack_open_with(struct stack_fixture *fixture,
                                   const struct mb_stack_config *config,
                                   const struct mb_subscription *subscriptions, uint32_t count,
                                   const struct mb_timer_subscription *timers,
                                   uint32_t timer_count) {
    char error[MB_ERROR_SIZE] = "";
    struct mb_stack_config chosen = *config;
    if (chosen.link_type == 0)
        chosen.link_type = 1;
    if (chosen.flows_max == 0)
        chosen.flows_max = 1024;
    memset(fixture, 0, sizeof *fixture);
    fixture->time = 1000 * SECONDS;
    fixture->pool = malloc(STACK_POOL_SIZE + mb_assembled_size(STACK_DATAGRAMS));
    assert_non_null(fixture->pool);
    if (chosen.assembled_datagrams_max == 0)
        chosen.assembled_datagrams_max = STACK_DATAGRAMS;
    chosen.assembled_bytes = fixture->pool + STACK_POOL_SIZE;
    chosen.assembled_offset = STACK_POOL_SIZE;
    assert_int_equal(mb_log_create(&fixture->log, STACK_LOG_SLOTS), 0);
    fixture->stack =
        mb_stack_create(&chosen, &fixture->log, subscriptions, count, timers, timer_count, error);
    assert_string_equal(error, "");
    assert_non_null(fixture->stack);
}

static inline void stack_open(struct stack_fixture *fixture) {
    struct mb_subscription everything = stack_everything();
    stack_open_with(fixture, &(struct mb_stack_config){0}, &everything, 1, NULL, 0);
}

static inline void stack_close(struct stack_fixture *fixture) {
    mb_stack_destroy(fixture->stack);
    mb_log_destroy(&fixture->log);
    free(fixture->pool);
}

static inline void stack_finish(struct stack_fixture *fixture) {
    while (!mb_stack_finish(fixture->stack, MB_REASON_END_SHUTDOWN))
        mb_log_commit(&fixture->log);
}

/* Hands a frame over; its bytes end where the pool's do, as far as the sanitizers see. */
static inline void stack_frame(struct stack_fixture *fixture, const uint8_t *bytes, uint32_t length,
                               uint32_t wire_length, uint32_t link_type) {
    assert_true(fixture->used + length <= STACK_POOL_SIZE);
    memcpy(fixture->pool + fixture->used, bytes, length);
    struct mb_frame frame = {.offset = fixture->used,
                             .time = fixture->time,
                             .length = length,
                             .wire_length = wire_length,
                             .link_type = link_type};
    fixture->used += length;
    assert_int_equal(mb_stack_handle(fixture->stack, fixture->pool, &frame, 1, &fixture->handled),
                     1);
    mb_log_commit(&fixture->log);
}

/* Writes Ethernet and IPv4 headers from 10.0.0.(1 + from) to the other one. Returns 34. */
static inline uint32_t stack_write_ipv4(uint8_t *frame, unsigned from, uint8_t protocol,
                                        uint32_t payload) {
    memset(frame, 0, 34);
    stack_put_16(frame + 12, 0x0800);
    frame[14] = 0x45;
    stack_put_16(frame + 16, 20 + payload);
    frame[22] = 64;
    frame[23] = protocol;
    stack_put_32(frame + 26, 0x0a000001 + from);
    stack_put_32(frame + 30, 0x0a000002 - from);
    return 34;
}

static inline void stack_tcp(struct stack_fixture *fixture, struct tcp segment) {
    uint8_t frame[2048];
    uint32_t length = segment.payload == NULL ? 0 : (uint32_t)strlen(segment.payload);
    uint32_t header = segment.has_scale ? 24 : 20;
    uint32_t port[2] = {segment.port != 0 ? segment.port : 1000, 80};
    uint8_t *tcp = frame + stack_write_ipv4(frame, segment.from, 6, header + length);
    memset(tcp, 0, header);
    stack_put_16(tcp, port[segment.from]);
    stack_put_16(tcp + 2, port[1 - segment.from]);
    stack_put_32(tcp + 4, segment.sequence);
    stack_put_32(tcp + 8, segment.acknowledgment);
    tcp[12] = (uint8_t)(header << 2);
    tcp[13] = (uint8_t)(segment.flags | (segment.urgent != 0 ? MB_TCP_URG : 0u));
    stack_put_16(tcp + 18, segment.urgent);
    uint16_t window = segment.window != 0 ? segment.window : 65535;
    stack_put_16(tcp + 14, segment.closes_window ? 0 : window);
    if (segment.has_scale)
        memcpy(tcp + 20, (uint8_t[]){3, 3, segment.scale, 0}, 4);
    if (length != 0)
        memcpy(tcp + header, segment.payload, length);
    uint32_t total = 34 + header + length;
    stack_frame(fixture, frame, total - segment.cut, total, 1);
}

/* The same, as a sentence; `payload` may be NULL. */
static inline void stack_send(struct stack_fixture *fixture, unsigned from, unsigned flags,
                              uint32_t sequence, uint32_t acknowledgment, const char *payload) {
    stack_tcp(fixture, (struct tcp){.from = from,
                                    .flags = flags,
                                    .sequence = sequence,
                                    .acknowledgment = acknowledgment,
                                    .payload = payload});
}

static inline void stack_udp(struct stack_fixture *fixture, unsigned from, const char *payload) {
    uint8_t frame[2048];
    uint32_t length = (uint32_t)strlen(payload);
    uint8_t *udp = frame + stack_write_ipv4(frame, from, 17, 8 + length);
    uint32_t port[2] = {5353, 53};
    stack_put_16(udp, port[from]);
    stack_put_16(udp + 2, port[1 - from]);
    stack_put_16(udp + 4, 8 + length);
    stack_put_16(udp + 6, 0);
    memcpy(udp + 8, payload, length);
    stack_frame(fixture, frame, 42 + length, 42 + length, 1);
}

/* SYN, SYN/ACK, ACK with first sequence numbers 100 and 300: the streams begin at 101 and 301. */
static inline void stack_handshake(struct stack_fixture *fixture) {
    stack_send(fixture, 0, SYN, 100, 0, NULL);
    stack_send(fixture, 1, SYN | ACK, 300, 101, NULL);
    stack_send(fixture, 0, ACK, 101, 301, NULL);
}

/* The next entry of `type` that was not walked over yet, NULL: none. */
static inline const struct mb_entry *stack_next(struct stack_fixture *fixture, uint16_t type) {
    assert_true(fixture->log.next <= STACK_LOG_SLOTS);
    while (fixture->seen < fixture->log.next) {
        const struct mb_entry *entry = &fixture->log.slots[fixture->seen++];
        if (entry->type == type)
            return entry;
    }
    return NULL;
}

/* How many entries of `type` there are in all. */
static inline unsigned stack_count(const struct stack_fixture *fixture, uint16_t type) {
    unsigned count = 0;
    for (uint64_t i = 0; i < fixture->log.next; i++)
        count += fixture->log.slots[i].type == type;
    return count;
}

/* What one side's stream says: its bytes, and "[N]" for a gap of N. Offsets have to fit. Of all
 * flows, in the order of publication. Valid until the next call. */
static inline const char *stack_text(const struct stack_fixture *fixture, unsigned direction) {
    static char text[STACK_TEXT_MAX];
    size_t used = 0;
    text[0] = '\0';
    for (uint64_t i = fixture->told; i < fixture->log.next; i++) {
        const struct mb_entry *entry = &fixture->log.slots[i];
        if (((entry->flags & MB_FROM_RESPONDER) != 0) != (direction != 0))
            continue;
        if (entry->type == MB_TYPE_TCP_DATA) {
            assert_true(used + entry->data_length < sizeof text);
            memcpy(text + used, fixture->pool + entry->frame + entry->data_offset,
                   entry->data_length);
            used += entry->data_length;
            text[used] = '\0';
        } else if (entry->type == MB_TYPE_TCP_GAP) {
            used += (size_t)snprintf(text + used, sizeof text - used, "[%llu]",
                                     (unsigned long long)entry->payload.tcp_gap.length);
        }
    }
    return text;
}

#endif
