"""Passive NFs are killed while they handle events: what the others write is that of an undisturbed
run, byte by byte.

A few kills here, 200 where MICROBOX_NIGHTLY is set; tests/core/kills.c has thousands, of NFs in C.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import Workbench

KILLS = 200 if os.environ.get("MICROBOX_NIGHTLY") else 6
SEED = int(os.environ.get("MICROBOX_SEED", "5"))
LONGEST = 0.5  # seconds from the first event to a kill

# Says who it is at its first event, and is slow, so that the worker waits for it.
VICTIM = """
class Victim(NetworkFunction):
    declares = {"tcp.data.overheard": {"word": "text"}}
    publishes = ["tcp.data.overheard"]
    seen = 0
    @on("tcp.data")
    def see(self, event):
        self.seen += 1
        if self.seen == 1:
            print(f"{self.name} is {os.getpid()}")
        self.publish("tcp.data.overheard", event, word=bytes(event.data[:100]))
        self.record(event, seen=self.seen)
        time.sleep(0.0003)
"""

LISTENER = """
class Listener(NetworkFunction):
    declares = {"tcp.data.overheard": {"word": "text"}}
    seen = 0
    @on("tcp.data.overheard", "packet")
    def see(self, event):
        self.seen += 1
        if self.seen == 1:
            print(f"{self.name} is {os.getpid()}")
"""

WITNESS = """
class Witness(NetworkFunction):
    @on("packet", "tcp.data", "tcp.end", "http.request")
    def see(self, event):
        self.record(event, name=event.name, packet=event.packet, bytes=len(event.data))
"""

VICTIMS = ("victim", "listener")
SURVIVORS = ("block_telnet", "witness", "flow_log", "http_log")


class Runs:
    """Runs of one chain, with who is to be killed on the way."""

    def __init__(self, workbench: Workbench, capture: Path) -> None:
        self._workbench = workbench
        self._chain = workbench.chain(
            "block_telnet",
            workbench.nf("victim", VICTIM),
            workbench.nf("witness", WITNESS),
            workbench.nf("listener", LISTENER),
            "flow_log",
            "http_log",
            capture=capture,
            output="passed.pcap",
            log={"slots": 4096},
        )

    def undisturbed(self) -> dict[str, bytes]:
        """What an undisturbed run leaves."""
        result = self._workbench.run("run", self._chain)
        assert result.returncode == 0, result.stderr
        return self._left()

    def with_kills(self, moments: dict[str, float]) -> tuple[int, dict[str, bytes]]:
        """How many were alive to be killed, each so many seconds after its first event, and what
        the run leaves."""
        process = self._workbench.start("run", self._chain)
        due = sorted((moment, name) for name, moment in moments.items())
        victims = self._victims(process)
        start = time.monotonic()
        for moment, name in due:
            time.sleep(max(0.0, start + moment - time.monotonic()))  # any moment will do
            kill(victims[name])
        result = self._workbench.end(process)
        killed = result.stderr.count("was killed by SIGKILL; the rest of the chain goes on")
        assert result.returncode == (1 if killed else 0), result.stderr
        return killed, self._left()

    @staticmethod
    def _victims(process: subprocess.Popen[str]) -> dict[str, int]:
        """The process numbers, as soon as both have said them."""
        assert process.stdout is not None
        found: dict[str, int] = {}
        while len(found) < len(VICTIMS):
            line = process.stdout.readline()
            assert line, "the run ended before its NFs had seen anything"
            for name, number in re.findall(r"(\w+) is (\d+)", line):
                found[name] = int(number)
        return found

    def _left(self) -> dict[str, bytes]:
        folder = self._workbench.folder
        left = {"output": (folder / "passed.pcap").read_bytes()}
        for name in SURVIVORS:
            log = folder / "microbox-logs" / f"{name}.jsonl"
            left[name] = log.read_bytes() if log.exists() else b""
        for nf in self._workbench.summary()["nfs"]:
            if nf["name"] in SURVIVORS:
                left[f"summary of {nf['name']}"] = repr((nf["outcome"], nf["summary"])).encode()
        return left


def kill(process: int) -> None:
    """By pidfd, since its number may be another's by now."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


@pytest.mark.timeout(0)
def test_what_the_others_write_does_not_tell_of_the_dead(workbench: Workbench, demo: Path) -> None:
    chance = random.Random(SEED)
    runs = Runs(workbench, demo)
    expected = runs.undisturbed()
    assert expected["witness"].count(b"\n") > 10_000
    killed = 0
    while killed < KILLS:
        moments = {name: chance.uniform(0, LONGEST) for name in VICTIMS}
        dead, left = runs.with_kills(moments)
        assert [name for name in expected if left[name] != expected[name]] == [], moments
        killed += dead
    assert workbench.processes() == {}
