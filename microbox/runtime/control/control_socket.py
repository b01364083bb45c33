"""Where the control sockets of runs are, and how a run is asked: ZeroMQ on a Unix socket that only
its owner can reach.

A request is one msgpack map (request.py), in a message of its own. The answer is
`{"version": 1, "ok": true, "result": {…}}` or `{"version": 1, "ok": false, "error": "…"}`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import zmq

VERSION = 1
"""Of requests and answers."""

ANSWER_TIMEOUT = 2000  # milliseconds
SUFFIX = ".socket"
ATTACH_SUFFIX = ".attach"

LOOK_AGAIN = 1000  # milliseconds, whether the run is there still
CHANGE_TIMEOUT = 120_000  # milliseconds: an NF may take a minute to start


class ControlError(Exception):
    """The socket cannot be made, or nobody answers."""


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


def ask(path: Path, verb: str, nf: str = "", *, flow: str = "", file: str = "") -> dict[str, Any]:
    """The result of asking the run behind `path`. Raises ControlError."""
    import msgpack

    about = {key: one for key, one in (("nf", nf), ("flow", flow), ("file", file)) if one}
    with _client(path) as client:
        client.send(msgpack.packb({"version": VERSION, "verb": verb, **about}))
        _await_answer(client, path, CHANGE_TIMEOUT if about else ANSWER_TIMEOUT)
        answer = msgpack.unpackb(client.recv(), strict_map_key=True)
    if not answer.get("ok"):
        raise ControlError(str(answer.get("error", "no answer")))
    result: dict[str, Any] = answer["result"]
    return result


def _await_answer(client: zmq.Socket[bytes], path: Path, patience: int) -> None:
    """`patience` in milliseconds. A run that ends meanwhile answers no more, and ZeroMQ would wait
    for another one under its name."""
    name = path.name.removesuffix(SUFFIX)
    until = time.monotonic() + patience / 1000
    while not client.poll(min(LOOK_AGAIN, patience)):
        if not _somebody_listens(path):
            raise ControlError(f"{name} has ended")
        if time.monotonic() >= until:
            raise ControlError(f"{name} does not answer")


@contextlib.contextmanager
def _client(path: Path) -> Iterator[zmq.Socket[bytes]]:
    import zmq  # where nothing runs, `ps` does without

    context = zmq.Context(io_threads=1)
    try:
        client = context.socket(zmq.REQ)
        client.connect(f"ipc://{path}")
        yield client
    finally:
        context.destroy(linger=0)
