"""A TCP connection as a tap sees it behind a link that loses, repeats and reorders segments.

The sender cuts its stream at random, and otherwise when it sends something again. All checksums are
right. What it sends is decided by the seed alone.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator

SYN, ACK, PSH, FIN = 0x02, 0x10, 0x08, 0x01
CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
SEGMENT_MAX = 700


def checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(  # noqa: PLR0913 (a header has that many fields)
    flags: int, sequence: int, acknowledged: int, data: bytes, port: int, *, back: bool
) -> bytes:
    """A segment over IPv4 over Ethernet. `back`: from the server."""
    ports = (80, port) if back else (port, 80)
    ends = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    addresses = b"".join(map(socket.inet_aton, ends))
    numbers = (*ports, sequence % 2**32, acknowledged % 2**32)
    segment = struct.pack(">HHIIBBHHH", *numbers, 0x50, flags, 65535, 0, 0) + data
    pseudo = addresses + struct.pack(">BBH", 0, 6, len(segment))
    segment = segment[:16] + struct.pack(">H", checksum(pseudo + segment)) + segment[18:]
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0) + addresses
    header = header[:10] + struct.pack(">H", checksum(header)) + header[12:]
    return bytes(12) + b"\x08\x00" + header + segment


class Sender:
    """The server's stream, and what the tap has seen of it."""

    def __init__(self, stream: bytes, generator: random.Random, initial: int, port: int) -> None:
        self.stream = stream
        self.random = generator
        self.initial = initial
        self.port = port
        self.arrived: list[tuple[int, int]] = []

    def segment(self, begin: int, end: int) -> bytes:
        """Bytes [begin, end) of the stream."""
        self.arrived.append((begin, end))
        data = self.stream[begin:end]
        return frame(ACK | PSH, self.initial + 1 + begin, 101, data, self.port, back=True)

    def contiguous(self) -> int:
        """Up to where the tap has seen all bytes."""
        at = 0
        for begin, end in sorted(self.arrived):
            if begin > at:
                break
            at = max(at, end)
        return at

    def acknowledgment(self) -> bytes:
        """From the client, of what the tap has seen without a hole."""
        acknowledged = self.initial + 1 + self.contiguous()
        return frame(ACK, 101, acknowledged, b"", self.port, back=False)

    def flight(self, begin: int) -> Iterator[bytes]:
        """Segments from `begin` on as they arrive: some are lost, some come twice, some late."""
        ends: list[tuple[int, int]] = []
        at = begin
        while at < len(self.stream) and len(ends) < 8:
            end = min(len(self.stream), at + self.random.randint(1, SEGMENT_MAX))
            ends.append((at, end))
            at = end
        order = [one for one in ends if self.random.random() > 0.2]
        order += [one for one in ends if self.random.random() < 0.15]
        if self.random.random() < 0.5:
            self.random.shuffle(order)
        for one in order:
            yield self.segment(*one)

    def frames(self) -> Iterator[bytes]:
        """Until all has arrived. The sender goes back to what is missing, or a little before."""
        while self.contiguous() < len(self.stream):
            begin = max(0, self.contiguous() - self.random.choice((0, 0, 0, 1, 50, 900)))
            for one in self.flight(begin):
                yield one
                if self.random.random() < 0.4:
                    yield self.acknowledgment()
            yield self.acknowledgment()
        if self.random.random() < 0.5:
            yield from self.flight(max(0, len(self.stream) - 1500))


def connection(stream: bytes, seed: int, port: int = 1234) -> list[bytes]:
    """A server's stream to a client, with handshake and FINs. Its numbers may wrap."""
    generator = random.Random(seed)
    initial = generator.choice((499, 2**32 - 1 - generator.randint(0, len(stream))))
    sender = Sender(stream, generator, initial, port)
    end = initial + 1 + len(stream)
    return [
        frame(SYN, 100, 0, b"", port, back=False),
        frame(SYN | ACK, initial, 101, b"", port, back=True),
        frame(ACK, 101, initial + 1, b"", port, back=False),
        *sender.frames(),
        frame(FIN | ACK, end, 101, b"", port, back=True),
        frame(FIN | ACK, 101, end + 1, b"", port, back=False),
        frame(ACK, end + 1, 102, b"", port, back=True),
    ]
