"""What an NF is, said by its own process: a user's code is never imported here.

Each NF is loaded in a process of its own, with no log directory, which means that it is only to be
described; then the process is told to stop.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from microbox.chain.model import ChainNF
from microbox.channel.channel import Channel, ChannelClosed, ChannelError, Decoder, pair
from microbox.channel.messages import Confined, Failed, Load, Manifest, Message, Stop

PROCESS_MODULE = "microbox.nf.process"
START_SECONDS = 30.0
STOP_SECONDS = 2.0
AT_ONCE = max(8, 2 * (os.cpu_count() or 1))
_LAST_OUTPUT = 2000  # characters of what a process printed before it died
_OUTPUT_MAX = 64 << 20  # bytes that it may print, or write to any other file
_UTF8_MAX = 4  # bytes a character


@dataclass(frozen=True, slots=True)
class NotDescribed:
    """An NF that cannot be loaded. `line` is in its own file; 0: not known."""

    error: str
    hint: str = ""
    traceback: str = ""
    line: int = 0


Answer = Manifest | NotDescribed


def describe_all(
    nfs: Sequence[ChainNF], decode: Decoder, seconds: float = START_SECONDS
) -> list[Answer]:
    """What each of the NFs is, in their order. They have `seconds` to say it, `AT_ONCE` at a time.

    `decode` checks what the processes say.
    """
    answers: list[Answer] = []
    for first in range(0, len(nfs), AT_ONCE):
        with ExitStack() as stack:
            together = nfs[first : first + AT_ONCE]
            processes = [stack.enter_context(_Process(nf, decode)) for nf in together]
            deadline = time.monotonic() + seconds
            answers += [one.answer(deadline) for one in processes]
    return answers


class _Process:
    """The process of one NF, for as long as it takes to hear what the NF is."""

    def __init__(self, nf: ChainNF, decode: Decoder) -> None:
        self._nf = nf
        self._source = nf.source.absolute()
        ours, theirs = pair()
        self._channel = Channel(ours, decode)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", PROCESS_MODULE, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
            )
        with contextlib.suppress(ProcessLookupError):  # `answer` says how it ended
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (_OUTPUT_MAX, _OUTPUT_MAX))

    def __enter__(self) -> Self:
        with contextlib.suppress(ChannelClosed):  # `answer` says how it ended
            load = Load(
                self._nf.name,
                str(self._source),
                self._nf.parameters,
                sandbox=self._nf.sandbox,
                memory=self._nf.supervision.memory,
            )
            self._channel.send(load)
        return self

    def answer(self, deadline: float) -> Answer:
        """What it says until `deadline` (monotonic); then it is told to stop."""
        try:
            message = self._next(deadline)
            if isinstance(message, Confined):
                message = self._next(deadline)
        except TimeoutError:
            self._process.kill()
            return NotDescribed("it was not loaded in time", "does it wait for something?")
        except ChannelClosed:
            return self._death()
        except ChannelError as error:
            return NotDescribed(f"what its process said is no message: {error}")
        with contextlib.suppress(ChannelClosed):  # it may have ended by itself
            self._channel.send(Stop())
        if isinstance(message, Manifest):
            return message
        if isinstance(message, Failed):
            return _not_described(message, self._source)
        return NotDescribed(f"its process said '{message.kind}' in place of what it is")

    def _next(self, deadline: float) -> Message:
        """Raises TimeoutError, ChannelError."""
        if not self._channel.poll(max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        return self._channel.receive()[0]

    def _death(self) -> NotDescribed:
        try:
            status = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return NotDescribed("its process closed its channel")
        return NotDescribed(f"its process ended with status {status}", "", self._last_output())

    def _last_output(self) -> str:
        size = os.fstat(self._output.fileno()).st_size
        self._output.seek(max(0, size - _UTF8_MAX * _LAST_OUTPUT))
        return self._output.read(_UTF8_MAX * _LAST_OUTPUT).decode(errors="replace")[-_LAST_OUTPUT:]

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            self._process.kill()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._channel.close()
        self._output.close()


def _not_described(failed: Failed, source: Path) -> NotDescribed:
    """With the line of the NF's own file: the one that the error names, "(my_nf.py:9)", which then
    says all, or the last one that the traceback has."""
    named = re.findall(rf"\({re.escape(source.name)}:(\d+)\)", failed.error)
    if named:
        return NotDescribed(failed.error, failed.hint, line=int(named[0]))
    frames = re.findall(rf'File "{re.escape(str(source))}", line (\d+)', failed.traceback)
    line = int(frames[-1]) if frames else 0
    return NotDescribed(failed.error, failed.hint, failed.traceback, line)
