"""Events as lines: for people, for spreadsheets, for programs."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from microbox.cli.event_columns import (
    HEAD,
    SIDE_FIELDS,
    SIDES,
    Number,
    Read,
    Value,
    plain,
    value_of,
)
from microbox.events.catalog import Catalog, EventType, Field
from microbox.nf.event import Event
from microbox.nf.flow import Flow
from microbox.nf.snapshot import Side

TCP = 6
TUPLE_WIDTH = 44  # columns that a flow has at least: 192.168.100.100:54321 → 192.168.1.1:443 TCP
TUPLE_FIELDS = frozenset(
    "source destination source_port destination_port protocol ip_version".split()
)
"""Fields that people read as `10.0.0.1:1234 → 10.0.0.2:80 TCP`."""

FRAME_FIELDS = frozenset("ether_type network_offset transport_offset payload_offset".split())
"""Where in a frame what lies: for programs."""

DIM, CYAN, GREEN, PLAIN = "\x1b[2m", "\x1b[36m", "\x1b[32m", "\x1b[0m"


class Lines(Protocol):
    """A form that events are written in."""

    header: str
    """What comes before the first event, with its line feed; "" for nothing."""

    def line(self, event: Event) -> str:
        """One event, with its line feed."""


class JsonLines:
    """An object a line."""

    header = ""

    def __init__(self, chosen: Mapping[str, Read], worker: str) -> None:
        """`chosen`: what is said of an event; nothing: all of it. `worker`: whose events they
        are."""
        self._chosen = chosen
        self._worker = worker

    def line(self, event: Event) -> str:
        """See Lines."""
        return f"{{{', '.join(_members(self._values(event)))}}}\n"

    def _values(self, event: Event) -> dict[str, Any]:
        if self._chosen:
            return {name: read(event) for name, read in self._chosen.items()}
        values: dict[str, Any] = {name: read(event) for name, read in HEAD.items()}
        values |= {one.name: value_of(event, one) for one in event.type.fields}
        if event.flow:
            values["snapshot"] = {
                name: {each: plain(getattr(side, each)) for each in SIDE_FIELDS}
                for name, side in zip(SIDES, event.snapshot.side, strict=True)
            }
        values.setdefault("worker", self._worker)
        return values


def _members(values: Mapping[str, Any]) -> Iterator[str]:
    """Of a JSON object, in order. Numbers stand by themselves: json would write them as texts."""
    others: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(value, Number):
            others[name] = value
            continue
        yield from _dumped(others)
        yield f'"{name}": {value}'
        others = {}
    yield from _dumped(others)


def _dumped(values: Mapping[str, Any]) -> Iterator[str]:
    if values:
        text = json.dumps(values, ensure_ascii=False)[1:-1]
        yield _with_escapes(text, _json_escape)


class CsvLines:
    """A row an event (RFC 4180, but for line feeds alone), behind one with the columns' names."""

    def __init__(self, columns: Mapping[str, Read]) -> None:
        self._readers = tuple(columns.values())
        self.header = _row(list(columns))

    def line(self, event: Event) -> str:
        """See Lines."""
        return _row([printable(read(event)) for read in self._readers])


class FieldLines:
    """The values of some fields and nothing else, a tab between them."""

    header = ""

    def __init__(self, chosen: Mapping[str, Read]) -> None:
        self._readers = tuple(chosen.values())

    def line(self, event: Event) -> str:
        """See Lines."""
        return "\t".join(printable(read(event)) for read in self._readers) + "\n"


class TextLines:
    """A line an event, in columns: when, which worker's where there are several, what, which flow,
    the fields, both sides of the flow."""

    header = ""

    def __init__(
        self,
        of: EventType,
        catalog: Catalog,
        *,
        worker: str = "",
        in_terminal: bool,
        in_colour: bool,
    ) -> None:
        """`worker`: whose events they are, where there are several. `in_terminal`: no line is
        longer than its width."""
        self._worker = f"{worker}  " if worker else ""
        delivered = [one for one in catalog.delivered(of) if not one.is_abstract]
        names = [short_name(one) for one in delivered]
        self._type_width = max(map(len, names)) if len(names) > 1 else 0
        self._tuple_width = TUPLE_WIDTH
        self._in_terminal = in_terminal
        self._in_colour = in_colour

    def line(self, event: Event) -> str:
        """See Lines."""
        flow = tuple_text(event)
        self._tuple_width = max(self._tuple_width, len(flow))
        parts = [
            (DIM, f"{clock(event.time)}  {self._worker}"),
            (CYAN, f"{short_name(event.type):{self._type_width}}  " if self._type_width else ""),
            (GREEN, f"{flow:{self._tuple_width}}  " if flow else ""),
            ("", fields_text(event)),
            (DIM, snapshot_text(event)),
        ]
        if self._in_terminal and (columns := os.get_terminal_size().columns):  # 0: not known
            parts = fitted(parts, columns)
        return "".join(map(self._painted, parts)).rstrip() + "\n"

    def _painted(self, part: tuple[str, str]) -> str:
        colour, text = part
        return f"{colour}{text}{PLAIN}" if self._in_colour and colour and text else text


def fitted(parts: list[tuple[str, str]], width: int) -> list[tuple[str, str]]:
    """The parts up to so many columns; the last one says that there would be more."""
    found = []
    for colour, text in parts:
        if len(text) > width:
            found.append((colour, f"{text[: max(width - 1, 0)]}…"))
            break
        found.append((colour, text))
        width -= len(text)
    return found


def short_name(of: EventType) -> str:
    """As people write it."""
    return of.name.removeprefix("flow.")


def clock(time: int) -> str:
    """Local time of day, as tcpdump has it."""
    seconds, nanoseconds = divmod(time, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds):%H:%M:%S}.{nanoseconds // 1000:06d}"


def tuple_text(event: Event) -> str:
    """Who speaks with whom; "" where the event has no addresses."""
    flow: Flow = event.flow
    if not (event._has_tuple and flow.ip_version):
        return ""
    text = str(flow)
    return text.replace("→", "←") if event.direction and flow else text


def fields_text(event: Event) -> str:
    """The fields that have something to say beside the flow."""
    values = [(field, plain(getattr(event, field.name))) for field in event.type.fields]
    texts = [
        _field_text(event, field, value)
        for field, value in values
        if field.name not in TUPLE_FIELDS | FRAME_FIELDS and value not in ("", 0)
    ]
    if event._data_length:
        texts.append(f"data={event._data_length}B")
    if event.reason.number and event.reason.name != ".".join(event.name.rsplit(".", 2)[-2:]):
        texts.append(f"reason={event.reason.name}")
    return " ".join(texts)


def _field_text(event: Event, field: Field, value: Value) -> str:
    if field.is_time and isinstance(value, int):
        return f"duration={(event.time - value) / 1e9:.6f}s"
    return f"{field.name}={quoted(value)}"


def snapshot_text(event: Event) -> str:
    """What each side has sent so far."""
    if not event.flow:
        return ""
    is_tcp = event._has_tuple and event.flow.protocol_number == TCP
    return "  [{} | {}]".format(*(_side_text(one, is_tcp) for one in event.snapshot.side))


def _side_text(side: Side, is_tcp: bool) -> str:
    state = f"{side.state.name} " if is_tcp else ""
    return f"{state}{side.packets}p {side.bytes}B"


def quoted(value: Value) -> str:
    """A text in quotation marks where it would run into what follows."""
    text = printable(value)
    return f'"{text}"' if isinstance(value, str) and (" " in text or not text) else text


def printable(value: Value) -> str:
    """On one line, and nothing that steers a terminal: packets may come from anybody."""
    return _with_escapes(str(value), _escape)


def _with_escapes(text: str, escape: Callable[[str], str]) -> str:
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else escape(one) for one in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _json_escape(character: str) -> str:
    return json.dumps(character)[1:-1]


def _row(values: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()
