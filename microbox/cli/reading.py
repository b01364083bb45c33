"""Ctrl-C while standard input is read. It reaches whoever writes the pipe as well, and people so
end `tcpdump -w - | microbox run -r - chain.yaml`: what was captured is to be processed then."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NOTE = "the run begins when its input has come; interrupt again to give up"


@contextmanager
def reading_to_the_end() -> Iterator[None]:
    """The first SIGINT ends nothing; a second one raises KeyboardInterrupt."""

    def be_patient(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print(NOTE, file=sys.stderr, flush=True)

    before = signal.signal(signal.SIGINT, be_patient)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
