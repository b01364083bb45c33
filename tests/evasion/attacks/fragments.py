"""IP fragments: in any order, twice, overlapping, too many, too long, never whole."""

from __future__ import annotations

from stack_driver.packets import (
    ICMP_PROTOCOL,
    RIGHT,
    UDP,
    Datagram,
    Ethernet,
    IPv4,
    datagram,
)

from attacks.attack import Right, Scene, attack

SECRET = bytes(range(65, 65 + 40))  # 48 bytes with the UDP header: six fragments of 8
JUNK = b"-" * 40


def udp(data: bytes = SECRET, checksum: int = RIGHT, ttl: int = 64) -> Datagram:
    return datagram(Ethernet() / IPv4(ttl=ttl) / UDP(checksum=checksum) / data)


@attack(
    "Nestea: a fragment with more bytes than the datagram has room for after its end",
    source="CVE-1999-0257",
    answer="Bytes past the end that the last fragment gave belong to no datagram.",
)
def nestea(scene: Scene) -> Right:
    whole = udp()
    scene.send(whole.fragment(0, 16), whole.fragment_of(16, JUNK[:8], more=False))
    scene.send(whole.fragment_of(24, JUNK[:24], more=True))
    return Right()


@attack(
    "Jolt2: the same last fragment again and again, with a length that is not there",
    source="CVE-2000-0305",
    answer="Each is one fragment of a datagram that never becomes whole.",
)
def jolt2(scene: Scene) -> Right:
    fragment = (
        Ethernet() / IPv4(offset=65520, length=68, next_protocol=ICMP_PROTOCOL) / b"123456789"
    )
    for _ in range(300):
        scene.send(fragment)
    return Right(never=["icmp.message"])


@attack(
    "No first fragment: all say to begin behind it",
    source="fragrouter misc-1; Windows NT 4 SP2",
    answer="RFC 791: without offset 0 nothing is whole.",
)
def no_first(scene: Scene) -> Right:
    whole = udp()
    scene.send(
        *(
            whole.fragment_of(start + 8, whole.payload[start : start + 8], more=start < 40)
            for start in range(0, 48, 8)
        )
    )
    return Right(datagrams=[])
