"""`Snapshot`: the state of both sides of a TCP connection as of an event."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from microbox._core import ffi
from microbox._event_view import Field as EntryField
from microbox._event_view import View
from microbox.ffi.layout import entry_place
from microbox.nf.deliveries import Deliveries


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


def tcp_state(number: int) -> TcpState:
    """By number, which may come from another process."""
    return TCP_STATES[number] if number < len(TCP_STATES) else TcpState.CLOSED


def entry_field(*path: str | int, doc: str | None = None) -> Any:
    """A property of a view: a field of the entry that it shows."""
    return EntryField(*entry_place(*path), doc)


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
        own[field] = entry_field("snapshot", "side", index, field)
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
