"""A rule as it is declared, and what may be wrong with it. Nothing of the core is needed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

WHEN = "when"


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition as written."""

    when: str
    counters: Mapping[str, str] = field(default_factory=dict)
    at_most: int = 0  # times on a flow; 0: any number


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a rule: in which part (WHEN, or the counter's name), and where in it."""

    part: str
    offset: int
    message: str
    hint: str = ""


class RuleFaults(Exception):
    """All that is wrong with a rule."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(one.message for one in faults))
        self.faults = faults
