"""The same capture and chain give the same outputs, byte for byte, however the processes are
scheduled: on which processors, with what nice values, standing still at any moment; with large
logs and small; and whatever the number of instances that share out the flows of an NF, and of
workers that share out the packets."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import Workbench

RUNS = 30 if os.environ.get("MICROBOX_NIGHTLY") else 3
pytestmark = pytest.mark.timeout(60 * RUNS)
SHARED_OUT = ("flow_log", "./drops.py", "firewall", "http_log")
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

# Edits headers, tags, payloads and streams; what is behind sees what it left, and drops by it.
EDITS = """
class Edits(NetworkFunction):
    @on("packet")
    def mark(self, event):
        if event.packet % 3 == 0:
            event.push_vlan(1 + event.packet % 4000)
        if event.flow.ip_version and event.packet % 2:
            event.edit(ip_ttl=event.packet % 256)
    @on("udp.datagram")
    def turn_round(self, event):
        if event.packet % 7 == 0:
            event.edit(payload=bytes(event.data)[::-1])
    @on("tcp.data")
    def shout(self, event):
        if event.flow.id % 4 == 1:
            event.edit(payload=bytes(event.data).swapcase())
"""

DIGEST = """
import zlib
from microbox import DROP
class Digest(NetworkFunction):
    edits = ""
    seen = 0
    @on("packet")
    def add(self, event):
        self.seen = zlib.crc32(event.frame, self.seen)
        return DROP if self.seen % 64 == 0 else None
    def finish(self):
        return {"seen": self.seen}
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
    """What each NF did, or would have done. Of lists, of the largest flows say, each instance makes
    one."""
    return [
        (
            nf["name"],
            nf["matched"],
            nf["handled"],
            nf["verdicts"],
            nf["shadow"],
            without_lists(nf["summary"]),
        )
        for nf in bench.summary()["nfs"]
    ]


def without_lists(summary: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in summary.items() if not isinstance(value, list)}


def test_outputs_do_not_depend_on_scheduling(workbench: Workbench, demo: Path) -> None:
    chance = random.Random(5)
    entries: list[dict[str, object]] = [
        {"nf": "flow_log"},
        {"nf": workbench.nf("drops", DROPS), "name": "trial", "shadow": True},
        {"nf": "./drops.py"},
        {"nf": "firewall", "deny": ["tcp dst port 443"], "action": "reset"},
        {"nf": "nat", "inside": ["192.0.2.0/24"], "outside": ["100.64.0.1", "100.64.0.2"]},
        {"nf": workbench.nf("edits", EDITS)},
        {"nf": "dns_log"},
        {"nf": workbench.nf("digest", DIGEST)},
        {"nf": "http_log"},
        {"nf": "tls_log"},
        {"nf": workbench.nf("batches", BATCHES)},
    ]
    seen: dict[object, object] = {}
    for number in range(RUNS):
        # Batches end at positions that depend on the log's size: as large in the first two runs.
        slots = LOG_SLOTS[0] if number < 2 else chance.choice(LOG_SLOTS)
        room = chance.choice(("1MiB", "16MiB"))  # of edited frames: batches end for their sake too
        for entry in entries:
            if number > 1 and entry["nf"] in SHARED_OUT:
                entry["instances"] = chance.randint(1, 3)
        chain = workbench.chain(
            *entries,
            capture=demo,
            log={"slots": slots},
            stack={"version_bytes": room},
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
        assert seen.setdefault((slots, room), counted) == counted
    nat = next(one for one in workbench.summary()["nfs"] if one["name"] == "nat")
    assert nat["summary"]["flows"] > 0  # rewrites are in play


# A client has another address from each flow on, as the flow's number says.
RENAMES = """
class Renames(NetworkFunction):
    edits = "headers"
    @on("udp.start", "tcp.start")
    def rename(self, event):
        if event.flow.ip_version == 4:
            event.flow.rewrite(source=f"100.64.{event.flow.id % 250}.1")
"""

SPEAKS = """
class Speaks(NetworkFunction):
    declares = {"tcp.data.heard": {"word": "text"}}
    publishes = ["tcp.data.heard", "alert"]
    @on("tcp.data")
    def see(self, event):
        self.publish("tcp.data.heard", event, word=bytes(event.data[:100]))
        if event.flow.id % 11 == 0:
            event.flow.unsubscribe()
    @on("retransmission", "out_of_order")
    def warn(self, event):
        self.alert(event, event.type.name)
"""

HEARS = """
class Hears(NetworkFunction):
    declares = {"tcp.data.heard": {"word": "text"}}
    @on("tcp.data.heard", "flow", "packet.malformed")
    def see(self, event):
        self.record(event, name=event.type.name, packet=event.packet)
"""

COUNTS = str(ROOT / "examples" / "c" / "count.c")


def test_workers_do_not_show(workbench: Workbench, demo: Path) -> None:
    """Logs, alerts, output and summary, while processes are disturbed."""
    chance = random.Random(7)
    entries: list[dict[str, object]] = [
        {"nf": workbench.nf("renames", RENAMES)},
        {"nf": workbench.nf("drops", DROPS)},
        {"nf": "firewall", "deny": ["tcp dst port 443"], "action": "reset"},
        {"nf": workbench.nf("speaks", SPEAKS)},
        {"nf": workbench.nf("hears", HEARS)},
        {"nf": "flow_log", "instances": 2},
        {"nf": "dns_log", "top": 1000},  # of ten, each process would say its own
        {"nf": "http_log"},
        {"nf": "tls_log"},
        {"nf": "ids", "rules": str(ROOT / "configs" / "web.rules")},
        {"nf": COUNTS},
    ]
    written: dict[str, bytes] = {}
    for number in range(RUNS):
        chain = workbench.chain(
            *entries,
            capture=demo,
            workers=number + 1 if number < 3 else chance.randint(1, 3),
            log={"slots": LOG_SLOTS[0] if number < 2 else chance.choice(LOG_SLOTS)},
            output=str(workbench.folder / "out.pcap"),
        )
        run = workbench.start("run", chain, "--overwrite")
        if number:
            disturb(workbench, run, chance)
        ended = workbench.end(run)
        assert ended.returncode == 0, ended.stderr
        logs = sorted((workbench.folder / "microbox-logs").iterdir())
        files = {one.name: one.read_bytes() for one in (workbench.folder / "out.pcap", *logs)}
        written = written or files
        assert files.keys() == written.keys()
        assert [name for name in files if files[name] != written[name]] == []
    assert {"alert_log.jsonl", "flow_log.jsonl", "hears.jsonl", "count.jsonl"} < written.keys()
