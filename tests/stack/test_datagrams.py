"""Datagrams that were put together from fragments are as others."""

from __future__ import annotations

import pytest
from stack_driver import WRONG, run
from stack_driver.packets import ICMP, UDP, Ethernet, ICMPv6, IPv4, IPv6, Layer, datagram

DATA = bytes(range(40))


@pytest.mark.parametrize(
    ("network", "transport"),
    [(IPv4(), UDP()), (IPv4(options=b"\1\1\1\0"), ICMP()), (IPv6(), UDP()), (IPv6(), ICMPv6())],
    ids=lambda layer: type(layer).__name__,
)
def test_their_checksums_are_right(network: Layer, transport: Layer) -> None:
    frames = datagram(Ethernet() / network / transport / DATA).cut(16)
    stack = run(frames, checksums="drop")
    assert not stack.events("packet.malformed")
    assert [one.data for one in stack.events("udp.datagram", "icmp.message")] == [DATA]


def test_a_wrong_checksum_over_the_whole_is_found() -> None:
    frames = datagram(Ethernet() / IPv4() / UDP(checksum=WRONG) / DATA).cut(16)
    stack = run(frames, checksums="drop")
    assert [one.reason for one in stack.events("packet.malformed")] == ["udp.checksum"]
