"""What an NF is, said by its own process: a user's code is never imported here.

Each NF is loaded in a process of its own, with no log directory, which means that it is only to be
described; then the process is told to stop.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from microbox.chain.model import ChainNF
from microbox.channel.channel import Channel, ChannelClosed, ChannelError, Decoder, pair
from microbox.channel.messages import Failed, Load, Manifest, Stop

PROCESS_MODULE = "microbox.nf.process"
START_SECONDS = 30.0
STOP_SECONDS = 2.0
AT_ONCE = 2 * (os.cpu_count() or 1)
_LAST_OUTPUT = 2000  # characters of what a process printed before it died


@dataclass(frozen=True, slots=True)
class NotDescribed:
    """An NF that cannot be loaded. `line` is in its own file; 0: not known."""

    error: str
    hint: str = ""
    traceback: str = ""
    line: int = 0


def describe_all(
    nfs: Sequence[ChainNF], decode: Decoder, seconds: float = START_SECONDS
) -> list[Manifest | NotDescribed]:
    """What each of the NFs is, in their order. Each has `seconds` to say it.

    `decode` checks what the processes say.
    """
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(lambda nf: describe(nf, decode, seconds), nfs))


def describe(
    nf: ChainNF, decode: Decoder, seconds: float = START_SECONDS
) -> Manifest | NotDescribed:
    """What one NF is."""
    ours, theirs = pair()
    with tempfile.TemporaryFile() as output, Channel(ours, decode) as channel:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", PROCESS_MODULE, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            return _ask(nf, channel, seconds)
        except ChannelClosed:
            status = process.wait(STOP_SECONDS)
            return NotDescribed(f"its process ended with status {status}", "", _tail(output))
        except ChannelError as error:
            return NotDescribed(f"what its process said is no message: {error}")
        finally:
            _end(process, channel)


def _ask(nf: ChainNF, channel: Channel, seconds: float) -> Manifest | NotDescribed:
    channel.send(Load(nf.name, str(nf.source.absolute()), nf.parameters))
    if not channel.poll(seconds):
        return NotDescribed(f"loading '{nf.source}' took more than {seconds:g} seconds")
    message, _ = channel.receive()
    if isinstance(message, Manifest):
        return message
    if isinstance(message, Failed):
        return _not_described(message, nf.source.absolute())
    return NotDescribed(f"its process said '{message.kind}' in place of what it is")


def _not_described(failed: Failed, source: Path) -> NotDescribed:
    """With the line of the NF's own file: the one that the error names, "(my_nf.py:9)", which then
    says all, or the last one that the traceback has."""
    named = re.findall(rf"\({re.escape(source.name)}:(\d+)\)", failed.error)
    if named:
        return NotDescribed(failed.error, failed.hint, line=int(named[0]))
    frames = re.findall(rf'File "{re.escape(str(source))}", line (\d+)', failed.traceback)
    line = int(frames[-1]) if frames else 0
    return NotDescribed(failed.error, failed.hint, failed.traceback, line)


def _tail(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode("utf-8", "replace")[-_LAST_OUTPUT:]


def _end(process: subprocess.Popen[bytes], channel: Channel) -> None:
    """Asks the process to stop, and waits for it; one that does not is killed."""
    if process.poll() is None:
        try:
            channel.send(Stop())
        except (ChannelError, OSError):
            process.kill()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
