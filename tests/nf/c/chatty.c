/* Does all that an NF in C may do. chatty.py does the same in Python. */
#include "microbox/include/microbox_nf.h"

struct chatty {
    int64_t most;
    double share;
    const char *word;
    bool loud;
    uint64_t ticks;
    uint64_t left;
};

struct flow {
    uint64_t events;
};

static enum mb_verdict see_data(struct mb_nf *nf, const struct mb_event *event) {
    struct chatty *chatty = nf->state;
    struct flow *flow = mb_flow_state(nf, event);
    flow->events++;
    const uint32_t length = event->data_length < 16 ? event->data_length : 16;
    mb_publish(nf, event, "tcp.data.said", mb_uint("number", flow->events),
               mb_bytes("begin", event->data, length), mb_float("share", chatty->share),
               mb_int("minus", -(int64_t)event->data_length));
    mb_record(nf, event, mb_uint("number", flow->events), mb_bytes("begin", event->data, length),
              mb_float("half", (double)event->data_length / 3), mb_bool("loud", chatty->loud),
              mb_string("word", chatty->word), mb_int("minus", -(int64_t)event->data_length));
    if (flow->events < (uint64_t)chatty->most)
        return MB_PASS;
    chatty->left++;
    mb_alert(nf, event, chatty->word, "said_enough", 3);
    mb_unsubscribe(nf, event);
    return MB_PASS;
}

static enum mb_verdict see_udp(struct mb_nf *nf, const struct mb_event *event) {
    mb_record(nf, event, mb_uint("length", event->frame_length));
    return MB_PASS_FLOW;
}

static enum mb_verdict tick(struct mb_nf *nf, const struct mb_event *event) {
    (void)event;
    struct chatty *chatty = nf->state;
    chatty->ticks++;
    mb_record_fields(nf, NULL, NULL, 0);
    return MB_PASS;
}

static void finish(struct mb_nf *nf) {
    const struct chatty *chatty = nf->state;
    mb_summarize(nf, mb_uint("ticks", chatty->ticks), mb_uint("left", chatty->left));
}

const struct mb_nf_descriptor microbox_nf = {
    .abi = MB_NF_ABI,
    .name = "chatty",
    .doc = "Does all that it may.",
    .parameters = {{.name = "most",
                    .type = MB_PARAMETER_INT,
                    .offset = offsetof(struct chatty, most),
                    .doc = "events of a flow"},
                   {.name = "share",
                    .type = MB_PARAMETER_FLOAT,
                    .offset = offsetof(struct chatty, share),
                    .or_else = "0.1"},
                   {.name = "word",
                    .type = MB_PARAMETER_TEXT,
                    .offset = offsetof(struct chatty, word),
                    .or_else = "so"},
                   {.name = "loud",
                    .type = MB_PARAMETER_BOOL,
                    .offset = offsetof(struct chatty, loud),
                    .or_else = "false"}},
    .handlers = {{.name = "see_data", .types = {"tcp.data"}, .call = see_data},
                 {.name = "see_udp", .types = {"packet.ip.udp"}, .filter = "udp", .call = see_udp},
                 {.name = "tick", .every = 1000000000, .call = tick}},
    .publishes = {"tcp.data.said", "alert"},
    .declares =
        {{.name = "tcp.data.said",
          .fields = {{"number", "u32"}, {"begin", "text"}, {"share", "f64"}, {"minus", "i64"}}}},
    .leaves_flows = true,
    .state_size = sizeof(struct chatty),
    .flow_state_size = sizeof(struct flow),
    .finish = finish,
};
