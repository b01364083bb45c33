"""Lines to a descriptor whose reader may be slow, or gone: whoever hands them over never waits.

A thread writes. What there is no room for is refused, so that the caller can count it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

ROOM = 4096  # lines that wait to be written
END_PATIENCE = 2.0  # seconds that a reader has for what is left at the end


class UnhurriedOutput:
    """From when it is made until it is closed."""

    def __init__(self, descriptor: int, when_lost: Callable[[], None], room: int = ROOM) -> None:
        """`when_lost` is called in the writer's thread where nobody gets anything any more."""
        self._descriptor = descriptor
        self._when_lost = when_lost
        self._room = room
        self._changed = threading.Condition()
        self._waiting: list[bytes] = []
        self._in_writing = 0  # lines
        self._is_closed = False
        self._error: OSError | None = None
        # A process whose reader has stopped may exit all the same.
        self._writer = threading.Thread(target=self._write_all, daemon=True)
        self._writer.start()

    def put(self, line: str) -> bool:
        """Hands a line over; False where there is no room for it."""
        with self._changed:
            if self._error or len(self._waiting) >= self._room:
                return False
            self._waiting.append(line.encode("utf-8", "backslashreplace"))
            self._changed.notify()
        return True

    def close(self) -> int:
        """Waits a moment for what is left. Returns how many lines were not written.

        Raises OSError, as the descriptor did: nobody gets them.
        """
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._writer.join(END_PATIENCE)
        if self._error is not None:
            raise self._error
        return len(self._waiting) + self._in_writing

    def _write_all(self) -> None:
        while block := self._next_block():
            try:
                self._write(block)
            except OSError as error:
                self._error = error
                self._when_lost()
                return

    def _next_block(self) -> bytes:
        """All that waits, once something does; b"" when it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            lines, self._waiting = self._waiting, []
            self._in_writing = len(lines)
        return b"".join(lines)

    def _write(self, block: bytes) -> None:
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._in_writing = 0
