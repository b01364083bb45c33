"""NFs leave and are read anew while packets flow, at one event, and the others notice nothing."""

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import Workbench

COUNT = """
class Count(NetworkFunction):
    def start(self):
        self.seen = []
        open(f"{self.name}.VERSION", "w").write("started")
    @on("packet")
    def see(self, event):
        if not self.seen or self.seen[-1] != event.packet:
            self.seen.append(event.packet)
            self.record(event, number=event.packet)
    def finish(self):
        return {"VERSION": [self.seen[0], self.seen[-1]], "count": len(self.seen)}
"""


@pytest.fixture
def run(workbench: "Workbench", demo: Path) -> "subprocess.Popen[str]":
    """A chain of two that runs at the pace of its capture."""
    write(workbench, "one", "1")
    write(workbench, "two", "1")
    chain = workbench.chain("./one.py", "./two.py", capture=demo)
    process = workbench.start("run", chain, "--pace", "0.5")
    workbench.until(lambda: "packets" in workbench.run("ps").stdout)
    return process


def write(workbench: "Workbench", name: str, version: str, code: str = COUNT) -> None:
    workbench.nf(name, code.replace("VERSION", version))


def summaries(workbench: "Workbench", process: "subprocess.Popen[str]") -> dict[str, Any]:
    workbench.run("stop")
    workbench.end(process)
    summary = workbench.summary()
    assert workbench.processes() == {}
    for balance in summary["balances"]:
        assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"])
    assert summary["lost"] == 0
    return {nf["name"]: nf for nf in summary["nfs"]} | {"": summary["input"]["packets"]}


def test_an_nf_leaves_and_the_chain_goes_on(
    workbench: "Workbench", run: "subprocess.Popen[str]"
) -> None:
    result = workbench.run("detach", "one")
    assert (result.returncode, result.stdout.split(",")[0]) == (0, "one leaves")
    nfs = summaries(workbench, run)
    assert nfs["one"]["outcome"] == "left"
    assert nfs["one"]["summary"]["count"] < nfs[""]
    assert nfs["two"]["summary"] == {"1": [1, nfs[""]], "count": nfs[""]}


def test_a_new_process_takes_over_at_one_event(
    workbench: "Workbench", run: "subprocess.Popen[str]"
) -> None:
    write(workbench, "one", "2")
    result = workbench.run("reload", "one")
    assert result.returncode == 0, result.stderr
    nfs = summaries(workbench, run)
    summary = nfs["one"]["summary"]
    assert summary["count"] == nfs[""]
    assert summary["1"][0] == 1
    assert summary["2"] == [summary["1"][1] + 1, nfs[""]]
    assert [line["number"] for line in workbench.log("one")] == list(range(1, nfs[""] + 1))
    assert nfs["two"]["summary"]["count"] == nfs[""]


FLOWS = """
class Flows(NetworkFunction):
    def start(self):
        self.known, self.later = [], 0
    @on("flow.present", "packet")
    def see(self, event):
        if event.type.name == "flow.present":
            self.known.append(event.flow.id)
            assert not self.later
        else:
            self.later += 1
    def finish(self):
        return {"VERSION": self.known}
"""


def test_who_asks_for_it_is_told_of_the_flows_that_began_before(
    workbench: "Workbench", demo: Path
) -> None:
    write(workbench, "flows", "1", FLOWS)
    entry = {"nf": "./flows.py", "catch_up": "flows"}
    chain = workbench.chain(entry, "flow_log", capture=demo)
    process = workbench.start("run", chain, "--pace", "0.5")
    workbench.until(lambda: "packets" in workbench.run("ps").stdout)
    write(workbench, "flows", "2", FLOWS)
    assert workbench.run("reload", "flows").returncode == 0
    summary = summaries(workbench, process)["flows"]["summary"]
    assert summary["1"] == []
    assert summary["2"] == sorted(summary["2"]) != []
    assert {line["flow_id"] for line in workbench.log("flow_log")} >= {*summary["2"]}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("class Broken(NetworkFunction)\n", "expected ':'"),
        (COUNT.replace('@on("packet")', '@on("packet.ip")'), "is another NF now"),
    ],
)
def test_what_does_not_load_or_fit_changes_nothing(
    workbench: "Workbench", run: "subprocess.Popen[str]", code: str, words: str
) -> None:
    write(workbench, "one", "2", code)
    result = workbench.run("reload", "one")
    assert result.returncode == 1
    assert words in result.stderr
    nfs = summaries(workbench, run)
    assert nfs["one"]["summary"] == {"1": [1, nfs[""]], "count": nfs[""]}


def test_all_workers_processes_go_and_come(workbench: "Workbench", demo: Path) -> None:
    write(workbench, "one", "1")
    write(workbench, "two", "1")
    chain = workbench.chain("./one.py", "./two.py", capture=demo, workers=2)
    process = workbench.start("run", chain, "--pace", "0.5")
    workbench.until(lambda: "packets" in workbench.run("ps").stdout)
    assert workbench.run("detach", "two").returncode == 0
    write(workbench, "one", "2")
    result = workbench.run("reload", "one")
    assert (result.returncode, result.stderr) == (0, "")
    assert "of the workers" in result.stdout
    nfs = summaries(workbench, process)
    assert nfs["two"]["outcome"] == "left"
    summary = nfs["one"]["summary"]
    assert (len(summary["1"]), len(summary["2"]), summary["count"]) == (4, 4, nfs[""])
    numbers = [line["number"] for line in workbench.log("one")]
    assert len(numbers) == nfs[""]
    assert numbers == sorted(set(numbers))
    _, last, _, last_of_other = summary["2"]
    both_came_to = min(last, last_of_other)  # each worker stops at a packet of its own
    assert numbers[:both_came_to] == list(range(1, both_came_to + 1))


def test_there_has_to_be_such_an_nf(workbench: "Workbench", run: "subprocess.Popen[str]") -> None:
    result = workbench.run("detach", "three")
    assert result.returncode == 1
    assert "there is no NF 'three'; expected one of: one, two" in result.stderr
    summaries(workbench, run)


SHARE = """
class Share(NetworkFunction):
    def start(self):
        self.before = self.after = 0
    @on("packet")
    def see(self, event):
        self.VERSION += 1
        self.record(event, number=event.packet)
    def finish(self):
        return {"before": self.before, "after": self.after}
"""


def test_instances_are_read_anew_together_and_leave_together(
    workbench: "Workbench", demo: Path
) -> None:
    """At one event, by the name that the chain has for them; no packet is missed or seen twice."""
    write(workbench, "share", "before", SHARE)
    write(workbench, "all", "before", SHARE)
    chain = workbench.chain({"nf": "./share.py", "instances": 2}, "./all.py", capture=demo)
    process = workbench.start("run", chain, "--pace", "0.5")
    workbench.until(lambda: "packets" in workbench.run("ps").stdout)
    alone = workbench.run("reload", "share.1")
    assert "name them 'share'" in alone.stderr
    write(workbench, "share", "after", SHARE)
    renewed = workbench.run("reload", "share")
    assert renewed.returncode == 0, renewed.stderr
    gone = workbench.run("detach", "share")
    assert gone.returncode == 0, gone.stderr
    nfs = summaries(workbench, process)
    shared = nfs["share"]["summary"]
    assert shared["before"] > 0
    assert shared["after"] > 0
    numbers = sorted(line["number"] for line in workbench.log("share"))
    assert numbers == [line["number"] for line in workbench.log("all")][: len(numbers)]
    assert len(numbers) == shared["before"] + shared["after"]


GATE = """
class Gate(NetworkFunction):
    inline = True
    @on("packet")
    def pass_on(self, event):
        pass
"""

# Of two processes the one that starts first waits for the other, which starts well and then ends.
DYING = """
import threading
class Share(NetworkFunction):
    def start(self):
        try:
            open("first", "x").close()
        except FileExistsError:
            threading.Timer(0.5, os._exit, (1,)).start()
        else:
            time.sleep(2)
    @on("packet")
    def see(self, event):
        raise AssertionError("it has come")
"""


def test_instances_of_which_one_dies_before_it_comes_change_nothing(
    workbench: "Workbench", demo: Path
) -> None:
    """Neither has taken a place by then, and nobody knows of the other one."""
    write(workbench, "gate", "", GATE)
    write(workbench, "share", "before", SHARE)
    chain = workbench.chain("./gate.py", {"nf": "./share.py", "instances": 2}, capture=demo)
    process = workbench.start("run", chain, "--pace", "0.5")
    workbench.until(lambda: "packets" in workbench.run("ps").stdout)
    write(workbench, "share", "", DYING)
    refused = workbench.run("reload", "share")
    assert "share goes on as it was" in refused.stderr
    nfs = summaries(workbench, process)
    assert nfs["share"]["summary"] == {"before": nfs["gate"]["handled"], "after": 0}


@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="sanitizers need address space without end"
)
def test_where_the_worker_refuses_the_new_process_the_nf_is_said_to_be_gone(
    workbench: "Workbench", demo: Path
) -> None:
    """The worker has no room to map what the new one shares, as is seen when the old one left."""
    write(workbench, "gate", "", GATE)
    write(workbench, "two", "1")
    chain = workbench.chain("./gate.py", "./two.py", capture=demo, log={"slots": 1 << 20})
    process = workbench.start("run", chain, "--pace", "0.5")
    workbench.until(lambda: "packets" in workbench.run("ps").stdout)
    worker = workbench.worker()
    (mapped,) = Path(f"/proc/{worker}/statm").read_text().split()[:1]
    room = int(mapped) * resource.getpagesize() + (1 << 19)  # and verdicts alone take 1 MiB
    resource.prlimit(worker, resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))
    refused = workbench.run("reload", "gate")
    resource.prlimit(worker, resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    assert refused.returncode == 1
    assert "gate has left, and its new process could not take its place" in refused.stderr
    again = workbench.run("reload", "gate")
    assert "there is no NF 'gate'; expected one of: two" in again.stderr
    nfs = summaries(workbench, process)
    assert nfs["gate"]["outcome"] == "left"
    assert nfs["two"]["summary"] == {"1": [1, nfs[""]], "count": nfs[""]}
