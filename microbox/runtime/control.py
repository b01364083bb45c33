"""The control socket of a run: ZeroMQ on a Unix socket that only its owner can reach.

A request is one msgpack map `{"version": 1, "verb": "status" | "stop"}`, or one about an NF:
`{"version": 1, "verb": "detach" | "reload" | "promote", "nf": NAME}`. The answer is
`{"version": 1, "ok": true, "result": {…}}` or `{"version": 1, "ok": false, "error": "…"}`.
Whatever is no request gets an error and has no other effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgpack
import zmq
import zmq.asyncio
from pydantic import BaseModel, ConfigDict, ValidationError

VERSION = 1
REQUEST_LIMIT = 4096
"""Bytes of a request; a larger one is answered with an error."""

LIBRARY_THREADS = 2
"""That a ZeroMQ context with one thread for input and output starts."""

FRAME_LIMIT = 1 << 20
"""Bytes at which ZeroMQ drops the connection instead of taking the message."""

ANSWER_TIMEOUT = 2000  # milliseconds
SUFFIX = ".socket"
ATTACH_SUFFIX = ".attach"

CHANGE_TIMEOUT = 120_000  # milliseconds: an NF may take a minute to start

Handler = Callable[[], dict[str, Any]]
Change = Callable[[str], Awaitable[dict[str, Any]]]
"""Carries out what is asked about the NF of that name. Raises ControlError."""


class ControlError(Exception):
    """The socket cannot be made, or nobody answers."""


class Request(BaseModel):
    """What may be asked."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Literal[1]
    verb: Literal["status", "stop", "detach", "reload", "promote"]
    nf: str = ""


def socket_directory() -> Path:
    """Where control sockets are: the user's own, whether it exists or not."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "microbox" if runtime else Path(f"/tmp/microbox-{os.getuid()}")


def own_directory() -> Path:
    """The directory, made if need be. Raises ControlError where others could reach into it."""
    directory = socket_directory()
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise ControlError(f"{directory}: {error.strerror}") from None
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not is_ours or found.st_mode & 0o077:
        raise ControlError(f"{directory}: is not ours alone (expected our directory, mode 0700)")
    return directory


def run_name(chain_file: str, process: int) -> str:
    """The name of a run: that of its chain file and its controller's process number."""
    return f"{Path(chain_file).stem[:40]}.{process}"


def attach_path(control: Path) -> Path:
    """Where NFs in terminals ask the run behind this control socket for a place in it."""
    return control.with_name(f"{control.name.removesuffix(SUFFIX)}{ATTACH_SUFFIX}")


def running() -> dict[str, Path]:
    """Sockets of runs by name. Those that killed controllers left behind are removed."""
    found = {}
    for path in sorted(socket_directory().glob(f"*{SUFFIX}")):
        if _somebody_listens(path):
            found[path.name.removesuffix(SUFFIX)] = path
            continue
        for left in (path, attach_path(path)):
            with contextlib.suppress(OSError):
                left.unlink()
    return found


def _somebody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # too busy, or not ours to judge
    return True


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
        self._answering: set[asyncio.Task[None]] = set()
        self.path = own_directory() / f"{name}{SUFFIX}"
        _check_threads()
        self._context = zmq.asyncio.Context(io_threads=1)
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, FRAME_LIMIT)
        before = os.umask(0o177)
        try:
            self._socket.bind(f"ipc://{self.path}")
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise ControlError(f"{self.path}: {error}") from None
        finally:
            os.umask(before)

    async def serve(self) -> None:
        """Answers requests, each when it is carried out; to be cancelled."""
        while True:
            frames = await self._socket.recv_multipart()
            task = asyncio.create_task(self._reply(frames))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _reply(self, frames: list[bytes]) -> None:
        answer = msgpack.packb(await self.answer(frames[-1]))
        with contextlib.suppress(zmq.ZMQError):  # who asked is gone
            await self._socket.send_multipart([*frames[:-1][:2], answer])

    async def answer(self, payload: bytes) -> dict[str, Any]:
        """The answer to a request as it came."""
        if len(payload) > REQUEST_LIMIT:
            return _refusal(f"a request has at most {REQUEST_LIMIT} bytes, not {len(payload)}")
        try:
            wire = msgpack.unpackb(payload, strict_map_key=True, max_ext_len=0)
            request = Request.model_validate(wire)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, fault["loc"]))
            return _refusal(f"{place}: {fault['msg']}" if place else fault["msg"])
        except (ValueError, RecursionError, msgpack.UnpackException):
            return _refusal("a request is one msgpack map")
        try:
            result = await self._carried_out(request)
        except ControlError as error:
            return _refusal(str(error))
        return {"version": VERSION, "ok": True, "result": result}

    async def _carried_out(self, request: Request) -> dict[str, Any]:
        if request.verb in self._handlers:
            return self._handlers[request.verb]()
        if request.verb in self._changes:
            return await self._changes[request.verb](request.nf)
        raise ControlError(f"this run knows no '{request.verb}'")

    def close(self) -> None:
        """Closes and removes the socket."""
        for task in self._answering:
            task.cancel()
        self._context.destroy(linger=0)
        with contextlib.suppress(OSError):
            self.path.unlink()


def _refusal(error: str) -> dict[str, Any]:
    return {"version": VERSION, "ok": False, "error": error}


def ask(path: Path, verb: str, nf: str = "") -> dict[str, Any]:
    """The result of asking the run behind `path`. Raises ControlError."""
    about = {"nf": nf} if nf else {}
    with _client(path) as client:
        client.send(msgpack.packb({"version": VERSION, "verb": verb, **about}))
        if not client.poll(CHANGE_TIMEOUT if nf else ANSWER_TIMEOUT):
            raise ControlError(f"{path.name.removesuffix(SUFFIX)} does not answer")
        answer = msgpack.unpackb(client.recv(), strict_map_key=True)
    if not answer.get("ok"):
        raise ControlError(str(answer.get("error", "no answer")))
    result: dict[str, Any] = answer["result"]
    return result


@contextlib.contextmanager
def _client(path: Path) -> Iterator[zmq.Socket[bytes]]:
    context = zmq.Context(io_threads=1)
    try:
        client = context.socket(zmq.REQ)
        client.connect(f"ipc://{path}")
        yield client
    finally:
        context.destroy(linger=0)
