"""Peers of a run's control socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgpack
import zmq

from microbox.runtime.control.control_socket import SUFFIX, VERSION

if TYPE_CHECKING:
    from tests.conftest import Workbench

STATUS = msgpack.packb({"version": VERSION, "verb": "status"})


def control_sockets(bench: Workbench) -> list[Path]:
    """Of the runs that there are."""
    return list((bench.folder / "microbox").glob(f"*{SUFFIX}"))


@contextmanager
def client(path: Path) -> Iterator[zmq.Socket[bytes]]:
    """Connected; what it sends need not be a request."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(f"ipc://{path}")
        yield socket


@contextmanager
def flood(path: Path) -> Iterator[None]:
    """As many requests as the socket takes, from two peers."""
    is_over = threading.Event()

    def shout() -> None:
        with client(path) as socket:
            while not is_over.is_set():
                ready = socket.poll(10, zmq.POLLIN | zmq.POLLOUT)
                if ready & zmq.POLLOUT:
                    socket.send(STATUS)
                if ready & zmq.POLLIN:
                    socket.recv()

    peers = [threading.Thread(target=shout) for _ in range(2)]
    for peer in peers:
        peer.start()
    try:
        yield
    finally:
        is_over.set()
        for peer in peers:
            peer.join()
