"""The capture, looked at before all else: a wrong file is said at once. And the output."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from microbox._core import ffi, lib
from microbox.runtime.errors import InputError


def open_capture(path: Path) -> int:
    """A descriptor of a file that is a capture, for the caller to close. Raises InputError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    try:
        _check(path, fd)
    except InputError:
        os.close(fd)
        raise
    return fd


def _check(path: Path, fd: int) -> None:
    mode = os.fstat(fd).st_mode
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a directory; expected a capture file")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: is no regular file; a capture is mapped, not read as a stream")
    complaint = ffi.new("char[]", lib.MB_ERROR_SIZE)
    source = lib.mb_source_open(fd, os.fsencode(path), complaint)
    if source == ffi.NULL:
        words: str = ffi.string(complaint).decode(errors="replace")
        raise InputError(words if words.startswith(str(path)) else f"{path}: {words}")
    lib.mb_source_close(source)


def open_output(path: Path, capture: int) -> int:
    """A descriptor of the output, empty, for the caller to close. Raises InputError.

    The capture itself is refused: it is mapped while the output is written.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC  # read where its writer does not finish it
    try:
        fd = os.open(path, flags, 0o666)
        if os.path.samestat(os.fstat(fd), os.fstat(capture)):
            os.close(fd)
            raise InputError(f"{path}: is the input; expected another file to write to")
        os.ftruncate(fd, 0)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    return fd


@dataclass(frozen=True, slots=True)
class Written:
    """What is in an output."""

    packets: int
    bytes: int  # captured bytes of these packets

    def since(self, before: Written) -> Written:
        """What was written since `before` was there."""
        return Written(self.packets - before.packets, self.bytes - before.bytes)


NOTHING = Written(0, 0)


def left_in_output(fd: int, link_type: int) -> Written:
    """What a worker that died has written to its output; the part of a record behind that is cut
    off. Raises InputError."""
    complaint = ffi.new("char[]", lib.MB_ERROR_SIZE)
    sink = lib.mb_sink_continue(os.dup(fd), link_type, complaint)
    if sink == ffi.NULL:
        raise InputError(ffi.string(complaint).decode(errors="replace"))
    written = Written(int(lib.mb_sink_found(sink)), int(lib.mb_sink_found_bytes(sink)))
    lib.mb_sink_close(sink)
    return written
