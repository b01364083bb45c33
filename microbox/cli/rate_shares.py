"""How much of one rate each of several workers gets, where none knows how much the others need."""

from __future__ import annotations

import time


class Shares:
    """So many events a second of all workers together, and at most what a second brings at once. An
    equal part is for each, and what one does not use is for all. Where a part would be less than an
    event, everything is for all."""

    def __init__(self, rate: int, workers: int) -> None:
        """None is used."""
        self._rate = rate
        self._part = rate / workers if rate >= workers else 0.0
        self._own = [self._part] * workers
        self._common = rate - sum(self._own)
        self._at = time.monotonic()

    def take(self, worker: int) -> bool:
        """True where one more of this worker may be shown."""
        self._grow()
        if self._own[worker] >= 1:
            self._own[worker] -= 1
            return True
        if self._common >= 1:
            self._common -= 1
            return True
        return False

    def _grow(self) -> None:
        now = time.monotonic()
        seconds = now - self._at
        before = sum(self._own)
        self._own = [min(left + seconds * self._part, self._part) for left in self._own]
        unused = seconds * self._rate - (sum(self._own) - before)
        self._common = min(self._common + unused, max(self._rate - sum(self._own), 1))
        self._at = now
