"""An NF that raises on every packet floods nobody, and every problem is counted."""

from microbox.channel.messages import Problem
from microbox.runtime.accounts.problems import KINDS_MAX, SHOWN, Problems
from microbox.runtime.observer import Reading, Speaker


class Shown:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.problems: list[tuple[str, Problem]] = []
        self.notes: list[str] = []

    def reading(self, reading: Reading) -> None: ...

    def line(self, speaker: Speaker, stream: str, line: str) -> None: ...

    def problem(self, speaker: Speaker, problem: Problem) -> None:
        self.problems.append((speaker.name, problem))

    def note(self, text: str, _speaker: Speaker | None = None, /) -> None:
        self.notes.append(text)


def test_one_kind_is_shown_a_few_times_and_counted_always() -> None:
    shown = Shown()
    problems = Problems(shown)
    for number in range(1000):
        problems.add(Speaker("ids"), Problem("error", "KeyError: 7", "seen", f"packet {number}"))
    assert len(shown.problems) == SHOWN
    assert shown.notes == ["ids: further problems of this kind are only counted"]
    (report,) = problems.reports()
    assert (report.count, report.event) == (1000, "packet 0")


def test_ever_new_kinds_do_not_grow_without_end() -> None:
    shown = Shown()
    problems = Problems(shown)
    for number in range(1000):
        problems.add(Speaker("ids"), Problem("error", f"KeyError: {number}"))
    reports = problems.reports()
    assert len(reports) == KINDS_MAX + 1
    assert (reports[-1].error, reports[-1].count) == ("further problems", 1000 - KINDS_MAX)
    assert sum(report.count for report in reports) == 1000


def test_nfs_are_kept_apart() -> None:
    problems = Problems(Shown())
    for name in ("ids", "flow_log"):
        problems.add(Speaker(name), Problem("error", "boom"))
    assert [(report.nf, report.count) for report in problems.reports()] == [
        ("ids", 1),
        ("flow_log", 1),
    ]
