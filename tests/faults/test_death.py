"""Processes die in the middle of a replay: what can go on goes on, and nothing is left behind."""

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Workbench

# Counts packets, slowly enough that the test can act while they flow.
SLOW = """
class Slow(NetworkFunction):
    def start(self):
        self.seen = 0
        self.file = open(f"{self.name}.pid", "w")
        print(os.getpid(), file=self.file, flush=True)
    @on("packet")
    def see(self, event):
        self.seen += 1
        time.sleep(0.1)
        if self.seen == 3:
            open(f"{self.name}.seen", "w").write("3")
    def finish(self):
        return {"seen": self.seen}
"""

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

PACKETS = 12  # of sample.pcap


@pytest.fixture
def slow_chain(workbench: "Workbench") -> Path:
    return workbench.chain(workbench.nf("slow", SLOW), workbench.nf("count", COUNT))


def in_shared_memory() -> set[str]:
    return {file.name for file in Path("/dev/shm").iterdir()}


def test_a_killed_nf_is_named_and_the_rest_runs_to_the_end(
    workbench: "Workbench", slow_chain: Path
) -> None:
    before = in_shared_memory()
    process = workbench.start("run", slow_chain)
    workbench.wait_for(workbench.folder / "slow.seen")
    os.kill(int(workbench.wait_for(workbench.folder / "slow.pid")), signal.SIGKILL)
    result = workbench.end(process)

    assert result.returncode == 1
    assert "slow was killed by SIGKILL; the rest of the chain goes on" in result.stderr
    summary = workbench.summary()
    assert summary["error"] == "slow was killed by SIGKILL"
    outcomes = {nf["name"]: nf["outcome"] for nf in summary["nfs"]}
    assert outcomes == {"slow": "was killed by SIGKILL", "count": "finished"}
    assert len(workbench.log("count")) == PACKETS
    assert summary["input"]["packets"] == PACKETS
    assert workbench.processes() == {}
    assert in_shared_memory() <= before


def test_what_a_dead_nf_never_saw_is_accounted_for(
    workbench: "Workbench", slow_chain: Path
) -> None:
    process = workbench.start("run", slow_chain)
    workbench.wait_for(workbench.folder / "slow.seen")
    os.kill(int(workbench.wait_for(workbench.folder / "slow.pid")), signal.SIGKILL)
    workbench.end(process)

    summary = workbench.summary()
    (balance,) = [one for one in summary["balances"] if one["name"] == "read by slow"]
    assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"])
    assert summary["lost"] == balance["parts"][1]["count"] > 0


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("os._exit(7)", "exited with status 7"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "was killed by SIGSEGV"),
        ("os.close(int(sys.argv[1])); time.sleep(60)", "was killed by SIGKILL"),
    ],
)
def test_however_an_nf_goes_it_is_said_how(workbench: "Workbench", end: str, words: str) -> None:
    leaving = f"""
class Leaving(NetworkFunction):
    @on("packet")
    def see(self, event):
        if event.packet == 5:
            {end}
"""
    chain = workbench.chain(workbench.nf("leaving", leaving), workbench.nf("count", COUNT))
    result = workbench.run("run", chain)
    assert result.returncode == 1
    assert f"leaving {words}; the rest of the chain goes on" in result.stderr
    assert len(workbench.log("count")) == PACKETS
    assert workbench.processes() == {}


def test_when_the_worker_is_killed_the_chain_ends_with_what_it_has(
    workbench: "Workbench", slow_chain: Path
) -> None:
    process = workbench.start("run", slow_chain)
    workbench.wait_for(workbench.folder / "slow.seen")
    os.kill(workbench.worker(), signal.SIGKILL)
    result = workbench.end(process)

    assert result.returncode == 1
    assert (
        "the worker was killed by SIGKILL behind packet 12; NFs read what it left" in result.stderr
    )
    summary = workbench.summary()
    assert summary["ended"] == "failed"
    assert {nf["outcome"] for nf in summary["nfs"]} == {"finished"}
    assert [nf["summary"]["seen"] for nf in summary["nfs"]] == [PACKETS, PACKETS]
    assert workbench.processes() == {}


DIES = """
class Dies(NetworkFunction):
    inline = True
    @on("packet")
    def see(self, event):
        open("held", "w").write("yes")
        while not os.path.exists("dead"):
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("on_failure", "seen"), [("open", PACKETS), ("closed", 0)])
def test_an_nf_that_dies_behind_the_worker_is_not_waited_for(
    workbench: "Workbench", on_failure: str, seen: int
) -> None:
    dies = {"nf": workbench.nf("dies", DIES), "on_failure": on_failure}
    process = workbench.start("run", workbench.chain(dies, workbench.nf("count", COUNT)))
    workbench.wait_for(workbench.folder / "held")
    os.kill(workbench.worker(), signal.SIGKILL)
    (workbench.folder / "dead").touch()
    workbench.end(process)
    dead, count = workbench.summary()["nfs"]
    assert dead["outcome"] == "was killed by SIGKILL"
    assert (count["outcome"], count["summary"]["seen"]) == ("finished", seen)


def test_when_the_controller_is_killed_all_children_die(
    workbench: "Workbench", slow_chain: Path
) -> None:
    before = in_shared_memory()
    process = workbench.start("run", slow_chain)
    workbench.wait_for(workbench.folder / "slow.seen")
    assert len(workbench.processes()) >= 3  # the other NF may have finished
    process.kill()
    process.wait()
    workbench.until(lambda: workbench.processes() == {}, timeout=5)
    assert in_shared_memory() <= before


def test_the_next_run_cleans_up_after_a_killed_controller(
    workbench: "Workbench", slow_chain: Path
) -> None:
    process = workbench.start("run", slow_chain)
    workbench.wait_for(workbench.folder / "slow.seen")
    process.kill()
    process.wait()
    assert list((workbench.folder / "microbox").iterdir())
    result = workbench.run("ps")
    assert (result.returncode, result.stdout) == (0, "nothing runs\n")
    assert not list((workbench.folder / "microbox").iterdir())


JUDGE = """
class Judge(NetworkFunction):
    inline = True
    @on("packet")
    def see(self, event):
        if event.packet == 5:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("on_failure", "passed"), [("open", PACKETS), ("closed", 0)])
def test_what_a_dead_inline_nf_did_not_judge_passes_or_not_as_configured(
    workbench: "Workbench", on_failure: str, passed: int
) -> None:
    judge = {"nf": workbench.nf("judge", JUDGE), "on_failure": on_failure}
    chain = workbench.chain(
        judge, workbench.nf("count", COUNT), output=str(workbench.folder / "out.pcap")
    )
    result = workbench.run("run", chain)
    assert result.returncode == 1
    summary = workbench.summary()
    assert summary["nfs"][1]["summary"] == {"seen": passed}
    assert summary["output"]["packets"] == passed
    (balance,) = [one for one in summary["balances"] if one["name"] == "output"]
    assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"])


PUBLISH = """
class Publish(NetworkFunction):
    declares = {"packet.odd": {"number": "u32"}}
    publishes = ["packet.odd"]
    @on("packet")
    def see(self, event):
        if event.packet == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        if event.packet % 2:
            self.publish("packet.odd", cause=event, number=event.packet)
        time.sleep(0.05)
"""

READ = """
class Read(NetworkFunction):
    declares = {"packet.odd": {"number": "u32"}}
    odd = []
    seen = 0
    @on("packet.odd")
    def take(self, event):
        self.odd.append(event.number)
    @on("packet.ip.tcp")
    def see(self, event):
        self.seen += 1
    def finish(self):
        return {"odd": self.odd, "seen": self.seen}
"""


def test_who_reads_a_dead_nfs_events_gets_what_it_published_and_goes_on(
    workbench: "Workbench",
) -> None:
    chain = workbench.chain(workbench.nf("publish", PUBLISH), workbench.nf("read", READ))
    result = workbench.run("run", chain)
    assert result.returncode == 1
    publish, read = workbench.summary()["nfs"]
    assert publish["outcome"] == "was killed by SIGKILL"
    assert read["outcome"] == "finished"
    assert read["summary"]["seen"] == 10
    assert read["summary"]["odd"] in ([], [1, 3, 5, 7])  # as far as it moved its cursor


CRASH = """
import ctypes
class Crash(NetworkFunction):
    @on("packet")
    def see(self, event):
        ctypes.string_at(0)
"""


def test_a_crash_in_c_says_where_in_the_nf_it_was(workbench: "Workbench") -> None:
    result = workbench.run("run", workbench.chain(workbench.nf("crash", CRASH)))
    assert result.returncode == 1
    assert "crash was killed by SIGSEGV" in result.stderr
    assert 'crash.py", line 8 in see' in result.stderr
