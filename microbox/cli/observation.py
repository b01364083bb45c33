"""Looks at a chain that runs by way of an NF: an observer, which is attached as any NF in a
terminal is, and leaves when it has seen enough.

Its class is made in memory, since what it subscribes to is written on the command line. Where it
can, it skips what it is too slow for, so that nobody waits for it.
"""

from __future__ import annotations

import inspect
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from microbox.channel.channel import Channel
from microbox.channel.messages import Configure, Join, Load
from microbox.cli.replicas import Pipe, Replicas, Sentences, Tell, workers_of
from microbox.nf.attached import AttachedNF, Results, Terminal
from microbox.nf.function import NetworkFunction
from microbox.nf.reader import Reader
from microbox.nf.running import AnyRunner
from microbox.runtime.control.attach_socket import connect
from microbox.runtime.control.control_socket import ControlError, attach_path
from microbox.runtime.errors import FAILED
from microbox.runtime.partition import partitions

ROWS_AT_ONCE = 1000


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
    """Attaches an observer of this class to the run behind a control socket, which has one worker,
    until it leaves or the input is over; or the exit status, when it was said what is wrong.

    This process is confined from then on, as an NF's is.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return observed(control, owner, join_of(owner, name, place), complain)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the observer of one worker's events saw."""

    worker: str
    rows: list[Any]  # as JSON has them
    lost: int


def observe_each(
    control: Path,
    owner: type[Looking],
    name: str,
    place: Place,
    rows_of: Callable[[Looking], Iterable[Any]],
) -> list[Seen] | int:
    """As `observe`, for any number of workers: each has an observer of its own, in a process of its
    own, which tells the rows that it makes of what it saw. This process stays free."""
    try:
        workers = workers_of(control)
    except ControlError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    joins = joins_of(owner, name, place, workers)
    names = [partition.worker for partition in partitions(workers)]
    rows: list[list[Any]] = [[] for _ in names]
    lost = [0] * workers
    sentences = Sentences()

    def work(worker: int, pipe: Pipe) -> int:
        return _observe_and_tell(control, owner, joins[worker], rows_of, pipe.tell)

    def hear(worker: int, said: Any) -> None:
        one = _SAID.validate_python(said)
        rows[worker] += one.rows
        lost[worker] += one.lost
        if one.complaint and sentences.is_new(worker, one.complaint):
            complain(one.complaint)

    replicas = Replicas(workers, work, hear, _keep_silent)
    status = replicas.run()
    for complaint in replicas.complaints:
        complain(f"error: {complaint}")
    return status or list(map(Seen, names, rows, lost))


@dataclass(frozen=True, slots=True)
class _Said:
    rows: list[Any] = field(default_factory=list)
    lost: int = 0
    complaint: str = ""


_SAID: TypeAdapter[_Said] = TypeAdapter(_Said)


def _observe_and_tell(
    control: Path,
    owner: type[Looking],
    join: Join,
    rows_of: Callable[[Looking], Iterable[Any]],
    tell: Tell,
) -> int:
    """The exit status."""
    result = observed(control, owner, join, lambda text: tell({"complaint": text}))
    if isinstance(result, int):
        return result
    tell({"lost": result.lost})
    rows = iter(rows_of(result.observer))
    while some := list(itertools.islice(rows, ROWS_AT_ONCE)):
        tell({"rows": some})
    return 0


def observed(
    control: Path,
    owner: type[Looking],
    join: Join,
    complain: Callable[[str], None],
    when_attached: Callable[[], None] = lambda: None,
) -> Observed[Looking] | int:
    """Runs one observer in this process, which is confined from then on; or the exit status, when
    `complain` has got what is wrong."""
    try:
        connected = connect(attach_path(control))
    except ControlError as error:
        complain(f"error: {error}")
        return FAILED
    parent = os.getppid() if join.terminal else None
    terminal = Terminal(complain, lambda _: when_attached(), _keep_silent, _keep_silent)
    with Channel(connected) as channel:
        return _Observation(channel, owner, join, terminal, parent).observed()


def joins_of(owner: type[object], name: str, place: Place, workers: int) -> list[Join]:
    """For the process of each worker, which this process is to fork. `owner`: a class in the file
    of the observer's."""
    join = join_of(owner, name, place)
    said_by_all = replace(join, terminal=os.getpid(), workers=workers)
    return [replace(said_by_all, worker=worker) for worker in range(workers)]


def join_of(owner: type[object], name: str, place: Place) -> Join:
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

    def __init__(
        self,
        channel: Channel,
        owner: type[Looking],
        join: Join,
        terminal: Terminal,
        parent: int | None,
    ) -> None:
        super().__init__(channel, join, replace(terminal, show=self._keep), parent)
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


def complain(text: str) -> None:
    """To the user, as a line of its own."""
    print(text, file=sys.stderr, flush=True)


def _keep_silent(*_: object) -> None:
    pass
