"""Looks at a chain that runs by way of an NF: an observer, which is attached as any NF in a
terminal is, and leaves when it has seen enough.

Its class is made in memory, since what it subscribes to is written on the command line. Where it
can, it skips what it is too slow for, so that nobody waits for it.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from microbox.channel.channel import Channel
from microbox.channel.messages import Configure, Join, Load
from microbox.nf.attached import AttachedNF, Results, Terminal
from microbox.nf.function import NetworkFunction
from microbox.nf.reader import Reader
from microbox.nf.running import AnyRunner
from microbox.runtime.control.attach_socket import connect
from microbox.runtime.control.control_socket import ControlError, attach_path
from microbox.runtime.errors import FAILED


class Observer(NetworkFunction):
    """An NF that looks and does nothing else."""

    inline = False
    commands = False
    edits = ""

    _asks_to_leave: Callable[[], None] | None = None

    def leave(self) -> None:
        """It has seen enough. Events may still come until it has left. May be called from a signal
        handler, and more than once."""
        if self._asks_to_leave is not None:
            self._asks_to_leave()


Looking = TypeVar("Looking", bound=Observer)


@dataclass(frozen=True, slots=True)
class Observed(Generic[Looking]):
    """What came of it."""

    observer: Looking
    outcome: str  # "finished": the input is over; "left"
    matched: int
    lost: int  # events that it skipped, being too slow


@dataclass(frozen=True, slots=True)
class Place:
    """Where the observer stands, and what happens when it is too slow."""

    skips: bool = True  # else the chain waits for it
    catches_up: bool = False
    deadline: float = 0.0  # seconds that it may stand still before it is killed; 0: for ever


def observe(
    control: Path, owner: type[Looking], name: str, place: Place = Place()
) -> Observed[Looking] | int:
    """Attaches an observer of this class to the run behind a control socket, until it leaves or the
    input is over; or the exit status, when it was said what is wrong.

    This process is confined from then on, as an NF's is.
    """
    try:
        connected = connect(attach_path(control))
    except ControlError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Channel(connected) as channel:
            return _Observation(channel, owner, _join(owner, name, place)).observed()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _join(owner: type[Observer], name: str, place: Place) -> Join:
    """Of a name that no other one has."""
    return Join(
        name=f"{name}-{os.getpid()}",
        source=str(Path(inspect.getfile(owner)).absolute()),
        parameters={},
        base="/",
        skips=place.skips,
        catches_up=place.catches_up,
        deadline=place.deadline,
    )


class _Observation(AttachedNF, Generic[Looking]):
    """As an NF in a terminal, whose class is here already, and which speaks of what is wrong
    only."""

    def __init__(self, channel: Channel, owner: type[Looking], join: Join) -> None:
        super().__init__(channel, join, Terminal(_complain, _keep_silent, self._keep))
        self._owner = owner
        self._observer: Looking | None = None
        self._results: Results | None = None
        self._leaves_at_once = False

    def observed(self) -> Observed[Looking] | int:
        """Runs it."""
        status = self.run()
        if status or self._observer is None or self._results is None:
            return status or FAILED
        results = self._results
        return Observed(self._observer, results.outcome, results.matched, results.lost)

    def _load(self, _load: Load, _source: Path, _object: int | None) -> type[NetworkFunction]:
        return self._owner

    def _runner(
        self, load: Load, configure: Configure, function: NetworkFunction, reader: Reader
    ) -> AnyRunner:
        assert isinstance(function, self._owner)
        self._observer = function
        function._asks_to_leave = self._ask_to_leave
        return super()._runner(load, configure, function, reader)

    def _take_place(self, at: int) -> None:
        super()._take_place(at)
        if self._leaves_at_once:
            self._ask_to_leave()

    def _ask_to_leave(self) -> None:
        if not self._has_place:
            self._leaves_at_once = True
        elif not self._wants_to_leave:
            self._leave(signal.SIGINT, None)

    def _keep(self, results: Results) -> None:
        self._results = results


def _complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _keep_silent(_text: str) -> None:
    pass
