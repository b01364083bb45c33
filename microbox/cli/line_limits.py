"""How many lines the processes of several workers make: none knows how many of them are shown.

Where each made as many as are shown of all, most would be made in vain.
"""

from __future__ import annotations

import mmap
import struct
import time

FEW = 100
"""Lines a second that each may make in any case: what a terminal shows, in 3 ms."""

SPARE = 2
"""Times what was shown lately: so a worker that has more to show soon has its part."""

PERIOD = 0.25  # seconds

DOUBLE = struct.Struct("=d")


class LineLimits:
    """Lines a second, for each process: written by the one that shows lines, read by the others,
    which are forked from it. Of twice as many as are shown no process makes more."""

    def __init__(self, rate: int, workers: int) -> None:
        """`rate`: lines a second that are shown of all together."""
        self._rate = rate
        self._least = max(rate / workers, min(rate, FEW))
        self._shared = mmap.mmap(-1, DOUBLE.size * workers)
        self._shown = [0] * workers
        self._since = time.monotonic()
        self._set([self._least] * workers)

    def of(self, worker: int) -> float:
        """Lines a second that this worker's process may make now."""
        return float(DOUBLE.unpack_from(self._shared, worker * DOUBLE.size)[0])

    def note_shown(self, worker: int) -> None:
        """A line of this worker."""
        self._shown[worker] += 1
        seconds = time.monotonic() - self._since
        if seconds < PERIOD:
            return
        lately = [SPARE * count / seconds for count in self._shown]
        self._set([min(max(each, self._least), self._rate) for each in lately])
        self._shown = [0] * len(lately)
        self._since += seconds

    def _set(self, limits: list[float]) -> None:
        for worker, limit in enumerate(limits):
            DOUBLE.pack_into(self._shared, worker * DOUBLE.size, limit)
