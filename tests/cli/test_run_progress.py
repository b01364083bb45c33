"""Progress needs a terminal; what NFs print does not."""

import pytest

from microbox.channel.messages import Problem
from microbox.cli.progress import Display, Rate, problem_lines
from microbox.runtime.observer import Reading


def test_in_a_pipe_there_are_lines_with_names_and_nothing_else(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Display(is_quiet=False, stdout_is_taken=False) as display:
        display.reading(Reading("replay", 10, 20, 500, 1000))
        display.line("ids", "stdout", "[bold]found it")
        display.line("ids", "stderr", "careful")
        display.note("stopping")
    out, err = capfd.readouterr()
    assert out == "ids: [bold]found it\n"
    assert err == "ids: careful\nmicrobox: stopping\n"


def test_a_document_on_stdout_stays_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with Display(is_quiet=False, stdout_is_taken=True) as display:
        display.line("ids", "stdout", "hello")
    assert capfd.readouterr() == ("", "ids: hello\n")


def test_a_rate_is_over_the_last_moments() -> None:
    now = [0.0]
    rate = Rate(clock=lambda: now[0])
    rates = []
    for count in (0, 100, 300):
        rates.append(rate.update(count))
        now[0] += 1.0
    assert rates == [0.0, 100.0, 200.0]


def test_a_problem_says_event_and_traceback() -> None:
    problem = Problem("error", "KeyError: 7", "seen", "flow 3", "Traceback\n  line")
    assert problem_lines("ids", problem) == [
        "error: ids in seen(): KeyError: 7",
        "  while handling flow 3",
        "  Traceback",
        "    line",
    ]
