"""An NF that is slower than its input: with `on_lag: block` all wait for it, with `on_lag: skip` it
alone loses events, and is told how many."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Workbench

SLOTS = 4096  # the smallest log: what is not read soon is overwritten

# Stands still until all others have read the capture, or nearly.
SLOW = """
class Slow(NetworkFunction):
    handled = lost = 0
    first = True
    @on("packet", "flow.tcp")
    def handle(self, event):
        self.handled += 1
        if self.first:
            self.first = False
            time.sleep(1.0)
    @on("system.lost")
    def count(self, event):
        self.lost += event.events
        self.record(event, events=event.events)
    def finish(self):
        return {"handled": self.handled, "lost": self.lost}
"""

SLOW_IN_BATCHES = """
from microbox import on_batch
class SlowInBatches(NetworkFunction):
    handled = lost = 0
    first = True
    @on_batch("packet")
    def handle(self, batch):
        assert (batch.sequence[1:] > batch.sequence[:-1]).all()
        assert (batch.packet > 0).all()
        self.handled += len(batch)
        if self.first:
            self.first = False
            time.sleep(1.0)
    @on("system.lost")
    def count(self, event):
        self.lost += event.events
    def finish(self):
        return {"handled": self.handled, "lost": self.lost}
"""

OTHER = """
import zlib
class Other(NetworkFunction):
    seen = 0
    @on("packet", "flow")
    def see(self, event):
        self.seen = zlib.crc32(f"{event.name} {event.packet} {event.time}".encode(), self.seen)
    def finish(self):
        return {"seen": self.seen}
"""


def outcome(summary: dict[str, Any], name: str) -> dict[str, Any]:
    return next(nf for nf in summary["nfs"] if nf["name"] == name)


def run_chain(bench: "Workbench", demo: Any, code: str, on_lag: str) -> dict[str, Any]:
    slow = {"nf": bench.nf("slow", code), "on_lag": on_lag}
    others = [
        "flow_log",
        {"nf": "firewall", "deny": ["tcp dst port 443"]},
        bench.nf("other", OTHER),
    ]
    chain = bench.chain(
        slow, *others, capture=demo, log={"slots": SLOTS}, output=str(bench.folder / "out.pcap")
    )
    ran = bench.run("run", chain, "--overwrite")
    assert ran.returncode == 0, ran.stderr
    return bench.summary()


@pytest.mark.parametrize("code", [SLOW, SLOW_IN_BATCHES], ids=["events", "batches"])
def test_what_is_handled_and_what_is_lost_is_all(
    workbench: "Workbench", demo: Any, code: str
) -> None:
    blocked = run_chain(workbench, demo, code, "block")
    files = {
        name: (workbench.folder / name).read_bytes()
        for name in ("out.pcap", "microbox-logs/flow_log.jsonl")
    }
    skipped = run_chain(workbench, demo, code, "skip")

    all_of_it, slow = outcome(blocked, "slow"), outcome(skipped, "slow")
    assert all_of_it["summary"]["lost"] == all_of_it["lost"] == 0
    assert slow["summary"]["lost"] == slow["lost"] > 0
    assert slow["summary"]["handled"] + slow["lost"] == all_of_it["summary"]["handled"]
    assert slow["matched"] + slow["lost"] == all_of_it["matched"]

    for name, content in files.items():
        assert (workbench.folder / name).read_bytes() == content
    for name in ("flow_log", "firewall", "other"):
        assert outcome(skipped, name) == outcome(blocked, name)


def test_the_summary_says_who_lost_how_many(workbench: "Workbench", demo: Any) -> None:
    summary = run_chain(workbench, demo, SLOW, "skip")
    balance = next(one for one in summary["balances"] if one["name"] == "events for slow")
    assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"])
    assert outcome(summary, "slow")["lost"] in [part["count"] for part in balance["parts"]]
