"""`event`: declares an event type that the stack filters."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from microbox.nf.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class DerivedEvent:
    """What `event` says."""

    name: str  # as written, its parent's name in front
    when: str
    counters: Mapping[str, str]
    at_most: int
    doc: str
    line: int


def event(  # noqa: PLR0913 (a keyword each)
    name: str,
    *,
    parent: str = "",
    when: str = "true",
    counters: Mapping[str, str] | None = None,
    at_most: int = 0,
    doc: str = "",
) -> DerivedEvent:
    """An event type of the NF's own, published by the stack for those events of its parent that
    fit a condition; no process is woken for the others::

        class Requests(NetworkFunction):
            get = event("tcp.data.get", when='data startswith "GET "')

            @on(get)
            def see(self, event): ...

    The parent is `parent`, or all of the name but its last word. `counters`: numbers kept for each
    flow; `at_most`: how often the event is published on a flow (docs/guide/conditions.md).
    """
    texts = {"name": name, "parent": parent, "when": when, "doc": doc}
    for what, value in texts.items():
        if not isinstance(value, str):
            raise DefinitionError(f"event(): {what} is a str, not {value!r}")
    counted = dict(counters or {})
    if not all(isinstance(part, str) for pair in counted.items() for part in pair):
        raise DefinitionError('event(): counters map names to what is counted: {"seen": "true"}')
    if isinstance(at_most, bool) or not isinstance(at_most, int) or at_most < 0:
        raise DefinitionError(f"event(): at_most is a whole number from 1, not {at_most!r}")
    full = f"{parent}.{name}" if parent else name
    line = sys._getframe(1).f_lineno
    return DerivedEvent(full, when.strip() or "true", counted, at_most, doc, line)


def derived_by(owner: type) -> Iterator[DerivedEvent]:
    """The declarations of a class and its bases, in their order; of two with one name the last."""
    values = (value for base in reversed(owner.__mro__) for value in vars(base).values())
    by_name = {one.name: one for one in values if isinstance(one, DerivedEvent)}
    return iter(by_name.values())
