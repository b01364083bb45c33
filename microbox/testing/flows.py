"""Flows written in a few lines: who says what, in which segments, and which of them get lost.

    tcp("10.0.0.1:1234", "10.0.0.2:80").send(b"GET / HTTP/1.1\\r\\n\\r\\n").reply(b"...").close()
    tcp("[fd00::1]:1234", "[fd00::2]:80", vlan=5).send(b"hello world", mss=4, order=[1, 0, 2])
    udp("10.0.0.1:1234", "10.0.0.2:53").send(query).reply(answer)
    icmp("10.0.0.1", "10.0.0.2").send(b"ping").reply(b"ping")

A flow is what two ends say, put down packet by packet; `flow.traffic` are the packets so far. The
ends are orderly: they count, acknowledge and close as RFC 9293 says, whatever a test then lets get
lost. Handshake and acknowledgements are there unless they are left out. Each packet comes a
millisecond after the one before; `wait` lets time pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self

from microbox.testing.fragments import datagram
from microbox.testing.packets import (
    ACK,
    FIN,
    ICMP,
    PSH,
    QINQ_TAG,
    RST,
    SYN,
    TCP,
    UDP,
    VLAN,
    Ethernet,
    ICMPv6,
    IPv4,
    IPv6,
    Layer,
)
from microbox.testing.packets import Packet as Layers
from microbox.testing.tcp_options import maximum_segment_size
from microbox.testing.traffic import NANOSECONDS, SPACING, START, Packet, Traffic

MSS = 1460
ECHO_REQUEST, ECHO_REPLY, UNREACHABLE = 8, 0, 3  # RFC 792
ECHO_REQUEST_V6, ECHO_REPLY_V6, UNREACHABLE_V6 = 128, 129, 1  # RFC 4443
PORT_UNREACHABLE, PORT_UNREACHABLE_V6 = 3, 4

Tags = int | Sequence[int]
"""A VLAN's identifier, or those of several tags, the outermost first."""


@dataclass(slots=True)
class End:
    """One end of a flow, and what it has sent so far."""

    address: str
    port: int = 0
    first: int = 0  # its initial sequence number
    sent: int = 0  # bytes of its stream
    has_finished: bool = False

    @property
    def next(self) -> int:
        """The sequence number that follows all that it sent, SYN and FIN included."""
        return self.first + 1 + self.sent + self.has_finished


def end_of(text: str, *, has_port: bool = True) -> End:
    """From "10.0.0.1:80", "[fd00::1]:80", or an address alone. Raises ValueError."""
    host, separator, port = text.rpartition(":") if has_port else (text, "", "0")
    expected = "10.0.0.1:80 or [fd00::1]:80" if has_port else "10.0.0.1 or fd00::1"
    try:
        address = ip_address(host.strip("[]") if has_port else host)
        number = int(port)
    except ValueError:
        raise ValueError(f"'{text}' is no end of a flow; expected {expected}") from None
    is_bare = has_port and (not separator or (address.version == 6 and host[:1] != "["))  # noqa: PLR2004
    if is_bare or not 0 <= number < 1 << 16:
        raise ValueError(f"'{text}' is no end of a flow; expected {expected}")
    return End(str(address), number)


class Flow:
    """Two ends and the packets that they have sent. Methods that send return the flow itself."""

    def __init__(
        self, originator: End, responder: End, *, vlan: Tags | None, hop_limit: int, start: int
    ) -> None:
        """`start`: time of the first packet."""
        if (":" in originator.address) != (":" in responder.address):
            raise ValueError(
                f"{originator.address} and {responder.address} are of two versions of IP"
            )
        self.originator = originator
        self.responder = responder
        self.traffic = Traffic()
        """The packets so far."""
        self._tags = (vlan,) if isinstance(vlan, int) else tuple(vlan or ())
        self._hop_limit = hop_limit
        self._time = start

    def wait(self, seconds: float) -> Self:
        """The next packet comes so much later."""
        self._time += round(seconds * NANOSECONDS)
        return self

    def put(self, *frames: object) -> Self:
        """Frames of any kind (bytes, or layers) come next, in this flow's time."""
        for frame in frames:
            self.traffic.append(Packet(self._time, bytes(frame)))  # type: ignore[call-overload]
            self._time += SPACING
        return self

    @property
    def is_v6(self) -> bool:
        """Over IPv6."""
        return ":" in self.originator.address

    def __iter__(self) -> Iterator[Packet]:
        return iter(self.traffic)

    def __len__(self) -> int:
        return len(self.traffic)

    def _other(self, end: End) -> End:
        return self.responder if end is self.originator else self.originator

    def _around(self, end: End) -> Layers:
        """Link and IP layers of a packet of this end."""
        whose = (b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2")
        source, destination = whose if end is self.originator else whose[::-1]
        layers = Layers((Ethernet(source=source, destination=destination),))
        for place, tag in enumerate(self._tags):
            is_outer = place + 1 < len(self._tags)
            layers = layers / (VLAN(tag, QINQ_TAG) if is_outer else VLAN(tag))
        ends = end.address, self._other(end).address
        if self.is_v6:
            return layers / IPv6(*ends, hop_limit=self._hop_limit)
        return layers / IPv4(*ends, ttl=self._hop_limit)


class TcpFlow(Flow):
    """A TCP connection. Sequence numbers, acknowledgements and flags are right by themselves."""

    def open(self) -> Self:
        """The handshake. A flow of `tcp()` has it already, unless `handshake=False`."""
        options = maximum_segment_size(MSS)
        return self.put(
            self.segment(self.originator, SYN, sequence=self.originator.first, options=options),
            self.segment(self.responder, SYN | ACK, sequence=self.responder.first, options=options),
            self.segment(self.originator, ACK),
        )

    def send(  # noqa: PLR0913 (what may happen to segments)
        self,
        data: bytes,
        *,
        mss: int = MSS,
        segments: Sequence[int] | None = None,
        order: Sequence[int] | None = None,
        lose: Iterable[int] = (),
        repeat: Iterable[int] = (),
        acknowledge: bool = True,
    ) -> Self:
        """The originator says `data`; the responder acknowledges it.

        The bytes are cut into segments of `mss` bytes, or of the sizes in `segments` and a last one
        of what is left. Segments are counted from 0. Those in `order` come first, in this
        order; those in `lose` get lost; those in `repeat` come (again) behind all others.
        """
        return self._say(self.originator, data, (mss, segments), (order, lose, repeat), acknowledge)

    def reply(  # noqa: PLR0913 (what may happen to segments)
        self,
        data: bytes,
        *,
        mss: int = MSS,
        segments: Sequence[int] | None = None,
        order: Sequence[int] | None = None,
        lose: Iterable[int] = (),
        repeat: Iterable[int] = (),
        acknowledge: bool = True,
    ) -> Self:
        """The responder says `data`, as with `send`."""
        return self._say(self.responder, data, (mss, segments), (order, lose, repeat), acknowledge)

    def send_at(self, position: int, data: bytes) -> Self:
        """The originator sends bytes of its stream, from 0, once more, or too early; they may be
        others than before. Nobody acknowledges them."""
        return self._at(self.originator, position, data)

    def reply_at(self, position: int, data: bytes) -> Self:
        """The responder does."""
        return self._at(self.responder, position, data)

    def acknowledge(self) -> Self:
        """The originator acknowledges all that the responder has said."""
        return self.put(self.segment(self.originator, ACK))

    def close(self, *, by: str = "originator") -> Self:
        """Both ends say FIN, first the one that is named, and the last one is acknowledged."""
        first = self._named(by)
        second = self._other(first)
        for end in (first, second):
            self.put(self.segment(end, FIN | ACK))
            end.has_finished = True
        return self.put(self.segment(first, ACK))

    def finish(self, *, by: str = "originator") -> Self:
        """One end says FIN, the other one acknowledges and may go on: half-closed."""
        end = self._named(by)
        self.put(self.segment(end, FIN | ACK))
        end.has_finished = True
        return self.put(self.segment(self._other(end), ACK))

    def reset(self, *, by: str = "originator") -> Self:
        """One end says RST."""
        return self.put(self.segment(self._named(by), RST | ACK))

    def segment(
        self,
        end: End,
        flags: int,
        data: bytes = b"",
        *,
        sequence: int | None = None,
        options: bytes = b"",
    ) -> Layers:
        """A segment of one end, as layers, for `put`: nothing is counted. `sequence` is absolute;
        None: the end's next."""
        peer = self._other(end)
        header = TCP(
            end.port,
            peer.port,
            flags,
            end.next if sequence is None else sequence,
            peer.next if flags & ACK else 0,
            options=options,
        )
        return self._around(end) / header / data

    def _say(
        self,
        end: End,
        data: bytes,
        cut: tuple[int, Sequence[int] | None],
        fate: tuple[Sequence[int] | None, Iterable[int], Iterable[int]],
        acknowledge: bool,
    ) -> Self:
        pieces = list(_pieces(data, *cut))
        segments = []
        for piece in pieces:
            segments.append(self.segment(end, PSH | ACK, piece))
            end.sent += len(piece)
        self.put(*(segments[number] for number in _fate(len(segments), *fate)))
        return self.put(self.segment(self._other(end), ACK)) if acknowledge else self

    def _at(self, end: End, position: int, data: bytes) -> Self:
        sequence = end.first + 1 + position
        return self.put(self.segment(end, PSH | ACK, data, sequence=sequence))

    def _named(self, by: str) -> End:
        if by not in ("originator", "responder"):
            raise ValueError(f"by is 'originator' or 'responder', not {by!r}")
        return self.originator if by == "originator" else self.responder


def _pieces(data: bytes, mss: int, sizes: Sequence[int] | None) -> Iterator[bytes]:
    if mss < 1 or (sizes is not None and min(sizes, default=1) < 1):
        raise ValueError("a segment has at least one byte")
    if sizes is not None:
        for size in sizes:
            yield data[:size]
            data = data[size:]
        mss = max(len(data), 1)
    for start in range(0, len(data), mss):
        yield data[start : start + mss]


def _fate(
    count: int, order: Sequence[int] | None, lose: Iterable[int], repeat: Iterable[int]
) -> list[int]:
    """Which segments come, one after the other. Raises ValueError."""
    first, lost, again = list(order or ()), set(lose), list(repeat)
    unknown = {*first, *lost, *again} - set(range(count))
    if unknown:
        raise ValueError(f"there is no segment {min(unknown)} of {count}, counted from 0")
    if len(set(first)) < len(first):
        raise ValueError(f"order: a segment comes once, unless it is in repeat: {first}")
    coming = [*first, *(number for number in range(count) if number not in first)]
    return [number for number in coming if number not in lost] + again


class UdpFlow(Flow):
    """Datagrams between two ports."""

    _last = b""  # of the originator

    def send(self, data: bytes, *, fragment: int | None = None) -> Self:
        """The originator sends a datagram, in fragments of `fragment` bytes each (a multiple of 8)
        where that is given."""
        return self._say(self.originator, data, fragment)

    def reply(self, data: bytes, *, fragment: int | None = None) -> Self:
        """The responder does."""
        return self._say(self.responder, data, fragment)

    def unreachable(self) -> Self:
        """The responder says that nobody listens on the port, quoting what the originator sent last
        (its first fragment)."""
        link = sum(len(bytes(one)) for one in self._around(self.originator).layers[:-1])
        around = self._around(self.responder)
        if self.is_v6:
            message: Layer = ICMPv6(UNREACHABLE_V6, PORT_UNREACHABLE_V6, bytes(4))
        else:
            message = ICMP(UNREACHABLE, PORT_UNREACHABLE, bytes(4))
        return self.put(around / message / self._last[link:])

    def _say(self, end: End, data: bytes, fragment: int | None) -> Self:
        packet = self._around(end) / UDP(end.port, self._other(end).port) / data
        end.sent += 1
        frames = [bytes(packet)]
        if fragment is not None:
            frames = datagram(packet, identification=end.sent).cut(fragment)
        if end is self.originator:
            self._last = frames[0]
        return self.put(*frames)


class IcmpFlow(Flow):
    """Echo requests and replies (RFC 792, RFC 4443)."""

    def send(self, data: bytes = b"") -> Self:
        """The originator asks."""
        self.originator.sent += 1
        return self._echo(self.originator, ECHO_REQUEST_V6 if self.is_v6 else ECHO_REQUEST, data)

    def reply(self, data: bytes = b"") -> Self:
        """The responder answers the last request."""
        return self._echo(self.responder, ECHO_REPLY_V6 if self.is_v6 else ECHO_REPLY, data)

    def _echo(self, end: End, kind: int, data: bytes) -> Self:
        rest = self.originator.port.to_bytes(2) + (self.originator.sent % 65536).to_bytes(2)
        message: Layer = ICMPv6(kind, 0, rest) if self.is_v6 else ICMP(kind, 0, rest)
        return self.put(self._around(end) / message / data)


def tcp(  # noqa: PLR0913 (what may be said of a connection)
    originator: str = "10.0.0.1:1234",
    responder: str = "10.0.0.2:80",
    *,
    handshake: bool = True,
    vlan: Tags | None = None,
    hop_limit: int = 64,
    first: tuple[int, int] = (100, 300),
    start: int = START,
) -> TcpFlow:
    """A TCP connection between two ends, "ADDRESS:PORT" each, IPv6 addresses in brackets.

    Parameters
    ----------
    handshake
        False for a connection that began before the capture did.
    vlan
        Identifier of a VLAN tag on each packet, or of several, the outermost first.
    hop_limit
        Of each packet; IPv4's TTL.
    first
        The initial sequence numbers of both ends.
    start
        Time of the first packet: nanoseconds since the epoch.
    """
    ends = end_of(originator), end_of(responder)
    ends[0].first, ends[1].first = first
    flow = TcpFlow(*ends, vlan=vlan, hop_limit=hop_limit, start=start)
    return flow.open() if handshake else flow


def udp(
    originator: str = "10.0.0.1:1234",
    responder: str = "10.0.0.2:53",
    *,
    vlan: Tags | None = None,
    hop_limit: int = 64,
    start: int = START,
) -> UdpFlow:
    """A flow of UDP datagrams; parameters as of `tcp`."""
    ends = end_of(originator), end_of(responder)
    return UdpFlow(*ends, vlan=vlan, hop_limit=hop_limit, start=start)


def icmp(  # noqa: PLR0913 (what may be said of a flow)
    originator: str = "10.0.0.1",
    responder: str = "10.0.0.2",
    *,
    identifier: int = 1,
    vlan: Tags | None = None,
    hop_limit: int = 64,
    start: int = START,
) -> IcmpFlow:
    """A flow of echo requests and replies between two addresses; parameters as of `tcp`."""
    ends = end_of(originator, has_port=False), end_of(responder, has_port=False)
    ends[0].port = ends[1].port = identifier
    return IcmpFlow(*ends, vlan=vlan, hop_limit=hop_limit, start=start)
