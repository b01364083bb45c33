"""Small captures, made of frames that a test can name."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

SYN, ACK, PSH, FIN = 0x02, 0x10, 0x08, 0x01
CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
START = 1_700_000_000_123_456_789  # nanoseconds since the epoch, of the first packet
MILLISECOND = 1_000_000

Frame = bytes
MakeCapture = Callable[..., Path]


def ip(source: str, destination: str, protocol: int, payload: bytes) -> Frame:
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
    return bytes(12) + b"\x08\x00" + header + addresses + payload


def udp(data: bytes, source_port: int = 1000, destination_port: int = 2000) -> Frame:
    header = struct.pack(">HHHH", source_port, destination_port, 8 + len(data), 0)
    return ip(CLIENT, SERVER, 17, header + data)


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
    header = struct.pack(">HHIIBBHHH", *ports, sequence, acknowledged, 0x50, flags, 65535, 0, 0)
    ends = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    return ip(*ends, 6, header + data)


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
        path = tmp_path / "frames.pcap"
        records = []
        for number, frame in enumerate(frames):
            seconds, nanoseconds = divmod(START + number * spacing, 1_000_000_000)
            records.append(struct.pack("<IIII", seconds, nanoseconds, len(frame), len(frame)))
            records.append(frame)
        header = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)
        path.write_bytes(header + b"".join(records))
        return path

    return make
