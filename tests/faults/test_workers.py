"""Several workers, and one of their processes dies in the middle of a replay."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import Workbench

COUNT = """
class Count(NetworkFunction):
    seen = 0
    @on("packet")
    def see(self, event):
        self.seen += 1
        self.record(event, number=event.packet)
    def finish(self):
        return {"seen": self.seen}
"""


class Run:
    """Two workers that replay the demo capture at its own pace."""

    def __init__(self, workbench: Workbench, demo: Path) -> None:
        self.workbench = workbench
        self.demo = demo

    def start(self, **settings: Any) -> subprocess.Popen[str]:
        count = {"nf": self.workbench.nf("count", COUNT), **settings}
        chain = self.workbench.chain(
            count, "flow_log", capture=self.demo, output="out.pcap", workers=2
        )
        process = self.workbench.start("run", chain, "--pace", "0.5")
        self.workbench.until(lambda: self.status().get("packets"))
        return process

    def status(self) -> dict[str, Any]:
        """As `microbox ps` has it; {} before there is a run."""
        found = json.loads(self.workbench.run("ps", "--json").stdout)
        return found[0] if found else {}

    def nf_of_worker_2(self) -> int:
        """Process number of `count` there."""
        nfs = self.status()["nfs"]
        found = (nf for nf in nfs if (nf["name"], nf["worker"]) == ("count", "worker 2"))
        return int(next(found)["process"])

    def report(self) -> dict[str, Any]:
        """What is left of the run, which adds up."""
        assert self.workbench.processes() == {}
        report = self.workbench.summary()
        for balance in report["balances"]:
            assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"])
        assert not list((self.workbench.folder / "microbox-logs").glob("*.part"))
        return report

    def stop_after(self, process: subprocess.Popen[str], words: str, status: int) -> None:
        """Ends the run in order once it has said so; its exit status."""
        assert process.stderr is not None
        assert any(words in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        assert self.workbench.end(process).returncode == status

    def seen(self) -> list[int]:
        """Numbers of packets, as they stand in the log of `count`."""
        return [line["number"] for line in self.workbench.log("count")]


@pytest.fixture
def two(workbench: Workbench, demo: Path) -> Run:
    return Run(workbench, demo)


def test_ps_shows_the_sum_and_each(two: Run, workbench: Workbench) -> None:
    process = two.start()
    status = two.status()
    assert [one["name"] for one in status["workers"]] == ["worker 1", "worker 2"]
    assert {(nf["name"], nf["worker"]) for nf in status["nfs"]} == {
        (name, worker) for name in ("count", "flow_log") for worker in ("worker 1", "worker 2")
    }
    assert len({one["process"] for one in (*status["workers"], *status["nfs"])}) == 6
    shown = workbench.run("ps").stdout
    assert "\n  worker 2 " in shown
    assert "count of worker 2" in shown
    process.send_signal(signal.SIGINT)
    assert workbench.end(process).returncode == 128 + signal.SIGINT
    report = two.report()
    assert report["ended"] == "interrupted"
    assert two.seen() == sorted(two.seen())
    assert len(set(two.seen())) == report["input"]["packets"] == report["output"]["packets"]


def test_a_worker_is_killed_and_the_run_ends_with_what_there_is(
    two: Run, workbench: Workbench
) -> None:
    process = two.start()
    os.kill(two.status()["workers"][1]["process"], signal.SIGKILL)
    ended = workbench.end(process)
    assert ended.returncode == 1
    assert "error: worker 2 was killed by SIGKILL behind packet" in ended.stderr
    report = two.report()
    assert {nf["outcome"] for nf in report["nfs"]} == {"finished"}
    assert report["error"].startswith("worker 2 was killed by SIGKILL behind packet")
    assert two.seen() == sorted(two.seen()) != []


def test_an_nf_is_killed_and_the_rest_goes_on(two: Run) -> None:
    process = two.start()
    os.kill(two.nf_of_worker_2(), signal.SIGKILL)
    gone = "error: count of worker 2 was killed by SIGKILL; the rest of the chain goes on"
    two.stop_after(process, gone, 1)
    report = two.report()
    assert [nf["outcome"] for nf in report["nfs"]] == [
        "was killed by SIGKILL (worker 2)",
        "finished",
    ]
    assert "read by count of worker 2" in {balance["name"] for balance in report["balances"]}


def test_an_nf_comes_back_in_its_place(two: Run) -> None:
    process = two.start(restart=True)
    os.kill(two.nf_of_worker_2(), signal.SIGKILL)
    two.stop_after(process, "count of worker 2 runs again, from event", 128 + signal.SIGTERM)
    report = two.report()
    assert [(nf["outcome"], nf["restarts"]) for nf in report["nfs"]] == [
        ("finished", 1),
        ("finished", 0),
    ]
    assert two.seen() == sorted(two.seen()) != []


def test_the_controller_is_killed_and_nothing_is_left(two: Run, workbench: Workbench) -> None:
    process = two.start()
    assert len(workbench.processes()) == 7
    process.kill()
    process.wait()
    workbench.until(lambda: workbench.processes() == {}, timeout=5)


def test_an_nf_that_raises_in_one_worker_stops_all(two: Run, workbench: Workbench) -> None:
    code = COUNT.replace("self.seen += 1", "self.seen += 1 + (1 // (event.packet != 4000) - 1)")
    workbench.nf("raises", code)
    chain = workbench.chain({"nf": "./raises.py", "name": "count"}, capture=two.demo, workers=2)
    ended = workbench.run("run", chain)
    assert ended.returncode == 1
    report = two.report()
    assert report["ended"] == "failed"
    assert [(one["nf"], one["count"]) for one in report["problems"]] == [("count", 1)]
