"""NFs that stand still in the middle of traffic are ended at their deadline, and not before."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Workbench

COUNT = """
class Count(NetworkFunction):
    def start(self):
        self.seen = set()
    @on("packet")
    def see(self, event):
        self.seen.add(event.packet)
    def finish(self):
        return {"seen": len(self.seen)}
"""

AT = 9000  # behind what an NF takes in one poll: it has then passed something before

STANDS = """
class Stands(NetworkFunction):
    inline = INLINE
    @on("packet")
    def see(self, event):
        if event.packet == AT:
            STAND
"""

WAYS = {
    "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "looping": "while True: pass",
    "asleep": "time.sleep(600)",
}


def run(workbench: "Workbench", demo: "Path", way: str, **keys: Any) -> tuple[str, dict[str, Any]]:
    code = STANDS.replace("STAND\n", WAYS[way] + "\n").replace("AT:", f"{AT}:")
    code = code.replace("INLINE", str("on_failure" in keys))
    chain = workbench.chain(
        {"nf": workbench.nf("stands", code), "deadline": "500ms", **keys},
        workbench.nf("count", COUNT),
        capture=demo,
        output=str(workbench.folder / "out.pcap"),
    )
    result = workbench.run("run", chain)
    assert workbench.processes() == {}
    return result.stderr, workbench.summary()


@pytest.mark.parametrize(("way", "on_failure"), [("stopped", "open"), ("looping", "closed")])
def test_an_inline_nf_past_its_deadline_is_killed(
    workbench: "Workbench", demo: "Path", way: str, on_failure: str
) -> None:
    said, summary = run(workbench, demo, way, on_failure=on_failure)
    outcome = "stood still for longer than its deadline of 0.5 s and was killed"
    assert f"error: stands {outcome}; the rest of the chain goes on" in said
    assert summary["nfs"][0]["outcome"] == outcome
    seen = summary["nfs"][1]["summary"]["seen"]
    assert summary["output"]["packets"] == seen
    packets = summary["input"]["packets"]
    if on_failure == "open":
        assert seen == packets
    else:
        assert 0 < seen < AT
        assert summary["reasons"]["nf.failed_closed"] == packets - seen


def test_so_is_a_passive_one(workbench: "Workbench", demo: "Path") -> None:
    said, summary = run(workbench, demo, "asleep")
    assert "stands stood still for longer than its deadline" in said
    assert summary["nfs"][1]["summary"] == {"seen": summary["input"]["packets"]}


# Slow all the time, but it gets on: 64 events take 0.1 s.
SLOW = """
class Slow(NetworkFunction):
    seen = 0
    @on("tcp.start")
    def see(self, event):
        self.seen += 1
        time.sleep(0.0015)
    def finish(self):
        return {"seen": self.seen}
"""

# Waits for whole batches, most of the time for nothing.
BATCHES = """
class Batches(NetworkFunction):
    seen = 0
    @on_batch("tcp.start")
    def see(self, batch):
        self.seen += len(batch)
    def finish(self):
        return {"seen": self.seen}
"""


def test_who_is_slow_or_waits_for_others_does_not_stand_still(
    workbench: "Workbench", demo: "Path"
) -> None:
    batches = workbench.nf("batches", "from microbox import on_batch\n" + BATCHES)
    chain = workbench.chain(
        {"nf": workbench.nf("slow", SLOW), "deadline": "300ms"},
        {"nf": batches, "deadline": "300ms"},
        capture=demo,
    )
    result = workbench.run("run", chain)
    assert result.returncode == 0, result.stderr
    slow, waits = workbench.summary()["nfs"]
    assert slow["summary"] == waits["summary"]


def test_a_deadline_is_a_duration(workbench: "Workbench") -> None:
    chain = workbench.chain({"nf": workbench.nf("count", COUNT), "deadline": 2})
    result = workbench.run("check", chain)
    assert (
        "`chain[0].deadline` is 2 (a whole number); expected a duration with its unit"
        in result.stderr
    )
    assert "did you mean '2s'?" in result.stderr
