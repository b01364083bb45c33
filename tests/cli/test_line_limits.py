"""How many lines a second the process of each worker makes, by what is shown of them."""

from __future__ import annotations

import os

import pytest

from microbox.cli.line_limits import LineLimits

WORKERS = 4


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds."""
    now = [0.0]
    monkeypatch.setattr("microbox.cli.line_limits.time.monotonic", lambda: now[0])
    return now


def show(limits: LineLimits, now: list[float], seconds: int, counts: dict[int, int]) -> None:
    """So many lines a second of these workers."""
    for _ in range(seconds * 100):
        now[0] += 0.01
        for worker, count in counts.items():
            for _ in range(count // 100):
                limits.note_shown(worker)


def of_all(limits: LineLimits) -> list[float]:
    return [limits.of(worker) for worker in range(WORKERS)]


def test_each_has_an_equal_part_at_first() -> None:
    assert of_all(LineLimits(10_000, WORKERS)) == [2500] * WORKERS


def test_who_alone_is_shown_soon_makes_all(now: list[float]) -> None:
    limits = LineLimits(10_000, WORKERS)
    show(limits, now, 1, {2: 2500})
    assert limits.of(2) == pytest.approx(5000, rel=0.1)
    show(limits, now, 1, {2: 5000})
    assert limits.of(2) == pytest.approx(10_000, rel=0.1)
    show(limits, now, 1, {2: 10_000})
    assert of_all(limits) == [2500, 2500, 10_000, 2500]


def test_who_is_shown_less_makes_less(now: list[float]) -> None:
    limits = LineLimits(10_000, WORKERS)
    show(limits, now, 2, {0: 10_000})
    show(limits, now, 2, {0: 2000, 1: 4000})
    assert of_all(limits) == pytest.approx([4000, 8000, 2500, 2500], rel=0.1)


def test_what_a_terminal_shows_each_may_make(now: list[float]) -> None:
    limits = LineLimits(100, WORKERS)
    show(limits, now, 2, {3: 100})
    assert of_all(limits) == [100] * WORKERS
    assert of_all(LineLimits(1, WORKERS)) == [1] * WORKERS


def test_a_process_that_was_forked_hears_of_it(now: list[float]) -> None:
    limits = LineLimits(10_000, WORKERS)
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(theirs)
        os.read(ours, 1)  # until it is closed
        os._exit(limits.of(1) != 10_000)
    os.close(ours)
    show(limits, now, 1, {1: 10_000})
    os.close(theirs)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
