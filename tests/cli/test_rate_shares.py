"""A rate that several workers share."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from microbox.cli.rate_shares import Shares


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds."""
    now = [0.0]
    monkeypatch.setattr("microbox.cli.rate_shares.time.monotonic", lambda: now[0])
    return now


def taken(shares: Shares, now: list[float], seconds: int, busy: Sequence[int]) -> list[int]:
    """How many are shown of each of these workers, of a hundred events of each in a second. The
    first one's come first each time."""
    counts = [0] * len(busy)
    for _ in range(seconds * 100):
        now[0] += 0.01
        for place, worker in enumerate(busy):
            counts[place] += shares.take(worker)
    return counts


def test_a_rate_is_shared_out_and_what_one_leaves_is_for_the_others(now: list[float]) -> None:
    shares = Shares(10, 2)
    assert all(50 <= count <= 56 for count in taken(shares, now, 10, [0, 1]))
    (alone,) = taken(shares, now, 10, [0])
    assert 95 <= alone <= 110


def test_a_rate_of_less_than_one_for_each_is_for_all_together(now: list[float]) -> None:
    shares = Shares(2, 3)
    assert [shares.take(worker) for worker in (2, 2, 2)] == [True, True, False]
    assert 19 <= sum(taken(shares, now, 10, [0, 1, 2])) <= 20
    (alone,) = taken(shares, now, 10, [2])
    assert 19 <= alone <= 21


@pytest.mark.parametrize("rate", [3, 10, 100])
def test_what_was_not_shown_for_long_is_at_most_a_seconds(now: list[float], rate: int) -> None:
    shares = Shares(rate, 3)
    now[0] += 1000
    assert rate <= sum(shares.take(worker) for worker in [0, 1, 2] * rate) <= rate + 1
