"""An NF that tries to reach everything that is not its own, and records what came of it.

It keeps every descriptor that its process is given, since its code is loaded before they come. Each
attempt is recorded with the numbers of the errors that it met; 0 is a success. With `gently` it
tries only what does no harm where it succeeds.
"""

import ctypes
import errno
import fcntl
import gc
import json
import mmap
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from microbox import Event, NetworkFunction, on
from microbox._core import ffi
from microbox.nf.reader import Reader

libc = ctypes.CDLL(None, use_errno=True)
PAGE = mmap.PAGESIZE

# x86-64 and aarch64 agree on those from 424 on; the rest is looked up by machine.
NUMBERS = {
    "x86_64": {
        "ptrace": 101, "personality": 135, "kcmp": 312, "process_vm_writev": 311, "bpf": 321,
        "perf_event_open": 298, "userfaultfd": 323, "unshare": 272, "setns": 308, "mount": 165,
        "keyctl": 250, "open_by_handle_at": 304, "tgkill": 234, "sched_setscheduler": 144,
        "setpriority": 141, "clone": 56, "memfd_create": 319,
    },
    "aarch64": {
        "ptrace": 117, "personality": 92, "kcmp": 272, "process_vm_writev": 271, "bpf": 280,
        "perf_event_open": 241, "userfaultfd": 282, "unshare": 97, "setns": 268, "mount": 40,
        "keyctl": 219, "open_by_handle_at": 265, "tgkill": 131, "sched_setscheduler": 119,
        "setpriority": 140, "clone": 220, "memfd_create": 279,
    },
}[os.uname().machine]  # fmt: skip
NUMBERS |= {"pidfd_send_signal": 424, "io_uring_setup": 425, "pidfd_open": 434, "pidfd_getfd": 438}
NUMBERS |= {"clone3": 435, "process_madvise": 440, "file_setattr": 469}
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
MADV_REMOVE = 9
PUNCH_HOLE = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
IOPRIO_WHO_PROCESS = 1
IN_CREATE = 0x100

the_way_to_close = os.close

Attempts = Iterator[tuple[str, Callable[[], list[int]]]]
"""What is tried, and a call that tries it and gives the errors that it met."""


def keep(fd: int) -> None:
    """In place of os.close."""


def call(name: str, *arguments: Any) -> int:
    """The system call's error, 0 where it succeeds."""
    ctypes.set_errno(0)
    plain = (ctypes.c_long(one) if isinstance(one, int) else one for one in arguments)
    result = libc.syscall(ctypes.c_long(NUMBERS[name]), *plain)
    return ctypes.get_errno() if result == -1 else 0


def error_of(action: Callable[[], Any]) -> int:
    try:
        action()
    except OSError as error:
        return error.errno or -1
    return 0


def reopened(descriptor: int) -> None:
    """Writes what is there already, in case that it can."""
    again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)
    try:
        os.pwrite(again, os.pread(again, 1, 0), 0)
    finally:
        the_way_to_close(again)


def linked_module() -> Path:
    """What looks like a module beside this file, and is a link to what nobody may read."""
    return Path(__file__).with_name("linked.py")


def send_to(mailbox: str) -> None:
    """A pair is connected to itself, but a datagram may name another receiver."""
    with socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0] as end:
        end.sendto(b"outside", mailbox)


def watch(directory: str) -> int:
    """The error of watching which files come and go there."""
    watcher = libc.inotify_init1(0)
    if watcher < 0 or libc.inotify_add_watch(watcher, directory.encode(), IN_CREATE) < 0:
        return ctypes.get_errno()
    return 0


def forked() -> None:
    if os.fork() == 0:
        os._exit(0)
    os.wait()


def killed(number: int, process: int) -> int:
    return error_of(lambda: os.kill(process, number))


def killed_by_thread(number: int, process: int) -> int:
    return call("tgkill", process, process, number)


def all_killed(number: int, group: int) -> list[int]:
    return [killed(number, group)]


def set_by_prctl(option: int) -> list[int]:
    """To what lets it outlive its parent, and be looked into."""
    refused = libc.prctl(option, int(option == PR_SET_DUMPABLE)) != 0
    return [ctypes.get_errno() if refused else 0]


class Hostile(NetworkFunction):
    """Attacks at its first packet."""

    writes: ClassVar = ["./shared/"]
    attacks: bool = True
    gently: bool = False

    def __init__(self) -> None:
        os.close = keep

    @on("packet")
    def see(self, event: Event) -> None:
        if event.packet != 1 or not self.attacks:
            return
        targets = self._targets()
        for name, attempt in self._attempts(targets):
            errors = attempt()
            self.record(
                None,
                attempt=name,
                errors=sorted({errno.errorcode.get(one, str(one)) for one in errors}),
            )
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()

    def finish(self) -> None:
        (Path(__file__).parent / "shared" / "done").touch()

    def _targets(self) -> dict[str, Any]:
        """Process numbers and paths that the test has written down by now."""
        file = Path(__file__).parent / "shared" / "targets.json"
        (file.parent / "waiting").write_text(str(os.getpid()))
        while not file.exists():
            time.sleep(0.01)
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    def _attempts(self, targets: dict[str, Any]) -> Attempts:
        yield from self._on_memory()
        yield from self._on_processes(targets["processes"])
        yield from self._on_files(targets)
        yield from self._on_kernel()
        yield from self._on_itself()

    # --- memory of others ---

    def _on_memory(self) -> Attempts:
        foreign = list(self._foreign_descriptors())
        assert len(foreign) >= 3, foreign

        def each(action: Callable[[int], Any]) -> Callable[[], list[int]]:
            return lambda: [error_of(partial(action, one)) for one in foreign]

        yield "pwrite", each(lambda fd: os.pwrite(fd, b"\xff", 0))
        yield "mmap writable", each(lambda fd: mmap.mmap(fd, 1, mmap.MAP_SHARED))
        yield "write to /proc/self/fd", each(reopened)
        yield "truncate", each(lambda fd: os.ftruncate(fd, PAGE))
        yield "fchmod", each(lambda fd: os.fchmod(fd, 0o777))
        yield "add seals", each(lambda fd: fcntl.fcntl(fd, 1033, 8))  # F_ADD_SEALS, F_SEAL_WRITE

        def punched(fd: int) -> None:
            if libc.fallocate(fd, PUNCH_HOLE, ctypes.c_long(0), ctypes.c_long(PAGE)) != 0:
                raise OSError(ctypes.get_errno(), "fallocate")

        yield "punch a hole", each(punched)
        mapped = list(self._foreign_pages())

        def on_pages(function: Any, argument: int) -> Callable[[], list[int]]:
            def results() -> list[int]:
                found = []
                for page in mapped:
                    result = function(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), argument)
                    found.append(ctypes.get_errno() if result else 0)
                return found

            return results

        yield "mprotect", on_pages(libc.mprotect, mmap.PROT_READ | mmap.PROT_WRITE)
        yield "MADV_REMOVE", on_pages(libc.madvise, MADV_REMOVE)

    def _foreign_descriptors(self) -> Iterator[int]:
        """The log, frames and neighbours' areas; the first area is the own one."""
        own_seen = False
        for descriptor in range(3, 64):
            try:
                name = str(Path(f"/proc/self/fd/{descriptor}").readlink())
            except OSError:
                continue
            if name.startswith("/memfd:microbox nf") and not own_seen:
                own_seen = True
                continue
            if name.startswith("/memfd:microbox") or name.endswith(".pcap"):
                yield descriptor

    def _foreign_pages(self) -> Iterator[int]:
        reader = next(one for one in gc.get_objects() if isinstance(one, Reader))
        for pointer in (reader.deliveries[0].entry, reader.pool):
            yield int(ffi.cast("uintptr_t", pointer)) // PAGE * PAGE

    # --- other processes ---

    def _on_processes(self, processes: list[int]) -> Attempts:
        def each(action: Callable[[int], int]) -> Callable[[], list[int]]:
            return lambda: [action(one) for one in processes]

        def opened(name: str, flags: int) -> Callable[[], list[int]]:
            return each(lambda one: error_of(lambda: os.open(f"/proc/{one}/{name}", flags)))

        yield "/proc/PID/mem", opened("mem", os.O_RDWR)
        yield "/proc/PID/environ", opened("environ", os.O_RDONLY)
        yield (
            "/proc/PID/map_files",
            each(lambda one: error_of(lambda: list(Path(f"/proc/{one}/map_files").iterdir()))),
        )
        yield (
            "/proc/PID/fd",
            each(lambda one: error_of(lambda: list(Path(f"/proc/{one}/fd").iterdir()))),
        )
        word = ctypes.c_uint64(0)
        span = (ctypes.c_void_p * 2)(ctypes.addressof(word), 0)
        yield (
            "process_vm_writev",
            each(
                lambda one: call(
                    "process_vm_writev", one, ctypes.byref(span), 1, ctypes.byref(span), 1, 0
                )
            ),
        )
        yield "pidfd_open", each(lambda one: call("pidfd_open", one, 0))
        yield "pidfd_getfd", each(lambda _one: call("pidfd_getfd", 0, 0, 0))
        yield "kcmp", each(lambda one: call("kcmp", one, os.getpid(), 0, 0, 0))
        yield "renice", each(lambda one: call("setpriority", 0, one, 19))
        yield "affinity", each(lambda one: error_of(lambda: os.sched_setaffinity(one, {0})))
        yield (
            "prlimit",
            each(lambda one: error_of(lambda: resource.prlimit(one, resource.RLIMIT_NOFILE))),
        )
        yield "signal 0", each(lambda one: error_of(lambda: os.kill(one, 0)))
        if self.gently:
            return
        yield (
            "prlimit, to none",
            each(lambda one: error_of(lambda: resource.prlimit(one, resource.RLIMIT_CPU, (1, 1)))),
        )
        yield (
            "scheduler",
            each(lambda one: call("sched_setscheduler", one, 5, ctypes.byref(ctypes.c_int(0)))),
        )
        yield "ptrace attach", each(lambda one: call("ptrace", PTRACE_ATTACH, one, 0, 0))
        yield "ptrace seize", each(lambda one: call("ptrace", PTRACE_SEIZE, one, 0, 0))
        for number in (signal.SIGSTOP, signal.SIGKILL):
            yield number.name, each(partial(killed, number))
            yield (
                f"{number.name} by tgkill",
                each(partial(killed_by_thread, number)),
            )
            yield f"{number.name} to the group", partial(all_killed, number, 0)
            yield f"{number.name} to all", partial(all_killed, number, -1)

        def owned(one: int) -> None:
            with socket.socketpair()[0] as end:
                fcntl.fcntl(end, fcntl.F_SETOWN, one)

        yield "F_SETOWN", each(lambda one: error_of(lambda: owned(one)))

    # --- files and sockets ---

    def _on_files(self, targets: dict[str, Any]) -> Attempts:
        def connected() -> None:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(targets["control"])

        yield "the control socket", lambda: [error_of(connected)]
        yield "a socket", lambda: [error_of(lambda: socket.socket().close())]
        yield "read another's file", lambda: [error_of(lambda: Path(targets["secret"]).read_text())]
        yield (
            "write another's log",
            lambda: [error_of(lambda: os.open(targets["log"], os.O_WRONLY))],
        )
        yield "make a file", lambda: [error_of(lambda: Path(targets["new"]).write_text("x"))]
        yield "chmod", lambda: [error_of(lambda: Path(targets["secret"]).chmod(0o777))]
        yield "set times", lambda: [error_of(lambda: os.utime(targets["secret"]))]
        yield "read through a link", lambda: [error_of(lambda: linked_module().read_text())]
        yield "a letter to a socket", lambda: [error_of(lambda: send_to(targets["mailbox"]))]
        yield "watch a directory", lambda: [watch(targets["apart"])]
        yield (
            "remove",
            lambda: [0 if self.gently else error_of(lambda: Path(targets["secret"]).unlink())],
        )

    # --- the kernel ---

    def _on_kernel(self) -> Attempts:
        room = ctypes.create_string_buffer(256)
        yield "io_uring", lambda: [call("io_uring_setup", 4, ctypes.byref(room))]
        yield "bpf", lambda: [call("bpf", 0, ctypes.byref(room), 72)]
        yield "perf_event_open", lambda: [call("perf_event_open", ctypes.byref(room), 0, -1, -1, 0)]
        yield "userfaultfd", lambda: [call("userfaultfd", 0)]
        yield "keyctl", lambda: [call("keyctl", 0, -3, 0)]
        yield "open_by_handle_at", lambda: [call("open_by_handle_at", -100, ctypes.byref(room), 0)]
        yield "a call of tomorrow", lambda: [call("file_setattr", -100, 0, 0, 0, 0)]
        if self.gently:
            return
        yield "namespaces", lambda: [call("unshare", 0x10000000), call("unshare", 0x20000)]
        yield "setns", lambda: [call("setns", 0, 0)]
        yield "mount", lambda: [call("mount", 0, 0, 0, 0, 0)]

    # --- itself: who watches over it ---

    def _on_itself(self) -> Attempts:
        yield "fork", lambda: [error_of(forked)]
        yield "clone3", lambda: [call("clone3", 0, 0)]
        yield (
            "spawn",
            lambda: [error_of(lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0))],
        )
        if self.gently:
            return
        yield "exec", lambda: [error_of(lambda: os.execv("/bin/true", ["true"]))]
        yield "personality", lambda: [call("personality", 0x0040000)]
        for option in (PR_SET_PDEATHSIG, PR_SET_DUMPABLE):
            yield f"prctl {option}", partial(set_by_prctl, option)
