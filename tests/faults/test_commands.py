"""Commands of NFs about flows in whole runs: the same in every replay, however the processes are
scheduled, and no trouble when their NF dies."""

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.conftest import Workbench

REPLAYS = 10 if os.environ.get("MICROBOX_NIGHTLY") else 3

# Looks at the first bytes of each side, leaves the flow, and idles at random.
FIRST_BYTES = """
import random
class FirstBytes(NetworkFunction):
    @on("tcp.data", switch=True)
    def look(self, event):
        self.record(event, offset=event.offset, length=len(event.data))
        side = ("originator", "responder")[event.direction]
        if event.offset > 200:
            event.flow.unsubscribe("tcp.data", side=side)
        if random.random() < 0.002:
            time.sleep(0.005)
    @on("tcp.end")
    def end(self, event):
        self.record(event, reason=str(event.reason))
"""

# What packets show of their flow depends on what the stack does for it just then.
WATCH = """
import zlib
class Watch(NetworkFunction):
    shown = 0
    @on("packet.ip.tcp")
    def watch(self, event):
        sides = event.snapshot.side
        shown = [(side.state, side.next, side.acknowledged, side.bytes) for side in sides]
        self.shown = zlib.crc32(repr(shown).encode(), self.shown)
    def finish(self):
        return {"shown": self.shown}
"""

# Reads the bytes of a connection from the middle on, and only now and then.
DIP = """
class Dip(NetworkFunction):
    @on("udp.datagram", "tcp.data", initially=False)
    def dip(self, event):
        self.record(event, packet=event.packet)
        event.flow.unsubscribe("udp.datagram", "tcp.data")
    @on("packet")
    def choose(self, event):
        if event.flow and event.packet % 7 == 0:
            event.flow.subscribe("udp.datagram", "tcp.data")
"""

LEAVE_AND_DIE = """
class LeaveAndDie(NetworkFunction):
    left = 0
    @on("packet.ip.tcp", "packet.ip.udp")
    def leave(self, event):
        event.flow.unsubscribe()
        self.left += 1
        if self.left == 40:
            os.kill(os.getpid(), signal.SIGKILL)
"""

COUNT = """
class Count(NetworkFunction):
    packets = 0
    @on("packet")
    def count(self, event):
        self.packets = max(self.packets, event.packet)
    def finish(self):
        return {"packets": self.packets}
"""


def without_timing(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in summary.items() if name not in ("timing", "directory")}


def test_replays_are_the_same_however_they_are_scheduled(
    workbench: "Workbench", demo: Path
) -> None:
    entries = [
        workbench.nf("first_bytes", FIRST_BYTES),
        workbench.nf("watch", WATCH),
        workbench.nf("dip", DIP),
    ]
    seen = set()
    dice = random.Random(1)
    cpus = sorted(os.sched_getaffinity(0))
    for number in range(REPLAYS):
        chain = workbench.chain(
            *entries,
            capture=demo,
            stack={"command_delay": 300},
            log={"slots": dice.choice([4096, 16384, 65536])},
        )
        chosen = dice.sample(cpus, dice.randint(1, len(cpus)))
        affinity = ",".join(map(str, chosen))
        prefix = ["taskset", "-c", affinity, "nice", "-n", str(dice.randint(0, 19))]
        logs = f"logs-{number}"
        result = workbench.run("run", chain, "--write", logs, prefix=prefix)
        assert result.returncode == 0, result.stderr
        summary = workbench.summary(logs)
        assert any(balance["name"] == "commands" for balance in summary["balances"])
        texts = [
            (workbench.folder / logs / f"{name}.jsonl").read_bytes()
            for name in ("first_bytes", "dip")
        ]
        seen.add((*texts, repr(without_timing(summary))))
    assert len(seen) == 1


def test_an_nf_that_dies_with_commands_on_the_way_holds_nothing_up(
    workbench: "Workbench", demo: Path
) -> None:
    chain = workbench.chain(
        workbench.nf("leave_and_die", LEAVE_AND_DIE),
        workbench.nf("count", COUNT),
        capture=demo,
        stack={"command_delay": 1000},
    )
    result = workbench.run("run", chain)
    assert "leave_and_die was killed by SIGKILL; the rest of the chain goes on" in result.stderr
    summary = workbench.summary()
    assert summary["nfs"][1]["summary"] == {"packets": summary["input"]["packets"]}
    commands = next(one for one in summary["balances"] if one["name"] == "commands")
    assert commands["total"]["count"] == 40
    assert sum(part["count"] for part in commands["parts"]) == 40
