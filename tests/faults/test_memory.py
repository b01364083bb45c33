"""An NF that takes more memory than the chain lets it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Workbench

pytestmark = pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="sanitizers end who gets no memory"
)

GREEDY = """
class Greedy(NetworkFunction):
    kept = []
    packets = 0
    @on("packet")
    def see(self, event):
        self.packets += 1
        if event.packet == 5:
            self.kept.append(bytearray(200_000_000))
    def finish(self):
        return {"packets": self.packets}
"""

# All that an NF may need: a thread, batches with numpy, an event loop.
MODEST = """
import threading
from microbox import on_batch
class Modest(NetworkFunction):
    def start(self):
        self.kept = [bytearray(8_000_000)]
    @on_batch("packet")
    def see(self, batch):
        self.kept.append(batch.packet.copy())
"""

ASYNCHRONOUS = """
class Asynchronous(NetworkFunction):
    @on("packet")
    async def see(self, event):
        self.record(event, packet=event.packet)
"""

LIMIT = "the NF may take 64 MiB, as `memory` in the chain says"


def greedy(workbench: Workbench, **keys: Any) -> dict[str, Any]:
    return {"nf": workbench.nf("greedy", GREEDY), **keys}


def test_an_nf_that_takes_too_much_is_told_so(workbench: Workbench) -> None:
    result = workbench.run("run", workbench.chain(greedy(workbench, memory="64MiB")))
    assert result.returncode == 1
    assert f"greedy in see(): MemoryError; {LIMIT}" in result.stderr
    assert "greedy.py" in result.stderr


def test_it_can_go_on_without_that(workbench: Workbench) -> None:
    chain = workbench.chain(greedy(workbench, memory="64MiB", on_error="skip"))
    workbench.run("run", chain)
    (nf,) = workbench.summary()["nfs"]
    assert (nf["outcome"], nf["raised"], nf["summary"]["packets"]) == ("finished", 1, 12)


@pytest.mark.parametrize("keys", [{}, {"memory": "1GiB"}])
def test_where_it_may_nothing_is_said(workbench: Workbench, keys: dict[str, str]) -> None:
    assert workbench.run("run", workbench.chain(greedy(workbench, **keys))).returncode == 0


def test_what_the_process_takes_for_itself_does_not_count(workbench: Workbench, demo: Path) -> None:
    chain = workbench.chain(
        {"nf": workbench.nf("modest", MODEST), "memory": "64MiB"},
        {"nf": workbench.nf("lagging", MODEST), "memory": "64MiB", "on_lag": "skip"},
        {"nf": workbench.nf("asynchronous", ASYNCHRONOUS), "memory": "64MiB"},
        capture=demo,
        log={"slots": 1 << 20},  # of which one that skips has a copy of its own: 192 MiB
    )
    result = workbench.run("run", chain)
    assert result.returncode == 0, result.stderr


AT_ONCE = """
taken = bytearray(200_000_000)
class AtOnce(NetworkFunction):
    @on("packet")
    def see(self, event):
        pass
"""


@pytest.mark.parametrize("verb", ["check", "run"])
def test_an_nf_that_takes_too_much_when_it_is_loaded_is_refused(
    workbench: Workbench, verb: str
) -> None:
    chain = workbench.chain({"nf": workbench.nf("at_once", AT_ONCE), "memory": "64MiB"})
    result = workbench.run(verb, chain)
    assert result.returncode == 2
    assert LIMIT in result.stderr


def test_ps_shows_the_limit(workbench: Workbench, demo: Path) -> None:
    chain = workbench.chain(greedy(workbench, memory="1GiB"), capture=demo)
    process = workbench.start("run", chain, "--pace", "0.1")
    (run,) = workbench.until(lambda: json.loads(workbench.run("ps", "--json").stdout))
    assert run["nfs"][0]["in_force"]["memory"] == 1 << 30
    assert "at most 1.0 GiB of memory" in " ".join(workbench.run("ps").stdout.split())
    workbench.run("stop")
    workbench.end(process)
