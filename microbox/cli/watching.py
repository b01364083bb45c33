"""The NF behind `microbox watch`: shows the events that it gets, as far as anybody can follow them.

It never makes anybody wait. Of events that come faster than they can be read it shows a sample and
says how many it left out, which it does not look at; so it does where whoever reads its output is
slow.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from microbox.cli.event_lines import Lines
from microbox.cli.observation import Observer
from microbox.cli.unhurried_output import UnhurriedOutput
from microbox.nf.decorators import on
from microbox.nf.event import Event
from microbox.nf.sampling_runner import Sampled

STDOUT, STDERR = 1, 2
NOTE_PERIOD = 1.0  # seconds between two words on what is skipped


class Budget:
    """So many events a second, and at most what a second brings at once."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._left = float(rate)
        self._at = time.monotonic()

    @property
    def is_spent(self) -> bool:
        """True where none may be shown now."""
        if self._left < 1:
            self._grow()
        return self._left < 1

    def take(self) -> bool:
        """True where one more may be shown."""
        if self.is_spent:
            return False
        self._grow()  # by what a pause brought, before it is used
        self._left -= 1
        return True

    def _grow(self) -> None:
        now = time.monotonic()
        self._left = min(self._left + (now - self._at) * self.rate, self.rate)
        self._at = now


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events, and how many of them."""

    types: Sequence[str]
    filter: str = ""
    declares: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # the chain's own types
    number: int = 0  # 0: as many as there are
    seconds: float = 0.0  # until it ends; 0: no limit
    rate: int = 100  # at most so many a second


class Viewer(Protocol):
    """Gets the events that come."""

    def begin(self, when_lost: Callable[[], None]) -> None:
        """Before the first event. `when_lost` is called in another thread where nobody reads what
        is shown any more."""

    @property
    def is_complete(self) -> bool:
        """True when as many as were wanted are shown."""

    @property
    def has_enough(self) -> bool:
        """True while no more can be shown."""

    def see(self, line: Callable[[], str]) -> None:
        """One more event; `line` makes its line, where that is to be shown."""

    def skip(self, count: int) -> None:
        """So many events came that are not shown."""


class View:
    """What is shown, and what is not."""

    def __init__(self, wanted: Wanted, header: str) -> None:
        """Shows nothing yet."""
        self.shown = 0
        self.skipped = 0
        self.timed_out = False
        self._wanted = wanted
        self._header = header
        self._budget = Budget(wanted.rate)
        self._output: UnhurriedOutput | None = None
        self._notes: UnhurriedOutput | None = None
        self._said = 0  # of what was skipped
        self._next_note = 0.0

    def begin(self, when_lost: Callable[[], None]) -> None:
        """See Viewer."""
        self._output = UnhurriedOutput(STDOUT, when_lost)
        self._notes = UnhurriedOutput(STDERR, lambda: None)
        self._next_note = time.monotonic() + NOTE_PERIOD
        if self._header:
            self._output.put(self._header)

    @property
    def is_complete(self) -> bool:
        """See Viewer."""
        return 0 < self._wanted.number <= self.shown

    @property
    def has_enough(self) -> bool:
        """See Viewer."""
        return self.is_complete or self._budget.is_spent

    def see(self, line: Callable[[], str]) -> None:
        """See Viewer."""
        self.show(line, fits=self._budget.take())

    def show(self, line: Callable[[], str], *, fits: bool) -> bool:
        """One more event; nothing where there were enough. `fits`: there are not too many. Returns
        whether it is shown."""
        if self.is_complete:
            return False
        assert self._output is not None
        is_shown = fits and self._output.put(line())
        if is_shown:
            self.shown += 1
        else:
            self.skip(1)
        return is_shown

    def skip(self, count: int) -> None:
        """See Viewer."""
        if self.is_complete:
            return
        self.skipped += count
        now = time.monotonic()
        if now >= self._next_note:
            self._next_note = now + NOTE_PERIOD
            self._say_skipped()

    def give_up(self) -> None:
        """The time is up."""
        self.timed_out = True

    def end(self) -> None:
        """After the last event. Raises OSError where nobody gets what is shown."""
        if self._output is None or self._notes is None:
            return
        try:
            unwritten = self._output.close()
            self.shown -= unwritten
            self.skipped += unwritten
            self._say_skipped()
        finally:
            with contextlib.suppress(OSError):
                self._notes.close()

    def _say_skipped(self) -> None:
        assert self._notes is not None
        if self.skipped > self._said:
            self._said = self.skipped
            plural = "s" if self.skipped > 1 else ""
            self._notes.put(f"{self.skipped:,} event{plural} skipped\n")


def watcher(
    wanted: Wanted, view: Viewer, lines: Lines, give_up: Callable[[], None]
) -> type[Observer]:
    """The class of an NF that shows such events. `give_up` is called when the time is up."""

    class Watcher(Sampled, Observer):
        declares = wanted.declares

        def start(self) -> None:
            # Not before: the threads that write are to be confined as well.
            view.begin(self.leave)
            if wanted.seconds:
                signal.signal(signal.SIGALRM, self.give_up)
                signal.setitimer(signal.ITIMER_REAL, wanted.seconds)

        @on(*wanted.types, filter=wanted.filter)
        def see(self, event: Event) -> None:
            view.see(partial(lines.line, event))
            if view.is_complete:
                self.leave()

        def has_enough(self) -> bool:
            return view.has_enough

        def pass_over(self, events: int) -> None:
            view.skip(events)

        @on("system.lost")
        def lose(self, event: Event) -> None:
            view.skip(event.events)

        def give_up(self, *_: object) -> None:
            give_up()
            self.leave()

    return Watcher
