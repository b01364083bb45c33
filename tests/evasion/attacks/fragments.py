"""IP fragments: in any order, twice, overlapping, too many, too long, never whole."""

from __future__ import annotations

from stack_driver import ACK, PSH, SECOND, Hosts
from stack_driver.packets import (
    ICMP,
    ICMP_PROTOCOL,
    RIGHT,
    TCP,
    UDP,
    VLAN,
    WRONG,
    Datagram,
    Ethernet,
    Extension,
    IPv4,
    IPv6,
    IPv6Fragment,
    datagram,
)

from attacks.attack import Right, Scene, attack

FRAGROUTER = "Song 1999, fragrouter"
SECRET = bytes(range(65, 65 + 40))  # 48 bytes with the UDP header: six fragments of 8
JUNK = b"-" * 40
ANY_ORDER = "RFC 791 section 3.2: fragments are put together in whatever order they come."


def udp(data: bytes = SECRET, checksum: int = RIGHT, ttl: int = 64) -> Datagram:
    return datagram(Ethernet() / IPv4(ttl=ttl) / UDP(checksum=checksum) / data)


def udp6(data: bytes = SECRET) -> Datagram:
    return datagram(Ethernet() / IPv6() / UDP() / data)


@attack("Fragments of 8 bytes, in order", source=f"{FRAGROUTER} frag-1", answer=ANY_ORDER)
def small_fragments(scene: Scene) -> Right:
    scene.send(*udp().cut(8))
    return Right(datagrams=[SECRET])


@attack("Fragments of 24 bytes, in order", source=f"{FRAGROUTER} frag-2", answer=ANY_ORDER)
def larger_fragments(scene: Scene) -> Right:
    scene.send(*udp().cut(24))
    return Right(datagrams=[SECRET])


@attack("One fragment out of order", source=f"{FRAGROUTER} frag-3", answer=ANY_ORDER)
def one_out_of_order(scene: Scene) -> Right:
    first, second, *others = udp().cut(8)
    scene.send(first, others[0], second, *others[1:])
    return Right(datagrams=[SECRET])


@attack(
    "One fragment twice",
    source=f"{FRAGROUTER} frag-4",
    answer="RFC 791: the second copy says nothing new.",
)
def one_twice(scene: Scene) -> Right:
    frames = udp().cut(8)
    scene.send(*frames[:3], frames[2], *frames[3:])
    return Right(datagrams=[SECRET])


@attack("All fragments backwards, one twice", source=f"{FRAGROUTER} frag-5", answer=ANY_ORDER)
def backwards(scene: Scene) -> Right:
    frames = udp().cut(8)
    scene.send(*reversed(frames[1:]), frames[3], frames[0])
    return Right(datagrams=[SECRET])


@attack("The last fragment first", source=f"{FRAGROUTER} frag-6", answer=ANY_ORDER)
def last_first(scene: Scene) -> Right:
    *others, last = udp().cut(8)
    scene.send(last, *others)
    return Right(datagrams=[SECRET])


@attack(
    "Overlapping fragments, where the host keeps the first copy",
    source=f"{FRAGROUTER} frag-7; Ptacek and Newsham 1998, section 5.3",
    answer="RFC 791 leaves it open: the policy `first` of the host keeps what came first.",
    hosts=(Hosts(fragments="first"),),
)
def overlap_for_a_host_that_keeps_the_first(scene: Scene) -> Right:
    whole = udp()
    scene.send(whole.fragment(0, 24), whole.fragment_of(16, JUNK[:8], more=True))
    scene.send(whole.fragment(24))
    return Right(datagrams=[SECRET], counted={"fragment.overlap_inconsistent": 1})


@attack(
    "Overlapping fragments, where the host keeps the last copy",
    source=f"{FRAGROUTER} frag-7; Ptacek and Newsham 1998, section 5.3",
    answer="RFC 791 leaves it open: the policy `last` of the host keeps what came last.",
    hosts=(Hosts(fragments="last"),),
)
def overlap_for_a_host_that_keeps_the_last(scene: Scene) -> Right:
    whole = udp()
    scene.send(whole.fragment_of(0, whole.payload[:16] + JUNK[:8], more=True))
    scene.send(whole.fragment(16, 24), whole.fragment(24))
    return Right(datagrams=[SECRET], counted={"fragment.overlap_inconsistent": 1})


@attack(
    "Overlapping fragments of IPv6",
    source="RFC 5722 section 3; Atlasis 2012",
    answer="RFC 8200 section 4.5: the datagram is dropped with all its fragments.",
)
def overlap_of_ipv6(scene: Scene) -> Right:
    whole = udp6()
    scene.send(whole.fragment(0, 24), whole.fragment_of(16, JUNK[:8], more=True))
    scene.send(whole.fragment(24))
    return Right(datagrams=[], counted={"fragment.overlap_inconsistent": None})


@attack(
    "A fragment of IPv6 twice, the same",
    source="RFC 8200 section 4.5",
    answer="RFC 8200 section 4.5: an exact duplicate may be ignored, the datagram is kept.",
)
def duplicate_of_ipv6(scene: Scene) -> Right:
    frames = udp6().cut(16)
    scene.send(frames[0], frames[0], *frames[1:])
    return Right(datagrams=[SECRET])


@attack(
    "Teardrop: the second fragment lies inside the first",
    source="CVE-1999-0015",
    answer="The bytes inside are a copy; no length becomes negative, and the datagram is whole.",
)
def teardrop(scene: Scene) -> Right:
    whole = udp()
    scene.send(whole.fragment(0, 32), whole.fragment(8, 16, more=True), whole.fragment(32))
    return Right(datagrams=[SECRET])


@attack(
    "Bonk: the second fragment begins past the end of the first and says to be the last",
    source="CVE-1999-0258",
    answer="RFC 791: a hole stays a hole, and the datagram is dropped when its time is over.",
)
def bonk(scene: Scene) -> Right:
    whole = udp()
    scene.send(whole.fragment(0, 8), whole.fragment_of(32, JUNK[:8], more=False))
    return Right(datagrams=[])


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
    "Ping of death: fragments that add up to more than 65,535 bytes",
    source="CVE-1999-0128",
    answer="RFC 791: no datagram is longer; it is dropped and counted.",
)
def ping_of_death(scene: Scene) -> Right:
    ping = datagram(Ethernet() / IPv4() / ICMP() / bytes(1000))
    scene.send(ping.fragment(0, 1000))
    scene.send(ping.fragment_of(65528, bytes(1000), more=False))
    return Right(never=["icmp.message"], counted={"fragment.too_long": 1})


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
    "Rose: first and last fragments of datagrams whose middles never come",
    source="Hollis 2004, Rose Fragmentation Attack",
    answer="Incomplete datagrams have a cap and a time limit; nothing is made of them.",
    fragmented_datagrams_max=16,
)
def rose(scene: Scene) -> Right:
    for identification in range(200):
        whole = datagram(Ethernet() / IPv4() / UDP() / SECRET, identification)
        scene.send(whole.fragment(0, 8), whole.fragment(40))
    return Right(datagrams=[], counted={"fragment.limit": None})


@attack(
    "FragmentSmack: many tiny fragments of many datagrams",
    source="CVE-2018-5391",
    answer="What is held is capped; what is dropped is counted.",
    fragmented_datagrams_max=16,
)
def fragment_smack(scene: Scene) -> Right:
    for identification in range(100):
        whole = datagram(Ethernet() / IPv4() / UDP() / SECRET, identification)
        scene.send(*(whole.fragment(start, start + 8) for start in range(40, 0, -8)))
    return Right(datagrams=[], counted={"fragment.limit": None})


@attack(
    "FragmentSmack: fragments that lie over many others, again and again",
    source="CVE-2018-5391",
    answer="A datagram's fragments may lie over as many pieces as it may have; further ones are "
    "let go and counted, and the datagram is whole when the rest comes.",
)
def fragment_smack_by_overlaps(scene: Scene) -> Right:
    whole = udp()
    scene.send(whole.fragment(0, 8), whole.fragment(16, 24))
    scene.send(*[whole.fragment(0, 24)] * 200)
    scene.send(whole.fragment(24))
    return Right(datagrams=[SECRET], counted={"fragment.limit": None})


@attack(
    "Fragments whose rest comes when their time is over",
    source="Ptacek and Newsham 1998, section 5.3.3",
    answer="RFC 1122 section 3.3.2: a host drops what is not whole after 60 to 120 seconds.",
)
def late_rest(scene: Scene) -> Right:
    whole = udp()
    scene.send(whole.fragment(0, 24))
    scene.wait(200 * SECOND)
    scene.send(whole.fragment(24))
    return Right(datagrams=[], counted={"fragment.timeout": None})


@attack(
    "A datagram in atomic fragments of IPv6 beside another with the same identification",
    source="RFC 6946",
    answer="RFC 6946 section 4: an atomic fragment is a datagram by itself.",
)
def atomic_fragment(scene: Scene) -> Right:
    whole = udp6()
    scene.send(whole.fragment(0, 24))
    scene.send(Ethernet() / IPv6() / IPv6Fragment(0, False, 1) / UDP(7, 8) / b"atomic")
    scene.send(whole.fragment(24))
    return Right(datagrams=[b"atomic", SECRET])


@attack(
    "The first fragment of IPv6 ends before the TCP header",
    source="RFC 7112; Atlasis 2012",
    answer="RFC 7112 section 5: a first fragment without the whole header chain is dropped.",
)
def header_in_the_second_fragment(scene: Scene) -> Right:
    chain = Extension(body=bytes(14))
    whole = datagram(Ethernet() / IPv6() / chain / TCP(flags=ACK | PSH) / SECRET)
    scene.send(whole.fragment(0, 8), whole.fragment(8))
    return Right(client=[], counted={"ipv6.first_fragment_incomplete": None})


@attack(
    "Tiny fragments: the TCP flags are in the second one",
    source="RFC 1858 section 3; RFC 3128",
    answer="The datagram is put together before its TCP header is looked at.",
)
def tiny_fragments(scene: Scene) -> Right:
    client, server = scene.open()
    packet = Ethernet() / IPv4() / TCP(1000, 80, ACK | PSH, 101, 301) / b"GET /secret"
    scene.send(*datagram(packet).cut(8))
    client.sent = 11
    scene.send(server.ack())
    return Right(client=[b"GET /secret"])


@attack(
    "The second fragment overwrites the ports of the first",
    source="RFC 1858 section 4; fragrouter misc-2",
    answer="With the policy `first` the header that was there stays.",
    hosts=(Hosts(fragments="first"),),
)
def overwritten_header(scene: Scene) -> Right:
    whole = udp()
    false_header = (9).to_bytes(2) * 4
    scene.send(whole.fragment(0, 8), whole.fragment_of(0, false_header, more=True))
    scene.send(whole.fragment(8))
    return Right(datagrams=[SECRET])


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


@attack(
    "Two datagrams with one identification and different protocols, interleaved",
    source="Gilad and Herzberg 2011, Fragmentation Considered Vulnerable",
    answer="RFC 791: protocol is part of what tells datagrams apart.",
)
def same_identification(scene: Scene) -> Right:
    one, other = udp(), datagram(Ethernet() / IPv4() / ICMP() / SECRET)
    for left, right in zip(one.cut(16), other.cut(16), strict=True):
        scene.send(left, right)
    return Right(datagrams=[SECRET], published={"icmp.message": 1})


@attack(
    "Fragments of two VLANs with equal addresses and identification",
    source="RFC 791 with IEEE 802.1Q",
    answer="What lies in different VLANs is never one datagram.",
)
def fragments_of_two_vlans(scene: Scene) -> Right:
    one = datagram(Ethernet() / VLAN(5) / IPv4() / UDP() / SECRET)
    other = datagram(Ethernet() / VLAN(6) / IPv4() / UDP() / JUNK)
    for left, right in zip(one.cut(16), other.cut(16), strict=True):
        scene.send(left, right)
    return Right(datagrams=[SECRET, JUNK])


@attack(
    "A fragment of no bytes",
    source="CVE-1999-0431 (Linux 2.2.3)",
    answer="It says nothing; the datagram becomes whole without it.",
)
def empty_fragment(scene: Scene) -> Right:
    whole = udp()
    scene.send(whole.fragment(0, 16), whole.fragment_of(16, b"", more=True), whole.fragment(16))
    return Right(datagrams=[SECRET])


@attack(
    "A fragment that is not the last and has no multiple of 8 bytes",
    source="RFC 8200 section 4.5",
    answer="RFC 8200 section 4.5: it is dropped; the datagram never becomes whole.",
)
def odd_length(scene: Scene) -> Right:
    whole = udp6()
    scene.send(whole.fragment_of(0, whole.payload[:13], more=True), whole.fragment(16))
    return Right(datagrams=[])


@attack(
    "A datagram in fragments whose UDP checksum is wrong",
    source="Ptacek and Newsham 1998, section 5.2",
    answer="RFC 768: the receiver drops it; a checksum covers the whole datagram.",
    checksums="drop",
)
def wrong_checksum_in_fragments(scene: Scene) -> Right:
    scene.send(*udp(JUNK, checksum=WRONG).cut(16), *udp().cut(48))
    return Right(datagrams=[SECRET], counted={"udp.checksum": 1})


@attack(
    "Two last fragments that disagree about the end",
    source="Novak 2005, Target-Based Fragmentation Reassembly",
    answer="One end counts: nothing longer or shorter than what it says is given out twice.",
)
def two_ends(scene: Scene) -> Right:
    whole = udp()
    scene.send(
        whole.fragment(0, 16), whole.fragment(40), whole.fragment_of(24, JUNK[:8], more=False)
    )
    scene.send(whole.fragment(16, 40))
    return Right(counted={"fragment.end": None})


@attack(
    "More fragments of one datagram than anybody sends",
    source="CVE-2018-5391; RFC 8900",
    answer="The fragments of one datagram have a cap.",
    fragments_per_datagram=64,
)
def many_of_one(scene: Scene) -> Right:
    whole = datagram(Ethernet() / IPv4() / UDP() / bytes(8000))
    scene.send(*reversed(whole.cut(8)))
    return Right(datagrams=[], counted={"fragment.limit": None})
