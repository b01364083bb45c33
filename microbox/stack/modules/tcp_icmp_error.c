/*
 * ICMP errors about a connection (RFC 5927): believed where they quote a segment that is on its
 * way. Who does not see the connection has to guess its sequence numbers.
 */
#include "microbox/stack/core.h"
#include "microbox/stack/icmp_error.h"
#include "microbox/stack/modules/modules.h"
#include "microbox/stack/sequence_number.h"

/* RFC 5927 section 4.1: SND.UNA =< SEG.SEQ < SND.NXT. The last acknowledgement may have crossed the
 * error, so what it acknowledges counts too; a SYN that nobody answered has no SND.UNA. */
bool mb_tcp_icmp_error_is_credible(const struct mb_flow_entry *flow, unsigned direction,
                                   uint32_t sequence_number) {
    const struct mb_side *sender = &flow->snapshot.side[direction];
    const struct mb_side *receiver = &flow->snapshot.side[1 - direction];
    if (!(flow->tcp[direction].marks & MB_TCP_SEEN) ||
        !mb_sequence_before(sequence_number, sender->next))
        return false;
    if (!(flow->tcp[1 - direction].marks & MB_TCP_ACK_SEEN))
        return true;
    return !mb_sequence_before(sequence_number, receiver->acknowledged);
}

void mb_tcp_icmp_error(struct mb_stack *stack, struct mb_flow_entry *flow,
                       const struct mb_decoded *packet, const struct mb_icmp_quote *quote,
                       unsigned direction) {
    if (mb_tcp_icmp_error_is_credible(flow, direction, quote->sequence_number))
        return mb_icmp_error_publish(stack, flow, MB_TYPE_TCP_ICMP_ERROR, packet, quote, direction);
    mb_count_reason(stack, MB_REASON_TCP_ICMP_OUT_OF_WINDOW);
    struct mb_entry *entry =
        mb_icmp_error_entry(stack, flow, MB_TYPE_TCP_ICMP_OUT_OF_WINDOW,
                            MB_REASON_TCP_ICMP_OUT_OF_WINDOW, packet, direction);
    if (entry != NULL)
        entry->payload.tcp_anomaly.sequence_number = quote->sequence_number;
}
