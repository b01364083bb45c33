"""How addresses, ports, protocols and bytes are written as text."""

from __future__ import annotations

import functools
import socket

IPV4_MAPPED = bytes(10) + b"\xff\xff"
PROTOCOLS = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 47: "GRE", 50: "ESP", 58: "ICMPv6"}
PROTOCOLS |= {4: "IPv4", 41: "IPv6", 89: "OSPF", 132: "SCTP"}


@functools.lru_cache(maxsize=65536)
def address_text(octets: bytes) -> str:
    """An address as text: dotted for IPv4, RFC 5952 for IPv6."""
    if octets.startswith(IPV4_MAPPED):
        return socket.inet_ntoa(octets[12:])
    return socket.inet_ntop(socket.AF_INET6, octets)


def endpoint_text(address: str, port: int) -> str:
    """As 10.0.0.1:80 or [::1]:80; the address alone where there is no port."""
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def text_of(octets: bytes) -> str:
    """Bytes of a text field as str: UTF-8, what is not so as \\xNN."""
    return octets.decode("utf-8", "backslashreplace")
