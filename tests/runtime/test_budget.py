"""Work that others ask for gets its share of a processor, and no more."""

from dataclasses import dataclass

import pytest

from microbox.runtime.control.budget import Budget


@dataclass
class Times:
    """Both clocks of a budget."""

    passed: float = 0.0
    used: float = 0.0


def budget_of(times: Times) -> Budget:
    """Half a processor, two seconds at once."""
    return Budget(share=0.5, most=2.0, clock=lambda: times.passed, used=lambda: times.used)


def work(budget: Budget, times: Times, seconds: float, at_least: float = 0.0) -> None:
    with budget.spending(at_least):
        times.used += seconds
        times.passed += seconds


def test_what_is_saved_may_be_used_at_once() -> None:
    times = Times()
    budget = budget_of(times)
    work(budget, times, 2.0)
    assert budget.wait() == 0


def test_who_used_too_much_waits_until_it_is_paid_for() -> None:
    times = Times()
    budget = budget_of(times)
    work(budget, times, 2.0)
    work(budget, times, 3.0)  # while 1.5 came back
    assert budget.wait() == 3.0  # for 1.5, at half a second a second
    times.passed += 3.0
    assert budget.wait() == 0


def test_what_cannot_be_measured_is_paid_for_too() -> None:
    times = Times()
    budget = budget_of(times)
    work(budget, times, 0.0, at_least=3.0)
    assert budget.wait() == 2.0


def test_work_that_fails_is_paid_for() -> None:
    times = Times()
    budget = budget_of(times)
    with pytest.raises(ValueError, match="no"), budget.spending(at_least=3.0):
        raise ValueError("no")
    assert budget.wait() == 2.0


def test_no_more_is_saved_than_may_be_used_at_once() -> None:
    times = Times()
    budget = budget_of(times)
    times.passed = 1000.0
    work(budget, times, 0.0, at_least=4.0)
    assert budget.wait() == 4.0


def test_over_a_long_time_the_share_is_kept() -> None:
    times = Times()
    budget = budget_of(times)
    while times.passed < 1000.0:
        times.passed += budget.wait()
        work(budget, times, 0.7)
    assert times.used <= 0.5 * times.passed + 2.0 + 0.7
