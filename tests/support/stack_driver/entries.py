"""What the stack published, as objects with the fields that payloads.h declares."""

from __future__ import annotations

import functools
import ipaddress
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

from microbox._core import ffi, lib
from microbox.events.catalog import Catalog
from microbox.ffi.layout import SIGNED, UNSIGNED, payload_layout

MAPPED = bytes(10) + b"\xff\xff"  # before an IPv4 address (RFC 4291 section 2.5.5.2)


def _compiled(name: str) -> tuple[struct.Struct, list[str]]:
    """Format and names of the integers of `struct mb_NAME`; what else it has is passed over."""
    text, names, at = "<", [], 0
    for member, one in ffi.typeof(f"struct mb_{name}").fields:
        if one.type.kind != "primitive":
            continue
        size = ffi.sizeof(one.type)
        is_signed = int(ffi.cast(one.type, -1)) < 0
        text += f"{one.offset - at}x" + (SIGNED if is_signed else UNSIGNED)[size]
        names.append(member)
        at = one.offset + size
    return struct.Struct(text + f"{ffi.sizeof(f'struct mb_{name}') - at}x"), names


_ENTRY, _ENTRY_NAMES = _compiled("entry")
_SIDE, _SIDE_NAMES = _compiled("side")
_INDEX = {name: index for index, name in enumerate(_ENTRY_NAMES)}
_OFFSETS = {name: one.offset for name, one in ffi.typeof("struct mb_entry").fields}
_STATES = {
    number: name.removeprefix("MB_TCP_")
    for number, name in ffi.typeof("enum mb_tcp_state").elements.items()
}


@functools.lru_cache(65536)
def address_text(packed: bytes) -> str:
    """An address as people write it; a mapped one as IPv4."""
    if packed.startswith(MAPPED):
        return str(ipaddress.IPv4Address(packed[12:]))
    return str(ipaddress.IPv6Address(packed))


class _Place(NamedTuple):
    offset: int
    format: struct.Struct
    is_address: bool


class Decoder:
    """Turns raw entries into objects; knows the types of a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.names = [one.name for one in self.catalog.types]
        self.reasons = [one.name for one in self.catalog.reasons]
        self._places: dict[int, dict[str, _Place]] = {}
        self._below: dict[tuple[str, ...], frozenset[str]] = {}

    def decode(self, raw: bytes, starts: list[int], data: bytes) -> Iterator[Entry]:
        """The entries whose bytes `raw` are; entry i's own bytes begin at `starts[i]` of `data`."""
        for index, values in enumerate(_ENTRY.iter_unpack(raw)):
            yield Entry(self, values, raw, index * _ENTRY.size, data, starts[index])

    def names_below(self, names: tuple[str, ...]) -> frozenset[str]:
        """Full names of these types and of all below them."""
        found = self._below.get(names)
        if found is None:
            catalog = self.catalog
            types = [one for name in names for one in catalog.descendants(catalog.resolve(name))]
            found = self._below[names] = frozenset(one.name for one in types)
        return found

    def places(self, number: int) -> dict[str, _Place]:
        """Where the fields of a type's payload lie."""
        found = self._places.get(number)
        if found is None:
            layout = payload_layout(self.catalog.by_number(number))
            found = {
                one.field.name: _Place(
                    one.offset, struct.Struct("<" + one.format), one.format == "16s"
                )
                for one in layout.places
            }
            self._places[number] = found
        return found


class Entry:
    """One event. Fields of its payload are attributes: `entry.source_port`, `entry.offset`."""

    __slots__ = ("_at", "_data", "_decoder", "_raw", "_start", "_values")

    def __init__(  # noqa: PLR0913, PLR0917 (made a million times: no struct around them)
        self,
        decoder: Decoder,
        values: tuple[int, ...],
        raw: bytes,
        at: int,
        data: bytes,
        start: int,
    ) -> None:
        self._decoder = decoder
        self._values = values
        self._raw = raw
        self._at = at
        self._data = data
        self._start = start

    @property
    def type(self) -> str:
        """The type's full name."""
        number = self._values[_INDEX["type"]]
        names = self._decoder.names
        return names[number] if number < len(names) else f"type {number}"

    @property
    def reason(self) -> str:
        """The reason's name; "none" for no reason."""
        return self._decoder.reasons[self._values[_INDEX["reason"]]]

    @property
    def direction(self) -> int:
        """0: sent by the flow's originator; 1: by the responder."""
        return int(bool(self._values[_INDEX["flags"]] & lib.MB_FROM_RESPONDER))

    @property
    def is_apart(self) -> bool:
        """Not about the packet that it was published with."""
        return bool(self._values[_INDEX["flags"]] & lib.MB_APART)

    @property
    def is_last(self) -> bool:
        """The last entry of its packet."""
        return bool(self._values[_INDEX["flags"]] & lib.MB_LAST)

    @property
    def time(self) -> int:
        return self._values[_INDEX["time"]]

    @property
    def packet(self) -> int:
        """Number of the packet that caused it, from 1."""
        return self._values[_INDEX["packet"]]

    @property
    def flow(self) -> int:
        """Number of the flow's first packet; 0: none."""
        return self._values[_INDEX["flow"]]

    @property
    def mask(self) -> int:
        """The bits of those who get it."""
        at = self._at + _OFFSETS["mask"]
        return int.from_bytes(self._raw[at : at + 16], "little")

    @property
    def data(self) -> bytes:
        """The event's bytes: of the stream, of the datagram, of the packet's payload."""
        return self._data[self._start : self._start + self._values[_INDEX["data_length"]]]

    @property
    def previous(self) -> bytes:
        """Of tcp.anomaly.overlap.inconsistent: the earlier copy of the bytes."""
        length = self._values[_INDEX["data_length"]]
        is_kept = self.type.endswith("overlap.inconsistent")
        return self._data[self._start + length : self._start + 2 * length] if is_kept else b""

    @property
    def sides(self) -> tuple[SimpleNamespace, SimpleNamespace]:
        """The snapshot, what each side had sent as of this event: the fields of struct mb_side,
        `state` by its name."""
        at = self._at + _OFFSETS["snapshot"]
        return self._side(at), self._side(at + _SIDE.size)

    def _side(self, at: int) -> SimpleNamespace:
        values = _SIDE.unpack_from(self._raw, at)
        side = SimpleNamespace(**dict(zip(_SIDE_NAMES, values, strict=True)))
        side.state = _STATES[side.state]
        return side

    @property
    def payload(self) -> dict[str, Any]:
        """All fields of the payload by name."""
        places = self._decoder.places(self._values[_INDEX["type"]])
        return {name: self._field(place) for name, place in places.items()}

    def __getattr__(self, name: str) -> Any:
        place = self._decoder.places(self._values[_INDEX["type"]]).get(name)
        if place is None:
            raise AttributeError(f"{self.type} has no field '{name}'")
        return self._field(place)

    def _field(self, place: _Place) -> Any:
        (value,) = place.format.unpack_from(
            self._raw, self._at + _OFFSETS["payload"] + place.offset
        )
        return address_text(value) if place.is_address else value

    def key(self) -> tuple[Any, ...]:
        """All that the event says, without where it lies: equal for equal events."""
        payload = self.payload
        payload.pop("previous_position", None)
        return (
            self.type,
            self.packet,
            self.flow,
            self.direction,
            self.reason,
            self.is_apart,
            self.time,
            tuple(payload.items()),
            self.sides,
            self.data,
            self.previous,
        )

    def __repr__(self) -> str:
        why = "" if self.reason == "none" else f" ({self.reason})"
        who = f" of {self.flow}/{self.direction}" if self.flow else ""
        what = f" {self.data[:40]!r}" if self.data else ""
        return f"<{self.packet}: {self.type}{who}{why}{what}>"
