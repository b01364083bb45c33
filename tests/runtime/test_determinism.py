"""The same capture and chain give the same outputs, byte for byte, however the processes are
scheduled: on which processors, with what nice values, standing still at any moment; and with large
logs and small."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import Workbench

RUNS = 30 if os.environ.get("MICROBOX_NIGHTLY") else 4
LOG_SLOTS = (4096, 8192, 65_536)

# Judges by bytes, in batches and one by one, and leaves flows; what is behind sees what it leaves.
DROPS = """
from microbox import DROP, DROP_FLOW, PASS_FLOW
class Drops(NetworkFunction):
    inline = True
    @on("tcp.data")
    def judge(self, event):
        if event.flow.id % 7 == 3:
            return DROP_FLOW
        return PASS_FLOW if event.flow.id % 7 == 5 else None
    @on("udp.datagram")
    def thin_out(self, event):
        return DROP if event.packet % 5 == 0 else None
"""

BATCHES = """
import zlib
from microbox import on_batch
class Batches(NetworkFunction):
    seen = 0
    @on_batch("packet")
    def count(self, batch):
        words = f"{len(batch)} {batch.packet[0]} {batch.packet[-1]} {batch.wire_length.sum()}"
        self.seen = zlib.crc32(words.encode(), self.seen)
    def finish(self):
        return {"seen": self.seen}
"""


def disturb(bench: Workbench, run: subprocess.Popen[str], chance: random.Random) -> None:
    """Stops processes of the run, moves them between processors and renices them, until it ends."""
    processors = sorted(os.sched_getaffinity(0))
    while run.poll() is None:
        for number in bench.processes():
            with contextlib.suppress(OSError):
                if chance.random() < 0.5:
                    os.sched_setaffinity(number, {chance.choice(processors)})
                if chance.random() < 0.2:
                    os.setpriority(os.PRIO_PROCESS, number, chance.randrange(20))
                if number != run.pid and chance.random() < 0.5:
                    os.kill(number, signal.SIGSTOP)
                    time.sleep(chance.random() / 50)
                    os.kill(number, signal.SIGCONT)


def digests(folder: Path) -> dict[str, str]:
    """Of all that the run wrote but its summary, which has times in it."""
    files = [folder / "out.pcap", *sorted((folder / "microbox-logs").glob("*.jsonl"))]
    return {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in files}


def outcomes(bench: Workbench) -> list[tuple[object, ...]]:
    return [
        (nf["name"], nf["matched"], nf["handled"], nf["verdicts"], nf["summary"])
        for nf in bench.summary()["nfs"]
    ]


def test_outputs_do_not_depend_on_scheduling(workbench: Workbench, demo: Path) -> None:
    chance = random.Random(5)
    entries = [
        "flow_log",
        workbench.nf("drops", DROPS),
        {"nf": "firewall", "deny": ["tcp dst port 443"], "action": "reset"},
        {"nf": "nat", "inside": ["192.0.2.0/24"], "outside": ["100.64.0.1", "100.64.0.2"]},
        "dns_log",
        "http_log",
        "tls_log",
        workbench.nf("batches", BATCHES),
    ]
    seen = {}
    for number in range(RUNS):
        # Batches end at positions that depend on the log's size: as large in the first two runs.
        slots = LOG_SLOTS[0] if number < 2 else chance.choice(LOG_SLOTS)
        chain = workbench.chain(
            *entries,
            capture=demo,
            log={"slots": slots},
            output=str(workbench.folder / "out.pcap"),
        )
        run = workbench.start("run", chain, "--overwrite")
        if number:
            disturb(workbench, run, chance)
        ended = workbench.end(run)
        assert ended.returncode == 0, ended.stderr
        files = digests(workbench.folder)
        assert seen.setdefault("files", files) == files
        counted = outcomes(workbench)
        assert seen.setdefault(slots, counted) == counted
    nat = next(one for one in workbench.summary()["nfs"] if one["name"] == "nat")
    assert nat["summary"]["flows"] > 0  # edits are in play
