/*
 * A Landlock domain: which files a process may still open, and that it may neither signal nor
 * reach anybody outside (https://docs.kernel.org/userspace-api/landlock.html).
 *
 * What is open or mapped already stays usable. Landlock does not ask about stat, chmod or
 * ownership: the filter of system calls does (seccomp.h). Memory without a name (memfd) is not
 * asked about either: seals protect it (bus/area.h).
 */
#ifndef MICROBOX_CONFINE_LANDLOCK_H
#define MICROBOX_CONFINE_LANDLOCK_H

#include <stdbool.h>

enum mb_file_access {
    MB_FILE_READ = 1,
    MB_FILE_LIST = 2,  /* names in a directory */
    MB_FILE_WRITE = 4, /* also truncating */
    MB_FILE_MAKE = 8,  /* files and directories in a directory, made, renamed and removed */
    MB_FILE_EXECUTE = 16,
};

enum {
    MB_LANDLOCK_FILES = 1,    /* ABI from which files can be restricted at all */
    MB_LANDLOCK_TRUNCATE = 3, /* ... also their being made shorter */
    MB_LANDLOCK_NETWORK = 4,  /* ... TCP */
    MB_LANDLOCK_DEVICES = 5,  /* ... ioctl on devices */
    MB_LANDLOCK_SCOPES = 6,   /* ... signals, abstract Unix sockets */
};

/* The kernel's version of Landlock; 0 where it has none, or it is switched off. */
int mb_landlock_version(void);

/* The descriptor of a ruleset that forbids all that this kernel's version can forbid; TCP only
 * without `network`. Or -errno. */
int mb_landlock_create(bool network);

/* Allows `access` (enum mb_file_access) to the file, or below the directory, `path`. What does not
 * fit a file is left out for one. Returns 0 or -errno. */
int mb_landlock_allow(int ruleset, const char *path, unsigned access);

/* Enters the domain, for good. It holds for the calling thread and those that it makes, so the
 * process must have one thread. Closes `ruleset`. Returns 0 or -errno. */
int mb_landlock_enter(int ruleset);

#endif
