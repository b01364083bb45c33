"""A chain that runs becomes what its changed file says, at one event, or stays as it was."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Workbench

COUNT = """
class Count(NetworkFunction):
    step: int = 1
    def start(self):
        self.seen = []
    @on("packet")
    def see(self, event):
        self.seen.append(event.packet)
        self.record(event, number=event.packet, step=self.step)
    def finish(self):
        return {str(self.step): [self.seen[0], self.seen[-1]], "count": len(self.seen)}
"""

GATE = """
class Gate(NetworkFunction):
    inline = True
    @on("packet")
    def pass_on(self, event):
        pass
"""

TELL = """
class Tell(NetworkFunction):
    publishes = ["flow.told"]
    declares = {"flow.told": {"number": "u32"}}
    @on("tcp.start", "udp.start")
    def tell(self, event):
        self.publish("flow.told", event, number=1)
"""

HEAR = """
class Hear(NetworkFunction):
    declares = {"flow.told": {"number": "u32"}}
    @on("flow.told")
    def hear(self, event):
        pass
"""


class Chain:
    """One that runs, slowly enough for its file to be changed meanwhile."""

    def __init__(self, bench: Workbench, capture: Path) -> None:
        self._bench = bench
        self._capture = capture
        for name, code in (("gate", GATE), ("tell", TELL), ("hear", HEAR)):
            bench.nf(name, code)
        for name in ("one", "two", "late"):
            bench.nf(name, COUNT)

    def write(self, *entries: Any, **keys: Any) -> Path:
        return self._bench.chain(*entries, capture=self._capture, **keys)

    def start(self, *entries: Any, options: list[str] | None = None, **keys: Any) -> None:
        path = self.write(*entries, **keys)
        arguments = ["run", path, "--pace", "0.2", *(options or [])]
        self._process = self._bench.start(*arguments)
        self._bench.until(lambda: "packets" in self._bench.run("ps").stdout)

    def reload(self, *options: str) -> "subprocess.CompletedProcess[str]":
        return self._bench.run("reload", *options)

    def end(self) -> dict[str, Any]:
        self._bench.run("stop")
        self._bench.end(self._process)
        summary = self._bench.summary()
        assert self._bench.processes() == {}
        for balance in summary["balances"]:
            assert balance["total"]["count"] == sum(part["count"] for part in balance["parts"])
        assert summary["lost"] == 0
        return {nf["name"]: nf for nf in summary["nfs"]} | {"": summary["input"]["packets"]}


@pytest.fixture
def chain(workbench: Workbench, demo: Path) -> Chain:
    return Chain(workbench, demo)


def first_nf(bench: Workbench) -> dict[str, Any]:
    (run,) = json.loads(bench.run("ps", "--json").stdout)
    row: dict[str, Any] = run["nfs"][0]
    return row


def saw_all(nfs: dict[str, Any], name: str) -> bool:
    summary: dict[str, Any] = nfs[name]["summary"]
    return summary == {"1": [1, nfs[""]], "count": nfs[""]}


def test_parameters_that_changed_are_taken_at_one_event(workbench: Workbench, chain: Chain) -> None:
    chain.start("./one.py", "./two.py")
    chain.write({"nf": "./one.py", "step": 2}, "./two.py")
    result = chain.reload()
    assert (result.returncode, result.stderr) == (0, "")
    assert "one: step: its default → 2 (line 1), at event" in result.stdout
    nfs = chain.end()
    numbers = [line["number"] for line in workbench.log("one")]
    assert numbers == list(range(1, nfs[""] + 1))
    summary = nfs["one"]["summary"]
    assert summary["2"] == [summary["1"][1] + 1, nfs[""]]
    assert saw_all(nfs, "two")


def test_nfs_whose_files_changed_are_read_anew_and_others_are_not(
    workbench: Workbench, chain: Chain
) -> None:
    chain.start("./one.py", "./two.py")
    workbench.nf("one", COUNT.replace("step: int = 1", "step: int = 7"))
    result = chain.reload("--json")
    (difference,) = json.loads(result.stdout)["differences"]
    assert (difference["action"], difference["subject"]) == ("reload", "one")
    assert difference["done"]
    assert chain.reload().stdout == "the chain runs as its file says\n"
    nfs = chain.end()
    assert nfs["one"]["summary"]["7"][1] == nfs[""]
    assert saw_all(nfs, "two")


def test_what_the_file_names_no_more_leaves_and_what_is_new_comes(chain: Chain) -> None:
    chain.start("./one.py", "./two.py")
    chain.write("./two.py", "./late.py")
    result = chain.reload()
    assert (result.returncode, result.stderr) == (0, "")
    assert chain.reload().stdout == "the chain runs as its file says\n"
    nfs = chain.end()
    assert nfs["one"]["outcome"] == "left"
    first, last = nfs["late"]["summary"]["1"]
    assert last == nfs[""]
    assert nfs["late"]["summary"]["count"] == last - first + 1 < last
    assert saw_all(nfs, "two")


def test_several_workers_take_all_of_it(workbench: Workbench, chain: Chain) -> None:
    chain.start("./one.py", "./two.py", workers=2)
    chain.write({"nf": "./two.py", "step": 2}, "./late.py", workers=2)
    result = chain.reload()
    assert (result.returncode, result.stderr) == (0, "")
    nfs = chain.end()
    assert nfs["one"]["outcome"] == "left"
    assert nfs["two"]["summary"]["count"] == nfs[""]
    numbers = [line["number"] for line in workbench.log("late")]
    assert numbers == sorted(set(numbers))
    assert numbers


def test_parsers_and_alert_logs_come_and_go_with_who_needs_them(
    workbench: Workbench, chain: Chain
) -> None:
    chain.start("./one.py")
    chain.write("./one.py", "http_log")
    assert chain.reload().returncode == 0
    assert "http_parser" in workbench.run("ps").stdout
    chain.write("./one.py")
    assert chain.reload().returncode == 0
    (run,) = json.loads(workbench.run("ps", "--json").stdout)
    assert [nf["name"] for nf in run["nfs"]] == ["one"]
    assert saw_all(chain.end(), "one")


def test_what_only_the_controller_looks_at_needs_no_other_process(
    workbench: Workbench, chain: Chain
) -> None:
    chain.start("./one.py")
    before = first_nf(workbench)["process"]
    chain.write({"nf": "./one.py", "deadline": "5s", "restart": True})
    result = chain.reload()
    assert result.returncode == 0
    assert result.stdout.startswith("set     one: ")
    assert first_nf(workbench)["process"] == before
    os.kill(before, signal.SIGKILL)
    workbench.until(lambda: first_nf(workbench)["restarts"] == 1)


REFUSED: list[tuple[list[Any], dict[str, Any], str]] = [
    (["./gate.py", "./one.py"], {"workers": 2}, "refused workers: 1 → 2 (line 1): needs a restart"),
    (
        ["./gate.py", "./one.py"],
        {"stack": {"tcp_timeout": "7m"}},
        "refused stack.tcp_timeout: ",
    ),
    (["./one.py", "./gate.py"], {}, "waits for nobody instead of gate"),
    (["./gate.py", {"nf": "./one.py", "on_lag": "skip"}], {}, "`on_lag` needs a restart"),
    (
        [{"nf": "./gate.py", "name": "second"}, "./gate.py", "./one.py"],
        {},
        "gate, one, which runs, would have to wait for it",
    ),
    (
        ["./gate.py", "./one.py", {"nf": "./two.py", "instances": 2}],
        {},
        "several instances cannot come",
    ),
]


@pytest.mark.parametrize(("entries", "keys", "words"), REFUSED)
def test_what_cannot_be_taken_is_said_and_nothing_is_done(
    chain: Chain, entries: list[Any], keys: dict[str, Any], words: str
) -> None:
    """Though something else could be."""
    chain.start("./gate.py", "./one.py")
    chain.write(*entries, "./late.py", **keys)
    result = chain.reload()
    assert result.returncode == 1
    assert words in result.stdout
    assert "nothing was done" in result.stderr
    nfs = chain.end()
    assert "late" not in nfs
    assert saw_all(nfs, "one")


def test_a_part_of_it_can_be_taken(chain: Chain) -> None:
    chain.start("./gate.py", "./one.py")
    chain.write("./gate.py", "./one.py", "./late.py", workers=2)
    result = chain.reload("--partial")
    assert result.returncode == 1
    assert "attach  late: it is new (line 1), at event" in result.stdout
    again = chain.reload()
    assert again.stdout == "refused workers: 1 → 2 (line 1): needs a restart\n"
    nfs = chain.end()
    assert nfs["late"]["summary"]["count"] > 0
    assert saw_all(nfs, "one")


def test_a_passive_nf_comes_in_front_of_one_that_judges(workbench: Workbench, chain: Chain) -> None:
    """It sees what that one drops, as it would have from the start."""
    workbench.nf("gate", GATE.replace("pass\n", "from microbox import DROP; return DROP\n"))
    chain.start("./gate.py")
    chain.write("./late.py", "./gate.py")
    result = chain.reload()
    assert (result.returncode, result.stderr) == (0, "")
    assert chain.reload().stdout == "the chain runs as its file says\n"
    late = chain.end()["late"]
    assert late["summary"]["count"] == late["handled"] > 0


def test_what_a_guest_reads_stays(workbench: Workbench, chain: Chain) -> None:
    chain.start("./tell.py", "./one.py")
    guest = workbench.start("attach", "./hear.py", "--json")
    workbench.until(lambda: "hear" in workbench.run("ps").stdout)
    chain.write("./one.py")
    result = chain.reload()
    assert "refused tell: the file does not name it any more: hear reads what" in result.stdout
    workbench.run("detach", "hear")
    workbench.end(guest)
    assert chain.reload().returncode == 0
    nfs = chain.end()
    assert nfs["tell"]["outcome"] == "left"
    assert saw_all(nfs, "one")


def test_a_dry_run_changes_nothing(chain: Chain) -> None:
    chain.start("./one.py", "./two.py")
    chain.write({"nf": "./one.py", "step": 2}, "./late.py")
    result = chain.reload("--dry-run")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "reload  one: step: its default → 2 (line 1)",
        "detach  two: the file does not name it any more",
        "attach  late: it is new (line 1)",
    ]
    nfs = chain.end()
    assert saw_all(nfs, "one")
    assert saw_all(nfs, "two")


def test_what_is_wrong_with_the_file_is_said_and_changes_nothing(chain: Chain) -> None:
    chain.start("./one.py", "./two.py")
    chain.write("./one.py", {"nf": "./nowhere.py"}, worker=3)
    result = chain.reload("--partial")
    assert result.returncode == 2
    assert "nowhere.py" in result.stderr
    assert "worker" in result.stderr
    assert len(json.loads(chain.reload("--json").stdout)["errors"]) == 2
    nfs = chain.end()
    assert saw_all(nfs, "one")
    assert saw_all(nfs, "two")


def test_a_new_process_that_does_not_start_changes_nothing(
    workbench: Workbench, chain: Chain
) -> None:
    chain.start("./one.py", "./two.py")
    workbench.nf("late", COUNT.replace("self.seen = []", "raise ValueError('no table')"))
    chain.write("./one.py", "./late.py")
    result = chain.reload()
    assert result.returncode == 1
    assert "nothing was changed: " in result.stderr
    assert "no table" in result.stderr
    nfs = chain.end()
    assert saw_all(nfs, "one")
    assert saw_all(nfs, "two")


def test_what_the_command_line_said_goes_before_the_file_still(chain: Chain) -> None:
    chain.start("./one.py", options=["--set", "chain.one.step=5"])
    chain.write({"nf": "./one.py", "step": 2})
    assert chain.reload().stdout == "the chain runs as its file says\n"
    nfs = chain.end()
    assert nfs["one"]["summary"] == {"5": [1, nfs[""]], "count": nfs[""]}


def test_who_was_attached_from_a_terminal_stays(workbench: Workbench, chain: Chain) -> None:
    chain.start("./one.py")
    guest = workbench.start("attach", "./two.py", "--json")
    workbench.until(lambda: "two" in workbench.run("ps").stdout)
    chain.write("./one.py", "./late.py")
    assert chain.reload().returncode == 0
    assert workbench.run("detach", "two").returncode == 0
    assert json.loads(workbench.end(guest).stdout)["outcome"] == "left"
    assert saw_all(chain.end(), "one")


@pytest.mark.parametrize(
    "options", [["one", "--partial"], ["one", "--dry-run"], ["--dry-run", "--partial"]]
)
def test_options_that_do_not_go_together_are_refused(
    workbench: Workbench, options: list[str]
) -> None:
    result = workbench.run("reload", *options)
    assert result.returncode == 2
    assert "expected" in result.stderr
