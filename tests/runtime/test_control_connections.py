"""Whoever opens connections to a control socket and asks nothing on them uses up little."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvloop
from control_peers import client, control_sockets

from microbox.runtime.control import connections
from microbox.runtime.control.control_server import ControlServer
from microbox.runtime.control.control_socket import ControlError, ask

if TYPE_CHECKING:
    from tests.conftest import Workbench

CONNECTIONS = 2000
SPARE = 72  # descriptors that are left to the controller: fewer than the connections would take

# ZMTP 3.0 (RFC 23 of ZeroMQ): greeting, READY, and a frame that more frames follow.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY_BODY = b"\x05READY" + b"\x0bSocket-Type" + b"\x00\x00\x00\x06DEALER"
READY = b"\x04" + bytes([len(READY_BODY)]) + READY_BODY
FRAME = 1 << 16
MORE = b"\x03" + FRAME.to_bytes(8, "big") + bytes(FRAME)

# Opens connections, says on each that it speaks ZeroMQ, and then nothing until stdin ends.
CROWD = """
import resource, socket, sys, time
path, count, greeting = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3])
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 64, hard))
peers = []
for _ in range(count):
    peer = socket.socket(socket.AF_UNIX)
    peer.setblocking(False)
    peers.append(peer)
    try:
        peer.connect(path)
        peer.send(greeting)
    except BlockingIOError:  # no room in the queue
        time.sleep(0.001)
print("all", flush=True)
sys.stdin.read()
"""

# Goes on when the test says so.
WAITS = """
class Waits(NetworkFunction):
    @on("packet")
    def wait(self, event):
        while event.packet == 1 and not os.path.exists("heard"):
            time.sleep(0.01)
"""


@contextlib.contextmanager
def crowd(path: Path) -> Iterator[bool]:
    """So many connections, of a process of its own. False where somebody was refused."""
    arguments = [sys.executable, "-c", CROWD, str(path), str(CONNECTIONS), GREETING.hex()]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline() == "all\n"
        process.communicate()


def replays(path: Path) -> bool:
    try:
        return bool(ask(path, "status")["doing"] == "replay")
    except ControlError:  # it takes more than two seconds to answer
        return False


def outputs(bench: Workbench) -> dict[str, bytes]:
    logs = (bench.folder / "microbox-logs").iterdir()
    return {file.name: file.read_bytes() for file in (bench.folder / "out.pcap", *logs)}


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < CONNECTIONS + 64, reason="needs open files"
)
def test_a_run_outlives_2000_connections_and_loses_nothing(
    workbench: Workbench, demo: Path
) -> None:
    chain = workbench.chain(
        "flow_log",
        workbench.nf("waits", WAITS),
        capture=demo,
        log={"slots": 4096},  # the worker waits, too
        output=str(workbench.folder / "out.pcap"),
    )
    run = workbench.start("run", chain, "--overwrite")
    path = workbench.until(lambda: next(iter(control_sockets(workbench)), None))
    workbench.until(lambda: replays(path))
    taken = len(list(Path(f"/proc/{run.pid}/fd").iterdir()))
    _, hard = resource.prlimit(run.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(run.pid, resource.RLIMIT_NOFILE, (taken + SPARE, hard))
    with crowd(path) as is_complete:
        assert is_complete and run.poll() is None, workbench.end(run)
    workbench.until(lambda: replays(path))  # when those in the queue had their turn
    (workbench.folder / "heard").touch()
    disturbed = workbench.end(run)
    assert disturbed.returncode == 0, disturbed.stderr
    written = outputs(workbench)
    quiet = workbench.run("run", chain, "--overwrite")
    assert quiet.returncode == 0
    assert outputs(workbench) == written


# --- one server alone ---


def while_serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, talk: Callable[[Path], None]
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    async def serve() -> None:
        server = ControlServer("crowded.1", {"status": lambda: {"done": True}})
        serving = asyncio.create_task(server.serve())
        try:
            await asyncio.to_thread(talk, server.path)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            server.close()

    uvloop.run(asyncio.wait_for(serve(), 60))


def connected(path: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(30)
    peer.connect(str(path))
    return peer


def free_descriptors(limit: int) -> int:
    return limit - sum(int(file.name) < limit for file in Path("/proc/self/fd").iterdir())


@contextlib.contextmanager
def few_descriptors(number: int) -> Iterator[None]:
    """So many are free in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = next(limit for limit in range(soft) if free_descriptors(limit) == number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_looking_for_free_descriptors_takes_none_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ZeroMQ's own thread aborts the process when it finds none."""
    refused: list[OSError] = []
    is_over = threading.Event()

    def take_one() -> None:
        while not is_over.is_set():
            try:
                os.close(os.dup(sys.stderr.fileno()))
            except OSError as error:
                refused.append(error)

    def talk(path: Path) -> None:
        other = threading.Thread(target=take_one)
        with few_descriptors(connections.DESCRIPTORS + 3):
            other.start()
            for _ in range(300):
                with connected(path) as peer:
                    peer.sendall(GREETING)
                    peer.recv(1)
            is_over.set()
            other.join()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # in the middle of whatever the server does
    try:
        while_serving(tmp_path, monkeypatch, talk)
    finally:
        sys.setswitchinterval(interval)
    assert refused == []


def test_a_message_without_an_end_costs_its_sender_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BYTES_MAX", 16 * FRAME)
    sent = 0

    def talk(path: Path) -> None:
        nonlocal sent
        with connected(path) as peer, contextlib.suppress(ConnectionError):
            peer.sendall(GREETING + READY)
            while sent < 100 * FRAME:
                peer.sendall(MORE)
                sent += FRAME
        assert ask(path, "status") == {"done": True}

    while_serving(tmp_path, monkeypatch, talk)
    assert sent < 100 * FRAME


@pytest.mark.parametrize("said", [b"", GREETING + READY], ids=["nothing", "who it is"])
def test_a_silent_connection_ends_and_another_has_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 1)

    def talk(path: Path) -> None:
        with connected(path) as silent, monkeypatch.context() as patch:
            patch.setattr(connections, "GREETING_TIMEOUT" if not said else "SILENCE_MAX", 0.1)
            silent.sendall(said)
            while silent.recv(1000):  # ZeroMQ's greeting, if any, and then the end
                pass
        assert ask(path, "status") == {"done": True}

    while_serving(tmp_path, monkeypatch, talk)


def test_who_comes_when_all_places_are_taken_waits_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 1)

    def talk(path: Path) -> None:
        with connected(path) as first:
            first.sendall(GREETING + READY)
            assert first.recv(1000)  # it has the place
            with client(path) as late:
                late.send(b"no request")
                assert not late.poll(200)
                first.close()
                assert late.poll(30_000)

    while_serving(tmp_path, monkeypatch, talk)
