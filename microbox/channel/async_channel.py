"""The controller's end of a channel. Children do without asyncio, whose import takes a while."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Any

from microbox.channel.datagram import (
    MESSAGE_LIMIT,
    Decoder,
    Received,
    encode,
    prepare,
    receive,
    send,
)
from microbox.channel.messages import Message
from microbox.channel.wire import from_wire


class AsyncChannel:
    """The controller's end. One task receives, one task sends."""

    def __init__(self, connected: socket.socket, decode: Decoder = from_wire) -> None:
        """Owns `connected` from now on."""
        self._socket = prepare(connected)
        self._socket.setblocking(False)
        self._decode = decode
        self._buffer = bytearray(MESSAGE_LIMIT)

    async def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """As Channel.send; waits while the other end does not read."""
        payload = encode(message, fds)
        loop = asyncio.get_running_loop()
        while True:
            try:
                return send(self._socket, payload, fds)
            except BlockingIOError:
                await self._ready(loop.add_writer, loop.remove_writer)

    async def receive(self) -> Received:
        """As Channel.receive."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return receive(self._socket, self._buffer, self._decode)
            except BlockingIOError:
                await self._ready(loop.add_reader, loop.remove_reader)

    def stop_receiving(self) -> None:
        """What has come is still received, then ChannelClosed: for when the peer is known gone.

        Its own children may hold the other end open, so the kernel need not say so.
        """
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def stop_sending(self) -> None:
        """The other end still receives what was sent, then ChannelClosed."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

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
