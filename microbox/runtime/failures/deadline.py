"""Who stands still for longer than its `deadline` while it has something to read.

An NF's own word for its being idle is not taken: what it could read follows from the positions of
those whom it waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from microbox._core import lib
from microbox.chain.plan import PlannedNF
from microbox.runtime.failures.stall import Stall
from microbox.runtime.lane import Lane, RunningNF


class Deadlines:
    """Of the NFs of one lane. Looks at their pages, as often as it is asked."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._stalls: dict[RunningNF, Stall] = {}

    def overdue(self, lane: Lane, *, is_input_over: bool) -> Iterator[RunningNF]:
        """Those that are past their deadline now."""
        for nf in lane.nfs:
            deadline = nf.planned.supervision.deadline
            if not deadline or not nf.child.is_alive or nf.finished:
                continue
            stall = self._stalls.setdefault(nf, Stall(self._clock))
            standing = stall.update((*nf.progress, _has_to_read(lane, nf, is_input_over)))
            if standing > deadline and _has_to_read(lane, nf, is_input_over):
                yield nf


def _has_to_read(lane: Lane, nf: RunningNF, is_input_over: bool) -> bool:
    """Whether something lies in front of it that nobody holds back from it."""
    pages = lane.pages
    position = pages.passed(nf.planned.index, nf.pages.cursor)
    return position < _readable(lane, nf.planned, position, is_input_over)


def _readable(lane: Lane, nf: PlannedNF, position: int, is_input_over: bool) -> int:
    """How far it may read. Of a batch: all of it, or none; the last one ends with the input."""
    barriers = (
        lane.pages.passed(one.planned.index, one.pages.cursor)
        for one in lane.nfs
        if one.planned.index in nf.barrier and one.child.is_alive
    )
    readable = min(barriers, default=lane.pages.head)
    if not nf.cut or is_input_over:
        return readable
    end = (position // nf.cut + 1) * nf.cut
    return readable if readable >= end + lib.MB_ENTRIES_PER_PACKET else position
