"""Several captures that are one input, put into sealed memory one behind the other: the frame pool
is one map, so files that are mapped cannot follow each other in it.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from microbox._core import ffi, lib
from microbox.chain.model import INPUT_BYTES_MAX_DEFAULT, STANDARD_INPUT, Input
from microbox.chain.units import format_size
from microbox.runtime.errors import InputError
from microbox.runtime.inputs.capture import Capture, about_input, open_capture
from microbox.runtime.inputs.unpack import seal

SECOND = 1e9  # nanoseconds


def open_input(
    given: Input, most: int = INPUT_BYTES_MAX_DEFAULT, *, streams: bool = False
) -> Capture:
    """What a chain reads; a single file is mapped as it is; `streams`: a pipe is read as it comes.
    Raises InputError."""
    files = files_of(given.paths)
    try:
        if len(files) == 1:
            return open_capture(files[0], most, streams=streams)
        return open_several(files, most)
    except InputError as error:
        if any(path.is_dir() for path in given.paths):
            raise InputError(f"{error} (of a directory, all files are read)") from None
        raise


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files, and those of each directory in the order of their names, numbers in these by their
    value, as rotating captures name them. Raises InputError."""
    files = [file for path in paths for file in _files(path)]
    if len(files) > 1 and STANDARD_INPUT in files:
        raise InputError("standard input is an input alone; write it into a file to add others")
    return files


def open_several(files: Sequence[Path], most: int) -> Capture:
    """All packets, in the order of the files; at most `most` bytes. Raises InputError, with the
    file that does not go behind those before it."""
    memory = os.memfd_create("microbox input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    joint = _Joint(memory, most)
    try:
        warnings = [joint.append(file) for file in files]
        joint.close()
        seal(memory)
    except OSError as error:
        os.close(memory)
        names = f"{files[0]} and the others"
        raise InputError(f"{names} cannot be read into memory: {error.strerror}") from None
    except BaseException:
        os.close(memory)
        raise
    finally:
        joint.give_up()
    return Capture(memory, "; ".join(filter(None, warnings)))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    try:
        found = [file for file in path.iterdir() if file.is_file() and file.name[0] != "."]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    if not found:
        raise InputError(f"{path}: has no files; expected captures")
    yield from sorted(found, key=lambda file: _by_value(file.name))


def _by_value(name: str) -> list[tuple[int, str]]:
    """Digits in a row compare as the number that they are."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


class _Joint:
    """The capture that is made."""

    def __init__(self, memory: int, most: int) -> None:
        self._memory = memory
        self._most = most
        self._sink: Any = ffi.NULL
        self._link_type = 0
        self._before: Path | None = None  # the last file that had packets
        self._last_time = 0
        self._size = 0  # bytes of the captures so far

    def append(self, file: Path) -> str:
        """What is to be said of the file; "" for nothing."""
        capture = open_capture(file, self._most)
        complaint = ffi.new("char[]", lib.MB_ERROR_SIZE)
        try:
            source = lib.mb_source_open(capture.fd, os.fsencode(file), complaint)
            if source == ffi.NULL:
                raise InputError(f"{file}: {ffi.string(complaint).decode(errors='replace')}")
            try:
                self._take(file, source)
                read = ffi.string(lib.mb_source_complaint(source)).decode(errors="replace")
            finally:
                lib.mb_source_close(source)
        finally:
            os.close(capture.fd)
        said = about_input(read, capture)
        return f"{file}: {said}" if said else ""

    def _take(self, file: Path, source: Any) -> None:
        self._size += int(lib.mb_source_pool_size(source))
        if self._size > self._most:
            raise InputError(
                f"{file}: with those before it more than {format_size(self._most)}, which is as "
                "much as `input_bytes_max` lets into memory; raise it in the chain file, or read "
                "fewer captures"
            )
        if self._sink == ffi.NULL:
            self._open(int(lib.mb_source_link_type(source)))
        joined = ffi.new("struct mb_joined *")
        result = lib.mb_join(self._sink, source, joined)
        if joined.packets:
            self._check_time(file, joined)
            self._before, self._last_time = file, max(self._last_time, int(joined.last_time))
        if result:
            raise self._refusal(file, joined, -result)

    def _open(self, link_type: int) -> None:
        """One input has one link type, which is the first file's."""
        complaint = ffi.new("char[]", lib.MB_ERROR_SIZE)
        self._sink = lib.mb_sink_open(os.dup(self._memory), link_type, complaint)
        if self._sink == ffi.NULL:
            raise InputError(ffi.string(complaint).decode(errors="replace"))
        self._link_type = link_type

    def _check_time(self, file: Path, joined: Any) -> None:
        """Timeouts would fire where time goes back."""
        if self._before is None or joined.first_time >= self._last_time:
            return
        seconds = (self._last_time - joined.first_time) / SECOND
        raise InputError(
            f"{file} begins {seconds:.6f} s before {self._before} ends; expected captures in the "
            "order of their times: name them so, or merge them first (mergecap -w all.pcap ...)"
        )

    def _refusal(self, file: Path, joined: Any, number: int) -> Exception:
        packet = f"{file}: packet {joined.packets + 1}"
        if number == errno.EPROTOTYPE:
            return InputError(
                f"{packet} has link type {joined.link_type}, the input in front of it "
                f"{self._link_type}; one input has one: read them in a run each"
            )
        if number == errno.EMSGSIZE:
            return InputError(f"{packet} is longer than a megabyte; read the capture alone")
        return OSError(number, os.strerror(number))

    def close(self) -> None:
        """All is in memory. Raises OSError."""
        sink, self._sink = self._sink, ffi.NULL
        result = lib.mb_sink_close(sink)
        if result:
            raise OSError(-result, os.strerror(-result))

    def give_up(self) -> None:
        """Frees what `close` would have."""
        if self._sink != ffi.NULL:
            lib.mb_sink_close(self._sink)
            self._sink = ffi.NULL
