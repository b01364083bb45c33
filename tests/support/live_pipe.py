"""A run that reads a capture while a test writes it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Workbench

Run = subprocess.Popen[str]


class Pipe:
    """A run that reads a capture from a pipe, and who writes it."""

    def __init__(self, bench: Workbench, chain: Path, *options: object) -> None:
        """Nothing is written yet."""
        read_end, write_end = os.pipe()
        self.run: subprocess.Popen[str] = bench.start(
            "run", chain, "-r", "-", *options, stdin=read_end
        )
        os.close(read_end)
        self.writer: IO[bytes] = os.fdopen(write_end, "wb", buffering=0)

    def write(self, octets: bytes) -> None:
        """All of it, when the run has room."""
        while octets:
            octets = octets[self.writer.write(octets) :]

    def said(self) -> str:
        """The next line of standard output."""
        assert self.run.stdout is not None
        return self.run.stdout.readline().strip()

    def wait_until_said(self, expected: str) -> None:
        """Ends of flows are said between packets."""
        while (said := self.said()) != expected:
            assert said.startswith("tells: "), self.run.communicate()

    def noted(self) -> str:
        """The next line of standard error."""
        assert self.run.stderr is not None
        return self.run.stderr.readline().strip()
