"""What this machine has of what microbox uses, a finding each: `microbox doctor` shows them.

Each asks what a run would ask. Nothing stays but the directory of the control sockets, where it was
missing; what is compiled lies in memory.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib
import importlib.util
import os
import platform
import resource
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from microbox._core import lib
from microbox.chain.memory import log_size
from microbox.chain.model import LOG_SLOTS_DEFAULT
from microbox.chain.units import format_size
from microbox.confine.support import missing_of_landlock, missing_of_seccomp, missing_of_users
from microbox.nf.errors import LoadError
from microbox.nf.shared_object import compiler, shared_object_of
from microbox.runtime.control.control_socket import ControlError, own_directory
from microbox.runtime.descriptors import nfs_within
from microbox.runtime.machine import available_memory, processors

F_SEAL_FUTURE_WRITE = 0x10  # linux/fcntl.h, Linux 5.1
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PROCESSOR = Path("/proc/cpuinfo")

NFS_USUAL = 16
"""A chain of so many should start."""

PROCESSES_USUAL = 256
"""Processes and threads that such a chain has room in, beside what its user runs anyway."""

LIBRARIES = {
    "uvloop": "chains run",
    "zmq": "the control socket answers",
    "httptools": "HTTP is parsed",
    "dns": "DNS is parsed",
    "zstandard": "captures packed as .zst are read",
    "hyperscan": "patterns are matched (ids)",
}
"""By module: what needs it. Those that the command line itself needs are there."""

PACKAGES = {"zmq": "pyzmq", "dns": "dnspython"}  # named otherwise than their modules

OPTIONAL = {"pandas": "to_pandas()", "pyarrow": "to_arrow()"}


class State(StrEnum):
    """How it stands with one thing; only a failure keeps chains from running."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """`remedy`: a command or a setting, "" where there is nothing to mend."""

    name: str
    state: State
    found: str
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """All findings, in the order in which one mends things."""
    yield kernel()
    yield processor()
    yield from confinement()
    yield open_files()
    yield processes()
    yield memory()
    yield huge_pages()
    yield control_socket()
    yield c_compiler()
    for module, use in LIBRARIES.items():
        yield library(module, use)
    for module, use in OPTIONAL.items():
        yield optional_library(module, use)


def kernel() -> Finding:
    """Processes share sealed memory, and are watched by descriptors of theirs."""
    found = f"{platform.system()} {platform.release()}"
    try:
        os.close(os.pidfd_open(os.getpid()))
        _seal()
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EINVAL, errno.EPERM):
            return Finding(
                "kernel",
                State.FAILURE,
                f"{found}: pidfd_open, or memory with seals, is refused ({error.strerror})",
                "use Linux 5.3 or newer; in a container, allow pidfd_open and memfd_create",
            )
        return Finding("kernel", State.FAILURE, f"{found}: {error.strerror}", "ulimit -n 1024")
    return Finding("kernel", State.OK, f"{found}, with sealed memory and pidfd")


def _seal() -> None:
    memory = os.memfd_create("microbox doctor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, F_SEAL_FUTURE_WRITE)
    finally:
        os.close(memory)


def processor() -> Finding:
    """How many, and whether flows are hashed four at once."""
    count = processors()
    words = platform.machine()
    if words == "x86_64":
        words += ", AVX2" if _has_avx2() else ", no AVX2: flows are hashed one by one"
    if count == 1:
        return Finding(
            "processors",
            State.WARNING,
            f"1, {words}: the stack and the NFs take turns",
            "give it more: taskset, or the CPU limit of the container or virtual machine",
        )
    return Finding("processors", State.OK, f"{count}, {words}")


def _has_avx2() -> bool:
    with contextlib.suppress(OSError):
        for line in PROCESSOR.read_text().splitlines():
            if line.startswith("flags"):
                return "avx2" in line.split()
    return False


def confinement() -> Iterator[Finding]:
    """What keeps an NF in; what is missing is a warning, for the rest is in force all the same."""
    version = lib.mb_landlock_version()
    remedy = (
        "use Linux 6.12 or newer"
        if version
        else "use Linux 5.13 or newer, and add landlock to lsm= on the kernel's command line"
    )
    yield _of_confinement("Landlock", missing_of_landlock(), f"version {version}", remedy)
    yield _of_confinement(
        "seccomp",
        missing_of_seccomp(),
        "system calls are filtered",
        "use x86-64 or aarch64, and a kernel with CONFIG_SECCOMP_FILTER",
    )
    user = os.geteuid()
    yield _of_confinement(
        "user",
        missing_of_users(),
        "root: each NF gets a user of its own" if user == 0 else f"{user}: NFs run as it",
        f"map user {lib.mb_own_user()} and those above into the user namespace, or do not run "
        "chains as root",
    )


def _of_confinement(name: str, missing: str, found: str, remedy: str) -> Finding:
    if missing:
        return Finding(name, State.WARNING, missing, remedy)
    return Finding(name, State.OK, found)


def open_files() -> Finding:
    """The hard limit counts: a run raises its own as far as that."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    nfs = nfs_within(limit)
    if nfs is None:
        return Finding("open files", State.OK, "no limit")
    found = f"{limit:,}: enough for {nfs:,} NFs"
    if nfs >= NFS_USUAL:
        return Finding("open files", State.OK, found)
    state = State.WARNING if nfs else State.FAILURE
    return Finding("open files", state, found, "ulimit -Hn 1024, or LimitNOFILE= of its unit")


def processes() -> Finding:
    """Each NF is one, with threads; root's are not counted."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if os.geteuid() == 0 or limit == resource.RLIM_INFINITY:
        return Finding("processes", State.OK, "no limit")
    found = f"{limit:,} of this user, threads included"
    if limit >= PROCESSES_USUAL:
        return Finding("processes", State.OK, found)
    return Finding("processes", State.WARNING, found, f"ulimit -u {PROCESSES_USUAL}")


def memory() -> Finding:
    """Against the event log of a chain that does not say how large it is."""
    free = available_memory()
    log = log_size(LOG_SLOTS_DEFAULT)
    if free == 0:
        return Finding("memory", State.WARNING, "the kernel does not say", "mount /proc")
    found = f"{format_size(free)} free; the log of a chain takes {format_size(log)} by default"
    if free >= 2 * log:
        return Finding("memory", State.OK, found)
    return Finding("memory", State.WARNING, found, "write log: {slots: 4096} into the chain file")


def huge_pages() -> Finding:
    """Large tables of flows ask for them."""
    try:
        chosen = HUGE_PAGES.read_text()
    except OSError:
        chosen = ""
    if not chosen or "[never]" in chosen:
        found = "never: large tables of flows are slower"
        remedy = f"echo madvise > {HUGE_PAGES}" if chosen else "CONFIG_TRANSPARENT_HUGEPAGE=y"
        return Finding("huge pages", State.WARNING, found, remedy)
    return Finding("huge pages", State.OK, chosen.partition("[")[2].partition("]")[0])


def control_socket() -> Finding:
    """Where `microbox ps` and the others find what runs."""
    try:
        return Finding("control sockets", State.OK, f"in {own_directory()}")
    except ControlError as error:
        remedy = "set XDG_RUNTIME_DIR to a directory of your own (mode 0700)"
        return Finding("control sockets", State.FAILURE, str(error), remedy)


def c_compiler() -> Finding:
    """Compiles a file that has nothing but the header, as an NF in C is compiled."""
    try:
        command = " ".join(compiler())
        with tempfile.TemporaryDirectory(prefix="microbox-doctor-") as folder:
            source = Path(folder, "empty.c")
            source.write_text('#include "microbox/include/microbox_nf.h"\n')
            os.close(shared_object_of(source, is_confined=True))
    except LoadError as error:
        found = f"NFs in C cannot be compiled: {str(error).splitlines()[0]}"
        remedy = error.hint or "apt-get install gcc libc6-dev, or set CC to a C compiler"
        return Finding("C compiler", State.WARNING, found, remedy)
    return Finding("C compiler", State.OK, f"{command} compiles NFs")


def library(module: str, use: str) -> Finding:
    """One that a chain may need: loaded, for it may be there and not fit this processor."""
    package = PACKAGES.get(module, module)
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever a library for another machine raises
        found = f"{type(error).__name__}: {error}; only with it {use}"
        remedy = f"pip install --force-reinstall {package}"
        return Finding(package, State.FAILURE, found, remedy)
    return Finding(package, State.OK, use)


def optional_library(module: str, use: str) -> Finding:
    """One that may be missing, which is no fault."""
    if importlib.util.find_spec(module) is None:
        remedy = f"pip install {module}"
        return Finding(module, State.OK, f"not installed; only {use} needs it", remedy)
    return Finding(module, State.OK, f"{use} works")
