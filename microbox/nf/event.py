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
from collections.abc import Callable
from enum import IntEnum
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from microbox._core import ffi
from microbox.events.catalog import Catalog, EventType, Field, Reason
from microbox.ffi.layout import Place, payload_layout, struct_chain
from microbox.nf.errors import KeptError, UsageError

FROM_RESPONDER = 1  # enum mb_entry_flag
HAS_FLOW = 4

IPV4_MAPPED = bytes(10) + b"\xff\xff"
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


class Deliveries:
    """What the events of one runner have in common: the deliveries of the last poll and which of
    them is being handled, the frame pool, the states of flows, the views that the handler was
    given."""

    __slots__ = (
        "array",
        "catalog",
        "entry",
        "flow_state",
        "index",
        "keeps_states",
        "pool",
        "pool_size",
        "states",
        "switches",
        "views",
    )

    def __init__(self, catalog: Catalog, flow_state: Callable[[], Any] | None, array: Any) -> None:
        """`array`: struct mb_delivery[], filled by each poll."""
        self.catalog = catalog
        self.array = array
        self.entry = ffi.NULL  # struct mb_entry * of the event that is being handled
        self.index = 0  # its place in `array`
        self.pool = ffi.NULL
        self.pool_size = 0
        self.flow_state = flow_state
        self.keeps_states = False
        self.states: dict[int, Any] = {}
        self.switches: FlowSwitches | None = None
        self.views: list[tuple[Any, memoryview]] = []

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

    def take_views_back(self) -> bool:
        """Releases the views handed out; False when one of them, or a slice of one, was kept."""
        all_returned = True
        # What else refers to each: the tuple in the list, the loop's variable, the argument.
        references = 3
        for buffer, view in self.views:
            if sys.getrefcount(view) > references:
                all_returned = False
            try:
                view.release()
            except BufferError:
                all_returned = False
            if sys.getrefcount(buffer) > references:
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


class Side:
    """What one side of a flow has sent so far, as of the event (struct mb_side)."""

    __slots__ = ("_deliveries", "_index")

    def __init__(self, deliveries: Deliveries, index: int) -> None:
        """0: originator, 1: responder."""
        self._deliveries = deliveries
        self._index = index

    @property
    def _side(self) -> Any:
        return self._deliveries.entry.snapshot.side[self._index]

    @property
    def state(self) -> TcpState:
        """The side's TCP state."""
        number = self._side.state
        return TCP_STATES[number] if number < len(TCP_STATES) else TcpState.CLOSED

    @property
    def bytes(self) -> int:
        """Payload bytes received from this side, repeats included."""
        return int(self._side.bytes)

    @property
    def packets(self) -> int:
        """Packets received from this side."""
        return int(self._side.packets)

    @property
    def next(self) -> int:
        """Sequence number that follows the highest one sent."""
        return int(self._side.next)

    @property
    def acknowledged(self) -> int:
        """Highest acknowledgement number sent."""
        return int(self._side.acknowledged)

    @property
    def window(self) -> int:
        """Offered window in bytes, scaled."""
        return int(self._side.window)

    @property
    def round_trip(self) -> int:
        """Microseconds from a segment of this side to its acknowledgement; 0: not measured yet."""
        return int(self._side.round_trip)

    @property
    def retransmissions(self) -> int:
        """Segments sent again; stays at 65535."""
        return int(self._side.retransmissions)

    @property
    def window_scale(self) -> int:
        """Shift count (RFC 7323); 255: not offered."""
        return int(self._side.window_scale)


class Snapshot:
    """Both sides of the flow as of the event. `side[0]` is the originator's."""

    __slots__ = ("side",)

    def __init__(self, deliveries: Deliveries) -> None:
        """Of the event that is being handled."""
        self.side = (Side(deliveries, 0), Side(deliveries, 1))


class Flow:
    """The event's flow: its five-tuple from the originator's point of view, and the NF's own
    state of it. False where the event belongs to no flow; the addresses are then the packet's."""

    __slots__ = ("_deliveries", "_is_as_sent")

    def __init__(self, deliveries: Deliveries, is_as_sent: bool) -> None:
        """Of the event that is being handled. `is_as_sent`: its tuple is a packet's."""
        self._deliveries = deliveries
        self._is_as_sent = is_as_sent

    def __bool__(self) -> bool:
        """True where the event belongs to a flow."""
        return bool(self._deliveries.entry.flow)

    @property
    def id(self) -> int:
        """The number of the flow's first packet; 0: none."""
        return int(self._deliveries.entry.flow)

    @property
    def source(self) -> str:
        """Address of the originator: who sent the flow's first packet."""
        return address_text(ffi.buffer(self._end("source", "destination"))[:])

    @property
    def destination(self) -> str:
        """Address of the responder."""
        return address_text(ffi.buffer(self._end("destination", "source"))[:])

    @property
    def source_port(self) -> int:
        """Port of the originator; 0 where the protocol has none."""
        return int(self._end("source_port", "destination_port"))

    @property
    def destination_port(self) -> int:
        """Port of the responder; 0 where the protocol has none."""
        return int(self._end("destination_port", "source_port"))

    @property
    def protocol(self) -> str:
        """TCP, UDP, ICMP, ICMPv6, ...; the number in digits where it has no name here."""
        number = self._deliveries.entry.payload.flow.tuple.protocol
        return PROTOCOLS.get(number) or str(number)

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
        return self._deliveries.state_of(self._deliveries.entry.flow)

    @state.setter
    def state(self, value: Any) -> None:
        flow = self._deliveries.entry.flow
        self._deliveries.state_of(flow)
        self._deliveries.states[flow] = value

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

    def _end(self, name: str, other: str) -> Any:
        """A packet's tuple is as sent: turned round where it came from the responder."""
        entry = self._deliveries.entry
        turned = self._is_as_sent and entry.flags & FROM_RESPONDER
        return getattr(entry.payload.flow.tuple, other if turned else name)


class Event:
    """An event as handlers see it. Every type's own class adds the payload's fields."""

    __slots__ = ("_deliveries", "_flow", "_snapshot")

    _is_packet = False
    _has_tuple = False

    type: EventType
    name: str
    """The type's full name."""

    def __init__(self, deliveries: Deliveries) -> None:
        """Shows the entry that the deliveries are at."""
        self._deliveries = deliveries
        self._flow = Flow(deliveries, self._is_packet)
        self._snapshot = Snapshot(deliveries)

    time: int = property(  # type: ignore[assignment]
        attrgetter("_deliveries.entry.time"),
        doc="Nanoseconds since the epoch, of the packet that caused it.",
    )
    packet: int = property(  # type: ignore[assignment]
        attrgetter("_deliveries.entry.packet"), doc="Number of the input packet, from 1."
    )
    sequence: int = property(  # type: ignore[assignment]
        attrgetter("_deliveries.entry.sequence"), doc="Number of the entry in its publisher's log."
    )
    flow: Flow = property(  # type: ignore[assignment]
        attrgetter("_flow"), doc="The flow; false where there is none."
    )
    snapshot: Snapshot = property(  # type: ignore[assignment]
        attrgetter("_snapshot"), doc="Both sides of the flow as of this event."
    )

    @property
    def direction(self) -> int:
        """0: from the flow's originator to its responder; 1: back. Without a flow 0."""
        return int(self._deliveries.entry.flags & FROM_RESPONDER)

    @property
    def reason(self) -> Reason:
        """Why: the flow's end, what is malformed or unusual; "none" where all is well."""
        number = self._deliveries.entry.reason
        reasons = self._deliveries.catalog.reasons
        return reasons[number] if number < len(reasons) else reasons[0]

    @property
    def data(self) -> memoryview:
        """The event's bytes in shared memory, read-only, until the handler returns.

        `bytes(event.data)` copies.
        """
        entry = self._deliveries.entry
        return self._deliveries.in_pool(entry.frame + entry.data_offset, entry.data_length)

    @property
    def previous(self) -> memoryview:
        """The earlier copy of `data`, of `tcp.anomaly.overlap.inconsistent`; read-only, until the
        handler returns."""
        return self._deliveries.in_pool(self.previous_position, self._deliveries.entry.data_length)

    @property
    def frame(self) -> memoryview:
        """The whole frame as captured, read-only, until the handler returns."""
        entry = self._deliveries.entry
        return self._deliveries.in_pool(entry.frame, entry.frame_length)

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

    @property
    def _payload(self) -> Any:
        """The whole payload as its C struct, in the entry or in a data ring."""
        delivery = self._deliveries.array[self._deliveries.index]
        if delivery.payload_length < self._struct_size:
            raise UsageError(
                f"{self.name}: a payload of {delivery.payload_length} bytes is too short"
            )
        return ffi.cast(self._struct_pointer, delivery.payload)

    _struct_size = 0
    _struct_pointer: Any = None

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
    if of.struct != "none":
        own["_struct_size"] = layout.size
        own["_struct_pointer"] = ffi.typeof(f"struct mb_{of.struct} *")
    for place in layout.places:
        own[place.field.name] = property(_getter(of, place), doc=place.field.doc)
    return type(f"Event[{of.name}]", (Event,), own)


def _getter(of: EventType, place: Place) -> Callable[[Any], Any]:
    one = place.field
    if place.format == "II":
        return _text_getter(place.offset)
    if one in of.extra_fields:
        return _user_getter(place)
    path = ".".join((_struct_path(of, place), *one.path))
    if place.format == "16s":
        read = attrgetter(path)
        return lambda event: address_text(ffi.buffer(read(event))[:])
    if one.owner == "tcp_state_change":
        number = attrgetter(path)
        return lambda event: TCP_STATES[number(event)]
    return attrgetter(path)


def _struct_path(of: EventType, place: Place) -> str:
    """Through the entry where the field lies there for sure: that costs no check."""
    members = {name for name, _ in ffi.typeof("union mb_payload").fields}
    if of.struct in members and place.offset + place.size <= ffi.sizeof("union mb_payload"):
        return f"_deliveries.entry.payload.{of.struct}"
    return "_payload"


def _text_getter(offset: int) -> Callable[[Any], str]:
    unpack = struct.Struct("=II").unpack

    def text(event: Event) -> str:
        start, length = unpack(event._bytes_at(offset, 8))
        return text_of(event._bytes_at(start, length))

    return text


def _user_getter(place: Place) -> Callable[[Any], Any]:
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
