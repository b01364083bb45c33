"""One message as one datagram with descriptors: what both kinds of channel are made of.

The socket is AF_UNIX SOCK_SEQPACKET: it keeps message boundaries, carries descriptors, and says
when the other end is gone. A message is msgpack, at most `MESSAGE_LIMIT` bytes; one that is
refused, for whatever reason, has its descriptors closed.
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterable, Sequence

import msgpack

from microbox.channel.messages import (
    Area,
    Attach,
    Load,
    Map,
    Message,
    Neighbour,
    NewLog,
    StartWorker,
    WorkerAreas,
)
from microbox.channel.wire import WireError, to_wire

MESSAGE_LIMIT = 256 * 1024
"""Bytes of a message. The usual net.core.wmem_max (212,992, doubled by the kernel) allows it."""

DESCRIPTORS_MAX = 5

Decoder = Callable[[object], Message]
Received = tuple[Message, list[int]]


class ChannelError(Exception):
    """A message cannot be sent, or what came is not one."""


class ChannelClosed(ChannelError):
    """The other end is gone."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets, both inheritable by nobody."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def prepare(connected: socket.socket) -> socket.socket:
    """Makes room in the socket for a message of the limit."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE_LIMIT)
    return connected


def descriptors_of(message: Message) -> int:
    """How many descriptors go with a message (order: as `messages.py` says)."""
    match message:
        case Area() | Attach() | Neighbour() | NewLog():
            return 1
        case Load():
            return int(message.has_record_file)
        case StartWorker():
            return 1 + bool(message.window) + bool(message.output)
        case Map():
            return 4 if message.editors else 3
        case WorkerAreas():
            return 5 if message.editors else 4
        case _:
            return 0


def encode(message: Message, fds: Sequence[int]) -> bytes:
    """The datagram. Raises ChannelError: too large, not plain values, wrong descriptors."""
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


def send(connected: socket.socket, payload: bytes, fds: Sequence[int]) -> None:
    """Sends a datagram with copies of the descriptors. Raises ChannelError, BlockingIOError."""
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


def receive(connected: socket.socket, buffer: bytearray, decode: Decoder) -> Received:
    """The next message; `buffer` has MESSAGE_LIMIT bytes. Raises ChannelError, BlockingIOError."""
    try:
        length, control, flags = _next_datagram(connected, buffer)
    except ConnectionResetError:
        # It left something of ours unread. What it said before it went is still there.
        length, control, flags = _next_datagram(connected, buffer)
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


def _next_datagram(
    connected: socket.socket, buffer: bytearray
) -> tuple[int, list[tuple[int, int, bytes]], int]:
    room = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)
    length, control, flags, _ = connected.recvmsg_into([buffer], room, socket.MSG_CMSG_CLOEXEC)
    return length, control, flags


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
