#!/usr/bin/python3
"""A link between two Ethernet interfaces that delays, loses, reorders and tags frames.

It does what `tc netem` and a VLAN switch do, for kernels that have neither. Runs inside a network
namespace whose two interfaces are the ends of the link; which frames are lost or late follows from
the seed. Ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import heapq
import random
import select
import socket
import struct
import time
from dataclasses import dataclass, field

ETH_P_ALL = 3
PACKET_OUTGOING = 4
TPID_VLAN = 0x8100
ADDRESSES = 12  # bytes of the two MAC addresses, which stand before a tag


@dataclass
class Impairment:
    """What happens to a frame on its way. Probabilities from 0 to 1, times in seconds."""

    loss: float
    reorder: float
    delay: float
    late: float  # how much longer a reordered frame takes
    choice: random.Random

    def arrival(self, now: float) -> float | None:
        """When a frame that leaves now arrives; None: never."""
        if self.choice.random() < self.loss:
            return None
        if self.choice.random() < self.reorder:
            return now + self.delay + self.late
        return now + self.delay


@dataclass(order=True)
class Flight:
    """A frame under way."""

    arrival: float
    number: int  # frames that arrive together keep their order
    frame: bytes = field(compare=False)
    to: socket.socket = field(compare=False)


def push_tag(frame: bytes, vlan: int) -> bytes:
    """Put an 802.1Q tag behind the addresses."""
    return frame[:ADDRESSES] + struct.pack("!HH", TPID_VLAN, vlan) + frame[ADDRESSES:]


def pop_tag(frame: bytes) -> bytes:
    """Take the outermost 802.1Q tag off, where the kernel has not done so on reception."""
    if frame[ADDRESSES : ADDRESSES + 2] != TPID_VLAN.to_bytes(2, "big"):
        return frame
    return frame[:ADDRESSES] + frame[ADDRESSES + 4 :]


def open_interface(name: str) -> socket.socket:
    """Open a raw socket that gets all frames of an interface."""
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    end.bind((name, 0))
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    end.setblocking(False)
    return end


def received(end: socket.socket) -> list[bytes]:
    """Return the frames that wait at one end, without those that this link sent itself."""
    frames = []
    while True:
        try:
            frame, address = end.recvfrom(65536)
        except BlockingIOError:
            return frames
        if address[2] != PACKET_OUTGOING:
            frames.append(frame)


def run(near: socket.socket, far: socket.socket, impairment: Impairment, vlan: int) -> None:
    """Carry frames both ways until the process is stopped. A VLAN is tagged towards `far`."""
    flights: list[Flight] = []
    number = 0
    poll = select.poll()
    poll.register(near, select.POLLIN)
    poll.register(far, select.POLLIN)
    while True:
        wait = max(0.0, flights[0].arrival - time.monotonic()) * 1000 if flights else None
        poll.poll(wait)
        now = time.monotonic()
        for origin, to in ((near, far), (far, near)):
            for frame in received(origin):
                arrival = impairment.arrival(now)
                if arrival is None:
                    continue
                changed = frame
                if vlan:
                    changed = push_tag(frame, vlan) if to is far else pop_tag(frame)
                number += 1
                heapq.heappush(flights, Flight(arrival, number, changed, to))
        while flights and flights[0].arrival <= now:
            flight = heapq.heappop(flights)
            flight.to.send(flight.frame)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("near")
    parser.add_argument("far")
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--reorder", type=float, default=0.0)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--late", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vlan", type=int, default=0)
    options = parser.parse_args()
    impairment = Impairment(
        options.loss, options.reorder, options.delay, options.late, random.Random(options.seed)
    )
    run(open_interface(options.near), open_interface(options.far), impairment, options.vlan)


if __name__ == "__main__":
    main()
