"""Headers, options and lengths that are wrong: what a receiver drops belongs to no stream."""

from __future__ import annotations

from typing import Any

from stack_driver import ACK, PSH, SYN, WRONG
from stack_driver.packets import (
    TCP,
    UDP,
    Ethernet,
    IPv4,
    IPv6,
    Layer,
    Packet,
    maximum_segment_size,
    timestamps,
    window_scale,
)

from attacks.attack import Right, Scene, attack

PTACEK = "Ptacek and Newsham 1998, section 5.1"
REQUEST = b"GET /secret HTTP/1.0"
JUNK = b"GET /public HTTP/1.0"


def insert(scene: Scene, ip: Layer, tcp: Layer | None = None, **more: Any) -> Right:
    """A packet that no receiver takes, then the true bytes in its place."""
    client, server = scene.open()
    false: Packet = Ethernet() / ip / (tcp or TCP(1000, 80, ACK | PSH, 101, 301)) / JUNK
    scene.send(false, client.data(REQUEST), server.ack())
    return Right(client=[REQUEST], **more)


@attack(
    "A wrong IP header checksum",
    source=PTACEK,
    answer="RFC 1122 section 3.2.1.2: the receiver drops it.",
    checksums="drop",
)
def ip_checksum(scene: Scene) -> Right:
    return insert(scene, IPv4(checksum=WRONG), counted={"ipv4.checksum": 1})


@attack(
    "An IP version that is none",
    source=PTACEK,
    answer="RFC 1122 section 3.2.1.1: the receiver drops it.",
)
def ip_version(scene: Scene) -> Right:
    return insert(scene, IPv4(version=5), counted={"ipv4.version": 1})


@attack(
    "An IP header length of less than 20 bytes",
    source=PTACEK,
    answer="RFC 791 section 3.1: the least is 5 words; malformed.",
)
def ip_header_length(scene: Scene) -> Right:
    return insert(scene, IPv4(header_length=16), counted={"ipv4.header_length": 1})


@attack(
    "An IP header length past the packet's end",
    source=PTACEK,
    answer="RFC 791 section 3.1: there is no such header; malformed.",
)
def ip_header_past_the_end(scene: Scene) -> Right:
    ip = IPv4(header_length=60, length=59)
    return insert(scene, ip)


@attack(
    "A total length below the header's",
    source=PTACEK,
    answer="RFC 791 section 3.1: malformed.",
)
def ip_total_length(scene: Scene) -> Right:
    return insert(scene, IPv4(length=19), counted={"ipv4.total_length": 1})


@attack(
    "A total length past the frame's end",
    source=PTACEK,
    answer="Linux, ip_rcv_core: the receiver drops it. It is no packet that a snap length cut.",
)
def ip_total_length_past_the_frame(scene: Scene) -> Right:
    return insert(scene, IPv4(length=1000), counted={"ipv4.total_length": 1})


@attack(
    "Bytes behind the end that the IP header gives",
    source="Handley, Paxson and Kreibich 2001, normalization; Ethernet padding",
    answer="RFC 894: what follows the total length is padding and none of the stream.",
)
def padding(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.data(REQUEST) + JUNK, server.ack())
    return Right(client=[REQUEST])


@attack(
    "Source routing and other IP options before the segment",
    source=f"{PTACEK}; RFC 7126",
    answer="RFC 791: options are skipped by the header length.",
)
def ip_options(scene: Scene) -> Right:
    client, server = scene.open()
    options = b"\x83\x07\x04\x0a\0\0\x63\0"
    segment = TCP(1000, 80, ACK | PSH, 101, 301)
    scene.send(Ethernet() / IPv4(options=options) / segment / REQUEST)
    client.sent = len(REQUEST)
    scene.send(server.ack())
    return Right(client=[REQUEST])


@attack(
    "A TCP data offset below 20 bytes",
    source=f"{PTACEK}; Geneva, corrupt data offset",
    answer="RFC 9293 section 3.1: the receiver drops it; malformed.",
)
def data_offset_too_small(scene: Scene) -> Right:
    tcp = TCP(1000, 80, ACK | PSH, 101, 301, header_length=16)
    return insert(scene, IPv4(), tcp, counted={"tcp.data_offset": 1})


@attack(
    "A TCP data offset past the segment's end",
    source=f"{PTACEK}; Geneva, corrupt data offset",
    answer="RFC 9293 section 3.1: the receiver drops it; malformed.",
)
def data_offset_too_large(scene: Scene) -> Right:
    tcp = TCP(1000, 80, ACK | PSH, 101, 301, header_length=60)
    return insert(scene, IPv4(), tcp, counted={"tcp.data_offset": 1})


@attack(
    "A TCP option of length 0",
    source="Handley, Paxson and Kreibich 2001, normalization",
    answer="The options end there; the segment is taken, as receivers do, and told of.",
)
def option_of_length_0(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.segment(ACK | PSH, REQUEST, at=0, options=b"\x08\0\0\0"))
    client.sent = len(REQUEST)
    scene.send(server.ack())
    return Right(client=[REQUEST], counted={"tcp.option_length": 1})


@attack(
    "A window scale above 14",
    source="RFC 7323 section 2.3",
    answer="RFC 7323: more than 14 counts as 14; the window is not endless.",
)
def window_scale_too_large(scene: Scene) -> Right:
    client, server = scene.open(client=window_scale(255), server=window_scale(255))
    return ask_with_options(scene, client, server)


def ask_with_options(scene: Scene, client: Any, server: Any) -> Right:
    scene.send(client.data(REQUEST), server.ack())
    return Right(client=[REQUEST])


@attack(
    "A window scale by one side alone",
    source="RFC 7323 section 2.2; Handley, Paxson and Kreibich 2001",
    answer="RFC 7323: scaling holds when both SYNs have it; so data past 65,535 is outside.",
)
def window_scale_of_one_side(scene: Scene) -> Right:
    client, server = scene.open(client=window_scale(0), server=b"")
    scene.send(client.segment(ACK | PSH, JUNK, at=3_000_000))
    return ask_with_options(scene, client, server)


@attack(
    "Options that end in the middle of one",
    source=f"{PTACEK}; Geneva, options",
    answer="RFC 9293: what is no option ends them; the segment is taken.",
)
def truncated_option(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.segment(ACK | PSH, REQUEST, at=0, options=b"\1\1\x08\x0a"))
    client.sent = len(REQUEST)
    scene.send(server.ack())
    return Right(client=[REQUEST], counted={"tcp.option_length": 1})


@attack(
    "Timestamps in the handshake and none later",
    source="RFC 7323 section 3.2; Geneva, options",
    answer="RFC 7323: such segments may be dropped; most receivers take them, so they are taken.",
)
def timestamps_missing(scene: Scene) -> Right:
    client, server = scene.open(client=timestamps(1), server=timestamps(1, 1))
    return ask_with_options(scene, client, server)


@attack(
    "A maximum segment size of 0 in the SYN",
    source="CVE-2019-11479; RFC 9293 section 3.7.1",
    answer="It is the sender's business; the stream is what it is.",
)
def segment_size_of_0(scene: Scene) -> Right:
    client, server = scene.open(client=maximum_segment_size(0))
    return ask_with_options(scene, client, server)


@attack(
    "A UDP length below 8 bytes, and one past the packet",
    source="Handley, Paxson and Kreibich 2001; RFC 768",
    answer="RFC 768: the receiver drops both; malformed.",
)
def udp_length(scene: Scene) -> Right:
    for length in (7, 500):
        scene.send(Ethernet() / IPv4() / UDP(length=length) / JUNK)
    scene.send(Ethernet() / IPv4() / UDP() / REQUEST)
    return Right(datagrams=[REQUEST], counted={"udp.length": 2})


@attack(
    "A UDP checksum that is wrong, and one of 0",
    source=PTACEK,
    answer="RFC 768: a wrong one is dropped; over IPv4, 0 says that there is none.",
    checksums="drop",
)
def udp_checksum(scene: Scene) -> Right:
    scene.send(Ethernet() / IPv4() / UDP(checksum=WRONG) / JUNK)
    scene.send(Ethernet() / IPv4() / UDP(checksum=0) / REQUEST)
    return Right(datagrams=[REQUEST], counted={"udp.checksum": 1})


@attack(
    "A UDP checksum of 0 over IPv6",
    source="RFC 8200 section 8.1",
    answer="RFC 8200 section 8.1: over IPv6 there must be one; the receiver drops it.",
    checksums="drop",
)
def udp_checksum_of_ipv6(scene: Scene) -> Right:
    scene.send(Ethernet() / IPv6() / UDP(checksum=0) / JUNK)
    scene.send(Ethernet() / IPv6() / UDP() / REQUEST)
    return Right(datagrams=[REQUEST], counted={"udp.checksum": 1})


@attack(
    "Frames that end anywhere",
    source="Handley, Paxson and Kreibich 2001",
    answer="Each cut has its reason, none is read past, and none of it begins a flow.",
)
def cut_anywhere(scene: Scene) -> Right:
    whole = bytes(Ethernet() / IPv4() / TCP(flags=SYN))
    for length in range(len(whole)):
        scene.send(whole[:length])
    return Right(never=["tcp.start"])


@attack(
    "A TTL of 0 and of 1",
    source=PTACEK,
    answer="They arrived here; nothing is known of the way on, so the bytes count.",
)
def ttl_of_1(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.segment(ACK | PSH, REQUEST, at=0, ttl=1))
    client.sent = len(REQUEST)
    scene.send(server.ack())
    return Right(client=[REQUEST])
