/*
 * What a child process asks of the kernel before it runs a user's code.
 */
#ifndef MICROBOX_FFI_PROCESS_H
#define MICROBOX_FFI_PROCESS_H

/* The kernel kills this process when the thread that started it dies. `parent` is the process that
 * should be the parent still. Returns 0; -ESRCH: it is gone already; else -errno. */
int mb_die_with_parent(int parent);

#endif
