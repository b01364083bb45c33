"""The connections of a control socket: how many, how much each brings, how long it is silent.

ZeroMQ sets no limits, and aborts the process when descriptors run out. So it listens where only
this process can connect, and whoever comes is connected to it from here, byte for byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
from collections.abc import Coroutine
from pathlib import Path

from microbox.runtime.control.budget import Budget

CONNECTIONS_MAX = 32
"""At once. Others wait in the kernel's queue until one ends."""

QUEUE = 128
"""Connections that wait there; who comes then waits to get into it, or tries again."""

BYTES_MAX = 4 << 20
"""That come on one connection, in its life: some 70,000 requests, or a message without an end.
Peers of ZeroMQ connect anew by themselves."""

GREETING_TIMEOUT = 2.0
"""Seconds within which a peer says that it speaks ZeroMQ."""

SILENCE_MAX = 150.0
"""Seconds without a byte from a peer, or for it: longer than the longest request takes."""

CHUNK = 1 << 16
CHUNK_COST = 0.0001
"""Seconds of a processor that it takes to pass one on, and its answer back."""

DESCRIPTORS = 2 * CONNECTIONS_MAX
"""That must be free where a connection is passed on, which takes two: ZeroMQ takes its own when its
thread comes to it, and NFs that start take some."""

RETRY = 1.0
"""Seconds after which it is tried again to accept."""


class Connections:
    """Passes on what comes while `accept` runs."""

    def __init__(self, path: Path, inside: Path, budget: Budget) -> None:
        """Listens at `path`. At `inside` ZeroMQ listens; that is unlinked, so that nobody else gets
        there. Raises OSError."""
        self._path = path
        self._budget = budget
        self._places = asyncio.Semaphore(CONNECTIONS_MAX)
        self._open: set[asyncio.Task[None]] = set()
        self._inside = os.open(inside, os.O_PATH | os.O_CLOEXEC)
        inside.unlink()
        try:
            self._listening = _listen(path)
        except OSError:
            os.close(self._inside)
            raise

    async def accept(self) -> None:
        """To be cancelled, which ends all connections."""
        try:
            while True:
                await self._places.acquire()
                await self._accept_one()
        finally:
            for connection in self._open:
                connection.cancel()

    async def _accept_one(self) -> None:
        await self._afford_chunk()
        try:
            peer, _ = await asyncio.get_running_loop().sock_accept(self._listening)
        except OSError:  # descriptors are short
            self._places.release()
            await asyncio.sleep(RETRY)
            return
        connection = asyncio.create_task(self._pass_on(peer))
        self._open.add(connection)
        connection.add_done_callback(self._ended)

    def _ended(self, connection: asyncio.Task[None]) -> None:
        self._open.discard(connection)
        self._places.release()

    async def _pass_on(self, peer: socket.socket) -> None:
        """Both ways, until either end has enough."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, EOFError), peer:
            async with asyncio.timeout(GREETING_TIMEOUT):
                greeting = await loop.sock_recv(peer, CHUNK)
            if not greeting:
                return
            _check_descriptors()
            with socket.socket(socket.AF_UNIX) as inner:
                inner.setblocking(False)
                await loop.sock_connect(inner, f"/proc/self/fd/{self._inside}")
                await loop.sock_sendall(inner, greeting)
                await _until_one_ends(self._requests(peer, inner), self._answers(inner, peer))

    async def _requests(self, peer: socket.socket, inner: socket.socket) -> None:
        left = BYTES_MAX
        while left > 0:
            await self._afford_chunk()
            left -= await _pass_chunk(peer, inner)

    async def _answers(self, inner: socket.socket, peer: socket.socket) -> None:
        while True:
            await _pass_chunk(inner, peer)

    async def _afford_chunk(self) -> None:
        await asyncio.sleep(self._budget.wait())
        with self._budget.spending(at_least=CHUNK_COST):
            pass

    def close(self) -> None:
        """Removes the socket."""
        self._listening.close()
        os.close(self._inside)
        with contextlib.suppress(OSError):
            self._path.unlink()


def _listen(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(str(path))
        listening.listen(QUEUE)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _check_descriptors() -> None:
    """Raises OSError where so few are left that ZeroMQ might find none, and abort. To try whether
    so many can be had would leave none to its thread meanwhile."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = sum(int(file.name) < limit for file in Path("/proc/self/fd").iterdir())
    if limit - taken < DESCRIPTORS:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def _pass_chunk(source: socket.socket, sink: socket.socket) -> int:
    """Its bytes. Raises OSError, which a timeout is too; EOFError at the end."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(SILENCE_MAX):
        chunk = await loop.sock_recv(source, CHUNK)
        await loop.sock_sendall(sink, chunk)
    if not chunk:
        raise EOFError
    return len(chunk)


async def _until_one_ends(*ways: Coroutine[None, None, None]) -> None:
    """And then none goes on. Raises what ended it."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()
