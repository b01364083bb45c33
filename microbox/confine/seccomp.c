#include "microbox/confine/seccomp.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/ioprio.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define PROCESSOR AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define PROCESSOR AUDIT_ARCH_AARCH64
#endif

/* The last call that calls.def was written with: mseal. Numbers from 424 on are the same for all
 * processors. Those of x32 lie above too. */
enum { LAST_KNOWN_CALL = 462 };

/* Younger than the headers of some distributions. */
#ifndef __NR_quotactl_fd
#define __NR_quotactl_fd 443
#endif
#ifndef __NR_process_mrelease
#define __NR_process_mrelease 448
#endif
#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif

/* Older than some processors: a number that no call has. */
#ifndef __NR_fork
#define __NR_fork         UINT32_MAX
#define __NR_vfork        UINT32_MAX
#define __NR_chmod        UINT32_MAX
#define __NR_chown        UINT32_MAX
#define __NR_lchown       UINT32_MAX
#define __NR_utime        UINT32_MAX
#define __NR_utimes       UINT32_MAX
#define __NR_futimesat    UINT32_MAX
#define __NR_modify_ldt   UINT32_MAX
#define __NR_inotify_init UINT32_MAX
#define __NR_iopl         UINT32_MAX
#define __NR_ioperm       UINT32_MAX
#endif

enum kind { REFUSED, ABSENT, ITSELF, OWN_NUMBER, WITH, WITHOUT, WITH_BIT, WITHOUT_BIT, NETWORK };

struct row {
    uint32_t call;
    uint8_t kind; /* enum kind */
    uint8_t argument;
    uint32_t value;
};

static const struct row rows[] = {
#define REFUSED(call)                          {__NR_##call, REFUSED, 0, 0},
#define ABSENT(call)                           {__NR_##call, ABSENT, 0, 0},
#define ON_ITSELF(call, number)                {__NR_##call, ITSELF, number, 0},
#define ON_OWN_NUMBER(call, number)            {__NR_##call, OWN_NUMBER, number, 0},
#define REFUSED_WITH(call, number, value)      {__NR_##call, WITH, number, (uint32_t)(value)},
#define REFUSED_WITHOUT(call, number, value)   {__NR_##call, WITHOUT, number, value},
#define REFUSED_WITH_BIT(call, number, bit)    {__NR_##call, WITH_BIT, number, bit},
#define REFUSED_WITHOUT_BIT(call, number, bit) {__NR_##call, WITHOUT_BIT, number, bit},
#define NETWORK_WITH(call, number, value)      {__NR_##call, NETWORK, number, value},
#include "microbox/confine/calls.def"
};

enum {
    ROWS = sizeof rows / sizeof rows[0],
    STEPS_PER_ROW = 7,
    STEPS_MAX = ROWS * STEPS_PER_ROW + 8,
    REFUSE = SECCOMP_RET_ERRNO | EPERM,
    NO_SUCH_CALL = SECCOMP_RET_ERRNO | ENOSYS,
};
_Static_assert(STEPS_MAX <= BPF_MAXINSNS, "the kernel takes the whole filter");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "an argument's low half comes first");

struct filter {
    unsigned count;
    struct sock_filter steps[STEPS_MAX];
};

static void step(struct filter *filter, uint16_t code, uint32_t value, uint8_t if_true,
                 uint8_t if_false) {
    filter->steps[filter->count++] = (struct sock_filter){code, if_true, if_false, value};
}

static void load(struct filter *filter, size_t offset) {
    step(filter, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void answer(struct filter *filter, uint32_t how) {
    step(filter, BPF_RET | BPF_K, how, 0, 0);
}

/* The next step where the accumulator is `value`, else `skipped` steps further. */
static void unless_equal_skip(struct filter *filter, uint32_t value, uint8_t skipped) {
    step(filter, BPF_JMP | BPF_JEQ | BPF_K, value, 0, skipped);
}

static void if_equal_skip(struct filter *filter, uint32_t value, uint8_t skipped) {
    step(filter, BPF_JMP | BPF_JEQ | BPF_K, value, skipped, 0);
}

/* The argument is in the accumulator: answers, or goes on to the step behind. */
static void judge_argument(struct filter *filter, const struct row *row, uint32_t own_number) {
    switch ((enum kind)row->kind) {
    case ITSELF:
        if_equal_skip(filter, 0, 2);
        if_equal_skip(filter, own_number, 1);
        break;
    case OWN_NUMBER:
        if_equal_skip(filter, own_number, 1);
        break;
    case WITHOUT:
        if_equal_skip(filter, row->value, 1);
        break;
    case WITH_BIT:
        step(filter, BPF_JMP | BPF_JSET | BPF_K, row->value, 0, 1);
        break;
    case WITHOUT_BIT:
        step(filter, BPF_JMP | BPF_JSET | BPF_K, row->value, 1, 0);
        break;
    default:
        unless_equal_skip(filter, row->value, 1);
    }
    answer(filter, row->kind == NETWORK ? SECCOMP_RET_ALLOW : REFUSE);
}

/* The call's number is in the accumulator, before and behind. */
static void add_row(struct filter *filter, const struct row *row, uint32_t own_number) {
    const unsigned first = filter->count;
    unless_equal_skip(filter, row->call, 0);
    if (row->kind == REFUSED || row->kind == ABSENT) {
        answer(filter, row->kind == REFUSED ? REFUSE : NO_SUCH_CALL);
    } else {
        load(filter, offsetof(struct seccomp_data, args) + row->argument * sizeof(uint64_t));
        judge_argument(filter, row, own_number);
        load(filter, offsetof(struct seccomp_data, nr));
    }
    filter->steps[first].jf = (uint8_t)(filter->count - first - 1);
}

static void add_rows(struct filter *filter, bool network) {
    const uint32_t own_number = (uint32_t)getpid();
    for (unsigned i = 0; i < ROWS; i++)
        if (network || rows[i].kind != NETWORK)
            add_row(filter, &rows[i], own_number);
}

#ifdef PROCESSOR

static void begin(struct filter *filter) {
    load(filter, offsetof(struct seccomp_data, arch));
    if_equal_skip(filter, PROCESSOR, 1); /* else: 32-bit calls, whose numbers mean others */
    answer(filter, REFUSE);
    load(filter, offsetof(struct seccomp_data, nr));
    step(filter, BPF_JMP | BPF_JGT | BPF_K, LAST_KNOWN_CALL, 0, 1);
    answer(filter, NO_SUCH_CALL);
}

bool mb_seccomp_is_supported(void) {
    const uint32_t action = SECCOMP_RET_ERRNO;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int mb_filter_calls(bool network) {
    struct filter filter = {.count = 0};
    begin(&filter);
    add_rows(&filter, network);
    answer(&filter, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = {(unsigned short)filter.count, filter.steps};
    const long result =
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    if (result > 0)
        return -EBUSY; /* a thread that filters calls in another way */
    return result == 0 ? 0 : -errno;
}

#else

bool mb_seccomp_is_supported(void) {
    return false;
}

int mb_filter_calls(bool network) {
    (void)network;
    return -EOPNOTSUPP;
}

#endif
