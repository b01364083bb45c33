/*
 * Of two copies of a byte, which one a receiver keeps.
 *
 * RFC 9293 does not say, and systems differ: what decides is where the new segment begins and ends
 * beside the one that is held. One table, from J. Novak and S. Sturges, "Target-Based TCP Stream
 * Reassembly" (2007), as Suricata and Snort apply it; read beside the sources of Linux
 * (tcp_data_queue_ofo) and FreeBSD (tcp_reass). `windows` is what was measured up to Windows Server
 * 2003; Windows Vista and later keep what came `first`.
 *
 * The policy is about bytes that wait behind a hole. What is in order the receiver's application
 * may have read, so it cannot change: of that the first copy stays, whatever the policy.
 */
#ifndef MICROBOX_STACK_STREAMS_OVERLAP_H
#define MICROBOX_STACK_STREAMS_OVERLAP_H

#include "microbox/stack/flows/hosts.h"

#include <stdbool.h>
#include <stdint.h>

/* Sequence numbers of the first byte and of the one after the last. */
struct mb_extent {
    uint32_t begin;
    uint32_t end;
};

/* Is the new copy kept where the two overlap? */
bool mb_overlap_keeps_new(enum mb_overlap_policy policy, struct mb_extent held,
                          struct mb_extent arrived);

/* Does the system judge a held segment by its extent as it came, though it lost bytes to others
 * since? Linux holds segments whole, and cuts them when it hands them over; BSD cuts at once. */
static inline bool mb_overlap_holds_whole(enum mb_overlap_policy policy) {
    return policy == MB_OVERLAP_LINUX;
}

#endif
