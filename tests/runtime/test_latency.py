"""How old events are when a stage passes them, from looks at the log."""

from __future__ import annotations

import pytest

from microbox.runtime.accounts.latency import BOUNDS, LOOKS_MAX, Latency


def age(looks: list[tuple[float, int]], position: int) -> float:
    """At the last look, of a stage that stands there."""
    latency = Latency()
    for now, head in looks[:-1]:
        latency.look(now, head, {})
    latency.look(*looks[-1], {0: position})
    return latency.stages[0].total


LOOKS = [(10.0, 0), (10.1, 1_000), (10.2, 1_000), (10.3, 5_000)]


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (5_000, 0.0),  # it has passed all
        (4_000, 0.025),  # a quarter of what came since the last look but one
        (1_000, 0.1),  # published just behind that look, whenever the head came there
        (500, 0.25),
        (0, 0.3),
    ],
)
def test_an_event_is_as_old_as_the_head_that_published_it(position: int, expected: float) -> None:
    assert age(LOOKS, position) == pytest.approx(expected)


def test_what_nobody_remembers_counts_as_old_as_the_first_look() -> None:
    looks = [(float(number), number + 1) for number in range(LOOKS_MAX + 100)]
    assert age(looks, 0) == LOOKS_MAX - 1


def test_ages_are_sorted_into_buckets() -> None:
    latency = Latency()
    latency.look(0.0, 0, {})
    latency.look(BOUNDS[2], 100, {0: 0, 1: 100})
    latency.look(100.0, 100, {0: 0})
    assert latency.stages[0].buckets == [0, 0, 1, *[0] * (len(BOUNDS) - 3), 1]
    assert latency.stages[1].buckets == [1, *[0] * len(BOUNDS)]
