"""The files that NFs write their records to: made here, since an NF may open none itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from microbox.channel.messages import Problem

PART = ".part"  # how names of parts end (log_parts.py)
CHUNK = 1 << 16  # bytes that are read at once


class RecordFiles:
    """The files of a run. An NF that records nothing leaves none."""

    def __init__(self, directory: Path, on_problem: Callable[[str, Problem], None]) -> None:
        """`on_problem` gets the NF's name and what is wrong with its file."""
        self._directory = directory
        self._on_problem = on_problem
        self._made: list[Path] = []

    @contextlib.contextmanager
    def opened(self, name: str, file: str) -> Iterator[list[int]]:
        """The descriptor of the file of NF `name` for as long as it takes to send it; none where it
        cannot be made."""
        try:
            descriptor = self._open(self._directory / file)
        except OSError as error:
            message = f"{error.filename} cannot be written: {error.strerror}; lines are lost"
            self._on_problem(name, Problem("warning", message))
            yield []
            return
        try:
            yield [descriptor]
        finally:
            os.close(descriptor)

    def _open(self, path: Path) -> int:
        """A file of this run is opened for appending: a process before has written to it. A part
        that is there was left by a run that was cut off, and is none of this one's log."""
        flags = os.O_WRONLY | os.O_CLOEXEC
        if path.suffix == PART and path not in self._made:
            path.unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
            self._made.append(path)
            return descriptor
        if path not in self._made:
            return os.open(path, flags)
        return os.open(path, flags | os.O_APPEND)

    def cut(self, file: str) -> None:
        """Cuts off the line that the process that wrote the file was killed in."""
        path = self._directory / file
        if path in self._made:
            with contextlib.suppress(OSError):
                cut_to_whole_lines(path)

    def remove_empty(self) -> None:
        """Removes those that were made and not written to."""
        for path in self._made:
            with contextlib.suppress(OSError):
                if path.stat().st_size == 0:
                    path.unlink()
        self._made.clear()


def cut_to_whole_lines(path: Path) -> None:
    """Cuts off the line that a process was killed in."""
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - CHUNK)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                file.truncate(start + newline + 1)
                return
            end = start
        file.truncate(0)
