"""Loss is said while it happens, once for each kind; and at the end it adds up, to the packet."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stack_driver.captures import frames_of

if TYPE_CHECKING:
    from tests.conftest import Workbench

# Stands still at its first packet until all others are far ahead.
SLOW = """
class Slow(NetworkFunction):
    lost = seen = 0
    @on("packet")
    def see(self, event):
        self.seen += 1
        while self.seen == 1 and not os.path.exists("far"):
            time.sleep(0.01)
    @on("system.lost")
    def count(self, event):
        self.lost += event.events
    def finish(self):
        return {"seen": self.seen, "lost": self.lost}
"""

# Keeps the run from ending until the test has heard enough.
HOLDS = """
class Holds(NetworkFunction):
    @on("packet")
    def hold(self, event):
        if event.packet != 8000:
            return
        open("far", "w").close()
        while not os.path.exists("heard"):
            time.sleep(0.01)
"""

CAP = "the cap on flows is met: packets are dropped (flows_at_cap: drop-packet)"
LAG = "slow is too slow and loses events (on_lag: skip)"


def balances(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By name; they all add up."""
    for balance in summary["balances"]:
        parts = sum(part["count"] for part in balance["parts"])
        assert parts == balance["total"]["count"], balance
    return {balance["name"]: balance for balance in summary["balances"]}


def parts(balance: dict[str, Any]) -> dict[str, int]:
    return {part["what"]: part["count"] for part in balance["parts"]}


def test_loss_is_said_at_once_and_adds_up_at_the_end(workbench: Workbench, demo: Path) -> None:
    out = workbench.folder / "out.pcap"
    chain = workbench.chain(
        {"nf": workbench.nf("slow", SLOW), "on_lag": "skip"},
        {"nf": "firewall", "deny": ["tcp dst port 443"]},
        workbench.nf("holds", HOLDS),
        capture=demo,
        output=str(out),
        log={"slots": 4096},
        stack={"flows_max": 64, "flows_at_cap": "drop-packet"},
    )
    run = workbench.start("run", chain)
    assert run.stderr is not None
    heard: collections.Counter[str] = collections.Counter()
    while len(heard) < 2:  # the run is held until both were said
        heard[run.stderr.readline().strip()] += 1
    (workbench.folder / "heard").touch()
    ended = workbench.end(run)
    assert ended.returncode == 0, ended.stderr
    heard.update(line for line in ended.stderr.splitlines() if "warning" in line)
    rest = "; the summary will say how many"
    assert heard == {f"microbox: warning: {what}{rest}": 1 for what in (CAP, LAG)}

    summary = workbench.summary()
    by_name = balances(summary)
    packets = sum(1 for _ in frames_of(demo))
    received = by_name["received"]
    dropped = summary["caps_met"]["flows"]["drop-packet"]
    assert received["total"]["count"] == packets
    assert parts(received) == {"processed": packets - dropped, "dropped at a cap": dropped}
    output = parts(by_name["output"])
    assert output["written"] == sum(1 for _ in frames_of(out))
    assert output["dropped at a cap"] == dropped
    assert output["dropped by NFs"] > 0
    slow = next(nf for nf in summary["nfs"] if nf["name"] == "slow")
    lagging = parts(by_name["events for slow"])
    lost = lagging["that it was too slow for (on_lag: skip)"]
    assert slow["summary"] == {"seen": slow["matched"], "lost": lost}
    events = summary["events"]  # as the worker counted them
    offered = sum(events[name] for name in events if name.partition(".")[0] == "packet")
    assert lagging["that it read"] + lost == offered
    assert summary["lost"] == dropped + lost
