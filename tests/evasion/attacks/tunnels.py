"""Tags, tunnels and extension headers: nested, endless, and with equal addresses inside."""

from __future__ import annotations

import functools
import operator

from stack_driver import ACK, SYN
from stack_driver.packets import (
    GENEVE,
    GRE,
    HOP_BY_HOP,
    MPLS,
    NO_NEXT_HEADER,
    ROUTING,
    TCP,
    UDP,
    VLAN,
    VXLAN,
    Ethernet,
    Extension,
    IPv4,
    IPv6,
    Layer,
    Packet,
    PPPoE,
)

from attacks.attack import Right, Scene, attack

ATLASIS = "Atlasis 2012, Attacking IPv6 Implementation Using Fragmentation"
REQUEST = b"GET /secret HTTP/1.0"
JUNK = b"GET /public HTTP/1.0"
INNER = IPv4("10.1.0.1", "10.1.0.2") / UDP() / REQUEST


def chain(*layers: Layer | Packet) -> Packet:
    return functools.reduce(operator.truediv, layers[1:], Packet(()) / layers[0])


@attack(
    "Hundreds of VLAN tags",
    source="Handley, Paxson and Kreibich 2001; CVE-2021-27853",
    answer="More tags than the decoder follows: malformed, of no flow.",
)
def many_vlans(scene: Scene) -> Right:
    scene.send(chain(Ethernet(), *[VLAN(5)] * 300, INNER))
    return Right(datagrams=[], counted={"vlan.too_deep": 1})


@attack(
    "Hundreds of MPLS labels, none the last",
    source="RFC 3032",
    answer="More labels than the decoder follows: malformed, of no flow.",
)
def many_labels(scene: Scene) -> Right:
    scene.send(chain(Ethernet(), *[MPLS(16)] * 300, INNER))
    return Right(datagrams=[], counted={"vlan.too_deep": 1})


@attack(
    "Equal addresses and ports in two VLANs",
    source="IEEE 802.1Q; Handley, Paxson and Kreibich 2001",
    answer="They are two flows.",
)
def two_vlans(scene: Scene) -> Right:
    for identifier in (5, 6):
        scene.send(Ethernet() / VLAN(identifier) / INNER)
    return Right(published={"udp.start": 2}, datagrams=[REQUEST] * 2)


@attack(
    "Equal addresses and ports of two tenants in VXLAN",
    source="RFC 7348 section 7",
    answer="The tunnels' identifiers differ, so they are two flows.",
)
def two_tenants(scene: Scene) -> Right:
    for network in (1, 2):
        scene.send(chain(Ethernet(), IPv4(), UDP(1, 4789), VXLAN(network), Ethernet(), INNER))
    return Right(published={"udp.start": 2}, datagrams=[REQUEST] * 2)


@attack(
    "Equal addresses and ports of two tenants in GENEVE",
    source="RFC 8926 section 6",
    answer="The tunnels' identifiers differ, so they are two flows.",
)
def two_tenants_in_geneve(scene: Scene) -> Right:
    for network in (1, 2):
        scene.send(chain(Ethernet(), IPv4(), UDP(1, 6081), GENEVE(network), Ethernet(), INNER))
    return Right(published={"udp.start": 2}, datagrams=[REQUEST] * 2)


@attack(
    "The same packet inside and outside of a tunnel",
    source="RFC 2003 section 5",
    answer="A tunnel's packets are none of the flow outside with the same addresses.",
)
def inside_and_outside(scene: Scene) -> Right:
    client, server = scene.open()
    false = IPv4() / TCP(1000, 80, ACK, 101, 301) / JUNK
    scene.send(chain(Ethernet(), IPv4("10.7.0.1", "10.7.0.2"), false))
    scene.send(client.data(REQUEST), server.ack())
    return Right(published={"tcp.start": 2})


@attack(
    "IP in IP in IP, a hundred times",
    source="RFC 2003 section 5.1, recursive encapsulation",
    answer="Tunnels are followed up to a depth.",
)
def deep_ip(scene: Scene) -> Right:
    scene.send(chain(Ethernet(), *[IPv4()] * 100, INNER))
    return Right(datagrams=[], published={"packet.ip": 1})


@attack(
    "GRE in GRE, fifty times",
    source="RFC 2784; RFC 2003 section 5.1",
    answer="Tunnels are followed up to a depth.",
)
def deep_gre(scene: Scene) -> Right:
    scene.send(chain(Ethernet(), *[IPv4(), GRE()] * 50, INNER))
    return Right(datagrams=[], published={"packet.ip": 1})


@attack(
    "A GRE header that ends in its options",
    source="Handley, Paxson and Kreibich 2001; RFC 2890",
    answer="It is a packet of IP and nothing more.",
)
def short_gre(scene: Scene) -> Right:
    scene.send(Ethernet() / IPv4(next_protocol=47) / b"\x20\x00\x08")
    return Right(datagrams=[])


@attack(
    "A tunnel whose outer packet comes in fragments",
    source="RFC 7588; Ptacek and Newsham 1998, section 5.3",
    answer="The outer packet is put together, then what is inside is looked at.",
)
def tunnel_in_fragments(scene: Scene) -> Right:
    payload = bytes(GRE() / INNER)
    for start in range(0, len(payload), 24):
        more = start + 24 < len(payload)
        ip = IPv4(offset=start, more=more, identification=9, next_protocol=47)
        scene.send(Ethernet() / ip / payload[start : start + 24])
    return Right(datagrams=[REQUEST])


@attack(
    "PPPoE whose length is more than the frame has",
    source="RFC 2516 section 4",
    answer="The frame was cut; nothing past it is read.",
)
def pppoe_length(scene: Scene) -> Right:
    frame = bytearray(bytes(Ethernet() / PPPoE() / INNER))
    frame[18:20] = b"\xff\xff"
    scene.send(bytes(frame))
    return Right()


@attack(
    "A hundred extension headers",
    source=f"{ATLASIS}; RFC 8200 section 4.1",
    answer="Chains are followed up to a cap: malformed, of no flow.",
)
def many_extensions(scene: Scene) -> Right:
    scene.send(chain(Ethernet(), IPv6(), *[Extension()] * 100, UDP(), Packet((JUNK,))))
    return Right(datagrams=[], counted={"ipv6.too_many_extensions": 1})


@attack(
    "Extension headers in an order that nobody recommends",
    source=f"{ATLASIS}; RFC 8200 section 4.1",
    answer="RFC 8200: a receiver takes them in any order.",
)
def odd_extensions(scene: Scene) -> Right:
    headers = [Extension(), Extension(ROUTING, bytes(6)), Extension(), Extension(HOP_BY_HOP)]
    scene.send(chain(Ethernet(), IPv6(), *headers, UDP(), Packet((REQUEST,))))
    return Right(datagrams=[REQUEST])


@attack(
    "An extension header that is longer than the packet",
    source=f"{ATLASIS}; RFC 8200 section 4",
    answer="Nothing past the packet is read: malformed.",
)
def long_extension(scene: Scene) -> Right:
    scene.send(Ethernet() / IPv6() / Extension(units=255) / UDP() / JUNK)
    return Right(datagrams=[], counted={"ipv6.extension_truncated": 1})


@attack(
    "No next header, and bytes behind it",
    source="RFC 8200 section 4.7",
    answer="RFC 8200 section 4.7: the bytes are not looked at.",
)
def no_next_header(scene: Scene) -> Right:
    scene.send(Ethernet() / IPv6(next_header=NO_NEXT_HEADER) / UDP() / JUNK)
    return Right(datagrams=[])


@attack(
    "A routing header of type 0",
    source="RFC 5095; Biondi and Ebalard 2007",
    answer="It is skipped as any other: the flow is that of the addresses in the IP header.",
)
def routing_header_0(scene: Scene) -> Right:
    addresses = bytes(16) + bytes.fromhex("fd000000000000000000000000000063")
    header = Extension(ROUTING, b"\0\1" + bytes(4) + addresses[16:])
    scene.send(chain(Ethernet(), IPv6(), header, UDP(checksum=0), Packet((REQUEST,))))
    return Right(datagrams=[REQUEST])


@attack(
    "A SYN with an extension header, its answer without",
    source=f"{ATLASIS}; RFC 7045",
    answer="Extension headers are no part of the flow's key: one connection.",
)
def extensions_of_one_side(scene: Scene) -> Right:
    scene.send(chain(Ethernet(), IPv6(), Extension(), TCP(1000, 80, SYN, 100)))
    answer = IPv6("fd00::2", "fd00::1") / TCP(80, 1000, SYN | ACK, 300, 101)
    scene.send(Ethernet() / answer)
    scene.send(chain(Ethernet(), IPv6(), Extension(), TCP(1000, 80, ACK, 101, 301)))
    return Right(published={"tcp.start": 1, "tcp.established": 1})
