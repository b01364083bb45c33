"""`Flow`: the flow that an event belongs to, and what an NF may do with it."""

from __future__ import annotations

from typing import Any

from microbox._core import ffi
from microbox._event_view import View
from microbox.nf.deliveries import Deliveries, FlowSwitches
from microbox.nf.errors import UsageError
from microbox.nf.notation import PROTOCOLS, address_text, endpoint_text
from microbox.nf.snapshot import entry_field

FROM_RESPONDER = 1  # enum mb_entry_flag
TUPLE = ("payload", "flow", "tuple")


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

    id: int = entry_field("flow", doc="The number of the flow's first packet; 0: none.")
    _flags = entry_field("flags")
    _source = entry_field(*TUPLE, "source")
    _destination = entry_field(*TUPLE, "destination")
    _source_port = entry_field(*TUPLE, "source_port")
    _destination_port = entry_field(*TUPLE, "destination_port")
    protocol_number: int = entry_field(*TUPLE, "protocol", doc="The protocol's number in IP.")
    ip_version: int = entry_field(*TUPLE, "ip_version", doc="4 or 6; 0: no IP.")

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
