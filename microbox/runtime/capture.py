"""Looks at the capture before anything is started: a wrong file is said at once."""

from __future__ import annotations

import os
import stat
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
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o666)
        if os.path.samestat(os.fstat(fd), os.fstat(capture)):
            os.close(fd)
            raise InputError(f"{path}: is the input; expected another file to write to")
        os.ftruncate(fd, 0)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    return fd
