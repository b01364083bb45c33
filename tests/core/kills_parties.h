/*
 * The chain of kills.c: seven NFs in C, four of which are passive and die. What the other three
 * write must not tell that anybody died.
 *
 *     0 judge         lives   drops packets and flows
 *     1 talker        dies    publishes http.request
 *     2 announcer     lives   publishes tls.client_hello, behind the judge
 *     3 eavesdropper  dies    reads both, keeps something of flows
 *     4 leaver        dies    unsubscribes from flows
 *     5 witness       lives   writes down all that it sees, the announcer's events included
 *     6 dawdler       dies    is so slow that the worker waits for it
 */
#ifndef MICROBOX_TESTS_KILLS_PARTIES_H
#define MICROBOX_TESTS_KILLS_PARTIES_H

#include "microbox/c_nf/publication.h"
#include "microbox/events/event_types.h"
#include "microbox/include/microbox_nf.h"

#include <time.h>

enum { JUDGE, TALKER, ANNOUNCER, EAVESDROPPER, LEAVER, WITNESS, DAWDLER, PARTIES };

struct memory {
    uint64_t sum;    /* of all that it saw */
    uint64_t packet; /* that it published at last */
};

/* --- what they write down --- */

/* FNV-1a, 64 bits. */
static inline uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t length) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* All that an event says. Not its place in the log, where a death is an entry as well; of a payload
 * in a ring not the entry's copy of its beginning. */
static inline uint64_t hash_event(const struct mb_event *event) {
    const struct mb_entry *entry = event->entry;
    const uint64_t head[] = {entry->time, entry->packet, entry->flow,
                             entry->type, entry->reason, entry->flags & MB_FROM_RESPONDER};
    uint64_t hash = hash_bytes(UINT64_C(0xcbf29ce484222325), head, sizeof head);
    hash = hash_bytes(hash, event->payload, event->payload_length);
    hash = hash_bytes(hash, &entry->snapshot, sizeof entry->snapshot);
    return hash_bytes(hash, event->data, event->data_length);
}

static enum mb_verdict write_down(struct mb_nf *nf, const struct mb_event *event) {
    mb_record(nf, event, mb_uint("type", event->entry->type),
              mb_uint("packet", event->entry->packet), mb_uint("hash", hash_event(event)));
    return MB_PASS;
}

static enum mb_verdict look_at(struct mb_nf *nf, const struct mb_event *event) {
    struct memory *memory = nf->state;
    memory->sum += hash_event(event);
    return MB_PASS;
}

/* --- what they do --- */

static enum mb_verdict judge_start(struct mb_nf *nf, const struct mb_event *event) {
    write_down(nf, event);
    return event->entry->flow % 7 == 3 ? MB_DROP_FLOW : MB_PASS;
}

static enum mb_verdict judge_packet(struct mb_nf *nf, const struct mb_event *event) {
    (void)nf;
    return event->entry->packet % 11 == 5 ? MB_DROP : MB_PASS;
}

/* One packet may bring hundreds of stretches; what one packet makes an NF publish is limited. */
static bool is_first_of_packet(struct mb_nf *nf, const struct mb_event *event) {
    struct memory *memory = nf->state;
    if (memory->packet == event->entry->packet)
        return false;
    memory->packet = event->entry->packet;
    return true;
}

static enum mb_verdict talk(struct mb_nf *nf, const struct mb_event *event) {
    const uint32_t length = event->data_length < 300 ? event->data_length : 300;
    const struct mb_field host = mb_bytes("host", event->data, length);
    for (uint64_t i = 0; i < 3 && (i > 0 || is_first_of_packet(nf, event)); i++)
        mb_publish_fields(nf, event, "http.request", &host, 1);
    return look_at(nf, event);
}

static enum mb_verdict announce(struct mb_nf *nf, const struct mb_event *event) {
    const uint32_t length = event->data_length < 200 ? event->data_length : 200;
    const struct mb_field name = mb_bytes("server_name", event->data, length);
    if (is_first_of_packet(nf, event))
        mb_publish_fields(nf, event, "tls.client_hello", &name, 1);
    return write_down(nf, event);
}

static enum mb_verdict eavesdrop(struct mb_nf *nf, const struct mb_event *event) {
    uint64_t *seen = mb_flow_state(nf, event);
    if (seen != NULL)
        ++*seen;
    return look_at(nf, event);
}

static enum mb_verdict leave(struct mb_nf *nf, const struct mb_event *event) {
    if (event->entry->packet % 2 == 0)
        mb_unsubscribe(nf, event);
    return look_at(nf, event);
}

static enum mb_verdict dawdle(struct mb_nf *nf, const struct mb_event *event) {
    const struct timespec nap = {.tv_nsec = 20000};
    if (event->entry->packet % 64 == 0)
        nanosleep(&nap, NULL);
    return look_at(nf, event);
}

#define PARTY(call_name)                                                                           \
    .abi = MB_NF_ABI, .name = #call_name, .state_size = sizeof(struct memory),                     \
    .handlers = {{.name = #call_name, .call = call_name}}

static const struct mb_nf_descriptor descriptors[PARTIES] = {
    [JUDGE] = {.abi = MB_NF_ABI,
               .name = "judge",
               .state_size = sizeof(struct memory),
               .is_inline = true,
               .handlers = {{.name = "judge_start", .call = judge_start},
                            {.name = "judge_packet", .call = judge_packet}}},
    [TALKER] = {PARTY(talk)},
    [ANNOUNCER] = {PARTY(announce)},
    [EAVESDROPPER] = {PARTY(eavesdrop), .flow_state_size = sizeof(uint64_t), .flow_states_max = 64},
    [LEAVER] = {PARTY(leave), .leaves_flows = true},
    [WITNESS] = {PARTY(write_down)},
    [DAWDLER] = {PARTY(dawdle)},
};

/* --- who reads what --- */

struct role {
    bool dies;
    uint64_t own_slots; /* of its log; 0: it publishes nothing */
    uint64_t ring_bytes;
    uint64_t command_slots;
    uint32_t publishers; /* bit i: it reads what NF i publishes */
    uint8_t types[8];    /* in the order of their numbers; 0: no more */
    uint8_t handlers[8]; /* of each type: which one of the descriptor */
};

enum { SMALL_LOG = 64, SMALL_RING = 16384, COMMANDS = 4096, COMMAND_DELAY = 64 };

static const struct role roles[PARTIES] = {
    [JUDGE] = {.types = {MB_TYPE_PACKET_IP_TCP, MB_TYPE_PACKET_IP_UDP, MB_TYPE_TCP_START},
               .handlers = {1, 1, 0}},
    [TALKER] = {.dies = true,
                .own_slots = SMALL_LOG,
                .ring_bytes = SMALL_RING,
                .types = {MB_TYPE_TCP_DATA}},
    [ANNOUNCER] = {.own_slots = SMALL_LOG, .ring_bytes = SMALL_RING, .types = {MB_TYPE_TCP_DATA}},
    [EAVESDROPPER] = {.dies = true,
                      .publishers = 1 << TALKER | 1 << ANNOUNCER,
                      .types = {MB_TYPE_TCP_DATA, MB_TYPE_HTTP_REQUEST, MB_TYPE_TLS_CLIENT_HELLO}},
    [LEAVER] = {.dies = true, .command_slots = COMMANDS, .types = {MB_TYPE_TCP_DATA}},
    [WITNESS] = {.publishers = 1 << ANNOUNCER,
                 .types = {MB_TYPE_PACKET_IP_TCP, MB_TYPE_PACKET_IP_UDP, MB_TYPE_TCP_END,
                           MB_TYPE_TCP_DATA, MB_TYPE_TLS_CLIENT_HELLO}},
    [DAWDLER] = {.dies = true, .types = {MB_TYPE_PACKET_IP_TCP, MB_TYPE_TCP_DATA}},
};

static const struct mb_publishable publishables[PARTIES] = {
    [TALKER] = {.name = "flow.tcp.data.http.request",
                .written = "http.request",
                .type = MB_TYPE_HTTP_REQUEST,
                .size = sizeof(struct mb_http_request),
                .places = 1,
                .place = {{"host", offsetof(struct mb_http_request, host), 8, MB_PLACE_TEXT}},
                .inherited = {[MB_TYPE_TCP_DATA] = sizeof(struct mb_tcp_data)}},
    [ANNOUNCER] = {.name = "flow.tcp.data.tls.client_hello",
                   .written = "tls.client_hello",
                   .type = MB_TYPE_TLS_CLIENT_HELLO,
                   .size = sizeof(struct mb_tls_client_hello),
                   .places = 1,
                   .place = {{"server_name", offsetof(struct mb_tls_client_hello, server_name), 8,
                              MB_PLACE_TEXT}},
                   .inherited = {[MB_TYPE_TCP_DATA] = sizeof(struct mb_tcp_data)}},
};

#endif
