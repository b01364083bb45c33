"""The properties of events, in C, against cffi's reading of the same bytes."""

from __future__ import annotations

import gc
import random
import weakref
from typing import Any

import pytest

from microbox._core import ffi
from microbox._event_view import Field, View
from microbox.events.catalog import EventType, built_in
from microbox.ffi.layout import PAYLOAD_SIZE, payload_layout
from microbox.nf.deliveries import Deliveries
from microbox.nf.event import Event
from microbox.nf.event_class import event_class
from microbox.nf.notation import address_text
from microbox.nf.runner import address_of
from microbox.nf.verdict import DROP, PASS, Verdict

CATALOG = built_in()
IN_ENTRY = {name for name, _ in ffi.typeof("union mb_payload").fields}
TYPES = [one for one in CATALOG.types if one.struct in IN_ENTRY]


class Shown:
    """One delivery with an entry of random bytes, shown to events."""

    def __init__(self, seed: int) -> None:
        self.entry = ffi.new("struct mb_entry *")
        ffi.memmove(self.entry, random.Random(seed).randbytes(ffi.sizeof("struct mb_entry")), 192)
        self.array = ffi.new("struct mb_delivery[]", 1)
        self.array[0].entry = self.entry
        self.deliveries = Deliveries(CATALOG, None, self.array)
        self.counters = ffi.new("struct mb_nf_counters *")
        self.deliveries.bind(address_of(self.array), address_of(self.counters), {}, {}, [], None)

    def event(self, of: EventType) -> Any:
        event = event_class(of)(self.deliveries)
        self.deliveries.show(0)
        return event


def through_cffi(entry: Any, of: EventType, path: tuple[str, ...]) -> Any:
    value = getattr(entry.payload, of.struct)
    for step in path:
        value = getattr(value, step)
    return address_text(bytes(ffi.buffer(value))) if isinstance(value, ffi.CData) else value


@pytest.mark.parametrize("of", TYPES, ids=lambda of: of.name)
def test_every_field_of_a_payload_is_what_cffi_reads(of: EventType) -> None:
    shown = Shown(of.number)
    event = shown.event(of)
    for place in payload_layout(of).places:
        if place.offset + place.size > PAYLOAD_SIZE or place.field.owner == "tcp_state_change":
            continue
        expected = through_cffi(shown.entry, of, place.field.path)
        assert getattr(event, place.field.name) == expected, place.field.name


def test_the_header_and_both_sides_are_what_cffi_reads() -> None:
    shown = Shown(1)
    event, entry = shown.event(CATALOG.resolve("tcp.data")), shown.entry
    assert (event.time, event.packet, event.sequence, event.flow.id) == (
        entry.time,
        entry.packet,
        entry.sequence,
        entry.flow,
    )
    for index, side in enumerate(event.snapshot.side):
        for name, _ in ffi.typeof("struct mb_side").fields:
            if name != "state":
                assert getattr(side, name) == getattr(entry.snapshot.side[index], name), name


def test_an_event_cannot_be_changed() -> None:
    event = Shown(2).event(CATALOG.resolve("tcp.data"))
    with pytest.raises(AttributeError, match="cannot be changed"):
        event.time = 0


def test_before_the_first_event_there_is_nothing_to_read() -> None:
    event = event_class(CATALOG.resolve("tcp.data"))(Shown(3).deliveries)
    with pytest.raises(LookupError, match="no event yet"):
        _ = event.time


@pytest.mark.parametrize(
    ("offset", "form"), [(185, "Q"), (-1, "B"), (177, "16s"), (0, "x"), (0, "QQ"), (0, "")]
)
def test_a_field_lies_inside_the_entry_and_has_a_known_format(offset: int, form: str) -> None:
    with pytest.raises(ValueError, match="entry|format"):
        Field(offset, form)


def test_only_views_have_fields() -> None:
    with pytest.raises(TypeError, match="first argument is its deliveries"):
        View(1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="asked of a 'int'"):
        Field(0, "Q").__get__(1)


@pytest.mark.parametrize(("returned", "next_index"), [(None, 1), (PASS, 1), (DROP, 0)])
def test_a_run_ends_at_what_says_more_than_to_pass(
    returned: Verdict | None, next_index: int
) -> None:
    shown = Shown(5)
    key = shown.array[0].bits << 16 | shown.entry.type
    calls = {key: (lambda _: returned, "an event", "handler")}
    shown.deliveries.bind(address_of(shown.array), address_of(shown.counters), calls, {}, [], PASS)
    assert shown.deliveries.run(0, 1) == next_index
    assert shown.counters.handled == 1


def test_a_ring_of_deliveries_and_events_is_collected() -> None:
    shown = Shown(4)
    event: Event = shown.event(CATALOG.resolve("tcp.data"))
    shown.deliveries.views.append((event, memoryview(b"")))
    gone = weakref.ref(shown.array)
    del shown, event
    gc.collect()
    assert gone() is None
