"""An NF's log: a file of lines (record_forms.py).

Where several processes share out an NF's flows, each writes a part of its log, with the place of
each line in front of it (runtime/outputs/log_parts.py).

What cannot be written (a full disk) is counted and told once; the file always ends with a whole
line.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microbox._core import lib
from microbox.nf.errors import UsageError
from microbox.nf.event import Event
from microbox.nf.record_forms import form_of

BUFFER_SIZE = 1 << 18  # bytes that are written at once
TIME_NAMES = frozenset(("timestamp",))
HEADER_NAMES = TIME_NAMES.union("flow_id src_ip src_port dest_ip dest_port proto".split())


@dataclass(frozen=True, slots=True)
class RecordFile:
    """Where records go. `descriptor`: of the file, which the log closes; -1: the log makes it. One
    that is open for appending keeps what is in it: a process of the NF before has written that."""

    path: Path
    descriptor: int = -1
    is_part: bool = False  # of a log that several processes write: each line has its place in front
    format: str = "json"  # record_forms.FORMATS
    utc: bool = False  # times as text instead of numbers


class RecordLog:
    """One NF's log file, made at its first line; or made before, by whoever may."""

    def __init__(self, file: RecordFile, *, name: str, tell: Callable[[str], None]) -> None:
        """`name`: the NF's. `tell` gets a sentence when writing fails."""
        self.path = file.path
        self._made = file.descriptor
        self.written = 0  # lines in the file
        self.lost = 0  # lines that could not be written
        self._form = form_of(file.format, name, utc=file.utc)
        self.is_part = file.is_part
        self._place = 0
        self._tell = tell
        self._fd = -1
        self._good_size = 0  # bytes up to the end of the last whole line
        self._lines: list[bytes] = []
        self._size = 0
        self._failed = False

    @property
    def is_made(self) -> bool:
        """True when there is a file with lines in it."""
        return self._fd >= 0 or self.written > 0

    def write(
        self, time: int, event: Event | None, fields: Mapping[str, Any], place: int = 0
    ) -> None:
        """Adds a line, caused at `place` (place_of). Raises UsageError for what JSON cannot say."""
        names = TIME_NAMES if event is None else HEADER_NAMES
        if not names.isdisjoint(fields):
            taken = ", ".join(sorted(names.intersection(fields)))
            raise UsageError(f"record: every line has {taken} already; use another name")
        line = f"{self._form.line(time, event, fields)}\n"
        if self.is_part:
            self._place = max(self._place, place)  # a batch is gone through in any order
            line = f"{self._place:064x} {line}"
        octets = line.encode("utf-8", "backslashreplace")
        self._lines.append(octets)
        self._size += len(octets)
        if self._size >= BUFFER_SIZE:
            self.flush()

    def flush(self) -> None:
        """Writes what is buffered. Never raises for a disk that is full or gone."""
        if not self._lines:
            return
        lines, self._lines, self._size = self._lines, [], 0
        octets = b"".join(lines)
        try:
            self._open()
            done = self._write(octets)
        except OSError as error:
            self._complain(error)
            self.lost += len(lines)
            return
        whole = octets.count(b"\n", 0, done)
        self.written += whole
        self.lost += len(lines) - whole

    def _open(self) -> None:
        if self._fd >= 0:
            return
        if self._made >= 0:
            self._fd, self._made = self._made, -1
            if fcntl.fcntl(self._fd, fcntl.F_GETFL) & os.O_APPEND:
                self._good_size = os.fstat(self._fd).st_size
            else:
                os.ftruncate(self._fd, 0)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._fd = os.open(self.path, flags, 0o644)

    def _write(self, octets: bytes) -> int:
        """Bytes of whole lines that are in the file now."""
        done = 0
        view = memoryview(octets)
        try:
            while done < len(octets):
                done += os.write(self._fd, view[done:])
        except OSError as error:
            self._complain(error)
            done = octets.rfind(b"\n", 0, done) + 1
            os.ftruncate(self._fd, self._good_size + done)
            os.lseek(self._fd, 0, os.SEEK_END)
        self._good_size += done
        return done

    def _complain(self, error: OSError) -> None:
        if not self._failed:
            self._failed = True
            self._tell(f"{self.path} cannot be written: {error.strerror}; lines are lost")

    def go_on_in(self, descriptor: int) -> None:
        """Writes what is buffered into the file as it was, and lines from now on into another one,
        which is open for appending. Takes `descriptor`."""
        self.close()
        self._made = descriptor
        self._good_size = 0

    def close(self) -> None:
        """Writes what is buffered and closes the file."""
        self.flush()
        for descriptor in (self._fd, self._made):
            if descriptor >= 0:
                os.close(descriptor)
        self._fd = self._made = -1


def place_of(reader: Any, delivery: Any) -> int:
    """Where one process with one worker would come to a delivery (struct mb_record_place): a number
    of 256 bits."""
    place = lib.mb_record_place_of(reader, delivery)
    return (int(place.packet) << 192 | int(place.order) << 128 | int(place.position) << 64) | int(
        place.among
    )
