/*
 * Segments that the receiver may not see, or not take, although they pass by here: each kind is
 * judged as the configuration says. A refused segment neither moves the tracker nor gives bytes.
 */
#include "microbox/stack/modules/tcp_tracker.h"

#include <stddef.h>

enum {
    /* Hops by which a side's TTL may fall below what is usual of it: routes change. */
    TTL_MARGIN = 4,
    /* RFC 7323 section 5.5: a timestamp that is older than 24 days says nothing any more. */
    TIMESTAMP_AGE_MAX = (uint32_t)((UINT64_C(24) * 86400 * 1000000000) >> MB_TCP_AGE_SHIFT)
};

typedef bool is_suspicious(const struct mb_stack *stack, const struct mb_flow_entry *flow,
                           const struct mb_decoded *segment, unsigned direction);

static bool has_bad_checksum(const struct mb_stack *stack, const struct mb_flow_entry *flow,
                             const struct mb_decoded *segment, unsigned direction) {
    (void)stack, (void)flow, (void)direction;
    return segment->bad_checksum == MB_REASON_TCP_BAD_CHECKSUM;
}

/* To the receiver; 0: the distance is not known, and where that is kept is not touched. */
static uint8_t known_hops(const struct mb_flow_entry *flow, unsigned direction) {
    return mb_tcp_is_marked(flow, direction, MB_TCP_HOPS_KNOWN) ? flow->receiver[direction].hops
                                                                : 0;
}

/* Expires before it arrives, as far as the distance is known. */
static bool has_low_ttl(const struct mb_stack *stack, const struct mb_flow_entry *flow,
                        const struct mb_decoded *segment, unsigned direction) {
    (void)stack;
    uint8_t hops = known_hops(flow, direction);
    return hops != 0 && segment->ttl <= hops;
}

static bool has_unusual_ttl(const struct mb_stack *stack, const struct mb_flow_entry *flow,
                            const struct mb_decoded *segment, unsigned direction) {
    return segment->ttl < flow->tcp[direction].ttl_least &&
           !has_low_ttl(stack, flow, segment, direction);
}

/* RFC 2385 and RFC 5925: both are agreed on beforehand, so the SYN bears the option already. */
static bool has_unexpected_signature(const struct mb_stack *stack, const struct mb_flow_entry *flow,
                                     const struct mb_decoded *segment, unsigned direction) {
    (void)stack;
    return segment->tcp_options & MB_TCP_HAS_SIGNATURE &&
           mb_tcp_is_marked(flow, direction, MB_TCP_SYN_SEEN) &&
           !(flow->tcp[direction].options & MB_TCP_HAS_SIGNATURE);
}

static bool says_something_new(const struct mb_flow_entry *flow, const struct mb_decoded *segment,
                               unsigned direction) {
    return segment->payload_length != 0 || segment->tcp_flags & MB_TCP_FIN ||
           (segment->tcp_flags & MB_TCP_ACK &&
            mb_sequence_before(flow->snapshot.side[direction].acknowledged,
                               segment->acknowledgment_number));
}

static uint16_t timestamp_age(const struct mb_stack *stack) {
    return (uint16_t)(stack->clock.now >> MB_TCP_AGE_SHIFT);
}

/* PAWS (RFC 7323 section 5.3, R1); a RST is exempt. */
static bool has_old_timestamp(const struct mb_stack *stack, const struct mb_flow_entry *flow,
                              const struct mb_decoded *segment, unsigned direction) {
    const struct mb_tcp_side *tcp = &flow->tcp[direction];
    if (!(tcp->marks & MB_TCP_TIMESTAMPED) || !(segment->tcp_options & MB_TCP_HAS_TIMESTAMP) ||
        segment->tcp_flags & (MB_TCP_RST | MB_TCP_SYN))
        return false;
    uint16_t age = (uint16_t)(timestamp_age(stack) - tcp->timestamp_age);
    return mb_sequence_before(segment->timestamp_value, tcp->timestamp) &&
           age < TIMESTAMP_AGE_MAX && says_something_new(flow, segment, direction);
}

static bool acknowledges_out_of_window(const struct mb_stack *stack,
                                       const struct mb_flow_entry *flow,
                                       const struct mb_decoded *segment, unsigned direction) {
    (void)stack;
    return !(segment->tcp_flags & (MB_TCP_RST | MB_TCP_SYN)) &&
           mb_tcp_acknowledges_out_of_window(flow, segment, direction);
}

static bool acknowledges_unsent(const struct mb_stack *stack, const struct mb_flow_entry *flow,
                                const struct mb_decoded *segment, unsigned direction) {
    (void)stack;
    return !(segment->tcp_flags & (MB_TCP_RST | MB_TCP_SYN)) &&
           mb_tcp_acknowledges_unsent(flow, segment, direction) &&
           !mb_tcp_acknowledges_out_of_window(flow, segment, direction);
}

/* A segment's length counts its FIN (RFC 9293 section 3.4). A probe of a closed window has a name
 * of its own. */
static bool is_beyond_window(const struct mb_stack *stack, const struct mb_flow_entry *flow,
                             const struct mb_decoded *segment, unsigned direction) {
    (void)stack;
    const struct mb_side *receiver = &flow->snapshot.side[1 - direction];
    uint32_t length = segment->payload_length + ((segment->tcp_flags & MB_TCP_FIN) != 0);
    if (length == 0 || segment->tcp_flags & (MB_TCP_RST | MB_TCP_SYN) ||
        !mb_tcp_is_marked(flow, 1 - direction, MB_TCP_ACK_SEEN) || !mb_tcp_scaling_is_known(flow))
        return false;
    int32_t past = mb_sequence_distance(receiver->acknowledged + receiver->window,
                                        segment->sequence_number + length);
    bool is_probe = receiver->window == 0 && length == 1;
    return past > 0 && past <= MB_TCP_DISTANCE_MAX && !is_probe;
}

struct kind {
    is_suspicious *holds;
    size_t judgement; /* where in the configuration it is */
    uint16_t type;    /* of the anomaly that it is */
};

static const struct kind kinds[] = {
    {has_bad_checksum, offsetof(struct mb_stack_config, bad_checksum), MB_TYPE_TCP_BAD_CHECKSUM},
    {has_low_ttl, offsetof(struct mb_stack_config, low_ttl), MB_TYPE_TCP_LOW_TTL},
    {has_unusual_ttl, offsetof(struct mb_stack_config, unusual_ttl), MB_TYPE_TCP_UNUSUAL_TTL},
    {has_unexpected_signature, offsetof(struct mb_stack_config, unexpected_signature),
     MB_TYPE_TCP_UNEXPECTED_SIGNATURE},
    {has_old_timestamp, offsetof(struct mb_stack_config, old_timestamp), MB_TYPE_TCP_OLD_TIMESTAMP},
    {acknowledges_out_of_window, offsetof(struct mb_stack_config, ack_out_of_window),
     MB_TYPE_TCP_ACK_OUT_OF_WINDOW},
    {acknowledges_unsent, offsetof(struct mb_stack_config, unsent_acknowledgment),
     MB_TYPE_TCP_UNSENT_ACKNOWLEDGMENT},
    {is_beyond_window, offsetof(struct mb_stack_config, beyond_window), MB_TYPE_TCP_BEYOND_WINDOW},
};

static enum mb_judgement judgement_of(const struct mb_stack *stack, const struct kind *kind) {
    enum mb_judgement judgement;
    memcpy(&judgement, (const char *)&stack->config + kind->judgement, sizeof judgement);
    return judgement;
}

/* --- what is usual of a side --- */

static void learn_ttl(struct mb_flow_entry *flow, uint8_t ttl, unsigned direction) {
    struct mb_tcp_side *tcp = &flow->tcp[direction];
    uint8_t hops = known_hops(flow, direction);
    uint8_t least = ttl > TTL_MARGIN ? (uint8_t)(ttl - TTL_MARGIN) : 0;
    if (ttl < tcp->ttl_least || least > tcp->ttl_least)
        tcp->ttl_least = least;
    if (hops != 0 && tcp->ttl_least <= hops)
        tcp->ttl_least = hops + 1;
}

/* RFC 7323 section 4.3: of a segment that covers what the receiver has acknowledged, so that one
 * that overtook others makes none of them old. */
static void learn_timestamp(const struct mb_stack *stack, struct mb_flow_entry *flow,
                            const struct mb_decoded *segment, unsigned direction) {
    struct mb_tcp_side *tcp = &flow->tcp[direction];
    if (!(segment->tcp_options & MB_TCP_HAS_TIMESTAMP) || segment->tcp_flags & MB_TCP_RST)
        return;
    bool is_first = !(tcp->marks & MB_TCP_TIMESTAMPED) || segment->tcp_flags & MB_TCP_SYN;
    bool covers = mb_tcp_is_marked(flow, 1 - direction, MB_TCP_ACK_SEEN) &&
                  mb_sequence_at_or_before(segment->sequence_number,
                                           flow->snapshot.side[1 - direction].acknowledged);
    bool is_newer = mb_sequence_at_or_before(tcp->timestamp, segment->timestamp_value);
    bool is_forgotten = (uint16_t)(timestamp_age(stack) - tcp->timestamp_age) >= TIMESTAMP_AGE_MAX;
    if (!is_first && !(covers && (is_newer || is_forgotten)))
        return;
    tcp->marks |= MB_TCP_TIMESTAMPED;
    tcp->timestamp = segment->timestamp_value;
    tcp->timestamp_age = timestamp_age(stack);
}

void mb_tcp_learn_what_is_usual(const struct mb_stack *stack, struct mb_flow_entry *flow,
                                const struct mb_decoded *segment, unsigned direction) {
    learn_ttl(flow, segment->ttl, direction);
    learn_timestamp(stack, flow, segment, direction);
}

void mb_tcp_forget_what_is_usual(struct mb_flow_entry *flow, unsigned direction) {
    flow->tcp[direction].ttl_least = 0;
    mb_tcp_unmark(flow, direction, MB_TCP_TIMESTAMPED);
}

bool mb_tcp_is_refused(struct mb_stack *stack, struct mb_flow_entry *flow,
                       const struct mb_decoded *segment, unsigned direction) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct kind *kind = &kinds[i];
        enum mb_judgement judgement = judgement_of(stack, kind);
        if (judgement == MB_JUDGEMENT_IGNORE || !kind->holds(stack, flow, segment, direction))
            continue;
        mb_tcp_anomaly(stack, flow, segment, direction, kind->type);
        if (judgement != MB_JUDGEMENT_REFUSE)
            continue;
        if (kind->holds == acknowledges_out_of_window)
            mb_tcp_claim(flow, segment, direction);
        return true;
    }
    mb_tcp_learn_what_is_usual(stack, flow, segment, direction);
    return false;
}
