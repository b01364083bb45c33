#include "microbox/confine/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As linux/landlock.h has it; that of an older distribution lacks half. */
struct ruleset_attributes {
    uint64_t files;
    uint64_t network;
    uint64_t scopes;
};

struct path_beneath {
    uint64_t access;
    int32_t parent;
} __attribute__((packed));

enum { VERSION_FLAG = 1, RULE_PATH_BENEATH = 1 };

enum {
    EXECUTE = 1 << 0,
    WRITE_FILE = 1 << 1,
    READ_FILE = 1 << 2,
    READ_DIRECTORY = 1 << 3,
    REMOVE_DIRECTORY = 1 << 4,
    REMOVE_FILE = 1 << 5,
    MAKE_CHARACTER_DEVICE = 1 << 6,
    MAKE_DIRECTORY = 1 << 7,
    MAKE_REGULAR = 1 << 8,
    MAKE_SOCKET = 1 << 9,
    MAKE_FIFO = 1 << 10,
    MAKE_BLOCK_DEVICE = 1 << 11,
    MAKE_SYMBOLIC_LINK = 1 << 12,
    REFER = 1 << 13,          /* ABI 2 */
    TRUNCATE = 1 << 14,       /* ABI 3 */
    DEVICE_CONTROL = 1 << 15, /* ABI 5 */

    OF_ABI_1 = REFER - 1,
    OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | DEVICE_CONTROL,
    MAKING = MAKE_REGULAR | MAKE_DIRECTORY | REMOVE_FILE | REMOVE_DIRECTORY | REFER,

    BIND_TCP = 1 << 0,
    CONNECT_TCP = 1 << 1,

    ABSTRACT_UNIX_SOCKETS = 1 << 0,
    SIGNALS = 1 << 1,
};

int mb_landlock_version(void) {
    const long version = syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION_FLAG);
    return version < 0 ? 0 : (int)version;
}

static uint64_t files_of(int version) {
    uint64_t files = OF_ABI_1;
    if (version >= 2)
        files |= REFER;
    if (version >= MB_LANDLOCK_TRUNCATE)
        files |= TRUNCATE;
    if (version >= MB_LANDLOCK_DEVICES)
        files |= DEVICE_CONTROL;
    return files;
}

/* An older kernel takes the first members alone. */
static size_t attributes_size(int version) {
    if (version >= MB_LANDLOCK_SCOPES)
        return sizeof(struct ruleset_attributes);
    return version >= MB_LANDLOCK_NETWORK ? offsetof(struct ruleset_attributes, scopes)
                                          : offsetof(struct ruleset_attributes, network);
}

int mb_landlock_create(bool network) {
    const int version = mb_landlock_version();
    if (version < MB_LANDLOCK_FILES)
        return -EOPNOTSUPP;
    const struct ruleset_attributes attributes = {
        .files = files_of(version),
        .network = network ? 0 : BIND_TCP | CONNECT_TCP,
        .scopes = ABSTRACT_UNIX_SOCKETS | SIGNALS,
    };
    const long ruleset =
        syscall(SYS_landlock_create_ruleset, &attributes, attributes_size(version), 0);
    return ruleset < 0 ? -errno : (int)ruleset;
}

static uint64_t rights_of(unsigned access) {
    uint64_t rights = 0;
    if (access & MB_FILE_READ)
        rights |= READ_FILE;
    if (access & MB_FILE_LIST)
        rights |= READ_DIRECTORY;
    if (access & MB_FILE_WRITE)
        rights |= WRITE_FILE | TRUNCATE;
    if (access & MB_FILE_MAKE)
        rights |= MAKING;
    if (access & MB_FILE_EXECUTE)
        rights |= EXECUTE;
    return rights;
}

int mb_landlock_allow(int ruleset, const char *path, unsigned access) {
    const int parent = open(path, O_PATH | O_CLOEXEC);
    if (parent < 0)
        return -errno;
    struct stat status;
    int result = fstat(parent, &status) == 0 ? 0 : -errno;
    if (result == 0) {
        struct path_beneath rule = {rights_of(access) & files_of(mb_landlock_version()), parent};
        if (!S_ISDIR(status.st_mode))
            rule.access &= OF_FILES;
        if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) != 0)
            result = -errno;
    }
    close(parent);
    return result;
}

int mb_landlock_enter(int ruleset) {
    const int result = syscall(SYS_landlock_restrict_self, ruleset, 0) == 0 ? 0 : -errno;
    close(ruleset);
    return result;
}
