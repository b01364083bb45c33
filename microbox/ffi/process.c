#include "microbox/ffi/process.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

int mb_die_with_parent(int parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return -errno;
    /* The parent may have died before the call: then no signal will come. */
    return getppid() == parent ? 0 : -ESRCH;
}
