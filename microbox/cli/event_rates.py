"""The event types of a chain that runs as a tree: how many of each came, how fast, who publishes
and who reads them. From two looks at what its processes count in any case."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microbox.cli.event_sums import sums
from microbox.cli.watched_types import RunTypes
from microbox.events.catalog import Catalog, EventType

STACK = "stack"


@dataclass(frozen=True, slots=True)
class Look:
    """At a run, and when."""

    types: RunTypes
    published: Mapping[str, int]  # events by full name
    totals: Mapping[str, int]  # with those of all types below
    at: float


@dataclass(frozen=True, slots=True)
class Node:
    """A type, with all types below it."""

    type: EventType
    depth: int  # below the one that was asked for
    count: int  # of the type itself
    total: int  # with all below it
    rate: float  # of these, a second
    publishers: Sequence[str]  # of the type itself
    subscribers: Sequence[str]  # who name it: they get what is below it, too


def look(control: Path) -> Look:
    """Asks the run behind this control socket. Raises ControlError."""
    from microbox.runtime.control.control_socket import ask

    answer = ask(control, "events")
    published = answer.get("published", {})
    return Look(RunTypes(answer), published, sums(published), time.monotonic())


def nodes(root: EventType, before: Look, now: Look) -> list[Node]:
    """Those types from `root` on that somebody publishes or reads, and all above them; each behind
    its parent."""
    seconds = max(now.at - before.at, 1e-9)
    found: list[Node] = []
    for one, depth in reversed(list(_downwards(root, now.types.catalog))):
        total = now.totals.get(one.name, 0)
        node = Node(
            type=one,
            depth=depth,
            count=now.published.get(one.name, 0),
            total=total,
            rate=(total - before.totals.get(one.name, 0)) / seconds,
            publishers=_publishers(one, now),
            subscribers=now.types.subscribers.get(one.name, ()),
        )
        is_above_one = bool(found) and one in found[-1].type.ancestors()
        if one is root or is_above_one or total or node.publishers or node.subscribers:
            found.append(node)
    return found[::-1]


def _downwards(
    root: EventType, catalog: Catalog, depth: int = 0
) -> Iterator[tuple[EventType, int]]:
    yield root, depth
    for one in catalog.types:
        if one.parent is root:
            yield from _downwards(one, catalog, depth + 1)


def _publishers(one: EventType, now: Look) -> Sequence[str]:
    """The stack where it has published some, since it does so for who reads them alone."""
    if one.is_by_stack:
        return [STACK] if now.published.get(one.name) else []
    return now.types.publishers.get(one.name, ())


def as_json(run: str, found: Sequence[Node], seconds: float) -> dict[str, Any]:
    """Stable keys (docs/guide/cli.md)."""
    return {
        "run": run,
        "seconds": round(seconds, 3),
        "types": [
            {
                "name": one.type.name,
                "parent": one.type.parent.name if one.type.parent else None,
                "count": one.count,
                "total": one.total,
                "rate": round(one.rate, 1),
                "publishers": list(one.publishers),
                "subscribers": list(one.subscribers),
            }
            for one in found
        ],
    }
