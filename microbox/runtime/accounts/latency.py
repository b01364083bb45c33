"""How long events take from the worker to each stage, without a clock on their way.

The controller looks at the log some times a second anyway. The heads that it remembers tell when a
position was published, and where the slowest NF of a stage stands tells which event that NF sees
now: so how old the event is. Between two looks the head is taken to move evenly, so bursts are told
to within the time from one look to the next.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets, in seconds; the last bucket has none."""

LOOKS_MAX = 1024
"""Looks that are remembered. What was published before them counts as old as the first one."""


@dataclass(slots=True)
class Histogram:
    """Ages by bucket, and their sum, in seconds."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def observe(self, age: float) -> None:
        """One more."""
        self.buckets[bisect.bisect_left(BOUNDS, age)] += 1
        self.total += age


class Latency:
    """Of one log."""

    def __init__(self) -> None:
        """Nothing has been looked at yet."""
        self._looks: deque[tuple[int, float]] = deque(maxlen=LOOKS_MAX)  # head, and when
        self.stages: dict[int, Histogram] = {}

    def look(self, now: float, head: int, positions: Mapping[int, int]) -> None:
        """`positions`: for each stage, where its slowest NF stands."""
        self._looks.append((head, now))
        for stage, position in positions.items():
            self.stages.setdefault(stage, Histogram()).observe(now - self._published(position))

    def _published(self, position: int) -> float:
        """When the event at `position` was published; now, where it is still to be."""
        later = bisect.bisect_right(self._looks, position, key=lambda look: look[0])
        if later == len(self._looks):
            return self._looks[-1][1]
        if later == 0:
            return self._looks[0][1]
        (before, since), (after, until) = self._looks[later - 1], self._looks[later]
        return since + (until - since) * (position - before) / (after - before)
