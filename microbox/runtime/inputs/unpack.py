"""Captures that cannot be mapped as they are, packed or from a pipe, put into sealed memory.

Everything is read first, since the frame pool is mapped whole. What comes is not trusted: a small
packed file may stand for any number of bytes, so these are counted while they come, and a step of
unpacking is small. Sealed, since NFs map it: none can change what the others read.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator
from typing import Protocol

from microbox.chain.named_files import GZIP_MAGIC, MAGIC_SIZE, ZSTD_MAGIC
from microbox.chain.units import format_size
from microbox.runtime.errors import InputError

READ_SIZE = 1 << 16
UNPACKED_STEP = 1 << 20
ZSTD_STEP = 2048
"""Packed bytes at a time: four bytes stand for 128 KiB at most, so at most 64 MiB come of it."""
ZSTD_WINDOW_MAX = 1 << 27
"""Memory for one frame; what `zstd -d` takes without --long."""


class Broken(Exception):
    """The packed data make no sense from here on."""


class Format(Protocol):
    """Unpacks one stream, or several in a row."""

    name: str

    @property
    def is_whole(self) -> bool:
        """True where the input may end here."""

    def unpack(self, packed: bytes) -> Iterator[bytes]:
        """What comes of the next bytes, in pieces of bounded size. Raises Broken."""


class Plain:
    """What is not packed."""

    name = "plain"
    is_whole = True

    def unpack(self, packed: bytes) -> Iterator[bytes]:
        """The same bytes."""
        yield packed


class Gzip:
    """Members in a row (RFC 1952 section 2.2), and zeros behind them, as tapes and gzip have it."""

    name = "gzip"

    def __init__(self) -> None:
        self._member = self._begin()
        self.is_whole = False

    @staticmethod
    def _begin() -> zlib._Decompress:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS + 16)

    def unpack(self, packed: bytes) -> Iterator[bytes]:
        """Of all members that the bytes belong to."""
        while packed:
            if self.is_whole:
                packed = packed.lstrip(b"\0")
                if not packed:
                    return
                self._member = self._begin()
                self.is_whole = False
            try:
                yield self._member.decompress(packed, UNPACKED_STEP)
            except zlib.error as error:
                raise Broken(str(error)) from None
            self.is_whole = self._member.eof
            packed = self._member.unused_data if self.is_whole else self._member.unconsumed_tail


class Zstd:
    """Frames in a row (RFC 8878 section 3.1)."""

    name = "zstd"

    def __init__(self) -> None:
        import zstandard  # imported here: few inputs are packed so

        self._error = zstandard.ZstdError
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_MAX)
        self._frame = self._decompressor.decompressobj()
        self.is_whole = False

    def unpack(self, packed: bytes) -> Iterator[bytes]:
        """Of all frames that the bytes belong to."""
        for begin in range(0, len(packed), ZSTD_STEP):
            yield from self._step(packed[begin : begin + ZSTD_STEP])

    def _step(self, packed: bytes) -> Iterator[bytes]:
        while packed:
            if self.is_whole:
                self._frame = self._decompressor.decompressobj()
                self.is_whole = False
            try:
                yield self._frame.decompress(packed)
            except self._error as error:
                raise Broken(str(error)) from None
            self.is_whole = self._frame.eof
            packed = self._frame.unused_data if self.is_whole else b""


def format_of(first: bytes) -> Format:
    """By the magic number; a file's name says nothing."""
    if first.startswith(GZIP_MAGIC):
        return Gzip()
    if first.startswith(ZSTD_MAGIC):
        return Zstd()
    return Plain()


def is_packed(fd: int) -> bool:
    """Of a regular file."""
    return not isinstance(format_of(os.pread(fd, MAGIC_SIZE, 0)), Plain)


def unpack(fd: int, name: str, most: int, begun: bytes = b"") -> tuple[int, str]:
    """Reads `fd`, of which `begun` was read before, to its end; at most `most` bytes may come of
    it. Returns sealed memory, the caller's to close, and why it is not all of the input, "" where
    it is. Raises InputError."""
    memory = os.memfd_create("microbox input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        warning = _fill(memory, fd, name, most, begun)
        seal(memory)
    except OSError as error:
        os.close(memory)
        raise InputError(f"{name}: cannot be read into memory: {error.strerror}") from None
    except BaseException:
        os.close(memory)
        raise
    return memory, warning


def seal(memory: int) -> None:
    """Nobody can change the memory from here on. Raises OSError."""
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)


def _fill(memory: int, fd: int, name: str, most: int, begun: bytes) -> str:
    """Returns why it ended early, or ""."""
    packed = _first(fd, begun)
    form = format_of(packed)
    taken = written = 0
    while packed:
        taken += len(packed)
        try:
            for piece in form.unpack(packed):
                written += len(piece)
                if written > most:
                    raise InputError(_too_much(name, form, most))
                _write(memory, piece)
        except Broken as broken:
            return (
                f"the {form.name} data make no sense within the {len(packed)} bytes that end at "
                f"byte {taken} ({broken}); the {written} bytes before that were read"
            )
        packed = os.read(fd, READ_SIZE)
    if form.is_whole:
        return ""
    return (
        f"the {form.name} data end at byte {taken}, before their end; the {written} bytes that "
        "they hold were read"
    )


def _first(fd: int, begun: bytes) -> bytes:
    """Enough to know the format by: a pipe may bring single bytes."""
    first = begun or os.read(fd, READ_SIZE)
    while 0 < len(first) < MAGIC_SIZE:
        more = os.read(fd, READ_SIZE)
        if not more:
            break
        first += more
    return first


def _write(memory: int, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[os.write(memory, left) :]


def _too_much(name: str, form: Format, most: int) -> str:
    verb = "brings" if isinstance(form, Plain) else f"is {form.name} data that unpack to"
    return (
        f"{name}: {verb} more than {format_size(most)}, which is as much as `input_bytes_max` lets "
        "into memory; raise it in the chain file, or write the capture to a file, unpacked"
    )
