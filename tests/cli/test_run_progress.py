"""Progress needs a terminal; what NFs print does not."""

import pytest

from microbox.channel.messages import Problem
from microbox.cli.progress import Display, Rate, problem_lines
from microbox.runtime.observer import Reading, Speaker


def test_in_a_pipe_there_are_lines_with_names_and_nothing_else(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Display(is_quiet=False, stdout_is_taken=False) as display:
        display.reading(Reading("replay", 10, 20, 500, 1000))
        display.line(Speaker("ids"), "stdout", "[bold]found it")
        display.line(Speaker("ids"), "stderr", "careful")
        display.note("stopping")
    out, err = capfd.readouterr()
    assert out == "ids: [bold]found it\n"
    assert err == "ids: careful\nmicrobox: stopping\n"


def test_a_document_on_stdout_stays_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with Display(is_quiet=False, stdout_is_taken=True) as display:
        display.line(Speaker("ids"), "stdout", "hello")
    assert capfd.readouterr() == ("", "ids: hello\n")


def test_a_rate_is_over_the_last_moments() -> None:
    now = [0.0]
    rate = Rate(clock=lambda: now[0])
    rates = []
    for count in (0, 100, 300):
        rates.append(rate.update(count))
        now[0] += 1.0
    assert rates == [0.0, 100.0, 200.0]


def test_a_rate_begins_with_the_first_count_not_with_the_start_of_processes() -> None:
    now = [0.0]
    rate = Rate(clock=lambda: now[0])
    rates = []
    for moment, count in ((3.0, 0), (3.25, 100), (3.5, 300)):
        now[0] = moment
        rates.append(rate.update(count))
    assert rates == [0.0, 400.0, 600.0]


def test_what_an_nf_raises_cannot_steer_the_terminal() -> None:
    problem = Problem("error", "ValueError: a\n\x1b[31mb", "seen", "", "a\x1b[31m")
    assert problem_lines("ids", problem) == [
        "error: ids in seen(): ValueError: a",
        "\N{REPLACEMENT CHARACTER}[31mb",
        "  a\N{REPLACEMENT CHARACTER}[31m",
    ]


def test_a_problem_says_event_and_traceback() -> None:
    problem = Problem("error", "KeyError: 7", "seen", "flow 3", "Traceback\n  line")
    assert problem_lines("ids", problem) == [
        "error: ids in seen(): KeyError: 7",
        "  while handling flow 3",
        "  Traceback",
        "    line",
    ]
