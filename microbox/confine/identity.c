#include "microbox/confine/identity.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

uint32_t mb_own_user(void) {
    return MB_OWN_USERS + (uint32_t)getpid();
}

int mb_keep_capabilities(unsigned kept) {
    uint32_t set = 0;
    if (kept & MB_KEEP_READ_SEARCH)
        set |= UINT32_C(1) << CAP_DAC_READ_SEARCH;
    if (kept & MB_KEEP_OVERRIDE)
        set |= UINT32_C(1) << CAP_DAC_OVERRIDE;
    _Static_assert(CAP_DAC_READ_SEARCH < 32 && CAP_DAC_OVERRIDE < 32, "both are in the first word");
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct held[2];
    if (syscall(SYS_capget, &header, held) != 0)
        return -errno;
    set &= held[0].permitted;
    const struct __user_cap_data_struct data[2] = {{.effective = set, .permitted = set}};
    return syscall(SYS_capset, &header, data) == 0 ? 0 : -errno;
}

int mb_take_own_user(unsigned kept) {
    const uid_t user = mb_own_user();
    /* Refused where the user namespace has no such user, before anything is lost. */
    if (setresgid(user, user, user) != 0 || setgroups(0, NULL) != 0)
        return -errno;
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || setresuid(user, user, user) != 0)
        return -errno;
    const struct rlimit threads = {MB_OWN_THREADS_MAX, MB_OWN_THREADS_MAX};
    if (setrlimit(RLIMIT_NPROC, &threads) != 0)
        return -errno;
    return mb_keep_capabilities(kept);
}
