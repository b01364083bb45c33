"""From the fields of `publish` to the bytes of a payload."""

from __future__ import annotations

import difflib
import functools
import socket
import struct
from collections.abc import Mapping
from typing import Any

from microbox.events.catalog import EventType
from microbox.ffi.layout import Layout, Place, payload_layout, struct_chain, struct_size
from microbox.nf.errors import UsageError
from microbox.nf.flow import FROM_RESPONDER
from microbox.nf.notation import IPV4_MAPPED

TEXT = struct.Struct("=II")
ADDRESS_SIZE = 16
PORT_SIZE = 2


class Packer:
    """Makes payloads of one type."""

    def __init__(self, of: EventType) -> None:
        self._type = of
        self._layout: Layout = payload_layout(of)
        self._places = {place.field.name: place for place in self._layout.places}

    def pack(
        self, fields: Mapping[str, Any], cause_type: EventType | None, inherited: bytes, flags: int
    ) -> bytearray:
        """The payload: what the cause's has in common, then the fields, then the texts.

        `inherited`: the first bytes of the cause's payload; `flags`: those of its entry. Raises
        UsageError, naming the field.
        """
        payload = bytearray(self._layout.size)
        if cause_type is not None:
            self._inherit(payload, cause_type, inherited, flags)
        for name, value in fields.items():
            place = self._places.get(name)
            if place is None:
                raise UsageError(unknown_field("publish", self._type, name))
            try:
                self._put(payload, place, value)
            except (struct.error, OSError, TypeError, ValueError) as error:
                raise UsageError(
                    f"publish('{self._type.name}'): field '{name}' is {place.field.type_name}, "
                    f"but {value!r:.60} ({type(value).__name__}) was given"
                ) from error
        return payload

    def _inherit(
        self, payload: bytearray, cause_type: EventType, inherited: bytes, flags: int
    ) -> None:
        size, is_turned = common_prefix(self._type, cause_type)
        size = min(size, len(inherited), len(payload))
        payload[:size] = inherited[:size]
        if is_turned and flags & FROM_RESPONDER:
            turn_round(payload)

    def _put(self, payload: bytearray, place: Place, value: Any) -> None:
        if place.format == "II":
            octets = text_bytes(value)
            TEXT.pack_into(payload, place.offset, len(payload), len(octets))
            payload += octets
        elif place.format == "16s":
            payload[place.offset : place.offset + ADDRESS_SIZE] = address_bytes(value)
        else:
            struct.pack_into(f"={place.format}", payload, place.offset, value)


def unknown_field(verb: str, of: EventType, name: str) -> str:
    """That a type has no such field, and which was meant."""
    names = [one.name for one in of.fields]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(names)}"
    return f"{verb}('{of.name}'): there is no field '{name}'; {hint}"


@functools.cache
def common_prefix(of: EventType, cause: EventType) -> tuple[int, bool]:
    """How many bytes the payloads of two types have in common, and whether the five-tuple has to
    be turned round where the packet came from the responder: a packet's is as sent, a flow's as
    opened."""
    chain, other = struct_chain(of.struct), struct_chain(cause.struct)
    shared = next((name for name in chain if name in other), None)
    if shared is None:
        return 0, False
    shares_extra = _with_fields(of, cause)
    size = payload_layout(shares_extra).size if shares_extra else struct_size(shared)
    return size, "packet" in other and "packet" not in chain


def _with_fields(of: EventType, cause: EventType) -> EventType | None:
    """The nearest type with users' fields that both descend from."""
    others = set(cause.ancestors())
    return next((one for one in of.ancestors() if one in others and one.extra_fields), None)


def turn_round(payload: bytearray) -> None:
    """Swaps source and destination of the five-tuple that `payload` begins with."""
    source, destination = payload[:16], payload[16:32]
    payload[:16], payload[16:32] = destination, source
    payload[32:34], payload[34:36] = payload[34:36], payload[32:34]


def text_bytes(value: Any) -> bytes:
    """The value of a text field as bytes. Raises TypeError."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return bytes(memoryview(value))


def address_bytes(text: str) -> bytes:
    """An address as 16 bytes, IPv4 mapped (RFC 4291 section 2.5.5.2). Raises OSError."""
    if ":" in text:
        return socket.inet_pton(socket.AF_INET6, text)
    return IPV4_MAPPED + socket.inet_pton(socket.AF_INET, text)
