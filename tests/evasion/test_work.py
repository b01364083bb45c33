"""What hostile packets cost: no more than a few times what ordinary ones of the same size do.

Time is of this thread alone and the least of several runs, and what is allowed leaves much room: a
cost that grows with what is held is found all the same, since it is hundreds of times larger.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
from stack_driver import START, SYN, Frame, Packed, Stack, Subscription, client_and_server
from stack_driver.packets import TCP, UDP, Ethernet, IPv4, datagram

PACKETS = 5000
RUNS = 5
TIMES = 8  # an ordinary packet's cost
READS = [Subscription(("tcp.data", "tcp.gap", "udp.datagram"))]
Bytes = list[bytes]


def segments(positions: list[int], length: int = 1) -> Bytes:
    """A connection whose client sends bytes at these positions."""
    client, server = client_and_server()
    opening = [client.syn(), server.syn(), client.ack()]
    return opening + [client.data(b"x" * length, at=position) for position in positions]


def in_order() -> Bytes:
    return segments(list(range(PACKETS)))


def with_holes() -> Bytes:
    return segments([2 * n + 1 for n in range(PACKETS)])


def with_holes_backwards() -> Bytes:
    return segments([2 * n + 1 for n in range(PACKETS, 0, -1)])


def with_holes_in_any_order() -> Bytes:
    positions = [2 * n + 1 for n in range(PACKETS)]
    random.Random(1).shuffle(positions)
    return segments(positions)


def overlapping_anywhere() -> Bytes:
    chance = random.Random(1)
    return segments([chance.randrange(1, 60000) for _ in range(PACKETS)], length=50)


def last_fragments_of_many() -> Bytes:
    frames = []
    for number in range(PACKETS):
        whole = datagram(Ethernet() / IPv4() / UDP() / bytes(24), number)
        frames.append(whole.fragment(8))
    return frames


def fragments_of_one_backwards() -> Bytes:
    whole = datagram(Ethernet() / IPv4() / UDP() / bytes(8 * PACKETS))
    return whole.cut(8)[:0:-1]


def first_segments_of_many() -> Bytes:
    return [
        bytes(Ethernet() / IPv4(f"11.{n >> 16}.{n >> 8 & 255}.{n & 255}") / TCP(flags=SYN))
        for n in range(PACKETS)
    ]


def cost(frames: Bytes) -> float:
    """Seconds a packet."""
    packed = Packed.of_frames(Frame(one, START) for one in frames)
    least = float("inf")
    for _ in range(RUNS):
        with Stack(READS, flows_max=1000) as stack:
            began = time.thread_time()
            stack.send_packed(packed)
            least = min(least, time.thread_time() - began)
    return least / len(frames)


@pytest.mark.parametrize(
    "hostile",
    [
        with_holes,
        with_holes_backwards,
        with_holes_in_any_order,
        overlapping_anywhere,
        last_fragments_of_many,
        fragments_of_one_backwards,
        first_segments_of_many,
    ],
    ids=lambda make: make.__name__,
)
def test_hostile_packets_cost_little_more_than_ordinary_ones(hostile: Callable[[], Bytes]) -> None:
    assert cost(hostile()) < TIMES * cost(in_order())
