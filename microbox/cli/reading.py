"""Waiting for standard input or a pipe, before a run begins: for its first bytes, or for all of it.

Ctrl-C reaches whoever writes the pipe as well, and people so end `tcpdump -w - | microbox run -r -
chain.yaml`: what was captured is to be processed then.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

NOTE = "the run begins when its input has come; interrupt again to give up"
WAITS = "waits for its input"
PATIENCE = 5.0  # seconds until it is said that it waits


@contextmanager
def reading_to_the_end(tell: Callable[[str], None]) -> Iterator[None]:
    """The first SIGINT ends nothing; a second one raises KeyboardInterrupt. What people are to
    know meanwhile is told."""

    def be_patient(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        tell(NOTE)

    before = signal.signal(signal.SIGINT, be_patient)
    waits = threading.Timer(PATIENCE, tell, [WAITS])
    waits.start()
    try:
        yield
    finally:
        waits.cancel()
        waits.join()
        signal.signal(signal.SIGINT, before)
