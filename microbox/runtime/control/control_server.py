"""Answers what is asked on a run's control socket.

Whatever is no request gets an error and has no other effect. Requests get a share of a processor
and no more, however many come: what is not read yet waits with its sender.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import msgpack
import zmq
import zmq.asyncio

from microbox.runtime.control.budget import Budget
from microbox.runtime.control.connections import Connections
from microbox.runtime.control.control_socket import SUFFIX, VERSION, ControlError, own_directory
from microbox.runtime.control.request import Request, RequestError, parse

SHARE = 0.02
"""Of a processor, for all requests."""

BURST = 0.05
"""Seconds of a processor that requests may take at once, after a time without any."""

REQUEST_COST = 0.0001
"""Seconds that a request takes outside of what is measured: the loop, and ZeroMQ's own thread."""

QUEUE_LIMIT = 16
"""Messages of one peer that wait to be read, or to be sent to it."""

CHANGES_MAX = 8
"""Changes of the chain under way at once; each may start processes."""

LIBRARY_THREADS = 2
"""That a ZeroMQ context with one thread for input and output starts."""

HANDSHAKE_TIMEOUT = 2000  # milliseconds

FRAME_LIMIT = 1 << 20
"""Bytes at which ZeroMQ drops the connection instead of taking the message."""

Handler = Callable[[], dict[str, Any]]
Change = Callable[[str], Awaitable[dict[str, Any]]]
"""Carries out what is asked about the NF of that name, a flow or the chain file. Raises
ControlError."""


def _check_threads() -> None:
    """Raises ControlError where no more threads can be had: the library would abort the process."""
    enough = threading.Event()
    threads = [threading.Thread(target=enough.wait) for _ in range(LIBRARY_THREADS)]
    started = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise ControlError(f"{error}: too many processes and threads") from None
    finally:
        enough.set()
        for thread in started:
            thread.join()


class ControlServer:
    """Answers until it is closed."""

    def __init__(
        self, name: str, handlers: dict[str, Handler], changes: dict[str, Change] | None = None
    ) -> None:
        """Both by verb; they return the result. Raises ControlError."""
        self._handlers = handlers
        self._changes = changes or {}
        self._changing: set[asyncio.Task[None]] = set()
        self._budget = Budget(share=SHARE, most=BURST)
        self.path = own_directory() / f"{name}{SUFFIX}"
        _check_threads()
        self._context = zmq.asyncio.Context(io_threads=1)
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, FRAME_LIMIT)
        self._socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_TIMEOUT)
        self._socket.set_hwm(QUEUE_LIMIT)
        inside = self.path.with_suffix(".inside")
        before = os.umask(0o177)
        try:
            self._socket.bind(f"ipc://{inside}")
            self._connections = Connections(self.path, inside, self._budget)
        except (zmq.ZMQError, OSError) as error:
            self._context.destroy(linger=0)
            raise ControlError(f"{self.path}: {error}") from None
        finally:
            os.umask(before)

    async def serve(self) -> None:
        """Answers requests, each when it is carried out; to be cancelled."""
        accepting = asyncio.create_task(self._connections.accept())
        try:
            await self._answer()
        finally:
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)

    async def _answer(self) -> None:
        while True:
            await asyncio.sleep(self._budget.wait())
            frames = await self._socket.recv_multipart()
            with self._budget.spending(at_least=REQUEST_COST):
                await self._take(frames)

    async def _take(self, frames: list[bytes]) -> None:
        try:
            request = parse(_payload(frames))
            if request.verb in self._changes:
                self._begin(request, frames)
                return
            await self._reply(frames, self._at_once(request))
        except (ControlError, RequestError) as error:
            await self._reply(frames, _refusal(str(error)))
        except Exception as error:
            await self._reply(frames, _refusal(f"an error of microbox: {error!r}"))

    def _at_once(self, request: Request) -> dict[str, Any]:
        handler = self._handlers.get(request.verb)
        if handler is None:
            raise ControlError(f"this run knows no '{request.verb}'")
        return _success(handler())

    def _begin(self, request: Request, frames: list[bytes]) -> None:
        """Other requests are answered meanwhile."""
        if len(self._changing) >= CHANGES_MAX:
            raise ControlError(f"{CHANGES_MAX} changes are under way; ask again when they are done")
        task = asyncio.create_task(self._change(request, frames))
        self._changing.add(task)
        task.add_done_callback(self._changing.discard)

    async def _change(self, request: Request, frames: list[bytes]) -> None:
        try:
            answer = _success(await self._changes[request.verb](request.about))
        except ControlError as error:
            answer = _refusal(str(error))
        except Exception as error:
            answer = _refusal(f"an error of microbox: {error!r}")
        await self._reply(frames, answer)

    async def _reply(self, frames: list[bytes], answer: dict[str, Any]) -> None:
        with contextlib.suppress(zmq.ZMQError):  # who asked is gone
            await self._socket.send_multipart([*_envelope(frames), msgpack.packb(answer)])

    def close(self) -> None:
        """Closes and removes the socket."""
        for task in self._changing:
            task.cancel()
        self._connections.close()
        self._context.destroy(linger=0)


def _envelope(frames: list[bytes]) -> list[bytes]:
    """What goes before an answer: who asked, and what a REQ socket needs."""
    match frames:
        case [peer, b"", _, *_]:
            return [peer, b""]
    return frames[:1]


def _payload(frames: list[bytes]) -> bytes:
    """Of a message of a REQ socket (an empty frame in front), or of a DEALER. Raises
    RequestError."""
    match frames:
        case [_, payload] | [_, b"", payload]:
            return payload
    raise RequestError("a request is one frame")


def _success(result: dict[str, Any]) -> dict[str, Any]:
    return {"version": VERSION, "ok": True, "result": result}


def _refusal(error: str) -> dict[str, Any]:
    return {"version": VERSION, "ok": False, "error": error}
