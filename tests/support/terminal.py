"""A terminal, as a person has it: what a process shows there can be waited for, and typed to."""

from __future__ import annotations

import os
import select
import subprocess
import termios
import time

from tests.conftest import MICROBOX, Workbench


class Terminal:
    """A terminal with one process in its foreground."""

    def __init__(
        self, bench: Workbench, *arguments: object, columns: int = 120, term: str = "dumb"
    ) -> None:
        self._ours, theirs = os.openpty()
        termios.tcsetwinsize(theirs, (25, columns))
        self._text = ""
        self.process = subprocess.Popen(
            [str(MICROBOX), *map(str, arguments)],
            cwd=bench.folder,
            env={**bench.environment(), "TERM": term},
            preexec_fn=lambda: os.login_tty(theirs),  # noqa: PLW1509 (no other thread runs)
        )
        os.close(theirs)

    def wait_for(self, words: str, seconds: float = 30) -> str:
        """What it has shown, up to these words."""
        deadline = time.monotonic() + seconds
        while words not in self._text:
            left = deadline - time.monotonic()
            assert left > 0, f"it does not show '{words}', but: {self._text}"
            if select.select([self._ours], [], [], left)[0]:
                self._text += self._read()
        shown, _, self._text = self._text.partition(words)
        return shown

    def _read(self) -> str:
        try:
            return os.read(self._ours, 65536).decode()
        except OSError as error:  # nobody has it open any more
            raise AssertionError(f"it ended, having shown: {self._text}") from error

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
