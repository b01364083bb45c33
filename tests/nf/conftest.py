"""Small captures, made of frames that a test can name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from microbox.testing import Traffic
from microbox.testing.packets import ACK, FIN, PSH, SYN, TCP, UDP, Ethernet, IPv4

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
START = 1_700_000_000_123_456_789  # nanoseconds since the epoch, of the first packet
MILLISECOND = 1_000_000

Frame = bytes
MakeCapture = Callable[..., Path]


def ip(source: str, destination: str, protocol: int, payload: bytes) -> Frame:
    return bytes(Ethernet() / IPv4(source, destination, next_protocol=protocol) / payload)


def udp(data: bytes, source_port: int = 1000, destination_port: int = 2000) -> Frame:
    return bytes(Ethernet() / IPv4(CLIENT, SERVER) / UDP(source_port, destination_port) / data)


def tcp(  # noqa: PLR0913 (a header has that many fields)
    flags: int,
    sequence: int,
    acknowledged: int,
    data: bytes = b"",
    *,
    port: int = 1234,
    back: bool = False,
) -> Frame:
    """`back`: from the server."""
    ports = (80, port) if back else (port, 80)
    ends = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    return bytes(Ethernet() / IPv4(*ends) / TCP(*ports, flags, sequence, acknowledged) / data)


def connection(data: Sequence[bytes], port: int = 1234) -> list[Frame]:
    """A handshake, segments from the client, and both FINs."""
    frames = [
        tcp(SYN, 100, 0, port=port),
        tcp(SYN | ACK, 500, 101, port=port, back=True),
        tcp(ACK, 101, 501, port=port),
    ]
    sequence = 101
    for one in data:
        frames.append(tcp(ACK | PSH, sequence, 501, one, port=port))
        sequence += len(one)
    frames.append(tcp(FIN | ACK, sequence, 501, port=port))
    frames.append(tcp(FIN | ACK, 501, sequence + 1, port=port, back=True))
    frames.append(tcp(ACK, sequence + 1, 502, port=port))
    return frames


@pytest.fixture
def capture(tmp_path: Path) -> MakeCapture:
    """`capture(frames)`: the path of a capture with a frame a millisecond, or each `spacing`."""

    def make(frames: Sequence[Frame], spacing: int = MILLISECOND) -> Path:
        return Traffic.of(*frames, start=START, spacing=spacing).write(tmp_path / "frames.pcap")

    return make
