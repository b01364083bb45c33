"""How many events there were of a type and of all below it."""

from __future__ import annotations

from collections.abc import Mapping


def sums(counted: Mapping[str, int]) -> dict[str, int]:
    """Each type's own count and those of all below it; "event" has them all."""
    totals: dict[str, int] = {"event": sum(counted.values())}
    for name, count in counted.items():
        labels = name.split(".")
        for end in range(1, len(labels) + 1):
            above = ".".join(labels[:end])
            totals[above] = totals.get(above, 0) + count
    return totals
