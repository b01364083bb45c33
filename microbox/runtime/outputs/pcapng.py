"""Writes captures with comments: pcapng (draft-ietf-opsawg-pcapng), in little-endian byte order,
times in nanoseconds. The same packets give the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

SECTION_HEADER = 0x0A0D0D0A
INTERFACE_DESCRIPTION = 1
ENHANCED_PACKET = 6
BYTE_ORDER_MAGIC = 0x1A2B3C4D
VERSION = (1, 0)
LENGTH_UNKNOWN = -1

END_OF_OPTIONS = 0
COMMENT = 1
USER_APPLICATION = 4  # of a section
TIME_RESOLUTION = 9  # of an interface
PACKET_IDENTIFIER = 5  # of a packet
NANOSECONDS = 9  # 10^-9 seconds

OPTION_MAX = 65_535  # bytes, as its length has 16 bits
Option = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class CommentedPacket:
    """One packet as it was captured, and what is to be said of it."""

    number: int  # in the capture that it is from
    time: int  # nanoseconds since the epoch
    link_type: int
    data: bytes
    wire_length: int
    comments: Sequence[str]


class PcapngWriter:
    """A section with an interface for each link type."""

    def __init__(self, file: BinaryIO) -> None:
        """Writes the section's header (section 4.1)."""
        self._file = file
        self._interfaces: dict[int, int] = {}  # number by link type
        body = struct.pack("<IHHq", BYTE_ORDER_MAGIC, *VERSION, LENGTH_UNKNOWN)
        self._block(SECTION_HEADER, body, [(USER_APPLICATION, b"microbox")])

    def write(self, packet: CommentedPacket) -> None:
        """An enhanced packet block (section 4.3)."""
        interface = self._interfaces.get(packet.link_type)
        if interface is None:
            interface = self._add_interface(packet.link_type)
        head = struct.pack(
            "<IIIII",
            interface,
            packet.time >> 32,
            packet.time & 0xFFFFFFFF,
            len(packet.data),
            packet.wire_length,
        )
        options = [(COMMENT, option_text(one)) for one in packet.comments]
        options.append((PACKET_IDENTIFIER, struct.pack("<Q", packet.number)))
        self._block(ENHANCED_PACKET, head + padded(packet.data), options)

    def _add_interface(self, link_type: int) -> int:
        """An interface description block (section 4.2): in front of the first packet that names
        it. A snap length of 0 is no limit."""
        number = self._interfaces[link_type] = len(self._interfaces)
        body = struct.pack("<HHI", link_type, 0, 0)
        self._block(INTERFACE_DESCRIPTION, body, [(TIME_RESOLUTION, bytes((NANOSECONDS,)))])
        return number

    def _block(self, kind: int, body: bytes, options: Iterable[Option]) -> None:
        """The general structure (section 3.1): its length stands in front and behind."""
        content = body + encoded_options(options)
        length = struct.pack("<I", len(content) + 12)
        self._file.write(struct.pack("<I", kind) + length + content + length)


def encoded_options(options: Iterable[Option]) -> bytes:
    """Section 3.5."""
    octets = b"".join(
        struct.pack("<HH", code, len(value)) + padded(value) for code, value in options
    )
    return octets + struct.pack("<HH", END_OF_OPTIONS, 0)


def padded(octets: bytes) -> bytes:
    """To a multiple of 32 bits."""
    return octets + bytes(-len(octets) % 4)


def option_text(text: str) -> bytes:
    """UTF-8, cut at a character where an option holds no more."""
    octets = text.encode("utf-8", "backslashreplace")
    if len(octets) <= OPTION_MAX:
        return octets
    return octets[:OPTION_MAX].decode("utf-8", "ignore").encode()
