"""Packets in a few words, layer by layer:

    Ethernet() / VLAN(5) / IPv4("10.0.0.1", "10.0.0.2") / TCP(1000, 80, SYN, 100) / b"data"

`bytes()` of it is the frame. Lengths, next protocols and checksums are filled in where they are not
given; a checksum of `WRONG` is off by one.
"""

from __future__ import annotations

import functools
import ipaddress
import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
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


class Frame(NamedTuple):
    """A frame as a capture has it, where its bytes alone do not say all."""

    data: bytes
    time: int | None = None  # nanoseconds since the epoch; None: the stack's next
    wire_length: int = 0  # more than there are bytes: a snap length cut it
    link_type: int = 1  # Ethernet


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
        return Packet((*self.layers, *(inner.layers if isinstance(inner, Packet) else (inner,))))

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
    ether_type: int = TRANSPARENT_ETHERNET  # as a tunnel names it
    protocol: int = 143
    kind: int | None = None
    source: bytes = b"\x02\0\0\0\0\1"
    destination: bytes = b"\x02\0\0\0\0\2"

    def build(self, inner: Inner) -> bytes:
        kind = _ether_type_of(self.kind, inner.layer)
        return self.destination + self.source + kind.to_bytes(2) + inner.data


@dataclass(frozen=True, slots=True)
class VLAN(Layer):
    identifier: int
    ether_type: int = VLAN_TAG
    kind: int | None = None

    def build(self, inner: Inner) -> bytes:
        return (
            struct.pack(">HH", self.identifier, _ether_type_of(self.kind, inner.layer)) + inner.data
        )


@dataclass(frozen=True, slots=True)
class MPLS(Layer):
    label: int
    ether_type: int = MPLS_LABEL

    def build(self, inner: Inner) -> bytes:
        is_bottom = not isinstance(inner.layer, MPLS)
        return struct.pack(">I", self.label << 12 | is_bottom << 8 | 64) + inner.data


@dataclass(frozen=True, slots=True)
class PPPoE(Layer):
    session: int = 1
    ether_type: int = PPPOE_SESSION

    def build(self, inner: Inner) -> bytes:
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
        return (
            address(self.source) + address(self.destination) + struct.pack(">HH", protocol, length)
        )


@dataclass(frozen=True, slots=True)
class IPv6(Layer):
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
        length = len(inner.data) if self.length is None else self.length
        next_header = _protocol_of(self.next_header, inner.layer)
        first = self.version << 28 | self.flow_label
        header = struct.pack(">IHBB", first, length, next_header, self.hop_limit)
        return header + address(self.source) + address(self.destination) + inner.data

    def pseudo_header(self, protocol: int, length: int) -> bytes:
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
        body = self.body + PADDING[-(2 + len(self.body)) % 8]
        units = (2 + len(body)) // 8 - 1 if self.units is None else self.units
        return bytes([_protocol_of(self.next_header, inner.layer), units]) + body + inner.data


@dataclass(frozen=True, slots=True)
class IPv6Fragment(Layer):
    offset: int = 0  # bytes
    more: bool = False
    identification: int = 1
    next_header: int | None = None
    protocol: int = FRAGMENT

    def build(self, inner: Inner) -> bytes:
        next_header = _protocol_of(self.next_header, inner.layer)
        position = self.offset // 8 << 3 | self.more
        return struct.pack(">BBHI", next_header, 0, position, self.identification) + inner.data


# --- transport ---


@dataclass(frozen=True, slots=True)
class TCP(Layer):
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
    source_port: int = 5353
    destination_port: int = 53
    length: int | None = None
    checksum: int = RIGHT
    protocol: int = UDP_PROTOCOL

    def build(self, inner: Inner) -> bytes:
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
        message = bytes([self.type, self.code, 0, 0]) + self.rest + inner.data
        right = checksum(message)
        return message[:2] + chosen(self.checksum, right).to_bytes(2) + message[4:]


@dataclass(frozen=True, slots=True)
class ICMPv6(Layer):
    type: int = 128
    code: int = 0
    rest: bytes = b"\0\1\0\1"
    checksum: int = RIGHT
    protocol: int = ICMPV6_PROTOCOL

    def build(self, inner: Inner) -> bytes:
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
    key: int | None = None
    kind: int | None = None
    protocol: int = GRE_PROTOCOL

    def build(self, inner: Inner) -> bytes:
        flags = 0 if self.key is None else 0x2000
        key = b"" if self.key is None else struct.pack(">I", self.key)
        return struct.pack(">HH", flags, _ether_type_of(self.kind, inner.layer)) + key + inner.data


@dataclass(frozen=True, slots=True)
class VXLAN(Layer):
    """Put it on UDP(port, 4789)."""

    network: int = 1

    def build(self, inner: Inner) -> bytes:
        return struct.pack(">II", 0x08000000, self.network << 8) + inner.data


@dataclass(frozen=True, slots=True)
class GENEVE(Layer):
    """Put it on UDP(port, 6081)."""

    network: int = 1
    options: bytes = b""
    kind: int | None = None

    def build(self, inner: Inner) -> bytes:
        kind = _ether_type_of(self.kind, inner.layer)
        header = struct.pack(">BBHI", len(self.options) // 4, 0, kind, self.network << 8)
        return header + self.options + inner.data


# --- TCP options ---


def no_operation() -> bytes:
    return b"\1"


def maximum_segment_size(size: int) -> bytes:
    return struct.pack(">BBH", 2, 4, size)


def window_scale(shift: int) -> bytes:
    return bytes([3, 3, shift])


def sack_permitted() -> bytes:
    return b"\4\2"


def sack(*blocks: tuple[int, int]) -> bytes:
    edges = b"".join(struct.pack(">II", left % 2**32, right % 2**32) for left, right in blocks)
    return bytes([5, 2 + len(edges)]) + edges


def timestamps(value: int, echo: int = 0) -> bytes:
    return b"\1\1" + struct.pack(">BBII", 8, 10, value % 2**32, echo % 2**32)


def md5_signature(digest: bytes = bytes(16)) -> bytes:
    return bytes([19, 18]) + digest


def authentication(digest: bytes = bytes(12)) -> bytes:
    """TCP-AO (RFC 5925), with keys number 1 and 1."""
    return bytes([29, 4 + len(digest), 1, 1]) + digest


def fast_open(cookie: bytes = b"") -> bytes:
    return bytes([34, 2 + len(cookie)]) + cookie


# --- fragments ---


@dataclass(frozen=True)
class Datagram:
    """An IP packet to be cut into fragments, whatever way the test likes.

    `header` is the IP layer, with what lies around it; `payload` all above IP, checksums done.
    """

    around: Packet
    header: IPv4 | IPv6
    payload: bytes
    next_protocol: int
    identification: int = field(default=1)

    def fragment(self, start: int, end: int | None = None, *, more: bool | None = None) -> bytes:
        """Bytes [start, end) of the payload as a fragment of their own."""
        data = self.payload[start:end]
        is_more = start + len(data) < len(self.payload) if more is None else more
        return self.fragment_of(start, data, more=is_more)

    def fragment_of(self, start: int, data: bytes, *, more: bool) -> bytes:
        """A fragment that says to begin at `start` and carries `data`, true or not."""
        if isinstance(self.header, IPv4):
            ip = replace(
                self.header,
                offset=start,
                more=more,
                identification=self.identification,
                next_protocol=self.next_protocol,
            )
            return bytes(self.around / ip / data)
        fragment = IPv6Fragment(start, more, self.identification, self.next_protocol)
        return bytes(self.around / self.header / fragment / data)

    def cut(self, size: int) -> list[bytes]:
        """All fragments in order, of `size` payload bytes (a multiple of 8) each."""
        starts = range(0, len(self.payload), size)
        return [self.fragment(start, start + size) for start in starts]


def datagram(packet: Packet, identification: int = 1) -> Datagram:
    """Splits a packet at its innermost IP header."""
    positions = [i for i, layer in enumerate(packet.layers) if isinstance(layer, IPv4 | IPv6)]
    position = positions[-1]
    header = packet.layers[position]
    above = packet.layers[position + 1]
    assert isinstance(header, IPv4 | IPv6)
    assert isinstance(above, Layer)
    length = len(bytes(header / b""))
    whole = bytes(Packet(packet.layers[position:]))
    around = Packet(packet.layers[:position])
    return Datagram(around, header, whole[length:], above.protocol, identification)
