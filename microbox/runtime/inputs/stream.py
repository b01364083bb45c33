"""Captures that are read while they come, from a pipe or a socket. The first bytes say whether they
can be: what is packed, or what only libpcap reads, is not known before its end.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from microbox._core import lib
from microbox.runtime.inputs.unpack import READ_SIZE, seal

HEAD_MAX = 1 << 19
"""Blocks of a pcapng capture before the first interface; a quarter of the smallest window has to
have room for them."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What was read of an input to know what it is."""

    read: bytes
    is_stream: bool  # it can be read as it comes


def may_stream(fd: int) -> bool:
    """What is no file comes as it likes."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def begin(fd: int) -> Beginning:
    """Waits for the first bytes, as many as are needed. Raises OSError."""
    read = b""
    found = lib.MB_HEAD_TOO_SHORT
    while found == lib.MB_HEAD_TOO_SHORT and len(read) < HEAD_MAX:
        more = os.read(fd, READ_SIZE)
        if not more:
            break
        read += more
        found = lib.mb_source_judge_head(read, len(read))
    return Beginning(read, found == lib.MB_HEAD_WHOLE)


def head_of(beginning: Beginning) -> int:
    """Sealed memory with it, the caller's to close. Raises OSError."""
    head = os.memfd_create("microbox head", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(os.dup(head), "wb") as file:
        file.write(beginning.read)
    seal(head)
    return head
