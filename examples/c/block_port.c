/*
 * Drops new TCP connections to one port, and reports each.
 *
 *     chain: [{nf: ./block_port.c, port: 23}]
 */
#include "microbox/include/microbox_nf.h"

struct block_port {
    int64_t port; /* a parameter */
    uint64_t blocked;
};

static enum mb_verdict refuse(struct mb_nf *nf, const struct mb_event *event) {
    struct block_port *block = nf->state;
    if (MB_PAYLOAD(event, struct mb_flow)->tuple.destination_port != block->port)
        return MB_PASS;
    block->blocked++;
    mb_alert(nf, event, "connection to a blocked port", "blocked_port", 2);
    return MB_DROP_FLOW;
}

static void finish(struct mb_nf *nf) {
    const struct block_port *block = nf->state;
    mb_summarize(nf, mb_uint("blocked", block->blocked));
}

const struct mb_nf_descriptor microbox_nf = {
    .abi = MB_NF_ABI,
    .name = "block_port",
    .doc = "Drop new TCP connections to one port.",
    .parameters = {{.name = "port",
                    .type = MB_PARAMETER_INT,
                    .offset = offsetof(struct block_port, port),
                    .or_else = "23",
                    .doc = "whose connections are dropped"}},
    .handlers = {{.name = "refuse", .types = {"tcp.start"}, .call = refuse}},
    .publishes = {"alert"},
    .is_inline = true,
    .leaves_flows = true,
    .state_size = sizeof(struct block_port),
    .finish = finish,
};
