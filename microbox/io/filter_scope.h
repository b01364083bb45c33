/*
 * How much of a packet a compiled filter looks at. Private to this folder.
 */
#ifndef MICROBOX_IO_FILTER_SCOPE_H
#define MICROBOX_IO_FILTER_SCOPE_H

#include <pcap/pcap.h>
#include <stdbool.h>

/* *answer: whether what a program compiled for raw IP says is the same for all packets that a flow
 * sends in one direction. A false "no" costs time; a false "yes" would be wrong. Returns 0 or
 * -ENOMEM. */
int mb_filter_looks_at_flow_only(const struct bpf_program *program, bool *answer);

#endif
