"""Two ends of one TCP connection, who make segments with the numbers that belong there.

Positions (`at`, `acknowledging`) count bytes of the stream from 0, so that tests need not add up
sequence numbers; what is left out is what an orderly sender would write.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from stack_driver.packets import (
    ACK,
    FIN,
    PSH,
    RIGHT,
    RST,
    SYN,
    address,
    checksum,
    chosen,
)

ETHERNET_HEADER = b"\x02\0\0\0\0\2\x02\0\0\0\0\1"


@dataclass(slots=True)
class Endpoint:
    """One end. `first` is its initial sequence number; `sent` how many bytes it has sent so far."""

    address: str
    port: int
    first: int
    peer: Endpoint = field(init=False, repr=False)
    sent: int = 0
    window: int = 65535
    ttl: int = 64
    options: bytes = b""  # that each of its segments carries
    finished: bool = False  # it has sent its FIN
    opened: bool = False  # it has sent its SYN

    def segment(  # noqa: PLR0913 (a header has that many fields)
        self,
        flags: int = ACK,
        data: bytes = b"",
        *,
        at: int = 0,
        acknowledging: int | None = None,
        sequence: int | None = None,
        acknowledgment: int | None = None,
        options: bytes | None = None,
        window: int | None = None,
        ttl: int | None = None,
        urgent: int = 0,
        checksum: int = RIGHT,
        header_length: int | None = None,
    ) -> bytes:
        """A frame with a segment of any kind. `sequence` and `acknowledgment` are absolute, and
        used instead of the positions `at` and `acknowledging` (None: all that the peer sent)."""
        if sequence is None:
            sequence = self.first + 1 + at
        if acknowledgment is None:
            acknowledgment = self.peer.position(acknowledging) if flags & ACK else 0
        all_options = self.options if options is None else options
        all_options += bytes(-len(all_options) % 4)
        length = 20 + len(all_options) if header_length is None else header_length
        header = struct.pack(
            ">HHIIBBHHH",
            self.port,
            self.peer.port,
            sequence & 0xFFFFFFFF,
            acknowledgment & 0xFFFFFFFF,
            length // 4 << 4,
            flags,
            self.window if window is None else window,
            0,
            urgent,
        )
        return self._frame(header + all_options + data, ttl or self.ttl, checksum)

    def position(self, acknowledging: int | None) -> int:
        """The sequence number that acknowledges so many bytes; None: all sent, the FIN too."""
        if acknowledging is None:
            return self.first + 1 + self.sent + self.finished
        return self.first + 1 + acknowledging

    def syn(self, data: bytes = b"", options: bytes | None = None) -> bytes:
        """The first segment; with an acknowledgement where the peer's was made before."""
        is_answer = self.peer.opened
        self.opened = True
        flags = SYN | ACK if is_answer else SYN
        return self.segment(flags, data, sequence=self.first, options=options)

    def ack(self, acknowledging: int | None = None) -> bytes:
        return self.segment(ACK, at=self.sent + self.finished, acknowledging=acknowledging)

    def data(self, data: bytes, at: int | None = None, *, flags: int = ACK | PSH) -> bytes:
        """The next bytes, or those at a position."""
        begin = self.sent if at is None else at
        self.sent = max(self.sent, begin + len(data))
        return self.segment(flags, data, at=begin)

    def fin(self, data: bytes = b"") -> bytes:
        begin = self.sent
        self.sent += len(data)
        self.finished = True
        return self.segment(FIN | ACK, data, at=begin)

    def rst(self, at: int | None = None) -> bytes:
        return self.segment(RST, at=self.sent if at is None else at)

    def _frame(self, segment: bytes, ttl: int, wanted: int) -> bytes:
        ends = address(self.address) + address(self.peer.address)
        if len(ends) == 8:
            pseudo = ends + struct.pack(">HH", 6, len(segment))
            header = struct.pack(">BBHIBBH", 0x45, 0, 20 + len(segment), 0, ttl, 6, 0)
            right = checksum(header + ends)
            network = b"\x08\x00" + header[:10] + right.to_bytes(2) + ends
        else:
            pseudo = ends + struct.pack(">II", len(segment), 6)
            network = b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(segment), 6, ttl) + ends
        value = chosen(wanted, checksum(pseudo + segment))
        return ETHERNET_HEADER + network + segment[:16] + value.to_bytes(2) + segment[18:]


def client_and_server(
    client: tuple[str, int] = ("10.0.0.1", 1000),
    server: tuple[str, int] = ("10.0.0.2", 80),
    first: tuple[int, int] = (100, 300),
) -> tuple[Endpoint, Endpoint]:
    """Two ends that know of each other; `first`: their initial sequence numbers."""
    left, right = Endpoint(*client, first[0]), Endpoint(*server, first[1])
    left.peer, right.peer = right, left
    return left, right
