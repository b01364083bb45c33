"""A process that came by itself: no child of the controller's, known by the descriptor that the
kernel gives for whoever is at the other end of a socket."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from dataclasses import dataclass

from microbox.runtime.processes.supervisor import UNKNOWN

SO_PEERPIDFD = 77  # Linux 6.5; asm-generic/socket.h
_CREDENTIALS = struct.Struct("iII")  # struct ucred: process, user, group


class PeerError(Exception):
    """Who is at the other end cannot be told, or is nobody to talk to. Says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who connected a socket."""

    process: int
    user: int


def peer_of(connected: socket.socket) -> Peer:
    """As the kernel noted it when the socket was connected. Raises PeerError where the process is
    none of this PID namespace."""
    option = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(option)
    if process == 0:
        raise PeerError("its process cannot be seen from here (another PID namespace)")
    return Peer(process, user)


def pidfd_of(connected: socket.socket, peer: Peer) -> int:
    """A descriptor of the peer's process. Raises PeerError where it is gone."""
    try:
        return connected.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError:
        return _opened(connected, peer)


def _opened(connected: socket.socket, peer: Peer) -> int:
    """Where the kernel is older: by number. A socket that is still connected then shows that the
    number is still that process's, unless it gave its end away, which an NF may not."""
    try:
        pidfd = os.pidfd_open(peer.process)
    except OSError:
        raise PeerError("its process is gone") from None
    waiting = select.poll()
    waiting.register(connected, 0)
    if not waiting.poll(0):  # POLLHUP would come unasked
        return pidfd
    os.close(pidfd)
    raise PeerError("its process is gone")


class ForeignProcess:
    """As asyncio.subprocess.Process, as far as a Child needs it. How it ended is not known."""

    def __init__(self, pid: int, pidfd: int) -> None:
        """`pidfd` stays the caller's, who closes it when the process is gone."""
        self.pid = pid
        self._pidfd = pidfd
        self._gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, self.let_go)

    def let_go(self) -> None:
        """It is not waited for any more: as if it were gone."""
        asyncio.get_running_loop().remove_reader(self._pidfd)
        self._gone.set()

    @property
    def returncode(self) -> int | None:
        """None while it lives."""
        return UNKNOWN if self._gone.is_set() else None

    async def wait(self) -> int:
        """Until it is gone."""
        await self._gone.wait()
        return UNKNOWN
