"""What the controller tells whoever shows the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from microbox.channel.messages import Problem


@dataclass(frozen=True, slots=True)
class Reading:
    """How far a run is: what all NFs have passed, as counters say."""

    doing: str  # "replay", "stopping", ...
    packets: int
    events: int  # published by the stack and by NFs
    file_read: int  # bytes
    file_size: int


class Observer(Protocol):
    """Called from the controller's loop: returns at once."""

    def reading(self, reading: Reading) -> None:
        """Some times a second."""

    def line(self, name: str, stream: str, line: str) -> None:
        """A child printed a line, free of characters that steer a terminal."""

    def problem(self, name: str, problem: Problem) -> None:
        """A child told of a problem."""

    def note(self, text: str) -> None:
        """A sentence of the controller's own: an NF died, the run is stopping."""
