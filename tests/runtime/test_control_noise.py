"""A chain whose control socket is shouted at: what it writes is as without, to the byte, and who
asks it something in earnest is answered (test_undisturbed_rate.py: it is as fast).

Bounded here; 10,000 messages where MICROBOX_NIGHTLY is set."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import control_noise
import msgpack
import pytest
import uvloop
import zmq
from control_peers import client, control_sockets, flood

from microbox.runtime.control import control_server as control
from microbox.runtime.control.control_socket import VERSION, ask

if TYPE_CHECKING:
    from tests.conftest import Workbench

IS_NIGHTLY = "MICROBOX_NIGHTLY" in os.environ
MESSAGES = 10_000 if IS_NIGHTLY else 200
OF_A_CONNECTION = 500  # messages, of less bytes than a connection may bring
COST = 0.001  # seconds of a processor that a request takes here

# Goes on when the test says so. Until then the log is full, and the input not over.
WAITS = """
class Waits(NetworkFunction):
    @on("packet")
    def wait(self, event):
        while event.packet == 1 and not os.path.exists("heard"):
            time.sleep(0.01)
"""


def errors_of(path: Path, messages: Iterator[bytes]) -> list[str]:
    """What is answered to each; they are all refused."""
    errors = []
    while some := list(itertools.islice(messages, OF_A_CONNECTION)):
        errors += errors_on_one_connection(path, some)
    return errors


def errors_on_one_connection(path: Path, messages: list[bytes]) -> list[str]:
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
        assert ask(path, "status")["doing"] == "replay"
    (workbench.folder / "heard").touch()
    disturbed = workbench.end(run)
    assert disturbed.returncode == 0, disturbed.stderr
    written = outputs(workbench)
    quiet = workbench.run("run", chain, "--overwrite")
    assert quiet.returncode == 0
    assert outputs(workbench) == written


# --- floods ---


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
            assert ask(path, "status") == {"done": True}

    began = time.monotonic()
    uvloop.run(serve())
    for count, moment in enumerate(moments):
        assert count * COST <= control.BURST + control.SHARE * (moment - began)
