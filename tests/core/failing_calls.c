#include "failing_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Threads are not armed: only the test's own thread counts. */
static struct {
    bool is_armed;
    enum failing_calls_mode mode;
    uint64_t n;
    uint64_t count;
    const char *failed;
    bool is_advice;
    int64_t allocations;
    int64_t mappings;
} state;

enum { MUST_NOT_FAIL, ADVICE };

void failing_calls_arm(uint64_t n, enum failing_calls_mode mode) {
    memset(&state, 0, sizeof state);
    state.n = n;
    state.mode = mode;
    state.failed = "";
    state.is_armed = true;
}

uint64_t failing_calls_disarm(void) {
    state.is_armed = false;
    return state.count;
}

const char *failing_calls_failed(void) {
    return state.failed;
}

bool failing_calls_is_advice(void) {
    return state.is_advice;
}

int64_t failing_calls_allocations(void) {
    return state.allocations;
}

int64_t failing_calls_mappings(void) {
    return state.mappings;
}

static bool fails(const char *name, int kind, int error) {
    if (!state.is_armed)
        return false;
    state.count++;
    if (state.n == 0 || state.count < state.n || (state.mode == FAIL_ONCE && state.count > state.n))
        return false;
    if (state.failed[0] == '\0') {
        state.failed = name;
        state.is_advice = kind == ADVICE;
    }
    state.is_advice &= kind == ADVICE;
    errno = error;
    return true;
}

/* --- memory --- */

static void *counted(void *memory) {
    if (state.is_armed && memory != NULL)
        state.allocations++;
    return memory;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size) {
    return fails("malloc", MUST_NOT_FAIL, ENOMEM) ? NULL : counted(__real_malloc(size));
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size) {
    return fails("calloc", MUST_NOT_FAIL, ENOMEM) ? NULL : counted(__real_calloc(count, size));
}

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size) {
    if (fails("realloc", MUST_NOT_FAIL, ENOMEM))
        return NULL;
    void *moved = __real_realloc(memory, size);
    return memory == NULL ? counted(moved) : moved;
}

void *__real_reallocarray(void *memory, size_t count, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size) {
    if (fails("reallocarray", MUST_NOT_FAIL, ENOMEM))
        return NULL;
    void *moved = __real_reallocarray(memory, count, size);
    return memory == NULL ? counted(moved) : moved;
}

void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return fails("aligned_alloc", MUST_NOT_FAIL, ENOMEM)
               ? NULL
               : counted(__real_aligned_alloc(alignment, size));
}

int __real_posix_memalign(void **memory, size_t alignment, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size) {
    if (fails("posix_memalign", MUST_NOT_FAIL, ENOMEM))
        return ENOMEM;
    const int result = __real_posix_memalign(memory, alignment, size);
    if (result == 0)
        counted(*memory);
    return result;
}

char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text) {
    return fails("strdup", MUST_NOT_FAIL, ENOMEM) ? NULL : counted(__real_strdup(text));
}

void __real_free(void *memory);
void __wrap_free(void *memory);
void __wrap_free(void *memory) {
    if (state.is_armed && memory != NULL)
        state.allocations--;
    __real_free(memory);
}

/* --- mappings and descriptors --- */

void *__real_mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset) {
    if (fails("mmap", MUST_NOT_FAIL, ENOMEM))
        return MAP_FAILED;
    void *mapped = __real_mmap64(at, size, protection, flags, fd, offset);
    /* What replaces a part of another mapping goes with that. */
    if (state.is_armed && mapped != MAP_FAILED && !(flags & MAP_FIXED))
        state.mappings++;
    return mapped;
}

int __real_munmap(void *at, size_t size);
int __wrap_munmap(void *at, size_t size);
int __wrap_munmap(void *at, size_t size) {
    if (state.is_armed)
        state.mappings--;
    return __real_munmap(at, size);
}

int __real_madvise(void *at, size_t size, int advice);
int __wrap_madvise(void *at, size_t size, int advice);
int __wrap_madvise(void *at, size_t size, int advice) {
    return fails("madvise", ADVICE, EINVAL) ? -1 : __real_madvise(at, size, advice);
}

int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags) {
    return fails("memfd_create", MUST_NOT_FAIL, EMFILE) ? -1 : __real_memfd_create(name, flags);
}

int __real_ftruncate64(int fd, off64_t size);
int __wrap_ftruncate64(int fd, off64_t size);
int __wrap_ftruncate64(int fd, off64_t size) {
    return fails("ftruncate", MUST_NOT_FAIL, ENOSPC) ? -1 : __real_ftruncate64(fd, size);
}

int __real_fstat64(int fd, struct stat64 *status);
int __wrap_fstat64(int fd, struct stat64 *status);
int __wrap_fstat64(int fd, struct stat64 *status) {
    return fails("fstat", MUST_NOT_FAIL, EIO) ? -1 : __real_fstat64(fd, status);
}

off64_t __real_lseek64(int fd, off64_t offset, int from);
off64_t __wrap_lseek64(int fd, off64_t offset, int from);
off64_t __wrap_lseek64(int fd, off64_t offset, int from) {
    return fails("lseek", ADVICE, ESPIPE) ? -1 : __real_lseek64(fd, offset, from);
}

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    const long argument = va_arg(arguments, long);
    va_end(arguments);
    const int kind = command == F_SETPIPE_SZ ? ADVICE : MUST_NOT_FAIL;
    return fails("fcntl", kind, EMFILE) ? -1 : __real_fcntl64(fd, command, argument);
}

ssize_t __real_pread64(int fd, void *bytes, size_t length, off64_t offset);
ssize_t __wrap_pread64(int fd, void *bytes, size_t length, off64_t offset);
ssize_t __wrap_pread64(int fd, void *bytes, size_t length, off64_t offset) {
    return fails("pread", MUST_NOT_FAIL, EIO) ? -1 : __real_pread64(fd, bytes, length, offset);
}

ssize_t __real_read(int fd, void *bytes, size_t length);
ssize_t __wrap_read(int fd, void *bytes, size_t length);
ssize_t __wrap_read(int fd, void *bytes, size_t length) {
    return fails("read", MUST_NOT_FAIL, EIO) ? -1 : __real_read(fd, bytes, length);
}

ssize_t __real_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length) {
    return fails("write", MUST_NOT_FAIL, ENOSPC) ? -1 : __real_write(fd, bytes, length);
}

int __real_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout) {
    return fails("poll", ADVICE, EINTR) ? -1 : __real_poll(fds, count, timeout);
}

/* --- the rest of the system --- */

ssize_t __real_getrandom(void *bytes, size_t length, unsigned flags);
ssize_t __wrap_getrandom(void *bytes, size_t length, unsigned flags);
ssize_t __wrap_getrandom(void *bytes, size_t length, unsigned flags) {
    return fails("getrandom", MUST_NOT_FAIL, ENOSYS) ? -1 : __real_getrandom(bytes, length, flags);
}

int __real_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set);
int __wrap_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set);
int __wrap_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set) {
    return fails("sched_getaffinity", ADVICE, EINVAL) ? -1
                                                      : __real_sched_getaffinity(pid, size, set);
}

/* The core's only one is futex, which may return at any time. */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...) {
    va_list arguments;
    va_start(arguments, number);
    long argument[6];
    for (unsigned i = 0; i < 6; i++)
        argument[i] = va_arg(arguments, long);
    va_end(arguments);
    return fails("syscall", ADVICE, EINTR)
               ? -1
               : __real_syscall(number, argument[0], argument[1], argument[2], argument[3],
                                argument[4], argument[5]);
}

FILE *__real_fdopen(int fd, const char *mode);
FILE *__wrap_fdopen(int fd, const char *mode);
FILE *__wrap_fdopen(int fd, const char *mode) {
    return fails("fdopen", MUST_NOT_FAIL, ENOMEM) ? NULL : __real_fdopen(fd, mode);
}

FILE *__real_fmemopen(void *bytes, size_t size, const char *mode);
FILE *__wrap_fmemopen(void *bytes, size_t size, const char *mode);
FILE *__wrap_fmemopen(void *bytes, size_t size, const char *mode) {
    return fails("fmemopen", MUST_NOT_FAIL, ENOMEM) ? NULL : __real_fmemopen(bytes, size, mode);
}

void *__real_dlopen(const char *path, int flags);
void *__wrap_dlopen(const char *path, int flags);
void *__wrap_dlopen(const char *path, int flags) {
    return fails("dlopen", MUST_NOT_FAIL, ENOMEM) ? NULL : __real_dlopen(path, flags);
}

void *__real_dlsym(void *handle, const char *name);
void *__wrap_dlsym(void *handle, const char *name);
void *__wrap_dlsym(void *handle, const char *name) {
    return fails("dlsym", MUST_NOT_FAIL, ENOENT) ? NULL : __real_dlsym(handle, name);
}

/* --- libpcap, which says itself what went wrong --- */

static void say_no_memory(pcap_t *capture) {
    snprintf(pcap_geterr(capture), PCAP_ERRBUF_SIZE, "out of memory");
}

pcap_t *__real_pcap_open_dead(int link_type, int snap_length);
pcap_t *__wrap_pcap_open_dead(int link_type, int snap_length);
pcap_t *__wrap_pcap_open_dead(int link_type, int snap_length) {
    /* A filter is compiled twice, and one of the two is enough. */
    return fails("pcap_open_dead", ADVICE, ENOMEM) ? NULL
                                                   : __real_pcap_open_dead(link_type, snap_length);
}

int __real_pcap_compile(pcap_t *capture, struct bpf_program *program, const char *expression,
                        int optimize, bpf_u_int32 netmask);
int __wrap_pcap_compile(pcap_t *capture, struct bpf_program *program, const char *expression,
                        int optimize, bpf_u_int32 netmask);
int __wrap_pcap_compile(pcap_t *capture, struct bpf_program *program, const char *expression,
                        int optimize, bpf_u_int32 netmask) {
    if (!fails("pcap_compile", ADVICE, ENOMEM))
        return __real_pcap_compile(capture, program, expression, optimize, netmask);
    say_no_memory(capture);
    return PCAP_ERROR;
}

pcap_t *__real_pcap_fopen_offline_with_tstamp_precision(FILE *file, unsigned precision,
                                                        char *error);
pcap_t *__wrap_pcap_fopen_offline_with_tstamp_precision(FILE *file, unsigned precision,
                                                        char *error);
pcap_t *__wrap_pcap_fopen_offline_with_tstamp_precision(FILE *file, unsigned precision,
                                                        char *error) {
    if (!fails("pcap_fopen_offline", MUST_NOT_FAIL, ENOMEM))
        return __real_pcap_fopen_offline_with_tstamp_precision(file, precision, error);
    snprintf(error, PCAP_ERRBUF_SIZE, "out of memory");
    return NULL;
}

pcap_dumper_t *__real_pcap_dump_fopen(pcap_t *capture, FILE *file);
pcap_dumper_t *__wrap_pcap_dump_fopen(pcap_t *capture, FILE *file);
pcap_dumper_t *__wrap_pcap_dump_fopen(pcap_t *capture, FILE *file) {
    if (!fails("pcap_dump_fopen", MUST_NOT_FAIL, ENOMEM))
        return __real_pcap_dump_fopen(capture, file);
    say_no_memory(capture);
    return NULL;
}

int __real_pcap_dump_flush(pcap_dumper_t *dumper);
int __wrap_pcap_dump_flush(pcap_dumper_t *dumper);
int __wrap_pcap_dump_flush(pcap_dumper_t *dumper) {
    return fails("pcap_dump_flush", MUST_NOT_FAIL, ENOSPC) ? PCAP_ERROR
                                                           : __real_pcap_dump_flush(dumper);
}

int __real_pcap_next_ex(pcap_t *capture, struct pcap_pkthdr **header, const u_char **bytes);
int __wrap_pcap_next_ex(pcap_t *capture, struct pcap_pkthdr **header, const u_char **bytes);
int __wrap_pcap_next_ex(pcap_t *capture, struct pcap_pkthdr **header, const u_char **bytes) {
    if (!fails("pcap_next_ex", MUST_NOT_FAIL, EIO))
        return __real_pcap_next_ex(capture, header, bytes);
    say_no_memory(capture);
    return PCAP_ERROR;
}
