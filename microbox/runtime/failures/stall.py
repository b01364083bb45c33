"""How long nothing has moved."""

from __future__ import annotations

from collections.abc import Callable


class Stall:
    """Watches numbers of which one changes whenever there is progress."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._seen: tuple[int, ...] = ()
        self._since = clock()

    def update(self, seen: tuple[int, ...]) -> float:
        """Seconds since the numbers last changed."""
        if seen != self._seen:
            self._seen = seen
            self._since = self._clock()
        return self._clock() - self._since
