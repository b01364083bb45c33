#include "microbox/stack/defaults.h"

#include "microbox/stack/core.h"
#include "microbox/stack/decode/decode.h"
#include "microbox/stack/fragments/fragment_table.h"

enum { SECOND = 1000000000 };

static uint64_t or_default(uint64_t value, uint64_t fallback) {
    return value != 0 ? value : fallback;
}

static void fill_fragment_defaults(struct mb_stack_config *config) {
    config->fragmented_datagrams_max = (uint32_t)or_default(config->fragmented_datagrams_max, 8192);
    config->fragments_per_datagram = (uint32_t)or_default(config->fragments_per_datagram, 128);
    if (config->fragments_per_datagram > MB_FRAGMENTS_PER_DATAGRAM_MAX)
        config->fragments_per_datagram = MB_FRAGMENTS_PER_DATAGRAM_MAX;
    config->fragment_bytes_max = or_default(config->fragment_bytes_max, 64 << 20);
    config->fragment_timeout = or_default(config->fragment_timeout, UINT64_C(60) * SECOND);
}

/* Timeouts are the least that RFC 5382, RFC 4787 and RFC 5508 allow a middlebox. */
static void fill_limits(struct mb_stack_config *config) {
    config->flows_max = (uint32_t)or_default(config->flows_max, 1000000);
    config->held_segments_per_flow = (uint32_t)or_default(config->held_segments_per_flow, 256);
    if (config->held_segments_per_flow > MB_HELD_PER_FLOW_MAX)
        config->held_segments_per_flow = MB_HELD_PER_FLOW_MAX;
    config->held_segments_max = (uint32_t)or_default(config->held_segments_max, 262144);
    config->held_bytes_per_flow = or_default(config->held_bytes_per_flow, 1 << 20);
    config->held_bytes_max = or_default(config->held_bytes_max, 256 << 20);
    config->judged_bytes_max = or_default(config->judged_bytes_max, 64 << 20);
    config->compared_segments_max = (uint32_t)or_default(config->compared_segments_max, 65536);
    config->gap_acknowledgments = (uint32_t)or_default(config->gap_acknowledgments, 3);
    config->gap_timeout = or_default(config->gap_timeout, UINT64_C(30) * SECOND);
    config->tcp_timeout = or_default(config->tcp_timeout, UINT64_C(7440) * SECOND);
    config->tcp_unanswered_timeout =
        or_default(config->tcp_unanswered_timeout, UINT64_C(7440) * SECOND);
    config->tcp_opening_timeout = or_default(config->tcp_opening_timeout, UINT64_C(240) * SECOND);
    config->tcp_closed_timeout = or_default(config->tcp_closed_timeout, UINT64_C(240) * SECOND);
    config->tcp_reset_timeout = or_default(config->tcp_reset_timeout, UINT64_C(2) * SECOND);
    config->udp_timeout = or_default(config->udp_timeout, UINT64_C(120) * SECOND);
    config->udp_unanswered_timeout =
        or_default(config->udp_unanswered_timeout, UINT64_C(120) * SECOND);
    config->icmp_timeout = or_default(config->icmp_timeout, UINT64_C(60) * SECOND);
    config->icmp_unanswered_timeout =
        or_default(config->icmp_unanswered_timeout, UINT64_C(60) * SECOND);
    config->command_delay = (uint32_t)or_default(config->command_delay, 8192);
    config->tunnels_max = (uint32_t)or_default(config->tunnels_max, 4);
    if (config->tunnels_max > MB_TUNNELS_DEPTH_MAX)
        config->tunnels_max = MB_TUNNELS_DEPTH_MAX;
    fill_fragment_defaults(config);
}

static void judge_by_default(enum mb_judgement *judgement, enum mb_judgement fallback) {
    if (*judgement == MB_JUDGEMENT_DEFAULT)
        *judgement = fallback;
}

/* Refused by default is what no receiver of today takes; what a lossy or lopsided capture shows of
 * good connections too is told. */
static void fill_judgements(struct mb_stack_config *config) {
    judge_by_default(&config->bad_checksum, MB_JUDGEMENT_REPORT);
    judge_by_default(&config->low_ttl, MB_JUDGEMENT_REFUSE);
    judge_by_default(&config->unusual_ttl, MB_JUDGEMENT_REPORT);
    judge_by_default(&config->unexpected_signature, MB_JUDGEMENT_REFUSE);
    judge_by_default(&config->old_timestamp, MB_JUDGEMENT_REFUSE);
    judge_by_default(&config->ack_out_of_window, MB_JUDGEMENT_REFUSE);
    judge_by_default(&config->unsent_acknowledgment, MB_JUDGEMENT_REPORT);
    judge_by_default(&config->beyond_window, MB_JUDGEMENT_REPORT);
}

void mb_stack_fill_defaults(struct mb_stack_config *config) {
    config->workers = (uint32_t)or_default(config->workers, 1);
    fill_limits(config);
    fill_judgements(config);
}
