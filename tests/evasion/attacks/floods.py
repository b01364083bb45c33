"""Many packets, and few that cost much: memory and work stay within their caps."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from stack_driver import ACK, PSH, RST, SECOND, SYN
from stack_driver.packets import TCP, UDP, Ethernet, IPv4, Packet, maximum_segment_size, sack

from attacks.attack import Right, Scene, attack

SOURCES = 1_000_000 if "MICROBOX_NIGHTLY" in os.environ else 20_000
FLOWS = 1000
OTHERS = "not net 11.0.0.0/8"  # the flood itself is only counted


def from_many(packet: Packet, count: int = SOURCES) -> np.ndarray[Any, Any]:
    """The packet, from as many sources: 11.0.0.0 and on."""
    rows = np.tile(np.frombuffer(bytes(packet), "u1"), (count, 1))
    addresses = 0x0B000000 + np.arange(count)
    rows[:, 26:30] = addresses.astype(">u4").view("u1").reshape(-1, 4)
    return rows


CAPPED = "Memory stays under its cap: who nobody answers is evicted first, and counted."


@attack(
    "SYN flood of many sources",
    source="CERT CA-1996-21; RFC 4987",
    answer=CAPPED,
    wants=OTHERS,
    flows_max=FLOWS,
)
def syn_flood(scene: Scene) -> Right:
    scene.flood(from_many(Ethernet() / IPv4() / TCP(flags=SYN)))
    return Right(counted={"limit.flows": None}, at_most={"flows_active": FLOWS})


@attack(
    "SYN/ACK flood of many sources",
    source="RFC 4987; Paxson 2001, reflectors",
    answer=CAPPED,
    wants=OTHERS,
    flows_max=FLOWS,
)
def syn_ack_flood(scene: Scene) -> Right:
    scene.flood(from_many(Ethernet() / IPv4() / TCP(flags=SYN | ACK)))
    return Right(at_most={"flows_active": FLOWS})


@attack(
    "ACK flood of many sources",
    source="Mirkovic and Reiher 2004, taxonomy of DDoS attacks",
    answer=CAPPED,
    wants=OTHERS,
    flows_max=FLOWS,
)
def ack_flood(scene: Scene) -> Right:
    scene.flood(from_many(Ethernet() / IPv4() / TCP(flags=ACK | PSH) / b"junk"))
    return Right(at_most={"flows_active": FLOWS})


@attack(
    "RST flood of many sources",
    source="Mirkovic and Reiher 2004, taxonomy of DDoS attacks",
    answer="A RST of no flow begins none (RFC 9293 section 3.10.7.1).",
    wants=OTHERS,
    flows_max=FLOWS,
)
def rst_flood(scene: Scene) -> Right:
    scene.flood(from_many(Ethernet() / IPv4() / TCP(flags=RST)))
    return Right(at_most={"flows_tcp": 2})


@attack(
    "UDP flood of many sources",
    source="CERT CA-1996-01",
    answer=CAPPED,
    wants=OTHERS,
    flows_max=FLOWS,
)
def udp_flood(scene: Scene) -> Right:
    scene.flood(from_many(Ethernet() / IPv4() / UDP() / b"junk"))
    return Right(counted={"limit.flows": None}, at_most={"flows_active": FLOWS})


@attack(
    "SegmentSmack: bytes one by one with a hole before each",
    source="CVE-2018-5390",
    answer="What is held of a flow is capped; past the cap the holes become gaps.",
    held_segments_per_flow=64,
)
def segment_smack(scene: Scene) -> Right:
    client, _ = scene.open()
    scene.send(*(client.data(b"x", at=2 * n + 1) for n in range(1000)))
    return Right(at_most={"held_segments_peak": 65}, published={"tcp.gap": None})


@attack(
    "Bytes one by one with holes, backwards",
    source="CVE-2018-5390, the costly order for a list",
    answer="The same: held up to the cap, at no more work than in the easy order.",
    held_segments_per_flow=64,
)
def segment_smack_backwards(scene: Scene) -> Right:
    client, _ = scene.open()
    scene.send(*(client.data(b"x", at=2 * n + 1) for n in range(1000, 0, -1)))
    return Right(at_most={"held_segments_peak": 65})


@attack(
    "Many flows that each hold one segment",
    source="CVE-2018-5390, over many connections",
    answer="What is held in all is capped too, and the next flow finds room.",
    held_segments_max=64,
    flows_max=FLOWS,
)
def held_in_all(scene: Scene) -> Right:
    for port in range(3000, 3300):
        client, _ = scene.open(port)
        scene.send(client.data(b"late", at=100))
    return Right(at_most={"held_segments_peak": 64})


@attack(
    "A sender that sends one byte a segment, since the receiver's MSS is tiny",
    source="CVE-2019-11479",
    answer="Segments in order are given out and nothing is kept of them.",
)
def tiny_segments(scene: Scene) -> Right:
    client, server = scene.open(server=maximum_segment_size(8))
    data = bytes(range(256)) * 2
    scene.send(*(client.data(data[at : at + 1]) for at in range(len(data))), server.ack())
    return Right(client=[data], at_most={"held_segments_peak": 0})


@attack(
    "SACK blocks that lie, overlap and run backwards",
    source="CVE-2019-11477, CVE-2019-11478 (SACK panic)",
    answer="RFC 2018 section 8: SACK is advice, so nothing that is kept follows from it.",
)
def sack_panic(scene: Scene) -> Right:
    client, server = scene.open(client=b"\4\2", server=b"\4\2")
    scene.send(client.data(b"GET /"))
    lies = [(101, 90), (2**31, 101), (0, 2**32 - 1), (106, 106), (101, 2**31 + 101)]
    for left, right in lies:
        scene.send(server.segment(ACK, acknowledging=0, options=sack((left, right), (left, right))))
    scene.send(client.data(b"secret"), server.ack())
    return Right(client=[b"GET /secret"])


@attack(
    "A packet whose time goes back a day, then on",
    source="Paxson 1998, calibrating packet timestamps",
    answer="Time does not run backwards for limits; no flow ends.",
)
def back_in_time(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.data(b"GET /"))
    scene.wait(-86400 * SECOND)
    scene.send(client.data(b"secret"))
    scene.wait(86400 * SECOND)
    scene.send(server.ack())
    return Right(client=[b"GET /secret"], ends=["shutdown"])


@attack(
    "A packet of time 0",
    source="Paxson 1998, calibrating packet timestamps",
    answer="As one that goes back: no flow ends, nothing hangs.",
)
def time_zero(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.data(b"GET /"))
    here, scene.time = scene.time, 0
    scene.send(client.data(b"secret"))
    scene.time = here
    scene.send(server.ack())
    return Right(client=[b"GET /secret"], ends=["shutdown"])


@attack(
    "A packet ten years ahead",
    source="Paxson 1998, calibrating packet timestamps",
    answer="One wrong clock does not end all flows.",
)
def ten_years_ahead(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.data(b"GET /"))
    scene.wait(10 * 365 * 86400 * SECOND)
    scene.send(client.data(b"secret"))
    scene.wait(-10 * 365 * 86400 * SECOND)
    scene.send(server.ack())
    return Right(client=[b"GET /secret"], ends=["shutdown"])
