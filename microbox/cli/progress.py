"""Progress on a terminal, with what NFs print above it; without a terminal just the lines."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from microbox.channel.messages import Problem
from microbox.cli.log_format import MessageLog, of_line, of_note, of_problem
from microbox.cli.terminal import give_up
from microbox.runtime.observer import Reading, Speaker, how_much
from microbox.runtime.processes.supervisor import printable

RATE_WINDOW = 1.0
"""Seconds that the shown rates are averaged over."""


class Rate:
    """Events a second over the last moments."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._since: float | None = None
        self._count = 0
        self._is_settled = False
        self.value = 0.0

    def update(self, count: int) -> float:
        """The rate, given the count since the beginning; from the first call on."""
        now = self._clock()
        if self._since is None:
            self._since, self._count = now, count
        elapsed = now - self._since
        if elapsed >= RATE_WINDOW or not self._is_settled:
            self.value = (count - self._count) / elapsed if elapsed > 0 else 0.0
        if elapsed >= RATE_WINDOW:
            self._since, self._count, self._is_settled = now, count, True
        return self.value


class Display:
    """Shows a run as it goes: to be used as a context, and as the controller's observer."""

    def __init__(
        self, *, is_quiet: bool, stdout_is_taken: bool, log: MessageLog | None = None
    ) -> None:
        """`stdout_is_taken`: a document for programs goes there, so nothing else does. `log`: what
        gets all messages, in a format for programs; None: they are text for people."""
        self._log = log
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # whatever NFs print, in any locale
        self._errors = Console(file=sys.stderr, stderr=True, highlight=False)
        self._stdout = sys.stderr if stdout_is_taken else sys.stdout
        self._packets, self._events = Rate(), Rate()
        self._task: TaskID | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[read]}"),
            TextColumn("{task.fields[rates]}"),
            TimeElapsedColumn(),
            console=self._errors,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=is_quiet or log is not None or not self._errors.is_terminal,
        )

    def __enter__(self) -> Self:
        """Starts the display."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Takes the bar away: the summary says it all again."""
        self._progress.stop()

    def reading(self, reading: Reading) -> None:
        """How far the run is."""
        if self._task is None:
            self._task = self._progress.add_task("replay", total=None, rates="", read="")
        rates = (
            f"{self._packets.update(reading.packets):>11,.0f} packets/s "
            f"{self._events.update(reading.events):>11,.0f} events/s"
        )
        self._progress.update(
            self._task,
            description=reading.doing,
            total=reading.file_size or None,
            completed=reading.file_read,
            read=how_much(reading.file_read, reading.file_size),
            rates=rates,
        )

    def line(self, speaker: Speaker, stream: str, line: str) -> None:
        """A line that an NF printed."""
        if self._log is not None:
            self._log.write(of_line(speaker, stream, line))
            return
        self._print(speaker.name, stream, line)

    def _print(self, name: str, stream: str, line: str) -> None:
        target = self._stdout if stream == "stdout" else sys.stderr
        if target.isatty() and not self._progress.disable:
            self._progress.console.print(Text(f"{name}: {line}"), soft_wrap=True)
            return
        try:
            print(f"{name}: {line}", file=target, flush=True)
        except BrokenPipeError:  # `microbox run … | head`: nobody listens, but the run goes on
            give_up(target)

    def problem(self, speaker: Speaker, problem: Problem) -> None:
        """What went wrong in a child."""
        if self._log is not None:
            self._log.write(of_problem(speaker, problem))
            return
        for line in problem_lines(speaker.name, problem):
            self._print("microbox", "stderr", line)

    def note(self, text: str, speaker: Speaker | None = None, /) -> None:
        """A sentence of the controller's own."""
        if self._log is not None:
            self._log.write(of_note(text, speaker))
            return
        self._print("microbox", "stderr", text)


def problem_lines(name: str, problem: Problem) -> list[str]:
    """A problem as lines: what, where, which event, and the traceback. What an NF raises may hold
    bytes from the wire."""
    where = f" in {problem.handler}()" if problem.handler else ""
    lines = f"{problem.severity}: {name}{where}: {problem.error}".splitlines()
    if problem.event:
        lines.append(f"  while handling {problem.event}")
    lines += [f"  {line}" for line in problem.traceback.splitlines()]
    return [printable(line) for line in lines]
