"""What the controller tells whoever shows the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from microbox.chain.units import format_size
from microbox.channel.messages import Problem


@dataclass(frozen=True, slots=True)
class Reading:
    """How far a run is: what all NFs have passed, as counters say."""

    doing: str  # "replay", of a pipe "live"; "stopping"
    packets: int
    events: int  # published by the stack and by NFs
    file_read: int  # bytes
    file_size: int  # 0 where nobody knows


def how_much(file_read: int, file_size: int) -> str:
    """Of the input, for people: a share, or where that cannot be said bytes."""
    return f"{min(1.0, file_read / file_size):.0%}" if file_size else format_size(file_read)


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whom something that is said is about."""

    name: str  # an NF's in the plan, or a worker's
    worker: str = ""  # whose packets it sees; "": not known, or of all workers
    stage: int | None = None  # of the NF in the plan
    is_nf: bool = True  # False: a worker


NOBODY = Speaker("", is_nf=False)


class Observer(Protocol):
    """Called from the controller's loop: returns at once."""

    def reading(self, reading: Reading) -> None:
        """Some times a second."""

    def line(self, speaker: Speaker, stream: str, line: str) -> None:
        """A child printed a line, free of characters that steer a terminal."""

    def problem(self, speaker: Speaker, problem: Problem) -> None:
        """A child told of a problem."""

    def note(self, text: str, speaker: Speaker | None = None, /) -> None:
        """A sentence of the controller's own: an NF died, the run is stopping. "warning: " or
        "error: " in front is its level."""
