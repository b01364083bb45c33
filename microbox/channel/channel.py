"""A channel between the controller and a child: one message a datagram, descriptors beside it.

The socket is AF_UNIX SOCK_SEQPACKET: it keeps message boundaries, carries descriptors, and says
when the other end is gone. A message is msgpack, at most `MESSAGE_LIMIT` bytes; one that is
refused, for whatever reason, has its descriptors closed.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import os
import select
import socket
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import msgpack

from microbox.channel.messages import (
    Area,
    Attach,
    Map,
    Message,
    Neighbour,
    StartWorker,
    WorkerAreas,
)
from microbox.channel.wire import WireError, from_wire, to_wire

MESSAGE_LIMIT = 256 * 1024
"""Bytes of a message. The usual net.core.wmem_max (212,992, doubled by the kernel) allows it."""

DESCRIPTORS_MAX = 4

Decoder = Callable[[object], Message]
Received = tuple[Message, list[int]]


class ChannelError(Exception):
    """A message cannot be sent, or what came is not one."""


class ChannelClosed(ChannelError):
    """The other end is gone."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets, both inheritable by nobody."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Channel:
    """The blocking end, for children."""

    def __init__(self, connected: socket.socket, decode: Decoder = from_wire) -> None:
        """Owns `connected` from now on."""
        self._socket = _prepare(connected)
        self._socket.setblocking(True)
        self._decode = decode
        self._buffer = bytearray(MESSAGE_LIMIT)

    @classmethod
    def from_descriptor(cls, descriptor: int) -> Self:
        """The channel on an inherited descriptor, which no child of this process will inherit."""
        os.set_inheritable(descriptor, False)
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """The socket's descriptor, for select and poll."""
        return self._socket.fileno()

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Sends the message with copies of the descriptors, which stay the caller's."""
        _send(self._socket, _encode(message, fds), fds)

    def poll(self, timeout: float | None = 0) -> bool:
        """True when `receive` will not wait. `timeout` in seconds, None: for ever."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(None if timeout is None else timeout * 1000))

    def receive(self) -> Received:
        """The next message and its descriptors, which are the caller's to close.

        Raises ChannelClosed when the other end is gone, ChannelError when what came is no message.
        """
        return _receive(self._socket, self._buffer, self._decode)

    def close(self) -> None:
        """Closes the socket; the other end sees ChannelClosed."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncChannel:
    """The controller's end. One task receives, one task sends."""

    def __init__(self, connected: socket.socket, decode: Decoder = from_wire) -> None:
        """Owns `connected` from now on."""
        self._socket = _prepare(connected)
        self._socket.setblocking(False)
        self._decode = decode
        self._buffer = bytearray(MESSAGE_LIMIT)

    async def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """As Channel.send; waits while the other end does not read."""
        payload = _encode(message, fds)
        loop = asyncio.get_running_loop()
        while True:
            try:
                return _send(self._socket, payload, fds)
            except BlockingIOError:
                await self._ready(loop.add_writer, loop.remove_writer)

    async def receive(self) -> Received:
        """As Channel.receive."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return _receive(self._socket, self._buffer, self._decode)
            except BlockingIOError:
                await self._ready(loop.add_reader, loop.remove_reader)

    def stop_receiving(self) -> None:
        """What has come is still received, then ChannelClosed: for when the peer is known gone.

        Its own children may hold the other end open, so the kernel need not say so.
        """
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    async def _ready(self, add: Callable[..., Any], remove: Callable[..., Any]) -> None:
        ready = asyncio.Event()
        add(self._socket, ready.set)
        try:
            await ready.wait()
        finally:
            remove(self._socket)

    def close(self) -> None:
        """Closes the socket; the other end sees ChannelClosed."""
        self._socket.close()


def _prepare(connected: socket.socket) -> socket.socket:
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE_LIMIT)
    return connected


def descriptors_of(message: Message) -> int:
    """How many descriptors go with a message (order: as `messages.py` says)."""
    match message:
        case Area() | Attach() | Neighbour():
            return 1
        case StartWorker():
            return 2 if message.output else 1
        case Map():
            return 2
        case WorkerAreas():
            return 3
        case _:
            return 0


def _encode(message: Message, fds: Sequence[int]) -> bytes:
    expected = descriptors_of(message)
    if len(fds) != expected:
        raise ChannelError(f"'{message.kind}' takes {expected} descriptors, not {len(fds)}")
    try:
        payload: bytes = msgpack.packb(to_wire(message), use_bin_type=True)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ChannelError(f"'{message.kind}' cannot be sent: {error}") from error
    if len(payload) > MESSAGE_LIMIT:
        raise ChannelError(
            f"'{message.kind}' is too large: {len(payload):,} bytes, at most {MESSAGE_LIMIT:,}"
        )
    return payload


def _send(connected: socket.socket, payload: bytes, fds: Sequence[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        connected.sendmsg([payload], rights, socket.MSG_NOSIGNAL)
    except BlockingIOError:
        raise
    except (BrokenPipeError, ConnectionResetError) as error:
        raise ChannelClosed("the other end is gone") from error
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        room = connected.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        raise ChannelError(
            f"a message of {len(payload):,} bytes does not fit into the socket's buffer of "
            f"{room:,} bytes: raise net.core.wmem_max"
        ) from error


def _receive(connected: socket.socket, buffer: bytearray, decode: Decoder) -> Received:
    try:
        length, control, flags, _ = connected.recvmsg_into(
            [buffer],
            socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize),
            socket.MSG_CMSG_CLOEXEC,
        )
    except ConnectionResetError as error:
        raise ChannelClosed("the other end is gone") from error
    fds = _descriptors_in(control)
    if length == 0:
        _close_all(fds)
        raise ChannelClosed("the other end is gone")
    try:
        message = _decode(memoryview(buffer)[:length], flags, decode)
        expected = descriptors_of(message)
        if len(fds) != expected:
            raise ChannelError(
                f"'{message.kind}' comes with {expected} descriptors, not {len(fds)}"
            )
    except BaseException:
        _close_all(fds)
        raise
    return message, fds


def _decode(payload: memoryview, flags: int, decode: Decoder) -> Message:
    if flags & socket.MSG_TRUNC:
        raise ChannelError(f"a message of more than {MESSAGE_LIMIT:,} bytes came")
    if flags & socket.MSG_CTRUNC:
        raise ChannelError(f"a message came with more than {DESCRIPTORS_MAX} descriptors")
    try:
        wire = msgpack.unpackb(payload, raw=False, strict_map_key=True, max_ext_len=0)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise ChannelError(f"what came is not msgpack: {error}") from error
    try:
        return decode(wire)
    except WireError as error:
        raise ChannelError(str(error)) from error


def _descriptors_in(control: Iterable[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return fds.tolist()


def _close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
