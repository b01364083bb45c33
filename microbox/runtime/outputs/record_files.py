"""The files that NFs write their records to: made here, since an NF may open none itself.

A file may get another name while its NF writes it (logrotate). On request a new one of the first
name takes its place; both are held open here until nobody writes to the old one any more: names no
longer say where the line is that a process was killed in.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from microbox.channel.messages import Problem

PART = ".part"  # how names of parts end (log_parts.py)
CHUNK = 1 << 16  # bytes that are read at once
FIRST_LINES = 10  # of a log, that are remembered when its file has got another name
MODE = 0o644


@dataclass(slots=True)
class Made:
    """A log: the files that it is in, as descriptors to read and write. The newest is the last one;
    those before are still written to. None where nobody writes to the log any more."""

    files: list[int]
    is_ours: bool  # False: something was there before this run, and is until the first line
    first_lines: list[bytes] = field(default_factory=list)  # of the log, when files were settled

    def is_at(self, path: Path) -> bool:
        """True where the newest file bears that name."""
        try:
            return os.path.samestat(path.stat(), os.fstat(self.files[-1]))
        except OSError:
            return False

    def settle(self) -> None:
        """Nobody writes to the oldest file any more, which has another name."""
        oldest = self.files.pop(0)
        self.first_lines = _with_lines_of(oldest, self.first_lines)
        os.close(oldest)

    def close(self) -> None:
        """Closes the files."""
        for descriptor in self.files:
            os.close(descriptor)
        self.files.clear()


class RecordFiles:
    """The files of a run. An NF that records nothing leaves none."""

    def __init__(self, directory: Path, on_problem: Callable[[str, Problem], None]) -> None:
        """`on_problem` gets the NF's name and what is wrong with its file."""
        self._directory = directory
        self._on_problem = on_problem
        self._made: dict[str, Made] = {}  # by the file's name

    @contextlib.contextmanager
    def opened(self, name: str, file: str) -> Iterator[list[int]]:
        """The descriptor of the file of NF `name` for as long as it takes to send it; none where it
        cannot be made."""
        try:
            descriptor = self._open(file)
        except OSError as error:
            self._complain(name, file, error)
            yield []
            return
        try:
            yield [descriptor]
        finally:
            os.close(descriptor)

    def _complain(self, name: str, file: str, error: OSError) -> None:
        path = self._directory / file
        message = f"{path} cannot be written: {error.strerror}; lines are lost"
        self._on_problem(name, Problem("warning", message))

    def _open(self, file: str) -> int:
        """A file of this run is opened for appending: a process before has written to it. A part
        that is there was left by a run that was cut off, and is none of this one's log."""
        path, made = self._directory / file, self._made.get(file)
        if path.suffix == PART and made is None:
            path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, MODE)
            is_ours = True
        except FileExistsError:
            is_ours = made is not None and made.is_ours
            descriptor = os.open(path, flags | (os.O_APPEND if is_ours else 0))
        try:
            self._hold(file, os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC))
        except OSError:
            os.close(descriptor)
            raise
        self._made[file].is_ours = is_ours
        return descriptor

    def _hold(self, file: str, descriptor: int) -> None:
        made = self._made.setdefault(file, Made([], is_ours=False))
        if made.files and os.path.sameopenfile(made.files[-1], descriptor):
            os.close(descriptor)
        else:
            made.files.append(descriptor)

    def renew(self) -> set[str]:
        """Makes each file anew that has another name now: a log, or a part of one. Returns the
        names of these files; their NFs write to the old ones until they are given the new ones."""
        moved = {
            file: made
            for file, made in self._made.items()
            if made.files and not made.is_at(self._directory / file)
        }
        renewed = set()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        for file, made in moved.items():
            try:
                made.files.append(os.open(self._directory / file, flags, MODE))
            except OSError as error:
                self._complain(Path(file).stem, file, error)
                continue
            made.is_ours = True
            renewed.add(file)
        return renewed

    def settle(self, file: str) -> None:
        """The process that wrote to the log's old file has gone on in the new one."""
        made = self._made.get(file)
        if made is not None and len(made.files) > 1:
            made.settle()

    def release(self, file: str) -> None:
        """Nobody writes to the log any more, unless another process is given it again. Who looks on
        comes and goes often, and leaves no file."""
        made = self._made.get(file)
        if made is None:
            return
        while made.files and not made.is_at(self._directory / file):
            made.settle()
        while len(made.files) > 1:
            made.settle()
        made.close()
        self._remove_if_empty(file, made)
        if not made.first_lines and not (self._directory / file).exists():
            del self._made[file]

    def earlier_lines(self, file: str) -> list[bytes]:
        """The first lines of a log that are in files of other names by now: FIRST_LINES at most."""
        made = self._made.get(file)
        if made is None:
            return []
        lines = made.first_lines
        for descriptor in made.files[:-1]:
            lines = _with_lines_of(descriptor, lines)
        return lines

    def cut(self, file: str) -> None:
        """Cuts off the line that the process that wrote the log was killed in."""
        made = self._made.get(file)
        if made is None or not made.is_ours:
            return
        for descriptor in made.files:
            with contextlib.suppress(OSError):
                _cut_to_whole_lines(descriptor)

    def close(self) -> None:
        """Removes files that were made and not written to."""
        for file, made in self._made.items():
            self._remove_if_empty(file, made)
            made.close()
        self._made.clear()

    def _remove_if_empty(self, file: str, made: Made) -> None:
        path = self._directory / file
        with contextlib.suppress(OSError):
            if made.is_ours and path.stat().st_size == 0:
                path.unlink()


def _with_lines_of(descriptor: int, lines: list[bytes]) -> list[bytes]:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        missing = FIRST_LINES - len(lines)
        return lines + [line for _, line in zip(range(missing), file, strict=False)]


def _cut_to_whole_lines(descriptor: int) -> None:
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - CHUNK)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            os.ftruncate(descriptor, start + newline + 1)
            return
        end = start
    os.ftruncate(descriptor, 0)
