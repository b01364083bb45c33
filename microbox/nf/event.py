"""`Event`: what a handler is given.

A view of one entry in shared memory: nothing is copied until it is asked for. There is one object
for each pair of handler and type, used again for every event; so neither it nor what hangs on it
(`flow`, `snapshot`, `data`, `frame`) may be kept past the handler. Who keeps one is told, by name.

The classes are made from the catalog, one a type, with the payload's fields as properties.
"""

from __future__ import annotations

import difflib
import functools
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from enum import IntEnum
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, TypedDict, Unpack

from microbox import _event_view
from microbox._core import ffi
from microbox._event_view import Field as EntryField
from microbox._event_view import View
from microbox.events.catalog import Catalog, EventType, Field, Reason
from microbox.ffi.layout import PAYLOAD_SIZE, Place, entry_place, payload_layout, struct_chain
from microbox.nf.errors import KeptError, UsageError

FROM_RESPONDER = 1  # enum mb_entry_flag
HAS_FLOW = 4

IPV4_MAPPED = bytes(10) + b"\xff\xff"
PAYLOAD: int = ffi.offsetof("struct mb_entry", "payload")
TUPLE = ("payload", "flow", "tuple")
VIEW_REFERENCES = 3  # the tuple in the list of views, the loop's variable, getrefcount's argument
PROTOCOLS = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 47: "GRE", 50: "ESP", 58: "ICMPv6"}
PROTOCOLS |= {4: "IPv4", 41: "IPv6", 89: "OSPF", 132: "SCTP"}


class TcpState(IntEnum):
    """States of one side (RFC 9293 section 3.3.2); numbers as in enum mb_tcp_state."""

    CLOSED = 0
    LISTEN = 1
    SYN_SENT = 2
    SYN_RECEIVED = 3
    ESTABLISHED = 4
    FIN_WAIT_1 = 5
    FIN_WAIT_2 = 6
    CLOSE_WAIT = 7
    CLOSING = 8
    LAST_ACK = 9
    TIME_WAIT = 10


TCP_STATES = tuple(TcpState)


class Cause(NamedTuple):
    """What an NF's event was caused by: an entry of the worker's log (0) or of NF i's (1 + i)."""

    log: int
    sequence: int


class FlowSwitches(Protocol):
    """Switches an NF's subscriptions for the flow of the event that is being handled."""

    def unsubscribe(self, types: tuple[str, ...], side: str | None) -> None:
        """As Flow.unsubscribe."""

    def subscribe(self, types: tuple[str, ...], side: str | None) -> None:
        """As Flow.subscribe."""


class FlowRewrites(Protocol):
    """Translates the flow of the event that is being handled."""

    def rewrite(
        self,
        flow: Flow,
        source: str | None,
        source_port: int | None,
        destination: str | None,
        destination_port: int | None,
    ) -> None:
        """As Flow.rewrite."""


class PacketEdits(Protocol):
    """Edits the packet of the event that is being handled."""

    def edit(
        self,
        event: Event,
        payload: bytes | bytearray | memoryview | None,
        payload_offset: int,
        fields: Mapping[str, Any],
    ) -> None:
        """As Event.edit."""

    def push_vlan(self, vlan: int, priority: int, ether_type: int, *, drop_eligible: bool) -> None:
        """As Event.push_vlan."""

    def pop_vlan(self) -> None:
        """As Event.pop_vlan."""


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


class Deliveries(_event_view.Deliveries):
    """What the events of one runner have in common: the deliveries of the last poll and which of
    them is being handled, the frame pool, the states of flows, the views that the handler was
    given."""

    __slots__ = (
        "array",
        "catalog",
        "edits",
        "flow_state",
        "frame_of",
        "is_at_rest",
        "keeps_states",
        "last_time",
        "pool",
        "pool_size",
        "rewrites",
        "sees_edits",
        "states",
        "switches",
    )

    def __init__(self, catalog: Catalog, flow_state: Callable[[], Any] | None, array: Any) -> None:
        """`array`: struct mb_delivery[], filled by each poll."""
        self.catalog = catalog
        self.array = array
        self.pool = ffi.NULL
        self.pool_size = 0
        self.flow_state = flow_state
        self.keeps_states = False
        self.states: dict[int, Any] = {}
        self.rewrites: FlowRewrites | None = None
        self.edits: PacketEdits | None = None
        self.sees_edits = False  # NFs that edit packets stand before this one
        self.frame_of: Callable[[Any], Any] | None = None  # where they left it
        self.switches: FlowSwitches | None = None
        self.is_at_rest = False  # no event is being handled, and none may be looked at
        self.last_time = 0  # of the last event, for when it is at rest

    @property
    def entry(self) -> Any:
        """The entry of the event that is being handled, struct mb_entry *; NULL before the first
        one."""
        return self.array[self.index].entry if self.index >= 0 else ffi.NULL

    def note_time(self) -> None:
        """Before the entry goes back to its writer."""
        self.last_time = int(self.entry.time)

    def view(self, pointer: Any, length: int) -> memoryview:
        """Read-only bytes that are taken back when the handler returns."""
        if not length:
            return memoryview(b"")
        buffer = ffi.buffer(pointer, length)
        view = memoryview(buffer).toreadonly()
        self.views.append((buffer, view))
        return view

    def in_pool(self, offset: int, length: int) -> memoryview:
        """A view of the frame pool. Raises UsageError where the range is not in it."""
        if offset + length > self.pool_size:
            raise UsageError(
                f"the event's bytes lie outside the frame pool: [{offset}, {offset + length}) of "
                f"{self.pool_size}"
            )
        return self.view(self.pool + offset, length)

    def data_as_edited(self, length: int) -> memoryview:
        """The bytes of the event that is being handled, where earlier NFs edit packets."""
        seen = self._seen()
        return self.in_pool(seen.frame + seen.data_offset, length)

    def frame_as_edited(self) -> memoryview:
        """Its frame, likewise."""
        seen = self._seen()
        return self.in_pool(seen.frame, seen.frame_length)

    def _seen(self) -> Any:
        assert self.frame_of is not None
        return self.frame_of(self.array + self.index)

    def views_are_held(self) -> bool:
        """True while somebody else holds a view that was handed out, or a slice of one."""
        # A buffer is held by its view as well.
        return any(
            sys.getrefcount(view) > VIEW_REFERENCES or sys.getrefcount(buffer) > VIEW_REFERENCES + 1
            for buffer, view in self.views
        )

    def take_views_back(self) -> bool:
        """Releases the views handed out; False when one of them, or a slice of one, was kept."""
        all_returned = True
        for buffer, view in self.views:
            if sys.getrefcount(view) > VIEW_REFERENCES:
                all_returned = False
            try:
                view.release()
            except BufferError:
                all_returned = False
            if sys.getrefcount(buffer) > VIEW_REFERENCES:
                all_returned = False
        self.views.clear()
        return all_returned

    def state_of(self, flow: int) -> Any:
        """The NF's own object of a flow; None until it sets one, where it has no factory."""
        if not self.keeps_states:
            raise UsageError(
                "flow.state is not kept for this NF: its module never says `flow.state`, so "
                "nothing would tell when it may go. Write event.flow.state in the NF's own file"
            )
        if not flow:
            raise UsageError("flow.state: this event has no flow; ask `if event.flow:` first")
        state = self.states.get(flow)
        if state is None and self.flow_state is not None:
            state = self.states[flow] = self.flow_state()
        return state


def _entry_field(*path: str | int, doc: str | None = None) -> Any:
    """A property of a view: a field of the entry that it shows."""
    return EntryField(*entry_place(*path), doc)


def tcp_state(number: int) -> TcpState:
    """By number, which may come from another process."""
    return TCP_STATES[number] if number < len(TCP_STATES) else TcpState.CLOSED


class Side(View):
    """What one side of a flow has sent so far, as of the event (struct mb_side)."""

    __slots__ = ()

    state: TcpState
    """The side's TCP state."""
    bytes: int
    """Payload bytes received from this side, repeats included."""
    packets: int
    """Packets received from this side."""
    next: int
    """Sequence number that follows the highest one sent."""
    acknowledged: int
    """Highest acknowledgement number sent."""
    window: int
    """Offered window in bytes, scaled."""
    round_trip: int
    """Microseconds from a segment of this side to its acknowledgement; 0: not measured yet."""
    retransmissions: int
    """Segments sent again; stays at 65535."""
    window_scale: int
    """Shift count (RFC 7323); 255: not offered."""


def _side_class(name: str, index: int) -> type[Side]:
    """The class of a side, its fields as properties."""
    own: dict[str, Any] = {"__slots__": (), "__doc__": Side.__doc__}
    for field, _ in ffi.typeof("struct mb_side").fields:
        own[field] = _entry_field("snapshot", "side", index, field)
    number = own["state"].__get__
    own["state"] = property(lambda side: tcp_state(number(side)))
    return type(name, (Side,), own)


Originator, Responder = _side_class("Originator", 0), _side_class("Responder", 1)


class Snapshot:
    """Both sides of the flow as of the event. `side[0]` is the originator's."""

    __slots__ = ("side",)

    def __init__(self, deliveries: Deliveries) -> None:
        """Of the event that is being handled."""
        self.side = (Originator(deliveries), Responder(deliveries))


class Flow(View):
    """The event's flow: its five-tuple from the originator's point of view, and the NF's own
    state of it. False where the event belongs to no flow; the addresses are then the packet's."""

    __slots__ = ("_is_as_sent",)

    _deliveries: Deliveries

    def __init__(self, _: Deliveries, is_as_sent: bool) -> None:
        """Of the event that is being handled. `is_as_sent`: its tuple is a packet's."""
        self._is_as_sent = is_as_sent

    def __bool__(self) -> bool:
        """True where the event belongs to a flow."""
        return self.id != 0

    id: int = _entry_field("flow", doc="The number of the flow's first packet; 0: none.")
    _flags = _entry_field("flags")
    _source = _entry_field(*TUPLE, "source")
    _destination = _entry_field(*TUPLE, "destination")
    _source_port = _entry_field(*TUPLE, "source_port")
    _destination_port = _entry_field(*TUPLE, "destination_port")
    protocol_number: int = _entry_field(*TUPLE, "protocol", doc="The protocol's number in IP.")
    ip_version: int = _entry_field(*TUPLE, "ip_version", doc="4 or 6; 0: no IP.")

    @property
    def source(self) -> str:
        """Address of the originator: who sent the flow's first packet."""
        return address_text(self._destination if self._is_turned() else self._source)

    @property
    def destination(self) -> str:
        """Address of the responder."""
        return address_text(self._source if self._is_turned() else self._destination)

    @property
    def source_port(self) -> int:
        """Port of the originator; 0 where the protocol has none."""
        return int(self._destination_port if self._is_turned() else self._source_port)

    @property
    def destination_port(self) -> int:
        """Port of the responder; 0 where the protocol has none."""
        return int(self._source_port if self._is_turned() else self._destination_port)

    @property
    def protocol(self) -> str:
        """TCP, UDP, ICMP, ICMPv6, ...; the number in digits where it has no name here."""
        return PROTOCOLS.get(self.protocol_number) or str(self.protocol_number)

    @property
    def raw_tuple(self) -> bytes:
        """The payload's struct mb_five_tuple as it is: a packet's is as sent."""
        tuple_ = self._deliveries.entry.payload.flow.tuple
        return bytes(ffi.buffer(ffi.addressof(tuple_)))

    @property
    def state(self) -> Any:
        """The NF's own object for this flow, dropped when the flow ends.

        None until the NF sets it, or what the class's `flow_state()` makes.
        """
        return self._deliveries.state_of(self.id)

    @state.setter
    def state(self, value: Any) -> None:
        self._deliveries.state_of(self.id)
        self._deliveries.states[self.id] = value

    def unsubscribe(self, *types: str, side: str | None = None) -> None:
        """This NF wants no more events of the flow: none at all, or none of these types.

        None comes from the next event on. Types are those of handlers with `switch=True`; `side`,
        "originator" or "responder", means what that side sends. The stack does no more than others
        need, some packets later (`stack.command_delay`).
        """
        self._switches.unsubscribe(types, side)

    def subscribe(self, *types: str, side: str | None = None) -> None:
        """This NF wants events of these types (again), of handlers with `switch=True` or
        `initially=False`.

        They come from the packet on that is `stack.command_delay` packets after this one. A byte
        stream is picked up where it is then; `offset` counts what was left out.
        """
        self._switches.subscribe(types, side)

    def rewrite(
        self,
        *,
        source: str | None = None,
        source_port: int | None = None,
        destination: str | None = None,
        destination_port: int | None = None,
    ) -> None:
        """Packets of the flow leave with these addresses and ports, in both directions, from this
        event's packet on.

        `source` is what the originator is called, also as the destination of what it gets;
        `source_port` of an ICMP echo is its identifier. What is left out stays as it is. Events go
        on saying what was received. The class says `edits = "headers"`.
        """
        rewrites = self._deliveries.rewrites
        if rewrites is None:
            raise UsageError("flows are rewritten by an NF that runs in a chain")
        rewrites.rewrite(self, source, source_port, destination, destination_port)

    @property
    def _switches(self) -> FlowSwitches:
        switches = self._deliveries.switches
        if switches is None:
            raise UsageError("events are subscribed to by an NF that runs in a chain")
        return switches

    def __str__(self) -> str:
        """As 10.0.0.1:1234 → 10.0.0.2:80 TCP."""
        source = endpoint_text(self.source, self.source_port)
        destination = endpoint_text(self.destination, self.destination_port)
        return f"{source} → {destination} {self.protocol}"

    def _is_turned(self) -> bool:
        """A packet's tuple is as sent: turned round where it came from the responder."""
        return self._is_as_sent and bool(self._flags & FROM_RESPONDER)


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

    time: int = _entry_field(
        "time", doc="Nanoseconds since the epoch, of the packet that caused it."
    )
    packet: int = _entry_field("packet", doc="Number of the input packet, from 1.")
    sequence: int = _entry_field("sequence", doc="Number of the entry in its publisher's log.")
    _flags = _entry_field("flags")
    _reason = _entry_field("reason")
    _frame = _entry_field("frame")
    _frame_length = _entry_field("frame_length")
    _data_offset = _entry_field("data_offset")
    _data_length = _entry_field("data_length")

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


@functools.lru_cache(maxsize=65536)
def address_text(octets: bytes) -> str:
    """An address as text: dotted for IPv4, RFC 5952 for IPv6."""
    if octets.startswith(IPV4_MAPPED):
        return socket.inet_ntoa(octets[12:])
    return socket.inet_ntop(socket.AF_INET6, octets)


def endpoint_text(address: str, port: int) -> str:
    """As 10.0.0.1:80 or [::1]:80; the address alone where there is no port."""
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def text_of(octets: bytes) -> str:
    """Bytes of a text field as str: UTF-8, what is not so as \\xNN."""
    return octets.decode("utf-8", "backslashreplace")


@functools.cache
def event_class(of: EventType) -> type[Event]:
    """The class of a type's events: `Event` with the payload's fields as properties."""
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


def expire(event: Event, handler: str) -> None:
    """`event` was kept: from now on each use of it says by whom."""

    def refuse(_event: Event, _name: str) -> Any:
        raise KeptError(
            f"{handler} kept an event past its return: it is a view of shared memory. "
            "Keep the values that you need (event.time, bytes(event.data))"
        )

    event.__class__ = type("ExpiredEvent", (Event,), {"__slots__": (), "__getattribute__": refuse})


__all__ = ["Cause", "Deliveries", "Event", "Field", "Flow", "Side", "Snapshot", "TcpState"]
