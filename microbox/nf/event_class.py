"""The class of each type's events: `Event`, with the payload's fields as properties."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import Any

from microbox._core import ffi
from microbox._event_view import Field as EntryField
from microbox.events.catalog import EventType
from microbox.ffi.layout import PAYLOAD_SIZE, Place, payload_layout, struct_chain
from microbox.nf.event import Event
from microbox.nf.notation import address_text, text_of
from microbox.nf.snapshot import tcp_state

PAYLOAD: int = ffi.offsetof("struct mb_entry", "payload")


@functools.cache
def event_class(of: EventType) -> type[Event]:
    """Made once for each type."""
    layout = payload_layout(of)
    own: dict[str, Any] = {
        "__slots__": (),
        "__doc__": of.doc,
        "type": of,
        "name": of.name,
        "_is_packet": "packet" in struct_chain(of.struct),
        "_has_tuple": "five_tuple" in struct_chain(of.struct),
    }
    for place in layout.places:
        own[place.field.name] = _property(place)
    return type(f"Event[{of.name}]", (Event,), own)


def _property(place: Place) -> Any:
    """The payload's beginning is in each entry, also where the whole is in a data ring."""
    one = place.field
    show: Callable[[Any], Any] | None = None
    if place.format == "II":
        return property(_text_getter(place.offset), doc=one.doc)
    if place.format == "16s":
        show = address_text
    elif one.owner == "tcp_state_change":
        show = tcp_state
    if place.offset + place.size > PAYLOAD_SIZE:
        return property(_shown(_far_getter(place), show), doc=one.doc)
    field = EntryField(PAYLOAD + place.offset, place.format, one.doc)
    return field if show is None else property(_shown(field.__get__, show), doc=one.doc)


def _shown(read: Callable[[Any], Any], show: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    return read if show is None else lambda event: show(read(event))


def _text_getter(offset: int) -> Callable[[Any], str]:
    unpack = struct.Struct("=II").unpack

    def text(event: Event) -> str:
        start, length = unpack(event._bytes_at(offset, 8))
        return text_of(event._bytes_at(start, length))

    return text


def _far_getter(place: Place) -> Callable[[Any], Any]:
    unpack = struct.Struct(f"={place.format}").unpack

    def value(event: Event) -> Any:
        return unpack(event._bytes_at(place.offset, place.size))[0]

    return value
