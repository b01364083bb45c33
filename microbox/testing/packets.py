"""Single packets, layer by layer, right or wrong:

    Ethernet() / VLAN(5) / IPv4("10.0.0.1", "10.0.0.2") / TCP(1000, 80, SYN, 100) / b"data"

`bytes()` of it is the frame. Lengths, next protocols and checksums are filled in where they are not
given; a checksum of `WRONG` is off by one.
"""

from __future__ import annotations

import functools
import ipaddress
import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))

RIGHT = -1
WRONG = -2

IPV4, IPV6, VLAN_TAG, QINQ_TAG, MPLS_LABEL, PPPOE_SESSION, TRANSPARENT_ETHERNET = (
    0x0800,
    0x86DD,
    0x8100,
    0x88A8,
    0x8847,
    0x8864,
    0x6558,
)
ICMP_PROTOCOL, IPV4_PROTOCOL, TCP_PROTOCOL, UDP_PROTOCOL = 1, 4, 6, 17
IPV6_PROTOCOL, GRE_PROTOCOL, ICMPV6_PROTOCOL, NO_NEXT_HEADER = 41, 47, 58, 59
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071). 2**16 is 1 modulo 0xffff, so the sum is a remainder."""
    whole = data + b"\0" if len(data) % 2 else data
    return -int.from_bytes(whole) % 0xFFFF


def chosen(wanted: int, right: int) -> int:
    """The checksum to write: the right one, one that is off by one, or just the one wanted."""
    if wanted == RIGHT:
        return right
    return (right + 1) & 0xFFFF if wanted == WRONG else wanted


@functools.lru_cache(4096)
def address(text: str) -> bytes:
    """The address's bytes: 4 of IPv4, 16 of IPv6."""
    return ipaddress.ip_address(text).packed


@dataclass(frozen=True, slots=True)
class Packet:
    """Layers, outermost first; the last one may be bytes."""

    layers: tuple[Layer | bytes, ...]

    def __truediv__(self, inner: Layer | Packet | bytes) -> Packet:
        if isinstance(inner, Packet):
            return Packet((*self.layers, *inner.layers))
        if not isinstance(inner, Layer | bytes):
            raise TypeError(f"packets carry bytes, such as b'GET /', not {inner!r:.60}")
        return Packet((*self.layers, inner))

    def __bytes__(self) -> bytes:
        inner = b""
        below: Layer | None = None
        for index in reversed(range(len(self.layers))):
            layer = self.layers[index]
            if isinstance(layer, bytes):
                inner = layer + inner
                continue
            inner = layer.build(Inner(inner, below, self._network(index)))
            below = layer
        return inner

    def _network(self, index: int) -> IPv4 | IPv6 | None:
        """The IP layer that carries the layer at `index`: its checksum covers the addresses."""
        for layer in reversed(self.layers[:index]):
            if isinstance(layer, IPv4 | IPv6):
                return layer
        return None


class Inner(NamedTuple):
    """What a layer is built around."""

    data: bytes
    layer: Layer | None  # the one that begins `data`; None: plain bytes
    network: IPv4 | IPv6 | None  # the IP layer around the layer that is built


class Layer(ABC):
    """A header, which `build` puts before the bytes inside it."""

    __slots__ = ()
    protocol = NO_NEXT_HEADER  # that an IP header names it by
    ether_type = 0

    def __truediv__(self, inner: Layer | Packet | bytes) -> Packet:
        return Packet((self,)) / inner

    def __bytes__(self) -> bytes:
        return self.build(Inner(b"", None, None))

    @abstractmethod
    def build(self, inner: Inner) -> bytes:
        """The header's bytes, then those inside."""


def _protocol_of(named: int | None, below: Layer | None) -> int:
    if named is not None:
        return named
    return below.protocol if below else NO_NEXT_HEADER


def _ether_type_of(named: int | None, below: Layer | None) -> int:
    if named is not None:
        return named
    return below.ether_type if below else 0


# --- link ---


@dataclass(frozen=True, slots=True)
class Ethernet(Layer):
    """An Ethernet header; addresses are 6 bytes."""

    ether_type: int = TRANSPARENT_ETHERNET  # as a tunnel names it
    protocol: int = 143
    kind: int | None = None
    source: bytes = b"\x02\0\0\0\0\1"
    destination: bytes = b"\x02\0\0\0\0\2"

    def build(self, inner: Inner) -> bytes:
        """As Layer.build."""
        kind = _ether_type_of(self.kind, inner.layer)
        return self.destination + self.source + kind.to_bytes(2) + inner.data


@dataclass(frozen=True, slots=True)
class VLAN(Layer):
    """A VLAN tag (IEEE 802.1Q); `ether_type=QINQ_TAG` for an outer one."""

    identifier: int
    ether_type: int = VLAN_TAG
    kind: int | None = None

    def build(self, inner: Inner) -> bytes:
        """As Layer.build."""
        return (
            struct.pack(">HH", self.identifier, _ether_type_of(self.kind, inner.layer)) + inner.data
        )


@dataclass(frozen=True, slots=True)
class MPLS(Layer):
    """A label of MPLS (RFC 3032); the innermost one says that it is."""

    label: int
    ether_type: int = MPLS_LABEL

    def build(self, inner: Inner) -> bytes:
        """As Layer.build."""
        is_bottom = not isinstance(inner.layer, MPLS)
        return struct.pack(">I", self.label << 12 | is_bottom << 8 | 64) + inner.data


@dataclass(frozen=True, slots=True)
class PPPoE(Layer):
    """A PPPoE session (RFC 2516) with PPP around what is inside."""

    session: int = 1
    ether_type: int = PPPOE_SESSION

    def build(self, inner: Inner) -> bytes:
        """As Layer.build."""
        protocol = 0x57 if isinstance(inner.layer, IPv6) else 0x21
        return (
            struct.pack(">BBHHH", 0x11, 0, self.session, 2 + len(inner.data), protocol) + inner.data
        )


# --- network ---


@dataclass(frozen=True, slots=True)
class IPv4(Layer):
    """`offset` counts bytes, as the payload does; `length` None: what there is."""

    source: str = "10.0.0.1"
    destination: str = "10.0.0.2"
    ttl: int = 64
    identification: int = 0
    offset: int = 0
    more: bool = False
    dont_fragment: bool = False
    options: bytes = b""
    next_protocol: int | None = None
    length: int | None = None
    version: int = 4
    header_length: int | None = None
    service: int = 0
    checksum: int = RIGHT
    ether_type: int = IPV4
    protocol: int = IPV4_PROTOCOL

    def build(self, inner: Inner) -> bytes:
        """As Layer.build."""
        options = self.options + bytes(-len(self.options) % 4)
        words = 5 + len(options) // 4 if self.header_length is None else self.header_length // 4
        header = struct.pack(
            ">BBHHHBBH4s4s",
            self.version << 4 | words & 0xF,
            self.service,
            20 + len(options) + len(inner.data) if self.length is None else self.length,
            self.identification,
            self.dont_fragment << 14 | self.more << 13 | self.offset // 8,
            self.ttl,
            _protocol_of(self.next_protocol, inner.layer),
            0,
            address(self.source),
            address(self.destination),
        )
        right = checksum(header + options)
        header = header[:10] + chosen(self.checksum, right).to_bytes(2) + header[12:]
        return header + options + inner.data

    def pseudo_header(self, protocol: int, length: int) -> bytes:
        """What a checksum above IP covers beside the segment of `length` bytes."""
        return (
            address(self.source) + address(self.destination) + struct.pack(">HH", protocol, length)
        )


@dataclass(frozen=True, slots=True)
class IPv6(Layer):
    """An IPv6 header (RFC 8200); `length` None: what there is."""

    source: str = "fd00::1"
    destination: str = "fd00::2"
    hop_limit: int = 64
    next_header: int | None = None
    length: int | None = None
    version: int = 6
    flow_label: int = 0
    ether_type: int = IPV6
    protocol: int = IPV6_PROTOCOL

    def build(self, inner: Inner) -> bytes:
        """As Layer.build."""
        length = len(inner.data) if self.length is None else self.length
        next_header = _protocol_of(self.next_header, inner.layer)
        first = self.version << 28 | self.flow_label
        header = struct.pack(">IHBB", first, length, next_header, self.hop_limit)
        return header + address(self.source) + address(self.destination) + inner.data

    def pseudo_header(self, protocol: int, length: int) -> bytes:
        """What a checksum above IP covers beside the segment of `length` bytes."""
        addresses = address(self.source) + address(self.destination)
        return addresses + struct.pack(">II", length, protocol)


# By length: Pad1, or PadN (RFC 8200 section 4.2).
PADDING = [b"", b"\0", *(bytes([1, length, *bytes(length)]) for length in range(6))]


@dataclass(frozen=True, slots=True)
class Extension(Layer):
    """An IPv6 extension header: hop-by-hop options, routing, destination options. `body` follows
    its first two bytes and is padded to a whole number of 8 bytes."""

    protocol: int = DESTINATION_OPTIONS
    body: bytes = b""
    next_header: int | None = None
    units: int | None = None  # the length field: 8 bytes each, without the first

    def build(self, inner: Inner) -> bytes:
        """As Layer.build."""
        body = self.body + PADDING[-(2 + len(self.body)) % 8]
        units = (2 + len(body)) // 8 - 1 if self.units is None else self.units
        return bytes([_protocol_of(self.next_header, inner.layer), units]) + body + inner.data


@dataclass(frozen=True, slots=True)
class IPv6Fragment(Layer):
    """The fragment header of IPv6 (RFC 8200 section 4.5)."""

    offset: int = 0  # bytes
    more: bool = False
    identification: int = 1
    next_header: int | None = None
    protocol: int = FRAGMENT

    def build(self, inner: Inner) -> bytes:
        """As Layer.build."""
        next_header = _protocol_of(self.next_header, inner.layer)
        position = self.offset // 8 << 3 | self.more
        return struct.pack(">BBHI", next_header, 0, position, self.identification) + inner.data


# --- transport ---


@dataclass(frozen=True, slots=True)
class TCP(Layer):
    """A TCP header (RFC 9293); numbers are taken modulo 2**32, options are padded."""

    source_port: int = 1000
    destination_port: int = 80
    flags: int = ACK
    sequence: int = 0
    acknowledgment: int = 0
    window: int = 65535
    options: bytes = b""
    urgent: int = 0
    header_length: int | None = None  # bytes, for the data offset
    reserved: int = 0
    checksum: int = RIGHT
    protocol: int = TCP_PROTOCOL

    def build(self, inner: Inner) -> bytes:
        """As Layer.build."""
        options = self.options + bytes(-len(self.options) % 4)
        header_length = 20 + len(options) if self.header_length is None else self.header_length
        header = struct.pack(
            ">HHIIBBHHH",
            self.source_port,
            self.destination_port,
            self.sequence & 0xFFFFFFFF,
            self.acknowledgment & 0xFFFFFFFF,
            header_length // 4 << 4 | self.reserved,
            self.flags,
            self.window,
            0,
            self.urgent,
        )
        return _with_checksum(self, header + options + inner.data, 16, inner.network)


@dataclass(frozen=True, slots=True)
class UDP(Layer):
    """A UDP header (RFC 768); `length` None: what there is."""

    source_port: int = 5353
    destination_port: int = 53
    length: int | None = None
    checksum: int = RIGHT
    protocol: int = UDP_PROTOCOL

    def build(self, inner: Inner) -> bytes:
        """As Layer.build."""
        length = 8 + len(inner.data) if self.length is None else self.length
        header = struct.pack(">HHHH", self.source_port, self.destination_port, length, 0)
        return _with_checksum(self, header + inner.data, 6, inner.network)


@dataclass(frozen=True, slots=True)
class ICMP(Layer):
    """`rest`: the four bytes after the checksum: identifier and sequence number, or a gateway."""

    type: int = 8
    code: int = 0
    rest: bytes = b"\0\1\0\1"
    checksum: int = RIGHT
    protocol: int = ICMP_PROTOCOL

    def build(self, inner: Inner) -> bytes:
        """As Layer.build."""
        message = bytes([self.type, self.code, 0, 0]) + self.rest + inner.data
        right = checksum(message)
        return message[:2] + chosen(self.checksum, right).to_bytes(2) + message[4:]


@dataclass(frozen=True, slots=True)
class ICMPv6(Layer):
    """An ICMPv6 message (RFC 4443), an echo request unless said otherwise."""

    type: int = 128
    code: int = 0
    rest: bytes = b"\0\1\0\1"
    checksum: int = RIGHT
    protocol: int = ICMPV6_PROTOCOL

    def build(self, inner: Inner) -> bytes:
        """As Layer.build."""
        message = bytes([self.type, self.code, 0, 0]) + self.rest + inner.data
        return _with_checksum(self, message, 2, inner.network)


def _with_checksum(
    layer: TCP | UDP | ICMPv6, segment: bytes, at: int, network: IPv4 | IPv6 | None
) -> bytes:
    pseudo = network.pseudo_header(layer.protocol, len(segment)) if network else b""
    right = checksum(pseudo + segment)
    if right == 0 and isinstance(layer, UDP):
        right = 0xFFFF  # 0 would say that there is none (RFC 768)
    return segment[:at] + chosen(layer.checksum, right).to_bytes(2) + segment[at + 2 :]


# --- tunnels ---


@dataclass(frozen=True, slots=True)
class GRE(Layer):
    """A GRE header (RFC 2784), with a key (RFC 2890) where there is one."""

    key: int | None = None
    kind: int | None = None
    protocol: int = GRE_PROTOCOL

    def build(self, inner: Inner) -> bytes:
        """As Layer.build."""
        flags = 0 if self.key is None else 0x2000
        key = b"" if self.key is None else struct.pack(">I", self.key)
        return struct.pack(">HH", flags, _ether_type_of(self.kind, inner.layer)) + key + inner.data


@dataclass(frozen=True, slots=True)
class VXLAN(Layer):
    """Put it on UDP(port, 4789)."""

    network: int = 1

    def build(self, inner: Inner) -> bytes:
        """As Layer.build."""
        return struct.pack(">II", 0x08000000, self.network << 8) + inner.data


@dataclass(frozen=True, slots=True)
class GENEVE(Layer):
    """Put it on UDP(port, 6081)."""

    network: int = 1
    options: bytes = b""
    kind: int | None = None

    def build(self, inner: Inner) -> bytes:
        """As Layer.build."""
        kind = _ether_type_of(self.kind, inner.layer)
        header = struct.pack(">BBHI", len(self.options) // 4, 0, kind, self.network << 8)
        return header + self.options + inner.data
