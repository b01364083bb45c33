"""What is wrong with a chain, said so that a person can act on it.

An error says where (file, line, column), what came, what was expected, and the nearest right
name. All errors that can be found are reported together.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Position(NamedTuple):
    """A place in a text file, both counted from 1; line 0: no place in particular.

    `file`: where that is not the chain file itself; an option of the command line has no lines.
    """

    line: int = 0
    column: int = 0
    file: str = ""

    @property
    def spelled(self) -> str:
        """In words, as another error may mention it: line 3."""
        if self.line == 0:
            return self.file
        return f"line {self.line} of {self.file}" if self.file else f"line {self.line}"


NOWHERE = Position()


@dataclass(frozen=True, slots=True, order=True)
class ChainError:
    """One thing that is wrong. `detail` may hold a traceback, shown below the message."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    detail: str = ""

    @classmethod
    def at(
        cls, file: str, position: Position, message: str, hint: str = "", detail: str = ""
    ) -> ChainError:
        """An error of the chain in `file`, at a position that may name another one."""
        where = position.file or file
        return cls(where, position.line, position.column, message, hint, detail)

    def __str__(self) -> str:
        place = self.file if self.line == 0 else f"{self.file}:{self.line}:{self.column}"
        return f"{place}: {self.message}" + (f"; {self.hint}" if self.hint else "")


class ChainErrors(Exception):
    """All that is wrong, in the order of the files."""

    def __init__(self, errors: Iterable[ChainError]) -> None:
        self.errors = tuple(sorted(set(errors)))
        super().__init__("\n".join(str(error) for error in self.errors))


_KINDS: dict[type, str] = {type(None): "nothing", list: "a list", dict: "a mapping"}


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """The hint that names the nearest candidate, "" where none is near."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    nearest = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f"did you mean '{by_lower[nearest[0]]}'?" if nearest else ""


def one_of(names: Iterable[str]) -> str:
    """Alternatives as a phrase: 'a', 'b' or 'c'."""
    quoted = [f"'{name}'" for name in names]
    if len(quoted) < 2:  # noqa: PLR2004 (nothing to join)
        return "".join(quoted)
    return ", ".join(quoted[:-1]) + f" or {quoted[-1]}"


def describe_value(value: object) -> str:
    """A value that came, in words: `'abc' (text)`, `12 (a whole number)`, `a list`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{_shortened(value)}' (text)"
    if isinstance(value, int | float):
        return f"{value} ({'a whole number' if isinstance(value, int) else 'a number'})"
    if value in ([], {}):
        return f"an empty {'list' if isinstance(value, list) else 'mapping'}"
    return _KINDS.get(type(value), f"a value of type {type(value).__name__}")


def _shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
