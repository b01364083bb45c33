"""A chain whose control socket is shouted at: what it writes is as without, to the byte, and it is
as fast; and who asks it something in earnest is answered.

Bounded here; 10,000 messages, and the rate of long runs, where MICROBOX_NIGHTLY is set."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import control_noise
import msgpack
import pytest
import uvloop
import zmq
from traffic import repeated

from microbox.runtime.control import control_socket as control
from microbox.runtime.control.request import VERSION

if TYPE_CHECKING:
    from tests.conftest import Workbench

Disturbance = Callable[[Path], AbstractContextManager[None]]
"""Of a run, by its control socket."""

IS_NIGHTLY = "MICROBOX_NIGHTLY" in os.environ
MESSAGES = 10_000 if IS_NIGHTLY else 200
RATE_KEPT = 0.95
REPETITIONS, PAIRS = 40, 5
COST = 0.001  # seconds of a processor that a request takes here

STATUS = msgpack.packb({"version": 1, "verb": "status"})

# Goes on when the test says so. Until then the log is full, and the input not over.
WAITS = """
class Waits(NetworkFunction):
    @on("packet")
    def wait(self, event):
        while event.packet == 1 and not os.path.exists("heard"):
            time.sleep(0.01)
"""


@contextmanager
def client(path: Path) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(f"ipc://{path}")
        yield socket


def errors_of(path: Path, messages: Iterator[bytes]) -> list[str]:
    """What is answered to each; they are all refused."""
    errors, awaited = [], 0
    with client(path) as socket:
        for message in messages:
            socket.send(message)
            awaited += 1
            while awaited >= control.QUEUE_LIMIT // 2:
                errors.append(refusal(socket))
                awaited -= 1
        errors += [refusal(socket) for _ in range(awaited)]
    return errors


def refusal(socket: zmq.Socket[bytes]) -> str:
    assert socket.poll(30_000), "no answer"
    answer = msgpack.unpackb(socket.recv())
    assert (answer["version"], answer["ok"]) == (VERSION, False)
    return str(answer["error"])


def outputs(bench: Workbench) -> dict[str, bytes]:
    logs = (bench.folder / "microbox-logs").iterdir()
    return {file.name: file.read_bytes() for file in (bench.folder / "out.pcap", *logs)}


@pytest.mark.timeout(600 if IS_NIGHTLY else 120)
def test_noise_changes_nothing(workbench: Workbench, demo: Path) -> None:
    chain = workbench.chain(
        "flow_log",
        {"nf": "firewall", "deny": ["tcp dst port 443"]},
        workbench.nf("waits", WAITS),
        capture=demo,
        log={"slots": 4096},  # the worker waits, too
        output=str(workbench.folder / "out.pcap"),
    )
    run = workbench.start("run", chain, "--overwrite")
    path = workbench.until(lambda: next(iter(control_sockets(workbench)), None))
    errors = errors_of(path, control_noise.noise(seed=1, count=MESSAGES, nf="flow_log"))
    assert len(errors) == MESSAGES
    with client(path) as socket:
        socket.send(bytes(control.FRAME_LIMIT + 1))  # costs who sends it the connection
        assert control.ask(path, "status")["doing"] == "replay"
    (workbench.folder / "heard").touch()
    disturbed = workbench.end(run)
    assert disturbed.returncode == 0, disturbed.stderr
    written = outputs(workbench)
    quiet = workbench.run("run", chain, "--overwrite")
    assert quiet.returncode == 0
    assert outputs(workbench) == written


def control_sockets(bench: Workbench) -> list[Path]:
    return list((bench.folder / "microbox").glob(f"*{control.SUFFIX}"))


# --- floods ---


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


def test_a_flood_gets_its_share_and_others_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast this machine is: each request takes, and is charged, COST at least."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    moments: list[float] = []

    def work() -> dict[str, bool]:
        end = time.thread_time() + COST
        while time.thread_time() < end:
            pass
        moments.append(time.monotonic())
        return {"done": True}

    async def serve() -> None:
        server = control.ControlServer("flooded.1", {"status": work})
        serving = asyncio.create_task(server.serve())
        try:
            await asyncio.to_thread(talk, server.path)
        finally:
            serving.cancel()
            server.close()

    def talk(path: Path) -> None:
        with flood(path):
            while len(moments) < control.BURST / COST + 10:
                time.sleep(0.01)
            assert control.ask(path, "status") == {"done": True}

    began = time.monotonic()
    uvloop.run(serve())
    for count, moment in enumerate(moments):
        assert count * COST <= control.BURST + control.SHARE * (moment - began)


@pytest.mark.skipif(not IS_NIGHTLY, reason="takes minutes: make nightly")
@pytest.mark.timeout(600)
def test_a_chain_keeps_its_rate_under_a_flood(workbench: Workbench, demo: Path) -> None:
    capture = repeated(demo, workbench.folder / "long.pcap", times=REPETITIONS, apart=60)
    chain = workbench.chain("flow_log", "dns_log", capture=capture)
    ratios = []
    for pair in range(PAIRS):
        order = (no_flood, flood) if pair % 2 else (flood, no_flood)  # neither gains by its place
        rates = {disturbance: rate(workbench, chain, disturbance) for disturbance in order}
        ratios.append(rates[flood] / rates[no_flood])
    assert statistics.median(ratios) >= RATE_KEPT, ratios


def no_flood(_: Path) -> AbstractContextManager[None]:
    return nullcontext()


def rate(bench: Workbench, chain: Path, disturbance: Disturbance) -> float:
    """Packets a second, as the run says."""
    run = bench.start("run", chain, "--overwrite", "--json")
    path = bench.until(lambda: next(iter(control_sockets(bench)), None))
    with disturbance(path):
        ended = bench.end(run, timeout=100)
    assert ended.returncode == 0, ended.stderr
    return float(json.loads(ended.stdout)["timing"]["packets_per_second"])
