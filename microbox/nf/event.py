"""`Event`: what a handler is given.

A view of one entry in shared memory: nothing is copied until it is asked for. There is one object
for each pair of handler and type, used again for every event; so neither it nor what hangs on it
(`flow`, `snapshot`, `data`, `frame`) may be kept past the handler. Who keeps one is told, by name.

The classes are made from the catalog, one a type (`event_class`).
"""

from __future__ import annotations

import difflib
import sys
from operator import attrgetter
from typing import Any, NamedTuple, TypedDict, Unpack

from microbox._core import ffi
from microbox._event_view import View
from microbox.events.catalog import EventType, Reason
from microbox.nf.deliveries import Deliveries, PacketEdits
from microbox.nf.errors import KeptError, UsageError
from microbox.nf.flow import FROM_RESPONDER, Flow
from microbox.nf.snapshot import Snapshot, entry_field


class Cause(NamedTuple):
    """What an NF's event was caused by: an entry of the worker's log (0) or of NF i's (1 + i)."""

    log: int
    sequence: int


class HeaderFields(TypedDict, total=False):
    """What Event.edit writes of a packet's headers."""

    eth_source: str
    eth_destination: str
    ip_ttl: int
    ip_dscp: int
    ip_ecn: int
    ip_identification: int
    ip_source: str
    ip_destination: str
    source_port: int
    destination_port: int
    tcp_flags: int
    tcp_window: int
    tcp_urgent_pointer: int


class Event(View):
    """An event as handlers see it. Every type's own class adds the payload's fields."""

    __slots__ = ("_flow", "_snapshot")

    _deliveries: Deliveries

    _is_packet = False
    _has_tuple = False

    type: EventType
    name: str
    """The type's full name."""

    def __init__(self, deliveries: Deliveries) -> None:
        """Shows the entry that the deliveries are at."""
        self._flow = Flow(deliveries, self._is_packet)
        self._snapshot = Snapshot(deliveries)

    time: int = entry_field(
        "time", doc="Nanoseconds since the epoch, of the packet that caused it."
    )
    packet: int = entry_field("packet", doc="Number of the input packet, from 1.")
    sequence: int = entry_field("sequence", doc="Number of the entry in its publisher's log.")
    _flags = entry_field("flags")
    _reason = entry_field("reason")
    _frame = entry_field("frame")
    _frame_length = entry_field("frame_length")
    _data_offset = entry_field("data_offset")
    _data_length = entry_field("data_length")

    flow: Flow = property(  # type: ignore[assignment]
        attrgetter("_flow"), doc="The flow; false where there is none."
    )
    snapshot: Snapshot = property(  # type: ignore[assignment]
        attrgetter("_snapshot"), doc="Both sides of the flow as of this event."
    )

    @property
    def direction(self) -> int:
        """0: from the flow's originator to its responder; 1: back. Without a flow 0."""
        return int(self._flags & FROM_RESPONDER)

    @property
    def in_shadow(self) -> bool:
        """True for what an NF publishes while it is in shadow (`shadow: true` in the chain)."""
        nf_entry = self._deliveries.array[self._deliveries.index].nf_entry
        return bool(nf_entry and nf_entry.provenance.is_shadow)

    @property
    def reason(self) -> Reason:
        """Why: the flow's end, what is malformed or unusual; "none" where all is well."""
        number = self._reason
        reasons = self._deliveries.catalog.reasons
        return reasons[number] if number < len(reasons) else reasons[0]

    @property
    def data(self) -> memoryview:
        """The event's bytes in shared memory, read-only, until the handler returns.

        Edits of earlier NFs are in it; the event's own fields are as received.
        `bytes(event.data)` copies.
        """
        deliveries = self._deliveries
        if deliveries.sees_edits:
            return deliveries.data_as_edited(self._data_length)
        return deliveries.in_pool(self._frame + self._data_offset, self._data_length)

    @property
    def previous(self) -> memoryview:
        """The earlier copy of `data`, of `tcp.anomaly.overlap.inconsistent`; read-only, until the
        handler returns."""
        return self._deliveries.in_pool(self.previous_position, self._data_length)

    @property
    def frame(self) -> memoryview:
        """The whole frame as captured, or as earlier NFs left it, read-only, until the handler
        returns."""
        deliveries = self._deliveries
        if deliveries.sees_edits:
            return deliveries.frame_as_edited()
        return deliveries.in_pool(self._frame, self._frame_length)

    def edit(
        self,
        payload: bytes | bytearray | memoryview | None = None,
        payload_offset: int = 0,
        **fields: Unpack[HeaderFields],
    ) -> None:
        """The event's packet goes on with these fields, and its checksums repaired: to later NFs,
        whose `data` and `frame` show it, and to the output. This NF and earlier ones go on seeing
        it as it was.

        Fields: `eth_source`, `eth_destination`; `ip_ttl` (or hop limit), `ip_dscp`, `ip_ecn`,
        `ip_identification`, `ip_source`, `ip_destination`; `source_port` and `destination_port` of
        TCP and UDP; `tcp_flags`, `tcp_window`, `tcp_urgent_pointer`. Inside of tunnels those of IP
        and above are the innermost packet's, those of Ethernet the frame's own.

        `payload` takes the place of as many of the event's bytes (`data`), from `payload_offset`
        on. The class says `edits = "payload"`, or "headers" where it edits no payload. Said twice
        of one packet, the later one holds.
        """
        self._packet_edits.edit(self, payload, payload_offset, fields)

    def push_vlan(
        self,
        vlan: int,
        *,
        priority: int = 0,
        drop_eligible: bool = False,
        ether_type: int = 0x8100,
    ) -> None:
        """The event's packet goes on with one more VLAN tag, outside of those that it has: 802.1Q,
        or with ether_type=0x88A8 a service tag (802.1ad)."""
        self._packet_edits.push_vlan(vlan, priority, ether_type, drop_eligible=drop_eligible)

    def pop_vlan(self) -> None:
        """The event's packet goes on without its outermost VLAN tag; where it has none, that is
        refused and counted (edit.field_absent)."""
        self._packet_edits.pop_vlan()

    @property
    def _packet_edits(self) -> PacketEdits:
        edits = self._deliveries.edits
        if edits is None:
            raise UsageError("packets are edited by an NF that runs in a chain")
        return edits

    @property
    def cause(self) -> Cause | None:
        """What caused an NF's event; None for the stack's own."""
        nf_entry = self._deliveries.array[self._deliveries.index].nf_entry
        if not nf_entry:
            return None
        return Cause(nf_entry.provenance.cause_log, nf_entry.provenance.cause)

    def parts_were_kept(self) -> bool:
        """True when somebody else holds `flow` or `snapshot`."""
        # What else refers to each: the slot and the argument.
        own = 2
        return sys.getrefcount(self._flow) > own or sys.getrefcount(self._snapshot) > own

    def fields(self) -> dict[str, Any]:
        """The payload's fields by name."""
        return {one.name: getattr(self, one.name) for one in self.type.fields}

    def __repr__(self) -> str:
        """As people want to read it: type, flow, packet, time."""
        seconds, nanoseconds = divmod(self.time, 1_000_000_000)
        flow = f", flow {self.flow.id} {self.flow}" if self.flow else ""
        return f"{self.name}{flow}, packet {self.packet}, time {seconds}.{nanoseconds:09d}"

    def __getattr__(self, name: str) -> Any:
        near = difflib.get_close_matches(
            name, [one for one in dir(type(self)) if one[0] != "_"], n=1
        )
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise AttributeError(f"{self.name} has no field '{name}'{hint}")

    # --- for the generated classes ---

    def _bytes_at(self, offset: int, length: int) -> bytes:
        """A piece of the payload, copied. Checked: its offsets come from another process."""
        delivery = self._deliveries.array[self._deliveries.index]
        if offset + length > delivery.payload_length:
            raise UsageError(
                f"{self.name}: a field lies outside its payload: [{offset}, {offset + length}) of "
                f"{delivery.payload_length}"
            )
        return bytes(ffi.buffer(delivery.payload + offset, length)) if length else b""


def expire(event: Event, handler: str) -> None:
    """`event` was kept: from now on each use of it says by whom."""

    def refuse(_event: Event, _name: str) -> Any:
        raise KeptError(
            f"{handler} kept an event past its return: it is a view of shared memory. "
            "Keep the values that you need (event.time, bytes(event.data))"
        )

    event.__class__ = type("ExpiredEvent", (Event,), {"__slots__": (), "__getattribute__": refuse})
