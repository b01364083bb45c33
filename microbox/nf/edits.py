"""`event.edit(...)`, `event.push_vlan(...)`, `event.pop_vlan()`: from values to a record for the
worker, which makes the packet's next version."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from microbox._core import ffi, lib
from microbox.channel.messages import AreaShape
from microbox.nf.errors import UsageError
from microbox.nf.rewrites import TCP, UDP, packed_address

if TYPE_CHECKING:
    from microbox.nf.event import Event

IPV4 = 4
MAC_SIZE = 6
VLAN_MAX, PRIORITY_MAX = 4094, 7
ETHER_TYPES = (0x8100, 0x88A8, 0x9100)
Octets = bytes | bytearray | memoryview


class Sends(Protocol):
    """Leaves edits with the event that is being handled."""

    def edit(self, record: Any) -> None:
        """As the struct mb_edit * says."""

    def replace(self, at: int, data: bytes) -> None:
        """The event's bytes from `at` on."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of struct mb_edit, which bears the name that authors write."""

    bit: int  # of enum mb_edit_field
    layer: str  # "eth", "ip", "ports", "tcp"
    largest: int = 0  # of a number
    read: Callable[[str, Any, int], bytes] | None = None  # of what is no number


def _mac(name: str, text: Any, _: int) -> bytes:
    try:
        octets = bytes.fromhex(text.replace(":", "").replace("-", ""))
    except (AttributeError, ValueError):
        octets = b""
    if len(octets) != MAC_SIZE:
        raise UsageError(f"{name} is an address such as 02:00:00:00:00:01, not {text!r:.60}")
    return octets


FIELDS = {
    "eth_source": Field(lib.MB_EDIT_ETH_SOURCE, "eth", read=_mac),
    "eth_destination": Field(lib.MB_EDIT_ETH_DESTINATION, "eth", read=_mac),
    "ip_ttl": Field(lib.MB_EDIT_IP_TTL, "ip", 0xFF),
    "ip_dscp": Field(lib.MB_EDIT_IP_DSCP, "ip", 63),
    "ip_ecn": Field(lib.MB_EDIT_IP_ECN, "ip", 3),
    "ip_identification": Field(lib.MB_EDIT_IP_IDENTIFICATION, "ip", 0xFFFF),
    "ip_source": Field(lib.MB_EDIT_IP_SOURCE, "ip", read=packed_address),
    "ip_destination": Field(lib.MB_EDIT_IP_DESTINATION, "ip", read=packed_address),
    "source_port": Field(lib.MB_EDIT_SOURCE_PORT, "ports", 0xFFFF),
    "destination_port": Field(lib.MB_EDIT_DESTINATION_PORT, "ports", 0xFFFF),
    "tcp_flags": Field(lib.MB_EDIT_TCP_FLAGS, "tcp", 0xFF),
    "tcp_window": Field(lib.MB_EDIT_TCP_WINDOW, "tcp", 0xFFFF),
    "tcp_urgent_pointer": Field(lib.MB_EDIT_TCP_URGENT_POINTER, "tcp", 0xFFFF),
}


class Edits:
    """The edits of one NF."""

    def __init__(self, owner: type, shape: AreaShape, send: Sends) -> None:
        """`shape` says what the NF declared."""
        self._owner = owner
        self._edits_headers = bool(shape.editor)
        self._edits_payload = bool(shape.edit_bytes)
        self._send = send
        self._record = ffi.new("struct mb_edit *")

    def edit(
        self, event: Event, payload: Octets | None, payload_offset: int, fields: Mapping[str, Any]
    ) -> None:
        """See Event.edit."""
        self._check_declared("edit")
        if payload is None and not fields:
            raise UsageError("edit() says what: event.edit(ip_ttl=64)")
        data = b"" if payload is None else self._checked(event, payload, payload_offset)
        if fields:
            self._send.edit(self._record_of(event, fields))
        if data:
            self._send.replace(payload_offset, data)

    def push_vlan(self, vlan: int, priority: int, ether_type: int, *, drop_eligible: bool) -> None:
        """See Event.push_vlan."""
        self._check_declared("push_vlan")
        if ether_type not in ETHER_TYPES:
            raise UsageError(
                f"push_vlan: ether_type is 0x8100, 0x88A8 or 0x9100, not {ether_type!r:.60}"
            )
        _check_number("push_vlan: vlan", vlan, VLAN_MAX)
        _check_number("push_vlan: priority", priority, PRIORITY_MAX)
        record = self._empty()
        record.tags_pushed = 1
        record.tags[0].ether_type = ether_type
        record.tags[0].control = priority << 13 | bool(drop_eligible) << 12 | vlan
        self._send.edit(record)

    def pop_vlan(self) -> None:
        """See Event.pop_vlan."""
        self._check_declared("pop_vlan")
        record = self._empty()
        record.tags_popped = 1
        self._send.edit(record)

    def _check_declared(self, call: str) -> None:
        if not self._edits_headers:
            raise UsageError(
                f"{call}: {self._owner.__name__} did not declare that it edits packets: write "
                'edits = "headers" in the class'
            )

    def _empty(self) -> Any:
        self._record[0] = _EMPTY
        return self._record

    def _record_of(self, event: Event, fields: Mapping[str, Any]) -> Any:
        record = self._empty()
        for name, value in fields.items():
            field = _field(name)
            _check_layer(name, field, event)
            if field.read is not None:
                setattr(record, name, field.read(f"edit: {name}", value, event.flow.ip_version))
            else:
                _check_number(f"edit: {name}", value, field.largest)
                setattr(record, name, value)
            record.fields |= field.bit
        return record

    def _checked(self, event: Event, payload: Octets, offset: int) -> bytes:
        if not self._edits_payload:
            raise UsageError(
                f"edit(payload=...): {self._owner.__name__} did not declare that it edits "
                'payloads: write edits = "payload" in the class'
            )
        try:
            data = bytes(memoryview(payload))
        except TypeError:
            raise UsageError(f"edit: payload is bytes, not {type(payload).__name__}") from None
        available = event._data_length
        if type(offset) is not int or offset < 0 or offset + len(data) > available:
            raise UsageError(
                f"edit: payload of {len(data)} bytes at {offset!r:.20} takes the place of as many "
                f"of the event's {available} (event.data): its length stays what it is"
                + (_OF_A_STREAM if event.type.name == "flow.tcp.data" else "")
            )
        return data


_EMPTY = ffi.new("struct mb_edit *")[0]

_OF_A_STREAM = (
    "; a stream that grows or shrinks takes tcp.splice or tcp.proxy, which are not built yet"
)


@functools.cache
def _field(name: str) -> Field:
    field = FIELDS.get(name)
    if field is None:
        near = difflib.get_close_matches(name, FIELDS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"fields are {', '.join(FIELDS)}"
        raise UsageError(f"edit: there is no field '{name}'; {hint}")
    return field


def _check_layer(name: str, field: Field, event: Event) -> None:
    """Where the event says what its packet is; else the worker does, which counts."""
    if not event._has_tuple or field.layer == "eth":
        return
    flow = event.flow
    version, protocol = flow.ip_version, flow.protocol_number
    if version == 0:
        raise UsageError(f"edit: {name} is a field of IP, which this packet is not")
    if name == "ip_identification" and version != IPV4:
        raise UsageError("edit: ip_identification is a field of IPv4; this packet is IPv6")
    if field.layer == "ports" and protocol not in (TCP, UDP):
        raise UsageError(
            f"edit: {name} is a field of TCP and UDP; this packet is of protocol {protocol}"
        )
    if field.layer == "tcp" and protocol != TCP:
        raise UsageError(f"edit: {name} is a field of TCP; this packet is of protocol {protocol}")


def _check_number(name: str, value: Any, largest: int) -> None:
    if type(value) is not int or not 0 <= value <= largest:
        raise UsageError(f"{name} is a number up to {largest}, not {value!r:.60}")
