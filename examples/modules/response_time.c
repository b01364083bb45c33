/*
 * A module of the µStack, outside of it: how long the responder of a TCP connection takes from the
 * last byte of a request to the first byte of its answer.
 *
 *     cc -shared -fPIC -O2 -I"$(microbox include)" -o response_time.so response_time.c
 *
 * and in a chain, whose NFs can then subscribe to `tcp.response`:
 *
 *     stack: {modules: [./response_time.so]}
 *
 * A request is all that the originator sends before the other side says something. It needs no
 * parser and no bytes, so it works for any protocol in which one side asks and the other answers.
 */
#include "microbox/include/microbox.h"

/* What is kept of a flow. All zero when it starts. */
struct exchange {
    uint64_t asked_at;      /* packet time of the request's latest segment; 0: nothing is asked */
    uint32_t request_bytes; /* payload of the request so far */
    uint32_t number;        /* of answers on this connection */
};

/* The payload of `tcp.response`: its parent's, then the fields as `types` declares them. */
struct response {
    struct mb_flow flow;
    uint32_t microseconds;
    uint32_t request_bytes;
    uint32_t number;
    uint32_t reserved;
};

_Static_assert(sizeof(struct response) <= MB_PAYLOAD_SIZE,
               "a payload of the stack lies in its entry");

const struct mb_module microbox_module;

static void ask(struct exchange *exchange, const struct mb_decoded *packet) {
    if (exchange->asked_at == 0)
        exchange->request_bytes = 0;
    exchange->asked_at = packet->time;
    exchange->request_bytes += packet->payload_length;
}

static void answer(struct mb_stack *stack, struct mb_flow_entry *flow, struct exchange *exchange,
                   const struct mb_decoded *packet) {
    if (exchange->asked_at == 0)
        return;
    const uint64_t asked_at = exchange->asked_at;
    exchange->asked_at = 0;
    exchange->number++;
    struct mb_entry *entry = mb_module_publish(stack, &microbox_module, 0, flow, 1);
    if (entry == NULL)
        return;
    struct response *response = (struct response *)(void *)&entry->payload;
    response->microseconds =
        packet->time > asked_at ? (uint32_t)((packet->time - asked_at) / 1000) : 0;
    response->request_bytes = exchange->request_bytes;
    response->number = exchange->number;
}

static void packet(struct mb_stack *stack, struct mb_flow_entry *flow,
                   const struct mb_decoded *decoded, unsigned direction) {
    if (decoded->payload_length == 0)
        return;
    struct exchange *exchange = mb_module_flow_state(stack, &microbox_module, flow);
    if (direction == 0)
        ask(exchange, decoded);
    else
        answer(stack, flow, exchange, decoded);
}

static const struct mb_module_type types[] = {
    {
        .name = "flow.tcp.response",
        .sentence = "The first bytes of an answer, and how long they took.",
        .fields = {{"microseconds", "u32"}, {"request_bytes", "u32"}, {"number", "u32"}},
    },
};

const struct mb_module microbox_module = {
    .abi = MB_MODULE_ABI,
    .name = "response_time",
    .sentence = "Time from a request's last byte to its answer's first.",
    .transport = MB_TRANSPORT_TCP,
    .needs = MB_MODULE_TCP_MONITOR,
    .packet = packet,
    .flow_state_size = sizeof(struct exchange),
    .types = types,
    .type_count = 1,
};
