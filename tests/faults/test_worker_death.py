"""The worker is killed while packets flow: all NFs read what it left, to the head of the log, and
finish. What they write is what an undisturbed run has up to that packet.

`hold` stands still at packet 6,000 until the worker is dead. So the worker is never further than a
log ahead of that, and there is input left when it is killed, whenever that is.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Workbench

KILLS = 50 if os.environ.get("MICROBOX_NIGHTLY") else 1
SEED = int(os.environ.get("MICROBOX_SEED", "5"))
LONGEST = 0.01  # seconds from when `hold` stands still to the kill: the log is full then

HOLD = """
from microbox import DROP
class Hold(NetworkFunction):
    inline = True
    seen = 0
    @on("packet.ip.udp")
    def judge(self, event):
        self.seen += 1
        while event.packet >= 6000 and not os.path.exists("dead"):
            open("held", "w").write("yes")
            time.sleep(0.001)
        return DROP if self.seen % 5 == 0 else None
    def finish(self):
        return {"seen": self.seen}
"""

SPEAKER = """
class Speaker(NetworkFunction):
    declares = {"tcp.data.heard": {"word": "text"}}
    publishes = ["tcp.data.heard"]
    seen = 0
    @on("tcp.data")
    def see(self, event):
        self.seen += 1
        self.publish("tcp.data.heard", event, word=bytes(event.data[:100]))
        self.record(event, packet=event.packet, seen=self.seen)
"""

LISTENER = """
class Listener(NetworkFunction):
    declares = {"tcp.data.heard": {"word": "text"}}
    @on("tcp.data.heard", "packet")
    async def see(self, event):
        self.record(event, name=event.name, packet=event.packet)
"""

BATCHES = """
from microbox import on_batch
class Batches(NetworkFunction):
    @on_batch("packet")
    def see(self, batch):
        for event in batch:
            self.record(event, packet=event.packet)
"""

SHARE = """
class Share(NetworkFunction):
    @on("packet", "flow")
    def see(self, event):
        self.record(event, name=event.name, packet=event.packet)
"""

IN_C = """
#include "microbox/include/microbox_nf.h"
static enum mb_verdict see(struct mb_nf *nf, const struct mb_event *event) {
    mb_record(nf, event, mb_uint("packet", event->entry->packet));
    return MB_PASS;
}
const struct mb_nf_descriptor microbox_nf = {
    .abi = MB_NF_ABI,
    .name = "in_c",
    .doc = "Writes a line for each packet.",
    .handlers = {{.name = "see", .types = {"packet"}, .call = see}},
};
"""

SKIPPER = """
class Skipper(NetworkFunction):
    seen = lost = 0
    @on("packet")
    def see(self, event):
        self.seen += 1
    @on("system.lost")
    def count(self, event):
        self.lost += event.events
    def finish(self):
        return {"all": self.seen + self.lost}
"""

WRITERS = ("speaker", "listener", "batches", "share", "in_c")
OUTPUT = "passed.pcap"


@pytest.fixture
def chain(workbench: Workbench, demo: Path) -> Path:
    (workbench.folder / "in_c.c").write_text(IN_C)
    return workbench.chain(
        "block_telnet",
        workbench.nf("hold", HOLD),
        workbench.nf("speaker", SPEAKER),
        workbench.nf("listener", LISTENER),
        workbench.nf("batches", BATCHES),
        {"nf": workbench.nf("share", SHARE), "instances": 2},
        "./in_c.c",
        {"nf": workbench.nf("skipper", SKIPPER), "on_lag": "skip"},
        capture=demo,
        output=OUTPUT,
        log={"slots": 4096},
    )


class Run:
    """What a run left."""

    def __init__(self, workbench: Workbench) -> None:
        folder = workbench.folder
        self.summary = workbench.summary()
        self.output = (folder / OUTPUT).read_bytes()
        self.logs = {
            name: (folder / "microbox-logs" / f"{name}.jsonl").read_text().splitlines()
            for name in WRITERS
        }

    def nf(self, name: str) -> dict[str, Any]:
        """Of the summary."""
        return next(nf for nf in self.summary["nfs"] if nf["name"] == name)

    def balance(self, name: str) -> dict[str, Any]:
        """Likewise."""
        return next(one for one in self.summary["balances"] if one["name"] == name)


def undisturbed(workbench: Workbench, chain: Path) -> Run:
    dead = workbench.folder / "dead"
    dead.touch()
    assert workbench.run("run", chain, "--overwrite").returncode == 0
    dead.unlink()
    return Run(workbench)


def with_the_worker_killed(workbench: Workbench, chain: Path, moment: float) -> tuple[str, Run]:
    """So many seconds after `hold` stands still. What was said, and what is left."""
    for name in ("held", "dead"):
        (workbench.folder / name).unlink(missing_ok=True)
    process = workbench.start("run", chain, "--overwrite")
    workbench.wait_for(workbench.folder / "held")
    time.sleep(moment)  # any moment will do
    os.kill(workbench.worker(), signal.SIGKILL)
    (workbench.folder / "dead").touch()
    result = workbench.end(process)
    assert result.returncode == 1, result.stderr
    assert workbench.processes() == {}
    return result.stderr, Run(workbench)


def up_to(packet: int, lines: list[str]) -> list[str]:
    return [line for line in lines if json.loads(line)["packet"] <= packet]


@pytest.mark.timeout(0)
def test_all_nfs_read_just_what_the_dead_worker_left(workbench: Workbench, chain: Path) -> None:
    whole = undisturbed(workbench, chain)
    chance = random.Random(SEED)
    for _ in range(KILLS):
        moment = chance.uniform(0, LONGEST)
        said, left = with_the_worker_killed(workbench, chain, moment)
        packets = left.summary["input"]["packets"]
        assert 0 < packets < whole.summary["input"]["packets"]
        death = f"the worker was killed by SIGKILL behind packet {packets:,}"
        assert f"error: {death}; NFs read what it left, and the run ends here" in said
        assert (left.summary["error"], left.summary["ended"]) == (death, "failed")
        assert {nf["outcome"] for nf in left.summary["nfs"]} == {"finished"}
        for name in WRITERS:
            assert left.logs[name] == up_to(packets, whole.logs[name]), (name, moment)
        assert left.nf("skipper")["summary"]["all"] == len(left.logs["in_c"])
        check_what_left(left, whole)


def check_what_left(left: Run, whole: Run) -> None:
    """Of the packets that NFs passed, some had not been written; what had been can be read."""
    assert whole.output.startswith(left.output)
    for balance in left.summary["balances"]:
        assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"]), balance
    lost = [part for part in left.balance("output")["parts"] if part["count"] and part["is_loss"]]
    assert [part["what"] for part in lost] == ["that the worker had not written when it died"]
    assert left.summary["lost"] == lost[0]["count"]
    assert "flows were live, whose ends NFs were not told" in left.summary["warnings"][0]
    assert 0 < left.summary["output"]["packets"] < whole.summary["output"]["packets"]
