"""A share of a processor, for work whose amount others decide."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator


class Budget:
    """Seconds of a processor that may be used. They come back with time, up to `most`."""

    def __init__(
        self,
        *,
        share: float,
        most: float,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.thread_time,
    ) -> None:
        """`share` of a processor comes back, 0 to 1. `clock` and `used` give seconds: that passed,
        and that this thread was at work."""
        self._share, self._most = share, most
        self._clock, self._used = clock, used
        self._left, self._since = most, clock()

    @contextlib.contextmanager
    def spending(self, at_least: float = 0.0) -> Iterator[None]:
        """What is done inside is paid for; also where that leaves less than nothing. `at_least`
        stands for what cannot be seen from inside."""
        began = self._used()
        try:
            yield
        finally:
            self._refill()
            self._left -= self._used() - began + at_least

    def wait(self) -> float:
        """Seconds until there is something to spend; 0 where there is."""
        self._refill()
        return max(0.0, -self._left / self._share)

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._since) * self._share)
        self._since = now
