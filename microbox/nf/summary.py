"""What finish() returns, as plain values of a bounded size that a message and JSON can carry.

A run must not fail since a summary holds a numpy number or is too long: it is for people to read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

TEXT_MAX = 50_000  # characters of a whole summary
VALUES_MAX = 5000  # of a whole summary
ITEMS_MAX = 1000  # of one list or mapping
DEPTH_MAX = 8
INTEGER_LIMIT = 1 << 63
CUT = "…"


def as_plain(summary: Mapping[Any, Any]) -> dict[str, Any]:
    """The summary with text keys, and values that are None, bool, int, float, text, list, dict."""
    return _Budget().mapping(summary, 0)


class _Budget:
    """What may still come: a summary may be short at each place and yet large."""

    def __init__(self) -> None:
        self._values = VALUES_MAX
        self._characters = TEXT_MAX

    def mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        return {
            self._text(str(key)): self._plain(each, depth + 1)
            for key, each in islice(value.items(), ITEMS_MAX)
            if self._values > 0
        }

    def _list(self, value: Iterable[Any], depth: int) -> list[Any]:
        return [
            self._plain(each, depth + 1) for each in islice(value, ITEMS_MAX) if self._values > 0
        ]

    def _plain(self, value: Any, depth: int) -> Any:
        self._values -= 1
        if hasattr(value, "tolist"):  # numpy's scalars and arrays
            value = value.tolist()
        if _is_plain(value):
            return value
        match value:
            case bytes():
                return self._text(value.decode(errors="backslashreplace"))
            case Mapping() if depth < DEPTH_MAX:
                return self.mapping(value, depth)
            case list() | tuple() | set() | frozenset() if depth < DEPTH_MAX:
                return self._list(value, depth)
            case _:
                return self._text(str(value))

    def _text(self, text: str) -> str:
        room = max(self._characters, 0)
        self._characters -= len(text)
        return text if len(text) <= room else text[:room] + CUT


def _is_plain(value: Any) -> bool:
    """True for what JSON has a word for."""
    if isinstance(value, int):
        return type(value) in (int, bool) and -INTEGER_LIMIT <= value < INTEGER_LIMIT
    return value is None or (type(value) is float and math.isfinite(value))
