"""The debugger of an NF in a terminal. Where the NF is several processes they speak with the user
by turns: one that stops, or reads a line, while another does waits until that goes on.
"""

from __future__ import annotations

import builtins
import contextlib
import fcntl
import pdb
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass(slots=True)
class Turn:
    """Of one of several processes."""

    file: int  # descriptor of a file that all share; whose turn it is has locked it
    worker: str  # whose events it gets
    depth: int = 0  # a debugger reads lines as the NF does

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """While the user speaks with it."""
        if not self.depth:
            fcntl.lockf(self.file, fcntl.LOCK_EX)
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1
            if not self.depth:
                fcntl.lockf(self.file, fcntl.LOCK_UN)

    def is_for_input(self) -> None:
        """From now on input() takes it: else two processes would share out what is typed."""
        read = builtins.input

        def read_in_turn(*arguments: Any) -> str:
            with self.taken():
                return read(*arguments)

        builtins.input = read_in_turn


class Debugger(pdb.Pdb):
    """Leaves Ctrl-C to the NF's process, also after `continue`."""

    def __init__(self, turn: Turn | None) -> None:
        """`turn`: None where there is one process."""
        super().__init__(nosigint=True)
        self._turn = turn
        if turn is not None:
            self.prompt = f"({turn.worker}) "

    def interaction(self, *arguments: Any) -> None:
        """With the user, until it goes on."""
        with self._turn.taken() if self._turn is not None else contextlib.nullcontext():
            super().interaction(*arguments)


def stop_at(frame: FrameType, turn: Turn | None) -> None:
    """As breakpoint()."""
    Debugger(turn).set_trace(frame)
