"""Problems that children report: each kind shown a few times, all counted.

An NF that raises on every packet must neither flood the terminal nor the controller's memory.
"""

from __future__ import annotations

import dataclasses

from microbox.channel.messages import Problem
from microbox.runtime.accounts.report import ProblemReport
from microbox.runtime.observer import Observer, Speaker

SHOWN = 3
"""How often a problem of one kind is shown."""

KINDS_MAX = 100
"""Kinds of problems that are kept apart for each NF."""


class Problems:
    """Collects the problems of a run."""

    def __init__(self, observer: Observer) -> None:
        """`observer` is told of the first few of each kind."""
        self._observer = observer
        self._kinds: dict[tuple[str, str, str, str], ProblemReport] = {}
        self._per_nf: dict[str, int] = {}

    def add(self, speaker: Speaker, problem: Problem) -> None:
        """A child told of `problem`."""
        name = speaker.name
        key = (name, problem.severity, problem.handler, problem.error)
        known = self._kinds.get(key)
        if known is None and self._per_nf.get(name, 0) >= KINDS_MAX:
            problem = Problem(problem.severity, "further problems")
            key = (name, problem.severity, "", problem.error)
            known = self._kinds.get(key)
        if known is None:
            self._per_nf[name] = self._per_nf.get(name, 0) + 1
        count = known.count + 1 if known else 1
        first = known or ProblemReport(nf=name, **dataclasses.asdict(problem))
        self._kinds[key] = dataclasses.replace(first, count=count)
        if count <= SHOWN:
            self._observer.problem(speaker, problem)
        if count == SHOWN:
            words = f"{name}: further problems of this kind are only counted"
            self._observer.note(words, speaker)

    def knows(self, name: str, error: str) -> bool:
        """True where child `name` told of this error before."""
        return any(report.nf == name and report.error == error for report in self.reports())

    def reports(self) -> list[ProblemReport]:
        """One of each kind, the first that came, with its count."""
        return list(self._kinds.values())
