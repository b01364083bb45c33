/*
 * A filter of system calls: what no NF needs, and what could reach beyond its own process, fails
 * with EPERM. The table is calls.def.
 */
#ifndef MICROBOX_CONFINE_SECCOMP_H
#define MICROBOX_CONFINE_SECCOMP_H

#include <stdbool.h>

/* Whether this kernel filters, on a processor that the table is written for. */
bool mb_seccomp_is_supported(void);

/* Filters all threads of this process from now on, for good. `network`: sockets of IPv4 and IPv6
 * may be made. Needs mb_renounce_privileges before. Returns 0 or -errno. */
int mb_filter_calls(bool network);

#endif
