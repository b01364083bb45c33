"""Patterns in the byte streams of TCP connections, across segments."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import hyperscan

from microbox import Event, NetworkFunction, ParameterError, on, parameter

FLAGS = hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_DOTALL
SIDES = ("originator", "responder")
SEVERITIES = {"information": 1, "notice": 2, "warning": 3, "critical": 4}


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a rules file."""

    name: str
    severity: int
    pattern: bytes
    line: int


class RuleError(ValueError):
    """A rules file that cannot be used; the message begins with file and line."""


def read_text(path: Path) -> str:
    """Read a file. Raises RuleError where there is none, or no text in it."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise RuleError(f"there is no file {path}") from None
    except OSError as error:
        raise RuleError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RuleError(f"{path} is not text in UTF-8") from None


def read_rules(path: Path) -> list[Rule]:
    """Read a rules file: severity, name, pattern a line; `#` begins a comment line."""
    rules: list[Rule] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = line.split(maxsplit=2)
        if len(words) != 3 or words[0] not in SEVERITIES:  # noqa: PLR2004
            raise RuleError(
                f"{path}:{number}: expected a severity ({', '.join(SEVERITIES)}), a name and a "
                f"pattern, not {line.strip()!r}"
            )
        severity, name, pattern = words
        if any(rule.name == name for rule in rules):
            raise RuleError(f"{path}:{number}: a second rule is called {name!r}")
        rules.append(Rule(name, SEVERITIES[severity], pattern.strip().encode(), number))
    if not rules:
        raise RuleError(f"{path}: there is no rule in it")
    return rules


def compile_rules(path: Path, rules: list[Rule]) -> hyperscan.Database:
    """Compile all rules into one automaton. Raises RuleError for the first that is wrong."""
    for rule in rules:
        try:
            hyperscan.Database().compile(expressions=[rule.pattern], flags=[FLAGS])
        except hyperscan.error as error:
            raise RuleError(f"{path}:{rule.line}: {rule.name}: {error}") from None
    database = hyperscan.Database(mode=hyperscan.HS_MODE_STREAM)
    database.compile(
        expressions=[rule.pattern for rule in rules],
        ids=list(range(len(rules))),
        flags=[FLAGS] * len(rules),
    )
    return database


def collect(identifier: int, _start: int, end: int, _flags: int, found: object) -> None:
    """Take note of a match: what the automaton calls, with the list given as its context."""
    assert isinstance(found, list)
    found.append((end, identifier))


class Scans:
    """The automaton's state for both sides of a connection."""

    __slots__ = ("begins", "is_refused", "streams")

    def __init__(self) -> None:
        self.streams: list[hyperscan.Stream | None] = [None, None]
        self.begins = [0, 0]  # offset in the side's stream where its search began
        self.is_refused = False


class Ids(NetworkFunction):
    """Alert when a rule's pattern stands in what one side of a TCP connection sends.

    Patterns are regular expressions in PCRE's syntax (as far as vectorscan has it), without regard
    to case. They are found across segments, each at most once a side, by one pass over the bytes
    for all rules. After missing bytes the search begins anew.
    """

    flow_state: ClassVar = Scans

    rules: Path = parameter(doc="file of rules: a severity, a name and a pattern a line")
    streams_max: int = parameter(200_000, "sides that are searched at once; more are let pass")

    def start(self) -> None:
        """Compile the rules."""
        try:
            self.compiled = read_rules(self.rules)
            self.database = compile_rules(self.rules, self.compiled)
        except RuleError as error:
            raise ParameterError("rules", str(error)) from None
        self.found: list[tuple[int, int]] = []  # end in the searched bytes, number of the rule
        self.open = 0
        self.bytes = 0
        self.refused = 0
        self.counts: Counter[str] = Counter()

    @on("tcp.data")
    def search(self, event: Event) -> None:
        """Search the next bytes of one side."""
        stream = self.stream_of(event)
        if stream is None:
            return
        data = bytes(event.data)
        self.bytes += len(data)
        stream.scan(data)
        for end, identifier in sorted(self.found):
            rule = self.compiled[identifier]
            self.counts[rule.name] += 1
            offset = event.flow.state.begins[event.direction] + end
            message = f"in the {SIDES[event.direction]}'s stream, before byte {offset}"
            self.alert(event, message, signature=rule.name, severity=rule.severity)
        self.found.clear()

    @on("tcp.gap")
    def gap(self, event: Event) -> None:
        """Begin anew behind missing bytes."""
        self.close(event.flow.state, event.direction)

    @on("tcp.end")
    def end(self, event: Event) -> None:
        """Let a connection go."""
        for direction in (0, 1):
            self.close(event.flow.state, direction)

    def stream_of(self, event: Event) -> hyperscan.Stream | None:
        """Return the automaton's state for one side; None where there is no room for it."""
        scans: Scans = event.flow.state
        stream = scans.streams[event.direction]
        if stream is not None:
            return stream
        if self.open >= self.streams_max:
            self.refused += not scans.is_refused
            scans.is_refused = True
            return None
        # `collect` has a name because the library does not keep its handler alive.
        stream = self.database.stream(match_event_handler=collect, context=self.found)
        stream.__enter__()
        scans.streams[event.direction] = stream
        scans.begins[event.direction] = event.offset
        self.open += 1
        return stream

    def close(self, scans: Scans, direction: int) -> None:
        """Give one side's state back."""
        if scans.streams[direction] is not None:
            scans.streams[direction] = None
            self.open -= 1

    def finish(self) -> dict[str, Any]:
        """Say what was found, and how much was searched."""
        ordered = sorted(self.counts.items(), key=lambda one: (-one[1], one[0]))
        return {
            "rules": str(len(self.compiled)),  # no number: each instance has them all
            "bytes": self.bytes,
            "matches": dict(ordered),
            "connections_let_pass": self.refused,
        }
