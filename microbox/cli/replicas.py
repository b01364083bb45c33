"""An NF of this terminal in a chain that runs: a process for each worker, as any NF there has.

They are forked, since the class of an observer is made in memory, and each connects to the run by
itself, which is how the run knows it. What a process says comes as lines of JSON; it may run a
user's code, so who hears it checks it. They hear of Ctrl-C by the process that the user started.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from microbox._core import lib
from microbox.nf.attached import TOLD_BY
from microbox.runtime.control.control_socket import ask
from microbox.runtime.errors import FAILED

CHUNK = 1 << 16
LINE_MAX = 1 << 26  # bytes; who says more at a time is not listened to any more
INTERRUPTED = 128 + signal.SIGINT
FORWARDED = (signal.SIGINT, signal.SIGTERM)

Tell = Callable[[Mapping[str, Any]], None]


class Pipe:
    """To who hears a process."""

    def __init__(self, descriptor: int) -> None:
        """Owned by somebody else."""
        self.descriptor = descriptor

    def tell(self, said: Mapping[str, Any]) -> None:
        """Waits until it is written. Says nothing where nobody listens any more."""
        rest = memoryview(line_of(said).encode())
        with contextlib.suppress(BrokenPipeError):
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]


def line_of(said: Mapping[str, Any]) -> str:
    """As it goes through a pipe."""
    return json.dumps(said) + "\n"


Work = Callable[[int, Pipe], int]
"""What the process for a worker (from 0) does, with somebody to tell; its exit status."""

Hear = Callable[[int, Any], None]
"""Gets what the process for a worker has told. Raises ValueError where it may not."""


def workers_of(control: Path) -> int:
    """How many workers the run behind a control socket has. Raises ControlError."""
    return len(ask(control, "status")["workers"])


@dataclass(slots=True)
class _Process:
    worker: int
    number: int
    pipe: int
    is_alive: bool = True
    pending: bytes = b""


class Replicas:
    """The processes. `complaints`: what is wrong with what they say."""

    def __init__(self, workers: int, work: Work, hear: Hear, on_signal: Callable[[], None]) -> None:
        """Starts nothing yet. `on_signal` is called when somebody wants them to leave."""
        self._workers = workers
        self._work = work
        self._hear = hear
        self._on_signal = on_signal
        self._processes: list[_Process] = []
        self._signal = 0  # the last one
        self._are_told = False  # to leave
        # Somebody may wish that they leave when they have: it is never closed.
        self._wish = os.eventfd(0)
        self._told_by = iter(TOLD_BY)
        self.complaints: list[str] = []

    def run(self) -> int:
        """Until all have ended; the exit status of all together."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with self._forwarding():
            for worker in range(self._workers):
                self._processes.append(self._forked(worker))
            self._listen()
            statuses = [self._status_of(process) for process in self._processes]
        return FAILED if self.complaints else self._together(statuses)

    def leave(self) -> None:
        """Tells them to, unless they were told. From any thread, and from a signal handler."""
        os.eventfd_write(self._wish, 1)

    # --- signals ---

    @contextlib.contextmanager
    def _forwarding(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._forward) for number in FORWARDED}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        """May be called again while it runs."""
        told_by = next(self._told_by, TOLD_BY[-1])
        self._signal = number
        self._send(told_by)
        self._on_signal()

    def _send(self, told_by: signal.Signals) -> None:
        self._are_told = True
        for process in self._processes:
            if process.is_alive:
                os.kill(process.number, told_by)

    def _together(self, statuses: Sequence[int]) -> int:
        """One that was killed says more than those that left because of it."""
        killed = [-status for status in statuses if status < 0]
        if killed and self._signal and set(killed) <= {*TOLD_BY}:
            return 128 + self._signal
        return 128 + killed[0] if killed else max(statuses)

    # --- processes ---

    def _forked(self, worker: int) -> _Process:
        parent = os.getpid()
        ours, theirs = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
        number = os.fork()
        if number:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
            os.close(theirs)
            return _Process(worker, number, ours)
        status = FAILED
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
            lib.mb_die_with_parent(parent)
            for pipe in (ours, *(other.pipe for other in self._processes)):
                os.close(pipe)
            status = self._work(worker, Pipe(theirs))
        except KeyboardInterrupt:
            status = INTERRUPTED
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(status)

    def _status_of(self, process: _Process) -> int:
        """Negative: the signal that killed it."""
        waiting = os.waitid(os.P_PID, process.number, os.WEXITED | os.WNOWAIT)
        process.is_alive = False  # from here on its number may become another's
        os.waitpid(process.number, 0)
        assert waiting is not None
        return waiting.si_status if waiting.si_code == os.CLD_EXITED else -waiting.si_status

    # --- what they say ---

    def _listen(self) -> None:
        """Until nobody says anything any more."""
        with selectors.DefaultSelector() as selector:
            for process in self._processes:
                selector.register(process.pipe, selectors.EVENT_READ, process)
            selector.register(self._wish, selectors.EVENT_READ)
            while len(selector.get_map()) > 1:
                for key, _ in selector.select():
                    if key.data is None:
                        self._grant_wish()
                    elif not self._read(key.data):
                        selector.unregister(key.fd)
                        os.close(key.fd)

    def _grant_wish(self) -> None:
        os.eventfd_read(self._wish)
        if not self._are_told:
            self._send(TOLD_BY[0])

    def _read(self, process: _Process) -> bool:
        """False at its end."""
        chunk = os.read(process.pipe, CHUNK)
        *lines, process.pending = (process.pending + chunk).split(b"\n")
        try:
            for line in lines:
                self._hear(process.worker, json.loads(line))
            if len(process.pending) > LINE_MAX:
                raise ValueError
        except (ValueError, RecursionError):
            who = f"the process for worker {process.worker + 1}"
            self.complaints.append(f"{who} says what no NF says: it is not listened to any more")
            return False
        return bool(chunk)


class Sentences:
    """What several processes have to say to people: what all say is shown once."""

    def __init__(self) -> None:
        """Nobody has said anything."""
        self._first: dict[str, int] = {}

    def is_new(self, worker: int, text: str) -> bool:
        """False where the process for another worker has said the same."""
        return self._first.setdefault(text, worker) == worker
