"""The files that an NF may open: those of its interpreter, its own, and those that it declares."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from microbox._core import lib

READ = lib.MB_FILE_READ
TREE = lib.MB_FILE_READ | lib.MB_FILE_LIST
CHANGE = lib.MB_FILE_READ | lib.MB_FILE_WRITE
CHANGE_TREE = TREE | lib.MB_FILE_WRITE | lib.MB_FILE_MAKE

MAGIC = frozenset("*?[")
"""What makes a path a pattern."""

LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
MACHINE = (
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/dev/urandom",
    "/dev/random",
    "/dev/zero",
    "/proc/cpuinfo",
    "/sys/devices/system/cpu",
)
RESOLVER = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ssl",
    "/etc/pki",
    "/usr/share/ca-certificates",
)


@dataclass(frozen=True, slots=True)
class Needs:
    """What an NF declares: absolute patterns, as of `glob`, of files to be read and to be written;
    and whether it has a network."""

    files: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    network: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A path that exists, and what may be done to it and below it (enum mb_file_access)."""

    path: str
    access: int


def of_interpreter() -> Iterator[Rule]:
    """What any Python process reads, also in modules that are imported late."""
    prefixes = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    for path in dict.fromkeys((*prefixes, *sys.path, *LIBRARIES, *MACHINE)):
        if path and Path(path).exists():
            yield Rule(path, TREE)
    yield Rule("/dev/null", CHANGE)


def of_network() -> Iterator[Rule]:
    """What turning names into addresses, and TLS, read."""
    yield from (Rule(path, TREE) for path in RESOLVER if Path(path).exists())


def of_source(source: Path) -> Iterator[Rule]:
    """The NF's file, and what it may import: the modules and packages beside it. Of all else in its
    folder it sees the names alone; what a link there leads to has to be declared, since whoever
    wrote the NF may have made the link."""
    folder = source.resolve().parent
    yield Rule(str(folder), lib.MB_FILE_LIST)
    yield Rule(str(source), READ)
    for entry in folder.iterdir():
        if entry.is_symlink():
            continue
        if entry.suffix in (".py", ".so") and entry.is_file():
            yield Rule(str(entry), READ)
        elif (entry / "__init__.py").is_file():
            yield Rule(str(entry), TREE)


def to_read(patterns: Iterable[str]) -> Iterator[Rule]:
    """What the patterns match now."""
    yield from (Rule(str(path), TREE) for path in matched_by(patterns))


def to_write(patterns: Iterable[str]) -> Iterator[Rule]:
    """Likewise, to be changed as well; in a directory all may be."""
    for path in matched_by(patterns):
        yield Rule(str(path), CHANGE_TREE if path.is_dir() else CHANGE)


def matched_by(patterns: Iterable[str]) -> Iterator[Path]:
    """The files and directories that absolute patterns match now."""
    for pattern in patterns:
        yield from sorted(Path("/").glob(os.path.normpath(pattern).lstrip("/") or "."))


def make_missing(patterns: Iterable[str]) -> None:
    """Makes the files that are to be written, or directories where a pattern ends with "/": what
    does not exist cannot be allowed. Raises OSError."""
    for pattern in patterns:
        path = Path(pattern)
        if MAGIC.intersection(pattern) or path.exists():
            continue
        if pattern.endswith("/"):
            path.mkdir(parents=True)
        else:
            os.close(os.open(pattern, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
