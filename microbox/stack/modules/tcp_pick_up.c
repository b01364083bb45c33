#include "microbox/stack/modules/modules.h"
#include "microbox/stack/wire/tcp.h"

void mb_tcp_monitor_pick_up(struct mb_flow_entry *flow) {
    const uint16_t stale = MB_TCP_SEEN | MB_TCP_ACK_SEEN | MB_TCP_TIMED | MB_TCP_TIMESTAMPED |
                           MB_TCP_SYN_BYTES | MB_TCP_SYN_MOVED | MB_TCP_CLAIMED;
    for (unsigned direction = 0; direction < 2; direction++) {
        flow->tcp[direction].marks &= (uint16_t)~stale;
        flow->tcp[direction].ttl_least = 0;
    }
    if (flow->marks & MB_FLOW_STARTED) /* else it is the SYN that the flow begins with */
        flow->pending_syn.from = 0;
}

/* Offsets count from the beginning of the stream; what was skipped is less than 4 GiB, or the
 * offset lacks multiples of that. */
void mb_tcp_stream_pick_up(struct mb_flow_entry *flow, unsigned direction) {
    struct mb_stream_side *side = &flow->stream[direction];
    const struct mb_tcp_side *tcp = &flow->tcp[direction];
    const uint32_t next = flow->snapshot.side[direction].next;
    /* Its SYN may be known all the same, from the flow before. */
    if (flow->snapshot.side[direction].packets == 0) {
        side->beginning = MB_STREAM_FROM_FIRST;
        return;
    }
    if (!(tcp->marks & MB_TCP_SEEN)) {
        /* The number of the first byte stays known where its SYN was seen. */
        bool is_later = tcp->marks & MB_TCP_SYN_SEEN;
        side->beginning = is_later ? MB_STREAM_FROM_MIDDLE : MB_STREAM_FROM_FIRST;
        return;
    }
    if (side->beginning == MB_STREAM_BEGUN)
        side->offset += next - side->next;
    else
        side->offset = next - tcp->initial;
    side->next = next;
    side->beginning = MB_STREAM_BEGUN;
    side->acknowledged = 0;
}

void mb_tcp_pass_by(struct mb_flow_table *table, struct mb_flow_entry *flow,
                    const struct mb_decoded *segment, unsigned direction) {
    struct mb_tcp_side *tcp = &flow->tcp[direction];
    if (flow->marks & MB_FLOW_ENDED)
        return;
    if (segment->tcp_flags & MB_TCP_SYN && !(tcp->marks & MB_TCP_SEEN)) {
        tcp->marks |= MB_TCP_SEEN;
        tcp->initial = segment->sequence_number + 1;
        flow->snapshot.side[direction].next = tcp->initial;
    }
    if (segment->tcp_flags & MB_TCP_FIN && !(tcp->marks & MB_TCP_FIN_SEEN)) {
        tcp->marks |= MB_TCP_FIN_SEEN;
        tcp->fin = segment->sequence_number + segment->payload_length;
    }
    bool both_closed = flow->tcp[0].marks & flow->tcp[1].marks & MB_TCP_FIN_SEEN;
    if (both_closed || segment->tcp_flags & MB_TCP_RST)
        mb_flow_requeue(table, flow, MB_TIMEOUT_CLOSED);
}
