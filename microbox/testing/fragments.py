"""IP fragments, cut however a test likes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from microbox.testing.packets import IPv4, IPv6, IPv6Fragment, Layer, Packet


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
