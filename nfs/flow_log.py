"""Every flow, when it ends."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import Any, ClassVar

from microbox import Event, NetworkFunction, on, parameter

NANOSECONDS = 1_000_000_000


def endpoint(address: str, port: int) -> str:
    """Write an address and a port as people do."""
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class FlowLog(NetworkFunction):
    """Write one line for each flow that ends: how much went each way, how long, why it ended.

    Counts are of payload bytes, repeats included. For TCP the line has both sides' last state,
    retransmissions and round-trip times in microseconds (0: not measured).
    """

    records: ClassVar = {
        "flow": {
            "reason": "text: why it ended",
            "age": "f64: seconds from its first packet to its end",
            "pkts_toserver": "u32: packets of the originator",
            "pkts_toclient": "u32: packets of the responder",
            "bytes_toserver": "u64: payload of the originator, repeats included",
            "bytes_toclient": "u64: payload of the responder",
            "state_originator": "text?: TCP's last state, as of all below",
            "state_responder": "text?: TCP's last state",
            "retransmissions_toserver": "u16?: segments that the originator sent again",
            "retransmissions_toclient": "u16?: segments that the responder sent again",
            "round_trip_toserver": "u32?: microseconds; 0: not measured",
            "round_trip_toclient": "u32?: microseconds; 0: not measured",
        }
    }

    top: int = parameter(10, "flows that the summary names, the largest first")

    def start(self) -> None:
        """Begin to count."""
        self.protocols: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.largest: list[tuple[int, int, dict[str, Any]]] = []

    @on("tcp.end")
    def tcp(self, event: Event) -> None:
        """Write a TCP connection."""
        originator, responder = event.snapshot.side
        self.write(
            event,
            state_originator=originator.state.name.lower(),
            state_responder=responder.state.name.lower(),
            retransmissions_toserver=originator.retransmissions,
            retransmissions_toclient=responder.retransmissions,
            round_trip_toserver=originator.round_trip,
            round_trip_toclient=responder.round_trip,
        )

    @on("udp.end", "icmp.end", "flow.end")
    def other(self, event: Event) -> None:
        """Write a flow of another protocol."""
        self.write(event)

    def write(self, event: Event, **more: Any) -> None:
        """Write one flow and remember it if it is large."""
        originator, responder = event.snapshot.side
        seconds = (event.time - event.started) / NANOSECONDS
        self.record(
            event,
            event_type="flow",
            reason=event.reason.name,
            age=seconds,
            pkts_toserver=originator.packets,
            pkts_toclient=responder.packets,
            bytes_toserver=originator.bytes,
            bytes_toclient=responder.bytes,
            **more,
        )
        self.protocols[event.flow.protocol] += 1
        self.reasons[event.reason.name] += 1
        total = originator.bytes + responder.bytes
        # Of flows of the same size, the earlier one.
        key = (total, -event.flow.id)
        if len(self.largest) == self.top and (not self.top or key < self.largest[0][:2]):
            return
        flow = {
            "flow_id": event.flow.id,
            "protocol": event.flow.protocol,
            "source": endpoint(event.flow.source, event.flow.source_port),
            "destination": endpoint(event.flow.destination, event.flow.destination_port),
            "packets": originator.packets + responder.packets,
            "bytes": total,
            "duration": seconds,
            "reason": event.reason.name,
        }
        heapq.heappush(self.largest, (*key, flow))
        if len(self.largest) > self.top:
            heapq.heappop(self.largest)

    def finish(self) -> dict[str, Any]:
        """Say how many there were, why they ended, and which were the largest."""
        return {
            "flows": self.protocols.total(),
            "protocols": dict(sorted(self.protocols.items())),
            "reasons": dict(sorted(self.reasons.items())),
            "top_flows": [flow for _, _, flow in sorted(self.largest, reverse=True)],
        }
