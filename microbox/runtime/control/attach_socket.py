"""The socket on which NFs in terminals ask for a place in a run: AF_UNIX SOCK_SEQPACKET beside the
control socket, since ZeroMQ cannot carry descriptors. What comes on a connection is a channel
(`microbox.channel`), from the first message on.

Only the user whose run it is gets as far as a message: the directory and the socket are the user's
alone, and the kernel says who connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from microbox.runtime.control.control_socket import ControlError
from microbox.runtime.processes.foreign_process import Peer, PeerError, peer_of

GUESTS_MAX = 8
"""NFs that are being looked after at a time, until they are attached or refused; others wait. A
number that no person reaches, though programs do. Each has a connection for each worker."""

RETRY = 1.0  # seconds after which it is tried again to accept

Welcome = Callable[[socket.socket, Peer], Awaitable[None]]
"""Owns the socket, and raises nothing."""


class AttachSocket:
    """Listens until it is closed."""

    def __init__(self, path: Path, welcome: Welcome, workers: int) -> None:
        """Raises ControlError."""
        self.path = path
        connections_max = GUESTS_MAX * workers
        self._room = asyncio.Semaphore(connections_max)
        self._welcome = welcome
        self._guests: set[asyncio.Task[None]] = set()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        before = os.umask(0o177)
        try:
            self._socket.bind(str(path))
            self._socket.listen(connections_max)
            self._socket.setblocking(False)
        except OSError as error:
            self._socket.close()
            raise ControlError(f"{path}: {error.strerror}") from None
        finally:
            os.umask(before)
        self._accepting = asyncio.create_task(self._accept())

    async def _accept(self) -> None:
        while True:
            await self._room.acquire()
            while (connected := await self._next()) is None:
                await asyncio.sleep(RETRY)
            self._take(connected)

    async def _next(self) -> socket.socket | None:
        """Who comes next; None where descriptors are short."""
        try:
            connected, _ = await asyncio.get_running_loop().sock_accept(self._socket)
        except OSError:
            return None
        return connected

    def _take(self, connected: socket.socket) -> None:
        try:
            peer = peer_of(connected)
        except (OSError, PeerError):
            peer = None
        if peer is None or peer.user != os.geteuid():
            connected.close()
            self._room.release()
            return
        guest = asyncio.ensure_future(self._welcome(connected, peer))
        self._guests.add(guest)
        guest.add_done_callback(self._is_seen_to)

    def _is_seen_to(self, guest: asyncio.Task[None]) -> None:
        self._guests.discard(guest)
        self._room.release()

    async def close(self) -> None:
        """Removes the socket. Who is not attached yet is not going to be."""
        self._accepting.cancel()
        await asyncio.gather(self._accepting, return_exceptions=True)
        self._socket.close()
        with contextlib.suppress(OSError):
            self.path.unlink()
        for guest in self._guests:
            guest.cancel()
        await asyncio.gather(*self._guests, return_exceptions=True)


def connect(path: Path) -> socket.socket:
    """A connection to the run that listens there. Raises ControlError."""
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connected.connect(str(path))
        peer = peer_of(connected)
    except (OSError, PeerError) as error:
        connected.close()
        raise ControlError(f"{path.stem} takes no NFs in: {error}") from None
    if peer.user != os.geteuid():
        connected.close()
        raise ControlError(f"{path}: belongs to user {peer.user}")
    return connected
