"""Child processes: started with a channel, watched, ended; their output read line by line.

A child is asked through its pidfd to die, so a process number that was used again is never hit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

from microbox.channel.async_channel import AsyncChannel
from microbox.channel.channel import ChannelClosed, ChannelError, pair
from microbox.channel.messages import Failed, Message, Problem
from microbox.runtime.observer import NOBODY, Speaker
from microbox.runtime.processes.validation import from_child

LINE_LIMIT = 4096
"""Characters of a line that a child prints; a longer one is shown in pieces."""

CHILD_ENVIRONMENT = {
    "PYTHONFAULTHANDLER": "1",  # a crash says where
    "PYTHONIOENCODING": "utf-8:backslashreplace",  # what is read here, in any locale
}

UNKNOWN = 256
"""Status of a process that is no child of this one, and is gone: more than any has."""

EXIT_PATIENCE = 5.0
"""Seconds from the end of a child's channel to its exit."""

Answer = TypeVar("Answer")
OnLine = Callable[[str, str, str], None]
"""Called with the child's name, "stdout" or "stderr", and the line."""
OnProblem = Callable[[str, Problem], None]
"""Called with the child's name and what it reported."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: its status, or the negative number of a signal."""

    status: int
    is_known: bool = True  # False: it is nobody of ours, so only that it is gone was seen

    def __str__(self) -> str:
        """In words that follow the process's name."""
        if not self.is_known:
            return "is gone"
        if self.status >= 0:
            return f"exited with status {self.status}"
        if self.status == -signal.SIGBUS:
            return "was killed by SIGBUS (was the capture made shorter while it was read?)"
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-self.status).name}"
        return f"was killed by signal {-self.status}"


class ChildError(Exception):
    """A child cannot go on; says which one and why."""

    def __init__(self, name: str, reason: str) -> None:
        """`reason` follows the child's name in a sentence."""
        super().__init__(f"{name} {reason}")
        self.name = name


class ChildDied(ChildError):
    """It is gone without a word."""

    def __init__(self, name: str, how: Exit) -> None:
        """`how` it ended."""
        super().__init__(name, str(how))
        self.how = how


class ChildFailed(ChildError):
    """It said itself that it cannot go on."""

    def __init__(self, name: str, failed: Failed) -> None:
        """`failed` is what it said."""
        super().__init__(name, f"failed: {failed.error}")
        self.failed = failed


class ChildHangs(ChildError):
    """It did not answer in time."""


class ChildBreaksProtocol(ChildError):
    """It said what no such child says."""


class Process(Protocol):
    """One that `start` started (asyncio.subprocess.Process), or one that came by itself."""

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def returncode(self) -> int | None:
        """None while it lives."""

    async def wait(self) -> int:
        """Until it is gone."""


@dataclass(eq=False, slots=True)
class Child:
    """One process. `start` makes it; `close` ends it whatever it does."""

    name: str
    process: Process
    channel: AsyncChannel
    pidfd: int
    on_problem: OnProblem
    printing: list[asyncio.Task[None]] = field(default_factory=list)
    watch: asyncio.Task[None] | None = None
    speaker: Speaker = NOBODY  # who is said to do what it does

    @classmethod
    async def start(cls, name: str, module: str, on_line: OnLine, on_problem: OnProblem) -> Self:
        """Starts `python -P -m module DESCRIPTOR`. `name` is for messages to people. Raises
        ChildError."""
        ours, theirs = pair()
        channel = AsyncChannel(ours, from_child)
        with theirs:
            process = await _start(name, module, theirs.fileno())
        child = cls(name, process, channel, os.pidfd_open(process.pid), on_problem)
        child.printing = [
            asyncio.create_task(_read_lines(stream, name, which, on_line))
            for stream, which in ((process.stdout, "stdout"), (process.stderr, "stderr"))
            if stream is not None
        ]
        child.watch_exit()
        return child

    def watch_exit(self) -> None:
        """From now on its exit ends its channel."""
        self.watch = asyncio.create_task(self.stop_receiving_at_exit())

    async def stop_receiving_at_exit(self) -> None:
        """Makes a waiting `receive` return even where a grandchild holds the channel open."""
        await self.process.wait()
        self.channel.stop_receiving()

    async def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Sends a message. Raises ChildDied when nobody is there any more, ChildError for a
        message that is too large or has values that cannot be sent."""
        try:
            await self.channel.send(message, fds)
        except ChannelClosed:
            raise ChildDied(self.name, await self.exited()) from None
        except ChannelError as error:
            raise ChildError(self.name, f"cannot be told what to do: {error}") from error

    async def receive(self) -> tuple[Message, list[int]]:
        """The next message that is not a Problem. Raises ChildDied, ChildBreaksProtocol."""
        while True:
            try:
                message, fds = await self.channel.receive()
            except ChannelClosed:
                raise ChildDied(self.name, await self.exited()) from None
            except ChannelError as error:
                raise ChildBreaksProtocol(self.name, f"breaks the protocol: {error}") from error
            if not isinstance(message, Problem):
                return message, fds
            self.on_problem(self.name, message)
            await asyncio.sleep(0)  # whoever floods this channel does not hold up the others

    async def expect(
        self, wanted: type[Answer], deadline: float, step: str
    ) -> tuple[Answer, list[int]]:
        """The answer to what was just sent. `step` says what the child should be doing now."""
        try:
            async with asyncio.timeout(deadline):
                message, fds = await self.receive()
        except TimeoutError:
            raise ChildHangs(
                self.name, f"hangs: no answer for {deadline:g} s while {step}"
            ) from None
        if isinstance(message, wanted):
            return message, fds
        for fd in fds:
            os.close(fd)
        if isinstance(message, Failed):
            raise ChildFailed(self.name, message)
        raise ChildBreaksProtocol(self.name, f"breaks the protocol: '{message.kind}' while {step}")

    async def exited(self, patience: float = EXIT_PATIENCE) -> Exit:
        """How it ended. One that does not end within `patience` seconds is killed."""
        try:
            async with asyncio.timeout(patience):
                await self.process.wait()
        except TimeoutError:
            self.kill()
            await self.process.wait()
        status = self.process.returncode
        return Exit(0 if status is None else status, is_known=status != UNKNOWN)

    @property
    def is_alive(self) -> bool:
        """False once its exit was seen."""
        return self.process.returncode is None

    def kill(self) -> None:
        """SIGKILL; nothing when it is gone, or has been let go of."""
        if not self.is_alive:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    async def close(self) -> None:
        """Ends the process if it lives, reads its last lines, closes what belongs to it."""
        self.kill()
        await self.process.wait()
        if self.watch is not None:
            await self.watch
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):  # its own children may hold the pipes open
                await asyncio.gather(*self.printing)
        self.channel.close()
        os.close(self.pidfd)


async def _start(name: str, module: str, channel: int) -> asyncio.subprocess.Process:
    """Raises ChildError."""
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            module,
            str(channel),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(channel,),
            env={**os.environ, **CHILD_ENVIRONMENT},
        )
    except OSError as error:
        raise ChildError(name, f"cannot be started: {error.strerror}") from error


async def _read_lines(stream: asyncio.StreamReader, name: str, which: str, on_line: OnLine) -> None:
    """Hands over line by line what comes, until the stream's end."""
    pending = b""
    while chunk := await stream.read(65536):
        *lines, pending = (pending + chunk).split(b"\n")
        if len(pending) > LINE_LIMIT:
            lines.append(pending)
            pending = b""
        _hand_over(lines, name, which, on_line)
    _hand_over([pending] if pending else [], name, which, on_line)


def _hand_over(lines: Sequence[bytes], name: str, which: str, on_line: OnLine) -> None:
    for line in lines:
        text = printable(line.decode(errors="replace"))
        for start in range(0, max(len(text), 1), LINE_LIMIT):
            on_line(name, which, text[start : start + LINE_LIMIT])


def printable(text: str) -> str:
    """The text without characters that would steer a terminal."""
    text = text.rstrip("\r")
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character == "\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
