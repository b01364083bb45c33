"""`microbox watch` in a chain of several workers: a process for each looks on and makes its lines,
and this one shows them, counts them, and tells the others when there are enough.

Nobody in it waits: a process leaves out what the pipe has no room for, and this one what its own
output has none for. Both count that.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter

from microbox.cli.event_lines import Lines
from microbox.cli.line_limits import LineLimits
from microbox.cli.observation import Place, complain, joins_of, observed
from microbox.cli.rate_shares import Shares
from microbox.cli.replicas import Pipe, Replicas, Sentences, line_of
from microbox.cli.unhurried_output import UnhurriedOutput
from microbox.cli.watching import Budget, View, Wanted, watcher

REPORT_PERIOD = 0.25  # seconds between two reports of what is skipped
SIGNALLED = 128  # and the signal, as a shell has it
KILLED = (
    "error: one of the processes that look on was killed (signal {}), as one is that stands still "
    "for two seconds where the chain waits for it; the chain goes on: try again, or a --filter"
)


@dataclass(frozen=True, slots=True)
class Said:
    """What the process for one worker tells, each in a line of its own."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    is_attached: bool = False
    line: str = ""  # an event, with its line feed
    skipped: Annotated[int, Field(ge=0)] = 0  # events since the last time
    complaint: str = ""
    outcome: str = ""  # once it has left in order


_SAID: TypeAdapter[Said] = TypeAdapter(Said)


def watch_each(
    control: Path, view: View, lines: Sequence[Lines], wanted: Wanted, place: Place
) -> str | int:
    """Shows the events of all workers; `lines`: of each. How it ended, or the exit status, when it
    was said what is wrong."""
    of_one = replace(wanted, number=0, seconds=0.0)  # who hears all of them counts
    joins = joins_of(View, "watch", place, len(lines))
    limits = LineLimits(wanted.rate, len(lines))

    def work(worker: int, pipe: Pipe) -> int:
        telling = _Telling(lambda: limits.of(worker), pipe)
        owner = watcher(of_one, telling, lines[worker], lambda: None)
        join = joins[worker]
        found = observed(control, owner, join, telling.complain, telling.say_attached)
        telling.end("" if isinstance(found, int) else found.outcome)
        return found if isinstance(found, int) else 0

    audience = _Audience(view, wanted, limits, len(lines))
    replicas = Replicas(len(lines), work, audience.hear, audience.interrupt)
    status = audience.follow(replicas)
    return status or audience.outcome


class _Telling:
    """The viewer of one worker's events, which hands them over to who shows those of all."""

    is_complete = False

    def __init__(self, limit: Callable[[], float], pipe: Pipe) -> None:
        """Tells nothing yet. `limit`: lines a second that it may make, which changes."""
        self._limit = limit
        self._budget = Budget(limit())
        self._pipe = pipe
        self._output: UnhurriedOutput | None = None
        self._skipped = 0  # and not told
        self._next_report = 0.0
        self._complaints: list[str] = []

    def begin(self, when_lost: Callable[[], None]) -> None:
        """See Viewer."""
        self._output = UnhurriedOutput(self._pipe.descriptor, when_lost)

    @property
    def has_enough(self) -> bool:
        """See Viewer."""
        self._budget.rate = self._limit()
        return self._budget.is_spent

    def say_attached(self) -> None:
        """It has its place in the chain; no event has come yet."""
        self._put({"is_attached": True})

    def see(self, line: Callable[[], str]) -> None:
        """See Viewer."""
        if not (self._budget.take() and self._put({"line": line()})):
            self.skip(1)

    def skip(self, count: int) -> None:
        """See Viewer."""
        self._skipped += count
        now = time.monotonic()
        if now >= self._next_report and self._put({"skipped": self._skipped}):
            self._next_report = now + REPORT_PERIOD
            self._skipped = 0

    def complain(self, text: str) -> None:
        """Kept until the end, since only one thread may write to the pipe."""
        self._complaints.append(text)

    def end(self, outcome: str) -> None:
        """It has left the chain, so that it may wait until all is told."""
        with contextlib.suppress(OSError):  # nobody listens any more
            while self._output is not None and self._output.close():
                continue
        for complaint in self._complaints:
            self._pipe.tell({"complaint": complaint})
        self._pipe.tell({"skipped": self._skipped, "outcome": outcome})

    def _put(self, said: dict[str, Any]) -> bool:
        assert self._output is not None
        return self._output.put(line_of(said))


class _Audience:
    """Makes one view of what all processes say."""

    def __init__(self, view: View, wanted: Wanted, limits: LineLimits, workers: int) -> None:
        """Has heard nothing."""
        self._view = view
        self._wanted = wanted
        self._limits = limits
        self._shares = Shares(wanted.rate, workers)
        self._missing = set(range(workers))  # those that are not attached yet
        self._outcomes: set[str] = set()
        self._sentences = Sentences()
        self._has_begun = False
        self._has_enough = False
        self._is_interrupted = False
        self._replicas: Replicas | None = None

    @property
    def outcome(self) -> str:
        """Of all together."""
        return "finished" if self._outcomes == {"finished"} else "left"

    def follow(self, replicas: Replicas) -> int:
        """Until all have left; the exit status."""
        self._replicas = replicas
        before = signal.signal(signal.SIGALRM, self._give_up)
        try:
            status = replicas.run()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        for complaint in replicas.complaints:
            complain(f"error: {complaint}")
        if status > SIGNALLED and not self._is_interrupted:
            complain(KILLED.format(status - SIGNALLED))
        return status

    def interrupt(self) -> None:
        """By the user."""
        self._is_interrupted = True

    def hear(self, worker: int, said: Any) -> None:
        """Raises ValueError."""
        one = _SAID.validate_python(said)
        if one.complaint and self._sentences.is_new(worker, one.complaint):
            complain(one.complaint)
        if one.outcome:
            self._outcomes.add(one.outcome)
        if one.is_attached:
            self._attach(worker)
        if not self._has_begun:
            return
        if one.line and self._view.show(lambda: one.line, fits=self._shares.take(worker)):
            self._limits.note_shown(worker)
        if one.skipped:
            self._view.skip(one.skipped)
        if self._view.is_complete:
            self._leave()

    def _attach(self, worker: int) -> None:
        if not self._has_begun:  # not before the processes are forked: it has threads
            self._has_begun = True
            self._view.begin(self._leave)
        self._missing.discard(worker)
        if self._missing:
            return
        if self._wanted.seconds:
            signal.setitimer(signal.ITIMER_REAL, self._wanted.seconds)
        if self._has_enough:
            self._leave()

    def _leave(self) -> None:
        """From any thread. One that is not attached yet could not leave in order."""
        self._has_enough = True
        if not self._missing and self._replicas is not None:
            self._replicas.leave()

    def _give_up(self, *_: object) -> None:
        self._view.give_up()
        self._leave()
