"""`microbox attach` in a chain of several workers: the NF is a process for each of them, and one NF
for who looks at it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from microbox.channel.channel import Channel
from microbox.channel.messages import Finished, Join
from microbox.cli.replicas import Pipe, Replicas, Sentences, Tell
from microbox.nf.attached import AttachedNF, Results, Terminal
from microbox.nf.debugger import Turn
from microbox.runtime.accounts.instances import merged
from microbox.runtime.control.attach_socket import connect
from microbox.runtime.control.control_socket import ControlError, attach_path
from microbox.runtime.errors import FAILED
from microbox.runtime.partition import Partition


@dataclass(frozen=True, slots=True)
class Said:
    """What the process for one worker tells, each in a line of its own."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    sentence: str = ""  # for people
    head: int | None = None  # it is attached, from this event on
    results: Results | None = None


_SAID: TypeAdapter[Said] = TypeAdapter(Said)


def attach_each(control: Path, join: Join, workers: int, terminal: Terminal) -> int:
    """The exit status, once all processes have left."""
    _print_whole_lines()
    audience = _Audience(join.name, workers, terminal)
    said_by_all = replace(join, terminal=os.getpid(), workers=workers)
    turns = os.memfd_create("turns")

    def work(worker: int, pipe: Pipe) -> int:
        turn = Turn(turns, Partition(worker, workers).worker)
        turn.is_for_input()
        return _attach(control, replace(said_by_all, worker=worker), turn, pipe.tell)

    replicas = Replicas(workers, work, audience.hear, audience.leaves)
    status = replicas.run()
    for complaint in replicas.complaints:
        terminal.say(f"error: {complaint}")
    audience.show_results()
    return status


def _print_whole_lines() -> None:
    """Also where Python is not to buffer: else those of two processes would be mixed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, write_through=False)


def _attach(control: Path, join: Join, turn: Turn, tell: Tell) -> int:
    """In a process of its own, which is the NF from here on."""
    try:
        connected = connect(attach_path(control))
    except ControlError as error:
        tell({"sentence": f"error: {error}"})
        return FAILED
    terminal = Terminal(
        say=lambda text: tell({"sentence": text}),
        attached=lambda heads: tell({"head": heads[0]}),
        leaves=lambda: None,  # who told it to says so
        show=lambda results: tell({"results": asdict(results)}),
        turn=turn,
    )
    with Channel(connected) as channel:
        return AttachedNF(channel, join, terminal, os.getppid()).run()


class _Audience:
    """Makes one NF of what all processes say."""

    def __init__(self, name: str, workers: int, terminal: Terminal) -> None:
        """Has heard nothing."""
        self._name = name
        self._workers = workers
        self._terminal = terminal
        self._sentences = Sentences()
        self._heads: dict[int, int] = {}
        self._is_told_to_leave = False
        self._results: dict[int, Results] = {}

    def hear(self, worker: int, said: Any) -> None:
        """Raises ValueError."""
        one = _SAID.validate_python(said)
        if one.sentence and self._sentences.is_new(worker, one.sentence):
            self._terminal.say(one.sentence)
        if one.results is not None:
            self._results[worker] = one.results
        if one.head is not None and not self._is_attached:
            self._heads[worker] = one.head
            if self._is_attached:
                self._terminal.attached(_in_order(self._heads))

    @property
    def _is_attached(self) -> bool:
        return len(self._heads) == self._workers

    def leaves(self) -> None:
        """Somebody wants it to."""
        if not self._is_told_to_leave:
            self._is_told_to_leave = True
            self._terminal.leaves()

    def show_results(self) -> None:
        """Of those that ended in order."""
        if self._results:
            self._terminal.show(together(self._name, _in_order(self._results)))


def _in_order(by_worker: dict[int, Any]) -> list[Any]:
    return [by_worker[worker] for worker in sorted(by_worker)]


def together(name: str, results: Sequence[Results]) -> Results:
    """Of one NF. Its log is one file when the run has ended; until then it is a part for each."""
    last = [one.last for one in results]
    parts = [Path(one.log_file) for one in last if one.log_file]
    return Results(
        outcome="left" if any(one.outcome == "left" for one in results) else "finished",
        matched=sum(one.matched for one in results),
        handled=sum(one.handled for one in results),
        raised=sum(one.raised for one in results),
        lost=sum(one.lost for one in results),
        last=Finished(
            summary=merged([one.summary for one in last if one.summary]),
            records=sum(one.records for one in last),
            records_lost=sum(one.records_lost for one in last),
            log_file=str(parts[0].with_name(f"{name}.jsonl")) if parts else "",
        ),
    )
