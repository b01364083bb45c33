"""The capture, looked at before all else: a wrong file is said at once. And the output."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from microbox._core import ffi, lib
from microbox.chain.model import INPUT_BYTES_MAX_DEFAULT, STANDARD_INPUT
from microbox.runtime.errors import InputError
from microbox.runtime.inputs.stream import begin, head_of, may_stream
from microbox.runtime.inputs.unpack import is_packed, unpack


@dataclass(frozen=True, slots=True)
class Capture:
    """An input that can be mapped; or where it has a head, one that is read as it comes."""

    fd: int  # for whoever opened it to close
    warning: str = ""  # why it is not all of the input; "" where it is
    head: int | None = None  # memory with what was read of it; likewise

    @property
    def is_stream(self) -> bool:
        """It is read as it comes."""
        return self.head is not None

    @property
    def descriptors(self) -> list[int]:
        """What a worker needs."""
        return [self.fd] if self.head is None else [self.fd, self.head]

    def close(self) -> None:
        """Closes all of them."""
        for fd in self.descriptors:
            os.close(fd)


def open_capture(
    path: Path, most: int = INPUT_BYTES_MAX_DEFAULT, *, streams: bool = False
) -> Capture:
    """A file that is a capture, or standard input; packed or not. What cannot be mapped as it is
    is read to its end into memory, at most `most` bytes; but where it `streams`, a pipe is read as
    it comes, once its first bytes are there. Raises InputError."""
    is_piped = path == STANDARD_INPUT
    if is_piped:
        capture = _standard_input(most, streams)
    elif streams and path.is_fifo():
        capture = _named_pipe(path, most)
    else:
        capture = _file(path, most)
    try:
        _check("standard input" if is_piped else str(path), capture)
    except InputError:
        capture.close()
        raise
    return capture


def about_input(read: str, capture: Capture) -> str:
    """All that is to be said of an input, where `read` is what its reader said."""
    return "; ".join(filter(None, (read, capture.warning)))


def _standard_input(most: int, streams: bool) -> Capture:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("standard input: expected a capture from a pipe, found none")
    fd = sys.stdin.fileno()
    if streams and may_stream(fd):
        return _stream(fd, "standard input", most)
    return Capture(*unpack(fd, "standard input", most))


def _named_pipe(path: Path, most: int) -> Capture:
    """Waits for who writes it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    try:
        return _stream(fd, str(path), most)
    finally:
        os.close(fd)


def _stream(fd: int, name: str, most: int) -> Capture:
    try:
        beginning = begin(fd)
        if beginning.is_stream:
            return Capture(os.dup(fd), head=head_of(beginning))
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from None
    return Capture(*unpack(fd, name, most, beginning.read))


def _file(path: Path, most: int) -> Capture:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    try:
        _check_kind(path, fd)
        if not is_packed(fd):
            return Capture(os.dup(fd))
        return Capture(*unpack(fd, str(path), most))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    finally:
        os.close(fd)


def _check_kind(path: Path, fd: int) -> None:
    mode = os.fstat(fd).st_mode
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a directory; expected a capture file")
    if not stat.S_ISREG(mode):
        raise InputError(
            f"{path}: is no regular file, and can only be read as it comes: by `microbox run`, "
            "alone, with one worker"
        )


def _check(name: str, capture: Capture) -> None:
    complaint = ffi.new("char[]", lib.MB_ERROR_SIZE)
    fd = capture.fd if capture.head is None else capture.head
    source = lib.mb_source_open(fd, os.fsencode(name), complaint)
    if source == ffi.NULL:
        words: str = ffi.string(complaint).decode(errors="replace")
        words = words if words.startswith(name) else f"{name}: {words}"
        raise InputError(f"{words} ({capture.warning})" if capture.warning else words)
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
