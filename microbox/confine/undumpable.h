/*
 * A process that nobody of its own user may look into.
 */
#ifndef MICROBOX_CONFINE_UNDUMPABLE_H
#define MICROBOX_CONFINE_UNDUMPABLE_H

/* From now on /proc/PID/mem, ptrace, process_vm_writev, pidfd_getfd on this process need
 * CAP_SYS_PTRACE, and it leaves no core file. exec and a change of identity undo it: call it after
 * them. Returns 0 or -errno. */
int mb_become_undumpable(void);

/* From now on exec gives nobody privileges: what an unprivileged process needs before it may
 * confine itself. Cannot be undone. Returns 0 or -errno. */
int mb_renounce_privileges(void);

#endif
