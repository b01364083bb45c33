"""Resets that the receiver does not believe, and other messages that claim the connection's end."""

from __future__ import annotations

from stack_driver import ACK, PSH, RST, SYN, WRONG, Endpoint, Hosts
from stack_driver.packets import ICMP, Ethernet, ICMPv6, IPv4, IPv6, md5_signature, timestamps

from attacks.attack import Right, Scene, attack

INTANG = "INTANG (Wang et al. 2017) TCB teardown"
GENEVA = "Geneva (Bock et al. 2019) TCB teardown"
REQUEST = b"GET /secret HTTP/1.0"


def goes_on(scene: Scene, client: Endpoint, server: Endpoint, **more: object) -> Right:
    """The request after what should have ended nothing; the flow ends with the input."""
    scene.send(client.data(REQUEST), server.ack())
    return Right(client=[REQUEST], ends=["shutdown"], **more)  # type: ignore[arg-type]


@attack(
    "A RST with a wrong checksum",
    source=f"{GENEVA}; Ptacek and Newsham 1998, section 5.2",
    answer="RFC 9293 section 3.1: the receiver drops it.",
    checksums="drop",
)
def wrong_checksum(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.segment(RST, at=0, checksum=WRONG))
    return goes_on(scene, client, server, counted={"tcp.bad_checksum": None})


@attack(
    "A RST whose TTL is too low to arrive",
    source=f"{GENEVA} (TTL); {INTANG}",
    answer="RFC 1812: it does not arrive. `hops` of the host says so.",
    hosts=(Hosts(hops=5),),
)
def low_ttl(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.segment(RST, at=0, ttl=3))
    return goes_on(scene, client, server)


@attack(
    "A RST with an MD5 signature that nobody agreed on",
    source=f"{INTANG} (unsolicited MD5)",
    answer="RFC 2385: a receiver without a key drops it.",
)
def signature(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.segment(RST, at=0, options=md5_signature()))
    return goes_on(scene, client, server)


@attack(
    "A RST outside the window",
    source="RFC 5961 section 3; Ptacek and Newsham 1998, section 5.4",
    answer="RFC 5961 section 3.2: it is dropped.",
)
def outside_the_window(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.segment(RST, at=1_000_000), server.segment(RST, at=-1000))
    return goes_on(scene, client, server, published={"tcp.anomaly.rst_out_of_window": 2})


@attack(
    "A RST in the window, but not at its edge",
    source="CVE-2004-0230 (Watson 2004, Slipping in the Window)",
    answer="RFC 5961 section 3.2: the receiver answers with an ACK and goes on.",
)
def in_the_window(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.segment(RST, at=100))
    return goes_on(scene, client, server)


@attack(
    "A RST/ACK that acknowledges what was never sent",
    source=f"{INTANG} (RST/ACK); Geneva, RST/ACK with a corrupt acknowledgement",
    answer="RFC 5961 section 3.2 goes by the sequence number: out of the window, it is dropped.",
)
def rst_ack_outside(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(server.segment(RST | ACK, sequence=0x77777777, acknowledgment=0x66666666))
    return goes_on(scene, client, server)


@attack(
    "A RST that is believed here and not by the receiver: its segments go on",
    source="Weaver, Sommer and Paxson 2009, Detecting Forged TCP Reset Packets",
    answer="Both sides show that they took it for nothing, so the connection goes on.",
)
def forged_by_somebody_on_the_path(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.segment(RST, at=0))
    scene.send(client.data(REQUEST[:8]), server.ack())
    scene.send(client.data(REQUEST[8:]), server.ack())
    return Right(client=[REQUEST], ends=["shutdown"])


@attack(
    "A RST with bytes",
    source="RFC 9293 section 3.10.7.4; RFC 1122 section 4.2.2.12",
    answer="RFC 1122: the bytes explain the reset, they are none of the stream.",
)
def with_bytes(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.data(REQUEST), server.ack())
    scene.send(server.segment(RST | ACK, b"No cookies for you", at=0))
    return Right(client=[REQUEST], server=[], ends=["rst"])


@attack(
    "A SYN at a number in the window",
    source="RFC 5961 section 4",
    answer="RFC 5961 section 4.2: the receiver answers with an ACK and goes on.",
)
def blind_syn(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(client.segment(SYN, sequence=client.first + 50))
    return goes_on(scene, client, server, published={"tcp.anomaly.syn_in_established": 1})


@attack(
    "Data that a blind attacker injects, with any acknowledgement",
    source="RFC 5961 section 5; CVE-2016-5696 (Cao et al. 2016)",
    answer="RFC 5961 section 5.2: an acknowledgement out of range makes it unacceptable.",
    unsent_acknowledgment="refuse",
)
def blind_data(scene: Scene) -> Right:
    client, server = scene.open()
    false = client.segment(ACK | PSH, b"X" * len(REQUEST), at=0, acknowledgment=0x80000001)
    scene.send(false)
    return goes_on(scene, client, server)


def unreachable(quoted: bytes, code: int) -> bytes:
    """An ICMP error of a router about the packet whose IP bytes are quoted."""
    return bytes(Ethernet() / IPv4("10.0.0.254", "10.0.0.1") / ICMP(3, code, bytes(4)) / quoted)


@attack(
    "An ICMP error with a sequence number that is not in flight",
    source="CVE-2004-0790 (Gont 2004, ICMP attacks against TCP)",
    answer="RFC 5927 section 4.1: it is not believed; the connection goes on.",
)
def icmp_out_of_flight(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(unreachable(client.segment(ACK, at=500_000)[14:42], 2))
    return goes_on(scene, client, server)


@attack(
    "An ICMP hard error with the right sequence number",
    source="CVE-2004-0790; RFC 5927 section 5",
    answer="RFC 5927 section 5.2: in an open connection hard errors are soft ones.",
)
def icmp_hard_error(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(unreachable(client.segment(ACK | PSH, REQUEST, at=0)[14:42], 3))
    return goes_on(scene, client, server)


@attack(
    "An ICMP error that asks for packets of 68 bytes",
    source="CVE-2004-1060 (Gont 2004); RFC 5927 section 7",
    answer="It ends nothing and changes no number.",
)
def icmp_fragmentation_needed(scene: Scene) -> Right:
    client, server = scene.open()
    scene.send(unreachable(client.segment(ACK, at=0)[14:42], 4))
    return goes_on(scene, client, server)


@attack(
    "ICMPv6 packet too big with a size below the least",
    source="RFC 8021; RFC 6946 section 3",
    answer="It ends nothing; an error is about the flow that it quotes.",
)
def icmpv6_too_big(scene: Scene) -> Right:
    client, server = scene.open(addresses=("fd00::1", "fd00::2"))
    quoted = client.segment(ACK, at=0)[14:]
    error = IPv6("fd00::fe", "fd00::1") / ICMPv6(2, 0, (100).to_bytes(4)) / quoted
    scene.send(Ethernet() / error)
    return goes_on(scene, client, server)


@attack(
    "A RST with an old timestamp",
    source=f"{INTANG} (PAWS)",
    answer="RFC 7323 section 5.2 leaves RST out of the check: by its number it is believed, "
    "until the connection is seen to go on.",
)
def old_timestamp(scene: Scene) -> Right:
    client, server = scene.open(client=timestamps(5000), server=timestamps(9000, 5000))
    client.options, server.options = timestamps(5010, 9000), timestamps(9010, 5010)
    scene.send(client.ack(), client.segment(RST, at=0, options=timestamps(1, 9000)))
    return goes_on(scene, client, server)


@attack(
    "A source quench and a redirect amid the connection",
    source="RFC 6633; RFC 5927 section 6",
    answer="RFC 6633: hosts drop a source quench; both change no flow.",
)
def source_quench(scene: Scene) -> Right:
    client, server = scene.open()
    quoted = client.segment(ACK, at=0)[14:42]
    router = IPv4("10.0.0.254", "10.0.0.1")
    scene.send(Ethernet() / router / ICMP(4, 0, bytes(4)) / quoted)
    scene.send(Ethernet() / router / ICMP(5, 1, b"\x0a\0\0\x63") / quoted)
    return goes_on(scene, client, server)
