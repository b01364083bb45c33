"""What can be said of an event, by name, as plain values.

The names are those of `microbox.read`'s columns: what all events have, the payload's fields, both
sides of the flow, and the bytes where they are asked for; and whose event it is of several workers.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from operator import attrgetter
from typing import Any

from microbox._core import ffi
from microbox.events.catalog import Catalog, EventType, Field
from microbox.nf.event import Event
from microbox.nf.notation import text_of
from microbox.nf.record_forms import epoch_time

SIDES = ("originator", "responder")
SIDE_FIELDS = tuple(name for name, _ in ffi.typeof("struct mb_side").fields)


class Number(str):
    """A number as its digits: more of them than a float holds."""

    __slots__ = ()


Value = str | int | float | Number
Read = Callable[[Event], Value]


def _side_value(event: Event, side: int, name: str) -> Value:
    return plain(getattr(event.snapshot.side[side], name)) if event.flow else ""


def _bytes_of(event: Event, name: str) -> str:
    return text_of(bytes(getattr(event, name)))


HEAD: Mapping[str, Read] = {
    "time": lambda event: Number(epoch_time(event.time)),
    "type": attrgetter("name"),
    "packet": attrgetter("packet"),
    "flow": attrgetter("flow.id"),
    "direction": attrgetter("direction"),
    "reason": lambda event: event.reason.name,
}
"""What all events have."""

SNAPSHOT: Mapping[str, Read] = {
    f"{side}_{name}": functools.partial(_side_value, side=index, name=name)
    for index, side in enumerate(SIDES)
    for name in SIDE_FIELDS
}
"""Both sides of the flow as of the event; "" where it has none."""

ON_DEMAND: Mapping[str, Read] = {
    "data": functools.partial(_bytes_of, name="data"),
    "frame": functools.partial(_bytes_of, name="frame"),
}
"""Bytes, as text: UTF-8, and what is not so as \\xNN."""


def plain(value: Any) -> Value:
    """States and reasons by name."""
    return value.name if isinstance(value, Enum) else value


def value_of(event: Event, field: Field) -> Value:
    """Of a field that the event has."""
    value = getattr(event, field.name)
    return Number(epoch_time(value)) if field.is_time else plain(value)


def field_reader(name: str) -> Read:
    """Of a field of the payload; "" in an event that has none of that name."""

    def read(event: Event) -> Value:
        field = _fields(event.type).get(name)
        return "" if field is None else value_of(event, field)

    return read


@functools.cache
def _fields(of: EventType) -> dict[str, Field]:
    return {one.name: one for one in of.fields}


def worker_reader(worker: str) -> Read:
    """Of events that all are one worker's."""
    return lambda _: worker


def columns(of: EventType, worker: str) -> dict[str, Read]:
    """All but those on demand, in order, for events of this type and those below it, of a worker.
    A field that a user has called so as well has the name."""
    fields = {one.name: field_reader(one.name) for one in of.fields}
    is_without_flow = of.name.startswith(("packet", "timer", "system"))
    found = {**HEAD, **fields, **({} if is_without_flow else SNAPSHOT)}
    found.setdefault("worker", worker_reader(worker))
    return found


def chosen(names: Sequence[str], of: EventType, catalog: Catalog, worker: str) -> dict[str, Read]:
    """The columns of these names. Raises ValueError for one that no such event has."""
    delivered = catalog.delivered(of)
    fields = {one.name: field_reader(one.name) for each in delivered for one in each.fields}
    known = {**HEAD, "worker": worker_reader(worker), **fields, **SNAPSHOT, **ON_DEMAND}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(known)}"
            raise ValueError(f"'{name}' is no field of {of.name}; {hint}")
    return {name: known[name] for name in names}
