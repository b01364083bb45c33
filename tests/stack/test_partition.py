"""Frames that belong together meet in one worker."""

from __future__ import annotations

import numpy as np
import pytest
from stack_driver import ACK, START, Frame, Packed, client_and_server
from stack_driver.packets import (
    GRE,
    ICMP,
    MPLS,
    TCP,
    UDP,
    VLAN,
    VXLAN,
    Ethernet,
    ICMPv6,
    IPv4,
    IPv6,
    Layer,
    Packet,
    PPPoE,
    datagram,
)

WORKERS = 64  # so many that two frames hardly meet by chance


def workers(*frames: bytes | Packet | Layer, count: int = WORKERS) -> list[int]:
    packed = Packed.of_frames(Frame(bytes(one), START) for one in frames)
    return [int(worker) for worker in packed.workers(count)]


def are_together(*frames: bytes | Packet | Layer) -> bool:
    return len(set(workers(*frames))) == 1


def test_both_directions_of_a_pair_whatever_their_ports() -> None:
    client, server = client_and_server()
    other = Ethernet() / IPv4("10.0.0.2", "10.0.0.1") / UDP(7, 9)
    assert are_together(client.syn(), server.syn(), other)


def test_both_directions_of_a_pair_of_ipv6() -> None:
    client, server = client_and_server(("fd00::1", 1000), ("fd00::2", 80))
    assert are_together(client.syn(), server.syn())


def test_fragments_go_with_their_first_one() -> None:
    four = datagram(Ethernet() / IPv4() / UDP() / bytes(40)).cut(8)
    assert are_together(Ethernet() / IPv4() / TCP(), *four)
    six = datagram(Ethernet() / IPv6() / UDP() / bytes(40)).cut(8)
    assert are_together(Ethernet() / IPv6() / TCP(), *six)


QUOTED = bytes(IPv4("10.0.0.1", "10.0.0.2") / TCP())[:28]
QUOTED_6 = bytes(IPv6("fd00::1", "fd00::2") / TCP())
ROUTER = IPv4("10.0.0.254", "10.0.0.1")
ROUTER_6 = IPv6("fd00::fe", "fd00::1")


@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_an_icmp_error_goes_to_the_flow_that_it_quotes(kind: int) -> None:
    error = Ethernet() / ROUTER / ICMP(kind) / QUOTED
    assert are_together(error, Ethernet() / IPv4("10.0.0.2", "10.0.0.1") / TCP())


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_an_icmpv6_error_goes_to_the_flow_that_it_quotes(kind: int) -> None:
    error = Ethernet() / ROUTER_6 / ICMPv6(kind) / QUOTED_6
    assert are_together(error, Ethernet() / IPv6("fd00::2", "fd00::1") / TCP())


def test_an_echo_quotes_nobody() -> None:
    echo = Ethernet() / ROUTER / ICMP(8) / QUOTED
    assert are_together(echo, Ethernet() / ROUTER / UDP())


@pytest.mark.parametrize("length", range(0, 24, 3))
def test_an_error_that_quotes_too_little_goes_by_its_own_pair(length: int) -> None:
    error = Ethernet() / ROUTER / ICMP(3) / QUOTED[:length]
    assert are_together(error, Ethernet() / ROUTER / UDP())


def test_all_fragments_of_an_error_go_by_its_own_pair() -> None:
    error = datagram(Ethernet() / ROUTER / ICMP(3) / QUOTED)
    assert are_together(*error.cut(16), Ethernet() / ROUTER / UDP())


INNER = IPv4("10.5.0.1", "10.5.0.2") / TCP(flags=ACK)
OTHER = IPv4("10.6.0.1", "10.6.0.2") / UDP()


@pytest.mark.parametrize(
    "around",
    [
        Ethernet() / IPv4(),
        Ethernet() / IPv4() / GRE(),
        Ethernet() / IPv6() / GRE(key=1) / Ethernet(),
        Ethernet() / IPv4() / UDP(9, 4789) / VXLAN() / Ethernet(),
    ],
)
def test_what_a_tunnel_carries_goes_by_the_tunnel(around: Packet) -> None:
    assert are_together(around / INNER, around / OTHER)


@pytest.mark.parametrize("around", [VLAN(5) / VLAN(6), MPLS(16) / MPLS(17), PPPoE()])
def test_tags_and_labels_change_nothing(around: Packet | Layer) -> None:
    assert are_together(Ethernet() / INNER, Ethernet() / around / INNER)


def test_what_is_not_ip_goes_to_the_first() -> None:
    arp = Ethernet(kind=0x0806) / bytes(28)
    cut = bytes(Ethernet() / IPv4() / TCP())[:30]
    assert workers(arp, cut, b"") == [0, 0, 0]


def test_one_worker_gets_all() -> None:
    assert workers(Ethernet() / INNER, Ethernet() / OTHER, count=1) == [0, 0]


def test_pairs_are_shared_out_evenly() -> None:
    frames = [Ethernet() / IPv4(f"10.{n // 250}.{n % 250}.1") / TCP() for n in range(4000)]
    shares = np.bincount(workers(*frames, count=4))
    assert len(shares) == 4
    assert min(shares) > 900
