"""Captures to measure with, made from a seed: interleaved TCP flows with full handshakes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

SYN, ACK, FIN, PUSH = 0x02, 0x10, 0x01, 0x08
HEADERS = 54  # Ethernet, IPv4, TCP without options
START = 1_700_000_000  # seconds since the epoch, of the first packet

RECORD = [
    ("seconds", "<u4"),
    ("nanoseconds", "<u4"),
    ("captured", "<u4"),
    ("wire", "<u4"),
    ("ethernet", "V12"),
    ("ether_type", ">u2"),
    ("version", "u1"),
    ("service", "u1"),
    ("total_length", ">u2"),
    ("identification", ">u2"),
    ("fragment", ">u2"),
    ("ttl", "u1"),
    ("protocol", "u1"),
    ("checksum", ">u2"),
    ("source", ">u4"),
    ("destination", ">u4"),
    ("source_port", ">u2"),
    ("destination_port", ">u2"),
    ("sequence", ">u4"),
    ("acknowledged", ">u4"),
    ("offset", "u1"),
    ("flags", "u1"),
    ("window", ">u2"),
    ("tcp_checksum", ">u2"),
    ("urgent", ">u2"),
]


@dataclass(frozen=True)
class Work:
    """`flows` connections at a time, `segments` of `payload` bytes each, from the originator."""

    packets: int
    flows: int = 2000
    segments: int = 14
    payload: int = 64
    seed: int = 1

    @property
    def steps(self) -> int:
        """Packets of one connection: handshake, segments, two FINs and the last ACK."""
        return 3 + self.segments + 3


def write_capture(path: Path, work: Work) -> None:
    """Writes a pcap file with nanoseconds. Every frame has the same size: what TCP leaves of it is
    padding, as Ethernet has it."""
    record = np.dtype([*RECORD, ("payload", "u1", work.payload)])
    frames = np.zeros(work.packets, dtype=record)
    generator = np.random.default_rng(work.seed)

    number = np.arange(work.packets)
    slot = number % work.flows
    round_ = number // work.flows
    step = round_ % work.steps
    flow = slot + (round_ // work.steps) * work.flows

    fill_headers(frames, work, flow, step)
    frames["nanoseconds"] = (number % 1_000_000) * 1000
    frames["seconds"] = START + number // 1_000_000
    frames["payload"] = generator.integers(97, 123, size=work.payload, dtype=np.uint8)
    header = np.array([0xA1B23C4D, 0x00040002, 0, 0, 262144, 1], dtype="<u4")
    path.write_bytes(header.tobytes() + frames.tobytes())


def fill_headers(
    frames: npt.NDArray[np.void],
    work: Work,
    flow: npt.NDArray[np.int64],
    step: npt.NDArray[np.int64],
) -> None:
    """Addresses from the flow's number; flags and numbers from its step."""
    last = 3 + work.segments  # the originator's FIN; then FIN and ACK of the responder, last ACK
    from_responder = (step == 1) | (step == last + 1)
    is_data = (step >= 3) & (step < last)
    sent = np.clip(step - 3, 0, work.segments) * work.payload

    client = 0x0A000000 + flow // 50_000 + 1
    port = 1024 + flow % 50_000
    server = 0xC0A80001
    frames["captured"] = frames["wire"] = HEADERS + work.payload
    frames["ether_type"] = 0x0800
    frames["version"] = 0x45
    frames["total_length"] = 40 + np.where(is_data, work.payload, 0)
    frames["ttl"] = 64
    frames["protocol"] = 6
    frames["source"] = np.where(from_responder, server, client)
    frames["destination"] = np.where(from_responder, client, server)
    frames["checksum"] = header_checksum(frames)
    frames["source_port"] = np.where(from_responder, 80, port)
    frames["destination_port"] = np.where(from_responder, port, 80)
    after_fin = (step == last + 2).astype(int)
    ours = 1000 + (step > 0) + sent + after_fin
    theirs = 5000 + (step > 1) + after_fin
    frames["sequence"] = np.where(from_responder, theirs, ours)
    acknowledged = np.where(from_responder, ours + (step == last + 1), theirs)
    frames["acknowledged"] = np.where(step == 0, 0, acknowledged)
    frames["offset"] = 5 << 4
    frames["window"] = 65535
    flags = np.full(len(frames), ACK)
    flags[step == 0] = SYN
    flags[step == 1] = SYN | ACK
    flags[is_data] = ACK | PUSH
    flags[(step == last) | (step == last + 1)] = FIN | ACK
    frames["flags"] = flags


def header_checksum(frames: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """The IPv4 header's checksum (RFC 1071), of headers whose other fields are filled."""
    total = 0x4500 + frames["total_length"].astype(np.int64) + ((64 << 8) | 6)
    for address in ("source", "destination"):
        value = frames[address].astype(np.int64)
        total = total + (value >> 16) + (value & 0xFFFF)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    checksum: npt.NDArray[np.int64] = ~total & 0xFFFF
    return checksum
