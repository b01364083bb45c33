"""A channel between the controller and a child: one message a datagram, descriptors beside it."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from microbox.channel.datagram import (
    MESSAGE_LIMIT,
    ChannelClosed,
    ChannelError,
    Decoder,
    Received,
    encode,
    pair,
    prepare,
    receive,
    send,
)
from microbox.channel.messages import Message
from microbox.channel.wire import from_wire

__all__ = [
    "MESSAGE_LIMIT",
    "Channel",
    "ChannelClosed",
    "ChannelError",
    "Decoder",
    "Received",
    "pair",
]


class Channel:
    """The blocking end, for children."""

    def __init__(self, connected: socket.socket, decode: Decoder = from_wire) -> None:
        """Owns `connected` from now on."""
        self._socket = prepare(connected)
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
        send(self._socket, encode(message, fds), fds)

    def poll(self, timeout: float | None = 0) -> bool:
        """True when `receive` will not wait. `timeout` in seconds, None: for ever."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(None if timeout is None else timeout * 1000))

    def receive(self) -> Received:
        """The next message and its descriptors, which are the caller's to close.

        Raises ChannelClosed when the other end is gone, ChannelError when what came is no message.
        """
        while True:
            try:
                return receive(self._socket, self._buffer, self._decode)
            except BlockingIOError:  # an event loop that watches the socket has made it so
                self.poll(None)

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
