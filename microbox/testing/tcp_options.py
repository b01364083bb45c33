"""Options of a TCP header (RFC 9293 section 3.2), for `TCP(options=...)`: bytes to be joined."""

from __future__ import annotations

import struct


def no_operation() -> bytes:
    """No-operation, of one byte."""
    return b"\1"


def maximum_segment_size(size: int) -> bytes:
    """Maximum segment size, in bytes."""
    return struct.pack(">BBH", 2, 4, size)


def window_scale(shift: int) -> bytes:
    """Window scale (RFC 7323)."""
    return bytes([3, 3, shift])


def sack_permitted() -> bytes:
    """SACK permitted (RFC 2018)."""
    return b"\4\2"


def sack(*blocks: tuple[int, int]) -> bytes:
    """SACK: blocks from a left edge up to a right one."""
    edges = b"".join(struct.pack(">II", left % 2**32, right % 2**32) for left, right in blocks)
    return bytes([5, 2 + len(edges)]) + edges


def timestamps(value: int, echo: int = 0) -> bytes:
    """Timestamps (RFC 7323), aligned by two bytes."""
    return b"\1\1" + struct.pack(">BBII", 8, 10, value % 2**32, echo % 2**32)


def md5_signature(digest: bytes = bytes(16)) -> bytes:
    """An MD5 signature (RFC 2385)."""
    return bytes([19, 18]) + digest


def authentication(digest: bytes = bytes(12)) -> bytes:
    """TCP-AO (RFC 5925), with keys number 1 and 1."""
    return bytes([29, 4 + len(digest), 1, 1]) + digest


def fast_open(cookie: bytes = b"") -> bytes:
    """TCP Fast Open (RFC 7413)."""
    return bytes([34, 2 + len(cookie)]) + cookie
