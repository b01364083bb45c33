"""Which packets an event type speaks of: what decides whether one NF's drop concerns another.

A type belongs to the protocols of its longest row. Types that NFs publish are not here: they speak
of the packets that their publisher reads.
"""

from __future__ import annotations

ETHERNET, ARP, IP, TCP, UDP, ICMP = "ethernet", "arp", "ip", "tcp", "udp", "icmp"
EVERYTHING = frozenset({ETHERNET, ARP, IP, TCP, UDP, ICMP})
NOTHING: frozenset[str] = frozenset()

_ROWS: dict[str, frozenset[str]] = {
    "packet": frozenset({ETHERNET}),
    "packet.arp": frozenset({ARP}),
    "packet.ip": frozenset({IP}),
    "packet.ip.tcp": frozenset({TCP}),
    "packet.ip.udp": frozenset({UDP}),
    "packet.ip.icmp": frozenset({ICMP}),
    "packet.ip.fragment": EVERYTHING - {ETHERNET, ARP},  # of any protocol above IP
    "packet.malformed": EVERYTHING,  # broken in any layer, perhaps above a sound one
    "flow": frozenset({IP}),
    "flow.tcp": frozenset({TCP}),
    "flow.udp": frozenset({UDP}),
    "flow.icmp": frozenset({ICMP}),
    "timer": NOTHING,
    "system": NOTHING,
}


def protocols_of(type_name: str) -> frozenset[str]:
    """The protocols of the packets that the stack publishes this type for."""
    name = type_name
    while name:
        if name in _ROWS:
            return _ROWS[name]
        name = name.rpartition(".")[0]
    return EVERYTHING
