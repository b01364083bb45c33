/*
 * Counts packets, flows and bytes of streams, and writes a line for each flow of TCP that ends.
 *
 *     chain: [{nf: ./count.c, least_bytes: 1000}]
 */
#include "microbox/include/microbox_nf.h"

struct count {
    int64_t least_bytes; /* a parameter */
    uint64_t packets;
    uint64_t flows;
    uint64_t bytes;
};

/* What is kept of a flow. All zero when it starts. */
struct flow {
    uint64_t bytes[2]; /* by direction */
};

static enum mb_verdict see_packet(struct mb_nf *nf, const struct mb_event *event) {
    (void)event;
    struct count *count = nf->state;
    count->packets++;
    return MB_PASS;
}

static enum mb_verdict see_data(struct mb_nf *nf, const struct mb_event *event) {
    struct count *count = nf->state;
    count->bytes += event->data_length;
    struct flow *flow = mb_flow_state(nf, event);
    if (flow != NULL)
        flow->bytes[mb_event_direction(event)] += event->data_length;
    return MB_PASS;
}

static enum mb_verdict see_end(struct mb_nf *nf, const struct mb_event *event) {
    struct count *count = nf->state;
    count->flows++;
    const struct flow *flow = mb_flow_state(nf, event);
    if (flow == NULL || flow->bytes[0] + flow->bytes[1] < (uint64_t)count->least_bytes)
        return MB_PASS;
    mb_record(nf, event, mb_uint("sent", flow->bytes[0]), mb_uint("received", flow->bytes[1]));
    return MB_PASS;
}

static void finish(struct mb_nf *nf) {
    const struct count *count = nf->state;
    mb_summarize(nf, mb_uint("packets", count->packets), mb_uint("flows", count->flows),
                 mb_uint("bytes", count->bytes));
}

const struct mb_nf_descriptor microbox_nf = {
    .abi = MB_NF_ABI,
    .name = "count",
    .doc = "Count packets, flows and bytes of streams.",
    .parameters = {{.name = "least_bytes",
                    .type = MB_PARAMETER_INT,
                    .offset = offsetof(struct count, least_bytes),
                    .or_else = "0",
                    .doc = "flows with fewer bytes get no line"}},
    .handlers = {{.name = "see_packet", .types = {"packet"}, .call = see_packet},
                 {.name = "see_data", .types = {"tcp.data"}, .call = see_data},
                 {.name = "see_end", .types = {"tcp.end"}, .call = see_end}},
    .state_size = sizeof(struct count),
    .flow_state_size = sizeof(struct flow),
    .finish = finish,
};
