/*
 * An NF's own user: nobody else runs as it, and it has no rights of root.
 *
 * Only a process that was started by root can take one. The user's number is MB_OWN_USERS plus the
 * process's number, so no two living processes share one, and nothing has to hand them out. The
 * range lies above those that systemd and container managers give away
 * (https://systemd.io/UIDS-GIDS).
 */
#ifndef MICROBOX_CONFINE_IDENTITY_H
#define MICROBOX_CONFINE_IDENTITY_H

#include <stdint.h>

enum {
    MB_OWN_USERS = 0x70000000, /* 1879048192, up to + PID_MAX_LIMIT (4194304) */
    MB_OWN_THREADS_MAX = 512,  /* of a process with a user of its own */
};

/* Capabilities that may be kept, where Landlock says which files they are good for. */
enum mb_kept_capability {
    MB_KEEP_NONE = 0,
    MB_KEEP_READ_SEARCH = 1, /* CAP_DAC_READ_SEARCH: reads where only root may look */
    MB_KEEP_OVERRIDE = 2,    /* CAP_DAC_OVERRIDE: writes where only root may */
};

/* The number of the user that this process would take. */
uint32_t mb_own_user(void);

/* Drops all supplementary groups, takes the own user and a group of the same number, keeps no
 * capability but `kept`. The process has one thread. Returns 0 or -errno; -EINVAL: the user
 * namespace has no such user. On error the caller keeps what it has not lost yet: give up. */
int mb_take_own_user(unsigned kept);

/* Keeps the user, and of its capabilities only `kept`. One thread. Returns 0 or -errno. */
int mb_keep_capabilities(unsigned kept);

#endif
