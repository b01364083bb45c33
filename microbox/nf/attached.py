"""An NF in a user's own terminal, attached to a chain that runs: what it prints appears there, and
a debugger can be used. Ctrl-C lets it leave in order.

This is the process that the user started. Apart from the terminal it is as any other NF's, and
confined as that is.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from microbox.channel.channel import Channel, ChannelClosed, Received
from microbox.channel.messages import Configure, Finished, Join, Leave, Load, Problem, Refused
from microbox.nf.function import NetworkFunction
from microbox.nf.process import NFProcess, Stopped
from microbox.nf.reader import Reader
from microbox.nf.runner import Runner
from microbox.nf.running import AnyRunner

if TYPE_CHECKING:
    from microbox.nf.debugger import Turn

FAILED = 1
WRONG = 2  # what was asked for cannot be; nothing happened

TOLD_BY = (signal.SIGTERM, signal.SIGUSR1)
"""How one of several processes hears that the user wants it to leave: the first time, and again.
Two signals, since two of the same that come at once are one."""


@dataclass(frozen=True, slots=True)
class Results:
    """What an NF has done when it ends in order."""

    outcome: str  # "finished": the input is over; "left"
    matched: int
    handled: int
    raised: int
    lost: int
    last: Finished


@dataclass(frozen=True, slots=True)
class Terminal:
    """What the user gets to see besides what the NF prints."""

    say: Callable[[str], None]  # what is wrong: a line, or several
    attached: Callable[[Sequence[int]], None]  # from this event on, of each worker
    leaves: Callable[[], None]  # it was told to
    show: Callable[[Results], None]
    turn: Turn | None = None  # where several processes of the NF share it


class AttachedNF(NFProcess):
    """From Join to Finished."""

    def __init__(
        self, channel: Channel, join: Join, terminal: Terminal, parent: int | None = None
    ) -> None:
        """`parent`: the process that the user started, where it is another one: with that it dies,
        and by that it hears of Ctrl-C."""
        super().__init__(channel, parent)
        self._leave_by = (signal.SIGINT, signal.SIGTERM) if parent is None else TOLD_BY
        self._join = join
        self._terminal = terminal
        self._wants_to_leave = False
        self._is_let_go = False
        self._has_place = False
        self._refusal = ""
        self._last_error = ""

    def run(self) -> int:
        """Returns the exit status."""
        if "PYTHONBREAKPOINT" not in os.environ:
            sys.breakpointhook = partial(_debug, self._terminal.turn)
        try:
            self._channel.send(self._join)
            status = super().run()
        except ChannelClosed:
            self._terminal.say("error: the run is gone")
            return FAILED
        if self._refusal:
            self._terminal.say(f"error: {self._refusal}")
            return WRONG
        return status

    def _receive(self) -> Received:
        message, fds = super()._receive()
        if isinstance(message, Refused):
            self._refusal = message.error
            raise Stopped
        return message, fds

    def _take_place(self, at: int) -> None:
        self._has_place = True
        for number in self._leave_by:
            signal.signal(number, self._leave)
        self._terminal.attached([at])

    def _leave(self, _signal: int, _frame: FrameType | None) -> None:
        """Asks to leave, at whatever instruction the NF is; the second time it ends there."""
        if self._wants_to_leave:
            raise KeyboardInterrupt
        self._wants_to_leave = True
        self._terminal.leaves()
        self._channel.send(Leave())

    def _obey(self, received: Received, runner: AnyRunner, reader: Reader) -> None:
        if isinstance(received[0], Refused):
            self._wants_to_leave = False
            self._terminal.say(received[0].error)
            return
        super()._obey(received, runner, reader)

    def _let_go(self) -> None:
        self._is_let_go = True

    def _runner(
        self, load: Load, configure: Configure, function: NetworkFunction, reader: Reader
    ) -> AnyRunner:
        runner = super()._runner(load, configure, function, reader)
        if isinstance(runner, Runner):
            runner.in_terminal = True
        return runner

    # --- what goes wrong is shown here as well ---

    def _tell(self, problem: Problem) -> None:
        self._terminal.say(in_full(problem))
        self._last_error = problem.error
        super()._tell(problem)

    def _fail(self, error: str, traceback: str = "", hint: str = "", *, parameter: str = "") -> int:
        if error != self._last_error:  # else it is what the last problem said
            parts = (f"error: {error}" + (f"; {hint}" if hint else ""), traceback.rstrip())
            self._terminal.say("\n".join(part for part in parts if part))
        status = super()._fail(error, traceback, hint, parameter=parameter)
        return status if self._has_place else WRONG

    def _show(self, last: Finished, reader: Reader) -> None:
        counters: Any = reader.counters
        self._terminal.show(
            Results(
                outcome="left" if self._is_let_go else "finished",
                matched=int(counters.matched),
                handled=int(counters.handled),
                raised=int(counters.raised),
                lost=int(counters.lost),
                last=last,
            )
        )


def _debug(turn: Turn | None) -> None:
    from microbox.nf.debugger import stop_at

    stop_at(sys._getframe(1), turn)


def in_full(problem: Problem) -> str:
    """A problem in words: where, which event, what, and the frames."""
    where = f"{problem.handler}(): " if problem.handler else ""
    about = f" (on {problem.event})" if problem.event else ""
    first = f"{problem.severity}: {where}{problem.error}{about}"
    return "\n".join(part for part in (first, problem.traceback.rstrip()) if part)
