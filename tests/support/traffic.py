"""Steady traffic: a small capture again and again."""

from __future__ import annotations

import struct
from pathlib import Path

HEADER = 24  # bytes of a pcap file's header
RECORD = struct.Struct("<IIII")  # seconds, fraction, bytes captured, bytes on the wire


def repeated(capture: Path, into: Path, *, times: int, apart: float) -> Path:
    """A capture with the packets of a little-endian pcap file so often, so many seconds apart."""
    octets = capture.read_bytes()
    fractions = 1_000_000_000 if octets[:4] == b"\x4d\x3c\xb2\xa1" else 1_000_000
    records = []
    at = HEADER
    while at < len(octets):
        seconds, fraction, length, wire = RECORD.unpack_from(octets, at)
        at += RECORD.size
        records.append((seconds * fractions + fraction, length, wire, octets[at : at + length]))
        at += length
    with into.open("wb") as file:
        file.write(octets[:HEADER])
        for turn in range(times):
            later = round(turn * apart * fractions)
            for time, length, wire, frame in records:
                file.write(RECORD.pack(*divmod(time + later, fractions), length, wire) + frame)
    return into
