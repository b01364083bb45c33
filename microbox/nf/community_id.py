"""Community ID version 1: a name of a flow that Zeek, Suricata, Wireshark and others give it
as well, so that what they say of it can be put together.

https://github.com/corelight/community-id-spec: "1:" and the SHA-1, in base 64, of a seed, both
endpoints (the smaller one first, so that both directions have one name), the protocol, and ports
where it has any. Of ICMP, type and code take the place of ports: a type that is answered has the
type of its answer for the other one's port; the rest goes one way and is not turned round.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import socket
import struct

VERSION = "1:"
ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
WITH_PORTS = frozenset((ICMP, TCP, UDP, ICMPV6, SCTP))

_ICMP_PAIRS = ((8, 0), (13, 14), (15, 16), (10, 9), (17, 18))
"""Of ICMP: echo, timestamp, information, router, address mask (RFC 792, RFC 950, RFC 1256)."""
_ICMPV6_PAIRS = ((128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145))
"""Of ICMPv6: echo, multicast listener, router, neighbor, node information, home agent."""


def _both_ways(pairs: tuple[tuple[int, int], ...]) -> dict[int, int]:
    return {**dict(pairs), **{answer: question for question, answer in pairs}}


_COUNTERPARTS = {ICMP: _both_ways(_ICMP_PAIRS), ICMPV6: _both_ways(_ICMPV6_PAIRS)}


def _octets(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def icmp_ports(protocol: int, message_type: int, code: int) -> tuple[int, int]:
    """What stands for the ports of a flow that begins with such a message: its type, and the type
    that answers it, or its code where none does."""
    return message_type, _COUNTERPARTS[protocol].get(message_type, code)


@functools.lru_cache(maxsize=65536)
def community_id(  # noqa: PLR0913 (a five-tuple and a seed)
    source: str,
    destination: str,
    source_port: int,
    destination_port: int,
    protocol: int,
    *,
    seed: int = 0,
) -> str:
    """The Community ID of a flow, the same from both ends. `protocol` is its number in IP.

    For ICMP the ports are type and code of a message. `seed` sets networks with the same addresses
    apart: all tools that are to agree have the same, which is 0 unless they are told.
    """
    octets = tuple(map(_octets, (source, destination)))
    ports = (source_port, destination_port)
    is_one_way = False
    if protocol in _COUNTERPARTS:
        is_one_way = source_port not in _COUNTERPARTS[protocol]
        ports = icmp_ports(protocol, source_port, destination_port)
    if not is_one_way and (octets[1], ports[1]) < (octets[0], ports[0]):
        octets, ports = octets[::-1], ports[::-1]
    message = struct.pack("!H", seed) + octets[0] + octets[1] + bytes((protocol, 0))
    if protocol in WITH_PORTS:
        message += struct.pack("!HH", *ports)
    digest = hashlib.sha1(message, usedforsecurity=False).digest()
    return VERSION + base64.b64encode(digest).decode()
