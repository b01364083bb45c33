"""Who of a lane does not move: it is said who is waited for; whose patience is over is ended.

Of a run that is to end early it is said how far it is: that may take as long as its slowest NF.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from microbox.events.catalog import built_in
from microbox.runtime.accounts.progress import held_up_by, lag, names, signature
from microbox.runtime.failures.deadline import Deadlines
from microbox.runtime.failures.stall import Stall
from microbox.runtime.lane import Lane, RunningNF
from microbox.runtime.running import RunOptions

TICK = 0.1
"""Seconds between two looks at the counters."""

END_OF_INPUT = built_in().resolve("system.end_of_input").number


class Watch:
    """Over one lane, from its first packet on."""

    def __init__(self, lane: Lane, options: RunOptions, note: Callable[[str], None]) -> None:
        """`note` is called with sentences for people."""
        self._lane = lane
        self._options = options
        self._note = note
        self._stall = Stall(time.monotonic)
        self._deadlines = Deadlines()
        self._noted = False
        self._words = 0  # on what is left
        self._next_word = 0.0

    def look(self, *, is_stopping: bool) -> None:
        """To be called every TICK seconds. `is_stopping`: the run is to end early."""
        if not self._lane.is_alive:
            return
        self._end_the_overdue()
        standing = self._stall.update(signature(self._lane))
        self._noted = self._noted and standing > TICK  # it moved: say it again next time
        waits = standing > self._options.patience.waiting_note and not self._options.pace
        if waits and not self._noted and not self._awaits_input():
            self._noted = True
            self._note(f"waits for {names(held_up_by(self._lane))}")
        if is_stopping and not self._noted:
            self._say_what_is_left()
        if standing > self._allowed(is_stopping or self._lane.is_lost):
            self._end_the_stuck(standing)
            self._stall = Stall(time.monotonic)

    def _say_what_is_left(self) -> None:
        """Ever less often. What an NF has polled counts as left until it has handled all of it."""
        now = time.monotonic()
        if self._words and now < self._next_word:
            return
        for nf in held_up_by(self._lane):
            if self._words and isinstance(nf, RunningNF):
                handled, left = nf.pages.value("handled"), lag(self._lane, nf)
                self._note(f"{nf.name} has handled {handled:,} events; up to {left:,} are left")
        self._next_word = now + self._options.patience.waiting_note * 2**self._words
        self._words += 1

    def _awaits_input(self) -> bool:
        """Nothing comes."""
        return self._lane.areas.is_window and held_up_by(self._lane) == [self._lane.worker]

    def _end_the_overdue(self) -> None:
        is_over = self._lane.pages.published(END_OF_INPUT) > 0
        for nf in self._deadlines.overdue(self._lane, is_input_over=is_over):
            deadline = nf.planned.supervision.deadline
            nf.complaint = f"stood still for longer than its deadline of {deadline:g} s"
            nf.complaint += " and was killed"
            nf.child.kill()

    def _allowed(self, is_stopping: bool) -> float:
        """Seconds without movement. While there is input to read, an NF may take its time."""
        patience = self._options.patience
        if is_stopping:
            return patience.stop
        return patience.drain if self._input_is_over() else float("inf")

    def _input_is_over(self) -> bool:
        pages, limit = self._lane.pages, self._options.packet_limit
        size = self._lane.areas.file_size
        is_read = 0 < size <= pages.value("input_bytes")
        is_enough = 0 < limit <= pages.packets_before + pages.packets_passed
        is_said = pages.published(END_OF_INPUT) > 0 or self._lane.done is not None
        return is_read or is_enough or is_said

    def _end_the_stuck(self, standing: float) -> None:
        for stuck in held_up_by(self._lane):
            if isinstance(stuck, RunningNF):
                stuck.complaint = f"did not move for {standing:.0f} s and was killed"
                stuck.child.kill()
                continue
            self._lane.hangs = True
            stuck.kill()
